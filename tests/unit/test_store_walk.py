"""Walking through a series: every table as it is by itself, in any order, and no more memory for more snapshots."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from random import Random

import pytest
from backends import Backend
from strategies import PAGE, capture_of, file, make

from pmapdiff.model import Mapping, MappingTable, Snapshot, SnapshotRef, Status
from pmapdiff.store import ProcessFilter, Store, tables
from pmapdiff.store.walk import AHEAD

MINUTE_US = 60_000_000
A = 0x7F0000000000


def changing(random: Random, mappings: dict[int, Mapping]) -> tuple[Mapping, ...]:
    """A table after some mappings came, went and changed; now and then nothing does."""
    for _ in range(random.choice((0, 1, 3))):
        place = random.randrange(40)
        if place in mappings and random.random() < 0.4:
            del mappings[place]
        else:
            mappings[place] = make(A + place * PAGE, A + (place + 1) * PAGE, rss=random.randrange(4))
    return tuple(mappings[place] for place in sorted(mappings))


@pytest.fixture(scope="module")
def series(backend: Backend) -> Iterator[Store]:
    """A hundred snapshots of three processes, which are not in all of them; nobody writes to it."""
    random = Random(5)
    states: list[dict[int, Mapping]] = [{}, {}, {}]
    taken = []
    for number in range(100):
        captures = [capture_of(changing(random, state), pid) for pid, state in enumerate(states, 7) if random.random() < 0.8]
        if number % 10 == 3:
            captures.append(capture_of((), 99, Status.DENIED)._replace(table=None))
        taken.append(Snapshot(SnapshotRef(None, number * MINUTE_US, "h"), tuple(captures)))
    with backend.fresh() as location:
        store = Store.open(location, write=True)
        store.write_all(taken)
        yield store


@pytest.fixture(scope="module")
def alone(series: Store) -> dict[SnapshotRef, Snapshot]:
    """Each of them, as it is loaded by itself."""
    return {ref: series.load(ref) for ref in series.refs()}


@pytest.mark.parametrize("order", ["forward", "backward", "shuffled", "every third"])
def test_each_table_is_what_it_is_by_itself(series: Store, alone: dict[SnapshotRef, Snapshot], order: str) -> None:
    refs = series.refs()
    assert len(refs) > 3 * AHEAD
    chosen = {"forward": refs, "backward": refs[::-1], "shuffled": Random(1).sample(refs, len(refs)), "every third": refs[::3]}[order]
    assert list(series.walk(chosen)) == [alone[ref] for ref in chosen]
    seven = ProcessFilter(frozenset([7]))
    assert list(series.walk(chosen, seven)) == [
        Snapshot(ref, tuple(capture for capture in alone[ref].captures if capture.process.pid == 7)) for ref in chosen
    ]


def test_what_did_not_change_is_the_same_object(series: Store) -> None:
    """Across the places, too, where the changes of the next snapshots are read."""
    last: dict[int, MappingTable] = {}
    kept = 0
    mappings: dict[int, dict[Mapping, Mapping]] = {}
    for snapshot in series.walk(series.refs()):
        for capture in snapshot.captures:
            if capture.table is None:
                continue
            pid = capture.process.pid
            if pid in last and last[pid].mappings == capture.table.mappings:
                assert last[pid] is capture.table
                kept += 1
            before = mappings.get(pid, {})
            assert all(before.get(mapping, mapping) is mapping for mapping in capture.table.mappings)
            mappings[pid] = {mapping: mapping for mapping in capture.table.mappings}
            last[pid] = capture.table
    assert kept > 30


def test_totals_without_tables(series: Store) -> None:
    refs = series.refs()
    for whole, bare in zip(series.walk(refs), series.walk(refs, tables=False), strict=True):
        assert bare == Snapshot(whole.ref, tuple(capture._replace(table=None) for capture in whole.captures))
        assert [capture.sums for capture in bare.captures] == [capture.sums for capture in whole.captures]


def test_memory_does_not_grow_with_the_snapshots(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every snapshot has processes that no other has, as months of cron jobs do: names, states and tables add up if they are kept."""
    monkeypatch.setattr(tables, "_KEPT_ROWS", 200)

    def taken(number: int) -> Snapshot:
        stays = capture_of([make(A + n * PAGE, A + (n + 1) * PAGE, rss=number * 64 + n) for n in range(60)], 1)
        names = [b"/tmp/%d-%d" % (number, n) for n in range(60)]
        passes = capture_of([file(A + n * PAGE, A + (n + 1) * PAGE, "r--p", 0, name) for n, name in enumerate(names)], 1000 + number)
        return Snapshot(SnapshotRef(None, number * MINUTE_US, "h"), (stays, passes))

    store.write_all(taken(number) for number in range(80))
    refs = store.refs()
    held = []
    # As the command line has it.
    gc.disable()
    tracemalloc.start()
    try:
        for number, _ in enumerate(store.walk(refs), 1):
            if number in (20, 40, 60, 80):
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
        gc.enable()
    # A snapshot alone is some 60 kB; what the last 60 would add up to, if it were kept, is several MB.
    assert max(held[1:]) - held[0] < 600_000, held
