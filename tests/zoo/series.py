"""Series of known behaviour with noise, gaps and uneven intervals: what programs do not do often enough to be counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pmapdiff.analyse.judge import judge
from pmapdiff.analyse.result import Verdict

Values = NDArray[np.float64]
# Pages of 4 KiB, and what is less than one step of an allocator means nothing.
_PAGE_KIB, _LEAST_KIB = 4.0, 132.0


@dataclass(frozen=True)
class Species:
    """A kind of series: what it is, whether it leaks, and its shape: from (the generator, times from 0 to 1) to values of about the size 1."""

    name: str
    leaks: bool
    shape: Callable[[np.random.Generator, Values], Values]
    noisy: bool = True


def _teeth(rng: np.random.Generator, u: Values) -> Values:
    """Rises for a twelfth to a quarter of the time and falls to a tenth of its height; no two teeth are quite alike."""
    period, uneven = rng.uniform(1 / 12, 1 / 4), rng.uniform(0, 0.2)
    falls = [rng.uniform(-period, 0.0)]
    while falls[-1] < 1:
        falls.append(falls[-1] + period * rng.uniform(1 - uneven, 1 + uneven))
    tooth = np.searchsorted(falls, u, side="right") - 1
    left: Values = rng.uniform(0, 0.1, len(falls) + 1)[tooth] + (u - np.array(falls)[tooth]) / period
    return left


def _steps(rng: np.random.Generator, u: Values) -> Values:
    values = np.zeros_like(u)
    for at in rng.uniform(0.08, 0.92, int(rng.integers(1, 3))):
        values = values + (u > at) * rng.uniform(0.4, 1)
    return values


def _walk(rng: np.random.Generator, u: Values) -> Values:
    values: Values = 4 + np.cumsum(rng.normal(size=len(u))) / np.sqrt(len(u))
    return values


def _late(rng: np.random.Generator, u: Values) -> Values:
    onset = rng.uniform(0.3, 0.7)
    values: Values = np.maximum(0, u - onset) / (1 - onset)
    return values


def _kept_after_a_burst(rng: np.random.Generator, u: Values) -> Values:
    begin, length = rng.uniform(0.2, 0.7), rng.uniform(0.03, 0.08)
    values: Values = np.clip((u - begin) / length, 0, 1) - rng.uniform(0, 0.6) * (u > begin + length)
    return values


def _bursts(rng: np.random.Generator, u: Values) -> Values:
    values: Values = np.cumsum(rng.integers(0, 5, len(u))) / (2 * len(u))
    return values


# The six that leak detectors are usually tried on come first.
SPECIES = (
    Species("linear", True, lambda _, u: u),
    Species("saturating", False, lambda rng, u: 1 - np.exp(-u / rng.uniform(0.06, 0.3))),
    Species("sawtooth", False, _teeth),
    Species("step", False, _steps),
    Species("random walk", False, _walk, noisy=False),
    Species("constant", False, lambda _, u: np.zeros_like(u)),
    Species("late", True, _late),
    Species("accelerating", True, lambda rng, u: u ** rng.uniform(1.3, 2)),
    Species("bursts", True, _bursts),
    Species("stairs", True, lambda rng, u: np.floor(u * (n := int(rng.integers(5, 15))) + rng.uniform()) / n),
    Species("warm-up, then leak", True, lambda rng, u: 1 - np.exp(-u / rng.uniform(0.02, 0.08)) + rng.uniform(0.4, 2) * u),
    Species("leak under sawtooth", True, lambda rng, u: _teeth(rng, u) + rng.uniform(0.6, 3) * u),
    Species("stopped", False, lambda rng, u: np.minimum(u, end := rng.uniform(0.3, 0.7)) / end),
    Species("kept after a burst", False, _kept_after_a_burst),
    Species("spikes", False, lambda rng, u: (rng.uniform(size=len(u)) < 0.07).astype(np.float64)),
    Species("shrinking", False, lambda _, u: 1 - u),
)


def _times(rng: np.random.Generator, count: int) -> Values:
    """Hours: even, uneven by half, or with captures missing."""
    kind = rng.integers(3)
    if kind == 0:
        return np.arange(count, dtype=np.float64)
    between = rng.uniform(0.5, 1.5, count - 1) if kind == 1 else rng.choice([1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 8.0], count - 1)
    return np.concatenate([[0.0], np.cumsum(between)])


def generate(species: Species, rng: np.random.Generator, factor: float = 1.0) -> tuple[Values, Values]:
    """One series: 24 to 150 times in hours, and values in KiB of any size, with noise of up to a twentieth of it; growth times `factor`."""
    t = _times(rng, int(rng.integers(24, 150)))
    size = 10 ** rng.uniform(3.5, 6)
    base = size * 10 ** rng.uniform(-1, 1)
    noise = size * rng.choice([0, 0.005, 0.02, 0.05]) * rng.normal(size=len(t)) if species.noisy else 0.0
    values = base + factor * (size * species.shape(rng, t / t[-1]) + noise)
    return t, np.round(np.maximum(values, 0) / _PAGE_KIB) * _PAGE_KIB


@dataclass(frozen=True)
class Tally:
    """How many of `count` series of one kind were called growing, and how many a rising Mann-Kendall test (5 %) would, if that was asked for."""

    species: Species
    count: int
    growing: int
    mann_kendall: int | None

    @property
    def share(self) -> float:
        """The part that was called growing."""
        return self.growing / self.count


def tally(species: Species, count: int, seed: int, factor: float = 1.0, *, ranks: bool = True) -> Tally:
    """Judge so many series of a kind."""
    rng = np.random.default_rng([seed, *species.name.encode()])
    growing = ranked = 0
    for _ in range(count):
        t, y = generate(species, rng, factor)
        growing += judge(t, y, _LEAST_KIB).verdict is Verdict.GROWING
        if ranks and np.ptp(y) > 0:
            test = stats.kendalltau(t, y)
            ranked += bool(test.statistic > 0 and test.pvalue < 0.05)
    return Tally(species, count, growing, ranked if ranks else None)


def table(tallies: list[Tally]) -> str:
    """A row a kind, and how often something that does not leak was called growing."""
    lines = [f"{'series':22}{'leaks':>6}{'growing':>9}{'Mann-Kendall':>14}"]
    lines += [
        f"{known.species.name:22}{'yes' if known.species.leaks else 'no':>6}{known.share:>9.1%}{(known.mann_kendall or 0) / known.count:>14.1%}"
        for known in tallies
    ]
    calm = [known for known in tallies if not known.species.leaks]
    count = sum(known.count for known in calm)
    lines.append(f"{'false alarms':28}{sum(k.growing for k in calm) / count:>9.1%}{sum(k.mann_kendall or 0 for k in calm) / count:>14.1%}")
    return "\n".join(lines)
