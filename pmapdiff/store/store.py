"""The store as its users see it: open, record into, look up, load."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Column, Engine, Select, and_, func, or_, select
from sqlalchemy.engine import Connection

from pmapdiff.errors import NotFoundError, StoreError
from pmapdiff.model import Mapping, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status, Totals
from pmapdiff.store.append import Appender
from pmapdiff.store.bulk import chunks
from pmapdiff.store.engine import READING, current_revision, open_engine, pruning_engine
from pmapdiff.store.filter import EVERYTHING, ProcessFilter
from pmapdiff.store.known import KnownProcess
from pmapdiff.store.load import (
    CaptureReader,
    capture_query,
    snapshot_query,
    snapshot_ref,
    totals_of_capture,
)
from pmapdiff.store.schema import STATUSES, WITH_TABLE, capture, metadata, process, snapshot, string, totals, usage
from pmapdiff.store.trouble import shown_location, sqlite_path, translated_errors
from pmapdiff.store.walk import walk_series
from pmapdiff.text import printable
from pmapdiff.units import format_moment_local

if TYPE_CHECKING:
    from pmapdiff.store.copies import Delivery
    from pmapdiff.store.prune import Pruned, Retention


class SnapshotSummary(NamedTuple):
    """A snapshot and what is in it: the number of captures of each status, mappings, Rss and footprint in KiB."""

    ref: SnapshotRef
    statuses: dict[Status, int]
    mappings: int
    rss_kib: int | None
    footprint_kib: int | None


class ProcessSummary(NamedTuple):
    """A process through all its captures: when it was first and last seen with a table, its totals then, and how long its longest read took."""

    process: ProcessInfo
    host: str
    captures: int
    first: SnapshotRef
    last: SnapshotRef
    totals_first: Totals
    totals_last: Totals
    read_us: int | None


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
        from pmapdiff.store.when import ById, ByRank, parse_when

        when = parse_when(text)
        with self.reading() as connection:
            if isinstance(when, ById):
                row = connection.execute(snapshot_query().where(snapshot.c.id == when.id)).first()
                if row is None:
                    raise NotFoundError(f"there is no snapshot {when.id}: {self._what_there_is(connection)}")
                return snapshot_ref(row)
            newest = (snapshot.c.taken_at.desc(), snapshot.c.id.desc())
            query = self._holding(connection, snapshot_query(), wanted)
            if when is None:
                query = query.where(snapshot.c.label == text).order_by(*newest)
                what = f"no label {printable(text)!r}, and it is no time either"
            elif isinstance(when, ByRank):
                if when.back is None:
                    query = query.order_by(snapshot.c.taken_at, snapshot.c.id)
                else:
                    query = query.order_by(*newest).offset(when.back)
                what = f"no snapshot {printable(text)!r}"
            else:
                query = query.where(snapshot.c.taken_at <= when.moment_us).order_by(*newest)
                what = f"no snapshot at or before {format_moment_local(when.moment_us)}"
            row = connection.execute(query.limit(1)).first()
            if row is None:
                holding = "" if wanted.everything else f" of {wanted.describe()}"
                raise NotFoundError(f"there is {what}{holding}: {self._what_there_is(connection)}")
            return snapshot_ref(row)

    def moment(self, text: str) -> int:
        """The moment that a WHEN means, in µs since the epoch: a time as it is, else when the snapshot was taken. Raises NotFoundError."""
        from pmapdiff.store.when import ByTime, parse_when

        when = parse_when(text)
        return when.moment_us if isinstance(when, ByTime) else self.resolve(text).taken_at_us

    def has_process(self, wanted: ProcessFilter) -> bool:
        """Whether any snapshot holds a wanted process."""
        with self.reading() as connection:
            ids = self._process_ids(connection, wanted)
            return connection.execute(select(capture.c.process_id).where(capture.c.process_id.in_(ids)).limit(1)).first() is not None

    def last_seen(self, wanted: ProcessFilter = EVERYTHING) -> dict[ProcessIdentity, int]:
        """When each process was captured for the last time, in µs since the epoch."""
        with self.reading() as connection:
            identity = (process.c.boot_id, process.c.pid, process.c.start_ticks, process.c.exec_key)
            query = (
                select(*identity, func.max(snapshot.c.taken_at))
                .join_from(process, capture, capture.c.process_id == process.c.id)
                .join(snapshot, snapshot.c.id == capture.c.snapshot_id)
                .group_by(process.c.id, *identity)
            )
            if not wanted.everything:
                query = query.where(process.c.id.in_(self._process_ids(connection, wanted)))
            return {ProcessIdentity(*fields): int(taken_at) for *fields, taken_at in connection.execute(query)}

    def _holding(self, connection: Connection, query: Select[Any], wanted: ProcessFilter) -> Select[Any]:
        if wanted.everything:
            return query
        ids = self._process_ids(connection, wanted)
        holding = select(capture.c.snapshot_id).where(capture.c.process_id.in_(ids), capture.c.status.in_(WITH_TABLE))
        return query.where(snapshot.c.id.in_(holding))

    def _process_ids(self, connection: Connection, wanted: ProcessFilter) -> Select[Any]:
        """A query for the ids of the wanted processes.

        A name is looked for in the distinct names, of which there are few, not in the processes, of which months have many.
        """
        query = select(process.c.id)
        if wanted.pids:
            query = query.where(process.c.pid.in_(wanted.pids))
        if wanted.name is not None:
            comms = self._strings(connection, process.c.comm_id, wanted.finds_comm)
            exes = self._strings(connection, process.c.exe_id, wanted.finds_exe)
            query = query.where(or_(process.c.comm_id.in_(comms), process.c.exe_id.in_(exes)))
        return query

    def _strings(self, connection: Connection, column: Column[Any], accepts: Callable[[bytes], bool]) -> list[int]:
        """The ids of the strings that this column of `process` refers to and that are accepted."""
        rows = connection.execute(select(string.c.id, string.c.raw).where(string.c.id.in_(select(column).distinct())))
        return [number for number, raw in rows if accepts(bytes(raw))]

    def _what_there_is(self, connection: Connection) -> str:
        ends = [connection.execute(snapshot_query().order_by(order).limit(1)).first() for order in (snapshot.c.taken_at, snapshot.c.taken_at.desc())]
        if ends[0] is None or ends[1] is None:
            return "the store is empty: make a snapshot with `pmapdiff record`"
        first, last = (f"#{row.id} of {format_moment_local(row.taken_at)}" for row in ends if row is not None)
        span = f"only {first}" if first == last else f"snapshots from {first} to {last}"
        return f"the store has {span}; see `pmapdiff snapshots`"

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
            ids = None if wanted.everything else self._process_ids(connection, wanted)
            yield from walk_series(connection, list(refs), ids, tables=tables)

    def refs(self, since_us: int | None = None, until_us: int | None = None, wanted: ProcessFilter = EVERYTHING) -> list[SnapshotRef]:
        """The snapshots between two moments (µs since the epoch, both included) that hold a wanted process, the oldest first."""
        with self.reading() as connection:
            query = _between(snapshot_query().order_by(snapshot.c.taken_at, snapshot.c.id), since_us, until_us)
            if not wanted.everything:
                ids = self._process_ids(connection, wanted)
                query = query.where(snapshot.c.id.in_(select(capture.c.snapshot_id).where(capture.c.process_id.in_(ids))))
            return [snapshot_ref(row) for row in connection.execute(query)]

    def snapshots(self, limit: int | None = None) -> list[SnapshotSummary]:
        """The newest snapshots (all of them without a limit), oldest first."""
        with self.reading() as connection:
            query = snapshot_query().order_by(snapshot.c.taken_at.desc(), snapshot.c.id.desc())
            refs = [snapshot_ref(row) for row in connection.execute(query if limit is None else query.limit(limit))]
            summaries = {ref.id: SnapshotSummary(ref, {}, 0, 0, 0) for ref in reversed(refs)}
            counted = (
                select(
                    capture.c.snapshot_id,
                    capture.c.status,
                    func.count(),
                    func.coalesce(func.sum(totals.c.mappings), 0),
                    *_sum_or_null(totals.c.rss_kib),
                    *_sum_or_null(totals.c.footprint_kib),
                )
                .join_from(capture, totals, totals_of_capture(), isouter=True)
                .group_by(capture.c.snapshot_id, capture.c.status)
            )
            for part in chunks(summaries):
                for number, status, count, mappings, rss, rss_missing, footprint, footprint_missing in connection.execute(
                    counted.where(capture.c.snapshot_id.in_(part))
                ):
                    old = summaries[number]
                    name = STATUSES[status]
                    summaries[number] = SnapshotSummary(
                        old.ref,
                        {**old.statuses, name: old.statuses.get(name, 0) + count},
                        old.mappings + int(mappings),
                        None if rss_missing or old.rss_kib is None else old.rss_kib + int(rss),
                        None if footprint_missing or old.footprint_kib is None else old.footprint_kib + int(footprint),
                    )
        return list(summaries.values())

    def count_snapshots(self) -> int:
        """The number of snapshots in the store."""
        with self.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(snapshot)).scalar_one())

    def processes(self, wanted: ProcessFilter = EVERYTHING, since_us: int | None = None, until_us: int | None = None) -> list[ProcessSummary]:
        """Every process that has a table between two moments (µs since the epoch, both included), with its totals when it was first and last seen."""
        with self.reading() as connection:
            ids = None if wanted.everything else self._process_ids(connection, wanted)
            ends = (
                select(
                    capture.c.process_id,
                    func.min(capture.c.snapshot_id).label("first"),
                    func.max(capture.c.snapshot_id).label("last"),
                    func.count().label("n"),
                    func.max(capture.c.read_us).label("read_us"),
                )
                .where(capture.c.status.in_(WITH_TABLE))
                .group_by(capture.c.process_id)
            )
            if ids is not None:
                ends = ends.where(capture.c.process_id.in_(ids))
            if since_us is not None or until_us is not None:
                ends = ends.where(capture.c.snapshot_id.in_(_between(select(snapshot.c.id), since_us, until_us)))
            spans = {row.process_id: row for row in connection.execute(ends)}
            span = ends.subquery()
            query = capture_query().join(
                span, and_(span.c.process_id == capture.c.process_id, capture.c.snapshot_id.in_([span.c.first, span.c.last]))
            )
            found = {(item.process_id, item.snapshot_id): item for item in CaptureReader(connection).read(query)}
            refs: dict[int, SnapshotRef] = {}
            for part in chunks({item.snapshot_id for item in found.values()}):
                for row in connection.execute(snapshot_query().where(snapshot.c.id.in_(part))):
                    refs[row.id] = snapshot_ref(row)
        summaries = []
        for process_id, row in sorted(spans.items()):
            first, last = found[process_id, row.first], found[process_id, row.last]
            assert first.capture.totals is not None
            assert last.capture.totals is not None
            ref_first, ref_last = refs[first.snapshot_id], refs[last.snapshot_id]
            summaries.append(
                ProcessSummary(
                    last.capture.process, ref_last.host, row.n, ref_first, ref_last, first.capture.totals, last.capture.totals, row.read_us
                )
            )
        return summaries

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


def _between(query: Select[Any], since_us: int | None, until_us: int | None) -> Select[Any]:
    if since_us is not None:
        query = query.where(snapshot.c.taken_at >= since_us)
    return query if until_us is None else query.where(snapshot.c.taken_at <= until_us)


def _sum_or_null(column: Any) -> tuple[Any, Any]:
    """The sum of a column, and how many rows have totals but lack it: a partial sum must not pass for a whole one."""
    return func.coalesce(func.sum(column), 0), func.count(totals.c.mappings) - func.count(column)
