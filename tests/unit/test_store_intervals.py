"""What the store writes and what it gives back: intervals, captures without a table, several hosts and recorders."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import text
from strategies import PAGE, file, in_form, make

from pmapdiff.errors import NotFoundError, StoreError
from pmapdiff.model import Capture, Mapping, MappingTable, Origin, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.store import ProcessFilter, Store

A = 0x7F0000000000
INFO = ProcessInfo(
    ProcessIdentity("boot", 1100, 5, "exec"), b"prog", b"/usr/bin/prog\0-v\0", b"/usr/bin/prog", 1, 0, b"/system.slice", None, "p.service", 7
)


def block(rss: int = 4, number: int = 0) -> Mapping:
    return make(A + 16 * number * PAGE, A + (16 * number + 8) * PAGE, rss=rss)


def captured(mappings: Sequence[Mapping] | None, digest: bytes | None = None, status: Status = Status.COMPLETE, info: ProcessInfo = INFO) -> Capture:
    return Capture(info, status, None if mappings is None else MappingTable(tuple(mappings)), digest)


def write(store: Store, *captures: Capture, at: int = 0, host: str = "h", label: str | None = None) -> SnapshotRef:
    return store.write(Snapshot(SnapshotRef(None, at, host, label), captures))


def tables(store: Store, ref: SnapshotRef) -> list[tuple[Mapping, ...] | None]:
    return [None if capture.table is None else capture.table.mappings for capture in store.load(ref).captures]


def counts(store: Store) -> dict[str, int]:
    with store.engine.connect() as connection:
        return {
            name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in (
                "snapshot",
                "capture",
                "totals",
                "mapping",
                "usage",
                "state",
                "detail",
                "string",
                "backing",
                "layout",
                "protection",
                "process",
            )
        }


def intervals(store: Store) -> list[tuple[int, int, int, int]]:
    with store.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(_INTERVALS))]


_INTERVALS = "SELECT no, rss_kib, first_snapshot, last_snapshot FROM usage JOIN state ON state.id = state_id ORDER BY no, first_snapshot"
OPEN = 2**31 - 1


def test_an_unchanged_process_costs_one_capture_row(store: Store) -> None:
    first = write(store, captured([block(), block(9, 1)], b"digest"))
    before = counts(store)
    for moment in range(1, 4):
        ref = write(store, captured(None, b"digest"), at=moment)
        assert tables(store, ref) == tables(store, first) == [(block(), block(9, 1))]
    after = counts(store)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {"snapshot": 3, "capture": 3}
    assert store.check() == []


def test_an_unchanged_table_of_another_digest_costs_no_usage_row(store: Store) -> None:
    """The text differs, the mappings do not (as with a torn read between)."""
    write(store, captured([block()], b"one"))
    before = counts(store)
    write(store, captured([block()], b"two"), at=1)
    after = counts(store)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {"snapshot": 1, "capture": 1, "totals": 1}


def test_only_what_changed_is_written(store: Store) -> None:
    write(store, captured([block(n, n) for n in range(10)]))
    before = counts(store)
    write(store, captured([block(n if n != 4 else 99, n) for n in range(10)]), at=1)
    after = counts(store)
    assert (after["usage"] - before["usage"], after["mapping"] - before["mapping"]) == (1, 0)
    assert [row for row in intervals(store) if row[0] == 5] == [(5, 4, 1, 1), (5, 99, 2, OPEN)]


def test_counters_that_come_back_to_what_they_were(store: Store) -> None:
    refs = [write(store, captured([block(rss)]), at=moment) for moment, rss in enumerate((4, 8, 4, 4, 8))]
    assert [tables(store, ref) for ref in refs] == [[(block(rss),)] for rss in (4, 8, 4, 4, 8)]
    assert intervals(store) == [(1, 4, 1, 1), (1, 8, 2, 2), (1, 4, 3, 4), (1, 8, 5, OPEN)]
    assert counts(store)["mapping"] == 1
    assert store.check() == []


def test_a_mapping_that_vanishes_and_returns(store: Store) -> None:
    contents = [[block(), block(1, 1)], [block()], [], [block(), block(1, 1)], [block(1, 1)]]
    refs = [write(store, captured(mappings), at=moment) for moment, mappings in enumerate(contents)]
    assert [tables(store, ref) for ref in refs] == [[tuple(mappings)] for mappings in contents]
    assert store.check() == []


@pytest.mark.parametrize(
    "change",
    [
        {"perms": "r--p"},
        {"flags": b" rd "},
        {"flags": None},
        {"name": b"/other"},
        {"inode": 8},
        {"inode": None},
        {"device": "fe:01"},
        {"device": None},
        {"offset": PAGE},
        {"offset": None},
        {"end": A + 3 * PAGE},
        {"header": b"odd header"},
        {"extra": (5, b"\xff text", 10**17)},
        {"counters": tuple(range(24))},
        {"counters": (None,) * 24},
        {"offset": (1 << 64) - PAGE},
        {"inode": (1 << 64) - 1},
        {"start": (1 << 64) - 2 * PAGE, "end": 1 << 64},
    ],
    ids=repr,
)
def test_every_field_counts(store: Store, change: dict[str, object]) -> None:
    one = file(A, A + 2 * PAGE, "rw-p", 0)
    other = one._replace(**change)  # type: ignore[arg-type]
    refs = [write(store, captured([mapping]), at=moment) for moment, mapping in enumerate((one, other, one))]
    assert [tables(store, ref) for ref in refs] == [[(one,)], [(other,)], [(one,)]]
    assert store.check() == []


@pytest.mark.parametrize("status", [Status.DENIED, Status.VANISHED, Status.TIMEOUT])
def test_captures_without_a_table_between(store: Store, status: Status) -> None:
    refs = [
        write(store, captured([block()], b"d")),
        write(store, captured(None, status=status), at=1),
        write(store, captured(None, b"d"), at=2),
        write(store, captured(None, status=status), at=3),
        write(store, captured([block(8)], b"e"), at=4),
    ]
    assert [tables(store, ref) for ref in refs] == [[(block(),)], [None], [(block(),)], [None], [(block(8),)]]
    found = [store.load(ref).captures[0] for ref in refs]
    assert [capture.status for capture in found] == [Status.COMPLETE, status, Status.COMPLETE, status, Status.COMPLETE]
    assert [capture.totals is None for capture in found] == [capture.table is None for capture in found]
    assert [capture.digest for capture in found] == [b"d", None, b"d", None, b"e"]
    assert store.check() == []


def test_a_process_that_never_had_a_table(store: Store) -> None:
    ref = write(store, captured(None, status=Status.DENIED))
    assert tables(store, ref) == [None]
    assert store.processes() == []
    again = write(store, captured([block()]), at=1)
    assert tables(store, again) == [(block(),)]


def test_a_timeout_with_a_table_keeps_it(store: Store) -> None:
    ref = write(store, captured([block()], status=Status.TIMEOUT))
    (capture,) = store.load(ref).captures
    assert capture.status is Status.TIMEOUT
    assert capture.table == MappingTable((block(),))
    later = write(store, captured(None, status=Status.TIMEOUT), at=1)
    assert tables(store, later) == [None]


def test_a_torn_table_has_no_digest(store: Store) -> None:
    """It overlaps itself and is kept all the same; the same text again is not taken for it."""
    torn = [make(A, A + 4 * PAGE), make(A, A + 6 * PAGE), make(A + PAGE, A + 2 * PAGE)]
    ref = write(store, captured(torn, status=Status.TORN))
    assert tables(store, ref) == [tuple(torn)]
    assert store.known("h", [INFO.identity])[INFO.identity].digest is None
    assert store.check() == []


def test_two_hosts_do_not_mix(store: Store) -> None:
    here = write(store, captured([block(1)], b"x"), host="here")
    there = write(store, captured([block(2)], b"y"), host="there", at=1)
    again = write(store, captured(None, b"x"), host="here", at=2)
    assert [tables(store, ref) for ref in (here, there, again)] == [[(block(1),)], [(block(2),)], [(block(1),)]]
    assert [store.load(ref).ref.host for ref in (here, there)] == ["here", "there"]
    for host, digest in (("here", b"x"), ("there", b"y")):
        assert store.known(host, [INFO.identity])[INFO.identity].digest == digest
    assert store.known("elsewhere", [INFO.identity]) == {}


def test_somebody_else_wrote_a_newer_table_meanwhile(store: Store) -> None:
    """Two recorders: both were told digest x, one wrote y, then the other says "still x"."""
    contents: list[tuple[list[Mapping] | None, bytes]] = [([block(1)], b"x"), ([block(2)], b"y"), (None, b"x"), (None, b"y"), (None, b"y")]
    contents.append(([block(3)], b"z"))
    refs = [write(store, captured(mappings, digest), at=moment) for moment, (mappings, digest) in enumerate(contents)]
    assert [tables(store, ref) for ref in refs] == [[(block(n),)] for n in (1, 2, 1, 2, 2, 3)]
    assert [store.load(ref).captures[0].digest for ref in refs] == [digest for _, digest in contents]
    assert store.check() == []


def test_a_digest_that_nobody_knows_stores_nothing(store: Store) -> None:
    write(store, captured([block()], b"x"))
    before = counts(store)
    with pytest.raises(StoreError, match="no longer in the store"):
        write(store, captured(None, b"never seen"), at=1)
    assert counts(store) == before


def test_nothing_of_several_snapshots_is_stored_if_one_fails(store: Store) -> None:
    before = counts(store)
    good = Snapshot(SnapshotRef(None, 0, "h"), (captured([block()]),))
    bad = Snapshot(SnapshotRef(None, 1, "h"), (captured(None, b"never seen"),))
    with pytest.raises(StoreError, match="no longer in the store"):
        store.write_all([good, bad])
    assert counts(store) == before
    assert store.count_snapshots() == 0
    assert tables(store, store.write_all([good])[0]) == [(block(),)]


def test_a_process_twice_in_one_snapshot(store: Store) -> None:
    """A saved file may hold two tables of one process."""
    first = write(store, captured([block(8)]))
    both = write(store, captured([block(12), block(1, 1)]), captured([block(16)]), at=1)
    last = write(store, captured([block(16)]), at=2)
    assert [tables(store, ref) for ref in (first, both, last)] == [[(block(8),)], [(block(12), block(1, 1)), (block(16),)], [(block(16),)]]
    assert store.check() == []


def test_many_mappings_and_processes_at_once(store: Store) -> None:
    """More than fits into one IN (…) of anything."""
    infos = [INFO._replace(identity=INFO.identity._replace(pid=pid), comm=b"p%d" % pid) for pid in range(2000, 2503)]
    big = [make(A + n * 2 * PAGE, A + (n * 2 + 1) * PAGE, name=b"/f%d" % n, inode=n + 1, rss=n, locked=n) for n in range(1203)]
    ref = write(store, captured(big), *(captured([block(info.pid)], info=info) for info in infos))
    found = {capture.process: capture.table and capture.table.mappings for capture in store.load(ref).captures}
    assert found == {INFO: tuple(big)} | {info: (block(info.pid),) for info in infos}
    assert len(store.known("h", [info.identity for info in infos])) == len(infos)
    assert store.check() == []


def test_every_field_of_a_process_and_a_capture_comes_back(store: Store) -> None:
    identity = ProcessIdentity("b\u00f6ot", 7, 1 << 62, "k")
    words = (b"\xff comm", b"a\0b\xfe\0", b"/x (deleted)")
    info = ProcessInfo(identity, *words, 3, 4294967295, b"/c\xff", "docker-1", "u.service", 1, 2, 3, 4)
    capture = Capture(info, Status.TORN, MappingTable((block(),)), None, None, 12, 34, 56, 78, 90, "a note")
    ref = store.write(Snapshot(SnapshotRef(None, 1_700_000_000_123_456, "h", "label", "live", 77), (capture,)))
    loaded = store.load(ref)
    assert ref.origin is not None
    assert loaded.ref == ref == SnapshotRef(1, 1_700_000_000_123_456, "h", "label", "live", 77, origin=Origin(ref.origin.store, 1))
    assert loaded.captures == (capture._replace(totals=MappingTable((block(),)).totals),)


def test_only_the_wanted_processes_are_loaded(store: Store) -> None:
    other = INFO._replace(identity=INFO.identity._replace(pid=7), comm=b"other", exe=b"/opt/other")
    ref = write(store, captured([block()]), captured([block(9)], info=other))
    assert [c.process.pid for c in store.load(ref, ProcessFilter(frozenset({7}))).captures] == [7]
    assert [c.process.pid for c in store.load(ref, ProcessFilter(name="^oth")).captures] == [7]
    assert store.load(ref, ProcessFilter(frozenset({99}))).captures == (), "it may have ended since, which is for compare to say"


def test_summaries(store: Store) -> None:
    refs = [
        write(store, captured([block(4)]), at=10, label="one"),
        write(store, captured(None, status=Status.DENIED), at=20),
        write(store, captured([block(9), block(1, 1)]), at=30),
    ]
    assert [(s.ref, s.statuses, s.mappings, s.rss_kib) for s in store.snapshots()] == [
        (refs[0], {Status.COMPLETE: 1}, 1, 4),
        (refs[1], {Status.DENIED: 1}, 0, 0),
        (refs[2], {Status.COMPLETE: 1}, 2, 10),
    ]
    assert [s.ref for s in store.snapshots(2)] == refs[1:]
    (summary,) = store.processes()
    assert (summary.process, summary.host, summary.captures, summary.first, summary.last) == (INFO, "h", 2, refs[0], refs[2])
    assert (summary.totals_first.get("rss_kib"), summary.totals_last.get("rss_kib")) == (4, 10)
    assert store.count_snapshots() == 3
    assert store.info()["mapping_samples"] == 3
    assert 50_000 < store.info()["bytes"] < 1_000_000


def test_a_sum_with_a_part_missing_is_missing(store: Store) -> None:
    other = INFO._replace(identity=INFO.identity._replace(pid=7))
    write(store, captured([block(4)]), captured(in_form([block(5)], "maps"), info=other))
    (summary,) = store.snapshots()
    assert (summary.mappings, summary.rss_kib, summary.footprint_kib) == (2, None, None)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        *(("1", 0), ("#2", 1), (" 3 ", 2), ("latest", 2), ("latest~1", 1), ("latest~2", 0), ("first", 0), ("before", 1)),
        *(("1970-01-03T00:00:10.5Z", 1), ("1970-01-03T00:00:10Z", 1), ("1970-01-03T00:00:09Z", 0), ("2026-01-01", 2), ("1 m ago", 2)),
    ],
)
def test_which_snapshot_is_meant(store: Store, when: str, expected: int) -> None:
    day_us = 86400 * 10**6
    refs = [write(store, captured([block()]), at=2 * day_us + n * 10**7, label="before" if n < 2 else None) for n in range(3)]
    assert store.resolve(when) == refs[expected]


@pytest.mark.parametrize("when", ["9", "latest~3", "no such label", "1970-01-02T12:00Z"])
def test_a_snapshot_that_is_not_there(store: Store, when: str) -> None:
    for n in range(3):
        write(store, captured([block()]), at=2 * 86400 * 10**6 + n)
    with pytest.raises(NotFoundError, match="the store has snapshots from #1"):
        store.resolve(when)


def test_an_empty_store_says_so(store: Store) -> None:
    with pytest.raises(NotFoundError, match="empty"):
        store.resolve("latest")
    assert (store.snapshots(), store.processes(), store.check(), store.count_snapshots()) == ([], [], [], 0)


def test_latest_means_the_last_that_holds_the_process(store: Store) -> None:
    other = INFO._replace(identity=INFO.identity._replace(pid=7), comm=b"other", exe=None)
    first = write(store, captured([block()]), at=1)
    second = write(store, captured([block()], info=other), at=2)
    write(store, captured(None, status=Status.DENIED), at=3)
    assert store.resolve("latest", ProcessFilter(frozenset({1100}))) == first
    assert store.resolve("latest", ProcessFilter(name="other")) == second
    assert store.resolve("first", ProcessFilter(name="other")) == second
    with pytest.raises(NotFoundError, match="--name nobody"):
        store.resolve("latest", ProcessFilter(name="nobody"))


def test_check_finds_what_is_wrong(store: Store) -> None:
    for moment, rss in enumerate((4, 8)):
        write(store, captured([block(rss)]), at=moment)
    assert store.check() == []
    for statement, found in (
        ("UPDATE state SET rss_kib = 5 WHERE rss_kib = 4", "does not add up"),
        ("UPDATE usage SET last_snapshot = 2 WHERE first_snapshot = 1", "overlap"),
        ("UPDATE usage SET last_snapshot = 0 WHERE first_snapshot = 1", "ends before"),
        ("DELETE FROM totals WHERE first_snapshot = 1", "no totals"),
    ):
        with store.engine.connect() as connection:
            connection.execute(text(statement))
            connection.commit()
        assert any(found in problem for problem in store.check()), statement
