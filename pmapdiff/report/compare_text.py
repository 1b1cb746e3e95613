"""A comparison as text: the answer on the first screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from pmapdiff.align import Match
from pmapdiff.compare import Change, Comparison, FamilyChange, ProcessComparison, family_changes
from pmapdiff.model import Figures, Status, Totals
from pmapdiff.model.counters import sum_figures
from pmapdiff.report.base import MAIN_FIGURES, View, figure_title
from pmapdiff.report.family_text import write_rules
from pmapdiff.report.page import Page, register_page
from pmapdiff.report.shape import applied_rules, figure_of, is_telling, rows_for_people, summarise_families, summarise_processes
from pmapdiff.report.table import NOTE, Cell, Row, delta_cell
from pmapdiff.report.words import (
    caveats,
    change_words,
    effect_words,
    headline,
    mappings_words,
    process_title,
    snapshot_words,
    without_table_words,
)
from pmapdiff.units import format_kib, plural

# What fits on a first screen.
_ROWS = 12
_PROCESSES = 12
_PROCESSES_IN_FULL = 2
_MEDIUM = 100

_STYLES = {"new": "yellow", "grew": "red", "shrank": "green", "gone": "green", "dirtied": "magenta", "cleaned": "green"}


def _figures(processes: Sequence[ProcessComparison], view: View) -> tuple[str, ...]:
    """The figures to show side by side: those that any table has, Swap only where there is some, and no more than fit."""
    totals = [t for p in processes for t in (p.totals_before, p.totals_after) if t is not None]
    figures = ["size_kib", "rss_kib", *(["pss_kib"] if view.is_wide else []), "footprint_kib", "dirty_kib"]
    if any(t.get("swap_kib") for t in totals):
        figures.append("swap_kib")
        if view.width is not None and view.width < _MEDIUM:
            figures.remove("size_kib")
    known = [name for name in figures if any(p.get(name) is not None for p in processes)]
    return tuple(known or figures)


def _delta_cells(delta: Figures, figures: Sequence[str]) -> list[Cell]:
    return [delta_cell(figure_of(delta, name)) for name in figures]


def _total_cells(totals: Totals, figures: Sequence[str]) -> list[Cell]:
    return [Cell(format_kib(totals.get(name)), "bold") for name in figures]


@register_page("compare")
def write_comparison(result: Comparison, page: Page) -> None:
    """Which two snapshots, then for each process the headline, the changes and totals that add up."""
    view = page.view
    page.wrapped(f"before  {snapshot_words(result.before)}", "", "", "        ")
    page.wrapped(f"after   {snapshot_words(result.after)}", "", "", "        ")
    page.line()
    if view.by == "process":
        _write_processes(result, page)
    elif view.by == "family" and len(result.processes) > 1:
        _write_families(family_changes(result.processes, result.families), _figures(result.processes, view), page)
    else:
        _write_each(result, page)


def _write_each(result: Comparison, page: Page) -> None:
    view, several = page.view, len(result.processes) > 1
    told = [p for p in result.processes if _is_told(p)] if several else list(result.processes)
    unread = [p for p in told if not p.comparable] if several else []
    told = [p for p in told if p.comparable or not several]
    # Of several processes a first screen holds one line each, and the changes of the first; a number of rows asks for all of it.
    in_full = view.top is not None or len(told) <= _PROCESSES_IN_FULL
    limit = len(told) if view.top is not None else _PROCESSES
    for number, process in enumerate(told[:limit]):
        if number and in_full:
            page.line()
        _write_headline(headline(process, result), page)
        for caveat in caveats(process):
            page.wrapped(f"note: {caveat}", "yellow", *NOTE)
        for sentence in effect_words(process):
            page.wrapped(sentence, "cyan", *NOTE)
        if in_full:
            _write_detail(process, page)
    if told and not in_full:
        page.line()
        page.line(process_title(told[0].process), "bold")
        _write_detail(told[0], page)
    rest = len(told) - min(limit, len(told))
    unchanged = len(result.processes) - len(told) - len(unread)
    if told and several and (rest or unread or unchanged or not in_full):
        page.line()
    if told and not in_full:
        page.wrapped("each in full: --top 0, or one of them: --pid")
    if rest:
        page.wrapped(f"{plural(rest, 'more process', 'more processes')} changed less: see them with --by process or --top 0")
    if unread:
        page.wrapped(without_table_words(unread))
    if several and unchanged:
        page.wrapped(f"{plural(unchanged, 'process', 'processes')} unchanged in size, Rss, dirty and swap")
    if not result.processes:
        page.wrapped("no process in either snapshot")


def _is_told(process: ProcessComparison) -> bool:
    if process.match in (Match.NEW, Match.GONE) or any(map(is_telling, process.changes)) or any(process.get(name) for name in MAIN_FIGURES):
        return True
    # That a table has no counters is said of each that changed, and need not be of every other at every comparison.
    return any(c is not None and c.status not in (Status.COMPLETE, Status.MAPS_ONLY) for c in (process.before, process.after))


def _write_headline(sentence: str, page: Page) -> None:
    """The answer, which must not be cut: what has no room goes into a second line."""
    first, separator, second = sentence.rpartition("; ")
    if page.view.width is None or not separator or cell_len(sentence) <= page.view.width:
        return page.line(sentence, "bold")
    page.line(f"{first};", "bold")
    return page.line(f"  {second}", "bold")


def _write_detail(process: ProcessComparison, page: Page) -> None:
    view = page.view
    if view.by == "family" and process.families:
        _write_families(process.families, _figures([process], view), page)
    elif process.changes and (process.match not in (Match.NEW, Match.GONE) or view.top is not None):
        _write_changes(process, page)


def _write_changes(process: ProcessComparison, page: Page) -> None:
    view = page.view
    figures = _figures([process], view)
    shown = rows_for_people(process, view, _ROWS if view.top is None else view.top)
    wide = view.is_wide
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
    page.table(header, range(count, len(header)), rows)
    page.wrapped(f"{plural(process.unchanged, 'mapping')} unchanged")


def _count(totals: Totals) -> str:
    """`118 mappings`; so many that the word would have to be cut have none of its length."""
    return plural(totals.mappings, "mapping") if totals.mappings < 1000 else f"{totals.mappings:,} maps"


def _address(change: Change) -> str:
    mappings = change.after or change.before
    return f"{mappings[0].start:x}-{max(m.end for m in mappings):x}"


def _write_families(families: Sequence[FamilyChange], figures: Sequence[str], page: Page) -> None:
    summary = summarise_families(families, page.view)
    rows: list[Row] = [[*_delta_cells(row.delta, figures), mappings_words(row), row.family] for row in summary.shown]
    if summary.hidden:
        rest = sum_figures(row.delta for row in summary.hidden)
        rows.append([*_delta_cells(rest, figures), "", f"{len(summary.hidden)} changed less"])
    rows.append([])
    rows.append([*_delta_cells(summary.total, figures), str(sum(row.mappings_after for row in families)), "in all"])
    page.table([*map(figure_title, figures), "Mappings", "Family"], [len(figures) + 1], rows)
    if page.view.explain:
        write_rules(applied_rules(summary.shown), page)


def _write_processes(result: Comparison, page: Page) -> None:
    figures = _figures(result.processes, page.view)
    summary = summarise_processes(result, page.view)
    rows: list[Row] = [[*_delta_cells(p.delta, figures), f"{len(p.changes):,}", p.match.value, process_title(p.process)] for p in summary.shown]
    if summary.hidden:
        rows.append([*_delta_cells(sum_figures(p.delta for p in summary.hidden), figures), "", "", f"{len(summary.hidden):,} changed less"])
    rows.append([])
    rows.append([*_delta_cells(summary.total, figures), "", "", "in all"])
    page.table([*map(figure_title, figures), "Changes", "Match", "Process"], [len(figures) + 1, len(figures) + 2], rows)
    if summary.without_table:
        page.wrapped(without_table_words(summary.without_table))
