"""Retention: what goes is gone, and what stays answers exactly as before."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from backends import Cluster
from sqlalchemy import func, select, update

from pmapdiff.errors import StoreError
from pmapdiff.formats.smaps import SmapsParser, render_smaps
from pmapdiff.model import Capture, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.store import Store
from pmapdiff.store.prune import Retention, superfluous
from pmapdiff.store.schema import backing, detail, mapping, snapshot, state, usage

SMAPS = (Path(__file__).resolve().parent.parent / "data/redis-frozen/smaps.txt").read_bytes()
HOUR, DAY = 3_600_000_000, 86_400_000_000
NOW = 1000 * DAY


def ref(number: int, age_us: int, selection: str = "--all", label: str | None = None) -> SnapshotRef:
    return SnapshotRef(number, NOW - age_us, "h", label, "live", None, selection)


def test_the_last_of_each_hour_and_day_stays() -> None:
    refs = [ref(-i, i * HOUR // 4) for i in range(24 * 4 * 3)]  # three days, one each quarter of an hour
    kept = {r.id for r in refs} - set(superfluous(refs, Retention(all_s=3600, hourly_s=86400, daily_s=10 * 86400), NOW))
    ages = sorted(r.taken_at_us for r in refs if r.id in kept)
    assert len([t for t in ages if t >= NOW - HOUR]) == 5, "every one of the last hour"
    assert len({t // HOUR for t in ages if t >= NOW - DAY}) == 25, "one of each hour of the last day"
    assert len({t // DAY for t in ages}) == 4, "one of each day"
    assert len(kept) == 5 + 23 + 2
    for t in ages:
        if t < NOW - HOUR:
            later_in_hour = [r for r in refs if r.taken_at_us // HOUR == t // HOUR and r.taken_at_us > t]
            assert not later_in_hour, "the last of its hour, or day"


def test_one_recorder_does_not_push_out_the_other() -> None:
    refs = [ref(-i, i * HOUR, "--name redis") for i in range(10)] + [ref(-10, 20 * HOUR, "--all"), ref(-11, 21 * HOUR, "--all")]
    assert superfluous(refs, Retention(last=1), NOW) == [-11, *range(-9, 0)]


def test_nothing_goes_without_a_rule() -> None:
    assert superfluous([ref(1, DAY)], Retention(max_bytes=1), NOW) == []


def variant(seed: int) -> bytes:
    """The frozen table with some counters and mappings changed."""
    chosen = random.Random(seed)
    blocks = SMAPS.replace(b"VmFlags:", b"VmFlags:\0").split(b"\n7f")
    kept = [blocks[0]] + [b for b in blocks[1:-1] if chosen.random() > 0.1] + [blocks[-1]]
    text = b"\n7f".join(kept).replace(b"\0", b"")
    return text.replace(b"Referenced:          380 kB", b"Referenced:          %3d kB" % chosen.randrange(100, 380))


def taken(store: Store, moment: int, texts: dict[int, bytes | None], label: str | None = None) -> None:
    captures = []
    for pid, text in texts.items():
        info = ProcessInfo(ProcessIdentity("boot", pid, 1, "x"), b"p%d" % pid, b"p%d\0" % pid, started_at_us=1)
        if text is None:
            captures.append(Capture(info, Status.DENIED))
        else:
            captures.append(Capture(info, Status.COMPLETE, MappingTable(SmapsParser().parse(text)), b"%16d" % hash(text)))
    store.write(Snapshot(SnapshotRef(None, moment, "h", label, "live", None, "--all"), tuple(captures)))


def everything(store: Store) -> dict[int, list[tuple[int, Status, bytes | None]]]:
    """Every table of every snapshot, as text."""
    found = {}
    for row in store.snapshots():
        assert row.ref.id is not None
        captures = store.load(row.ref).captures
        found[row.ref.id] = [(c.process.pid, c.status, None if c.table is None else render_smaps(c.table.mappings)) for c in captures]
    return found


@pytest.mark.parametrize("seed", range(4))
def test_what_stays_is_exactly_as_it_was(store: Store, seed: int) -> None:
    chosen = random.Random(seed)
    for moment in range(24):
        texts = {pid: None if chosen.random() < 0.1 else variant(chosen.randrange(6) + 10 * pid) for pid in (1, 2, 3) if chosen.random() < 0.8}
        taken(store, moment, texts, label="mine" if moment in (3, 11) else None)
    before = everything(store)
    assert len(before) == 24
    # Remove at random by giving them away to a label of their own, as a hole in the middle, at the start or at the end.
    with store.engine.begin() as connection:
        doomed = sorted(chosen.sample(sorted(before), 10))
        connection.execute(update(snapshot).where(snapshot.c.id.in_(doomed)).values(label="doomed"))
    done = store.prune(Retention(all_s=1), label="doomed")
    assert sorted(done.removed) == doomed
    after = everything(store)
    assert after == {number: tables for number, tables in before.items() if number not in doomed}
    assert store.check() == []
    # Recording goes on as if nothing had been: the freed numbers of captures cover nothing old.
    taken(store, 100, {1: variant(7), 2: variant(8), 3: variant(9)})
    later = everything(store)
    newest = max(later)
    assert [text for _, _, text in later.pop(newest)] == [variant(7), variant(8), variant(9)]
    assert later == after
    assert store.check() == []


def test_labels_and_imports_stay_unless_named(store: Store) -> None:
    for moment in range(4):
        taken(store, moment, {1: variant(moment)}, label="before deploy" if moment == 1 else None)
    assert store.prune(Retention(last=1)).removed == (1, 3)
    assert store.prune(Retention(all_s=1), label="before deploy", dry_run=True).removed == (2,)
    assert store.count_snapshots() == 2, "a dry run removes nothing"
    assert store.prune(Retention(all_s=1), label="before deploy").removed == (2,)


def test_nothing_interned_is_left_over(store: Store) -> None:
    for moment in range(20):
        taken(store, moment, {moment + 1: variant(moment)})
    assert len(store.prune(Retention(last=1)).removed) == 19
    with store.engine.connect() as connection:
        for table, column in ((backing, mapping.c.backing_id), (state, usage.c.state_id), (detail, state.c.detail_id)):
            unused = select(func.count()).select_from(table).where(table.c.id.not_in(select(column)))
            assert connection.execute(unused).scalar_one() == 0
    assert store.check() == []


def test_no_number_is_given_out_twice(store: Store) -> None:
    """What lasted until a snapshot that is gone must not reach into one that is new."""
    taken(store, 1, {1: variant(1)}, label="before")
    taken(store, 2, {2: variant(2)})
    taken(store, 3, {2: variant(2)})
    taken(store, 4, {1: variant(3)}, label="trial")
    assert store.prune(Retention(all_s=1), label="trial").removed == (4,)
    assert store.prune(Retention(all_s=1)).removed == (2, 3)
    for moment, seed in ((5, 5), (6, 1), (7, 6)):
        taken(store, moment, {1: variant(seed)})
    found = everything(store)
    assert list(found) == [1, 5, 6, 7]
    assert [table for captures in found.values() for _, _, table in captures] == [variant(seed) for seed in (1, 5, 1, 6)]
    assert store.check() == []


def test_what_another_recorder_stores_while_much_is_removed(store: Store) -> None:
    for moment in range(50):
        taken(store, moment, {1: variant(moment % 7)}, label="doomed")

    def record(_done: int) -> None:
        taken(Store.open(store._opened, write=True), 1000, {1: variant(3), 2: variant(4)}, label="precious")

    removed = store.prune(Retention(all_s=1), label="doomed", progress=record).removed
    assert removed == tuple(range(1, 51))
    found = everything(store)
    assert [table for captures in found.values() for _, _, table in captures] == [variant(3), variant(4)] * 3
    assert store.check() == []


# What the size of a file has to do with it.


def test_space_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    store = Store.open(str(path), write=True)
    for moment in range(60):
        taken(store, moment, {moment + 1: variant(moment)})
    full = path.stat().st_size
    done = store.prune(Retention(last=1))
    assert (len(done.removed), store.count_snapshots()) == (59, 1)
    assert path.stat().st_size < full / 3


def test_a_size_removes_the_oldest_but_never_the_newest(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "s.db"), write=True)
    for moment in range(30):
        taken(store, moment, {moment + 1: variant(moment)})
    done = store.prune(Retention(max_bytes=1))
    assert store.count_snapshots() == 1
    assert done.removed == tuple(range(1, 30))


def test_a_size_cannot_be_kept_to_on_a_server(cluster: Cluster) -> None:
    """What is removed makes room for new rows there, not for others: going on until it is small enough would remove everything."""
    with cluster.fresh() as location:
        store = Store.open(location, write=True)
        for moment in range(3):
            taken(store, moment, {1: variant(moment)})
        with pytest.raises(StoreError, match="--max-size is for SQLite"):
            store.prune(Retention(last=1, max_bytes=1))
        assert store.count_snapshots() == 3
