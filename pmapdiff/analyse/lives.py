"""The verdict on a series that goes through restarts: each incarnation begins anew, so what counts is what each of them does at the same age."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pmapdiff.analyse.judge import LEAST_POINTS, Judgement, judge
from pmapdiff.analyse.lines import Line, Values, blocks, fit, sustained
from pmapdiff.analyse.result import Trend, Verdict
from pmapdiff.analyse.series import Series
from pmapdiff.units import plural

# An incarnation with so many points speaks for itself.
_ENOUGH = 8
_MOST_POINTS = 120
_HOUR_US = 3.6e9


class Life(NamedTuple):
    """One incarnation: hours and values."""

    hours: Values
    values: Values


def trend_of(series: Series, origin_us: int, least: float) -> Trend:
    """The trend of a series whose hours begin at `origin_us`; differences up to `least` mean nothing."""
    known = series.known()
    lives = [Life(*life) for life in known.lives()]
    if not lives:
        return Trend(Verdict.TOO_SHORT)
    last = lives[-1]
    if len(lives) == 1 or len(last.hours) >= _ENOUGH:
        found = judge(*last, least)
        trend = _trend(found, last, origin_us)
        if found.verdict is Verdict.GROWING and len(lives) > 1:
            return _since_earlier(trend, lives, origin_us, least)
        return trend
    pooled = _pooled(lives, least)
    if pooled is not None:
        return pooled.trend(origin_us)
    # None says more than the longest of them.
    longest = max(lives, key=lambda life: len(life.hours))
    trend = _trend(judge(*longest, least), longest, origin_us)
    if trend.verdict in (Verdict.GROWING, Verdict.TOO_SHORT) or longest is last:
        words = ("before it was started again",) if trend.verdict is Verdict.GROWING and longest is not last else ()
        return Trend(trend.verdict, trend.slope, trend.low, trend.high, trend.delta, trend.onset_us, words, trend.p)
    return Trend(trend.verdict, words=("before it was started again",))


def _trend(found: Judgement, life: Life, origin_us: int) -> Trend:
    onset = None if found.onset is None else origin_us + round(float(life.hours[found.onset]) * _HOUR_US)
    words: tuple[str, ...] = ()
    if found.verdict is Verdict.GROWING and found.under is not None:
        words = (f"what is left after each of {plural(len(found.under.falls), 'fall')} grows",)
    if found.line is not None:
        return Trend(found.verdict, found.line.slope, found.line.low, found.line.high, found.delta, onset, words, found.line.p)
    if found.verdict is Verdict.TOO_SHORT:
        return Trend(found.verdict)
    return Trend(found.verdict, *_slope_now(found, life), found.delta, onset, words)


def _slope_now(found: Judgement, life: Life) -> tuple[float, float, float]:
    """The slope of the last third of what does not last, with its interval: how much it still grows, if at all."""
    begin = max(0, min(len(life.hours) - LEAST_POINTS, len(life.hours) * 2 // 3)) if found.verdict in (Verdict.PLATEAU, Verdict.STEP) else 0
    slope, _, low, high = fit(*blocks(life.hours[begin:], life.values[begin:], _MOST_POINTS))
    return slope, low, high


def _since_earlier(trend: Trend, lives: Sequence[Life], origin_us: int, least: float) -> Trend:
    """The same growth, from the first of the incarnations before it on that grew as well."""
    count, onset_us = 1, trend.onset_us
    for life in reversed(lives[:-1]):
        if len(life.hours) < LEAST_POINTS:
            continue
        found = judge(*life, least)
        if found.verdict is not Verdict.GROWING or found.onset is None:
            break
        count, onset_us = count + 1, origin_us + round(float(life.hours[found.onset]) * _HOUR_US)
    words = (*trend.words, f"{count} incarnations grew alike, one after the other") if count > 1 else trend.words
    return Trend(trend.verdict, trend.slope, trend.low, trend.high, trend.delta, onset_us, words, trend.p)


class _Pooled(NamedTuple):
    line: Line
    delta: float
    onset_hours: float
    lives: int

    def trend(self, origin_us: int) -> Trend:
        words = (f"{self.lives} incarnations grow alike, one after the other",)
        onset = origin_us + round(self.onset_hours * _HOUR_US)
        return Trend(Verdict.GROWING, self.line.slope, self.line.low, self.line.high, self.delta, onset, words, self.line.p)


def _pooled(lives: Sequence[Life], least: float) -> _Pooled | None:
    """The growth that several incarnations have in common at an age at which a warm-up is over: from half of a usual life on.

    There the growth must go on at no less than a third of its rate before, in all of them together, and as straight as one series.
    """
    grown_up = [life for life in lives if len(life.hours) >= 4]
    if len(grown_up) < 2:
        return None
    spans = [float(life.hours[-1] - life.hours[0]) for life in grown_up]
    age = 0.5 * float(np.median(spans))
    hours, values = [0.0], [0.0]
    young_growth = young_hours = old_growth = old_hours = 0.0
    rising = taking_part = 0
    for life in grown_up:
        ages = life.hours - life.hours[0]
        old = np.flatnonzero(ages >= age)
        if len(old) < 2:
            continue
        taking_part += 1
        first = old[0]
        young_growth += float(life.values[first] - life.values[0])
        young_hours += float(ages[first])
        gained = float(life.values[-1] - life.values[first])
        rising += gained > 0
        old_growth += gained
        old_hours += float(ages[-1] - ages[first])
        for i in range(first + 1, len(ages)):
            hours.append(hours[-1] + float(ages[i] - ages[i - 1]))
            values.append(values[-1] + float(life.values[i] - life.values[i - 1]))
    if taking_part < 2 or rising < taking_part or old_growth <= least or old_hours <= 0 or young_hours <= 0:
        return None
    if old_growth / old_hours < young_growth / young_hours / 3:
        return None
    line = sustained(np.array(hours), np.array(values)) if len(hours) >= LEAST_POINTS else None
    if line is None:
        return None
    return _Pooled(line, float(grown_up[-1].values[-1] - grown_up[-1].values[0]), float(grown_up[0].hours[0]), len(lives))
