"""Writing snapshots: one transaction each, and only what changed.

A recorder that goes on keeps in memory what it wrote, so that a snapshot of processes in which nothing changed reads nothing from
the database. Whether that is still true is asked of the database at the start of each transaction.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.engine import Connection

from pmapdiff.model import Capture, Origin, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef
from pmapdiff.store.bulk import Interner, insert_rows, interns_by_host, new_ids
from pmapdiff.store.copies import Delivery, identity_of, note_delivery, present
from pmapdiff.store.engine import READING, lock_hosts
from pmapdiff.store.intervals import IntervalWriter
from pmapdiff.store.known import KnownProcess, ProcessKey, add_last_reads, find_known
from pmapdiff.store.schema import STATUS_CODES, capture, host, numbering, process, snapshot

# The mappings whose last state is kept in memory, about 400 bytes each. Those of processes that
# have not changed for longest are looked up again when they do.
_MOST_ROWS = 100_000
# Names of programs that come and go must not pile up in a recorder that runs for months.
_MOST_INTERNED = 50_000


class Appender:
    """The one writer of snapshots.

    If it is to `stay`, it keeps its connection, and what it knows of the processes it writes, from one transaction to the next.
    """

    def __init__(self, engine: Engine, path: Path | None) -> None:
        self.stay = False
        self._engine = engine
        self._path = path
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None
        self._version: int | None = None
        self._hosts: dict[str, int] = {}
        self._interners: dict[int | None, Interner] = {}
        # In the order in which their rows were last needed.
        self._known: dict[ProcessKey, KnownProcess] = {}

    def known(self, host_name: str, identities: Iterable[ProcessIdentity], *, reads: bool = False) -> dict[ProcessIdentity, KnownProcess]:
        """Which of these processes the store has, and what (with `reads`, how long they took to read, too); all others are forgotten."""
        wanted = [(host_name, identity) for identity in identities]
        with self._transaction(reading=True) as connection:
            found = self._know(connection, wanted)
            if reads and found:
                add_last_reads(connection, found)
            asked = set(wanted)
            self._known = {key: known for key, known in self._known.items() if key in asked}
            return {key[1]: known for key, known in self._known.items()}

    def append(self, taken: Iterable[Snapshot]) -> list[SnapshotRef]:
        """Store snapshots, all of them whole or nothing at all, and return which ones they became.

        A capture whose text equals the process's last one (`table` None, `digest` set) costs one row.
        """
        snapshots = list(taken)
        with self._transaction(hosts={item.ref.host for item in snapshots}) as connection:
            refs = self._append(connection, snapshots)
        self._forget_rows()
        return refs

    def take_in(self, taken: Sequence[Snapshot], delivery: Delivery | None = None, before: Snapshot | None = None) -> int:
        """Store those of these snapshots, each with its origin, that the store does not have yet; all of them whole, or nothing at all.

        Returns how many. A delivery is noted with them. `before` is the snapshot before the first of them, with the same objects for what is
        equal: it is not stored.
        """
        with self._transaction(hosts={item.ref.host for item in taken}) as connection:
            hosts = {name: self._host_id(connection, name) for name in sorted({item.ref.host for item in taken})}
            there = present(connection, hosts, [item.ref for item in taken])
            new: dict[SnapshotRef, Snapshot] = {item.ref: item for item in taken if identity_of(item.ref) not in there}
            refs = self._append(connection, list(new.values()), before)
            if delivery is not None:
                note_delivery(connection, hosts, delivery, [item.ref for item in taken], refs)
        self._forget_rows()
        return len(refs)

    def close(self) -> None:
        """Give up the connection, and all that is known."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()
        self._version = None
        self._hosts, self._interners, self._known = {}, {}, {}

    @contextmanager
    def _transaction(self, *, reading: bool = False, hosts: Collection[str] = ()) -> Iterator[Connection]:
        try:
            connection = self._connect()
            connection.info[READING] = reading
            with connection.begin():
                lock_hosts(connection, hosts)
                self._believe(connection)
                yield connection
        except BaseException:
            # What was being written is not there, whatever memory says.
            self.close()
            raise
        if not self.stay:
            self.close()

    def _connect(self) -> Connection:
        """The connection, made anew if the file is no longer the one that it writes to."""
        if self._connection is not None and self._file != self._identity():
            self.close()
        if self._connection is None:
            self._connection = self._engine.connect()
            self._file = self._identity()
        return self._connection

    def _identity(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            status = os.stat(self._path)
        except OSError:
            return (0, 0)
        return status.st_dev, status.st_ino

    def _believe(self, connection: Connection) -> None:
        """Forget what somebody else may have changed since our last transaction."""
        version = _version(connection)
        whole = connection.dialect.name == "sqlite"
        stays = version == self._version and sum(map(len, self._interners.values())) < _MOST_INTERNED
        self._version = version
        if not stays:
            # Pruning removes names that nothing uses any more, and their numbers are given to others.
            self._hosts, self._interners = {}, {}
        elif whole:
            return
        found = find_known(connection, self._known) if self._known else {}
        for key, known in self._known.items():
            again = found.get(key)
            if again is None:
                continue
            again.read_us, again.reads_ago, again.read_given_up = known.read_us, known.reads_ago, known.read_given_up
            # A table that another recorder stored began later, as no number of a snapshot is given out twice; pruning never changes what
            # lasts, unless it ends it.
            if again.id == known.id and again.first is not None and again.first == known.first:
                again.rows, again.next_no = known.rows, known.next_no
        self._known = {key: found[key] for key in self._known if key in found}

    def _know(self, connection: Connection, keys: Sequence[ProcessKey]) -> list[KnownProcess]:
        """Look up what is not known of these processes; returns what was found."""
        missing = [key for key in keys if key not in self._known]
        found = find_known(connection, missing) if missing else {}
        self._known.update(found)
        return list(found.values())

    def _forget_rows(self) -> None:
        """Keep the memory bounded: of the processes that changed longest ago, the rows are looked up again."""
        kept = sum(len(known.rows) for known in self._known.values() if known.rows is not None)
        for known in self._known.values():
            if kept <= _MOST_ROWS:
                break
            if known.rows is not None:
                kept -= len(known.rows)
                known.rows = None

    def _append(self, connection: Connection, taken: Sequence[Snapshot], before: Snapshot | None = None) -> list[SnapshotRef]:
        earlier = {} if before is None else {(before.ref.host, item.process.identity): item for item in before.captures}
        refs: list[SnapshotRef] = []
        rows: list[tuple[Any, ...]] = []
        writer = IntervalWriter(connection)
        numbers, here = _next_snapshots(connection, len(taken)) if taken else ([], "")
        for snapshot_id, (ref, captures) in zip(numbers, taken, strict=True):
            captures = tuple(_told_apart(captures))
            host_id = self._host_id(connection, ref.host)
            facts = (ref.taken_at_us, ref.duration_us, ref.label, ref.source, ref.selection, ref.max_map_count, ref.mem_total_kib)
            insert_rows(connection, snapshot, [(snapshot_id, host_id, *facts, *(ref.origin or (None, None)))])
            refs.append(ref._replace(id=snapshot_id, origin=ref.origin or Origin(here, snapshot_id)))
            keys = {item.process.identity: (ref.host, item.process.identity) for item in captures}
            self._know(connection, list(keys.values()))
            interner = self._interner(connection, host_id)
            self._add_processes(connection, host_id, ref.host, [item.process for item in captures], interner)
            for item in captures:
                key = keys[item.process.identity]
                known = self._known[key]
                known.captured(item.status, item.read_us)
                about = (item.threads, item.vm_hwm_kib, item.cgroup_limit_bytes, item.cgroup_usage_bytes)
                rows.append((snapshot_id, known.id, STATUS_CODES[item.status, item.has_table], *about, item.read_us, item.note))
                if item.has_table:
                    if item.table is not None:
                        self._known[key] = self._known.pop(key)
                    writer.add(known, snapshot_id, item, interner, earlier.get(key))
        insert_rows(connection, capture, rows)
        writer.flush()
        return refs

    def _interner(self, connection: Connection, host_id: int) -> Interner:
        whose = host_id if interns_by_host(connection) else None
        return self._interners.setdefault(whose, Interner(whose))

    def _host_id(self, connection: Connection, name: str) -> int:
        found = self._hosts.get(name) or connection.execute(select(host.c.id).where(host.c.name == name)).scalar()
        if found is None:
            (found,) = new_ids(connection, host, 1)
            connection.execute(insert(host).values(id=found, name=name))
        self._hosts[name] = int(found)
        return int(found)

    def _add_processes(self, connection: Connection, host_id: int, host_name: str, infos: Sequence[ProcessInfo], interner: Interner) -> None:
        """Add the processes that are new, and who it is of those that could not be read before (denied, or too slow)."""
        new = {info.identity: info for info in infos if (host_name, info.identity) not in self._known}
        named = [
            info
            for info in infos
            if info.identity not in new and info.started_at_us is not None and not self._known[host_name, info.identity].has_info
        ]
        if not new and not named:
            return
        texts = {text for info in (*new.values(), *named) for text in (info.comm, info.command, info.exe, info.cgroup) if text is not None}
        interner.add_strings(connection, texts)
        columns = [column.name for column in process.columns]
        rows = []
        for number, info in zip(new_ids(connection, process, len(new)) if new else (), new.values(), strict=True):
            self._known[host_name, info.identity] = KnownProcess(number, has_info=info.started_at_us is not None)
            rows.append((number, host_id, *info.identity, *_about(info, interner.strings)))
        insert_rows(connection, process, rows, columns)
        for info in named:
            known = self._known[host_name, info.identity]
            known.has_info = True
            connection.execute(
                update(process).where(process.c.id == known.id).values(dict(zip(columns[6:], _about(info, interner.strings), strict=True)))
            )


def _about(info: ProcessInfo, strings: dict[bytes, int]) -> tuple[Any, ...]:
    """The columns of `process` behind its identity."""
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


def _version(connection: Connection) -> int:
    """Differs where somebody else may have changed what is remembered.

    In a file, as soon as another connection has committed anything (https://www.sqlite.org/pragma.html#pragma_data_version). On a server, as soon as
    anything was removed: that changes the row of `numbering` each time, and with it the number of the transaction that made it.
    """
    if connection.dialect.name == "sqlite":
        return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())
    return int(connection.exec_driver_sql("SELECT xmin::text::bigint FROM numbering").scalar_one())


def _next_snapshots(connection: Connection, number: int) -> tuple[list[int], str]:
    """The numbers of the next snapshots, higher than any that there ever were, and whose they are: the identity of the store."""
    ids = new_ids(connection, snapshot, number)
    removed, store = connection.execute(select(numbering.c.removed, numbering.c.store)).one()
    # A server's sequence does not forget what was removed.
    behind = 0 if connection.dialect.name == "postgresql" else max(removed + 1 - ids[0], 0)
    return [known + behind for known in ids], store


def _told_apart(captures: Sequence[Capture]) -> list[Capture]:
    """The captures of a snapshot, each of a process of its own: a saved file may have two tables that look like one process."""
    seen: Counter[ProcessIdentity] = Counter()
    found = []
    for item in captures:
        identity = item.process.identity
        seen[identity] += 1
        if seen[identity] > 1:
            identity = identity._replace(exec_key=f"{identity.exec_key}#{seen[identity]}")
            item = item._replace(process=item.process._replace(identity=identity))
        found.append(item)
    return found
