"""What changed between two moments as an account: before, family by family and region by region, in all, after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pmapdiff.report.visual.content import Content, Row, Scope
from pmapdiff.report.visual.series import FIGURES, Series
from pmapdiff.units import plural

_COLUMNS = ("size", "rss", "footprint", "dirty", "swap", "mappings")
_REGIONS, _PROCESSES = 8, 40


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One line: `kind` is sum, family, region or total; the values are in the order of the columns, in KiB or mappings."""

    kind: str
    name: str
    values: tuple[int | None, ...]
    is_difference: bool = True


def figures_of_ledger(content: Content, scope: Scope) -> list[str]:
    """The columns: those that are known, and swap where there is some."""
    known = content.figures(scope)
    return [figure for figure in _COLUMNS if figure in known and (figure != "swap" or any(scope.totals.values("swap")))]


def ledger_rows(content: Content, scope: Scope) -> list[LedgerRow]:
    """The account of a scope; all differences together are what is in all."""
    pair = content.pair_of(scope)
    figures = figures_of_ledger(content, scope)
    before, after = (tuple(_at(scope.totals, step, figures)) for step in pair)
    rows = [LedgerRow("sum", "before", before, is_difference=False)]
    if scope.is_all:
        rows += _members(scope.rows, figures, pair, _PROCESSES)
    families = [(row, _difference(row.series, pair, figures)) for row in scope.families if not scope.is_all]
    for family, values in sorted(families, key=lambda item: _weight(item[1], figures)):
        if any(values):
            rows.append(LedgerRow("family", family.name, values))
            rows += _members([row for row in scope.rows if row.family == family.family], figures, pair, _REGIONS)
    rows += [LedgerRow("sum total", "in all", _difference(scope.totals, pair, figures)), LedgerRow("sum", "after", after, is_difference=False)]
    return rows


def _members(rows: Sequence[Row], figures: Sequence[str], pair: tuple[int, int], most: int) -> list[LedgerRow]:
    changed = [(row, values) for row in rows if any(values := _difference(row.series, pair, figures))]
    changed.sort(key=lambda item: _weight(item[1], figures))
    found = [LedgerRow("region", _words(row, pair), values) for row, values in changed[:most]]
    rest = [values for _, values in changed[most:]]
    if rest:
        sums = tuple(None if None in column else sum(v for v in column if v is not None) for column in zip(*rest, strict=True))
        found.append(LedgerRow("region", plural(len(rest), "smaller change"), sums))
    return found


def _words(row: Row, pair: tuple[int, int]) -> str:
    """`grew rw-p [heap]`: what happened to a region; of a process its name."""
    return " ".join(part for part in (_change_word(row, pair) if row.family else "", row.perms, row.path or row.name) if part)


def _change_word(row: Row, pair: tuple[int, int]) -> str:
    before, after = (_at(row.series, step, FIGURES) for step in pair)
    known = dict(zip(FIGURES, zip(before, after, strict=True), strict=True))
    if None in known["mappings"]:
        return ""
    if 0 in known["mappings"]:
        return "gone" if known["mappings"][0] else "new"
    for figure in ("size", "rss", "footprint", "dirty", "swap"):
        one, other = known[figure]
        if one != other and one is not None and other is not None:
            return "grew" if other > one else "shrank"
    return "changed"


def _at(series: Series, step: int, figures: Sequence[str]) -> list[int | None]:
    known = series.at(step)
    return [None if known is None else known[FIGURES.index(figure)] for figure in figures]


def _difference(series: Series, pair: tuple[int, int], figures: Sequence[str]) -> tuple[int | None, ...]:
    before, after = (_at(series, step, figures) for step in pair)
    return tuple(None if one is None or other is None else other - one for one, other in zip(before, after, strict=True))


def _weight(values: Sequence[int | None], figures: Sequence[str]) -> tuple[int, ...]:
    main = figures.index("rss") if "rss" in figures else 0
    return tuple(-abs(value or 0) for value in (values[main], *values))
