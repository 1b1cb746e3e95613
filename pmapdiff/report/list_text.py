"""What is in a store, as text: its snapshots, its processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pmapdiff.report.page import Page, register_page
from pmapdiff.report.table import Cell, Row, cut_end, delta_cell
from pmapdiff.text import printable
from pmapdiff.units import format_kib, format_moment_short, format_us

if TYPE_CHECKING:
    from pmapdiff.store import ProcessSummary, SnapshotSummary


@register_page("snapshots")
def write_snapshots(result: Sequence[SnapshotSummary], page: Page) -> None:
    """A row a snapshot, the newest last."""
    rows: list[Row] = []
    wide = page.view.is_wide
    for row in result:
        marks = ", ".join(f"{count} {status}" for status, count in row.statuses.items() if status != "complete")
        source = "" if row.ref.source == "live" else printable(row.ref.source if wide else row.ref.source.rsplit("/", 1)[-1])
        about = [printable(row.ref.label or ""), source and f"from {source}", marks]
        rows.append(
            [
                str(row.ref.id),
                format_moment_short(row.ref.taken_at_us),
                f"{sum(row.statuses.values()):,}",
                f"{row.mappings:,}",
                format_kib(row.rss_kib),
                *([format_kib(row.footprint_kib)] if wide else []),
                "; ".join(part for part in about if part),
            ]
        )
    header = ["#", "Taken at", "Procs", "Mappings", "Rss", *(["Footprint"] if wide else []), "Label"]
    page.table(header, [1, len(header) - 1], rows)


@register_page("processes")
def write_processes(result: Sequence[ProcessSummary], page: Page) -> None:
    """A row a process, first against last, so that the fat and the growing stand out."""
    rows: list[Row] = []
    wide = page.view.is_wide
    for row in result:
        cells: list[Cell | str] = [str(row.process.pid or "-"), *([f"{row.captures:,}"] if wide else []), format_kib(row.totals_last.get("size_kib"))]
        for figure in ("rss_kib", "footprint_kib"):
            first, last = row.totals_first.get(figure), row.totals_last.get(figure)
            delta = None if first is None or last is None else last - first
            cells += [format_kib(last), delta_cell(delta)]
        cells += [format_us(row.read_us) if row.read_us is not None else "-"] if wide else []
        program, _, arguments = row.process.command_line.partition(" ")
        rows.append([*cells, printable(f"{program if wide else program.rsplit('/', 1)[-1]} {arguments}").rstrip()])
    header = ["PID", *(["Snaps"] if wide else []), "Size", "Rss", "± first", "Footprint", "± first", *(["Read"] if wide else []), "Command"]
    page.table(header, [len(header) - 1], rows, cut=cut_end)
