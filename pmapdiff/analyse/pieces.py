"""A series as straight pieces, and as curves that bend: where growth begins, and whether it ends."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from pmapdiff.analyse.lines import Values

_LEAST_POINTS = 4
# A piece costs as much as a Bayesian information criterion would charge for its three numbers, and somewhat more.
_PENALTY = 3.0
_TIMES = (0.04, 0.07, 0.1, 0.14, 0.2, 0.27, 0.35, 0.45, 0.6, 0.8)
# Below 1 it begins steeply, above 1 it begins slowly: the last ones are like an S.
_SHAPES = (0.6, 0.8, 1.0, 1.4, 2.0, 3.5)
_WARM_UPS = (0.02, 0.03, 0.04, 0.055, 0.07, 0.1, 0.14, 0.2)


class Piece(NamedTuple):
    """A straight piece: from one point up to, not including, another, and its slope."""

    begin: int
    end: int
    slope: float


class Bend(NamedTuple):
    """A curve: the squares of what it leaves, and the growth that is special to it: what is yet to come, or what its last part adds."""

    squares: float
    growth: float


def straight_pieces(t: Values, y: Values, scatter: float) -> list[Piece]:
    """The best division into straight pieces, which need not meet, of at least four points each; optimal partitioning, O(n^2).

    `scatter` is the noise of a single value, above 0.
    """
    count = len(t)
    squares, slopes = _costs(t - t.mean(), y - y.mean())
    charge = _PENALTY * math.log(count) * scatter**2
    best = np.full(count + 1, np.inf)
    best[0] = -charge
    before = np.zeros(count + 1, dtype=int)
    for end in range(_LEAST_POINTS, count + 1):
        begins = slice(0, end - _LEAST_POINTS + 1)
        costs = best[begins] + squares[begins, end] + charge
        before[end] = int(np.argmin(costs))
        best[end] = costs[before[end]]
    pieces: list[Piece] = []
    end = count
    while end > 0:
        begin = int(before[end])
        pieces.append(Piece(begin, end, float(slopes[begin, end])))
        end = begin
    return pieces[::-1]


def _costs(t: Values, y: Values) -> tuple[Values, Values]:
    """For each begin and end what the least-squares line between them leaves, and its slope."""

    def between(values: Values) -> Values:
        sums = np.concatenate([[0.0], np.cumsum(values)])
        found: Values = sums[None, :] - sums[:, None]
        return found

    number = np.maximum(between(np.ones_like(t)), 1.0)
    of_t, of_y = between(t), between(y)
    tt = between(t * t) - of_t**2 / number
    ty = between(t * y) - of_t * of_y / number
    yy = between(y * y) - of_y**2 / number
    slopes = np.divide(ty, tt, out=np.zeros_like(ty), where=tt > 1e-12)
    return np.maximum(yy - slopes * ty, 0.0), slopes


def _leave(columns: list[Values], y: Values) -> tuple[float, Values]:
    """What the best sum of these columns leaves, squared and summed, and how much of each is in it."""
    matrix = np.column_stack([np.ones_like(y), *columns])
    weights: Values = np.linalg.lstsq(matrix, y, rcond=None)[0].astype(np.float64)
    rest = y - matrix @ weights
    return float(rest @ rest), weights


def line_squares(t: Values, y: Values) -> float:
    """What one straight line leaves."""
    return _leave([t], y)[0]


def saturating(t: Values, y: Values) -> Bend:
    """A rise that comes to rest, y = a + b (1 - exp(-(t/tau)^k)): its growth is what is yet to come, infinite if it does not rise."""
    shapes, shares = (grid.ravel()[:, None] for grid in np.meshgrid(_SHAPES, _TIMES, indexing="ij"))
    # All curves at once, a row each: of two numbers that are fitted the least squares are known without a matrix.
    curves = 1 - np.exp(-(((t - t[0]) / (shares * float(t[-1] - t[0]))) ** shapes))
    curves_away, y_away = curves - curves.mean(axis=1, keepdims=True), y - y.mean()
    both, own = curves_away @ y_away, (curves_away**2).sum(axis=1)
    heights = np.divide(both, own, out=np.zeros_like(both), where=own > 0)
    squares = np.maximum(float(y_away @ y_away) - heights * both, 0.0)
    best = int(np.argmin(squares))
    left = math.exp(-((1 / float(shares[best, 0])) ** float(shapes[best, 0])))
    return Bend(float(squares[best]), float(heights[best]) * left if heights[best] > 0 else math.inf)


def warm_up_and_line(t: Values, y: Values) -> Bend:
    """A rise that comes to rest, and under it one that does not: its growth is that of the latter."""
    span = float(t[-1] - t[0])
    best = Bend(math.inf, 0.0)
    for share in _WARM_UPS:
        squares, weights = _leave([1 - np.exp(-(t - t[0]) / (share * span)), t - t[0]], y)
        if squares < best.squares and weights[1] >= 0:
            best = Bend(squares, float(weights[2]) * span)
    return best


class Hinge(NamedTuple):
    """Two straight lines that meet: what they leave, where, and the slope before and after."""

    squares: float
    at: int
    before: float
    after: float


def hinge(t: Values, y: Values) -> Hinge:
    """The best two lines that meet at one of the points, which has at least three on each side."""
    best = Hinge(math.inf, 0, 0.0, 0.0)
    for at in range(_LEAST_POINTS - 1, len(t) - _LEAST_POINTS + 1):
        squares, weights = _leave([np.minimum(t, t[at]), np.maximum(t - t[at], 0.0)], y)
        if squares < best.squares:
            best = Hinge(squares, at, float(weights[1]), float(weights[2]))
    return best
