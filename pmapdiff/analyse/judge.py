"""The verdict on one series of one incarnation: from its values and their times alone, without any scale of its own.

Everything is measured against the series itself: a rise against its deviation from a line, a fall against the others, a pause against what came
before. So the verdict
is the same at any rate of growth and for any length of the intervals. Only what is smaller than an allocator's step counts for nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pmapdiff.analyse.lines import Line, Values, blocks, chance_of_walk, despike, fit, lower_blocks, noise, rise, straight_limit, sustained
from pmapdiff.analyse.pieces import Hinge, Piece, hinge, line_squares, saturating, straight_pieces, warm_up_and_line
from pmapdiff.analyse.result import Verdict
from pmapdiff.analyse.teeth import Teeth, find_teeth, rising_under

LEAST_POINTS = 5
_BLOCKS = 60
# Every pair of points has a slope: of more of them there would be too many, and no more to learn.
_MANY_BLOCKS = 120
# A rise that is nearer to its end than this may as well be over.
_YET_TO_COME = 0.15
_LEAST_TOOTH = 0.05
_LARGE, _FOLLOWS = 0.2, 0.25
_CHOSEN = 0.7
_LATE_POINTS, _OTHER_RATE = 6, 0.25
_BACK = 1.0
_BEYOND_WANDER = 4.5


class Judgement(NamedTuple):
    """A verdict, the line that lasts to the end (None where nothing does), and from which point on it holds.

    `line` is that of what stays: of the lows, for a sawtooth. `delta` is by how much it grew from there on. `under` says that it rises under teeth.
    """

    verdict: Verdict
    onset: int | None = None
    line: Line | None = None
    delta: float = 0.0
    under: Teeth | None = None


def judge(t: Values, y: Values, least: float) -> Judgement:
    """The verdict on a series: times in hours that rise, and values of which differences up to `least` mean nothing."""
    if len(t) < LEAST_POINTS:
        return Judgement(Verdict.TOO_SHORT)
    if float(np.ptp(y)) <= least:
        return Judgement(Verdict.STABLE)
    slope, intercept, _, _ = fit(*blocks(t, y, _MANY_BLOCKS))
    rest = y - intercept - slope * t
    teeth = find_teeth(t, y, rest)
    straight = float(np.ptp(rest)) < 0.3 * float(np.ptp(y)) and sustained(*blocks(t, despike(y), _MANY_BLOCKS)) is not None
    if teeth is None or straight:
        return _without_teeth(t, y, least, teeth)
    # Noise about a curve has ups and downs as well; but the last of sharp teeth is no growth that has just begun.
    found = _without_teeth(t, y, least, None)
    if found.verdict is Verdict.GROWING and (found.onset == 0 or not teeth.sharp):
        return found
    lasting = rising_under(t, y, teeth)
    if lasting is not None and lasting[0].rise > least:
        line, lows = lasting
        return Judgement(Verdict.GROWING, lows[0], line, float(y[lows[-1]] - y[lows[0]]), teeth)
    last = teeth.last_low
    if y[-1] - y[last] > (2 if teeth.sharp else 3) * teeth.height(y) and len(y) - last >= 8:
        # It has left all teeth behind.
        later = _without_teeth(t[last:], y[last:], least, None)
        return later._replace(onset=None if later.onset is None else later.onset + last)
    # What goes up and down by a few percent is as steady as memory gets.
    steady = teeth.height(y) < _LEAST_TOOTH * float(np.median(y))
    return Judgement(Verdict.STABLE) if steady else Judgement(Verdict.SAWTOOTH, under=teeth)


def _without_teeth(t: Values, y: Values, least: float, teeth: Teeth | None) -> Judgement:
    smooth = despike(y)
    tb, yb = blocks(t, smooth, _BLOCKS)
    extent = float(np.ptp(yb))
    if extent <= least:
        return Judgement(Verdict.STABLE)
    pieces = straight_pieces(tb, yb, max(noise(yb), 0.01 * extent))
    ends = max(2, min(5, len(tb) // 6))
    growth = float(np.median(yb[-ends:]) - np.median(yb[:ends]))
    found = _lasting(tb, yb, pieces)
    if found is not None and found[1].rise > least:
        begin, line = found
        since = float(yb[-1] - yb[begin])
        if not _comes_to_rest(tb, yb, growth) and not (begin and _comes_to_rest(tb[begin:], yb[begin:], since)):
            onset = int(np.searchsorted(t, tb[begin]))
            return Judgement(Verdict.GROWING, onset, _lately(tb[begin:], yb[begin:], line), float(y[-1] - y[onset]))
        return Judgement(Verdict.PLATEAU, _begin_of(t, y, growth), None, growth)
    lowest = _lowest_rise(t, y, teeth)
    if lowest is not None and lowest.rise > least:
        return Judgement(Verdict.GROWING, 0, lowest, lowest.rise, teeth)
    if abs(growth) <= max(4 * noise(y), 0.25 * float(np.ptp(y)), least):
        return Judgement(Verdict.SAWTOOTH if _goes_up_and_down(y) else Verdict.STABLE)
    if growth < 0:
        line_down = sustained(tb, -yb)
        if line_down is not None:
            return Judgement(Verdict.SHRINKING, 0, _mirrored(line_down), growth)
    sign = 1.0 if growth > 0 else -1.0
    there = sign * np.diff(yb)
    back = -float(there[there < 0].sum())
    if back > _BACK * abs(growth):
        # It goes there, and back: neither has it come to rest.
        steady = extent < _LEAST_TOOTH * float(np.median(yb))
        return Judgement(Verdict.STABLE if steady else Verdict.SAWTOOTH)
    largest = np.sort(there)[-2:]
    at_once = float(largest.sum()) >= 0.8 * max(abs(growth), sign * float(yb[-1] - yb[0]))
    onset = _begin_of(t, sign * y, abs(growth))
    return Judgement(Verdict.STEP if at_once or growth < 0 else Verdict.PLATEAU, onset, None, growth)


def _lasting(t: Values, y: Values, pieces: list[Piece]) -> tuple[int, Line] | None:
    """The longest rise that lasts to the end: from which point on, and its line."""
    count = len(t)
    fewest = 6 if count < 20 else 7
    for begin in sorted({0, *(piece.begin for piece in pieces)}):
        if count - begin < fewest:
            break
        line = sustained(t[begin:], y[begin:], 1.0 if begin == 0 else _CHOSEN)
        if line is None or _has_stopped(t[begin:], y[begin:], line.rise):
            continue
        if begin >= 5:
            # Whoever looks for the straightest end of a walk finds one: so it must be far more than what came before would lead one to expect.
            wander = _wander(t, y, pieces, begin)
            if line.rise < _BEYOND_WANDER * wander * np.sqrt(count - begin):
                continue
        return begin, line
    return None


def _lately(t: Values, y: Values, line: Line) -> Line:
    """The line of the last third, where that is another: what a limit is reached by is the present rate."""
    last = len(t) * 2 // 3
    if len(t) - last < _LATE_POINTS:
        return line
    late = rise(t[last:], y[last:])
    if late is None or late.low <= 0 or late.low <= line.slope <= late.high or abs(late.slope / line.slope - 1) < _OTHER_RATE:
        return line
    return line._replace(slope=late.slope, low=late.low, high=late.high)


def _has_stopped(t: Values, y: Values, growth: float) -> bool:
    """Whether its last quarter took more than half of the time, or hardly anything came in the last quarter of the time."""
    quarter = t[-1] - 0.25 * (t[-1] - t[0])
    if int((t > quarter).sum()) >= _LATE_POINTS - 1 and float(np.median(y[-3:]) - np.interp(quarter, t, y)) < 0.05 * growth:
        return True
    level = y[-1] - 0.25 * growth
    below = np.flatnonzero(y < level)
    if not len(below):
        return True
    last = int(below[-1])
    # It passed the level between two samples, which may be far from each other.
    since = t[last] + (t[last + 1] - t[last]) * (level - y[last]) / (y[last + 1] - y[last]) if last + 1 < len(t) else t[last]
    return bool(t[-1] - since > 0.5 * (t[-1] - t[0]))


def _wander(t: Values, y: Values, pieces: list[Piece], until: int) -> float:
    """How far it goes besides its trend, up to a point, in proportion to the square root of the number of points; its jumps aside.

    That is the long-run deviation of its increments: noise about a line takes back what it gave, and counts for little; a walk does not.
    """
    slopes = np.concatenate([np.full(piece.end - piece.begin, piece.slope) for piece in pieces])[:until]
    away = np.diff(y[: until + 1]) - slopes * np.diff(t[: until + 1])
    bound = float(np.quantile(np.abs(away), 0.95))
    away = np.clip(away, -bound, bound)
    own = float(away @ away) / len(away)
    following = float(away[1:] @ away[:-1]) / len(away) if len(away) >= 10 else 0.0
    return float(np.sqrt(max(own + 1.6 * following, 0.25 * own)))


def _comes_to_rest(t: Values, y: Values, growth: float) -> bool:
    """Whether a curve that comes to rest explains a rise at least as well as lines that do not."""
    if growth <= 0:
        return False
    count = len(t)
    slack = 0.1 * count * max(noise(y), 0.003 * float(np.ptp(y))) ** 2
    straight = line_squares(t, y)
    if straight <= slack:
        return False
    resting, corner, both = saturating(t, y), hinge(t, y), warm_up_and_line(t, y)
    tail = _tail(t, corner)
    if resting.growth < _YET_TO_COME * growth:
        going_on = [straight, *([corner.squares] if tail > 0.1 * growth else []), *([both.squares] if both.growth > 0.15 * growth else [])]
        if resting.squares + slack <= min(going_on):
            return True
    return corner.before > 0 and tail <= 0.1 * growth and corner.squares < 0.5 * straight


def _tail(t: Values, corner: Hinge) -> float:
    """What is added after the corner."""
    return corner.after * float(t[-1] - t[corner.at])


def _lowest_rise(t: Values, y: Values, teeth: Teeth | None) -> Line | None:
    """The line along which the lowest values rise: under noise and under teeth too fast to be seen one by one."""
    if len(t) < 24:
        return None
    number = min(10, len(t) // 3)
    tb, yb = lower_blocks(t, y, number)
    line = rise(tb, yb)
    if line is None or line.rise <= 0.25 * float(np.ptp(y)) or _has_stopped(tb, yb, line.rise):
        return None
    sharp = teeth is not None and teeth.sharp and len(teeth.falls) >= 6
    limit = 0.28 if sharp else 0.35 * straight_limit(number)
    return line._replace(p=chance_of_walk(line.crooked)) if line.crooked <= limit else None


def _goes_up_and_down(y: Values) -> bool:
    """Whether it varies by a good part of itself, each value following the one before: noise does not."""
    away = y - y.mean()
    power = float(away @ away)
    return float(np.ptp(y)) >= _LARGE * float(np.median(y)) and power > 0 and float(away[1:] @ away[:-1]) / power >= _FOLLOWS


def _mirrored(line: Line) -> Line:
    return Line(-line.slope, -line.high, -line.low, -line.rise, line.crooked, line.p)


def _begin_of(t: Values, y: Values, growth: float) -> int:
    """The last point before it had grown by a twentieth."""
    above = np.flatnonzero(y > y[0] + 0.05 * growth)
    return max(0, int(above[0]) - 1) if len(above) and t[above[0]] > t[0] else 0
