"""From one store to another: what a host recorded into a shared store, or a part of that onto somebody's own machine.

The snapshots of a host go in the order of their numbers, so many in a transaction, with a note of how far that was: whatever happens, the next run
goes on behind the last whole batch. Two runs at once do the same work, one after the other: what is there already is passed over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from pmapdiff.errors import ForbiddenError, UsageError
from pmapdiff.model import ProcessIdentity, Snapshot, SnapshotRef
from pmapdiff.store.copies import Arrived, Delivery, arrived, clock_us, store_identity
from pmapdiff.store.load import snapshot_query, snapshot_ref
from pmapdiff.store.schema import host as host_table
from pmapdiff.store.schema import numbering, snapshot
from pmapdiff.store.store import Store
from pmapdiff.text import printable

# So many snapshots are read with one look at the source, which keeps it from cutting off its log meanwhile.
_WINDOW = 256
# So many, or so many mappings that are not those of the snapshot before, are one transaction.
_BATCH = 32
_BATCH_MAPPINGS = 100_000

Progress = Callable[[str, int, int], None]
"""Is told the host, how many of its snapshots are done, and how many there are to do."""


class Brought(NamedTuple):
    """What one run did for a host: the snapshots that were stored, and those that were there already."""

    host: str
    stored: int
    present: int


def sync(
    source: Store,
    target: Store,
    *,
    hosts: Collection[str] = (),
    since_us: int | None = None,
    until_us: int | None = None,
    progress: Progress = lambda _host, _done, _all: None,
) -> Iterator[Brought]:
    """Store in `target` what `source` has and it does not, of these hosts or of all, one host after the other.

    Without a range (µs since the epoch, both ends included) it goes on where the last run ended; what was pruned from the target since does not come
    back. This very host comes first. Where the target does not let this user write of a host, the others are brought all the same, before
    ForbiddenError is raised. Raises StoreError, UsageError; what has been brought until then stays.
    """
    with source.reading() as connection:
        identity = store_identity(connection)
        names = select(host_table.c.name).order_by(host_table.c.name)
        known = [name for (name,) in connection.execute(names) if not hosts or name in hosts]
    if source.is_same_place(target):
        raise UsageError(f"{source.location} is the store itself: name another to bring its snapshots to")
    whole = since_us is None and until_us is None
    offset = _clock_offset_us(target)
    forbidden: dict[str, ForbiddenError] = {}
    with target.recording():
        for name in sorted(known, key=lambda name: name != os.uname().nodename):
            refs = _behind(source, identity, target, name) if whole else _in_range(source, name, since_us, until_us)
            # Only the host itself knows how its clock stands beside another's.
            ahead = offset if name == os.uname().nodename else None
            done = stored = 0
            try:
                for before, batch in _batches(source, refs):
                    delivery = Delivery(identity, batch[-1].ref.id or 0, ahead) if whole else None
                    stored += target.take_in(batch, delivery, before)
                    done += len(batch)
                    progress(name, done, len(refs))
            except ForbiddenError as refusal:
                forbidden[name] = refusal
                continue
            yield Brought(name, stored, done - stored)
    for name, why in forbidden.items():
        others = f" and {len(forbidden) - 1} more" if len(forbidden) > 1 else ""
        raise ForbiddenError(f"snapshots of {printable(name)}{others} were not brought: {why}; --host says which to bring")


def _behind(source: Store, identity: str, target: Store, host: str) -> list[SnapshotRef]:
    """The snapshots of a host that have not been brought yet, in the order of their numbers."""
    with target.reading() as connection:
        host_id = connection.execute(select(host_table.c.id).where(host_table.c.name == host)).scalar()
        reached = None if host_id is None else arrived(connection, identity, host_id)
    with source.reading() as connection:
        query = snapshot_query().where(host_table.c.name == host).order_by(snapshot.c.id)
        if reached is not None and not _was_put_back(connection, reached):
            query = query.where(snapshot.c.id > reached.through)
        return [snapshot_ref(row) for row in connection.execute(query)]


def _was_put_back(connection: Connection, reached: Arrived) -> bool:
    """Whether the source is not what it was when it was brought that far: an older copy of it gives the same numbers again."""
    known = snapshot.c
    taken_at = connection.execute(select(known.taken_at).where(known.id == reached.through)).scalar()
    if taken_at is not None:
        return int(taken_at) != reached.taken_at_us
    # Pruned since then, unless there never was such a number.
    ever = select(func.coalesce(func.max(known.id), 0), select(numbering.c.removed).scalar_subquery())
    return bool(max(connection.execute(ever).one()) < reached.through)


def _in_range(source: Store, host: str, since_us: int | None, until_us: int | None) -> list[SnapshotRef]:
    with source.reading() as connection:
        query = snapshot_query().where(host_table.c.name == host).order_by(snapshot.c.id)
        if since_us is not None:
            query = query.where(snapshot.c.taken_at >= since_us)
        if until_us is not None:
            query = query.where(snapshot.c.taken_at <= until_us)
        return [snapshot_ref(row) for row in connection.execute(query)]


def _batches(source: Store, refs: Sequence[SnapshotRef]) -> Iterator[tuple[Snapshot | None, list[Snapshot]]]:
    """These snapshots in batches, each with the snapshot of the host before it: most likely the last one that the other store has of it."""
    earlier = _before(source, refs[0]) if refs else []
    for position in range(0, len(refs), _WINDOW):
        window = refs[position : position + _WINDOW]
        snapshots = source.walk([*earlier, *window])
        before = next(snapshots) if earlier else None
        for batch in batches(snapshots):
            yield before, batch
            before = batch[-1]
        earlier = list(window[-1:])


def _before(source: Store, ref: SnapshotRef) -> list[SnapshotRef]:
    with source.reading() as connection:
        query = snapshot_query().where(host_table.c.name == ref.host, snapshot.c.id < ref.id).order_by(snapshot.c.id.desc()).limit(1)
        return [snapshot_ref(row) for row in connection.execute(query)]


def batches(snapshots: Iterable[Snapshot]) -> Iterator[list[Snapshot]]:
    """These snapshots, so many at a time that they fit into memory and into a short transaction."""
    batch: list[Snapshot] = []
    mappings = 0
    last: dict[ProcessIdentity, frozenset[int]] = {}
    for taken in snapshots:
        for capture in taken.captures:
            if capture.table is not None:
                # What did not change since the snapshot before is the same object.
                now = frozenset(map(id, capture.table.mappings))
                mappings += len(now - last.get(capture.process.identity, frozenset()))
                last[capture.process.identity] = now
        batch.append(taken)
        if len(batch) >= _BATCH or mappings >= _BATCH_MAPPINGS:
            yield batch
            batch, mappings = [], 0
    if batch:
        yield batch


def _clock_offset_us(target: Store) -> int | None:
    """How far this machine's clock is ahead of the database server's, in µs; None where the database is a file. Right to half of a round trip."""
    with target.reading() as connection:
        if connection.dialect.name != "postgresql":
            return None
        clock_us(connection)
        before = time.time_ns()
        theirs = clock_us(connection)
        after = time.time_ns()
    return (before + after) // 2000 - theirs
