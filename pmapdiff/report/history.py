"""A history as text: regions through a series of snapshots, each snapshot a row; or many regions, each a line of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pmapdiff.align import History, RegionHistory, Samples, ServiceHistory
from pmapdiff.model import Totals
from pmapdiff.model.mapping import known_perms
from pmapdiff.report.base import View, figure_title
from pmapdiff.report.figures import figure_columns, figures_to_show
from pmapdiff.report.page import Page, register_page
from pmapdiff.report.regions import (
    change_of,
    figure_name,
    has_changed,
    largest,
    left_out_words,
    most_varied,
    rows_of,
    service_title,
    sum_of,
    swing,
    value,
)
from pmapdiff.report.sparkline import gaps, sparkline, with_gaps
from pmapdiff.report.table import ALL, HANGING, NOTE, Cell, Column, Row, delta_cell, size_cell, worded
from pmapdiff.report.words import AGAIN, again_words, capture_words, pause_words
from pmapdiff.text import printable
from pmapdiff.units import format_delta_kib, format_duration, format_kib, format_moment_short, plural

_IN_FULL = 2
_ROWS = 20
_SERVICES = 3
_NARROW_BLOCKS, _WIDE_BLOCKS = 16, 60


@register_page("history")
def write_history(result: History, page: Page) -> None:
    """One or two regions in full, a row a snapshot; of more a line each, those that changed most first; of many services only those."""
    figure = figure_name(page.view, result)
    number = sum(len(service.regions) for service in result.services)
    services = sorted(result.services, key=lambda service: -most_varied(service, figure))
    if len(result.services) > _SERVICES:
        return _write_all_services(result, figure, page)
    for count, service in enumerate(services):
        if count:
            page.line()
        if number <= _IN_FULL and page.view.by != "family":
            for place, known in enumerate(service.regions):
                if place:
                    page.line()
                _write_in_full(result, service, known, figure, page)
        else:
            _write_overview(result, service, figure, page)
    return None


def _write_rows(rows: Sequence[Row], title: str, page: Page) -> None:
    page.table([Column("First", spare=2), Column("Most", spare=1), Column("Last"), Column("±"), worded("Over time", spare=3), worded(title)], rows)


def _blocks(history: History, service: ServiceHistory, samples: Samples, figure: str, view: View) -> str:
    """The figure as blocks, from when the service was first seen to when it was last; what was not captured is blank, and so is a gap in time."""
    steps = service.lifetime
    values = with_gaps((value(samples[step], figure) for step in steps), [history.snapshots[step].taken_at_us for step in steps])
    return sparkline(values, _WIDE_BLOCKS if view.width is None or view.is_wide else _NARROW_BLOCKS)


def _heading(history: History, service: ServiceHistory, what: str = "") -> str:
    steps = service.lifetime
    first, last = history.snapshots[steps[0]], history.snapshots[steps[-1]]
    count = sum(capture is not None for capture in service.captures)
    span = f" in {format_duration((last.taken_at_us - first.taken_at_us) / 1e6)}" if len(steps) > 1 else ""
    matches = [known.match for known in service.incarnations]
    again = "".join(f", {plural(matches.count(match), word)}" for match, word in AGAIN.items() if match in matches)
    return f"{service_title(service, history)}: {what}{plural(count, 'snapshot')}{span}{again}"


def _write_in_full(history: History, service: ServiceHistory, known: RegionHistory, figure: str, page: Page) -> None:
    label = known.region.label
    page.wrapped(_heading(history, service), "bold", *HANGING)
    page.wrapped(f"{printable(label.name)}  {known_perms(label.perms) or '-'}  {label.family}  {known.id}", "bold", *HANGING)
    if known.region.possibly:
        page.wrapped("note: that this is one region throughout is in part a guess", "yellow", *NOTE)
    blocks = _blocks(history, service, known.samples, figure, page.view)
    amount = change_of(known.samples, figure)
    most = f", at most {format_kib(largest(known.samples, figure))}" if amount is not None and swing(known.samples, figure) > abs(amount) else ""
    page.line(f"{figure_title(figure)} {format_delta_kib(amount)}{most}  {blocks}")
    _write_steps(history, service, known.samples, page)


def _write_steps(history: History, service: ServiceHistory, samples: Samples, page: Page) -> None:
    figures = figures_to_show(Totals(sample.mappings, sample.figures) for sample in samples.distinct())
    restarts = service.restarts()
    steps = service.lifetime
    late = gaps([history.snapshots[step].taken_at_us for step in steps])
    rows: list[Row] = []
    for place, step in enumerate(steps):
        ref, sample = history.snapshots[step], samples[step]
        if place in late:
            rows.append(["", pause_words(history.snapshots[steps[place - 1]], ref), *("" for _ in figures), "", ""])
        before = samples[steps[place - 1]] if place else None
        note = capture_words(service, step)
        if step in restarts:
            note = again_words(restarts[step])
        elif sample is not None and not sample.mappings:
            note = note or ("gone" if before is not None and before.mappings else "not there")
        elif sample is not None and before is not None and not before.mappings:
            note = note or "new"
        number = str(ref.id) if ref.id is not None else str(step + 1)
        cells = [size_cell(value(sample, f)) for f in figures]
        rows.append([number, format_moment_short(ref.taken_at_us), *cells, "-" if sample is None else f"{sample.mappings:,}", Cell(note, "yellow")])
    page.table([Column("#"), worded("Taken at"), *figure_columns(figures), Column("Mappings", spare=5), worded("")], rows)


def _write_overview(history: History, service: ServiceHistory, figure: str, page: Page) -> None:
    found = rows_of(service, page.view, figure, _ROWS if page.view.top is None else page.view.top)
    page.wrapped(_heading(history, service, f"{figure_title(figure)} over "), "bold", *HANGING)
    rows = [_overview_row(history, service, row.samples, figure, page.view, row.name) for row in found.rows]
    if found.hidden or found.unchanged:
        rows.append(_overview_row(history, service, found.rest, figure, page.view, left_out_words(found)))
    total = sum_of(service, [known.samples for known in service.regions])
    rows += [[], _overview_row(history, service, total, figure, page.view, "in all", "bold")]
    _write_rows(rows, "Family" if page.view.by == "family" else "Mapping", page)


def _write_all_services(history: History, figure: str, page: Page) -> None:
    """The regions of all services in one table: what a first screen has room for."""
    limit = _ROWS if page.view.top is None else page.view.top
    found = [(service, row) for service in history.services for row in rows_of(service, replace(page.view, top=0), figure, 0).rows]
    if limit and len(found) > limit:
        found = [(service, row) for service, row in found if has_changed(row.samples)] or found
    if page.view.sort not in ("name", "address"):
        found.sort(key=lambda item: (-swing(item[1].samples, figure), -largest(item[1].samples, figure)))
    shown = found[:limit] if limit else found
    page.line(f"{figure_title(figure)} of the regions of {len(history.services):,} services that varied most", "bold")
    rows = [
        _overview_row(history, service, row.samples, figure, page.view, f"{service_title(service, history)}: {row.name}") for service, row in shown
    ]
    _write_rows(rows, "Process: family" if page.view.by == "family" else "Process: mapping", page)
    rest = sum(len(service.regions) for service in history.services) - len(shown)
    if rest:
        page.wrapped(f"{plural(rest, 'region')} not shown: {ALL}; those of one service: --pid or --name")


def _overview_row(history: History, service: ServiceHistory, samples: Samples, figure: str, view: View, name: str, style: str = "") -> Row:
    known = [v for sample in samples.distinct() if (v := value(sample, figure)) is not None]
    ends = (known[0], max(known), known[-1]) if known else (None, None, None)
    delta = delta_cell(change_of(samples, figure), style)
    return [*(size_cell(kib, style) for kib in ends), delta, _blocks(history, service, samples, figure, view), name]
