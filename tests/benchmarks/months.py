"""Stores as months of recording leave them, made in seconds: real tables that change as those of busy hosts do."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from strategies import PAGE, counters_of

from pmapdiff.formats import parse_saved
from pmapdiff.model import Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.model.counters import ANONYMOUS, COUNTER_INDEX, PRIVATE_DIRTY, PSS, RSS
from pmapdiff.model.mapping import VSYSCALL
from pmapdiff.store import Store

FAMILIES = Path(__file__).resolve().parents[1] / "data/families"
BEGIN_US = 1_700_000_000_000_000
TICK_US = 300_000_000
BOOT = "11111111-2222-3333-4444-555555555555"
# Above it the kernel puts libraries, and whatever has no place of its own, one below the other.
_HIGH = 0x7E0000000000
_REFERENCED = COUNTER_INDEX["Referenced"]


def real_tables() -> list[tuple[Mapping, ...]]:
    """The tables of common runtimes, 26 to 955 mappings each, with the counters that a current kernel prints."""
    tables = []
    for path in sorted(FAMILIES.glob("*.smaps.gz")):
        (saved,) = parse_saved(gzip.decompress(path.read_bytes()), path.name)
        tables.append(tuple([_filled(m) for m in saved.table.mappings]))
    return tables


def _filled(mapping: Mapping) -> Mapping:
    rss = mapping.counters[RSS] or 0
    clean = mapping.is_file and mapping.perms[1] != "w"
    anonymous = 0 if clean else rss
    return mapping._replace(
        counters=counters_of(
            rss=rss,
            pss=rss // 3 if clean else rss,
            pss_dirty=anonymous,
            shared_clean=rss - anonymous,
            shared_dirty=0,
            private_clean=0,
            private_dirty=anonymous,
            referenced=rss,
            anonymous=anonymous,
            anon_huge_pages=0,
            swap=0,
            swap_pss=0,
            kernel_page_size=4,
            mmu_page_size=4,
            ksm=0,
            lazy_free=0,
            shmem_pmd_mapped=0,
            file_pmd_mapped=0,
            shared_hugetlb=0,
            private_hugetlb=0,
            locked=0,
        )
    )


class Program:
    """A process that lives on: each tick some of its counters change, a heap grows, blocks come and go; it may restart."""

    def __init__(self, pid: int, base: tuple[Mapping, ...], random: Random, share: float) -> None:
        self.pid = pid
        self._base = base
        self._random = random
        # Of its mappings, how many change in a tick; of a process that sleeps, none ever.
        self._share = share
        self._starts = 0
        self._start()

    def _start(self, started_at_us: int = BEGIN_US - 1_000_000) -> None:
        """Another incarnation, at other addresses."""
        self._started_at_us = started_at_us
        slide = self._random.randrange(1 << 16) * PAGE * (self._starts > 0)
        self._table = [m if m.name == VSYSCALL else m._replace(start=m.start + slide, end=m.end + slide) for m in self._base]
        self._starts += 1
        self._version = 0
        self._written = -1
        self._blocks: list[int] = []
        # The same mappings change again and again, others hardly ever.
        number = len(self._table)
        self._hot = [i for i, m in enumerate(self._table) if m.perms[1] == "w" and self._random.random() < 0.5] or [number - 1]
        self._shared = [i for i, m in enumerate(self._table) if m.is_file and m.perms[1] != "w"] or [0]

    def tick(self, step: int) -> None:
        """What happens from one snapshot to the next."""
        random = self._random
        if not self._share:
            return
        if random.random() < 0.0005 and step:
            self.pid += 1
            self._start(BEGIN_US + step * TICK_US - 1_000_000)
            return
        changes = self._share * len(self._table)
        count = int(changes) + (random.random() < changes % 1)
        for number in range(count):
            if number % 2:
                self._count(random.choice(self._shared), pss=random.choice((-2, -1, 1, 2)))
            else:
                self._count(random.choice(self._hot), rss=4 * random.choice((-2, 1, 1, 2, 5)))
        if count and random.random() < 0.15:
            self._grow()
        if count and random.random() < 0.08:
            self._map_or_unmap()
        self._version += count > 0

    def _count(self, position: int, *, rss: int = 0, pss: int = 0) -> None:
        mapping = self._table[position]
        counters = list(mapping.counters)
        rss = max(-(counters[ANONYMOUS] or 0), min(rss, mapping.size_kib - (counters[RSS] or 0)))
        for index in (RSS, PRIVATE_DIRTY, ANONYMOUS, _REFERENCED, PSS):
            counters[index] = (counters[index] or 0) + rss
        counters[PSS] = max(0, min((counters[PSS] or 0) + pss, counters[RSS] or 0))
        self._table[position] = mapping._replace(counters=tuple(counters))

    def _grow(self) -> None:
        """[heap], or the used part of an arena into its reserve."""
        table = self._table
        for position in sorted(self._hot, key=lambda _: self._random.random()):
            mapping, above = table[position], table[position + 1] if position + 1 < len(table) else None
            end = mapping.end + 33 * PAGE
            if mapping.name == b"[heap]" and (above is None or end <= above.start):
                table[position] = mapping._replace(end=end)
            elif above is not None and not mapping.name and above.perms == "---p" and above.start == mapping.end and end < above.end:
                table[position], table[position + 1] = mapping._replace(end=end), above._replace(start=end)
            else:
                continue
            self._count(position, rss=132)
            return

    def _map_or_unmap(self) -> None:
        """Blocks of malloc beside each other, below all libraries."""
        table, random = self._table, self._random
        libraries = next(i for i, m in enumerate(table) if (m.is_file and m.start > _HIGH) or m.name == b"[stack]")
        floor = table[libraries - 1].end if libraries else 0
        block = next((i for i in range(libraries - 1, -1, -1) if table[i].start in self._blocks), None)
        if block is not None and random.random() < 0.45:
            self._blocks.remove(table.pop(block).start)
            shift, place = -1, block
        else:
            end = table[libraries].start - (1 + random.randrange(99)) * PAGE
            start = end - 257 * PAGE
            if start <= floor:
                return
            like = next((m for m in table if not m.name and m.perms == "rw-p"), table[libraries])
            table.insert(libraries, _filled(Mapping(start, end, "rw-p", 0, "00:00", 0, b"", like.flags, counters_of(rss=64), like.layout)))
            self._blocks.append(start)
            shift, place = 1, libraries
        self._hot = [i + shift if i >= place else i for i in self._hot if not (shift < 0 and i == place)]
        self._shared = [i + shift if i >= place else i for i in self._shared if not (shift < 0 and i == place)]

    def capture(self) -> Capture:
        """As the recorder takes it: of an unchanged text only the digest; now and then torn, or gone before it was read."""
        info = ProcessInfo(
            ProcessIdentity(BOOT, self.pid, 1000 + self._starts, f"exec-{self._starts}"),
            b"program-%d" % (self.pid // 100),
            b"/usr/bin/program-%d\0--serve\0" % (self.pid // 100),
            b"/usr/bin/program-%d" % (self.pid // 100),
            1,
            0,
            b"/system.slice/program-%d.service" % (self.pid // 100),
            unit=f"program-{self.pid // 100}.service",
            started_at_us=self._started_at_us,
        )
        about = (None, 4, 100_000, None, 1 << 28, 300)
        luck = self._random.random()
        if luck < 0.001:
            return Capture(info, Status.VANISHED)
        digest = b"%d-%d-%d" % (self.pid, self._starts, self._version)
        if self._written == self._version:
            return Capture(info, Status.COMPLETE, None, digest, *about)
        self._written = self._version
        return Capture(info, Status.TORN if luck < 0.003 else Status.COMPLETE, MappingTable(tuple(self._table)), digest, *about)


def write_store(path: Path, programs: list[Program], snapshots: int) -> Store:
    """Record these programs so many times, five minutes apart, into a new store."""
    store = Store.open(str(path), write=True)
    taken = _taken(programs, snapshots)
    while part := list(islice(taken, 50)):
        store.write_all(part)
    return store


def _taken(programs: list[Program], snapshots: int) -> Iterator[Snapshot]:
    for step in range(snapshots):
        for program in programs:
            program.tick(step)
        captures = tuple([program.capture() for program in programs])
        yield Snapshot(SnapshotRef(None, BEGIN_US + step * TICK_US, "host", None, "live", 200_000, "--all", 65530, 32 << 20), captures)


def host(path: Path, processes: int = 250, snapshots: int = 300) -> Store:
    """A host: three in ten processes sleep, most do little, some much; 3 % of all mappings change in a tick."""
    random = Random(7)
    tables = real_tables()
    shares = (0.0, 0.0, 0.0, 0.01, 0.01, 0.02, 0.03, 0.04, 0.06, 0.13)
    programs = [Program(1000 + 100 * n, tables[n % len(tables)], Random(n), random.choice(shares)) for n in range(processes)]
    return write_store(path, programs, snapshots)


def one_process(path: Path, mappings: int = 1000, snapshots: int = 1000) -> Store:
    """One large process: a node with workers, and blocks of malloc up to the number asked for."""
    base = max(real_tables(), key=len)
    like = next(m for m in base if not m.name and m.perms == "rw-p")
    low = 0x6F0000000000
    blocks = [
        _filled(like._replace(start=low + n * 300 * PAGE, end=low + (n * 300 + 257) * PAGE, counters=counters_of(rss=700)))
        for n in range(mappings - len(base))
    ]
    table = tuple(sorted([*base, *blocks], key=lambda m: m.start))
    return write_store(path, [Program(1000, table, Random(3), 0.03)], snapshots)
