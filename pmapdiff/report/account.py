"""A comparison as an account: rows that add up, each with what it is of. For the text, and for whoever shows it otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pmapdiff.compare import Change, FamilyChange, ProcessComparison
from pmapdiff.model import Figures, Totals
from pmapdiff.model.counters import sum_figures
from pmapdiff.report.base import View
from pmapdiff.report.figures import SHARE, change_shares, delta_cells, figure_columns, figures_to_show, size_cells
from pmapdiff.report.shape import FamilySummaryRows, ShownRows, figure_of
from pmapdiff.report.table import Cell, Column, Line, Sheet, worded
from pmapdiff.report.words import change_words, counts_words, mappings_words
from pmapdiff.units import plural

CHANGE_STYLES = {"new": "yellow", "grew": "red", "shrank": "green", "gone": "green", "dirtied": "magenta", "cleaned": "green"}


def figures_shown(processes: Sequence[ProcessComparison], view: View) -> tuple[str, ...]:
    """The figures to show side by side: those of which any difference is known."""
    shown = figures_to_show((t for p in processes for t in (p.totals_before, p.totals_after) if t is not None), view.sort)
    return tuple(name for name in shown if any(p.get(name) is not None for p in processes)) or shown


def by_figure(view: View, amounts: Callable[[str], list[int | None]]) -> list[int | None]:
    """What the bars are of: the figure that rows are sorted by, or the first that changed."""
    figures = ["rss_kib", "footprint_kib", "size_kib"] if view.sort in (None, "name", "address") else [f"{view.sort}_kib"]
    return next((found for name in figures if any(found := amounts(name))), amounts(figures[0]))


def account_of_changes(before: Totals, after: Totals, delta: Figures, shown: ShownRows, figures: Sequence[str], view: View) -> Sheet:
    """The total before, the changes, what is too small to tell, their sum, and the total after."""
    others = [(row, label) for row, label in ((shown.more, "more change"), (shown.smaller, "smaller change")) if row.changes]
    bars = change_shares(by_figure(view, lambda name: [figure_of(row.delta, name) for row in (*shown.rows, *(row for row, _ in others))]))
    blanks = ["", "", "", ""]
    lines = [Line([*size_cells(before.figures, figures, "bold"), "", *blanks, f"before, {_count(before)}"])]
    for row, share in zip(shown.rows, bars, strict=False):
        change = row.changes[0]
        said = Cell(change_words(change, narrow=not view.is_wide and view.width is not None), CHANGE_STYLES.get(change.kinds[0], ""))
        place = [change.family, _address(change) if len(row.changes) == 1 else ""]
        lines.append(Line([*delta_cells(row.delta, figures), share, said, row.perms, *place, row.name], row))
    for (row, label), share in zip(others, bars[len(shown.rows) :], strict=True):
        lines.append(Line([*delta_cells(row.delta, figures), share, *blanks, plural(len(row.changes), label)], row))
    lines.append(Line([]))
    lines.append(Line([*delta_cells(delta, figures, "bold"), "", *blanks, "in all"]))
    lines.append(Line([*size_cells(after.figures, figures, "bold"), "", *blanks, f"after, {_count(after)}"]))
    columns = [*figure_columns(figures, view.sort), SHARE, worded("Change"), worded("Perms", spare=5), worded("Family", extra=True, spare=3)]
    return Sheet((*columns, worded("Address", extra=True, spare=4), worded("Mapping")), tuple(lines))


def _count(totals: Totals) -> str:
    """`118 mappings`; so many that the word would have to be cut have none of its length."""
    return plural(totals.mappings, "mapping") if totals.mappings < 1000 else f"{totals.mappings:,} maps"


def _address(change: Change) -> str:
    mappings = change.after or change.before
    return "-" if mappings[0].is_sum else f"{mappings[0].start:x}-{max(m.end for m in mappings):x}"


def account_of_families(summary: FamilySummaryRows, families: Sequence[FamilyChange], figures: Sequence[str], view: View) -> Sheet:
    """The families, what is left out of them, and the sum of both."""
    rest = [sum_figures(row.delta for row in summary.hidden)] if summary.hidden else []
    every = [*(row.delta for row in summary.shown), *rest]
    bars = change_shares(by_figure(view, lambda name: [figure_of(delta, name) for delta in every]))
    lines = [
        Line([*delta_cells(row.delta, figures), share, mappings_words(row), row.family], row) for row, share in zip(summary.shown, bars, strict=False)
    ]
    if summary.hidden:
        lines.append(Line([*delta_cells(rest[0], figures), bars[-1], "", f"{len(summary.hidden)} changed less"]))
    lines.append(Line([]))
    counts = counts_words(sum(row.mappings_before for row in families), sum(row.mappings_after for row in families))
    lines.append(Line([*delta_cells(summary.total, figures, "bold"), "", Cell(counts, "bold"), "in all"]))
    return Sheet((*figure_columns(figures, view.sort), SHARE, Column("Mappings", spare=5), worded("Family")), tuple(lines))
