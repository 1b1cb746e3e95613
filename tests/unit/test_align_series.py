"""Regions through a series of tables: what holds through growth, splits, merges, moves, restarts and gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from strategies import PAGE, capture_of, file, make

from pmapdiff.align import History, Match, RegionHistory, classify, pair_processes, trace
from pmapdiff.align.labels import speaker
from pmapdiff.align.pairing import ProcessPair
from pmapdiff.align.series import Follower, Region
from pmapdiff.compare import compare_snapshots
from pmapdiff.model import Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status

A = 0x7F0000000000
M = 1 << 20
HOUR_US = 3_600_000_000


def regions_of(*tables: list[Mapping], restarts: frozenset[int] = frozenset()) -> list[Region]:
    follower = Follower()
    for step, table in enumerate(tables):
        follower.add(step, table, classify(table), same_process=step not in restarts)
    return follower.regions()


def sizes(region: Region, steps: int) -> list[int]:
    """Its size in KiB at each step."""
    found = []
    for step in range(steps):
        spans = [mappings for begin, mappings in region.spans if begin <= step]
        found.append(sum(m.size_kib for m in spans[-1]) if spans else 0)
    return found


def test_growth_and_shrinking_is_one_region() -> None:
    (region,) = regions_of([make(A, A + M)], [make(A - 4 * M, A + M)], [make(A - 4 * M, A + M)], [make(A - M, A + M)])
    assert sizes(region, 4) == [1024, 5120, 5120, 2048]
    assert [step for step, _ in region.spans] == [0, 1, 3], "what does not change has no span of its own"


def test_what_merges_is_one_region_from_the_beginning() -> None:
    """So that a merge does not look like growth."""
    apart = [make(A, A + M), make(A + 4 * M, A + 5 * M)]
    (region,) = regions_of(apart, [make(A, A + 5 * M)], [make(A, A + 2 * M), make(A + 4 * M, A + 5 * M)])
    assert sizes(region, 3) == [2048, 5120, 3072]


def test_what_is_never_connected_stays_apart() -> None:
    one, other = regions_of([make(A, A + M), make(A + 4 * M, A + 5 * M)], [make(A, A + 2 * M), make(A + 4 * M, A + 5 * M)])
    assert (sizes(one, 2), sizes(other, 2)) == ([1024, 2048], [1024, 1024])


def test_a_file_that_moves_and_comes_back() -> None:
    here, there = file(A, A + M, "r--s", 0), file(A + 64 * M, A + 65 * M, "r--s", 0)
    (region,) = regions_of([here], [there], [here])
    assert not region.possibly
    assert region.holds(A + 64 * M)
    assert not region.holds(A + 64 * M, 2)


def test_a_guess_is_remembered() -> None:
    block = make(A, A + 4 * M, rss=512)
    moved = block._replace(start=A + 64 * M, end=A + 68 * M)
    (region,) = regions_of([block], [moved], [moved])
    assert region.possibly


def test_memory_that_came_back_at_the_same_place_is_new() -> None:
    block = make(A, A + M)
    first, second = regions_of([block], [], [block])
    assert (sizes(first, 3), sizes(second, 3)) == ([1024, 0, 0], [0, 0, 1024])


def test_a_restart_goes_on_by_name() -> None:
    before = [file(A, A + M, "r-xp", 0), make(A + 9 * M, A + 10 * M, name=b"[heap]")]
    after = [m._replace(start=m.start + 64 * M, end=m.end + 65 * M) for m in before]
    regions = regions_of(before, after, restarts=frozenset([1]))
    assert [region.label.name for region in regions] == ["/usr/lib/libx.so.1", "[heap]"]
    assert [sizes(region, 2) for region in regions] == [[1024, 2048], [1024, 2048]]


def test_the_label_is_that_of_the_last_table() -> None:
    lib = file(A, A + M, "r-xp", 0)
    (region,) = regions_of([lib], [lib._replace(name=lib.name + b" (deleted)")])
    assert (region.label.name, region.label.path, region.label.family) == ("/usr/lib/libx.so.1 (deleted)", "/usr/lib/libx.so.1", "image")


# Services.


def process(capture: Capture, pid: int = 1100, start: int = 5, started_at_us: int | None = None, exe: bytes = b"/bin/x") -> Capture:
    return capture._replace(
        process=capture.process._replace(identity=ProcessIdentity("boot", pid, start, f"{pid}"), exe=exe, started_at_us=started_at_us)
    )


def series(*captures: list[Capture], host: str = "h") -> list[Snapshot]:
    return [Snapshot(SnapshotRef(number + 1, (number + 1) * HOUR_US, host), tuple(found)) for number, found in enumerate(captures)]


def rss(known: RegionHistory) -> list[int | None]:
    return [None if sample is None else sample.figures[1] for sample in known.samples]


def heap(kib: int) -> Capture:
    return capture_of([make(A, A + 64 * M, name=b"[heap]", rss=kib)])


def only(history: History) -> RegionHistory:
    (service,) = history.services
    (region,) = service.regions
    return region


def test_a_gap_is_a_gap() -> None:
    denied = process(heap(0)._replace(table=None, status=Status.DENIED))
    history = trace(series([process(heap(1))], [denied], [], [process(heap(4))]))
    assert rss(only(history)) == [1, None, None, 4]
    (service,) = history.services
    assert [None if c is None else c.status.value for c in service.captures] == ["complete", "denied", None, "complete"]
    assert service.lifetime == (0, 1, 2, 3)


def test_a_region_before_and_after_its_time_is_not_there() -> None:
    other = make(A + 512 * M, A + 513 * M, rss=7)
    tables = [capture_of([*found, other]) for found in ([], [make(A, A + M, rss=3)], [])]
    history = trace(series(*([process(capture)] for capture in tables)))
    (service,) = history.services
    assert {known.id: rss(known) for known in service.regions} == {f"{A:x}@2": [0, 3, 0], f"{A + 512 * M:x}@1": [7, 7, 7]}


def test_a_restart_is_the_same_service() -> None:
    history = trace(series([process(heap(1))], [process(heap(2), 1200, 50)], [process(heap(3), 1200, 50)]))
    (service,) = history.services
    assert rss(only(history)) == [1, 2, 3]
    assert [(known.step, known.process.pid, known.match) for known in service.incarnations] == [(0, 1100, Match.NEW), (1, 1200, Match.RESTARTED)]


def test_a_restart_after_a_gap_is_the_same_service() -> None:
    history = trace(series([process(heap(1))], [], [process(heap(3), 1200, 50)]))
    assert rss(only(history)) == [1, None, 3]


def test_two_recorders_of_two_workers_are_two_services() -> None:
    """One records one worker, one the other, in turns: none is the restart of the other, because both ran all the time."""
    one, other = (process(heap(n), 1000 + n, n, started_at_us=n * 1000) for n in (1, 2))
    history = trace(series([one], [other], [one], [other]))
    assert [[rss(region) for region in service.regions] for service in history.services] == [[[1, None, 1, None]], [[None, 2, None, 2]]]
    unknown = [capture._replace(process=capture.process._replace(started_at_us=None)) for capture in (one, other)]
    history = trace(series([unknown[0]], [unknown[1]], [unknown[0]], [unknown[1]]))
    assert len(history.services) == 2, "who comes back was not restarted"
    later = process(heap(9), 1009, 9, started_at_us=round(2.5 * HOUR_US))
    history = trace(series([one], [one], [later]))
    assert [rss(region) for service in history.services for region in service.regions] == [[1, 1, 9]]


def test_hosts_are_told_apart_unless_they_shall_be_compared() -> None:
    snapshots = [*series([process(heap(1))]), *series([process(heap(2), 1200, 50)], host="other")]
    assert len(trace(snapshots).services) == 2
    assert rss(only(trace(snapshots, across_hosts=True))) == [1, 2]


def test_saved_files_are_one_service() -> None:
    def saved(number: int, shift: int) -> Snapshot:
        table = [file(A + shift, A + shift + M, "r-xp", 0), make(A + shift + 9 * M, A + shift + 10 * M, name=b"[stack]", rss=number)]
        capture = capture_of(table)
        identity = capture.process.identity._replace(boot_id="", pid=0, exec_key=str(number))
        return Snapshot(
            SnapshotRef(None, number, "", None, f"{number}.smaps"), (capture._replace(process=capture.process._replace(identity=identity)),)
        )

    (service,) = trace([saved(1, 0), saved(2, 0), saved(3, 64 * M)]).services
    assert [known.match for known in service.incarnations] == [Match.NEW, Match.RESTARTED]
    assert [rss(known) for known in service.regions] == [[0, 0, 0], [1, 2, 3]]
    (service,) = trace([saved(1, 0), saved(2, 64 * M)], same=True).services
    assert len(service.incarnations) == 1


def test_two_saved_tables_a_snapshot_are_judged_by_their_addresses_as_well() -> None:
    """As `compare` of two such snapshots does."""

    def saved(number: int, shift: int) -> Snapshot:
        captures = []
        for name in (b"a", b"b"):
            table = [
                file(A + shift, A + shift + M, "r-xp", 0, b"/bin/" + name),
                make(A + shift + 9 * M, A + shift + 10 * M, name=b"[stack]", rss=number),
            ]
            found = capture_of(table)
            identity = ProcessIdentity("", 0, 0, name.decode() + str(number))
            captures.append(found._replace(process=found.process._replace(identity=identity, comm=name, command=name + b"\0")))
        return Snapshot(SnapshotRef(None, number, "", None, f"{number}.smaps"), tuple(captures))

    snapshots = [saved(1, 0), saved(2, 0), saved(3, 64 * M)]
    for service in trace(snapshots).services:
        assert [(known.step, known.match) for known in service.incarnations] == [(0, Match.NEW), (2, Match.RESTARTED)]
    assert {process.match for process in compare_snapshots(*snapshots[:2]).processes} == {Match.SAME}
    assert {process.match for process in compare_snapshots(*snapshots[1:]).processes} == {Match.RESTARTED}


def test_the_same_table_again_costs_nothing() -> None:
    table = MappingTable((make(A, A + M, rss=1),))
    capture = process(capture_of(table.mappings)._replace(table=table))
    history = trace(series(*([capture] for _ in range(50))))
    known = only(history)
    assert len(known.region.spans) == 1
    assert len({id(sample) for sample in known.samples}) == 1


def test_tables_without_counters_have_no_figures_but_sizes() -> None:
    bare = capture_of([make(A, A + 2 * PAGE)._replace(counters=(None,) * 24)])
    known = only(trace(series([process(bare)])))
    sample = known.samples[0]
    assert sample is not None
    assert sample.figures[:2] == (8, None)


def test_snapshots_against_the_order_of_time() -> None:
    """What is compared from the latest to the first is one service as well."""
    started = (HOUR_US // 2, HOUR_US // 2 + 2 * HOUR_US)
    old, new = (process(heap(kib), 100 + kib, start=kib, started_at_us=at) for kib, at in zip((1, 3), started, strict=True))
    first, second, third = series([old], [old], [new])
    for order in ((first, second, third), (third, second, first), (third, first, second)):
        (service,) = trace(order).services
        assert rss(service.regions[0]) == [3 if known is third else 1 for known in order]
    running = process(heap(2), 102, start=2, started_at_us=started[0])
    both = series([running], [old])
    assert len(trace(both[::-1]).services) == len(trace(both).services) == 2


def test_what_is_long_gone_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host on which new programs come and go all the time: each snapshot costs what is in it, not what ever was."""
    looked_at: list[int] = []

    def counted(before: Sequence[ProcessInfo], *others: Any) -> list[ProcessPair]:
        looked_at.append(len(before))
        return pair_processes(before, *others)

    monkeypatch.setattr("pmapdiff.align.history.pair_processes", counted)
    steady, cron = process(heap(1)), b"/bin/cron"
    found = trace(
        series(
            *(
                [steady, process(heap(2), 2000 + n, n, n * HOUR_US, cron), process(heap(3), 4000 + n, n, n * HOUR_US, b"/bin/x%dy" % n)]
                for n in range(1, 41)
            )
        )
    )
    assert len(found.services) == 2 + 40
    assert max(looked_at) == 2
    (job,) = [service for service in found.services if service.process.exe == cron]
    assert len(job.incarnations) == 40


def test_neighbours_of_what_changes_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large table without a hole, as that of a process with a guard below each block."""
    spoken = 0

    def counted(mappings: Sequence[Mapping]) -> int:
        nonlocal spoken
        spoken += 1
        return speaker(mappings)

    monkeypatch.setattr("pmapdiff.align.series.speaker", counted)
    whole = [make(A + n * M, A + (n + 1) * M, ("rw-p", "r--p")[n % 2], rss=n) for n in range(300)]
    tables = [[make(m.start, m.end, m.perms, rss=500 + step) if n == 2 * step else m for n, m in enumerate(whole)] for step in range(20)]
    found = regions_of(*tables)
    assert len(found) == 300
    assert spoken <= 300 + 2 * 19
