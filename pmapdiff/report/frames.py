"""Results as pandas frames: for notebooks, and what the CSV of lists and comparisons is written from.

Figures are nullable integers (`Int64`) in KiB: a missing value is `<NA>`, never 0. Addresses are "0x…" strings, moments
aware UTC timestamps; text is the stranger's own, not yet safe to print.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pmapdiff.align import History
from pmapdiff.analyse.fleet_result import FleetLeaks
from pmapdiff.analyse.result import Leaks
from pmapdiff.compare import Comparison, ProcessComparison
from pmapdiff.compare.fleet import FleetComparison
from pmapdiff.model import FIGURES, Mapping, Snapshot, SnapshotRef
from pmapdiff.model.mapping import SUM_PERMS, known_perms
from pmapdiff.report.base import View
from pmapdiff.report.columns import Kind, kind_of
from pmapdiff.report.families import summarise
from pmapdiff.report.findings import COLUMNS, finding_rows
from pmapdiff.report.flat import MAPPINGS, Flat
from pmapdiff.report.fleet_rows import COMPARE_COLUMNS, LEAKS_COLUMNS, compare_rows, leaks_rows
from pmapdiff.report.regions import figure_name, rows_of
from pmapdiff.report.shape import choose, sort_key

if TYPE_CHECKING:
    import pandas as pd

    from pmapdiff.store import HostSummary, ProcessSummary, SnapshotSummary

_ENDS = ("taken_at_before", "taken_at", "pid", "pid_before", "command", "match")


def _frame(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    import pandas as pd

    types: dict[Kind, Any] = {
        Kind.INTEGER: "Int64",
        Kind.UNSIGNED: "UInt64",
        Kind.NUMBER: "Float64",
        Kind.FLAG: "boolean",
        Kind.WORD: "string",
        Kind.TEXT: "string",
    }
    frame = pd.DataFrame(list(rows), columns=list(columns), dtype=object)
    for name in columns:
        kind = kind_of(name)
        if kind is Kind.MOMENT:
            # By way of Int64, because a float has no microseconds.
            frame[name] = pd.to_datetime(frame[name].astype("Int64"), unit="us", utc=True)
        else:
            frame[name] = frame[name].astype(types[kind])
    return frame


def _hex(value: int | None) -> str | None:
    return None if value is None else hex(value)


def _span(mappings: Sequence[Mapping]) -> tuple[str | None, str | None]:
    """From the lowest start to the highest end."""
    return (hex(mappings[0].start), hex(max(m.end for m in mappings))) if mappings and not mappings[0].is_sum else (None, None)


def flat_frame(flat: Flat, view: View | None = None) -> pd.DataFrame:
    """A flat table as a frame: all of it, so of as many snapshots as there is memory for."""
    view = view or View()
    rows = ((*block.head, *cells) for block in flat.table.blocks(flat.snapshots, view) for cells in block.rows.cells())
    return _frame(flat.table.columns(view), rows)


def mapping_frame(snapshot: Snapshot, view: View | None = None) -> pd.DataFrame:
    """One row a mapping of a snapshot, with every counter and its family."""
    return flat_frame(Flat(MAPPINGS, (snapshot,)), view)


def _ends(comparison: Comparison, process: ProcessComparison) -> tuple[Any, ...]:
    pid_before = None if process.before is None else process.before.process.pid
    pid = process.process.pid
    moments = (comparison.before.taken_at_us, comparison.after.taken_at_us)
    return (*moments, pid, pid_before, process.process.name, process.match.value)


def change_frame(comparison: Comparison, view: View | None = None) -> pd.DataFrame:
    """One row a change; figures are differences."""
    view = view or View()
    columns = (
        *_ENDS,
        *("change", "possibly", "family", *(("family_reason",) if view.explain else ()), "name", "path", "offset", "perms"),
        *("start_before", "end_before", "start", "end", "mappings_before", "mappings_after"),
        *FIGURES,
    )
    rows = (
        (
            *_ends(comparison, process),
            *(
                "+".join(c.kinds),
                c.possibly,
                c.family,
                *((c.family_reason,) if view.explain else ()),
                c.name,
                c.path,
                _hex(c.offset),
                known_perms(c.perms),
            ),
            *(*_span(c.before), *_span(c.after), len(c.before), len(c.after)),
            *c.delta,
        )
        for process in comparison.processes
        for c in choose(process, view, view.top).shown
    )
    return _frame(columns, rows)


def family_frame(comparison: Comparison, view: View | None = None) -> pd.DataFrame:
    """One row a process and family; figures are differences."""
    view = view or View()
    rows = (
        (
            *(*_ends(comparison, process), row.family),
            *(("; ".join(reason for reason, _, _ in row.reasons),) if view.explain else ()),
            *(row.mappings_before, row.mappings_after),
            *row.delta,
        )
        for process in comparison.processes
        for row in sorted(process.families, key=lambda row: sort_key(row, view.sort))
    )
    return _frame((*_ENDS, "family", *(("family_reason",) if view.explain else ()), "mappings_before", "mappings_after", *FIGURES), rows)


def family_total_frame(snapshot: Snapshot, view: View) -> pd.DataFrame:
    """One row a family over all processes of a snapshot; with reasons, one row a family and rule."""
    summary = summarise(snapshot, view)
    columns = ("snapshot_id", "taken_at", "processes", "family", *(("family_reason",) if view.explain else ()), "mappings", *FIGURES)
    start = (snapshot.ref.id, snapshot.ref.taken_at_us, summary.processes)
    parts = [part for row in summary.families for part in (row.rules if view.explain else [row])]
    rows = ((*start, part.family, *((part.reason,) if view.explain else ()), part.totals.mappings, *part.totals.figures) for part in parts)
    return _frame(columns, rows)


def process_frame(comparison: Comparison, view: View | None = None) -> pd.DataFrame:
    """One row a process; figures are differences of its totals."""
    sort = (view or View()).sort
    rows = (
        (
            *_ends(comparison, p),
            None if p.totals_before is None else p.totals_before.mappings,
            None if p.totals_after is None else p.totals_after.mappings,
            *(len(p.changes), p.unchanged),
            *p.delta,
        )
        for p in sorted(comparison.processes, key=lambda p: sort_key(p, sort))
    )
    return _frame((*_ENDS, "mappings_before", "mappings_after", "changes", "unchanged", *FIGURES), rows)


def comparison_frame(comparison: Comparison, view: View) -> pd.DataFrame:
    """One row a region, family or process, as the view says."""
    return {"region": change_frame, "family": family_frame, "process": process_frame}[view.by](comparison, view)


def show_frame(snapshot: Snapshot, view: View) -> pd.DataFrame:
    """One row a mapping, or a family, as the view says."""
    return family_total_frame(snapshot, view) if view.by == "family" else mapping_frame(snapshot, view)


def history_frame(history: History, view: View | None = None) -> pd.DataFrame:
    """One row a region and snapshot, from where its service was first seen to where it was last; figures are missing in a gap."""
    view = view or View()
    columns = (
        *("snapshot_id", "taken_at", "host", "pid", "command", "status"),
        *("region", "family", "name", "path", "offset", "perms", "possibly", "start", "end", "mappings"),
        *FIGURES,
    )

    def rows() -> Iterator[tuple[Any, ...]]:
        for service in history.services:
            found = rows_of(service, replace(view, by="region", top=view.top or 0), figure_name(view, history), view.top or 0)
            for known in (region for row in found.rows for region in row.regions):
                label = known.region.label
                about = (known.id, label.family, label.name, label.path, _hex(label.offset), known_perms(label.perms), known.region.possibly)
                for step in service.lifetime:
                    ref, capture, sample = history.snapshots[step], service.captures[step], known.samples[step]
                    status = None if capture is None else capture.status.value
                    process = service.process if capture is None else capture.process
                    yield (
                        *(ref.id, ref.taken_at_us, ref.host, process.pid, process.name, status, *about),
                        *(
                            (hex(sample.start), hex(sample.end))
                            if sample is not None and sample.mappings and label.perms != SUM_PERMS
                            else (None, None)
                        ),
                        *((None,) * (len(FIGURES) + 1) if sample is None else (sample.mappings, *sample.figures)),
                    )

    return _frame(columns, rows())


def _ref_cells(ref: SnapshotRef) -> tuple[Any, ...]:
    return (ref.id, ref.taken_at_us, ref.host, ref.label, ref.source)


def snapshot_frame(summaries: Sequence[SnapshotSummary], _view: View | None = None) -> pd.DataFrame:
    """One row a snapshot."""
    columns = ("id", "taken_at", "host", "label", "source", "duration_us", "processes", "mappings", "rss_kib", "footprint_kib")
    rows = (
        (*_ref_cells(row.ref), row.ref.duration_us, sum(row.statuses.values()), row.mappings, row.rss_kib, row.footprint_kib) for row in summaries
    )
    return _frame(columns, rows)


def process_summary_frame(summaries: Sequence[ProcessSummary], _view: View | None = None) -> pd.DataFrame:
    """One row a process, its figures when it was first and last seen."""
    shown = ("size_kib", "rss_kib", "pss_kib", "dirty_kib", "swap_kib", "footprint_kib")
    ends = ("snapshot_first", "taken_at_first", "snapshot_last", "taken_at_last")
    columns = (
        "pid",
        "command",
        "command_line",
        "host",
        "snapshots",
        "read_us",
        *ends,
        *(f"{name}_{end}" for name in shown for end in ("first", "last")),
    )
    rows = (
        (
            *(row.process.pid, row.process.name, row.process.command_line, row.host, row.captures, row.read_us),
            *(cell for ref in (row.first, row.last) for cell in (ref.id, ref.taken_at_us)),
            *(totals.get(name) for name in shown for totals in (row.totals_first, row.totals_last)),
        )
        for row in summaries
    )
    return _frame(columns, rows)


def host_frame(summaries: Sequence[HostSummary], _view: View | None = None) -> pd.DataFrame:
    """One row a host."""
    ends = ("taken_at_first", "snapshot_last", "taken_at_last")
    columns = ("host", "snapshots", "processes", *ends, "age_us", "gap_us", "silent", "lag_us", "clock_offset_us")
    rows = (
        (
            *(row.host, row.snapshots, row.processes, row.first_us),
            *((None, None) if row.last is None else (row.last.id, row.last.taken_at_us)),
            *(row.age_us, row.gap_us, row.silent, row.lag_us, row.clock_offset_us),
        )
        for row in summaries
    )
    return _frame(columns, rows)


def leak_frame(leaks: Leaks, view: View | None = None) -> pd.DataFrame:
    """One row a finding, and one for each process that has none; the ends of an interval are in the unit of the slope."""
    return _frame(COLUMNS, finding_rows(leaks, (view or View()).top or None))


def fleet_leak_frame(fleet: FleetLeaks, view: View | None = None) -> pd.DataFrame:
    """One row a process that grows, service by service."""
    return _frame(LEAKS_COLUMNS, leaks_rows(fleet, (view or View()).top or None))


def fleet_change_frame(fleet: FleetComparison, view: View | None = None) -> pd.DataFrame:
    """One row a service; figures are differences over all hosts."""
    return _frame(COMPARE_COLUMNS, compare_rows(fleet, (view or View()).top or None))


_FRAMES: dict[str, Callable[[Any, View], pd.DataFrame]] = {
    "compare": comparison_frame,
    "show": show_frame,
    "history": history_frame,
    "series": history_frame,
    "leaks": leak_frame,
    "fleet-leaks": fleet_leak_frame,
    "fleet-compare": fleet_change_frame,
    "snapshots": snapshot_frame,
    "processes": process_summary_frame,
    "hosts": host_frame,
}


def frame_of(subject: str, result: Any, view: View) -> pd.DataFrame:
    """A result of any kind as a frame: what the CSV of this subject is written from."""
    return _FRAMES[subject](result, view)
