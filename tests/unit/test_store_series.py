"""What a store says of its series: which snapshots, whose, and when each process was seen last."""

from __future__ import annotations

import pytest
from strategies import capture_of, make

from pmapdiff.align import trace
from pmapdiff.errors import NotFoundError
from pmapdiff.model import Snapshot, SnapshotRef
from pmapdiff.store import ProcessFilter, Store

HOUR_US = 3_600_000_000
# More KiB than 31 bits hold.
TIB_4 = 4 << 30
BASE_US = 1_700_000_000_000_000


@pytest.fixture
def series(store: Store) -> Store:
    """Three snapshots, an hour apart; pid 7 is in the first and the last, pid 8 in the second."""
    for number, pid in enumerate((7, 8, 7)):
        capture = capture_of([make(0x1000, 0x1000 + (number + 1) * 0x1000, name=b"[heap]", rss=4 * (number + 1))], pid)
        label = "middle" if number == 1 else None
        ref = SnapshotRef(None, BASE_US + number * HOUR_US, "h", label, max_map_count=65530 + number, mem_total_kib=TIB_4 + number)
        store.write(Snapshot(ref, (capture,)))
    return store


def test_snapshots_in_their_order(series: Store) -> None:
    found = [(ref.id, ref.max_map_count, ref.mem_total_kib) for ref in series.refs()]
    assert found == [(1, 65530, TIB_4), (2, 65531, TIB_4 + 1), (3, 65532, TIB_4 + 2)]
    assert [ref.id for ref in series.refs(BASE_US + 1, BASE_US + 2 * HOUR_US)] == [2, 3]
    assert [ref.id for ref in series.refs(wanted=ProcessFilter(frozenset([7])))] == [1, 3]


def test_who_was_seen_when(series: Store) -> None:
    assert {identity.pid: moment for identity, moment in series.last_seen().items()} == {7: BASE_US + 2 * HOUR_US, 8: BASE_US + HOUR_US}
    assert [identity.pid for identity in series.last_seen(ProcessFilter(frozenset([8])))] == [8]
    assert series.has_process(ProcessFilter(name="prog"))
    assert not series.has_process(ProcessFilter(name="other"))


def test_moments(series: Store) -> None:
    assert series.moment("middle") == BASE_US + HOUR_US
    assert series.moment("latest") == BASE_US + 2 * HOUR_US
    assert series.moment("2001-01-01T00:00:00Z") == 978_307_200_000_000, "a time need not be that of a snapshot"
    with pytest.raises(NotFoundError):
        series.moment("no such label")


def test_a_history_from_the_store(series: Store) -> None:
    """The two have all in common, but one of them comes back: they are two services."""
    history = trace(series.walk(series.refs()), series.last_seen())
    sizes = [[None if s is None else s.figures[0] for s in service.regions[0].samples] for service in history.services]
    assert sizes == [[4, None, 12], [None, 8, None]]
