"""A comparison as an account: rows that add up, each with what it is of. For the text, and for whoever shows it otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from pmapdiff.compare import Change, FamilyChange, ProcessComparison
from pmapdiff.model import Figures, Totals
from pmapdiff.model.counters import sum_figures
from pmapdiff.report.base import View, figure_title
from pmapdiff.report.shape import FamilySummaryRows, ShownRows, figure_of
from pmapdiff.report.table import Cell, Line, Sheet, delta_cell
from pmapdiff.report.words import change_words, mappings_words
from pmapdiff.units import format_kib, plural

_MEDIUM = 100

CHANGE_STYLES = {"new": "yellow", "grew": "red", "shrank": "green", "gone": "green", "dirtied": "magenta", "cleaned": "green"}


def figures_shown(processes: Sequence[ProcessComparison], view: View) -> tuple[str, ...]:
    """The figures to show side by side: those that any table has, Swap only where there is some, and no more than fit."""
    totals = [t for p in processes for t in (p.totals_before, p.totals_after) if t is not None]
    figures = ["size_kib", "rss_kib", *(["pss_kib"] if view.is_wide else []), "footprint_kib", "dirty_kib"]
    if any(t.get("swap_kib") for t in totals):
        figures.append("swap_kib")
        if view.width is not None and view.width < _MEDIUM:
            figures.remove("size_kib")
    known = [name for name in figures if any(p.get(name) is not None for p in processes)]
    return tuple(known or figures)


def delta_cells(delta: Figures, figures: Sequence[str]) -> list[Cell]:
    """Differences side by side."""
    return [delta_cell(figure_of(delta, name)) for name in figures]


def total_cells(totals: Totals, figures: Sequence[str]) -> list[Cell]:
    """Totals side by side."""
    return [Cell(format_kib(totals.get(name)), "bold") for name in figures]


def account_of_changes(before: Totals, after: Totals, delta: Figures, shown: ShownRows, figures: Sequence[str], view: View) -> Sheet:
    """The total before, the changes, what is too small to tell, their sum, and the total after."""
    wide = view.is_wide
    blanks = ["", "", "", ""] if wide else ["", ""]
    lines = [Line([*total_cells(before, figures), *blanks, f"before, {_count(before)}"])]
    for row in shown.rows:
        change = row.changes[0]
        words = Cell(change_words(change, narrow=not wide and view.width is not None), CHANGE_STYLES.get(change.kinds[0], ""))
        place = [change.family, _address(change) if len(row.changes) == 1 else ""] if wide else []
        lines.append(Line([*delta_cells(row.delta, figures), words, row.perms, *place, row.name], row))
    for row, label in ((shown.more, "more change"), (shown.smaller, "smaller change")):
        if row.changes:
            hint = " (--top 0)" if label == "more change" else ""
            lines.append(Line([*delta_cells(row.delta, figures), *blanks, plural(len(row.changes), label) + hint], row))
    lines.append(Line([]))
    lines.append(Line([*delta_cells(delta, figures), *blanks, "in all"]))
    lines.append(Line([*total_cells(after, figures), *blanks, f"after, {_count(after)}"]))
    count = len(figures)
    header = (*map(figure_title, figures), "Change", "Perms", *(["Family", "Address"] if wide else []), "Mapping")
    return Sheet(header, frozenset(range(count, len(header))), tuple(lines))


def _count(totals: Totals) -> str:
    """`118 mappings`; so many that the word would have to be cut have none of its length."""
    return plural(totals.mappings, "mapping") if totals.mappings < 1000 else f"{totals.mappings:,} maps"


def _address(change: Change) -> str:
    mappings = change.after or change.before
    return f"{mappings[0].start:x}-{max(m.end for m in mappings):x}"


def account_of_families(summary: FamilySummaryRows, families: Sequence[FamilyChange], figures: Sequence[str]) -> Sheet:
    """The families, what is left out of them, and the sum of both."""
    lines = [Line([*delta_cells(row.delta, figures), mappings_words(row), row.family], row) for row in summary.shown]
    if summary.hidden:
        rest = sum_figures(row.delta for row in summary.hidden)
        lines.append(Line([*delta_cells(rest, figures), "", f"{len(summary.hidden)} changed less"]))
    lines.append(Line([]))
    lines.append(Line([*delta_cells(summary.total, figures), str(sum(row.mappings_after for row in families)), "in all"]))
    return Sheet((*map(figure_title, figures), "Mappings", "Family"), frozenset([len(figures) + 1]), tuple(lines))
