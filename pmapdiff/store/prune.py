"""Retention: which snapshots go, and how they go without touching what stays.

Removing a snapshot removes its captures. An interval of counters or totals goes when no capture is left in it, so every table that stays
loads exactly as before.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, Engine, Table, bindparam, case, delete, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from pmapdiff.errors import StoreError
from pmapdiff.model import SnapshotRef
from pmapdiff.store.bulk import chunks, fetch_tuples
from pmapdiff.store.schema import (
    WITH_TABLE,
    backing,
    capture,
    detail,
    layout,
    mapping,
    numbering,
    process,
    protection,
    snapshot,
    state,
    string,
    totals,
    usage,
)
from pmapdiff.store.trouble import is_full

# So many snapshots a transaction: another recorder waits no longer than for one of these.
_BATCH = 20
_VACUUM_PAGES = 500
_VACUUM_PAGES_ON_FULL_DISK = 16
_HOUR_US, _DAY_US = 3_600_000_000, 86_400_000_000


class Retention(NamedTuple):
    """What to keep: everything of so many seconds, the last snapshot of each hour and of each day (UTC) for so long, the last N.

    The rules hold for each series by itself: the snapshots of one host that were recorded with one selection. With
    `max_bytes` the oldest of what is left go too, until the database is that small. None: no such rule.
    """

    all_s: float | None = None
    hourly_s: float | None = None
    daily_s: float | None = None
    last: int | None = None
    max_bytes: int | None = None

    @property
    def says_anything(self) -> bool:
        """Whether there is any rule."""
        return any(value is not None for value in self)

    @property
    def by_age(self) -> bool:
        """Whether there is any rule but the size."""
        return any(value is not None for value in self[:4])


class Pruned(NamedTuple):
    """What pruning did, or would do: the snapshots that went, and the bytes of the file before and after (None: unknown)."""

    removed: tuple[int, ...]
    bytes_before: int | None
    bytes_after: int | None


def superfluous(refs: Sequence[SnapshotRef], retention: Retention, now_us: int) -> list[int]:
    """The ids of the snapshots that no rule keeps, oldest first. Without a rule but the size, none."""
    if not retention.by_age:
        return []
    series: dict[tuple[str, bool, str], list[SnapshotRef]] = defaultdict(list)
    for ref in sorted(refs, key=_age_order, reverse=True):
        series[_series(ref)].append(ref)
    kept: set[int | None] = set()
    for members in series.values():
        kept.update(ref.id for ref in members[: retention.last or 0])
        if retention.all_s is not None:
            kept.update(ref.id for ref in members if now_us - ref.taken_at_us <= retention.all_s * 1e6)
        for seconds, span_us in ((retention.hourly_s, _HOUR_US), (retention.daily_s, _DAY_US)):
            if seconds is not None:
                # Newest first: the first of each span is its last snapshot.
                spans = {ref.taken_at_us // span_us: ref for ref in reversed(members) if now_us - ref.taken_at_us <= seconds * 1e6}
                kept.update(ref.id for ref in spans.values())
    return [ref.id for ref in sorted(refs, key=_age_order) if ref.id is not None and ref.id not in kept]


def _series(ref: SnapshotRef) -> tuple[str, bool, str]:
    """What was recorded on one host with one selection; saved tables are no part of it."""
    return (ref.host, ref.source == "live", ref.selection or "")


def _age_order(ref: SnapshotRef) -> tuple[int, int]:
    """Oldest first. What was recorded has the order of its numbers: a clock may be set back. Saved tables have that of their times."""
    return (0, ref.id or 0) if ref.source == "live" else (ref.taken_at_us, ref.id or 0)


def prune(engine: Engine, refs: Sequence[SnapshotRef], retention: Retention, now_us: int, progress: Callable[[int], None] = lambda _: None) -> Pruned:
    """Remove of these snapshots what the retention does not keep, and give the space back to the file system.

    `engine` has foreign keys off: each removed row would otherwise be looked for in tables that have no index for it. Raises
    StoreError where the disk is too full even for that; a kill leaves whole snapshots, some of which would have gone next.
    """
    before = _bytes(engine)
    removed = superfluous(refs, retention, now_us)
    remover = _Remover(engine, progress)
    remover.remove(removed)
    # The newest of each series stays whatever the size: it is what the next capture is compared with.
    ordered = sorted(refs, key=_age_order)
    newest = {_series(ref): ref.id for ref in ordered}
    gone = {*removed, *newest.values()}
    left = [ref.id for ref in ordered if ref.id not in gone]
    while retention.max_bytes is not None and left and (size := _bytes(engine)) is not None and size > retention.max_bytes:
        oldest = [number for number in left[: max(1, len(left) // 10)] if number is not None]
        remover.remove(oldest)
        removed += oldest
        left = left[len(oldest) :]
    if removed or _free_pages(engine):
        _remove_unused(engine)
        _give_back(engine)
    return Pruned(tuple(removed), before, _bytes(engine))


class _Remover:
    """Removes snapshots. Knows which snapshots each process is in, which takes one look at all captures."""

    def __init__(self, engine: Engine, progress: Callable[[int], None]) -> None:
        self._engine = engine
        self._progress = progress
        # The snapshots of each process, in order: all, and those in which it has a table.
        self._all: dict[int, list[int]] = defaultdict(list)
        self._tables: dict[int, list[int]] = defaultdict(list)
        self._seen = 0

    def remove(self, ids: Sequence[int]) -> None:
        """Some at a time; one at a time where the disk is too full for the log of more, giving back their room at once."""
        done, size = 0, _BATCH
        while done < len(ids):
            batch = ids[done : done + size]
            try:
                with self._engine.begin() as connection:
                    self._remove_together(connection, batch)
                if size == 1:
                    _give_back(self._engine, _VACUUM_PAGES_ON_FULL_DISK)
            except OperationalError as error:
                if not is_full(error):
                    raise
                if size == 1:
                    advice = "the disk of the store is full, and to remove a snapshot takes some room of its own: make a few MiB and try again"
                    raise StoreError(f"{advice} ({error.orig})") from error
                # What is known is of a transaction that was not to be.
                self._all.clear()
                self._tables.clear()
                self._seen = 0
                size = 1
                _give_back(self._engine, 0)
                continue
            done += len(batch)
            self._progress(len(batch))

    def _look(self, connection: Connection) -> None:
        """Learn of the captures that are new since the last look."""
        query = select(capture.c.snapshot_id, capture.c.process_id, capture.c.status).where(capture.c.snapshot_id > self._seen)
        for number, process_id, status in fetch_tuples(connection, query.order_by(capture.c.snapshot_id)):
            self._all[process_id].append(number)
            if status in WITH_TABLE:
                self._tables[process_id].append(number)
            self._seen = number

    def _remove_together(self, connection: Connection, ids: Sequence[int]) -> None:
        self._look(connection)
        going = set(ids)
        touched = set(connection.execute(select(capture.c.process_id).where(capture.c.snapshot_id.in_(ids))).scalars())
        connection.execute(delete(capture).where(capture.c.snapshot_id.in_(ids)))
        connection.execute(delete(snapshot).where(snapshot.c.id.in_(ids)))
        _note_removal(connection, max(going))
        for process_id in sorted(touched):
            for numbers in (self._all[process_id], self._tables[process_id]):
                numbers[:] = [number for number in numbers if number not in going]
            self._trim(connection, process_id, min(going))

    def _trim(self, connection: Connection, process_id: int, since: int) -> None:
        """Remove the intervals of a process in which no capture is left, of those that end in `since` or later."""
        left = self._tables[process_id]
        for table in (usage, totals):
            key = [column for column in table.primary_key if column.name != "process_id"]
            query = select(table.c.first_snapshot, *key).where(table.c.process_id == process_id, table.c.last_snapshot >= since)
            rows = fetch_tuples(connection, query)
            # The first number of a key is where the interval ends.
            empty = [row[1:] for row in rows if bisect_left(left, row[0]) == bisect_right(left, row[1])]
            if empty:
                names = [f"key_{column.name}" for column in key]
                matching = [column == bindparam(name) for column, name in zip(key, names, strict=True)]
                gone = delete(table).where(table.c.process_id == bindparam("key_process"), *matching)
                connection.execute(gone, [{"key_process": process_id, **dict(zip(names, values, strict=True))} for values in empty])
        used = select(usage.c.no).where(usage.c.process_id == process_id)
        connection.execute(delete(mapping).where(mapping.c.process_id == process_id, mapping.c.no.not_in(used)))
        if not self._all[process_id]:
            connection.execute(delete(process).where(process.c.id == process_id))


def _note_removal(connection: Connection, highest: int = 0) -> None:
    """Keep the highest number that was removed; by the change itself a writer on a server sees that what it remembers may be gone."""
    removed = numbering.c.removed
    connection.execute(update(numbering).values(removed=case((removed < highest, highest), else_=removed)))


def _remove_unused(engine: Engine) -> None:
    """Remove what was interned for rows that are gone, in steps that need little room; what a full disk leaves behind goes another time."""
    uses: tuple[tuple[Table, tuple[Column[Any], ...]], ...] = (
        (state, (usage.c.state_id,)),
        (detail, (state.c.detail_id,)),
        (layout, (detail.c.layout_id,)),
        (backing, (mapping.c.backing_id,)),
        (protection, (mapping.c.protection_id,)),
        (string, (backing.c.name_id, protection.c.flags_id, process.c.comm_id, process.c.cmdline_id, process.c.exe_id, process.c.cgroup_id)),
    )
    try:
        for table, columns in uses:
            # One transaction a table: what is unused now may be used by the next snapshot.
            with engine.begin() as connection:
                _note_removal(connection)
                used: set[int] = set()
                for column in columns:
                    used.update(connection.execute(select(column).distinct()).scalars())
                unused = set(connection.execute(select(table.c.id)).scalars()) - used
                for part in chunks(sorted(unused)):
                    connection.execute(delete(table).where(table.c.id.in_(part)))
    except OperationalError as error:
        if not is_full(error):
            raise


def _free_pages(engine: Engine) -> int:
    """The pages of the file that nothing is in."""
    if engine.dialect.name != "sqlite":
        return 0
    raw = engine.raw_connection()
    try:
        return _pragma(raw.cursor(), "freelist_count")
    finally:
        raw.close()


def _give_back(engine: Engine, pages: int = _VACUUM_PAGES) -> None:
    """Cut the free pages off the file, so many at a time, and the log; PostgreSQL's autovacuum does the like by itself."""
    if engine.dialect.name != "sqlite":
        return
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        free = -1
        while pages and (left := _pragma(cursor, "freelist_count")) not in (0, free):
            free = left
            cursor.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.OperationalError:
        # The disk is too full even for this, or somebody writes all the time: the pages stay free for new snapshots.
        pass
    finally:
        raw.close()


def _pragma(cursor: Any, name: str) -> int:
    return int(cursor.execute(f"PRAGMA {name}").fetchone()[0])


def _bytes(engine: Engine) -> int | None:
    """The bytes that the database needs, without pages that are free already."""
    if engine.dialect.name != "sqlite":
        return None
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        return (_pragma(cursor, "page_count") - _pragma(cursor, "freelist_count")) * _pragma(cursor, "page_size")
    finally:
        raw.close()


def eligible(refs: Iterable[SnapshotRef], label: str | None) -> list[SnapshotRef]:
    """The snapshots that pruning may touch: those of this label, else all recorded ones that nobody gave a name."""
    if label is not None:
        return [ref for ref in refs if ref.label == label]
    return [ref for ref in refs if ref.label is None and ref.source == "live"]
