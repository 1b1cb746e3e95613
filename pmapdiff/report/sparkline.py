"""Figures as blocks: a series as a line of them, gaps left blank; a part of a whole as a bar."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median

_BLOCKS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉"
# Further apart than this many usual intervals, there is a gap between two snapshots.
_GAP_INTERVALS = 2.5


def gaps(moments_us: Sequence[int]) -> frozenset[int]:
    """The positions before which a series has a gap: much longer than usual since the one before. None if there is no usual interval."""
    intervals = [later - earlier for earlier, later in pairwise(moments_us)]
    if len(intervals) < 4:
        return frozenset()
    # Two of one moment say nothing of how often somebody looks.
    usual = median([interval for interval in intervals if interval > 0] or [0])
    return frozenset(i + 1 for i, interval in enumerate(intervals) if interval > _GAP_INTERVALS * usual)


def with_gaps(values: Iterable[int | None], moments_us: Sequence[int]) -> list[int | None]:
    """The values that a series has at these moments, with one more that is None where it has a gap in time."""
    late = gaps(moments_us)
    series: list[int | None] = []
    for place, value in enumerate(values):
        series += [None, value] if place in late else [value]
    return series


def scale(values: Sequence[int | None]) -> tuple[float, float]:
    """The least and the greatest value of the scale that these are drawn to; twice the same if they do not differ, 0 if none is known.

    It begins at 0, unless all values lie close together: then at the smallest, and what differs by a tenth fills it.
    """
    known = [value for value in values if value is not None]
    if not known:
        return 0, 0
    low, high = min(known), max(known)
    if low == high:
        return low, high
    floor = 0 if 0 <= 2 * low < high else low
    return floor, floor + max(high - floor, abs(high) / 10)


def chart(values: Sequence[int | None], height: int, every: Sequence[int | None] | None = None) -> list[str]:
    """The values as bars, a column each, in so many lines of blocks, the uppermost first. None is blank.

    The scale is that of `every` value, if given.
    """
    known = [value for value in values if value is not None]
    if not known:
        return [" " * len(values)] * height
    levels = 8 * height - 1
    floor, most = scale(values if every is None else every)
    if floor == most:
        # What does not change lies in the middle; nothing at all at the bottom.
        tops = [None if value is None else levels // 2 if most else 0 for value in values]
    else:
        tops = [None if value is None else min(levels, round(levels * (value - floor) / (most - floor))) for value in values]
    lines = []
    for base in range(8 * (height - 1), -1, -8):
        lines.append("".join(" " if top is None or top < base else _BLOCKS[min(7, top - base)] for top in tops))
    return lines


def sparkline(values: Sequence[int | None], width: int) -> str:
    """The values as one line of blocks, at most `width` of them: then each stands for the largest of several. None is blank.

    The scale is that of all values: the same series must not look like another one on a wider terminal.
    """
    shown = values
    if len(values) > width:
        edges = [len(values) * i // width for i in range(width + 1)]
        shown = [max((v for v in values[a:b] if v is not None), default=None) for a, b in pairwise(edges)]
    return chart(shown, 1, values)[0]


def bar(part: float, width: int) -> str:
    """A part of a whole (0 to 1, signs do not count) as a bar of at most `width` columns; what is there at all is seen."""
    eighths = min(round(abs(part) * width * 8), width * 8)
    if not eighths:
        eighths = 1 if part else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
