"""Reading a series of snapshots, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Select, bindparam
from sqlalchemy.engine import Connection

from pmapdiff.model import Snapshot, SnapshotRef
from pmapdiff.store.load import CaptureReader, StoredCapture, capture_query
from pmapdiff.store.schema import capture, process
from pmapdiff.store.tables import TableReader

# Changes of so many snapshots are read together: more would only cost memory.
AHEAD = 32
# Captures of so many.
_CAPTURES_AHEAD = 16


def walk_series(connection: Connection, refs: Sequence[SnapshotRef], process_ids: Select[Any] | None, *, tables: bool) -> Iterator[Snapshot]:
    """These snapshots with the captures of these processes, or of all; without `tables` they have their totals alone."""
    captures, reader = CaptureReader(connection), TableReader(connection)
    query = capture_query().join(process, process.c.id == capture.c.process_id).order_by(capture.c.snapshot_id, process.c.pid, process.c.id)
    query = query.where(capture.c.snapshot_id.in_(bindparam("snapshots", expanding=True)))
    if process_ids is not None:
        query = query.where(capture.c.process_id.in_(process_ids))
    read: dict[int, list[StoredCapture]] = {}
    for position, ref in enumerate(refs):
        number = _number(ref)
        if number not in read:
            numbers = [_number(following) for following in refs[position : position + _CAPTURES_AHEAD]]
            read = {chosen: [] for chosen in numbers}
            for stored in captures.read(query, {"snapshots": list(read)}):
                read[stored.snapshot_id].append(stored)
            captures.trim()
        found = [stored.capture for stored in read[number]]
        if tables:
            until = max((later for later in map(_number, refs[position + 1 : position + AHEAD]) if later < number + AHEAD), default=0)
            for place, stored in enumerate(read[number]):
                if stored.capture.totals is not None:
                    found[place] = stored.capture._replace(table=reader.table(stored.process_id, number, until))
            reader.trim()
        yield Snapshot(ref, tuple(found))


def _number(ref: SnapshotRef) -> int:
    assert ref.id is not None, "it is in no store"
    return ref.id
