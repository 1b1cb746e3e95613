"""Whether hosts have begun to grow together, as after a deploy: the narrowest time that holds most of their onsets."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, exp, lgamma, log
from typing import NamedTuple

from pmapdiff.analyse.fleet_result import SharedOnset

# Of the hosts whose onset is known, how many must share it: these parts of all are tried.
_PARTS = tuple(part / 20 for part in range(10, 21))
_LEAST_HOSTS = 2
_CHANCE = 0.01


class Dated(NamedTuple):
    """The onset of one host, in µs since the epoch, how well it is known, and from when to when it could have been."""

    onset_us: int
    precision_us: int
    since_us: int
    until_us: int


def shared_onset(dated: Sequence[Dated]) -> SharedOnset | None:
    """What at least half of these onsets have in common; None if chance would bring as many of them as close together.

    Onsets that lie closer than they are known are as close as that: what two hosts that are captured every 5 minutes have in common to the second is
    the cron.
    """
    if len(dated) < _LEAST_HOSTS:
        return None
    onsets = sorted(known.onset_us for known in dated)
    count = len(onsets)
    precision = sorted(known.precision_us for known in dated)[count // 2]
    spans = sorted(known.until_us - known.since_us for known in dated)
    whole = max(spans[count // 2], 1)
    best: SharedOnset | None = None
    numbers = sorted({max(_LEAST_HOSTS, ceil(part * count)) for part in _PARTS})
    for number in numbers:
        begin = min(range(count - number + 1), key=lambda i: (onsets[i + number - 1] - onsets[i], onsets[i]))
        first, last = onsets[begin], onsets[begin + number - 1]
        # As precision goes, those just outside are in it as well.
        inside = sum(first <= onset <= max(last, first + precision) for onset in onsets)
        # Whoever tries several ways to look finds something more often.
        chance = min(1.0, len(numbers) * _chance(count, inside, max(last - first, precision) / whole))
        if best is None or chance <= best.chance:
            within = [onset for onset in onsets if first <= onset <= max(last, first + precision)]
            best = SharedOnset(inside, count, within[0], within[-1], precision, chance)
    return best if best is not None and best.chance <= _CHANCE else None


def _chance(count: int, inside: int, part: float) -> float:
    """At most how often so many of `count` moments, drawn evenly, lie within this part of the time: one of them, and the others after it."""
    if part >= 1:
        return 1.0
    others = inside - 1
    ways = lgamma(count) - lgamma(others + 1) - lgamma(count - others)
    return min(1.0, exp(min(0.0, log(count) + ways + others * log(part))))
