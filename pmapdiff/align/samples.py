"""The figures of a region, or of several together, through a series: kept where they change, given for every snapshot."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pmapdiff.model import FIGURES, Figures
from pmapdiff.model.counters import sum_figures


class Sample(NamedTuple):
    """A region in one snapshot: the number of its mappings, from where to where they lie, and their figures in KiB.

    One without mappings was not there: then its figures are 0. The sum of several regions lies nowhere: its `end` is 0.
    """

    mappings: int
    start: int
    end: int
    figures: Figures


NOT_THERE = Sample(0, 0, 0, sum_figures(()))


@dataclass(frozen=True, slots=True)
class Samples:
    """A sample a snapshot, None where there is no table: a gap.

    `runs` are the steps (positions in the series) from which on it was this sample; before the first it was not there. `tables` are the steps
    that have a table, in their order, and every run begins at one of them. `size` is the number of snapshots. A long series of a large table costs
    no more than what changed in it.
    """

    runs: tuple[tuple[int, Sample], ...]
    tables: Sequence[int]
    size: int

    def __len__(self) -> int:
        """The number of snapshots."""
        return self.size

    def __iter__(self) -> Iterator[Sample | None]:
        """The sample of each snapshot."""
        known: list[Sample | None] = [None] * self.size
        runs = iter((*self.runs, (self.size, NOT_THERE)))
        current, (following, coming) = NOT_THERE, next(runs)
        for step in self.tables:
            while step >= following:
                current = coming
                following, coming = next(runs)
            known[step] = current
        return iter(known)

    def __getitem__(self, step: int) -> Sample | None:
        """The sample of one snapshot, by its place in the series."""
        place = bisect_right(self.tables, step)
        if not place or self.tables[place - 1] != step:
            return None
        run = bisect_right(self.runs, step, key=lambda known: known[0])
        return self.runs[run - 1][1] if run else NOT_THERE

    def distinct(self) -> Iterator[Sample]:
        """The samples one after the other, each only where it is not the one before."""
        if self.tables and (not self.runs or self.runs[0][0] > self.tables[0]):
            yield NOT_THERE
        for _, sample in self.runs:
            yield sample


def add_samples(rows: Sequence[Samples], tables: Sequence[int], size: int) -> Samples:
    """The sum of several regions of one service, of which all have the same tables. O(n) in what changes in them."""
    events: dict[int, tuple[list[Sample], list[Sample]]] = defaultdict(lambda: ([], []))
    for row in rows:
        before = NOT_THERE
        for step, sample in row.runs:
            events[step][0].append(before)
            events[step][1].append(sample)
            before = sample
    mappings, known, missing = 0, [0] * len(FIGURES), [0] * len(FIGURES)
    runs: list[tuple[int, Sample]] = []
    for step in sorted(events):
        for sign, samples in zip((-1, 1), events[step], strict=True):
            mappings += sign * sum(sample.mappings for sample in samples)
            for index, column in enumerate(zip(*(sample.figures for sample in samples), strict=True)):
                lacking = column.count(None)
                missing[index] += sign * lacking
                known[index] += sign * sum(v for v in column if v is not None)
        figures = tuple([None if lacking else value for value, lacking in zip(known, missing, strict=True)])
        runs.append((step, Sample(mappings, 0, 0, figures)))
    return Samples(tuple(runs), tables, size)
