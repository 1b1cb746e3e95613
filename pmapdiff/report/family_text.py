"""Families as text: the summary of a snapshot, a row a mapping with its reason, and the rules that applied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pmapdiff.model import FIGURE_INDEX, Capture, Snapshot, Totals
from pmapdiff.model.counters import sum_figures
from pmapdiff.model.mapping import known_perms
from pmapdiff.report.families import summarise
from pmapdiff.report.figures import SHARE, figure_columns, figure_of_sort, figures_to_show, share_cell, size_cells
from pmapdiff.report.page import Page
from pmapdiff.report.rows import address_texts, chosen_rows, names_of
from pmapdiff.report.table import ALL, NOTE, Cell, Column, Row, cut_end, worded
from pmapdiff.text import printable
from pmapdiff.units import plural


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
    figures = figures_to_show([summary.totals], view.sort)
    of_what = FIGURE_INDEX[figure_of_sort(view.sort)]
    whole = summary.totals.figures[of_what] or 0

    def row_of(totals: Totals, name: str) -> Row:
        return [*size_cells(totals.figures, figures), share_cell(totals.figures[of_what], whole), f"{totals.mappings:,}", name]

    rows = [row_of(row.totals, row.family) for row in shown]
    if hidden:
        rest = Totals(sum(row.totals.mappings for row in hidden), sum_figures(row.totals.figures for row in hidden))
        rows.append(row_of(rest, plural(len(hidden), "more family", "more families")))
    rows.append([])
    rows.append([*size_cells(summary.totals.figures, figures, "bold"), "", Cell(f"{summary.totals.mappings:,}", "bold"), "in all"])
    page.table([*figure_columns(figures, view.sort), SHARE, Column("Mappings", spare=5), worded("Family")], rows)
    if view.explain:
        write_rules((AppliedRule(str(part.totals.mappings), row.family, part.reason) for row in shown for part in row.rules), page)


def write_explained_mappings(capture: Capture, page: Page) -> None:
    """A row a mapping with its family and the reason; the reasons in full below, where a row had no room for them."""
    assert capture.table is not None
    view = page.view
    wide = view.width is None or view.width >= 120
    names = names_of(capture.table.mappings)
    chosen = chosen_rows(capture, view)
    figures = [name for name in ("size_kib", "rss_kib") if wide or name == "size_kib"]
    rows: list[Row] = []
    for address, (mapping, verdict) in zip(address_texts([m for m, _ in chosen]), chosen, strict=True):
        name = printable(names[mapping])
        name = "" if name == "[anon]" or verdict.reason.startswith(f"{name}:") else f"{_end_of(name, 40 if wide else 16)}: "
        about = [known_perms(mapping.perms) or "-", verdict.family, f"{name}{verdict.reason}"]
        rows.append([address, *size_cells(mapping.figures, figures), *about])
    page.table([worded("Address"), *figure_columns(figures), worded("Perms"), worded("Family"), worded("Mapping: why")], rows, cut=cut_end)
    write_left_out(len(capture.table.mappings) - len(chosen), page)
    if view.width is not None:
        counts: dict[tuple[str, str], int] = {}
        for _, verdict in chosen:
            counts[verdict] = counts.get(verdict, 0) + 1
        order = {family: place for place, family in enumerate(view.classifier.families)}
        ranked = sorted(counts.items(), key=lambda item: (order[item[0][0]], -item[1], item[0][1]))
        write_rules((AppliedRule(str(number), *verdict) for verdict, number in ranked), page)


def write_left_out(mappings: int, page: Page) -> None:
    """How many mappings have no row."""
    if mappings:
        page.wrapped(f"{plural(mappings, 'mapping')} not shown: {ALL}")


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
        page.table([Column("Mappings"), worded("Family"), worded("Rule")], rows, cut=None)
