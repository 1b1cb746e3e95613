"""Writing a snapshot: one transaction, and only what changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Engine, bindparam, func, insert, select, update
from sqlalchemy.engine import Connection

from pmapdiff.errors import StoreError
from pmapdiff.model import Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef
from pmapdiff.model.counters import VOLATILE
from pmapdiff.store.bulk import Interner, chunks, fetch_tuples, insert_rows, next_id
from pmapdiff.store.load import load_table
from pmapdiff.store.schema import (
    GEOMETRY,
    OPEN_SEQ,
    STATUS_CODES,
    VOLATILE_COLUMNS,
    capture,
    host,
    mapping,
    process,
    snapshot,
    to_signed,
    totals,
    usage,
)

# What makes a stored mapping the same mapping: addresses, offset, protection, backing, header.
_Geometry = tuple[int, int, int | None, int, int, bytes | None]
_UsageRow = tuple[int | None, ...]


class KnownProcess(NamedTuple):
    """What the store already has of a process: the digest of its last text, the number of its mappings, and who it is."""

    digest: bytes | None
    mappings: int
    has_info: bool


def known_processes(engine: Engine, host_name: str, identities: Iterable[ProcessIdentity]) -> dict[ProcessIdentity, KnownProcess]:
    """Which of these processes the store knows, and the digest of the last text of each."""
    wanted = set(identities)
    known: dict[ProcessIdentity, KnownProcess] = {}
    query = (
        select(process.c.boot_id, process.c.pid, process.c.start_ticks, process.c.exec_key, totals.c.digest, totals.c.mappings, process.c.started_at)
        .join_from(process, host, host.c.id == process.c.host_id)
        .join(totals, (totals.c.process_id == process.c.id) & (totals.c.last_seq == OPEN_SEQ), isouter=True)
        .where(host.c.name == host_name)
    )
    with engine.connect() as connection:
        for part in chunks({identity.pid for identity in wanted}):
            for boot_id, pid, start_ticks, exec_key, digest, mappings, started_at in connection.execute(query.where(process.c.pid.in_(part))):
                identity = ProcessIdentity(boot_id, pid, start_ticks, exec_key)
                if identity in wanted:
                    known[identity] = KnownProcess(None if digest is None else bytes(digest), mappings or 0, started_at is not None)
    return known


def append_snapshots(engine: Engine, taken: Iterable[Snapshot]) -> list[SnapshotRef]:
    """Store snapshots, all of them whole or nothing at all, and return which ones they became.

    A capture whose text equals the process's last one (`table` None, `digest` set) costs one row.
    """
    interner = Interner()
    with engine.begin() as connection:
        return [_append(connection, interner, item) for item in taken]


def _append(connection: Connection, interner: Interner, taken: Snapshot) -> SnapshotRef:
    ref = taken.ref
    snapshot_id = next_id(connection, snapshot)
    host_id = _host_id(connection, ref.host)
    insert_rows(connection, snapshot, [(snapshot_id, host_id, ref.taken_at_us, ref.duration_us, ref.label, ref.source, ref.selection)])
    process_ids = _process_ids(connection, interner, host_id, [item.process for item in taken.captures])
    last_seqs = _last_seqs(connection, process_ids.values())
    rows: list[tuple[Any, ...]] = []
    writer = _Writer(connection, interner)
    written: set[int] = set()
    for item in taken.captures:
        process_id = process_ids[item.process.identity]
        seq = last_seqs.get(process_id, 0) + 1
        last_seqs[process_id] = seq
        rows.append(
            (
                process_id,
                seq,
                snapshot_id,
                STATUS_CODES[item.status, item.has_table],
                item.threads,
                item.vm_hwm_kib,
                item.cgroup_limit_bytes,
                item.cgroup_usage_bytes,
                item.read_us,
                item.note,
            )
        )
        if item.has_table:
            if process_id in written:
                # The second table of a process is compared with the first, which must be there to be seen.
                writer.flush()
            written.add(process_id)
            writer.add(process_id, seq, item)
    insert_rows(connection, capture, rows)
    writer.flush()
    return ref._replace(id=snapshot_id)


def _host_id(connection: Connection, name: str) -> int:
    found = connection.execute(select(host.c.id).where(host.c.name == name)).scalar()
    if found is None:
        found = next_id(connection, host)
        connection.execute(insert(host).values(id=found, name=name))
    return int(found)


def _process_ids(connection: Connection, interner: Interner, host_id: int, infos: Sequence[ProcessInfo]) -> dict[ProcessIdentity, int]:
    wanted = {info.identity: info for info in infos}
    ids: dict[ProcessIdentity, int] = {}
    unnamed: set[ProcessIdentity] = set()
    key = (process.c.boot_id, process.c.pid, process.c.start_ticks, process.c.exec_key)
    query = select(*key, process.c.id, process.c.started_at).where(process.c.host_id == host_id)
    for part in chunks({identity.pid for identity in wanted}):
        for *values, number, started_at in connection.execute(query.where(process.c.pid.in_(part))):
            identity = ProcessIdentity(*values)
            ids[identity] = number
            if started_at is None:
                unnamed.add(identity)
    new = [info for identity, info in wanted.items() if identity not in ids]
    # Who it is could not be read the first time (it was denied, or took too long).
    named = [info for identity, info in wanted.items() if identity in unnamed and info.started_at_us is not None]
    if not new and not named:
        return ids
    texts = {text for info in (*new, *named) for text in (info.comm, info.command, info.exe, info.cgroup) if text is not None}
    interner.add_strings(connection, texts)
    ids.update((info.identity, number) for number, info in enumerate(new, next_id(connection, process)))
    columns = [column.name for column in process.columns]
    rows = [(ids[info.identity], host_id, *info.identity, *_about(info, interner)) for info in new]
    insert_rows(connection, process, rows, columns)
    for info in named:
        values_by_name = dict(zip(columns[6:], _about(info, interner), strict=True))
        connection.execute(update(process).where(process.c.id == ids[info.identity]).values(values_by_name))
    return ids


def _about(info: ProcessInfo, interner: Interner) -> tuple[Any, ...]:
    """The columns of `process` behind its identity."""
    strings = interner.strings
    return (
        info.ppid,
        info.uid,
        info.started_at_us,
        strings[info.comm],
        strings[info.command],
        None if info.exe is None else strings[info.exe],
        None if info.cgroup is None else strings[info.cgroup],
        info.container,
        info.unit,
        info.rlimit_as_bytes,
        info.rlimit_data_bytes,
        info.rlimit_stack_bytes,
    )


def _last_seqs(connection: Connection, process_ids: Iterable[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for part in chunks(process_ids):
        query = select(capture.c.process_id, func.max(capture.c.seq)).where(capture.c.process_id.in_(part)).group_by(capture.c.process_id)
        found.update((process_id, seq) for process_id, seq in connection.execute(query))
    return found


class _Writer:
    """Turns tables into the rows that differ from what the store has, and writes them together."""

    def __init__(self, connection: Connection, interner: Interner) -> None:
        self._connection = connection
        self._interner = interner
        self._new_mappings: list[tuple[Any, ...]] = []
        self._new_usages: list[tuple[Any, ...]] = []
        self._closed_usages: list[dict[str, int]] = []

    def add(self, process_id: int, seq: int, item: Capture) -> None:
        """Take the capture `seq` of a process, which has a table."""
        connection = self._connection
        last = connection.execute(select(totals.c.digest).where(totals.c.process_id == process_id, totals.c.last_seq == OPEN_SEQ)).first()
        if last is not None and item.digest is not None and last.digest is not None and bytes(last.digest) == item.digest:
            return
        table = item.table if item.table is not None else self._table_of_digest(process_id, item.digest)
        if last is not None:
            connection.execute(update(totals).where(totals.c.process_id == process_id, totals.c.last_seq == OPEN_SEQ).values(last_seq=seq - 1))
        sums = table.totals
        insert_rows(connection, totals, [(process_id, OPEN_SEQ, seq, item.digest, sums.mappings, *sums.figures)])
        self._add_table(process_id, seq, table)

    def _table_of_digest(self, process_id: int, digest: bytes | None) -> MappingTable:
        """The table that had this digest: somebody else wrote a newer one since the recorder asked."""
        query = select(totals.c.first_seq).where(totals.c.process_id == process_id, totals.c.digest == digest).order_by(totals.c.first_seq.desc())
        seq = self._connection.execute(query.limit(1)).scalar()
        if seq is None:
            raise StoreError("a table that was just known is no longer in the store (pruned meanwhile?); nothing was stored: record again")
        return load_table(self._connection, process_id, int(seq))

    def _add_table(self, process_id: int, seq: int, table: MappingTable) -> None:
        geometries, values = self._rows(table.mappings)
        stored = self._open_rows(process_id)
        next_no = self._next_no(process_id)
        closing: list[int] = []
        for geometry, value in zip(geometries, values, strict=True):
            # A torn table may have the same mapping twice.
            known = stored[geometry].pop() if stored.get(geometry) else None
            if known is None:
                no = next_no
                next_no += 1
                self._new_mappings.append((process_id, no, *geometry))
            elif known[1] == value:
                continue
            else:
                no = known[0]
                closing.append(no)
            self._new_usages.append((process_id, OPEN_SEQ, no, seq, *value))
        closing.extend(no for left in stored.values() for no, _ in left)
        self._closed_usages.extend({"p": process_id, "n": no, "ended": seq - 1} for no in closing)

    def _rows(self, mappings: Sequence[Mapping]) -> tuple[list[_Geometry], list[_UsageRow]]:
        interner, connection = self._interner, self._connection
        interner.add_protections(connection, {(m.perms, m.flags) for m in mappings})
        interner.add_backings(connection, {(m.device, m.inode, m.name) for m in mappings})
        # The parser gives mappings of equal counters the very same tuple, so this is short where the table is long.
        distinct = {(id(m.counters), id(m.layout), id(m.extra)): m for m in mappings}
        interner.add_details(connection, {(m.layout, m.counters[VOLATILE:], m.extra) for m in distinct.values()})
        details = interner.details
        value_rows = {key: (*m.counters[:VOLATILE], details[m.layout, m.counters[VOLATILE:], m.extra]) for key, m in distinct.items()}
        protection_ids, backing_ids = interner.protections, interner.backings
        geometries: list[_Geometry] = []
        values: list[_UsageRow] = []
        for start, end, perms, offset, device, inode, name, flags, counters, layout, extra, header in mappings:
            place = (start, end, offset)
            if end > _SIGNED_LIMIT or (offset is not None and offset > _SIGNED_LIMIT):
                place = (to_signed(start), to_signed(end), None if offset is None else to_signed(offset))
            geometries.append((*place, protection_ids[perms, flags], backing_ids[device, inode, name], header))
            values.append(value_rows[id(counters), id(layout), id(extra)])
        return geometries, values

    def _open_rows(self, process_id: int) -> dict[_Geometry, list[tuple[int, _UsageRow]]]:
        """The mappings that last, with their numbers and their counters."""
        query = (
            select(
                *GEOMETRY,
                usage.c.no,
                *(usage.c[name] for name in VOLATILE_COLUMNS),
                usage.c.detail_id,
            )
            .join_from(usage, mapping, (mapping.c.process_id == usage.c.process_id) & (mapping.c.no == usage.c.no))
            .where(usage.c.process_id == process_id, usage.c.last_seq == OPEN_SEQ)
        )
        stored: dict[_Geometry, list[tuple[int, _UsageRow]]] = {}
        for row in fetch_tuples(self._connection, query):
            stored.setdefault(row[:6], []).append((row[6], row[7:]))
        return stored

    def _next_no(self, process_id: int) -> int:
        query = select(func.coalesce(func.max(mapping.c.no), 0)).where(mapping.c.process_id == process_id)
        return int(self._connection.execute(query).scalar_one()) + 1

    def flush(self) -> None:
        """Write what was taken."""
        if self._closed_usages:
            self._connection.execute(
                update(usage)
                .where(usage.c.process_id == bindparam("p"), usage.c.last_seq == OPEN_SEQ, usage.c.no == bindparam("n"))
                .values(last_seq=bindparam("ended")),
                self._closed_usages,
            )
        insert_rows(self._connection, mapping, self._new_mappings)
        insert_rows(self._connection, usage, self._new_usages)
        self._new_mappings, self._new_usages, self._closed_usages = [], [], []


_SIGNED_LIMIT = (1 << 63) - 1
