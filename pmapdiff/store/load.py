"""Reading back: which processes a snapshot holds, with their totals."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, and_, bindparam, func, select
from sqlalchemy.engine import Connection

from pmapdiff.model import FIGURES, Capture, Origin, ProcessIdentity, ProcessInfo, SnapshotRef, Totals
from pmapdiff.store.bulk import chunks, fetch_tuples
from pmapdiff.store.schema import STATUSES, WITH_TABLE, capture, host, numbering, process, snapshot, string, totals

# How many processes a reader keeps: a few MB.
_KEPT_PROCESSES = 5_000


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


_CAPTURE = tuple(column for column in capture.columns if column.name not in ("snapshot_id", "process_id"))
# Of a row, what comes before the totals.
_FACTS = 2 + len(_CAPTURE)
_TOTALS = (totals.c.digest, totals.c.mappings, *(totals.c[name] for name in FIGURES))


@lru_cache(maxsize=1)
def capture_query() -> Select[Any]:
    """Captures with their totals, in the order that `CaptureReader` reads."""
    return select(capture.c.process_id, capture.c.snapshot_id, *_CAPTURE, *_TOTALS).join_from(capture, totals, totals_of_capture(), isouter=True)


@lru_cache(maxsize=1)
def _process_query() -> Select[Any]:
    """Processes by their numbers, the parameter `ids`."""
    comm, cmdline, exe, cgroup = (string.alias(name) for name in ("comm", "cmdline", "exe", "cgroup"))
    return (
        select(
            process,
            comm.c.raw.label("comm"),
            cmdline.c.raw.label("cmdline"),
            exe.c.raw.label("exe"),
            cgroup.c.raw.label("cgroup"),
        )
        .join(comm, comm.c.id == process.c.comm_id)
        .join(cmdline, cmdline.c.id == process.c.cmdline_id)
        .join(exe, exe.c.id == process.c.exe_id, isouter=True)
        .join(cgroup, cgroup.c.id == process.c.cgroup_id, isouter=True)
        .where(process.c.id.in_(bindparam("ids", expanding=True)))
    )


def _process_info(row: Row[Any]) -> ProcessInfo:
    return ProcessInfo(
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


class CaptureReader:
    """Loads captures, without their tables; keeps the processes that it has seen, and the last totals of each.

    What did not change from one capture of a process to the next is the same object. So a reader is good for one transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._processes: dict[int, ProcessInfo] = {}
        self._totals: dict[int, tuple[tuple[Any, ...], bytes | None, Totals | None]] = {}

    def read(self, query: Select[Any], parameters: dict[str, Any] | None = None) -> list[StoredCapture]:
        """The captures that a query like `capture_query` finds."""
        rows = fetch_tuples(self._connection, query, parameters)
        self._learn({row[0] for row in rows})
        return [self._capture(row) for row in rows]

    def trim(self) -> None:
        """Forget what months of snapshots would add up to."""
        if len(self._processes) > _KEPT_PROCESSES:
            self._processes.clear()
            self._totals.clear()

    def _learn(self, process_ids: set[int]) -> None:
        for part in chunks([number for number in process_ids if number not in self._processes]):
            for row in self._connection.execute(_process_query(), {"ids": part}):
                self._processes[row.id] = _process_info(row)

    def _capture(self, row: tuple[Any, ...]) -> StoredCapture:
        process_id, snapshot_id, status, threads, vm_hwm_kib, limit, usage, read_us, note = row[:_FACTS]
        sums = row[_FACTS:]
        known = self._totals.get(process_id)
        if known is None or known[0] != sums:
            known = self._totals[process_id] = (sums, _raw(sums[0]), None if sums[1] is None else Totals(sums[1], sums[2:]))
        info = self._processes[process_id]
        return StoredCapture(
            process_id, snapshot_id, Capture(info, STATUSES[status], None, known[1], known[2], threads, vm_hwm_kib, limit, usage, read_us, note)
        )


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
        func.coalesce(snapshot.c.origin_store, select(numbering.c.store).scalar_subquery()).label("origin_store"),
        func.coalesce(snapshot.c.origin_number, snapshot.c.id).label("origin_number"),
    ).join_from(snapshot, host, host.c.id == snapshot.c.host_id)


def snapshot_ref(row: Row[Any]) -> SnapshotRef:
    """One row of `snapshot_query` as an object."""
    return SnapshotRef(
        row.id,
        row.taken_at,
        row.host,
        row.label,
        row.source,
        row.duration_us,
        row.selection,
        row.max_map_count,
        row.mem_total_kib,
        Origin(row.origin_store, row.origin_number),
    )
