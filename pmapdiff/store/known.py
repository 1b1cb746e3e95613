"""What a recorder remembers of the processes that it follows, so that a capture asks the database for as little as possible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import and_, func, select
from sqlalchemy.engine import Connection

from pmapdiff.model import ProcessIdentity, Status
from pmapdiff.store.bulk import chunks
from pmapdiff.store.schema import LASTING, STATUSES, capture, host, process, snapshot, totals

# What makes a stored mapping the same mapping: addresses, offset, protection, backing, header. A torn table may have the
# same mapping twice: the second one's key has its number behind that.
GeometryKey = tuple[int | bytes | None, ...]
# A mapping's number within its process, and its state.
OpenRow = tuple[int, int]
ProcessKey = tuple[str, ProcessIdentity]
"""A host's name and the process: saved tables of different hosts may look like the same process."""
# How far back a last read is looked for: further than any budget remembers, unless many recorders feed the store.
_READS_WITHIN = 64


@dataclass(slots=True)
class KnownProcess:
    """What the store has of a process.

    `first` is the snapshot since which its last table has been the same (None: it has none), `digest` that of the text (None: it cannot be repeated),
    `mappings` and `rss_kib` are of that table. `read_us` is how long its last read took, `reads_ago` captures ago (counted
    from the next one), and `read_given_up` whether that was too long to finish. `rows` are the mappings that last, by geometry, or
    None where they have not been looked up; `next_no` is then the next free number of a mapping.
    """

    id: int
    has_info: bool = False
    first: int | None = None
    digest: bytes | None = None
    mappings: int = 0
    rss_kib: int | None = None
    read_us: int | None = None
    reads_ago: int = 1
    read_given_up: bool = False
    rows: dict[GeometryKey, OpenRow] | None = None
    next_no: int = 1

    def captured(self, status: Status, read_us: int | None) -> None:
        """Take note of a capture that is being stored, or was."""
        if read_us is None or status is Status.TIMEOUT:
            self.reads_ago += 1
        else:
            self.read_us, self.reads_ago, self.read_given_up = read_us, 1, status is Status.MAPS_ONLY


def find_known(connection: Connection, keys: Iterable[ProcessKey]) -> dict[ProcessKey, KnownProcess]:
    """Those of these processes that the store has, without their rows and their last reads: one query for each 500."""
    wanted = set(keys)
    query = (
        select(
            host.c.name,
            process.c.boot_id,
            process.c.pid,
            process.c.start_ticks,
            process.c.exec_key,
            process.c.id,
            process.c.started_at,
            totals.c.first_snapshot,
            totals.c.digest,
            totals.c.mappings,
            totals.c.rss_kib,
        )
        .join_from(process, host, host.c.id == process.c.host_id)
        .join(totals, and_(totals.c.process_id == process.c.id, totals.c.last_snapshot == LASTING), isouter=True)
        .where(host.c.name.in_({name for name, _ in wanted}), process.c.boot_id.in_({identity.boot_id for _, identity in wanted}))
    )
    found: dict[ProcessKey, KnownProcess] = {}
    for part in chunks({identity.pid for _, identity in wanted}):
        rows = connection.execute(query.where(process.c.pid.in_(part)))
        for name, boot, pid, ticks, exec_key, number, started, first, digest, mappings, rss in rows:
            key = (name, ProcessIdentity(boot, pid, ticks, exec_key))
            if key in wanted:
                found[key] = KnownProcess(number, started is not None, first, None if digest is None else bytes(digest), mappings or 0, rss)
    return found


def add_last_reads(connection: Connection, known: Iterable[KnownProcess]) -> None:
    """Look up how long the last read of each of these processes took, and how many captures ago that was."""
    by_id = {one.id: one for one in known}
    newest = connection.execute(select(func.max(snapshot.c.id))).scalar() or 0
    query = select(capture.c.process_id, capture.c.status, capture.c.read_us).where(capture.c.snapshot_id > newest - _READS_WITHIN)
    for number, status, read_us in connection.execute(query.order_by(capture.c.snapshot_id)):
        if number in by_id:
            by_id[number].captured(STATUSES[status], read_us)
