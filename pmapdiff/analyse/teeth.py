"""Sawtooth: memory that rises and is freed again and again, and whether what stays each time grows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pmapdiff.analyse.lines import Line, Values, despike, noise, rise, straight_limit

# Crookedness below which 1 % of series of independent values rise, by their number: what is left after each collection is one.
_LOWS, _LOWS_CROOKED = (3, 4, 5, 6, 7, 8), (0.04, 0.124, 0.245, 0.29, 0.34, 0.36)
_BOTH, _BOTH_CROOKED = (3, 4, 5, 6, 8), (0.13, 0.24, 0.35, 0.40, 0.45)
_STRICT = 0.6
_CERTAIN = 5e-4
_LEAST_OF_TOOTH = 0.03
_Leg = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Teeth:
    """The large ups and downs of a series, as pairs of positions, and how much longer the ups take.

    `sharp` says that it falls much faster than it rises, often, and about as far each time: a collector's work, and no walk's.
    """

    rises: tuple[_Leg, ...]
    falls: tuple[_Leg, ...]
    sharp: bool

    def height(self, y: Values) -> float:
        """The median fall."""
        return float(np.median([y[p] - y[q] for p, q in self.falls]))

    @property
    def last_low(self) -> int:
        """Where the last fall ended."""
        return self.falls[-1][1]


def find_teeth(t: Values, y: Values, rest: Values) -> Teeth | None:
    """The teeth of a series, `rest` being what its straight line leaves; None if it falls less than twice, or is but noise."""
    spread = float(np.ptp(rest))
    least = max(0.4 * spread, 0.1 * float(np.ptp(y)))
    found, slant = _turns(y, y, least)
    if slant < 1.8 and len(t) > 12:
        found, slant = _turns(despike(y), y, least)
    rises, falls = found
    if len(falls) < 2:
        return None
    many = len(falls) >= 6 and slant >= 1.4
    mean_leg = float(np.mean([q - p for p, q in (*rises, *falls)]))
    if (slant < 1.5 and mean_leg < 3 and len(falls) < 6) or (slant < 2.5 and noise(y) > 0.16 * spread and not many):
        return None
    drops = [y[p] - y[q] for p, q in falls]
    alike = float(np.std(drops)) < 0.5 * float(np.mean(drops))
    return Teeth(tuple(rises), tuple(falls), alike and (many or (slant >= (3 if len(falls) >= 4 else 4) and len(falls) >= 3)))


def _turns(path: Values, y: Values, least: float) -> tuple[tuple[list[_Leg], list[_Leg]], float]:
    """The legs between the turns of a path that goes at least so far each time, and how many times longer the rises take than the falls."""
    legs = list(pairwise(_pivots(path, least)))
    rises = [(p, q) for p, q in legs if y[q] > y[p]]
    falls = [(p, q) for p, q in legs if y[q] < y[p]]
    if not rises or not falls:
        return (rises, falls), 0.0
    return (rises, falls), float(np.mean([q - p for p, q in rises]) / np.mean([q - p for p, q in falls]))


def _pivots(y: Values, least: float) -> list[int]:
    """The positions at which the path turns round and goes at least so far the other way, with its beginning and its last extreme."""
    pivots: list[int] = []
    direction, extreme, low, high = 0, 0, 0, 0
    for i in range(1, len(y)):
        if direction == 0:
            high = i if y[i] > y[high] else high
            low = i if y[i] < y[low] else low
            if y[i] - y[low] >= least:
                pivots, direction, extreme = [low], 1, i
            elif y[high] - y[i] >= least:
                pivots, direction, extreme = [high], -1, i
        elif (y[i] - y[extreme]) * direction >= 0:
            extreme = i
        elif (y[extreme] - y[i]) * direction >= least:
            pivots.append(extreme)
            direction, extreme = -direction, i
    return [*pivots, extreme] if direction else pivots


def rising_under(t: Values, y: Values, teeth: Teeth) -> tuple[Line, list[int]] | None:
    """The line along which what is left after each fall rises, and where those lows are; None if it does not."""
    height, drops = teeth.height(y), [y[p] - y[q] for p, q in teeth.falls]
    lows, highs = [q for _, q in teeth.falls], [p for p, _ in teeth.falls]
    if lows[-1] == len(y) - 1 and len(lows) > 2 and drops[-1] < 0.6 * height:
        # The last fall may not be over.
        lows = lows[:-1]
    if len(lows) < 5 and teeth.rises and teeth.rises[0][0] == 0 and y[0] < y[lows[0]]:
        lows = [0, *lows]
    if len(lows) < 3:
        return None
    # A low is seen up to one sample after the fall, by when something was added again.
    step = float(np.median([(y[q] - y[p]) / (q - p) for p, q in teeth.rises])) if teeth.rises else 0.0
    least = max(0.12 * height, 3 * step / math.sqrt(len(lows)))
    under = rise(t[lows], y[lows])
    count = len(lows)
    if under is None or (count < 5 and not teeth.sharp):
        return None
    limit = float(np.interp(count, _LOWS, _LOWS_CROOKED)) if teeth.sharp else _STRICT * straight_limit(count)
    # Of values without any order a part in proportion to this power is as straight. What is that straight is not off by much, however high the teeth.
    p = 0.01 * (under.crooked / limit) ** (count - 2)
    if under.crooked <= limit and under.rise > (least if p > _CERTAIN else _LEAST_OF_TOOTH * height):
        return under._replace(p=p), lows
    if teeth.sharp and len(highs) >= 3:
        over = rise(t[highs], y[highs])
        limit = float(np.interp(min(count, len(highs)), _BOTH, _BOTH_CROOKED))
        if (
            over is not None
            and 0.4 < under.slope / over.slope < 2.5
            and min(under.rise, over.rise) > least
            and max(under.crooked, over.crooked) <= limit
        ):
            return under._replace(p=0.01), lows
    return None
