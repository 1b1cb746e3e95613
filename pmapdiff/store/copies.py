"""Copies of snapshots: which ones a store has already, and what was brought to it.

A snapshot is the same wherever its host, its origin (the store that had it first, and its number there) and its time are. The time is a part of it
because a store may be put back from a backup, and then gives the same numbers again to other snapshots.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import insert, select, text
from sqlalchemy.engine import Connection

from pmapdiff.model import Origin, SnapshotRef
from pmapdiff.store.bulk import chunks, new_ids
from pmapdiff.store.schema import delivery as delivery_table
from pmapdiff.store.schema import numbering, snapshot


class Delivery(NamedTuple):
    """What a batch of copies is a part of: the snapshots of the store `source`, of which this brings those up to its number `through`.

    `clock_offset_us` is how far the clock of their host is ahead of the database's, in µs; None where nobody can tell.
    """

    source: str
    through: int
    clock_offset_us: int | None


class Arrived(NamedTuple):
    """Up to which of its numbers the snapshots of a source were brought, and when that one was taken, in µs since the epoch by its host's clock."""

    through: int
    taken_at_us: int


Identity = tuple[str, Origin, int]
"""Host, origin and time of a snapshot."""


def identity_of(ref: SnapshotRef) -> Identity:
    """What a snapshot is known by in any store."""
    assert ref.origin is not None, "it is in no store"
    return ref.host, ref.origin, ref.taken_at_us


def store_identity(connection: Connection) -> str:
    """What a store is known by: 32 hexadecimal digits."""
    return str(connection.execute(select(numbering.c.store)).scalar_one())


def present(connection: Connection, host_ids: Mapping[str, int], refs: Sequence[SnapshotRef]) -> set[Identity]:
    """Which of these snapshots the store has."""
    wanted: dict[tuple[str, str], list[SnapshotRef]] = defaultdict(list)
    for ref in refs:
        host, origin, _ = identity_of(ref)
        wanted[host, origin.store].append(ref)
    here = store_identity(connection)
    found: set[Identity] = set()
    for (host, store), of_one in wanted.items():
        ours = snapshot.c.host_id == host_ids[host]
        for part in chunks(ref.origin.number for ref in of_one if ref.origin is not None):
            copied = select(snapshot.c.origin_number, snapshot.c.taken_at).where(
                ours, snapshot.c.origin_store == store, snapshot.c.origin_number.in_(part)
            )
            found.update((host, Origin(store, number), taken_at) for number, taken_at in connection.execute(copied))
            if store == here:
                # They come back to where they were from.
                own = select(snapshot.c.id, snapshot.c.taken_at).where(ours, snapshot.c.origin_store.is_(None), snapshot.c.id.in_(part))
                found.update((host, Origin(store, number), taken_at) for number, taken_at in connection.execute(own))
    return found


def note_delivery(
    connection: Connection, host_ids: Mapping[str, int], made: Delivery, brought: Sequence[SnapshotRef], stored: Sequence[SnapshotRef]
) -> None:
    """Note what was brought, a row for each host: `stored` of it was new."""
    for host, host_id in host_ids.items():
        of_host = [ref for ref in brought if ref.host == host]
        new = [ref.id for ref in stored if ref.host == host and ref.id is not None]
        (number,) = new_ids(connection, delivery_table, 1)
        connection.execute(
            insert(delivery_table).values(
                id=number,
                host_id=host_id,
                source_store=made.source,
                through=made.through,
                snapshots=len(new),
                last_snapshot=max(new, default=None),
                taken_at=of_host[-1].taken_at_us,
                arrived_at=clock_us(connection),
                clock_offset_us=made.clock_offset_us,
            )
        )


def arrived(connection: Connection, source: str, host_id: int) -> Arrived | None:
    """How far the snapshots of a host have been brought from this source, as of the last time; None if none was."""
    known = delivery_table.c
    query = select(known.through, known.taken_at).where(known.host_id == host_id, known.source_store == source)
    row = connection.execute(query.order_by(known.id.desc()).limit(1)).first()
    return None if row is None else Arrived(row.through, row.taken_at)


def clock_us(connection: Connection) -> int:
    """What the database's clock says, in µs since the epoch."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")).scalar_one())
    return time.time_ns() // 1000
