"""Two hosts: what belongs together, and that nothing which is equal by chance does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from strategies import capture_of, file, make

from pmapdiff.align import Match, pair_processes, trace
from pmapdiff.compare import Comparison, compare_snapshots
from pmapdiff.model import IMPORTED, Capture, Mapping, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef
from pmapdiff.report.words import headline

HEAP = make(0x1000, 0x9000, name=b"[heap]", rss=8)


def process(
    pid: int, exe: bytes = b"/bin/x", start: int = 1, ppid: int = 1, unit: str | None = None, boot: str = "b", command: bytes = b""
) -> ProcessInfo:
    identity = ProcessIdentity(boot, pid, start, "k")
    return ProcessInfo(identity, exe.rsplit(b"/", 1)[-1], command or exe + b"\0", exe, ppid=ppid, unit=unit)


def snapshot(host: str, captures: Sequence[Capture], at_us: int = 10**9, selection: str | None = "--all") -> Snapshot:
    return Snapshot(SnapshotRef(1, at_us, host, selection=selection), tuple(captures))


def capture(info: ProcessInfo, mappings: Sequence[Mapping] = (HEAP,)) -> Capture:
    return capture_of(mappings)._replace(process=info)


def pids(found: Comparison) -> dict[int | None, int | None]:
    return {p.before.process.pid if p.before else None: p.after.process.pid if p.after else None for p in found.processes}


def test_a_copy_of_a_machine_runs_other_processes() -> None:
    """Boot id, pid, start and addresses are equal: it is another incarnation all the same."""
    table = [HEAP, make(0x7F0000000000, 0x7F0000004000, rss=12)]
    moved = [HEAP, make(0x7F0000400000, 0x7F0000404000, rss=12)]
    ours, theirs = capture(process(7), table), capture(process(7), moved)
    (found,) = compare_snapshots(snapshot("web1", [ours]), snapshot("web2", [theirs])).processes
    assert (found.match, found.changes) == (Match.RESTARTED, ())
    (alike,) = compare_snapshots(snapshot("web1", [ours]), snapshot("web1", [theirs], 10**9 + 1)).processes
    assert (alike.match, len(alike.changes)) == (Match.SAME, 1)


def test_a_pid_that_is_the_same_by_chance_means_nothing() -> None:
    before = [process(7, b"/bin/a"), process(8, b"/bin/b")]
    after = [process(8, b"/bin/a"), process(7, b"/bin/b")]
    found = pair_processes(before, after, elsewhere=[True, True])
    assert sorted(found, key=str) == [(0, 0, Match.RESTARTED), (1, 1, Match.RESTARTED)]


def test_workers_go_with_their_parents_and_then_by_age() -> None:
    before = [
        process(1),
        process(2, ppid=1, start=2),
        process(3, ppid=1, start=3),
        process(50, unit="b.service"),
        process(51, ppid=50, start=9, unit="b.service"),
    ]
    after = [process(90, unit="b.service"), process(91, ppid=90, start=2, unit="b.service"), process(10), process(14, ppid=10, start=8)]
    after += [process(13, ppid=10, start=7), process(15, ppid=10, start=9)]
    found = compare_snapshots(snapshot("web1", map(capture, before)), snapshot("web2", map(capture, after)))  # type: ignore[arg-type]
    assert pids(found) == {1: 10, 2: 13, 3: 14, 50: 90, 51: 91, None: 15}


def test_another_service_will_do_at_last() -> None:
    """What runs under other units, in a container or in another version there is still that program; within a host it is another service."""
    before = [process(1, b"/usr/bin/redis-server", unit="redis.service"), process(2, b"/opt/app-1.2/app", unit="a.service"), process(3, b"/bin/y")]
    after = [
        process(11, b"/usr/bin/redis-server", unit="redis@6380.service"),
        process(12, b"/opt/app-1.3/app", unit="b.service"),
        process(13, b"/bin/z"),
    ]
    assert {(i, j) for i, j, match in pair_processes(before, after, elsewhere=[True] * 3) if match is Match.RESTARTED} == {(0, 0), (1, 1)}
    assert not [match for _, _, match in pair_processes(before, after) if match is Match.RESTARTED]
    # Not if the service is there under its own name.
    after.append(process(14, b"/usr/bin/redis-server", start=99, unit="redis.service"))
    assert (0, 3, Match.RESTARTED) in pair_processes(before, after, elsewhere=[True] * 3)


@pytest.mark.parametrize("parent", [1, 5])
def test_roles_stay_apart(parent: int) -> None:
    before = [process(1, b"/usr/bin/python3", command=b"python3\0one.py\0", unit="a.service", ppid=parent)]
    after = [process(2, b"/usr/bin/python3", command=b"python3\0two.py\0", unit="b.service", ppid=parent)]
    assert [match for _, _, match in pair_processes(before, after, elsewhere=[True])] == [Match.GONE, Match.NEW]


def saved(mappings: Sequence[Mapping]) -> Capture:
    """A table that does not say of which process it is."""
    return capture(ProcessInfo(ProcessIdentity("", 0, 0, "")), mappings)


@pytest.mark.parametrize(
    ("hosts", "same", "match"),
    [
        (("web1", "web2"), None, Match.RESTARTED),
        (("web1", "web2"), True, Match.SAME),
        (("web1", "web1"), None, Match.SAME),
        # Who does not say where it was taken may have been there.
        ((IMPORTED, "web2"), None, Match.SAME),
        (("web1", ""), None, Match.SAME),
    ],
)
def test_addresses_of_two_hosts_say_nothing_of_saved_tables(hosts: tuple[str, str], same: bool | None, match: Match) -> None:
    table = [file(0x7F0000000000, 0x7F0000001000, "r-xp", 0), HEAP]
    sides = [snapshot(host, [saved(table)], number) for number, host in enumerate(hosts)]
    (found,) = compare_snapshots(*sides, same=same).processes
    (service,) = trace(sides, same=same, across_hosts=True).services
    assert found.match is match
    assert [known.match for known in service.incarnations[1:]] == ([] if match is Match.SAME else [match])


def test_three_copies_of_a_machine() -> None:
    workers = [process(7, ppid=1, start=3), process(8, ppid=1, start=4)]
    machines = [
        snapshot(f"web{n}", [capture(info, [make(0x1000, 0x2000 + 0x1000 * n, name=b"[heap]", rss=n)]) for info in workers]) for n in range(3)
    ]
    services = trace(machines, across_hosts=True).services
    assert [[known.process.pid for known in service.incarnations] for service in services] == [[7, 7, 7], [8, 8, 8]]
    assert {known.match for service in services for known in service.incarnations[1:]} == {Match.RESTARTED}
    assert [[t and t.get("rss_kib") for t in service.totals] for service in services] == [[0, 1, 2]] * 2
    assert len(trace(machines).services) == 6, "a store's hosts are kept apart"


def test_a_service_that_one_host_of_three_calls_otherwise() -> None:
    units = ("redis.service", "redis@1.service", "redis.service")
    machines = [snapshot(f"db{n}", [capture(process(n + 5, b"/usr/bin/redis-server", boot=str(n), unit=unit))]) for n, unit in enumerate(units)]
    (service,) = trace(machines, across_hosts=True).services
    assert [known.process.pid for known in service.incarnations] == [5, 6, 7]


def one(info: ProcessInfo, before: Snapshot, after: Snapshot) -> str:
    found = compare_snapshots(before, after)
    (process_found,) = [p for p in found.processes if p.process == info]
    return headline(process_found, found)


def test_what_only_one_host_has() -> None:
    """How long it runs says nothing: that it is not on the other may be only because nobody recorded it there."""
    mine = process(7)._replace(started_at_us=1)
    here, empty = snapshot("web1", [capture(mine)]), snapshot("web2", [], 2 * 10**9)
    assert one(mine, here, empty) == "x 7 on web1: none on web2, has Rss 8 KiB, 1 mapping"
    assert one(mine, empty, here) == "x 7 on web1: none on web2, has Rss 8 KiB, 1 mapping"
    part = empty._replace(ref=empty.ref._replace(selection="--name redis"))
    assert "not recorded on web2" in one(mine, here, part)
    assert "not recorded on web2" in one(mine, part, here)


def test_headlines_name_both_hosts() -> None:
    ours, theirs = process(7), process(9, start=4)
    grown = snapshot("we\x1bb2", [capture(theirs, [make(0x1000, 0x9000, name=b"[heap]", rss=24)])])
    assert one(theirs, snapshot("web1", [capture(ours)]), grown) == r"x 9 on we\x1bb2: Rss +16 KiB against 7 on web1; 100 % of it [heap]"
    same = snapshot("web2", [capture(theirs)], 5)
    assert one(theirs, snapshot("web1", [capture(ours)]), same) == "x 9 on web2: no difference against 7 on web1"
