"""More than two snapshots side by side: a column each, for the same regions, families or processes."""

from __future__ import annotations

from collections.abc import Sequence

from pmapdiff.align import History, ServiceHistory
from pmapdiff.report.base import figure_title
from pmapdiff.report.page import Page, register_page
from pmapdiff.report.regions import SeriesRow, figure_name, has_changed, last_less_first, left_out_words, rows_of, service_title, value
from pmapdiff.report.table import Cell, Row, delta_cell
from pmapdiff.report.words import snapshot_words
from pmapdiff.units import format_delta_kib, format_kib, plural

_ROWS = 12
_IN_FULL = 2
_COLUMN = 11
_LEAST_NAME = 20


@register_page("series")
def write_series(result: History, page: Page) -> None:
    """Which snapshots, then for each process a row a region: its figure in each, and the difference of the last and the first."""
    for number, ref in enumerate(result.snapshots):
        page.wrapped(f"{'' if ref.id is not None else _column(result, number) + ' '}{snapshot_words(ref)}")
    view = page.view
    figure = figure_name(view, result)
    without = [service for service in result.services if not service.regions]
    changed = [service for service in result.services if service.regions and _service_changed(service)]
    if view.by == "process" or (view.top is None and len(changed) > _IN_FULL and view.by == "region"):
        page.line()
        page.line(f"{figure_title(figure)} by process", "bold")
        _write_processes(result, changed, figure, page)
        if view.by != "process":
            page.wrapped("the regions of each: --top 0, or one of them: --pid")
        return _write_others(result, len(changed), len(without), page)
    for service in changed:
        totals = [None if t is None else t.get(figure) for t in service.totals]
        page.line()
        page.line(f"{service_title(service, result)}: {figure_title(figure)} {format_delta_kib(last_less_first(totals))}", "bold")
        found = rows_of(service, view, figure, _ROWS if view.top is None else view.top)
        rows = [*found.rows]
        if found.hidden or found.unchanged:
            rows.append(SeriesRow(left_out_words(found), found.rest))
        _write_columns(
            result,
            "Family" if view.by == "family" else "Mapping",
            [(row.name, [value(s, figure) for s in row.samples]) for row in rows],
            totals,
            page,
        )
    if changed:
        page.line()
    return _write_others(result, len(changed), len(without), page)


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


def _write_processes(history: History, services: Sequence[ServiceHistory], figure: str, page: Page) -> None:
    rows = [(service_title(service, history), [None if t is None else t.get(figure) for t in service.totals]) for service in services]
    rows.sort(key=lambda row: -abs(last_less_first(row[1]) or 0))
    limit = _ROWS if page.view.top is None else page.view.top
    shown, rest = (rows[:limit], rows[limit:]) if limit else (rows, [])
    columns = list(zip(*(values for _, values in rows), strict=True))
    if rest:
        shown = [*shown, (f"{plural(len(rest), 'more process', 'more processes')}", [_sum(c) for c in zip(*(v for _, v in rest), strict=True)])]
    _write_columns(history, "Process", shown, [_sum(column) for column in columns], page)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None


def _write_columns(history: History, title: str, rows: Sequence[tuple[str, Sequence[int | None]]], totals: Sequence[int | None], page: Page) -> None:
    """The rows and their sum; where there is no room for all columns, in several blocks."""
    count = len(history.snapshots)
    room = count if page.view.width is None else max(2, (page.view.width - _LEAST_NAME - _COLUMN) // _COLUMN)
    for begin in range(0, count, room):
        part = range(begin, min(begin + room, count))
        is_last = part.stop == count
        body: list[Row] = []
        for name, values in [*rows, ("", ()), ("in all", totals)]:
            if not values:
                body.append([])
                continue
            cells: list[Cell | str] = [Cell(format_kib(values[i])) for i in part]
            if is_last:
                # What is known of one snapshot alone has no difference.
                difference = last_less_first(values) if sum(v is not None for v in values) > 1 else None
                cells.append(delta_cell(difference))
            body.append([*cells, name])
        header = [*(_column(history, i) for i in part), *(["±"] if is_last else []), title]
        page.table(header, [len(header) - 1], body)
        if not is_last:
            page.line()
