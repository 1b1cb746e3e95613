"""Which snapshots and processes are meant: what people call them, looked up in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Select, func, or_, select
from sqlalchemy.engine import Connection

from pmapdiff.errors import NotFoundError
from pmapdiff.model import ProcessIdentity, SnapshotRef
from pmapdiff.store.filter import ProcessFilter
from pmapdiff.store.load import snapshot_query, snapshot_ref
from pmapdiff.store.schema import WITH_TABLE, capture, process, snapshot, string
from pmapdiff.store.when import ById, ByRank, parse_when
from pmapdiff.text import printable
from pmapdiff.units import format_moment_local


def resolve(connection: Connection, text: str, wanted: ProcessFilter) -> SnapshotRef:
    """The snapshot that a WHEN means. Raises NotFoundError with what there is instead."""
    when = parse_when(text)
    if isinstance(when, ById):
        row = connection.execute(snapshot_query().where(snapshot.c.id == when.id)).first()
        if row is None:
            raise NotFoundError(f"there is no snapshot {when.id}: {_what_there_is(connection)}")
        return snapshot_ref(row)
    newest = (snapshot.c.taken_at.desc(), snapshot.c.id.desc())
    query = _holding(connection, snapshot_query(), wanted)
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
        raise NotFoundError(f"there is {what}{holding}: {_what_there_is(connection)}")
    return snapshot_ref(row)


def find_refs(connection: Connection, since_us: int | None, until_us: int | None, wanted: ProcessFilter) -> list[SnapshotRef]:
    """The snapshots between two moments (µs since the epoch, both included) that hold a wanted process, the oldest first."""
    query = between(snapshot_query().order_by(snapshot.c.taken_at, snapshot.c.id), since_us, until_us)
    if not wanted.everything:
        ids = process_ids(connection, wanted)
        query = query.where(snapshot.c.id.in_(select(capture.c.snapshot_id).where(capture.c.process_id.in_(ids))))
    return [snapshot_ref(row) for row in connection.execute(query)]


def has_process(connection: Connection, wanted: ProcessFilter) -> bool:
    """Whether any snapshot holds a wanted process."""
    ids = process_ids(connection, wanted)
    return connection.execute(select(capture.c.process_id).where(capture.c.process_id.in_(ids)).limit(1)).first() is not None


def last_seen(connection: Connection, wanted: ProcessFilter) -> dict[ProcessIdentity, int]:
    """When each process was captured for the last time, in µs since the epoch."""
    identity = (process.c.boot_id, process.c.pid, process.c.start_ticks, process.c.exec_key)
    query = (
        select(*identity, func.max(snapshot.c.taken_at))
        .join_from(process, capture, capture.c.process_id == process.c.id)
        .join(snapshot, snapshot.c.id == capture.c.snapshot_id)
        .group_by(process.c.id, *identity)
    )
    if not wanted.everything:
        query = query.where(process.c.id.in_(process_ids(connection, wanted)))
    return {ProcessIdentity(*fields): int(taken_at) for *fields, taken_at in connection.execute(query)}


def process_ids(connection: Connection, wanted: ProcessFilter) -> Select[Any]:
    """A query for the ids of the wanted processes.

    A name is looked for in the distinct names, of which there are few, not in the processes, of which months have many.
    """
    query = select(process.c.id)
    if wanted.pids:
        query = query.where(process.c.pid.in_(wanted.pids))
    if wanted.name is not None:
        comms = _strings(connection, process.c.comm_id, wanted.finds_comm)
        exes = _strings(connection, process.c.exe_id, wanted.finds_exe)
        query = query.where(or_(process.c.comm_id.in_(comms), process.c.exe_id.in_(exes)))
    return query


def between(query: Select[Any], since_us: int | None, until_us: int | None) -> Select[Any]:
    """A query for snapshots, of those between two moments alone."""
    if since_us is not None:
        query = query.where(snapshot.c.taken_at >= since_us)
    return query if until_us is None else query.where(snapshot.c.taken_at <= until_us)


def _holding(connection: Connection, query: Select[Any], wanted: ProcessFilter) -> Select[Any]:
    if wanted.everything:
        return query
    ids = process_ids(connection, wanted)
    holding = select(capture.c.snapshot_id).where(capture.c.process_id.in_(ids), capture.c.status.in_(WITH_TABLE))
    return query.where(snapshot.c.id.in_(holding))


def _strings(connection: Connection, column: Column[Any], accepts: Callable[[bytes], bool]) -> list[int]:
    """The ids of the strings that this column of `process` refers to and that are accepted."""
    rows = connection.execute(select(string.c.id, string.c.raw).where(string.c.id.in_(select(column).distinct())))
    return [number for number, raw in rows if accepts(bytes(raw))]


def _what_there_is(connection: Connection) -> str:
    ends = [connection.execute(snapshot_query().order_by(order).limit(1)).first() for order in (snapshot.c.taken_at, snapshot.c.taken_at.desc())]
    if ends[0] is None or ends[1] is None:
        return "the store is empty: make a snapshot with `pmapdiff record`"
    first, last = (f"#{row.id} of {format_moment_local(row.taken_at)}" for row in ends if row is not None)
    span = f"only {first}" if first == last else f"snapshots from {first} to {last}"
    return f"the store has {span}; see `pmapdiff snapshots`"
