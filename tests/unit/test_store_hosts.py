"""A store of several hosts: what is looked up of some of them alone, what a WHEN means there, and what is said of each."""

from __future__ import annotations

from itertools import pairwise

import pytest
from strategies import capture_of, make

from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.model import IMPORTED, Capture, Origin, ProcessInfo, Snapshot, SnapshotRef
from pmapdiff.store import HostSummary, ProcessFilter, Store
from pmapdiff.store.copies import Delivery
from pmapdiff.store.prune import Retention

MINUTE_US = 60_000_000
BASE_US = 1_700_000_000_000_000
HOSTS = ("db1", "web1", "web2")


def named(capture: Capture, comm: bytes) -> Capture:
    info: ProcessInfo = capture.process._replace(comm=comm, exe=b"/usr/bin/" + comm)
    return capture._replace(process=info)


def taken(host: str, minute: float, pid: int = 7, comm: bytes = b"prog", label: str | None = None, source: str = "live") -> Snapshot:
    """A process that is a page longer each minute."""
    capture = named(capture_of([make(0x1000, 0x2000 + int(minute * 10) * 0x1000, name=b"[heap]", rss=4)], pid), comm)
    return Snapshot(SnapshotRef(None, BASE_US + round(minute * MINUTE_US), host, label, source, selection="--all"), (capture,))


def of(*hosts: str, pid: int | None = None, name: str | None = None) -> ProcessFilter:
    return ProcessFilter(frozenset() if pid is None else frozenset([pid]), name, frozenset(hosts))


@pytest.fixture
def fleet(store: Store) -> Store:
    """Three hosts by turns, each three times, as copies of one machine: snapshots 1, 4 and 7 are of db1, which alone runs `db`."""
    for minute in range(3):
        for place, host in enumerate(HOSTS):
            snapshot = taken(host, minute + place / 10, label="begin" if minute == 0 else None)
            others = (named(capture_of([make(0x1000, 0x2000)], 9), b"db"),) if host == "db1" else ()
            store.write(snapshot._replace(captures=snapshot.captures + others))
    return store


def test_what_is_of_some_hosts(fleet: Store) -> None:
    assert [ref.id for ref in fleet.refs(wanted=of("web1"))] == [2, 5, 8]
    assert [ref.id for ref in fleet.refs(wanted=of("web*"))] == [2, 3, 5, 6, 8, 9]
    assert [ref.id for ref in fleet.refs(wanted=of("web?", "db1", pid=9))] == [1, 4, 7]
    assert fleet.refs(wanted=of("web1", name="^db$")) == []
    assert [row.ref.id for row in fleet.snapshots(2, of("web1"))] == [5, 8]
    assert fleet.count_snapshots(of("web1", "web2")) == 6
    assert [(row.host, row.process.pid, row.captures) for row in fleet.processes(of("db1", "web2"))] == [("db1", 7, 3), ("db1", 9, 3), ("web2", 7, 3)]
    assert [row.first.id for row in fleet.processes(of("web2"), BASE_US + MINUTE_US)] == [6]
    assert (fleet.has_process(of("db1", name="db")), fleet.has_process(of("web1", name="db"))) == (True, False)
    assert {identity.pid: moment for identity, moment in fleet.last_seen(of("web1")).items()} == {7: BASE_US + round(2.1 * MINUTE_US)}


def test_a_host_that_is_not_there(fleet: Store) -> None:
    for ask in (
        lambda: fleet.refs(wanted=of("web1", "web9")),
        lambda: fleet.snapshots(wanted=of("web9")),
        lambda: fleet.resolve("latest", of("web9*")),
        lambda: list(fleet.walk(fleet.refs(), of("web9"))),
        lambda: fleet.prune(Retention(last=1), wanted=of("web9")),
        lambda: fleet.info(of("WEB1")),
        lambda: fleet.hosts(of("x")),
    ):
        with pytest.raises(NotFoundError, match=r"there is no host .*: the store has db1, web1, web2 \(`pmapdiff hosts`"):
            ask()


def test_few_of_many_hosts_are_named(store: Store) -> None:
    store.write_all(taken(f"host{number:02}", number) for number in range(12))
    with pytest.raises(NotFoundError, match="has host00, host01, host02, host03, host04 and 7 more"):
        store.refs(wanted=of("web1"))


def test_a_name_that_looks_like_a_pattern(store: Store) -> None:
    for number, host in enumerate(("a*", "ab", "a[b")):
        store.write(taken(host, number))
    assert [ref.host for ref in store.refs(wanted=of("a*"))] == ["a*"]
    assert [ref.host for ref in store.refs(wanted=of("a?"))] == ["a*", "ab"]
    assert store.resolve("a[b@latest").host == "a[b"


def test_a_snapshot_of_another_host_holds_nothing(fleet: Store) -> None:
    """Each of those that are asked for is given, in its place; the captures of hosts that are not meant are not."""
    found = fleet.load_all(fleet.refs(), of("web1"))
    assert [(snapshot.ref.id, len(snapshot.captures)) for snapshot in found] == [(n, int(n in (2, 5, 8))) for n in range(1, 10)]
    tables = [snapshot.captures[0].table for snapshot in found if snapshot.captures]
    assert [table.mappings[0].end for table in tables if table is not None] == [0x3000, 0xD000, 0x17000]
    assert [len(snapshot.captures) for snapshot in fleet.walk(fleet.refs(), of("db1", name="db"), tables=False)] == [1, 0, 0] * 3


@pytest.mark.parametrize(
    ("text", "hosts", "number"),
    [
        ("web1@latest", (), 8),
        ("web1@latest~1", (), 5),
        ("web1@first", (), 2),
        ("web2@2023-11-14T22:14:33Z", (), 6),
        ("web2@begin", (), 3),
        ("web1@5", (), 5),
        ("web1@#5", (), 5),
        (" web1@ latest ", (), 8),
        ("web1@latest", ("web*",), 8),
        ("latest", ("web1",), 8),
        ("latest~1", ("web*",), 8),
        ("begin", ("web1",), 2),
        ("5", ("web1",), 5),
        ("latest", (), 9),
    ],
)
def test_when(fleet: Store, text: str, hosts: tuple[str, ...], number: int) -> None:
    assert fleet.resolve(text, of(*hosts)).id == number


def test_when_with_processes(fleet: Store) -> None:
    assert fleet.resolve("latest", of(name="^db$")).id == 7
    with pytest.raises(NotFoundError, match="no snapshot 'latest' of --host web1 --name"):
        fleet.resolve("web1@latest", of(name="^db$"))


@pytest.mark.parametrize(
    ("text", "hosts", "said"),
    [
        ("web1@6", (), "snapshot 6 is of host web2, not of web1"),
        ("6", ("web1",), "snapshot 6 is of host web2, not of web1"),
        ("web1@latest~9", (), "no snapshot 'latest~9' of --host web1"),
        ("web1@2001-01-01", (), "of --host web1: the store has snapshots from #2 of .* to #8 of .* of these hosts"),
        ("web9@latest", (), "no label 'web9@latest', and no host 'web9': the store has db1"),
        ("web9@2h ago", (), "no host 'web9'"),
        ("web1@nonsense", (), "no label 'nonsense'"),
    ],
)
def test_what_is_not_there(fleet: Store, text: str, hosts: tuple[str, ...], said: str) -> None:
    with pytest.raises(NotFoundError, match=said):
        fleet.resolve(text, of(*hosts))


@pytest.mark.parametrize(
    ("text", "hosts", "said"),
    [("web1@", (), "write web1@latest"), ("web1@latest", ("db1",), "not of --host db1"), ("web1@99:99", (), "no time of day")],
)
def test_what_makes_no_sense(fleet: Store, text: str, hosts: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fleet.resolve(text, of(*hosts))


def test_labels_with_an_at_sign(fleet: Store) -> None:
    """A label is found as ever, unless it begins with the name of a host; behind that one it may hold more of them."""
    one = fleet.write(taken("web1", 5, label="deploy@v2"))
    assert fleet.resolve("deploy@v2") == one
    assert fleet.resolve("web1@deploy@v2") == one
    with pytest.raises(NotFoundError):
        fleet.resolve("web2@deploy@v2")


def demanded(store: Store, *texts: str, wanted: ProcessFilter | None = None) -> None:
    chosen = wanted or of()
    store.demand_one_host({text: store.resolve(text, chosen) for text in texts}, chosen)


def test_what_could_be_of_any_host_is_not_compared(fleet: Store) -> None:
    for texts in (("latest~1", "latest"), ("1", "latest"), ("web1@first", "latest"), ("2023-11-14T22:14:30Z", "3")):
        with pytest.raises(UsageError, match="could be of 3 hosts: say which with --host"):
            demanded(fleet, *texts)
    with pytest.raises(UsageError, match="2 hosts"):
        demanded(fleet, "first", "latest", wanted=of("web*"))


def test_what_says_which_host_is_compared(fleet: Store) -> None:
    for texts in (("1", "9"), ("begin", "9"), ("web1@latest", "web2@latest"), ("web1@first", "8")):
        demanded(fleet, *texts)
    demanded(fleet, "latest~1", "latest", wanted=of("web1"))
    # Of all hosts only one runs it.
    demanded(fleet, "latest~1", "latest", wanted=of(name="^db$"))


def test_imported_tables_are_no_second_host_unless_they_say_so(store: Store) -> None:
    store.write(taken(IMPORTED, -2, source="old.txt"))
    store.write(taken("web1", 0))
    store.write(taken("web1", 1))
    demanded(store, "first", "latest")
    # A host of which there is an import alone is not what a rank is about, unless it is what it means.
    store.write(taken("web2", -1, source="theirs.txt"))
    demanded(store, "latest~1", "latest")
    with pytest.raises(UsageError, match="2 hosts"):
        demanded(store, "latest~2", "latest")


def test_moments(fleet: Store) -> None:
    assert fleet.moment("web1@latest~1") == BASE_US + round(1.1 * MINUTE_US)
    assert fleet.moment("latest~1", of("web1")) == BASE_US + round(1.1 * MINUTE_US)
    assert fleet.moment("web1@2023-11-14T22:14:30Z") == 1_700_000_070_000_000
    assert (fleet.moment("first"), fleet.moment("latest")) == (BASE_US, BASE_US + round(2.2 * MINUTE_US))
    with pytest.raises(UsageError, match="counts the snapshots of 3 hosts"):
        fleet.moment("latest~1")


def test_pruning_some_hosts(fleet: Store) -> None:
    before = fleet.load_all(fleet.refs(wanted=of("db1", "web2")))
    assert fleet.prune(Retention(last=1), wanted=of("web1"), dry_run=True).removed == (5,)
    assert fleet.prune(Retention(last=1), wanted=of("web1")).removed == (5,)
    assert fleet.load_all(fleet.refs(wanted=of("db1", "web2"))) == before
    assert fleet.check() == []


def test_facts_of_some_hosts(fleet: Store) -> None:
    whole, some = fleet.info(), fleet.info(of("db1"))
    names = ("hosts", "snapshots", "processes", "captures", "usage_rows", "mapping_samples", "first_us", "last_us")
    assert [whole[name] for name in names] == [3, 9, 4, 12, 10, 12, BASE_US, BASE_US + round(2.2 * MINUTE_US)]
    assert [some[name] for name in names] == [1, 3, 2, 6, 4, 6, BASE_US, BASE_US + 2 * MINUTE_US]
    assert some["bytes"] == whole["bytes"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The database's clock: an hour after the first snapshot."""
    for module in ("hosts", "copies"):
        monkeypatch.setattr(f"pmapdiff.store.{module}.clock_us", lambda _connection: BASE_US + 60 * MINUTE_US)
    return monkeypatch


def test_hosts(fleet: Store, clock: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it stands still
    found = fleet.hosts()
    assert [(row.host, row.snapshots, row.processes, row.last and row.last.id) for row in found] == [
        ("db1", 3, 2, 7),
        ("web1", 3, 1, 8),
        ("web2", 3, 1, 9),
    ]
    assert [row.age_us for row in found] == [round(minutes * MINUTE_US) for minutes in (58, 57.9, 57.8)]
    # Of three snapshots nobody can say what is usual.
    assert [(row.gap_us, row.silent, row.lag_us, row.clock_offset_us) for row in found] == [(None, False, None, None)] * 3
    assert [row.host for row in fleet.hosts(of("web*"))] == ["web1", "web2"]


@pytest.mark.parametrize(
    ("minutes", "silent"), [((0, 10, 20, 41), False), ((0, 15, 25, 35), False), ((0, 3, 6, 12), True), ((12, 58, 59, 60), False)]
)
def test_silence(store: Store, clock: pytest.MonkeyPatch, minutes: tuple[int, ...], silent: bool) -> None:  # noqa: ARG001 - it stands still
    store.write_all(taken("web1", minute) for minute in minutes)
    (found,) = store.hosts()
    assert found.gap_us == max(b - a for a, b in pairwise(minutes)) * MINUTE_US
    assert found.silent is silent


def test_only_the_last_gaps_count(store: Store, clock: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it stands still
    store.write_all(taken("web1", minute / 10) for minute in (-9000, *range(21)))
    assert [row.gap_us for row in store.hosts()] == [MINUTE_US // 10]
    # What was imported says nothing of how often it records.
    store.write(taken("web1", 50, source="saved.txt"))
    (found,) = store.hosts()
    assert (found.gap_us, found.last and found.last.source) == (MINUTE_US // 10, "saved.txt")


def delivered(store: Store, arrived_minute: float, minutes: list[float], offset_us: int | None, patch: pytest.MonkeyPatch) -> HostSummary:
    """One batch of a host's snapshots, which arrives at that time by the database's clock."""
    patch.setattr("pmapdiff.store.copies.clock_us", lambda _connection: BASE_US + round(arrived_minute * MINUTE_US))
    batch = [taken("web1", minute) for minute in minutes]
    copies = [s._replace(ref=s.ref._replace(origin=Origin("f" * 32, round(s.ref.taken_at_us // 1000 % 10**9)))) for s in batch]
    assert store.take_in(copies, Delivery("f" * 32, copies[-1].ref.origin.number if copies[-1].ref.origin else 0, offset_us)) == len(batch)
    (found,) = store.hosts()
    return found


def test_lag_and_clock(store: Store, clock: pytest.MonkeyPatch) -> None:
    found = delivered(store, 10, [1, 2, 3, 4], -30_000_000, clock)
    # Its clock is half a minute behind: what it calls minute 4 was half a minute later.
    assert (found.clock_offset_us, found.lag_us) == (-30_000_000, 5.5 * MINUTE_US)
    assert (found.age_us, found.gap_us, found.silent) == (55.5 * MINUTE_US, MINUTE_US, True)
    # A host that delivers every twenty minutes is not silent in between.
    found = delivered(store, 30, [20, 21], None, clock)
    assert (found.lag_us, found.clock_offset_us, found.gap_us, found.silent) == (9 * MINUTE_US, None, (16 + 20) * MINUTE_US, False)
    # What was recorded here did not arrive from anywhere.
    store.write(taken("web1", 40))
    (found,) = store.hosts()
    assert (found.lag_us, found.gap_us) == (None, 19 * MINUTE_US)


def test_a_host_of_which_nothing_is_left(fleet: Store, clock: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it stands still
    fleet.prune(Retention(all_s=0.0), wanted=of("web1"))
    fleet.prune(Retention(all_s=0.0), label="begin", wanted=of("web1"))
    row = fleet.hosts(of("web1"))[0]
    assert (row.snapshots, row.first_us, row.last, row.age_us, row.silent) == (0, None, None, None, False)
    with pytest.raises(NotFoundError, match="no snapshot of --host web1 any more"):
        fleet.resolve("web1@latest")
