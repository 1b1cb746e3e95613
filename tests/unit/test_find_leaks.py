"""What is said of services, on histories made by hand: which figure counts, what is left out, limits, siblings, ends, and chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from strategies import make

from pmapdiff.align import History, trace
from pmapdiff.analyse import Figure, Leaks, Suspect, Verdict
from pmapdiff.analyse.leaks import find_leaks
from pmapdiff.model import Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.model.oom import OomKill, OomReport

BEGIN_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000
MIB = 1024
HEAP, LIBC = 0x10000000, 0x7F0000000000


def heap(kib: int, swap: int = 0, lazy: int = 0) -> Mapping:
    size = (kib + swap + 4095) // 4096 * 4096 + 4096
    return make(HEAP, HEAP + size * 1024, name=b"[heap]", rss=kib, anonymous=kib, private_dirty=kib, swap=swap, pss=kib, lazy_free=lazy)


def file(rss: int) -> Mapping:
    return make(LIBC, LIBC + 4 * MIB * 1024 * 1024, "r--p", name=b"/srv/data.bin", inode=7, rss=rss, pss=rss, private_clean=rss)


def segment(kib: int, sharers: int) -> Mapping:
    return make(LIBC, LIBC + 64 * MIB * 1024, "rw-s", name=b"/dev/shm/ring", inode=9, rss=kib, pss=kib // sharers, shared_dirty=kib)


def info(pid: int = 1, name: bytes = b"worker", started_us: int = BEGIN_US - HOUR_US, cgroup: bytes | None = None) -> ProcessInfo:
    command = name + b"\0"
    identity = ProcessIdentity("boot", pid, started_us // 10_000, "key")
    return ProcessInfo(identity, name, command, b"/usr/bin/" + name, started_at_us=started_us, cgroup=cgroup, ppid=1)


def capture(process: ProcessInfo, *mappings: Mapping, status: Status = Status.COMPLETE, limit_mib: int | None = None) -> Capture:
    limit = None if limit_mib is None else limit_mib << 20
    return Capture(process, status, MappingTable(mappings), threads=4, cgroup_limit_bytes=limit)


def history(steps: Sequence[Sequence[Capture]], mem_total_mib: int = 16 << 10) -> History:
    """A snapshot an hour."""
    return trace(
        [
            Snapshot(SnapshotRef(n + 1, BEGIN_US + n * HOUR_US, "host", mem_total_kib=mem_total_mib * MIB, max_map_count=65530), tuple(captures))
            for n, captures in enumerate(steps)
        ]
    )


def of_one(table: Callable[[int], Sequence[Mapping]], count: int = 24) -> Suspect:
    process = info()
    (suspect,) = find_leaks(history([[capture(process, *table(n))] for n in range(count)])).processes
    return suspect


def growing(found: Leaks) -> list[str]:
    return [suspect.process.name for suspect in found.processes if suspect.verdict is Verdict.GROWING]


def test_a_heap_that_grows() -> None:
    suspect = of_one(lambda n: [heap(10 * MIB + n * MIB)])
    (finding,) = suspect.findings
    assert (suspect.verdict, finding.family, finding.name, finding.figure) == (Verdict.GROWING, "heap", "[heap]", Figure.FOOTPRINT)
    assert finding.trend.slope == pytest.approx(MIB)
    assert finding.trend.low <= MIB <= finding.trend.high
    assert finding.trend.delta == 23 * MIB
    assert finding.trend.onset_us == BEGIN_US
    assert finding.share == 1.0
    assert "grows at its end" in finding.evidence[0]
    (limit,) = finding.limits
    assert (limit.what, limit.used) == ("MemTotal", 33 * MIB)
    assert limit.low_hours == pytest.approx((16 * 1024 - 33) * MIB / MIB, rel=1e-3)


@pytest.mark.parametrize(("days", "urgent"), [(30, False), (3000, True)])
def test_what_fills_the_memory_only_later_is_not_urgent(days: int, urgent: bool) -> None:
    process = info()
    steps = [[capture(process, heap(10 * MIB + n * MIB))] for n in range(24)]
    (suspect,) = find_leaks(history(steps), horizon_hours=24.0 * days).processes
    assert (suspect.verdict, suspect.urgent) == (Verdict.GROWING, urgent)


def test_paging_is_neither_growth_nor_a_fix() -> None:
    suspect = of_one(lambda n: [heap(100 * MIB - n * MIB, swap=n * MIB)])
    assert suspect.verdict is Verdict.STABLE


def test_what_the_kernel_may_take_is_no_growth() -> None:
    assert of_one(lambda n: [heap(10 * MIB + n * MIB, lazy=n * MIB)]).verdict is Verdict.STABLE


def test_page_cache_is_called_so() -> None:
    suspect = of_one(lambda n: [heap(10 * MIB), file(n * MIB)])
    (finding,) = suspect.findings
    assert (suspect.verdict, finding.trend.verdict, finding.figure) == (Verdict.CACHE, Verdict.CACHE, Figure.CACHE)
    assert not suspect.urgent
    assert "No leak" in finding.suggestion


def test_shared_memory_reaches_the_limit_as_fast_as_all_who_map_it_see_it_grow() -> None:
    alone, shared = (of_one(lambda n, s=sharers: [heap(MIB), segment(MIB + n * MIB, s)]) for sharers in (1, 4))  # type: ignore[misc]
    assert [s.findings[0].figure for s in (alone, shared)] == [Figure.SHARED] * 2
    assert shared.findings[0].trend.slope == pytest.approx(alone.findings[0].trend.slope / 4, rel=0.01)
    assert any("other processes map it" in line for line in shared.findings[0].evidence)
    # 64 MiB are mapped: it ends there.
    assert not alone.urgent
    assert not shared.urgent


def test_the_cgroup_holds_others_too() -> None:
    one, other = info(1, cgroup=b"/unit"), info(2, b"neighbour", cgroup=b"/unit")
    steps = [[capture(one, heap((10 + n) * MIB), limit_mib=100), capture(other, heap(50 * MIB), limit_mib=100)] for n in range(24)]
    found = find_leaks(history(steps))
    assert growing(found) == ["worker"]
    limit = found.processes[0].findings[0].limits[0]
    assert (limit.what, limit.limit, limit.used) == ("cgroup limit", 100 * MIB, 83 * MIB)
    assert limit.low_hours == pytest.approx(17, rel=1e-3)


def test_torn_tables_are_left_out() -> None:
    process = info()
    steps = [
        [capture(process, heap(900 * MIB if n % 5 == 2 else (10 + n) * MIB), status=Status.TORN if n % 5 == 2 else Status.COMPLETE)]
        for n in range(24)
    ]
    (suspect,) = find_leaks(history(steps)).processes
    assert suspect.verdict is Verdict.GROWING
    assert suspect.findings[0].trend.slope == pytest.approx(MIB)
    assert any("5 snapshots left out" in note for note in suspect.notes)


def test_the_number_of_mappings() -> None:
    def table(n: int) -> list[Mapping]:
        return [heap(10 * MIB), *[make(LIBC + i * 8192, LIBC + i * 8192 + 4096, "---p") for i in range(50 * n)]]

    suspect = of_one(table)
    assert (suspect.verdict, suspect.findings[0].family) == (Verdict.GROWING, "mapping-count")
    assert suspect.findings[0].trend.slope == pytest.approx(50)
    assert suspect.findings[0].limits[0].what == "vm.max_map_count"


def lives(values: Callable[[int], int], life: int = 7, count: int = 28) -> History:
    steps = []
    for n in range(count):
        born = n // life * life
        steps.append([capture(info(100 + born, started_us=BEGIN_US + born * HOUR_US - 60_000_000), heap(values(n - born)))])
    return history(steps)


def test_growth_goes_on_through_restarts() -> None:
    (suspect,) = find_leaks(lives(lambda age: (10 + 5 * age) * MIB)).processes
    assert (suspect.verdict, suspect.restarts) == (Verdict.GROWING, 3)
    assert suspect.findings[0].trend.slope == pytest.approx(5 * MIB, rel=0.05)
    assert suspect.findings[0].trend.onset_us == BEGIN_US
    assert "4 incarnations" in suspect.findings[0].evidence[0]


def test_a_warm_up_is_none_however_often_it_is_repeated() -> None:
    (suspect,) = find_leaks(lives(lambda age: (10 + 10 * min(age, 3)) * MIB)).processes
    assert suspect.verdict is not Verdict.GROWING
    assert suspect.restarts == 3


def test_siblings_are_compared_at_equal_age() -> None:
    late_us = BEGIN_US + 10 * HOUR_US
    one, other = info(1, started_us=BEGIN_US), info(2, started_us=late_us)
    steps = [[capture(one, heap((10 + n) * MIB)), *([capture(other, heap(20 * MIB))] if n > 10 else [])] for n in range(24)]
    found = find_leaks(history(steps), pids={1})
    (suspect,) = found.processes
    (sibling,) = suspect.siblings
    assert (sibling.process.pid, sibling.verdict) == (2, Verdict.STABLE)
    assert sibling.age_hours == pytest.approx(13)
    assert (sibling.footprint_kib, sibling.grown_kib) == (20 * MIB, 0)
    assert (sibling.ours_kib, sibling.ours_grown_kib) == (23 * MIB, 12 * MIB)


def test_a_kill_is_told_beside_the_last_capture() -> None:
    process = info()
    steps = [[capture(process, heap((10 + n) * MIB)), capture(info(2, b"idle"), heap(MIB))] for n in range(24)]
    at_us = BEGIN_US + 23 * HOUR_US + HOUR_US // 2
    kill = OomKill(1, b"worker", at_us, anon_rss_kib=33 * MIB + 512, file_rss_kib=0, shmem_rss_kib=0, report=OomReport("memcg", limit_kib=40 * MIB))
    found = find_leaks(history(steps), kills=[kill, OomKill(99, b"other", at_us)])
    suspect = found.processes[0]
    assert suspect.end is not None
    assert suspect.end.footprint_kib == 33 * MIB
    said = " / ".join(suspect.end.lines)
    assert "the kernel killed worker" in said
    assert "+512 KiB against the last capture, 30 min before: as the growth until then would have it" in said
    assert found.notes == ()
    assert find_leaks(history(steps), kills=[OomKill(99, b"other", at_us)]).notes


def test_of_many_that_wander_none_is_called_growing_by_chance() -> None:
    rng = np.random.default_rng(5)
    walks = [np.cumsum(rng.normal(scale=3 * MIB, size=30)) + 100 * MIB for _ in range(120)]
    people = [info(100 + i, b"walk%d" % i) for i in range(len(walks))]
    steps = [[capture(person, heap(int(walk[n]))) for person, walk in zip(people, walks, strict=True)] for n in range(30)]
    leak = info(7, b"leak")
    for n, step in enumerate(steps):
        step.append(capture(leak, heap((100 + 5 * n) * MIB)))
    together = growing(find_leaks(history(steps)))
    # One by one, walks are mistaken for growth now and then; together no more than one in ten of what is called growing.
    alone = [name for name in (growing(find_leaks(history([[step[i]] for step in steps]))) for i in range(len(walks))) if name]
    assert together[0] == "leak"
    assert len(together) <= 2
    assert len(together) - 1 <= len(alone) <= 0.03 * len(walks)


def test_names_cannot_drive_a_terminal() -> None:
    evil = b"/tmp/\x1b[2J\nx"
    process = info()
    steps = [
        [
            capture(
                process,
                *[
                    make(LIBC + (i << 24), LIBC + (i << 24) + (1 << 20), "rw-s", name=b"/dev/shm" + evil, inode=i, rss=MIB, pss=MIB)
                    for i in range(n + 1)
                ],
            )
        ]
        for n in range(24)
    ]
    (suspect,) = find_leaks(history(steps)).processes
    (finding,) = [known for known in suspect.findings if known.family == "shm"]
    for text in (finding.name, *finding.evidence, finding.suggestion):
        assert text.isprintable(), text


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_tables_say_nothing(count: int) -> None:
    found = find_leaks(history([[capture(info(), heap((10 + n) * MIB))] for n in range(count)]))
    assert [suspect.verdict for suspect in found.processes] == [Verdict.TOO_SHORT] * bool(count)


def test_tables_without_counters_are_judged_by_what_there_is() -> None:
    def table(n: int) -> list[Mapping]:
        return [
            Mapping(HEAP, HEAP + (n + 1) * (1 << 20), "rw-p", 0, "00:00", 0, b"[heap]"),
            Mapping(LIBC, LIBC + 4096, "r--p", 0, "fd:00", 5, b"/lib/libc.so.6"),
        ]

    suspect = of_one(table)
    assert (suspect.verdict, suspect.figure, suspect.findings[0].family) == (Verdict.GROWING, Figure.SIZE, "heap")
    assert any("do not say what is anonymous" in note for note in suspect.notes)
