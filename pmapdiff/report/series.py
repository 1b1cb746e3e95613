"""More than two snapshots side by side: a column each, for the same regions, families or processes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from pmapdiff.align import History, ServiceHistory
from pmapdiff.report.base import View, figure_title
from pmapdiff.report.page import Page, register_page
from pmapdiff.report.regions import SeriesRow, figure_name, has_changed, last_less_first, left_out_words, most_varied, rows_of, service_title, value
from pmapdiff.report.table import HANGING, IN_FULL, Cell, Column, Row, delta_cell, size_cell, worded
from pmapdiff.report.words import snapshot_words
from pmapdiff.units import format_delta_kib, plural

_ROWS = 12
_IN_FULL = 2
_COLUMN = 11
_LEAST_NAME = 20
_SUM = "in all"
# A name, and the figure in each snapshot.
_Series: TypeAlias = "tuple[str, Sequence[int | None]]"


@register_page("series")
def write_series(result: History, page: Page) -> None:
    """Which snapshots, then for each process a row a region: its figure in each, and the difference of the last and the first."""
    for number, ref in enumerate(result.snapshots):
        page.wrapped(f"{'' if ref.id is not None else _column(result, number) + ' '}{snapshot_words(ref)}", "", *HANGING)
    view = page.view
    figure = figure_name(view, result)
    without = [service for service in result.services if not service.regions]
    changed = [service for service in result.services if service.regions and _service_changed(service)]
    changed.sort(key=lambda service: (-abs(last_less_first(_totals(service, figure)) or 0), -most_varied(service, figure)))
    in_full = view.by == "region" and (view.top is not None or len(changed) <= _IN_FULL)
    if view.by == "process" or (view.by == "region" and not in_full):
        page.line()
        page.line(f"{figure_title(figure)} by process", "bold")
        rows = [(service_title(service, result), _totals(service, figure)) for service in changed]
        _write_rows(result, "Process", rows, page)
    elif view.by == "family" and len(changed) > 1:
        page.line()
        page.line(f"{figure_title(figure)} by family", "bold")
        _write_rows(result, "Family", _by_family(changed, view, figure), page)
    else:
        for service in changed:
            _write_service(result, service, figure, page)
    shortened = view.by == "region" and not in_full
    if changed and (shortened or len(changed) < len(result.services)):
        page.line()
    if changed and shortened:
        page.wrapped(IN_FULL)
    _write_others(result, len(changed), len(without), page)


def _write_service(history: History, service: ServiceHistory, figure: str, page: Page) -> None:
    """The regions of one service, or its families."""
    view, totals = page.view, _totals(service, figure)
    page.line()
    page.wrapped(f"{service_title(service, history)}: {figure_title(figure)} {format_delta_kib(last_less_first(totals))}", "bold", *HANGING)
    found = rows_of(service, view, figure, _ROWS if view.top is None else view.top)
    rows = [*found.rows]
    if found.hidden or found.unchanged:
        rows.append(SeriesRow(left_out_words(found), found.rest))
    title = "Family" if view.by == "family" else "Mapping"
    _write_columns(history, title, [(row.name, [value(s, figure) for s in row.samples]) for row in rows], totals, page)


def _totals(service: ServiceHistory, figure: str) -> list[int | None]:
    return [None if t is None else t.get(figure) for t in service.totals]


def _by_family(services: Sequence[ServiceHistory], view: View, figure: str) -> list[_Series]:
    """The families of all services together."""
    parts: dict[str, list[list[int | None]]] = defaultdict(list)
    for service in services:
        for row in rows_of(service, replace(view, top=0), figure, 0).rows:
            parts[row.name].append([value(sample, figure) for sample in row.samples])
    return [(name, [_sum(column) for column in zip(*values, strict=True)]) for name, values in parts.items()]


def _write_others(history: History, changed: int, without: int, page: Page) -> None:
    unchanged = len(history.services) - changed - without
    if without:
        page.wrapped(f"{plural(without, 'process', 'processes')} cannot be compared: there is no table")
    if unchanged:
        page.wrapped(f"{plural(unchanged, 'process', 'processes')} unchanged")
    if not history.services:
        page.wrapped("no process in any of these snapshots")


def _column(history: History, number: int) -> str:
    ref = history.snapshots[number]
    return f"#{ref.id}" if ref.id is not None else f"({number + 1})"


def _service_changed(service: ServiceHistory) -> bool:
    return any(has_changed(known.samples) for known in service.regions) or None in service.captures or None in service.totals


def _write_rows(history: History, title: str, unordered: Sequence[_Series], page: Page) -> None:
    """Services or families, those that changed most first, and their sum."""
    rows = sorted(unordered, key=lambda row: (-abs(last_less_first(row[1]) or 0), -max((v for v in row[1] if v is not None), default=0)))
    limit = _ROWS if page.view.top is None else page.view.top
    shown, rest = (rows[:limit], rows[limit:]) if limit else (rows, [])
    columns = list(zip(*(values for _, values in rows), strict=True))
    if rest:
        name = plural(len(rest), "more process", "more processes") if title == "Process" else plural(len(rest), "more family", "more families")
        shown = [*shown, (name, [_sum(c) for c in zip(*(v for _, v in rest), strict=True)])]
    _write_columns(history, title, shown, [_sum(column) for column in columns], page)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None


def _write_columns(history: History, title: str, rows: Sequence[_Series], totals: Sequence[int | None], page: Page) -> None:
    """The rows and their sum; where there is no room for all columns, in several blocks."""
    count = len(history.snapshots)
    room = count if page.view.width is None else max(2, (page.view.width - _LEAST_NAME - _COLUMN) // _COLUMN)
    for begin in range(0, count, room):
        part = range(begin, min(begin + room, count))
        is_last = part.stop == count
        body: list[Row] = []
        for name, values in [*rows, ("", ()), (_SUM, totals)]:
            if not values:
                body.append([])
                continue
            style = "bold" if name == _SUM else ""
            cells: list[Cell | str] = [size_cell(values[i], style) for i in part]
            if is_last:
                # What is known of one snapshot alone has no difference.
                difference = last_less_first(values) if sum(v is not None for v in values) > 1 else None
                cells.append(delta_cell(difference, style))
            body.append([*cells, name])
        page.table([*(Column(_column(history, i)) for i in part), *([Column("±")] if is_last else []), worded(title)], body)
        if not is_last:
            page.line()
