"""What several forms share: which changes, families and processes to show, in which order, and what is left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pmapdiff.align import Match
from pmapdiff.compare import Change, Comparison, FamilyChange, ProcessComparison
from pmapdiff.model import FIGURE_INDEX, Figures
from pmapdiff.model.counters import sum_figures
from pmapdiff.model.mapping import known_perms
from pmapdiff.report.base import MAIN_FIGURES, View
from pmapdiff.report.family_text import AppliedRule
from pmapdiff.report.words import counts_words, region_name

if TYPE_CHECKING:
    from pmapdiff.store import ProcessSummary


@dataclass(frozen=True, slots=True)
class Chosen:
    """The changes to show, largest first, and what is left out: how many, and their sum."""

    shown: tuple[Change, ...]
    hidden: int
    hidden_delta: Figures


def choose(process: ProcessComparison, view: View, top: int | None) -> Chosen:
    """The changes of a process that are at least the threshold in some figure, at most `top` of them (0 or None: all)."""
    ordered = sorted(process.changes, key=lambda change: sort_key(change, view.sort))
    large = [c for c in ordered if _is_large(c, view)]
    shown = tuple(large[:top] if top else large)
    kept = {id(change) for change in shown}
    hidden = [change for change in ordered if id(change) not in kept]
    return Chosen(shown, len(hidden), sum_figures(change.delta for change in hidden))


def _is_large(row: Change | FamilyChange | ProcessComparison, view: View) -> bool:
    """Whether one of the main figures changed by at least the threshold."""
    return view.threshold_kib <= 0 or any(abs(row.get(figure) or 0) >= view.threshold_kib for figure in MAIN_FIGURES)


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One row of changes for people: a change, or several that read the same, with their sum."""

    changes: tuple[Change, ...]
    delta: Figures

    @property
    def perms(self) -> str:
        """The permissions, if all have the same."""
        return (known_perms(self.changes[0].perms) or "-") if len({change.perms for change in self.changes}) == 1 else ""

    @property
    def name(self) -> str:
        """The region's name, `65 × thread-stack` for several."""
        name = region_name(self.changes[0])
        return f"{len(self.changes):,} × {name}" if len(self.changes) > 1 else name


@dataclass(frozen=True, slots=True)
class ShownRows:
    """The rows for people, and what is left out: too small to tell (`smaller`), or beyond the number of rows (`more`)."""

    rows: tuple[ShownRow, ...]
    smaller: ShownRow
    more: ShownRow


def rows_for_people(process: ProcessComparison, view: View, rows: int) -> ShownRows:
    """The changes of a process as people want to read them, at most so many rows (0: all).

    Regions in which nothing is different but Referenced, Pss or flags are summed up with those below the threshold: row upon
    row of zeros is what nobody wants to read. Unless all rows are asked for, changes that read the same become one.
    """
    chosen = choose(process, view, None)
    telling = [c for c in chosen.shown if is_telling(c)]
    groups: dict[object, list[Change]] = defaultdict(list)
    for number, change in enumerate(telling):
        groups[number if view.top is not None else _likeness(change)].append(change)
    merged = [_row(group) for group in groups.values()]
    by_figure = view.sort not in ("name", "address")
    if by_figure:
        index = FIGURE_INDEX[f"{view.sort or 'rss'}_kib"]
        merged.sort(key=lambda row: -abs(row.delta[index] or 0))
    kept = {id(change) for change in telling}
    limit = rows or len(merged)
    return ShownRows(
        # An account: what came in, what went out, the rest; the largest of each first.
        tuple(sorted(merged[:limit], key=_side_of_the_account) if by_figure else merged[:limit]),
        _row([change for change in process.changes if id(change) not in kept]),
        _row([change for row in merged[limit:] for change in row.changes]),
    )


def _likeness(change: Change) -> object:
    """Changes of equal likeness read the same. Of a file that was replaced, all segments are one row."""
    perms = None if "replaced" in change.kinds else change.perms
    return (change.kinds[0] if perms is None else change.kinds, change.possibly, perms, region_name(change))


def _side_of_the_account(row: ShownRow) -> int:
    amounts = [row.delta[FIGURE_INDEX[name]] or 0 for name in ("rss_kib", "footprint_kib", "swap_kib", "size_kib", "dirty_kib")]
    amount = next((amount for amount in amounts if amount), 0)
    return 0 if amount > 0 else 1 if amount < 0 else 2


def _row(changes: Sequence[Change]) -> ShownRow:
    return ShownRow(tuple(changes), sum_figures(change.delta for change in changes))


def found_changes(result: Comparison, view: View) -> bool:
    """Whether anything changed, by at least the threshold if there is one."""
    if view.threshold_kib <= 0:
        return any(process.changes or process.match in (Match.NEW, Match.GONE) for process in result.processes)
    return any(choose(process, view, None).shown for process in result.processes)


@dataclass(frozen=True, slots=True)
class ProcessSummaryRows:
    """Processes as rows: those to show, those below the threshold or beyond the number of rows, and those that cannot be compared.

    `total` is the sum of the first two: what has no table adds nothing, and must not make the rest unknown.
    """

    shown: tuple[ProcessComparison, ...]
    hidden: tuple[ProcessComparison, ...]
    without_table: tuple[ProcessComparison, ...]
    total: Figures


def summarise_processes(result: Comparison, view: View) -> ProcessSummaryRows:
    """The processes of a comparison, largest change first."""
    ordered = sorted(result.processes, key=lambda process: sort_key(process, view.sort))
    without = tuple(p for p in ordered if not p.comparable)
    compared = [p for p in ordered if p.comparable]
    large = [p for p in compared if _is_large(p, view)]
    shown = large[: view.top] if view.top else large
    kept = {id(process) for process in shown}
    return ProcessSummaryRows(tuple(shown), tuple(p for p in compared if id(p) not in kept), without, sum_figures(p.delta for p in compared))


@dataclass(frozen=True, slots=True)
class FamilySummaryRows:
    """Families as rows: those to show, those below the threshold or beyond the number of rows, and the sum of both."""

    shown: tuple[FamilyChange, ...]
    hidden: tuple[FamilyChange, ...]
    total: Figures


def summarise_families(families: Sequence[FamilyChange], view: View) -> FamilySummaryRows:
    """The families of a comparison, largest change first."""
    ordered = sorted(families, key=lambda row: sort_key(row, view.sort))
    large = [row for row in ordered if _is_large(row, view)]
    shown = large[: view.top] if view.top else large
    kept = {row.family for row in shown}
    hidden = tuple(row for row in ordered if row.family not in kept)
    return FamilySummaryRows(tuple(shown), hidden, sum_figures(row.delta for row in ordered))


def applied_rules(families: Sequence[FamilyChange]) -> list[AppliedRule]:
    """The rules that put mappings into these families."""
    return [AppliedRule(counts_words(before, after), row.family, reason) for row in families for reason, before, after in row.reasons]


def is_telling(change: Change) -> bool:
    """Whether a change is more than a shift of Referenced, Pss or flags."""
    return change.kinds != ("changed",) or any(change.get(figure) for figure in MAIN_FIGURES)


def sort_key(row: Change | FamilyChange | ProcessComparison, sort: str | None) -> tuple[float, ...] | tuple[str]:
    """Largest change of a figure first (Rss, then Size, unless told otherwise); names and addresses in their order."""
    if sort == "name":
        return (row.name if isinstance(row, Change) else row.family if isinstance(row, FamilyChange) else row.process.name,)
    if sort == "address" and isinstance(row, Change):
        return ((row.after or row.before)[0].start,)
    figures = (f"{sort}_kib",) if sort not in (None, "address") else ()
    return tuple(-abs(row.get(figure) or 0) for figure in (*figures, "rss_kib", "size_kib", "dirty_kib"))


def by_growth(row: ProcessSummary) -> tuple[float, int]:
    """Processes of a store that grew most between their first and last table first."""
    # Saved tables may have no footprint: then the next best figure that both ends have.
    for figure in ("footprint_kib", "rss_kib", "size_kib"):
        first, last = row.totals_first.get(figure), row.totals_last.get(figure)
        if first is not None and last is not None:
            return (float(first - last), row.process.pid)
    return (0.0, row.process.pid)


def figure_of(figures: Figures, name: str) -> int | None:
    """One figure by its name."""
    return figures[FIGURE_INDEX[name]]
