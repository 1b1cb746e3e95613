"""What a recorder remembers of the processes that it follows, so that a capture asks the database for as little as possible."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import and_, func, select
from sqlalchemy.engine import Connection

from pmapdiff.model import ProcessIdentity
from pmapdiff.store.bulk import chunks
from pmapdiff.store.schema import OPEN_SEQ, STATUSES, capture, host, process, totals

# What makes a stored mapping the same mapping: addresses, offset, protection, backing, header. A torn table may have the
# same mapping twice: the second one's key has its number behind that.
GeometryKey = tuple[int | bytes | None, ...]
UsageValues = tuple[int | None, ...]
# A mapping's number within its process, and its counters.
OpenRow = tuple[int, UsageValues]
ProcessKey = tuple[str, ProcessIdentity]
"""A host's name and the process: saved tables of different hosts may look like the same process."""


@dataclass(slots=True)
class KnownProcess:
    """What the store has of a process.

    `seq` is the number of its last capture, `digest` that of its last text (None: it had none that can be repeated),
    `mappings` and `rss_kib` are of its last table, `read_us` is how long its last read took, at capture `read_seq`, and
    `read_given_up` whether that was too long to finish. `rows` are the mappings that last, by geometry, or None where
    they have not been looked up; `next_no` is then the next free number of a mapping.
    """

    id: int
    seq: int = 0
    has_info: bool = False
    has_totals: bool = False
    digest: bytes | None = None
    mappings: int = 0
    rss_kib: int | None = None
    read_us: int | None = None
    read_seq: int = 0
    read_given_up: bool = False
    rows: dict[GeometryKey, OpenRow] | None = None
    next_no: int = 1

    @property
    def reads_ago(self) -> int:
        """How many captures the last read lies back, from the one that is taken next."""
        return self.seq + 1 - self.read_seq


def find_known(connection: Connection, keys: Iterable[ProcessKey]) -> dict[ProcessKey, KnownProcess]:
    """Those of these processes that the store has, without their rows: one query for each 500."""
    wanted = set(keys)
    last = select(func.max(capture.c.seq)).where(capture.c.process_id == process.c.id)
    last_read = (
        select(capture.c.seq).where(capture.c.process_id == process.c.id, capture.c.read_us.is_not(None)).order_by(capture.c.seq.desc()).limit(1)
    )
    query = (
        select(
            host.c.name,
            process.c.boot_id,
            process.c.pid,
            process.c.start_ticks,
            process.c.exec_key,
            process.c.id,
            last.correlate(process).scalar_subquery(),
            process.c.started_at,
            totals.c.first_seq,
            totals.c.digest,
            totals.c.mappings,
            totals.c.rss_kib,
            capture.c.read_us,
            capture.c.seq,
            capture.c.status,
        )
        .join_from(process, host, host.c.id == process.c.host_id)
        .join(totals, and_(totals.c.process_id == process.c.id, totals.c.last_seq == OPEN_SEQ), isouter=True)
        .join(capture, and_(capture.c.process_id == process.c.id, capture.c.seq == last_read.correlate(process).scalar_subquery()), isouter=True)
        .where(host.c.name.in_({name for name, _ in wanted}), process.c.boot_id.in_({identity.boot_id for _, identity in wanted}))
    )
    found: dict[ProcessKey, KnownProcess] = {}
    for part in chunks({identity.pid for _, identity in wanted}):
        for name, boot, pid, ticks, exec_key, number, seq, started, first, digest, mappings, rss, read_us, read_seq, status in connection.execute(
            query.where(process.c.pid.in_(part))
        ):
            key = (name, ProcessIdentity(boot, pid, ticks, exec_key))
            if key in wanted:
                found[key] = KnownProcess(
                    number,
                    seq or 0,
                    started is not None,
                    first is not None,
                    None if digest is None else bytes(digest),
                    mappings or 0,
                    rss,
                    read_us,
                    read_seq or 0,
                    status is not None and STATUSES[status] == "maps-only",
                )
    return found
