"""Reading back: which processes a snapshot holds, with their totals."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, select
from sqlalchemy.engine import Connection

from pmapdiff.model import FIGURES, Capture, ProcessIdentity, ProcessInfo, SnapshotRef, Totals
from pmapdiff.store.schema import STATUSES, WITH_TABLE, capture, host, process, snapshot, string, totals


def _raw(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


class StoredCapture(NamedTuple):
    """A capture with its place in the store; `capture.table` is not loaded."""

    process_id: int
    snapshot_id: int
    capture: Capture


def totals_of_capture() -> ColumnElement[bool]:
    """The join of a capture with its totals: of the intervals of its process, the first that has not ended before it.

    Looked up by its end, because a range condition would walk through all later intervals for each capture.
    """
    later = totals.alias("later")
    end = select(func.min(later.c.last_snapshot)).where(later.c.process_id == capture.c.process_id, later.c.last_snapshot >= capture.c.snapshot_id)
    return and_(
        totals.c.process_id == capture.c.process_id,
        totals.c.last_snapshot == end.scalar_subquery(),
        totals.c.first_snapshot <= capture.c.snapshot_id,
        capture.c.status.in_(WITH_TABLE),
    )


@lru_cache(maxsize=1)
def capture_query() -> Select[Any]:
    """Captures with their process and totals, in the order that `stored_capture` reads."""
    comm, cmdline, exe, cgroup = (string.alias(name) for name in ("comm", "cmdline", "exe", "cgroup"))
    return (
        select(
            capture,
            process.c.boot_id,
            process.c.pid,
            process.c.start_ticks,
            process.c.exec_key,
            process.c.ppid,
            process.c.uid,
            process.c.started_at,
            process.c.container,
            process.c.unit,
            process.c.rlimit_as_bytes,
            process.c.rlimit_data_bytes,
            process.c.rlimit_stack_bytes,
            comm.c.raw.label("comm"),
            cmdline.c.raw.label("cmdline"),
            exe.c.raw.label("exe"),
            cgroup.c.raw.label("cgroup"),
            totals.c.digest,
            totals.c.mappings,
            *(totals.c[name] for name in FIGURES),
        )
        .join_from(capture, process, process.c.id == capture.c.process_id)
        .join(comm, comm.c.id == process.c.comm_id)
        .join(cmdline, cmdline.c.id == process.c.cmdline_id)
        .join(exe, exe.c.id == process.c.exe_id, isouter=True)
        .join(cgroup, cgroup.c.id == process.c.cgroup_id, isouter=True)
        .join(totals, totals_of_capture(), isouter=True)
    )


def stored_capture(row: Row[Any]) -> StoredCapture:
    """One row of `capture_query` as an object."""
    info = ProcessInfo(
        ProcessIdentity(row.boot_id, row.pid, row.start_ticks, row.exec_key),
        bytes(row.comm),
        bytes(row.cmdline),
        _raw(row.exe),
        row.ppid,
        row.uid,
        _raw(row.cgroup),
        row.container,
        row.unit,
        row.started_at,
        row.rlimit_as_bytes,
        row.rlimit_data_bytes,
        row.rlimit_stack_bytes,
    )
    sums = None if row.mappings is None else Totals(row.mappings, tuple(row[-len(FIGURES) :]))
    return StoredCapture(
        row.process_id,
        row.snapshot_id,
        Capture(
            info,
            STATUSES[row.status],
            None,
            _raw(row.digest),
            sums,
            row.threads,
            row.vm_hwm_kib,
            row.cgroup_limit_bytes,
            row.cgroup_usage_bytes,
            row.read_us,
            row.note,
        ),
    )


def captures_query(process_ids: Select[Any] | None = None) -> Select[Any]:
    """The query that `captures_of` asks, for all processes or for these."""
    query = capture_query().where(capture.c.snapshot_id == bindparam("snapshot")).order_by(process.c.pid, process.c.id)
    return query if process_ids is None else query.where(capture.c.process_id.in_(process_ids))


def captures_of(connection: Connection, query: Select[Any], snapshot_id: int) -> list[StoredCapture]:
    """The captures of a snapshot, by pid, without their tables."""
    return [stored_capture(row) for row in connection.execute(query, {"snapshot": snapshot_id})]


def snapshot_query() -> Select[Any]:
    """Snapshots with their host, in the order that `snapshot_ref` reads."""
    return select(
        snapshot.c.id,
        snapshot.c.taken_at,
        host.c.name.label("host"),
        snapshot.c.label,
        snapshot.c.source,
        snapshot.c.duration_us,
        snapshot.c.selection,
        snapshot.c.max_map_count,
        snapshot.c.mem_total_kib,
    ).join_from(snapshot, host, host.c.id == snapshot.c.host_id)


def snapshot_ref(row: Row[Any]) -> SnapshotRef:
    """One row of `snapshot_query` as an object."""
    return SnapshotRef(row.id, row.taken_at, row.host, row.label, row.source, row.duration_us, row.selection, row.max_map_count, row.mem_total_kib)
