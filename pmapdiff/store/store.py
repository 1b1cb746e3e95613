"""The store as its users see it: open, record into, look up, load."""

from __future__ import annotations

import os
import time
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
from pmapdiff.store.known import KnownProcess
from pmapdiff.store.load import snapshot_query, snapshot_ref, totals_of_capture
from pmapdiff.store.schema import capture, metadata, process, snapshot, totals, usage
from pmapdiff.store.summaries import ProcessSummary, SnapshotSummary, summarise_processes, summarise_snapshots
from pmapdiff.store.trouble import shown_location, sqlite_path, translated_errors
from pmapdiff.store.walk import walk_series

if TYPE_CHECKING:
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

    def take_in(self, taken: Sequence[Snapshot], delivery: Delivery | None = None) -> int:
        """Store those of these copies, each with its origin, that the store does not have yet, in one transaction. Returns how many."""
        with translated_errors(self.location):
            return self._appender.take_in(taken, delivery)

    # Looking up.

    def resolve(self, text: str, wanted: ProcessFilter = EVERYTHING) -> SnapshotRef:
        """The snapshot that a WHEN means. Raises NotFoundError with what there is instead.

        With a filter, `latest`, `first`, labels and times mean snapshots that hold a table of such a process.
        """
        with self.reading() as connection:
            return lookup.resolve(connection, text, wanted)

    def moment(self, text: str) -> int:
        """The moment that a WHEN means, in µs since the epoch: a time as it is, else when the snapshot was taken. Raises NotFoundError."""
        from pmapdiff.store.when import ByTime, parse_when

        when = parse_when(text)
        return when.moment_us if isinstance(when, ByTime) else self.resolve(text).taken_at_us

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
        with self.reading() as connection:
            ids = None if wanted.everything else lookup.process_ids(connection, wanted)
            yield from walk_series(connection, list(refs), ids, tables=tables)

    def refs(self, since_us: int | None = None, until_us: int | None = None, wanted: ProcessFilter = EVERYTHING) -> list[SnapshotRef]:
        """The snapshots between two moments (µs since the epoch, both included) that hold a wanted process, the oldest first."""
        with self.reading() as connection:
            return lookup.find_refs(connection, since_us, until_us, wanted)

    def snapshots(self, limit: int | None = None) -> list[SnapshotSummary]:
        """The newest snapshots (all of them without a limit), oldest first."""
        with self.reading() as connection:
            return summarise_snapshots(connection, limit)

    def count_snapshots(self) -> int:
        """The number of snapshots in the store."""
        with self.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(snapshot)).scalar_one())

    def processes(self, wanted: ProcessFilter = EVERYTHING, since_us: int | None = None, until_us: int | None = None) -> list[ProcessSummary]:
        """Every process that has a table between two moments (µs since the epoch, both included), with its totals when it was first and last seen."""
        with self.reading() as connection:
            return summarise_processes(connection, wanted, since_us, until_us)

    # Care.

    def check_retention(self, retention: Retention) -> None:
        """Raises StoreError for a rule that this kind of database cannot keep to."""
        if retention.max_bytes is not None and sqlite_path(self._opened) is None:
            raise StoreError(
                "--max-size is for SQLite: PostgreSQL keeps the room of removed snapshots for new ones, so its size does not say how much "
                "is left to remove; use --keep rules"
            )

    def prune(
        self, retention: Retention, *, label: str | None = None, dry_run: bool = False, progress: Callable[[int], None] = lambda _: None
    ) -> Pruned:
        """Remove what the retention does not keep: of the snapshots with this label, else of all recorded ones without any.

        With `dry_run` only say what its rules about age would remove. Raises StoreError for a size that cannot be kept to.
        """
        from pmapdiff.store.prune import Pruned, eligible, prune, superfluous

        self.check_retention(retention)
        with self.reading() as connection:
            refs = eligible((snapshot_ref(row) for row in connection.execute(snapshot_query())), label)
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

    def info(self) -> dict[str, Any]:
        """Facts about the store: schema revision, rows, bytes, the time it spans."""
        with self.reading() as connection:
            facts: dict[str, Any] = {"location": self.location, "backend": self.engine.dialect.name, "schema": current_revision(self.engine)}
            facts["bytes"] = self._bytes(connection)
            for name, table in (("snapshots", snapshot), ("processes", process), ("captures", capture), ("usage_rows", usage)):
                facts[name] = connection.execute(select(func.count()).select_from(table)).scalar_one()
            facts["first_us"], facts["last_us"] = connection.execute(select(func.min(snapshot.c.taken_at), func.max(snapshot.c.taken_at))).one()
            samples = select(func.sum(totals.c.mappings)).select_from(capture).join(totals, totals_of_capture())
            facts["mapping_samples"] = int(connection.execute(samples).scalar() or 0)
        return facts
