"""The columns of figures that tables for people have: the same ones, in the same order, wherever they stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pmapdiff.model import FIGURE_INDEX, Figures, Totals
from pmapdiff.report.base import figure_title
from pmapdiff.report.sparkline import bar
from pmapdiff.report.table import Cell, Column, delta_cell, size_cell

# In this order; where there is no room, those with the largest number are left out first, Rss never. Pss is shown where there is room to waste.
_SPARE = {"size_kib": 3, "rss_kib": 0, "pss_kib": 1, "footprint_kib": 1, "dirty_kib": 4, "swap_kib": 2}
_ALWAYS = tuple(name for name in _SPARE if name != "swap_kib")
_BAR = 8
SHARE = Column("Share", True, spare=2, extra=True)


def figure_of_sort(sort: str | None, usual: str = "rss_kib") -> str:
    """The figure that rows are in the order of."""
    return usual if sort in (None, "name", "address") else f"{sort}_kib"


def figures_to_show(totals: Iterable[Totals], sort: str | None = None) -> tuple[str, ...]:
    """The figures that any of these has; Swap only where there is some, and always that by which rows are sorted."""
    known, wanted = list(totals), figure_of_sort(sort)
    every = [*_SPARE, *([] if wanted in _SPARE else [wanted])]
    found = [name for name in every if any(each.get(name) is not None for each in known)] or every
    return tuple(name for name in found if name in (wanted, *_ALWAYS) or any(each.get(name) for each in known))


def figure_columns(names: Sequence[str], sort: str | None = None) -> list[Column]:
    """Their heads; that by which rows are sorted stays."""
    wanted = figure_of_sort(sort)
    return [
        Column(figure_title(name)) if name == wanted else Column(figure_title(name), spare=_SPARE[name], extra=name == "pss_kib") for name in names
    ]


def size_cells(figures: Figures, names: Sequence[str], style: str = "") -> list[Cell]:
    """A cell for each: sizes."""
    return [size_cell(figures[FIGURE_INDEX[name]], style) for name in names]


def delta_cells(figures: Figures, names: Sequence[str], style: str = "") -> list[Cell]:
    """A cell for each: differences."""
    return [delta_cell(figures[FIGURE_INDEX[name]], style) for name in names]


def share_cell(value: int | None, whole: int, style: str = "") -> Cell:
    """How much of the whole a value is, as a bar."""
    return Cell(bar((value or 0) / whole, _BAR) if whole else "", style)


def change_shares(amounts: Sequence[int | None]) -> list[Cell]:
    """Bars for differences: each as a part of all that came in, or of all that went out if that is more, so that all have one scale."""
    known = [amount or 0 for amount in amounts]
    whole = max(sum(a for a in known if a > 0), -sum(a for a in known if a < 0))
    return [share_cell(amount, whole, delta_cell(amount).style) for amount in known]
