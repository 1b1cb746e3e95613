"""Families as text: the summary of a snapshot, a row a mapping with its reason, and the rules that applied."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import wrap
from typing import NamedTuple, TextIO

from rich.cells import cell_len

from pmapdiff.model import FIGURE_INDEX, Capture, Snapshot
from pmapdiff.model.counters import sum_figures
from pmapdiff.model.mapping import known_perms
from pmapdiff.report.base import View, figure_title
from pmapdiff.report.families import FamilySummary, summarise
from pmapdiff.report.rows import address_text, chosen_rows, names_of
from pmapdiff.report.table import Cell, Row, cut_end, paint, write_table
from pmapdiff.text import printable
from pmapdiff.units import format_kib, plural

_FIGURES = ("size_kib", "rss_kib", "pss_kib", "dirty_kib", "swap_kib", "footprint_kib")
_NARROWEST_REASON = 30


def write_family_summary(snapshot: Snapshot, view: View, out: TextIO) -> None:
    """A row a family over all processes, and what they add up to."""
    summary = summarise(snapshot, view)
    out.write(plural(summary.processes, "process", "processes") + "\n")
    if summary.left_out:
        out.write(
            paint(f"  note: {plural(summary.left_out, 'process', 'processes')} left out, of which the table has no counters", "yellow", view) + "\n"
        )
    if not summary.processes:
        return
    shown = summary.families[: view.top] if view.top else summary.families
    hidden = summary.families[len(shown) :]
    figures = [*_FIGURES]
    # On a narrow terminal: first what is nothing, then what is most often much like its neighbour.
    for name in (["swap_kib"] if not summary.totals.get("swap_kib") else []) + ["pss_kib"]:
        if view.width is not None and _width(summary, figures) > view.width:
            figures.remove(name)
    indexes = [FIGURE_INDEX[name] for name in figures]
    rows: list[Row] = [[str(row.totals.mappings), *(format_kib(row.totals.figures[i]) for i in indexes), row.family] for row in shown]
    if hidden:
        rest = sum_figures(row.totals.figures for row in hidden)
        mappings = sum(row.totals.mappings for row in hidden)
        rows.append([str(mappings), *(format_kib(rest[i]) for i in indexes), plural(len(hidden), "more family", "more families")])
    rows.append([])
    sums = [str(summary.totals.mappings), *(format_kib(summary.totals.figures[i]) for i in indexes)]
    rows.append([*(Cell(text, "bold") for text in sums), "in all"])
    write_table(["Count", *map(figure_title, figures), "Family"], frozenset([len(figures) + 1]), rows, view, out)
    if view.explain:
        write_rules((AppliedRule(str(part.totals.mappings), row.family, part.reason) for row in shown for part in row.rules), view, out)


def _width(summary: FamilySummary, figures: Iterable[str]) -> int:
    """How wide the table is with these figures."""
    every = [summary.totals, *(row.totals for row in summary.families)]
    numbers = sum(max(len(figure_title(name)), *(len(format_kib(totals.get(name))) for totals in every)) + 2 for name in figures)
    return len("Count") + 2 + numbers + max((len(row.family) for row in summary.families), default=0)


def write_explained_mappings(capture: Capture, view: View, out: TextIO) -> None:
    """A row a mapping with its family and the reason; the reasons in full below, where a row had no room for them."""
    assert capture.table is not None
    wide = view.width is None or view.width >= 120
    names = names_of(capture.table.mappings)
    chosen = chosen_rows(capture, view)
    header = ["Address", "Size", *(["Rss"] if wide else []), "Perms", "Family", "Mapping: why"]
    rows: list[Row] = []
    for mapping, verdict in chosen:
        name = printable(names[mapping])
        name = "" if name == "[anon]" or verdict.reason.startswith(f"{name}:") else f"{_end_of(name, 40 if wide else 16)}: "
        size, rss = (mapping.figures[FIGURE_INDEX[name]] for name in ("size_kib", "rss_kib"))
        numbers = ["-" if figure is None else str(figure) for figure in ([size, rss] if wide else [size])]
        cells = [address_text(mapping), *numbers, known_perms(mapping.perms) or "-", verdict.family]
        rows.append([*cells, f"{name}{verdict.reason}"])
    count = len(header)
    write_table(header, frozenset({0, count - 3, count - 2, count - 1}), rows, view, out, cut=cut_end)
    if len(chosen) < len(capture.table.mappings):
        out.write(f"{plural(len(capture.table.mappings) - len(chosen), 'mapping')} not shown: see them all with --top 0\n")
    if view.width is not None:
        counts: dict[tuple[str, str], int] = {}
        for _, verdict in chosen:
            counts[verdict] = counts.get(verdict, 0) + 1
        order = {family: place for place, family in enumerate(view.classifier.families)}
        ranked = sorted(counts.items(), key=lambda item: (order[item[0][0]], -item[1], item[0][1]))
        write_rules((AppliedRule(str(number), *verdict) for verdict, number in ranked), view, out)


def _end_of(name: str, width: int) -> str:
    """The last component of a path, in at most so many columns."""
    last = name.rsplit("/", 1)[-1] or name
    return cut_end(last, width)


class AppliedRule(NamedTuple):
    """One rule that applied: to how many mappings (`3 → 5`), the family, the reason."""

    mappings: str
    family: str
    reason: str


def write_rules(rules: Iterable[AppliedRule], view: View, out: TextIO) -> None:
    """The rules that applied, in full: what does not fit into a line goes on in the next."""
    rows = list(rules)
    if not rows:
        return
    widths = [max(map(cell_len, (title, *cells))) for title, cells in zip(("Count", "Family"), list(zip(*rows, strict=True))[:2], strict=True)]
    indent = sum(widths) + 4
    room = None if view.width is None else max(view.width - indent, _NARROWEST_REASON)
    header = "  ".join(("Count".rjust(widths[0]), "Family".ljust(widths[1]), "Rule"))
    out.write(f"\n{paint(header, 'bold', view)}\n")
    for row in rows:
        lines = [row.reason] if room is None else wrap(row.reason, room)
        out.write(f"{row.mappings.rjust(widths[0])}  {row.family.ljust(widths[1])}  {lines[0]}\n")
        for line in lines[1:]:
            out.write(f"{' ' * indent}{line}\n")
