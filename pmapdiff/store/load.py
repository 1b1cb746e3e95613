"""Reading back: the mapping table of a process as it was at one of its captures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Row, Select, and_, bindparam, func, select
from sqlalchemy.engine import Connection

from pmapdiff.model import (
    FIGURES,
    Capture,
    Layout,
    Mapping,
    MappingTable,
    ProcessIdentity,
    ProcessInfo,
    SnapshotRef,
    Totals,
    layout_of,
)
from pmapdiff.store.bulk import STATES, chunks, fetch_tuples
from pmapdiff.store.schema import (
    DETAIL_COLUMNS,
    GEOMETRY,
    STATUSES,
    WITH_TABLE,
    backing,
    capture,
    detail,
    host,
    layout,
    mapping,
    process,
    protection,
    snapshot,
    state,
    string,
    to_unsigned,
    totals,
    usage,
)

# Counters, layout, and the values of counters that this version does not know.
_Detail = tuple[tuple[int | None, ...], Layout | None, tuple[int | bytes, ...]]


def _raw(value: Any) -> bytes | None:
    return None if value is None else bytes(value)


class _Kept(NamedTuple):
    """The last table of a process that was loaded: in snapshot `number`: its rows with the first and the last snapshot that they hold in."""

    number: int
    table: MappingTable
    rows: list[tuple[int, int, Mapping]]


class TableReader:
    """Loads mapping tables; keeps the interned rows that it has seen, and the last table of each process.

    Of two tables of one process what is the same is read once, and is the same object. So a reader is good for one transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._protections: dict[int, tuple[str, bytes | None]] = {}
        self._backings: dict[int, tuple[str | None, int | None, bytes]] = {}
        self._details: dict[int, _Detail] = {}
        self._states: dict[int, _Detail] = {}
        self._kept: dict[int, _Kept] = {}

    def table(self, process_id: int, number: int) -> MappingTable:
        """The mapping table that a process has in snapshot `number`, in which it has one."""
        kept = self._kept.get(process_id)
        lasting: list[tuple[int, int, Mapping]] = []
        query = _table_query()
        if kept is not None:
            lasting = [row for row in kept.rows if row[0] <= number <= row[1]]
            # What else there is began after the table that is kept, or ended before it.
            query = query.where(usage.c.first_snapshot > kept.number if number > kept.number else usage.c.last_snapshot < kept.number)
        found = fetch_tuples(self._connection, query, {"process": process_id, "number": number})
        if kept is not None and not found and len(lasting) == len(kept.rows):
            return kept.table
        rows = [*lasting, *self._dated(found)]
        rows.sort(key=lambda row: (row[2].start, row[2].end))
        table = MappingTable(tuple([mapping for _, _, mapping in rows]))
        self._kept[process_id] = _Kept(number, table, rows)
        return table

    def history(self, process_id: int) -> list[tuple[int, int, Mapping]]:
        """Every mapping that a process ever had, with the first and the last capture that it stood in like this."""
        return self._dated(fetch_tuples(self._connection, _mapping_query().where(usage.c.process_id == process_id)))

    def _dated(self, rows: Sequence[tuple[Any, ...]]) -> list[tuple[int, int, Mapping]]:
        """The mappings of rows as `_mapping_query` gives them, each with its first and last capture."""
        return [(row[-2], row[-1], mapping) for row, mapping in zip(rows, self._mappings(rows), strict=True)]

    def _mappings(self, rows: Sequence[tuple[Any, ...]]) -> list[Mapping]:
        self._learn(rows)
        protections, backings, states = self._protections, self._backings, self._states
        mappings = []
        new = tuple.__new__
        for start, end, offset, protection_id, backing_id, header, state_id, _first, _last in rows:
            perms, flags = protections[protection_id]
            device, inode, name = backings[backing_id]
            if start < 0 or end <= 0 or (offset is not None and offset < 0):
                # The end of the highest page is 2**64 itself, which is stored as 0.
                start, end = to_unsigned(start), to_unsigned(end) or 1 << 64
                offset = None if offset is None else to_unsigned(offset)
            counters, layout, extra = states[state_id]
            raw = None if header is None else bytes(header)
            # What Mapping(…) does, without the call: this line runs for every mapping of a host.
            mappings.append(new(Mapping, (start, end, perms, offset, device, inode, name, flags, counters, layout, extra, raw)))
        return mappings

    def _learn(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Read the interned rows behind these mappings that are not known yet."""
        connection = self._connection
        for part in chunks({row[3] for row in rows} - self._protections.keys()):
            query = select(protection.c.id, protection.c.perms, string.c.raw).join_from(
                protection, string, string.c.id == protection.c.flags_id, isouter=True
            )
            for number, perms, flags in connection.execute(query.where(protection.c.id.in_(part))):
                self._protections[number] = (perms, _raw(flags))
        for part in chunks({row[4] for row in rows} - self._backings.keys()):
            named = select(backing.c.id, backing.c.device, backing.c.inode, string.c.raw).join_from(backing, string, string.c.id == backing.c.name_id)
            for number, device, inode, name in connection.execute(named.where(backing.c.id.in_(part))):
                self._backings[number] = (device, None if inode is None else to_unsigned(inode), bytes(name))
        states: list[tuple[Any, ...]] = []
        for part in chunks({row[6] for row in rows} - self._states.keys()):
            states += fetch_tuples(connection, STATES.where(state.c.id.in_(part)))
        for part in chunks({values[-1] for values in states} - self._details.keys()):
            detailed = select(detail.c.id, layout.c.template, detail.c.extra, *(detail.c[name] for name in DETAIL_COLUMNS)).join_from(
                detail, layout, layout.c.id == detail.c.layout_id, isouter=True
            )
            for number, template, extra, *rare in connection.execute(detailed.where(detail.c.id.in_(part))):
                values = tuple(v.encode("latin-1") if isinstance(v, str) else v for v in json.loads(extra)) if extra else ()
                self._details[number] = (tuple(rare), None if template is None else layout_of(bytes(template)), values)
        for number, *volatile, detail_id in states:
            rare_counters, form, values = self._details[detail_id]
            self._states[number] = ((*volatile, *rare_counters), form, values)


def _mapping_query() -> Select[Any]:
    """Mappings with their counters, and their first and last capture, in the order that `TableReader` reads."""
    return select(
        *GEOMETRY,
        usage.c.state_id,
        usage.c.first_snapshot,
        usage.c.last_snapshot,
    ).join_from(usage, mapping, (mapping.c.process_id == usage.c.process_id) & (mapping.c.no == usage.c.no))


@lru_cache(maxsize=1)
def _table_query() -> Select[Any]:
    number: BindParameter[int] = bindparam("number")
    return _mapping_query().where(usage.c.process_id == bindparam("process"), usage.c.last_snapshot >= number, usage.c.first_snapshot <= number)


def load_table(connection: Connection, process_id: int, number: int) -> MappingTable:
    """The mapping table that a process has in snapshot `number`."""
    return TableReader(connection).table(process_id, number)


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


def captures_of(connection: Connection, snapshot_id: int, process_ids: Select[Any] | None = None) -> list[StoredCapture]:
    """The captures of a snapshot (of these processes, if given), by pid, without their tables."""
    query = capture_query().where(capture.c.snapshot_id == snapshot_id).order_by(process.c.pid, process.c.id)
    if process_ids is not None:
        query = query.where(capture.c.process_id.in_(process_ids))
    return [stored_capture(row) for row in connection.execute(query)]


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
    ).join_from(snapshot, host, host.c.id == snapshot.c.host_id)


def snapshot_ref(row: Row[Any]) -> SnapshotRef:
    """One row of `snapshot_query` as an object."""
    return SnapshotRef(row.id, row.taken_at, row.host, row.label, row.source, row.duration_us, row.selection, row.max_map_count)
