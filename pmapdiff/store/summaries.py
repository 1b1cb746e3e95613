"""What is in a store, row by row: its snapshots, and its processes through all their captures."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import and_, func, select
from sqlalchemy.engine import Connection

from pmapdiff.model import ProcessInfo, SnapshotRef, Status, Totals
from pmapdiff.store.bulk import chunks
from pmapdiff.store.filter import ProcessFilter
from pmapdiff.store.load import CaptureReader, capture_query, snapshot_query, snapshot_ref, totals_of_capture
from pmapdiff.store.lookup import between, of_hosts, process_ids
from pmapdiff.store.schema import STATUSES, WITH_TABLE, capture, snapshot, totals


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


def summarise_snapshots(connection: Connection, limit: int | None, wanted: ProcessFilter) -> list[SnapshotSummary]:
    """The newest snapshots of the wanted hosts (all of them without a limit), oldest first."""
    query = of_hosts(connection, snapshot_query().order_by(snapshot.c.taken_at.desc(), snapshot.c.id.desc()), wanted)
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


def summarise_processes(connection: Connection, wanted: ProcessFilter, since_us: int | None, until_us: int | None) -> list[ProcessSummary]:
    """Every process that has a table between two moments (µs since the epoch, both included), with its totals when it was first and last seen."""
    ids = None if wanted.every_process else process_ids(connection, wanted)
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
    if since_us is not None or until_us is not None or wanted.hosts:
        ends = ends.where(capture.c.snapshot_id.in_(of_hosts(connection, between(select(snapshot.c.id), since_us, until_us), wanted)))
    spans = {row.process_id: row for row in connection.execute(ends)}
    span = ends.subquery()
    query = capture_query().join(span, and_(span.c.process_id == capture.c.process_id, capture.c.snapshot_id.in_([span.c.first, span.c.last])))
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
            ProcessSummary(last.capture.process, ref_last.host, row.n, ref_first, ref_last, first.capture.totals, last.capture.totals, row.read_us)
        )
    return summaries


def _sum_or_null(column: Any) -> tuple[Any, Any]:
    """The sum of a column, and how many rows have totals but lack it: a partial sum must not pass for a whole one."""
    return func.coalesce(func.sum(column), 0), func.count(totals.c.mappings) - func.count(column)
