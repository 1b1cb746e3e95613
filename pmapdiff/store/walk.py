"""Reading a series of snapshots, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Select
from sqlalchemy.engine import Connection

from pmapdiff.model import Snapshot, SnapshotRef
from pmapdiff.store.load import captures_of, captures_query
from pmapdiff.store.tables import TableReader

# Changes of so many snapshots are read together: more would only cost memory.
AHEAD = 32


def walk_series(connection: Connection, refs: Sequence[SnapshotRef], process_ids: Select[Any] | None, *, tables: bool) -> Iterator[Snapshot]:
    """These snapshots with the captures of these processes, or of all; without `tables` they have their totals alone."""
    reader = TableReader(connection)
    query = captures_query(process_ids)
    for position, ref in enumerate(refs):
        number = _number(ref)
        captures = [(stored.process_id, stored.capture) for stored in captures_of(connection, query, number)]
        if tables:
            until = max((later for later in map(_number, refs[position + 1 : position + AHEAD]) if later < number + AHEAD), default=0)
            captures = [
                (process_id, item if item.totals is None else item._replace(table=reader.table(process_id, number, until)))
                for process_id, item in captures
            ]
            reader.trim()
        yield Snapshot(ref, tuple([item for _, item in captures]))


def _number(ref: SnapshotRef) -> int:
    assert ref.id is not None, "it is in no store"
    return ref.id
