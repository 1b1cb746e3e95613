"""The store as its users see it: open, record into, look up, load."""

from __future__ import annotations

import os
import time
from collections import abc
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, func, select
from sqlalchemy.engine import Connection

from pmapdiff.errors import StoreError
from pmapdiff.model import Mapping, ProcessIdentity, Snapshot, SnapshotRef
from pmapdiff.store import lookup
from pmapdiff.store.append import Appender
from pmapdiff.store.engine import READING, current_revision, open_engine, pruning_engine
from pmapdiff.store.filter import EVERYTHING, ProcessFilter
from pmapdiff.store.hosts import HostSummary, summarise_hosts
from pmapdiff.store.known import KnownProcess
from pmapdiff.store.load import snapshot_query, snapshot_ref, totals_of_capture
from pmapdiff.store.schema import capture, metadata, process, snapshot, totals, usage
from pmapdiff.store.summaries import ProcessSummary, SnapshotSummary, summarise_processes, summarise_snapshots
from pmapdiff.store.trouble import shown_location, sqlite_path, translated_errors
from pmapdiff.store.walk import walk_series

if TYPE_CHECKING:
    from pathlib import Path

    from pmapdiff.store.copies import Delivery
    from pmapdiff.store.prune import Pruned, Retention


class Store:
    """A database of snapshots. Use `Store.open`."""

    def __init__(self, engine: Engine, location: str) -> None:
        self.engine = engine
        self.location = shown_location(location)
        self._opened = location
        self._appender = Appender(engine, sqlite_path(location))

    @classmethod
    def open(cls, location: str, *, write: bool = False) -> Store:
        """Open the store at a path or URL; to write is to make or upgrade it first.

        Raises StoreError if it cannot be used, NotFoundError if there is none and it is only to be read.
        """
        engine = open_engine(location, write=write)
        if not write and engine.dialect.name == "postgresql":
            # As SQLite has it: all that one call reads is of one moment, whoever writes or prunes meanwhile. A writer has its lock instead.
            engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return cls(engine, location)

    def is_same_place(self, other: Store) -> bool:
        """Whether both are one database."""
        paths = sqlite_path(self._opened), sqlite_path(other._opened)
        if paths[0] is not None and paths[1] is not None:
            return os.path.realpath(paths[0]) == os.path.realpath(paths[1])
        return self._opened == other._opened

    @property
    def path(self) -> Path | None:
        """The file that it is; None on a server."""
        return sqlite_path(self._opened)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that only reads, for other modules of this package."""
        with translated_errors(self.location), self.engine.connect() as connection:
            # A store opened to be written can be read while somebody else writes, too.
            connection.info[READING] = True
            yield connection

    # The sink of the recorder.

    @contextmanager
    def recording(self) -> Iterator[None]:
        """For as long as this lasts, keep the connection and what is known of the processes from one snapshot to the next."""
        try:
            self._appender.stay = True
            yield
        finally:
            self._appender.stay = False
            self._appender.close()

    def known(self, host: str, identities: Collection[ProcessIdentity], *, reads: bool = False) -> dict[ProcessIdentity, KnownProcess]:
        """Which of these processes the store has, and the digest of the last text of each; with `reads`, how long it took to read, too."""
        with translated_errors(self.location):
            return self._appender.known(host, identities, reads=reads)

    def write(self, taken: Snapshot) -> SnapshotRef:
        """Store a snapshot, whole or not at all."""
        return self.write_all([taken])[0]

    def write_all(self, taken: Iterable[Snapshot]) -> list[SnapshotRef]:
        """Store several snapshots in one transaction."""
        with translated_errors(self.location):
            return self._appender.append(taken)

    def take_in(self, taken: Sequence[Snapshot], delivery: Delivery | None = None, before: Snapshot | None = None) -> int:
        """Store those of these copies, each with its origin, that the store does not have yet, in one transaction. Returns how many.

        It reads less where the snapshot before them is given, too.
        """
        with translated_errors(self.location):
            return self._appender.take_in(taken, delivery, before)

    # Looking up.

    def resolve(self, text: str, wanted: ProcessFilter = EVERYTHING) -> SnapshotRef:
        """The snapshot that a WHEN means. Raises NotFoundError with what there is instead.

        With a filter, `latest`, `first`, labels and times mean snapshots that hold a table of such a process.
        """
        with self.reading() as connection:
            return lookup.resolve(connection, text, wanted)

    def demand_one_host(self, named: abc.Mapping[str, SnapshotRef], wanted: ProcessFilter = EVERYTHING) -> None:
        """Raise UsageError if of these snapshots, by the WHENs that named them, one could as well be another host's: a rank or a time alone."""
        with self.reading() as connection:
            lookup.demand_one_host(connection, named, wanted)

    def moment(self, text: str, wanted: ProcessFilter = EVERYTHING) -> int:
        """The moment that a WHEN means, in µs since the epoch: a time as it is, else when the snapshot was taken. Raises NotFoundError.

        With a filter that names hosts, snapshots of these are meant. Raises UsageError where it counts snapshots of several hosts.
        """
        with self.reading() as connection:
            return lookup.moment_of(connection, text, wanted.of_hosts)

    def has_process(self, wanted: ProcessFilter) -> bool:
        """Whether any snapshot holds a wanted process."""
        with self.reading() as connection:
            return lookup.has_process(connection, wanted)

    def last_seen(self, wanted: ProcessFilter = EVERYTHING) -> dict[ProcessIdentity, int]:
        """When each process was captured for the last time, in µs since the epoch."""
        with self.reading() as connection:
            return lookup.last_seen(connection, wanted)

    # Loading.

    def load(self, ref: SnapshotRef, wanted: ProcessFilter = EVERYTHING) -> Snapshot:
        """A snapshot with the mapping tables of the wanted processes; it may hold none of them."""
        return self.load_all([ref], wanted)[0]

    def load_all(self, refs: Iterable[SnapshotRef], wanted: ProcessFilter = EVERYTHING) -> list[Snapshot]:
        """Several snapshots as of one moment of the store. What two tables of a process have in common is the same object."""
        return list(self.walk(refs, wanted))

    def walk(self, refs: Iterable[SnapshotRef], wanted: ProcessFilter = EVERYTHING, *, tables: bool = True) -> Iterator[Snapshot]:
        """Likewise, one after the other: for a series that is too long to be held at once; without `tables` there are totals alone."""
        chosen = list(refs)
        with self.reading() as connection:
            ids = None if wanted.every_process else lookup.process_ids(connection, wanted)
            hosts = set(lookup.find_hosts(connection, wanted).values()) if wanted.hosts else None
            ours = [ref for ref in chosen if hosts is None or ref.host in hosts]
            walked = walk_series(connection, ours, ids, tables=tables)
            for ref in chosen:
                yield next(walked) if hosts is None or ref.host in hosts else Snapshot(ref, ())

    def refs(self, since_us: int | None = None, until_us: int | None = None, wanted: ProcessFilter = EVERYTHING) -> list[SnapshotRef]:
        """The snapshots between two moments (µs since the epoch, both included) that hold a wanted process, the oldest first."""
        with self.reading() as connection:
            return lookup.find_refs(connection, since_us, until_us, wanted)

    def snapshots(self, limit: int | None = None, wanted: ProcessFilter = EVERYTHING) -> list[SnapshotSummary]:
        """The newest snapshots (all of them without a limit) of the hosts that the filter names, oldest first, with all their processes."""
        with self.reading() as connection:
            return summarise_snapshots(connection, limit, wanted)

    def count_snapshots(self, wanted: ProcessFilter = EVERYTHING) -> int:
        """The number of snapshots of the hosts that the filter names."""
        with self.reading() as connection:
            query = lookup.of_hosts(connection, select(func.count()).select_from(snapshot), wanted)
            return int(connection.execute(query).scalar_one())

    def processes(self, wanted: ProcessFilter = EVERYTHING, since_us: int | None = None, until_us: int | None = None) -> list[ProcessSummary]:
        """Every process that has a table between two moments (µs since the epoch, both included), with its totals when it was first and last seen."""
        with self.reading() as connection:
            return summarise_processes(connection, wanted, since_us, until_us)

    def host_names(self, since_us: int | None = None, until_us: int | None = None) -> list[str]:
        """The hosts that have snapshots between two moments (µs since the epoch, both included), in the order of their names."""
        with self.reading() as connection:
            return lookup.host_names(connection, since_us, until_us)

    def hosts(self, wanted: ProcessFilter = EVERYTHING) -> list[HostSummary]:
        """The hosts that the filter names, or all, in the order of their names: what there is of each, and how far behind it is."""
        with self.reading() as connection:
            return summarise_hosts(connection, wanted)

    # Care.

    def check_retention(self, retention: Retention) -> None:
        """Raises StoreError for a rule that this kind of database cannot keep to."""
        if retention.max_bytes is not None and sqlite_path(self._opened) is None:
            raise StoreError(
                "--max-size is for SQLite: PostgreSQL keeps the room of removed snapshots for new ones, so its size does not say how much "
                "is left to remove; use --keep rules"
            )

    def prune(
        self,
        retention: Retention,
        *,
        label: str | None = None,
        wanted: ProcessFilter = EVERYTHING,
        dry_run: bool = False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Pruned:
        """Remove what the retention does not keep: of the snapshots with this label, else of all recorded ones without any.

        Those of hosts that the filter does not name are left alone.

        With `dry_run` only say what its rules about age would remove. Raises StoreError for a size that cannot be kept to.
        """
        from pmapdiff.store.prune import Pruned, eligible, prune, superfluous

        self.check_retention(retention)
        with self.reading() as connection:
            rows = connection.execute(lookup.of_hosts(connection, snapshot_query(), wanted))
            refs = eligible(map(snapshot_ref, rows), label)
        now_us = time.time_ns() // 1000
        if dry_run:
            return Pruned(tuple(superfluous(refs, retention, now_us)), None, None)
        with translated_errors(self.location):
            return prune(pruning_engine(self._opened), refs, retention, now_us, progress)

    def check(self, *, tables: bool = True, text_of: Callable[[Iterable[Mapping]], bytes] | None = None) -> list[str]:
        """What is wrong with the database, one sentence each; with `tables`, every table is read and added up too.

        With `text_of`, which gives the smaps text of mappings, each is compared with the digest of the text that was read.
        """
        with self.reading() as connection:
            from pmapdiff.store.check import check_store

            return check_store(connection, tables=tables, text_of=text_of)

    def _bytes(self, connection: Connection) -> int | None:
        """The size of the file, or of our tables and their indexes on a server."""
        path = sqlite_path(self._opened)
        if path is not None:
            return path.stat().st_size
        if connection.dialect.name != "postgresql":
            return None
        names = [func.to_regclass(table.name) for table in metadata.tables.values()]
        return sum(int(size) for size in connection.execute(select(*(func.pg_total_relation_size(name) for name in names))).one())

    def info(self, wanted: ProcessFilter = EVERYTHING) -> dict[str, Any]:
        """Facts about the store: schema revision, rows, bytes, the time it spans; rows and time of the hosts that the filter names."""
        with self.reading() as connection:
            facts: dict[str, Any] = {"location": self.location, "backend": self.engine.dialect.name, "schema": current_revision(self.engine)}
            facts["bytes"] = self._bytes(connection)
            hosts = list(lookup.find_hosts(connection, wanted))
            facts["hosts"] = len(hosts)
            of_snapshots, of_processes = snapshot.c.host_id.in_(hosts), process.c.host_id.in_(hosts)
            spans = select(func.count(), func.min(snapshot.c.taken_at), func.max(snapshot.c.taken_at))
            captures = select(func.count(), func.sum(totals.c.mappings)).select_from(capture).join(totals, totals_of_capture(), isouter=True)
            rows = select(func.count()).select_from(usage)
            if wanted.hosts:
                spans = spans.where(of_snapshots)
                captures = captures.join(snapshot, snapshot.c.id == capture.c.snapshot_id).where(of_snapshots)
                rows = rows.join(process, process.c.id == usage.c.process_id).where(of_processes)
            processes = select(func.count()).select_from(process)
            facts["snapshots"], first_us, last_us = connection.execute(spans).one()
            facts["processes"] = connection.execute(processes.where(of_processes) if wanted.hosts else processes).scalar_one()
            facts["captures"], samples = connection.execute(captures).one()
            facts["usage_rows"] = connection.execute(rows).scalar_one()
            facts["first_us"], facts["last_us"], facts["mapping_samples"] = first_us, last_us, int(samples or 0)
        return facts
