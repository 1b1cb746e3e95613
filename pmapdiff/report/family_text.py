"""Families as text: the summary of a snapshot, a row a mapping with its reason, and the rules that applied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pmapdiff.model import FIGURE_INDEX, Capture, Snapshot
from pmapdiff.model.counters import sum_figures
from pmapdiff.model.mapping import known_perms
from pmapdiff.report.base import figure_title
from pmapdiff.report.families import FamilySummary, summarise
from pmapdiff.report.page import Page
from pmapdiff.report.rows import address_text, chosen_rows, names_of
from pmapdiff.report.table import NOTE, Cell, Row, cut_end
from pmapdiff.text import printable
from pmapdiff.units import format_kib, plural

_FIGURES = ("size_kib", "rss_kib", "pss_kib", "dirty_kib", "swap_kib", "footprint_kib")
_NARROWEST_REASON = 30


def write_family_summary(snapshot: Snapshot, page: Page) -> None:
    """A row a family over all processes, and what they add up to."""
    view = page.view
    summary = summarise(snapshot, view)
    page.wrapped(plural(summary.processes, "process", "processes"))
    if summary.left_out:
        page.wrapped(f"note: {plural(summary.left_out, 'process', 'processes')} left out, of which the table has no counters", "yellow", *NOTE)
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
    page.table(["Count", *map(figure_title, figures), "Family"], [len(figures) + 1], rows)
    if view.explain:
        write_rules((AppliedRule(str(part.totals.mappings), row.family, part.reason) for row in shown for part in row.rules), page)


def _width(summary: FamilySummary, figures: Iterable[str]) -> int:
    """How wide the table is with these figures."""
    every = [summary.totals, *(row.totals for row in summary.families)]
    numbers = sum(max(len(figure_title(name)), *(len(format_kib(totals.get(name))) for totals in every)) + 2 for name in figures)
    return len("Count") + 2 + numbers + max((len(row.family) for row in summary.families), default=0)


def write_explained_mappings(capture: Capture, page: Page) -> None:
    """A row a mapping with its family and the reason; the reasons in full below, where a row had no room for them."""
    assert capture.table is not None
    view = page.view
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
    page.table(header, [0, count - 3, count - 2, count - 1], rows, cut=cut_end)
    if len(chosen) < len(capture.table.mappings):
        page.wrapped(f"{plural(len(capture.table.mappings) - len(chosen), 'mapping')} not shown: see them all with --top 0")
    if view.width is not None:
        counts: dict[tuple[str, str], int] = {}
        for _, verdict in chosen:
            counts[verdict] = counts.get(verdict, 0) + 1
        order = {family: place for place, family in enumerate(view.classifier.families)}
        ranked = sorted(counts.items(), key=lambda item: (order[item[0][0]], -item[1], item[0][1]))
        write_rules((AppliedRule(str(number), *verdict) for verdict, number in ranked), page)


def _end_of(name: str, width: int) -> str:
    """The last component of a path, in at most so many columns."""
    last = name.rsplit("/", 1)[-1] or name
    return cut_end(last, width)


class AppliedRule(NamedTuple):
    """One rule that applied: to how many mappings (`3 → 5`), the family, the reason."""

    mappings: str
    family: str
    reason: str


def write_rules(rules: Iterable[AppliedRule], page: Page) -> None:
    """The rules that applied, in full: what does not fit into a line goes on in the next."""
    rows: list[Row] = [tuple(rule) for rule in rules]
    if rows:
        page.line()
        page.table(["Count", "Family", "Rule"], [1, 2], rows, cut=None)
