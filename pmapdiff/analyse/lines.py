"""Robust straight lines, and whether a series rises along one.

Memory that merely wanders looks like growth: the last value of a random walk is as far from the first as a trend's, and every test of ranks calls
most walks
a trend. What a walk hardly ever does is to rise in a straight line: its deviation from the line is about as large as its rise, however long
it is. So the measure here is the crookedness: the deviation (its 90th percentile) from the Theil-Sen line, as a part of the rise. It has no unit
and hardly
depends on the number of points. Of random walks 0.5 % rise with less than 0.13, 0.1 % with less than 0.10, and
about exp(0.5 - 0.74 / c) with less than c, which is what a walk's small deviations lead one to expect (measured on walks of 10 to 60 points).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

Values = NDArray[np.float64]

# Crookedness below which 0.5 % of the random walks of so many points rise.
_POINTS, _CROOKED = (5, 6, 8, 10, 15), (0.075, 0.080, 0.095, 0.105, 0.125)
_STRICT, _NEVER_FALLING, _HARDLY = 0.87, 1.2, 0.02
_AVERAGED = 0.75
# The same chance for the mean of the increments, by Student's t.
_LEAST_P = 6e-5
_BLOCKS = (16, 8)
# A walk rises so often without ever falling once in 4,096 times.
_MANY_RISES = 12
_LATE_RATE = 0.45
# Of the normal distribution 95 % lie between this and its negative.
_Z = NormalDist().inv_cdf(0.975)


class Line(NamedTuple):
    """The Theil-Sen line of a series that rises: its slope with the 95 % interval, its rise from end to end, and its crookedness.

    `p` is about how often a walk (or, for the ends of teeth, values without any order) would rise as straight.
    """

    slope: float
    low: float
    high: float
    rise: float
    crooked: float
    p: float = 1.0


def theil_sen(t: Values, y: Values) -> tuple[float, float, float, float]:
    """The median of the slopes between all pairs of points, the intercept, and the 95 % interval of the slope (Sen 1968, equation 2.6).

    What scipy.stats.theilslopes gives, in a fifth of the time; and to load scipy.stats takes longer than most answers do.
    """
    spans = t[:, None] - t
    later = spans > 0
    slopes = (y[:, None] - y)[later] / spans[later]
    slopes.sort()
    points, pairs = len(y), len(slopes)
    slope = float(slopes[(pairs - 1) // 2] + slopes[pairs // 2]) / 2
    spread = _Z * math.sqrt((points * (points - 1) * (2 * points + 5) - _ties(t) - _ties(y)) / 18)
    low, high = max(round((pairs - spread) / 2) - 1, 0), min(round((pairs + spread) / 2), pairs - 1)
    return slope, float(np.median(y) - slope * np.median(t)), float(slopes[low]), float(slopes[high])


def _ties(values: Values) -> float:
    """What equal values take off the variance."""
    _, counts = np.unique(values, return_counts=True)
    return float((counts * (counts - 1) * (2 * counts + 5)).sum())


def fit(t: Values, y: Values) -> tuple[float, float, float, float]:
    """Slope, intercept, and the 95 % interval of the slope. The interval is widened where what is left depends on what was left before."""
    slope, intercept, low, high = theil_sen(t, y)
    rest = y - intercept - slope * t
    rest = rest - rest.mean()
    power = float(rest @ rest)
    follows = min(max(float(rest[1:] @ rest[:-1]) / power, 0.0), 0.9) if power > 0 else 0.0
    wider = math.sqrt((1 + follows) / (1 - follows))
    return slope, intercept, slope - (slope - low) * wider, slope + (high - slope) * wider


def rise(t: Values, y: Values) -> Line | None:
    """The line of a series of at least three points; None where it does not rise."""
    slope, intercept, low, high = fit(t, y)
    amount = slope * float(t[-1] - t[0])
    if not amount > 0:
        return None
    return Line(slope, low, high, amount, float(np.quantile(np.abs(y - intercept - slope * t), 0.9)) / amount)


def straight_limit(points: int) -> float:
    """The crookedness below which 0.5 % of the random walks of so many points rise."""
    return float(np.interp(points, _POINTS, _CROOKED))


def chance_of_walk(crooked: float) -> float:
    """About how many of all random walks rise as straight as this."""
    return min(0.5, math.exp(0.5 - 0.74 / crooked)) if crooked > 0 else 0.0


def sustained(t: Values, y: Values, chosen: float = 1.0) -> Line | None:
    """The line of a series that rises all the way, so that a random walk is no explanation; else None.

    Either it never falls and goes on to its end, or it is straight, also when averaged in blocks (independent noise fades then, a walk does not),
    or its increments are, all in all, far
    above their own scatter.
    """
    found = rise(t, y)
    points = len(t)
    if found is None or (found.low <= 0 and points >= 6):
        return None
    increments, spans = np.diff(y), np.diff(t)
    # A walk falls about as often as it rises.
    never_falls = -float(increments[increments < 0].sum()) < _HARDLY * found.rise
    if found.crooked <= (_NEVER_FALLING if never_falls else _STRICT * chosen) * straight_limit(points):
        return found._replace(p=chance_of_walk(found.crooked))
    if never_falls and _persists(increments, spans):
        return found._replace(p=0.5 ** int((increments > 0).sum()))
    if points >= 8:
        rest = increments - found.slope * spans
        scatter = math.sqrt(float(rest @ rest) / (points - 2) * (points - 1))
        p = float(stdtr(points - 2, (y[0] - y[-1]) / scatter)) if scatter > 0 else 0.0
        if p < _LEAST_P * chosen**4:
            return found._replace(p=p)
    for number in _BLOCKS:
        if points >= 3 * number:
            averaged = rise(*blocks(t, y, number))
            if averaged is not None and averaged.crooked <= _AVERAGED * chosen * straight_limit(number):
                return found._replace(p=chance_of_walk(averaged.crooked))
    return None


def _persists(increments: Values, spans: Values) -> bool:
    """Whether it rises nearly all the time to its end, and there not much slower than in all: however crooked, as heaps that grow by doubling are."""
    last = len(increments) * 2 // 3
    if int((increments > 0).sum()) < _MANY_RISES or float((increments[last:] > 0).mean()) < 0.6:
        return False
    return float(increments[last:].sum() / spans[last:].sum()) >= _LATE_RATE * float(increments.sum() / spans.sum())


def blocks(t: Values, y: Values, most: int) -> tuple[Values, Values]:
    """At most so many points: mean times and median values of neighbours."""
    if len(t) <= most:
        return t, y
    times = np.concatenate([part.mean(axis=1) for part in _parts(t, most)])
    return times, np.concatenate([np.median(part, axis=1) for part in _parts(y, most)])


def lower_blocks(t: Values, y: Values, number: int) -> tuple[Values, Values]:
    """The lowest value of each of so many blocks, and when it was."""
    lowest = [np.argmin(part, axis=1)[:, None] for part in _parts(y, number)]
    times, values = (
        np.concatenate([np.take_along_axis(part, at, axis=1)[:, 0] for part, at in zip(_parts(array, number), lowest, strict=True)])
        for array in (t, y)
    )
    return times, values


def _parts(array: Values, number: int) -> list[Values]:
    """The array in so many parts of neighbours: the first ones, which have one more than the others, as rows, and the others as rows."""
    size, longer = divmod(len(array), number)
    cut = longer * (size + 1)
    return [part for part in (array[:cut].reshape(longer, size + 1), array[cut:].reshape(number - longer, size)) if part.size]


def noise(y: Values) -> float:
    """The scatter of single values, from their second differences: neither a trend nor a few jumps count."""
    if len(y) < 4:
        return 0.0
    bends = y[2:] - 2 * y[1:-1] + y[:-2]
    return float(np.median(np.abs(bends))) / 0.6745 / math.sqrt(6)


def despike(y: Values) -> Values:
    """Each value replaced by the median of it and its neighbours, so that what lasts one sample alone is gone; the ends stay."""
    if len(y) < 7:
        return y
    smooth = y.copy()
    smooth[1:-1] = np.median(np.stack([y[:-2], y[1:-1], y[2:]]), axis=0)
    return smooth
