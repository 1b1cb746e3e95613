"""What `leaks` makes of series that are not as a recorder in a crontab leaves them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest
from strategies import capture_of, make

from pmapdiff.align import trace
from pmapdiff.analyse.leaks import find_leaks
from pmapdiff.analyse.result import Suspect, Verdict
from pmapdiff.model import Snapshot, SnapshotRef

BEGIN_US = 1_795_341_600_000_000


def judged(moments_us: Sequence[int], anonymous_kib: Sequence[int]) -> Suspect:
    """What is said of one process that had so much in its heap at these moments."""
    size = max(anonymous_kib) << 10
    snapshots = []
    for number, (moment, kib) in enumerate(zip(moments_us, anonymous_kib, strict=True), start=1):
        heap = make(0x5000_0000, 0x5000_0000 + size, name=b"[heap]", rss=kib, pss=kib, anonymous=kib, private_dirty=kib)
        snapshots.append(Snapshot(SnapshotRef(number, BEGIN_US + moment, "host"), (capture_of([heap]),)))
    (suspect,) = find_leaks(trace(snapshots)).processes
    return suspect


@pytest.mark.parametrize("number", [5, 9, 40])
def test_tables_of_one_moment_are_one_point(number: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert judged([0] * number, [1000 * n for n in range(1, number + 1)]).verdict is Verdict.TOO_SHORT


def test_of_two_tables_of_one_moment_the_last_counts() -> None:
    moments = [minute * 60_000_000 for minute in range(12) for _ in range(3)]
    values = [kib for minute in range(12) for kib in (1 << 20, 0, 1024 * (minute + 1))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        suspect = judged(moments, values)
    assert (suspect.verdict, suspect.snapshots) == (Verdict.GROWING, 12)
    assert suspect.trend.slope == pytest.approx(60 * 1024)
