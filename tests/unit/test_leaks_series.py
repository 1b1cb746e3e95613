"""What `leaks` makes of series that are not as a recorder in a crontab leaves them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest
from strategies import capture_of, counters_of, make

from pmapdiff.align import trace
from pmapdiff.analyse.leaks import find_leaks
from pmapdiff.analyse.result import Suspect, Verdict
from pmapdiff.model import Mapping, Snapshot, SnapshotRef
from pmapdiff.model.mapping import SUM_PERMS

BEGIN_US = 1_795_341_600_000_000


def judged(moments_us: Sequence[int], anonymous_kib: Sequence[int]) -> Suspect:
    """What is said of one process that had so much in its heap at these moments."""
    size = max(anonymous_kib) << 10
    heaps = [make(0x5000_0000, 0x5000_0000 + size, name=b"[heap]", rss=kib, pss=kib, anonymous=kib, private_dirty=kib) for kib in anonymous_kib]
    return judged_tables(moments_us, heaps)


def judged_tables(moments_us: Sequence[int], mappings: Sequence[Mapping]) -> Suspect:
    """What is said of one process that had this mapping alone at these moments."""
    snapshots = [
        Snapshot(SnapshotRef(number, BEGIN_US + moment, "host"), (capture_of([mapping]),))
        for number, (moment, mapping) in enumerate(zip(moments_us, mappings, strict=True), start=1)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (suspect,) = find_leaks(trace(snapshots)).processes
    return suspect


@pytest.mark.parametrize("number", [5, 9, 40])
def test_tables_of_one_moment_are_one_point(number: int) -> None:
    assert judged([0] * number, [1000 * n for n in range(1, number + 1)]).verdict is Verdict.TOO_SHORT


def test_of_two_tables_of_one_moment_the_last_counts() -> None:
    moments = [minute * 60_000_000 for minute in range(12) for _ in range(3)]
    values = [kib for minute in range(12) for kib in (1 << 20, 0, 1024 * (minute + 1))]
    suspect = judged(moments, values)
    assert (suspect.verdict, suspect.snapshots) == (Verdict.GROWING, 12)
    assert suspect.trend.slope == pytest.approx(60 * 1024)


def test_growth_of_sums_that_do_not_say_how_large_the_address_space_is() -> None:
    moments = [minute * 60_000_000 for minute in range(12)]
    rows = [
        Mapping(0, 0, SUM_PERMS, None, None, None, b"[rollup]", counters=counters_of(rss=kib, pss=kib, anonymous=kib, swap=0))
        for kib in range(2048, 14 * 1024, 1024)
    ]
    suspect = judged_tables(moments, rows)
    assert suspect.verdict is Verdict.GROWING
    assert "do not say how large its address space is" in suspect.findings[0].evidence[0]
