"""What is in a store, as text: its snapshots, its processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pmapdiff.report.figures import figure_columns
from pmapdiff.report.page import Page, register_page
from pmapdiff.report.sparkline import bar
from pmapdiff.report.table import Cell, Column, Row, cut_end, delta_cell, size_cell, worded
from pmapdiff.report.words import command_words
from pmapdiff.text import printable
from pmapdiff.units import format_moment_short, format_us

_BAR = 12

if TYPE_CHECKING:
    from pmapdiff.store import ProcessSummary, SnapshotSummary


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


def _hosts(several: bool) -> list[Column]:
    """The column that tells hosts apart, where there are several."""
    return [worded("Host")] if several else []
