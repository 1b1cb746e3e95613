"""What is in a store, as text: its snapshots, its processes, its hosts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pmapdiff.report.figures import figure_columns
from pmapdiff.report.page import Page, register_page
from pmapdiff.report.sparkline import bar
from pmapdiff.report.table import HANGING, Cell, Column, Row, cut_end, delta_cell, size_cell, worded
from pmapdiff.report.words import command_words
from pmapdiff.text import printable
from pmapdiff.units import format_moment_short, format_us, plural

_BAR = 12

if TYPE_CHECKING:
    from pmapdiff.store import HostSummary, ProcessSummary, SnapshotSummary


@register_page("snapshots")
def write_snapshots(result: Sequence[SnapshotSummary], page: Page) -> None:
    """A row a snapshot, the newest last."""
    rows: list[Row] = []
    # The bars are of one figure, so that they can be compared.
    amounts = [row.footprint_kib for row in result]
    if None in amounts:
        amounts = [row.rss_kib for row in result]
    largest = max((amount or 0 for amount in amounts), default=0)
    several = len({row.ref.host for row in result}) > 1
    for row, amount in zip(result, amounts, strict=True):
        marks = ", ".join(f"{count} {status}" for status, count in row.statuses.items() if status != "complete")
        source = "" if row.ref.source == "live" else printable(row.ref.source if page.view.is_wide else row.ref.source.rsplit("/", 1)[-1])
        about = [printable(row.ref.label or ""), source and f"from {source}", marks]
        counts = [f"{sum(row.statuses.values()):,}", f"{row.mappings:,}"]
        rows.append(
            [
                *(str(row.ref.id), format_moment_short(row.ref.taken_at_us), *([printable(row.ref.host)] if several else []), *counts),
                *(size_cell(row.rss_kib), size_cell(row.footprint_kib), Cell(bar((amount or 0) / largest, _BAR) if largest else "")),
                Cell("; ".join(part for part in about if part), "yellow" if marks else ""),
            ]
        )
    columns = [Column("#"), worded("Taken at"), *_hosts(several), Column("Processes"), Column("Mappings", spare=2)]
    page.table([*columns, *figure_columns(["rss_kib", "footprint_kib"]), worded("Over time", extra=True), worded("Label", room=28)], rows)


@register_page("processes")
def write_processes(result: Sequence[ProcessSummary], page: Page) -> None:
    """A row a process, last against first, so that the fat and the growing stand out."""
    rows: list[Row] = []
    several = len({row.host for row in result}) > 1
    for row in result:
        where = [printable(row.host)] if several else []
        cells: list[Cell | str] = [str(row.process.pid or "-"), *where, f"{row.captures:,}", size_cell(row.totals_last.get("size_kib"))]
        for figure in ("rss_kib", "footprint_kib"):
            first, last = row.totals_first.get(figure), row.totals_last.get(figure)
            cells += [size_cell(last), delta_cell(None if first is None or last is None else last - first)]
        cells.append("-" if row.read_us is None else format_us(row.read_us))
        rows.append([*cells, command_words(row.process, full=page.view.width is None or page.view.is_wide)])
    size, rss, footprint = figure_columns(["size_kib", "rss_kib", "footprint_kib"])
    columns = [Column("PID"), *_hosts(several), Column("Snapshots", extra=True, spare=2), size, rss, Column("±", spare=4), footprint, Column("±")]
    page.table([*columns, Column("Read", extra=True, spare=3), worded("Command", room=30)], rows, cut=cut_end)


@register_page("hosts")
def write_hosts(result: Sequence[HostSummary], page: Page) -> None:
    """A row a host, and at the end how many are silent."""
    rows: list[Row] = []
    for row in result:
        style = "red" if row.silent else ""
        age = _span(row.age_us) + (", silent" if row.silent else "")
        offset = "-" if row.clock_offset_us is None else f"{'+' if row.clock_offset_us > 0 else ''}{_span(row.clock_offset_us)}"
        ends = ["-" if moment is None else format_moment_short(moment) for moment in (row.first_us, row.last and row.last.taken_at_us)]
        cells: list[Cell | str] = [f"{row.snapshots:,}", f"{row.processes:,}", *ends, Cell(age, style), _span(row.gap_us), _span(row.lag_us), offset]
        rows.append([*cells, Cell(printable(row.host), style)])
    counts = [Column("Snapshots", spare=2), Column("Processes", spare=3)]
    moments = [worded("First capture", extra=True), worded("Last capture", spare=1), Column("Ago"), Column("Longest gap", extra=True)]
    page.table([*counts, *moments, Column("Lag"), Column("Clock"), worded("Host", room=12)], rows)
    silent = sum(row.silent for row in result)
    if silent:
        of_all = f"{silent:,} of {plural(len(result), 'host')} {'is' if silent == 1 else 'are'} silent"
        page.wrapped(f"{of_all}: the last capture is older than twice the longest gap between the 20 before", "red", *HANGING)
    if not result:
        page.wrapped("no host: the store is empty")


def _span(us: int | None) -> str:
    """A time, long or short; before there is a minus."""
    if us is None:
        return "-"
    return f"{'-' if us < 0 else ''}{format_us(abs(us))}"


def _hosts(several: bool) -> list[Column]:
    """The column that tells hosts apart, where there are several."""
    return [worded("Host")] if several else []
