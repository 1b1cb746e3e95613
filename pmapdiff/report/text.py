"""Text for a terminal: the answer on the first screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len

from pmapdiff.align import Match
from pmapdiff.compare import Change, Comparison, FamilyChange, ProcessComparison, family_changes
from pmapdiff.model import FIGURE_INDEX, Capture, Figures, Snapshot, Status, Totals
from pmapdiff.model.counters import sum_figures
from pmapdiff.model.mapping import known_perms
from pmapdiff.report.base import MAIN_FIGURES, View, figure_title, register
from pmapdiff.report.family_text import write_explained_mappings, write_family_summary, write_rules
from pmapdiff.report.rows import address_text, chosen_rows, names_of
from pmapdiff.report.shape import applied_rules, figure_of, is_telling, rows_for_people, summarise_families, summarise_processes
from pmapdiff.report.table import Cell, Row, cut_end, paint, write_line, write_table, write_wrapped
from pmapdiff.report.words import (
    caveats,
    change_words,
    effect_words,
    headline,
    mappings_words,
    process_title,
    snapshot_words,
    table_notes,
    without_table_words,
)
from pmapdiff.store import ProcessSummary, SnapshotSummary
from pmapdiff.text import printable
from pmapdiff.units import format_delta_kib, format_kib, format_moment_short, format_us, plural

# What fits on a first screen.
_ROWS = 12
_PROCESSES = 12
_PROCESSES_IN_FULL = 2
_WIDE = 120
_MEDIUM = 100
_NOTE = ("  ", "    ")

_STYLES = {"new": "yellow", "grew": "red", "shrank": "green", "gone": "green", "dirtied": "magenta", "cleaned": "green"}


def _is_wide(view: View) -> bool:
    return view.width is not None and view.width >= _WIDE


def _figures(processes: Sequence[ProcessComparison], view: View) -> tuple[str, ...]:
    """The figures to show side by side: those that any table has, Swap only where there is some, and no more than fit."""
    totals = [t for p in processes for t in (p.totals_before, p.totals_after) if t is not None]
    figures = ["size_kib", "rss_kib", *(["pss_kib"] if _is_wide(view) else []), "footprint_kib", "dirty_kib"]
    if any(t.get("swap_kib") for t in totals):
        figures.append("swap_kib")
        if view.width is not None and view.width < _MEDIUM:
            figures.remove("size_kib")
    known = [name for name in figures if any(p.get(name) is not None for p in processes)]
    return tuple(known or figures)


def _delta_cells(delta: Figures, figures: Sequence[str]) -> list[Cell]:
    cells = []
    for name in figures:
        value = figure_of(delta, name)
        cells.append(Cell(format_delta_kib(value), "" if not value else "red" if value > 0 else "green"))
    return cells


def _total_cells(totals: Totals, figures: Sequence[str]) -> list[Cell]:
    return [Cell(format_kib(totals.get(name)), "bold") for name in figures]


@register("compare", "text")
def write_comparison(result: Comparison, view: View, out: TextIO) -> None:
    """Which two snapshots, then for each process the headline, the changes and totals that add up."""
    out.write(f"before  {snapshot_words(result.before)}\nafter   {snapshot_words(result.after)}\n\n")
    if view.by == "process":
        _write_processes(result, view, out)
    elif view.by == "family" and len(result.processes) > 1:
        _write_families(family_changes(result.processes, result.families), _figures(result.processes, view), view, out)
    else:
        _write_each(result, view, out)


def _write_each(result: Comparison, view: View, out: TextIO) -> None:
    several = len(result.processes) > 1
    told = [p for p in result.processes if _is_told(p)] if several else list(result.processes)
    unread = [p for p in told if not p.comparable] if several else []
    told = [p for p in told if p.comparable or not several]
    # Of several processes a first screen holds one line each, and the changes of the first; a number of rows asks for all of it.
    in_full = view.top is not None or len(told) <= _PROCESSES_IN_FULL
    limit = len(told) if view.top is not None else _PROCESSES
    for number, process in enumerate(told[:limit]):
        if number and in_full:
            out.write("\n")
        _write_headline(headline(process, result), view, out)
        for caveat in caveats(process):
            write_wrapped(f"note: {caveat}", "yellow", view, out, *_NOTE)
        for sentence in effect_words(process):
            write_wrapped(sentence, "cyan", view, out, *_NOTE)
        if in_full:
            _write_detail(process, view, out)
    if told and not in_full:
        out.write("\n" + paint(process_title(told[0].process), "bold", view) + "\n")
        _write_detail(told[0], view, out)
    rest = len(told) - min(limit, len(told))
    unchanged = len(result.processes) - len(told) - len(unread)
    if told and several and (rest or unread or unchanged or not in_full):
        out.write("\n")
    if told and not in_full:
        out.write("each in full: --top 0, or one of them: --pid\n")
    if rest:
        out.write(f"{plural(rest, 'more process', 'more processes')} changed less: see them with --by process or --top 0\n")
    if unread:
        out.write(without_table_words(unread) + "\n")
    if several and unchanged:
        out.write(f"{plural(unchanged, 'process', 'processes')} unchanged in size, Rss, dirty and swap\n")
    if not result.processes:
        out.write("no process in either snapshot\n")


def _is_told(process: ProcessComparison) -> bool:
    if process.match in (Match.NEW, Match.GONE) or any(map(is_telling, process.changes)) or any(process.get(name) for name in MAIN_FIGURES):
        return True
    # That a table has no counters is said of each that changed, and need not be of every other at every comparison.
    return any(c is not None and c.status not in (Status.COMPLETE, Status.MAPS_ONLY) for c in (process.before, process.after))


def _write_headline(sentence: str, view: View, out: TextIO) -> None:
    """The answer, which must not be cut: what has no room goes into a second line."""
    first, separator, second = sentence.rpartition("; ")
    if view.width is None or not separator or cell_len(sentence) <= view.width:
        return write_line(sentence, "bold", view, out)
    write_line(f"{first};", "bold", view, out)
    return write_line(f"  {second}", "bold", view, out)


def _write_detail(process: ProcessComparison, view: View, out: TextIO) -> None:
    if view.by == "family" and process.families:
        _write_families(process.families, _figures([process], view), view, out)
    elif process.changes and (process.match not in (Match.NEW, Match.GONE) or view.top is not None):
        _write_changes(process, view, out)


def _write_changes(process: ProcessComparison, view: View, out: TextIO) -> None:
    figures = _figures([process], view)
    shown = rows_for_people(process, view, _ROWS if view.top is None else view.top)
    wide = _is_wide(view)
    rows: list[Row] = []
    assert process.totals_before is not None
    assert process.totals_after is not None
    blanks = ["", "", "", ""] if wide else ["", ""]
    rows.append([*_total_cells(process.totals_before, figures), *blanks, f"before, {_count(process.totals_before)}"])
    for row in shown.rows:
        change = row.changes[0]
        words = Cell(change_words(change, narrow=not wide and view.width is not None), _STYLES.get(change.kinds[0], ""))
        place = [change.family, _address(change) if len(row.changes) == 1 else ""] if wide else []
        rows.append([*_delta_cells(row.delta, figures), words, row.perms, *place, row.name])
    for row, label in ((shown.more, "more change"), (shown.smaller, "smaller change")):
        if row.changes:
            hint = " (--top 0)" if label == "more change" else ""
            rows.append([*_delta_cells(row.delta, figures), *blanks, plural(len(row.changes), label) + hint])
    rows.append([])
    rows.append([*_delta_cells(process.delta, figures), *blanks, "in all"])
    rows.append([*_total_cells(process.totals_after, figures), *blanks, f"after, {_count(process.totals_after)}"])
    count = len(figures)
    header = [*map(figure_title, figures), "Change", "Perms", *(["Family", "Address"] if wide else []), "Mapping"]
    write_table(header, frozenset(range(count, len(header))), rows, view, out)
    out.write(f"{plural(process.unchanged, 'mapping')} unchanged\n")


def _count(totals: Totals) -> str:
    """`118 mappings`; so many that the word would have to be cut have none of its length."""
    return plural(totals.mappings, "mapping") if totals.mappings < 1000 else f"{totals.mappings:,} maps"


def _address(change: Change) -> str:
    mappings = change.after or change.before
    return f"{mappings[0].start:x}-{max(m.end for m in mappings):x}"


def _write_families(families: Sequence[FamilyChange], figures: Sequence[str], view: View, out: TextIO) -> None:
    summary = summarise_families(families, view)
    rows: list[Row] = [[*_delta_cells(row.delta, figures), mappings_words(row), row.family] for row in summary.shown]
    if summary.hidden:
        rest = sum_figures(row.delta for row in summary.hidden)
        rows.append([*_delta_cells(rest, figures), "", f"{len(summary.hidden)} changed less"])
    rows.append([])
    rows.append([*_delta_cells(summary.total, figures), str(sum(row.mappings_after for row in families)), "in all"])
    write_table([*map(figure_title, figures), "Mappings", "Family"], frozenset([len(figures) + 1]), rows, view, out)
    if view.explain:
        write_rules(applied_rules(summary.shown), view, out)


def _write_processes(result: Comparison, view: View, out: TextIO) -> None:
    figures = _figures(result.processes, view)
    summary = summarise_processes(result, view)
    rows: list[Row] = [[*_delta_cells(p.delta, figures), f"{len(p.changes):,}", p.match.value, process_title(p.process)] for p in summary.shown]
    if summary.hidden:
        rows.append([*_delta_cells(sum_figures(p.delta for p in summary.hidden), figures), "", "", f"{len(summary.hidden):,} changed less"])
    rows.append([])
    rows.append([*_delta_cells(summary.total, figures), "", "", "in all"])
    write_table([*map(figure_title, figures), "Changes", "Match", "Process"], frozenset([len(figures) + 1, len(figures) + 2]), rows, view, out)
    if summary.without_table:
        out.write(without_table_words(summary.without_table) + "\n")


@register("show", "text")
def write_snapshot(result: Snapshot, view: View, out: TextIO) -> None:
    """The tables of a snapshot, as pmap prints them: a row a mapping, then the totals."""
    out.write(f"{snapshot_words(result.ref)}\n")
    if view.by == "family":
        out.write("\n")
        write_family_summary(result, view, out)
        return
    for capture in result.captures:
        out.write("\n")
        command_line = printable(capture.process.command_line)
        write_line(f"{process_title(capture.process)}{': ' if command_line else ''}{command_line}", "bold", view, out)
        if capture.read_us is not None:
            out.write(f"  read in {format_us(capture.read_us)}\n")
        if capture.status != "complete":
            note = f": {printable(capture.note)}" if capture.note else ""
            out.write(paint(f"  note: this capture is marked {capture.status}{note}", "yellow", view) + "\n")
        for note in table_notes(capture.table):
            out.write(paint(f"  note: {note}", "yellow", view) + "\n")
        if capture.table is not None and view.explain:
            write_explained_mappings(capture, view, out)
        elif capture.table is not None:
            _write_mappings(capture, view, out)
    if not result.captures:
        out.write("no process\n")


def _write_mappings(capture: Capture, view: View, out: TextIO) -> None:
    assert capture.table is not None
    wide = _is_wide(view)
    totals = capture.sums or capture.table.totals
    swap = ("swap_kib",) if totals.get("swap_kib") else ()
    figures = ("size_kib", "rss_kib", "pss_kib", "dirty_kib", *swap, *(("anonymous_kib",) if wide else ()))
    indexes = [FIGURE_INDEX[name] for name in figures]
    chosen = chosen_rows(capture, view)
    rows: list[Row] = []
    names = names_of(capture.table.mappings)
    for mapping, verdict in chosen:
        values = mapping.figures
        cells: list[Cell | str] = [address_text(mapping), *(_plain(values[i]) for i in indexes), known_perms(mapping.perms) or "-"]
        if wide:
            cells += ["-" if mapping.offset is None else f"{mapping.offset:x}", verdict.family]
        rows.append([*cells, printable(names[mapping])])
    rows.append([])
    blanks = ["", "", ""] if wide else [""]
    rows.append([Cell("total KiB", "bold"), *(Cell(_plain(totals.figures[i]), "bold") for i in indexes), *blanks, plural(totals.mappings, "mapping")])
    titles = [*map(figure_title, figures)]
    header = ["Address", *titles, "Perms", *(["Offset", "Family"] if wide else []), "Mapping"]
    left = {0, len(header) - 1, len(titles) + 1} | ({len(header) - 2} if wide else set())
    write_table(header, frozenset(left), rows, view, out)
    if len(chosen) < totals.mappings:
        out.write(f"{plural(totals.mappings - len(chosen), 'mapping')} not shown: see them all with --top 0\n")


def _plain(kib: int | None) -> str:
    return "-" if kib is None else str(kib)


@register("snapshots", "text")
def write_snapshots(result: Sequence[SnapshotSummary], view: View, out: TextIO) -> None:
    """A row a snapshot, the newest last."""
    rows: list[Row] = []
    wide = _is_wide(view)
    for row in result:
        marks = ", ".join(f"{count} {status}" for status, count in row.statuses.items() if status != "complete")
        source = "" if row.ref.source == "live" else printable(row.ref.source if wide else row.ref.source.rsplit("/", 1)[-1])
        about = [printable(row.ref.label or ""), source and f"from {source}", marks]
        rows.append(
            [
                str(row.ref.id),
                format_moment_short(row.ref.taken_at_us),
                f"{sum(row.statuses.values()):,}",
                f"{row.mappings:,}",
                format_kib(row.rss_kib),
                *([format_kib(row.footprint_kib)] if wide else []),
                "; ".join(part for part in about if part),
            ]
        )
    header = ["#", "Taken at", "Procs", "Mappings", "Rss", *(["Footprint"] if wide else []), "Label"]
    write_table(header, frozenset([1, len(header) - 1]), rows, view, out)


@register("processes", "text")
def write_processes(result: Sequence[ProcessSummary], view: View, out: TextIO) -> None:
    """A row a process, first against last, so that the fat and the growing stand out."""
    rows: list[Row] = []
    wide = _is_wide(view)
    for row in result:
        cells: list[Cell | str] = [str(row.process.pid or "-"), *([f"{row.captures:,}"] if wide else []), format_kib(row.totals_last.get("size_kib"))]
        for figure in ("rss_kib", "footprint_kib"):
            first, last = row.totals_first.get(figure), row.totals_last.get(figure)
            delta = None if first is None or last is None else last - first
            cells += [format_kib(last), Cell(format_delta_kib(delta), "" if not delta else "red" if delta > 0 else "green")]
        cells += [format_us(row.read_us) if row.read_us is not None else "-"] if wide else []
        program, _, arguments = row.process.command_line.partition(" ")
        rows.append([*cells, printable(f"{program if wide else program.rsplit('/', 1)[-1]} {arguments}").rstrip()])
    header = ["PID", *(["Snaps"] if wide else []), "Size", "Rss", "± first", "Footprint", "± first", *(["Read"] if wide else []), "Command"]
    write_table(header, frozenset([len(header) - 1]), rows, view, out, cut=cut_end)
