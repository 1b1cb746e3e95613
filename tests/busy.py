"""A process in which everything changes all the time: the most that a page has to hold."""

from __future__ import annotations

from random import Random

from pmapdiff.model import Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.model.counters import COUNTERS
from pmapdiff.store import Store

REGIONS, SNAPSHOTS = 300, 500


def busy_store(location: str) -> None:
    """A store of a process in which every region is another at every snapshot, with figures that cannot be foretold."""
    random = Random(7)
    rss, private, anonymous = ([counter.attribute for counter in COUNTERS].index(name) for name in ("rss_kib", "private_dirty_kib", "anonymous_kib"))
    resident = [random.randrange(4, 4000, 4) for _ in range(REGIONS)]
    process = ProcessInfo(ProcessIdentity("boot", 77, 1000, "exec"), b"busy", b"busy\0", uid=0, started_at_us=1_700_000_000_000_000)

    def taken(step: int) -> Snapshot:
        mappings = []
        for number in range(REGIONS):
            resident[number] = min(max(resident[number] + random.randrange(-400, 440, 4), 4), 8000)
            counters: list[int | None] = [0] * len(COUNTERS)
            counters[rss] = counters[anonymous] = resident[number]
            counters[private] = random.randrange(0, resident[number] + 1, 4)
            start = 0x7F0000000000 + number * (16 << 20)
            mappings.append(Mapping(start, start + (8 << 20), "rw-p", 0, "00:00", 0, b"", counters=tuple(counters)))
        ref = SnapshotRef(None, 1_700_000_060_000_000 + step * 60_000_000, "host")
        return Snapshot(ref, (Capture(process, Status.COMPLETE, MappingTable(tuple(mappings))),))

    Store.open(location, write=True).write_all(taken(step) for step in range(SNAPSHOTS))
