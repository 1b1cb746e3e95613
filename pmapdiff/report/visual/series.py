"""Figures over time as a page holds them: each where it changes, so that a long series costs what happened in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pmapdiff.align import Sample, Samples
from pmapdiff.model import FIGURE_INDEX, Totals

FIGURES = ("footprint", "rss", "dirty", "swap", "size", "mappings")
"""What can be looked at: KiB, but for the number of mappings. The first that is known is the first to be shown."""
_INDEXES = tuple(FIGURE_INDEX[f"{figure}_kib"] for figure in FIGURES[:-1])

Values = tuple[int | None, ...]
"""A value for each of `FIGURES`; None where the source does not have it."""
NONE_THERE: Values = (0,) * len(FIGURES)


def values_of(known: Sample | Totals) -> Values:
    """The figures of a sample or of the totals of a table."""
    return (*[known.figures[index] for index in _INDEXES], known.mappings)


@dataclass(frozen=True, slots=True)
class Series:
    """The figures of a region, a family or a process through a history: these from each step (place of a snapshot) on, None for a gap."""

    runs: tuple[tuple[int, Values | None], ...]
    size: int

    @classmethod
    def of(cls, samples: Samples) -> Series:
        """A series that has gaps where there is no table, also before the first one and after the last."""
        return cls.at_steps(
            [(0, NONE_THERE), *((step, values_of(sample)) for step, sample in samples.runs)],
            samples.tables,
            samples.size,
        )

    @classmethod
    def of_sum(cls, several: Sequence[Samples]) -> Series:
        """The same of several regions of one service together."""
        first = several[0]
        if len(several) == 1:
            return cls.of(first)
        events: dict[int, list[tuple[Values, int]]] = defaultdict(list)
        for samples in several:
            before = NONE_THERE
            for step, sample in samples.runs:
                known = values_of(sample)
                if known != before:
                    events[step] += ((before, -1), (known, 1))
                    before = known
        return cls.at_steps(_running_sums(events), first.tables, first.size)

    @classmethod
    def of_totals(cls, totals: Sequence[Totals | None]) -> Series:
        """The same of the totals of a process, as they are."""
        known = [(step, values_of(total)) for step, total in enumerate(totals) if total is not None]
        return cls.at_steps(known, [step for step, _ in known], len(totals))

    @classmethod
    def at_steps(cls, changes: Sequence[tuple[int, Values]], tables: Sequence[int], size: int) -> Series:
        """A series that is known at some steps, where these are the values from a step on."""
        runs: list[tuple[int, Values | None]] = []
        pending = iter((*changes, (size, NONE_THERE)))
        current, (following, coming) = NONE_THERE, next(pending)
        expected = 0
        for step in tables:
            if step > expected:
                runs.append((expected, None))
            while step >= following:
                current = coming
                following, coming = next(pending)
            if not runs or runs[-1][1] != current:
                runs.append((step, current))
            expected = step + 1
        if expected < size:
            runs.append((expected, None))
        return cls(tuple(runs), size)

    def values(self, figure: str) -> list[int | None]:
        """One figure at each step."""
        index = FIGURES.index(figure)
        values: list[int | None] = []
        for (step, known), (end, _) in pairwise((*self.runs, (self.size, None))):
            values += [None if known is None else known[index]] * (end - step)
        return values

    def at(self, step: int) -> Values | None:
        """All figures at one step."""
        found = None
        for start, known in self.runs:
            if start > step:
                break
            found = known
        return found

    def encoded(self, figure: str) -> list[int | None]:
        """Pairs of numbers: so many steps after the last change the figure is by so much more than it last was; None: it is not known."""
        index = FIGURES.index(figure)
        pairs: list[int | None] = []
        last_step = last_value = 0
        current: int | None = -1  # which no figure is
        for step, known in self.runs:
            value = None if known is None else known[index]
            if value != current:
                pairs += [step - last_step, None if value is None else value - last_value]
                last_step, current = step, value
                last_value = last_value if value is None else value
        return pairs


def together(several: Sequence[tuple[Series, range]], size: int) -> Series:
    """The sum over processes, each from its first step to its last: where it was not captured, its last figures stand."""
    events: dict[int, list[tuple[Values, int]]] = defaultdict(list)
    for series, life in several:
        before: Values | None = None
        for step, known in (*((step, known) for step, known in series.runs if step in life), (life.stop, NONE_THERE)):
            if known is not None and known != before:
                if before is not None:
                    events[step].append((before, -1))
                events[step].append((known, 1))
                before = known
    return Series.at_steps([(step, values) for step, values in _running_sums(events) if step < size], range(size), size)


def _running_sums(events: dict[int, list[tuple[Values, int]]]) -> list[tuple[int, Values]]:
    """What values add up to from each step on, at which some come (1) and some go (-1); nothing before the first."""
    sums, lacking = [0] * len(FIGURES), [0] * len(FIGURES)
    runs = [(0, NONE_THERE)]
    for step in sorted(events):
        for values, sign in events[step]:
            for index, value in enumerate(values):
                if value is None:
                    lacking[index] += sign
                else:
                    sums[index] += sign * value
        runs.append((step, tuple([None if missing else value for value, missing in zip(sums, lacking, strict=True)])))
    return runs


def thinned(values: Sequence[int | None], most: int) -> list[int | None]:
    """At most so many values, each the largest of several that follow each other."""
    if len(values) <= most:
        return list(values)
    edges = [len(values) * i // most for i in range(most + 1)]
    return [max((v for v in values[a:b] if v is not None), default=None) for a, b in pairwise(edges)]
