"""The hosts of a store: what there is of each, and how far behind it is."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from pmapdiff.model import SnapshotRef
from pmapdiff.store.bulk import chunks
from pmapdiff.store.copies import clock_us
from pmapdiff.store.filter import ProcessFilter
from pmapdiff.store.load import snapshot_query, snapshot_ref
from pmapdiff.store.lookup import find_hosts
from pmapdiff.store.schema import capture, delivery, snapshot

# The gaps between so many snapshots, and between so many deliveries, say how often a host is usually heard of.
_GAPS = 20
# Of fewer nobody can say what is usual.
_LEAST_GAPS = 3
# So many times as long as the longest of them is silence.
_SILENT = 2


class HostSummary(NamedTuple):
    """A host and what there is of it.

    `first_us` is when its first snapshot was taken, in µs since the epoch, `last` its latest (None: none is left), with so many `processes`. `age_us`
    is how long ago that was by the host's own clock, and `gap_us` the longest that its last snapshots were apart, and their deliveries
    (None: there are too few). `lag_us` is how late the latest arrived from another store; None where it was recorded here. `clock_offset_us` is how
    far the host's clock was ahead of the database's then; None where nobody knows, and age and lag are as if they agreed.
    """

    host: str
    snapshots: int
    first_us: int | None
    last: SnapshotRef | None
    processes: int
    age_us: int | None
    gap_us: int | None
    lag_us: int | None
    clock_offset_us: int | None

    @property
    def silent(self) -> bool:
        """Whether its last capture is older than twice the longest gap that is usual for it."""
        return self.age_us is not None and self.gap_us is not None and self.age_us > _SILENT * self.gap_us


class _Heard(NamedTuple):
    """What is known of the deliveries of a host: the longest gap between them, and of the last one what it brought, how late, by which clock."""

    gap_us: int
    last_snapshot: int
    lag_us: int
    clock_offset_us: int | None


def summarise_hosts(connection: Connection, wanted: ProcessFilter) -> list[HostSummary]:
    """The wanted hosts in the order of their names. A few short queries a host, which an index answers on a server."""
    now_us = clock_us(connection)
    hosts = find_hosts(connection, wanted)
    spans = select(snapshot.c.host_id, func.count().label("n"), func.min(snapshot.c.taken_at).label("first")).group_by(snapshot.c.host_id)
    if wanted.hosts:
        spans = spans.where(snapshot.c.host_id.in_(hosts))
    counted = {row.host_id: row for row in connection.execute(spans)}
    latest = {number: _latest(connection, number) for number in hosts}
    processes = _processes(connection, [refs[0] for refs in latest.values() if refs])
    found = []
    for number, name in sorted(hosts.items(), key=lambda item: item[1]):
        refs, span, heard = latest[number], counted.get(number), _heard(connection, number)
        last = refs[0] if refs else None
        offset = None if heard is None else heard.clock_offset_us
        delivered = heard is not None and last is not None and (last.id or 0) <= heard.last_snapshot
        gap_us = _longest([ref.taken_at_us for ref in refs if ref.source == "live"])
        if gap_us is not None and heard is not None and delivered:
            gap_us += heard.gap_us
        found.append(
            HostSummary(
                name,
                0 if span is None else span.n,
                None if span is None else span.first,
                last,
                0 if last is None else processes.get(last.id, 0),
                None if last is None else now_us + (offset or 0) - last.taken_at_us,
                gap_us,
                heard.lag_us if heard is not None and delivered else None,
                offset,
            )
        )
    return found


def _latest(connection: Connection, host_id: int) -> list[SnapshotRef]:
    """The last snapshots of a host, the latest first."""
    query = snapshot_query().where(snapshot.c.host_id == host_id).order_by(snapshot.c.taken_at.desc(), snapshot.c.id.desc())
    return [snapshot_ref(row) for row in connection.execute(query.limit(_GAPS + 1))]


def _processes(connection: Connection, refs: list[SnapshotRef]) -> dict[int | None, int]:
    """How many processes were captured in each of these snapshots, by their numbers."""
    query = select(capture.c.snapshot_id, func.count()).group_by(capture.c.snapshot_id)
    return {
        number: count for part in chunks(ref.id for ref in refs) for number, count in connection.execute(query.where(capture.c.snapshot_id.in_(part)))
    }


def _heard(connection: Connection, host_id: int) -> _Heard | None:
    """What is known of the last deliveries of a host that brought anything; None if nothing was ever delivered."""
    known = delivery.c
    query = select(known.taken_at, known.arrived_at, known.clock_offset_us, known.last_snapshot)
    query = query.where(known.host_id == host_id, known.last_snapshot.is_not(None)).order_by(known.id.desc()).limit(_GAPS + 1)
    rows = connection.execute(query).all()
    if not rows:
        return None
    last = rows[0]
    gap_us = _longest([row.arrived_at for row in rows], least=1) or 0
    return _Heard(gap_us, last.last_snapshot, last.arrived_at + (last.clock_offset_us or 0) - last.taken_at, last.clock_offset_us)


def _longest(newest_first: list[int], least: int = _LEAST_GAPS) -> int | None:
    """The longest gap between two of these moments that follow each other; None if there are too few to say."""
    gaps = [later - earlier for later, earlier in pairwise(newest_first)]
    return max(gaps) if len(gaps) >= least else None
