"""The series of a service: its figures at each snapshot, incarnation by incarnation, for the whole, each family and each region.

A capture that was torn, or of which only a part is there, is a gap, unless there is hardly anything else. What is missing is left out, never 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pmapdiff.align import History, RegionHistory, Samples, ServiceHistory
from pmapdiff.analyse.lines import Values
from pmapdiff.analyse.result import Figure
from pmapdiff.model import FIGURE_INDEX, Figures, Status, Totals

_WHOLE = (Status.COMPLETE, Status.MAPS_ONLY)
FILE_FAMILIES = frozenset({"file", "image", "device", "kernel"})
SHARED_FAMILIES = frozenset({"shm", "sysv-shm", "memfd"})
# What was mapped at once and is used bit by bit ends where it ends; allocators and runtimes reserve more when they have used up what they had.
BOUNDED_FAMILIES = frozenset({*SHARED_FAMILIES, "anon", "image", "stack"})
_HOUR_US = 3.6e9
_FOOTPRINT, _RSS, _PSS, _SIZE, _ANONYMOUS, _LAZY_FREE = (
    FIGURE_INDEX[f"{name}_kib"] for name in ("footprint", "rss", "pss", "size", "anonymous", "lazy_free")
)


@dataclass(frozen=True, slots=True)
class Series:
    """Values at times that rise, in hours since the first snapshot, NaN where one is missing; `life` numbers the incarnations."""

    hours: Values
    values: Values
    life: NDArray[np.int64]

    def known(self) -> Series:
        """The same without what is missing."""
        there = ~np.isnan(self.values)
        return self if there.all() else Series(self.hours[there], self.values[there], self.life[there])

    def lives(self) -> list[tuple[Values, Values]]:
        """Times and values of each incarnation that has any."""
        return [(self.hours[mine], self.values[mine]) for number in np.unique(self.life) for mine in (self.life == number,)]

    def rounded(self) -> tuple[int | None, ...]:
        """The values as whole numbers, None where one is missing."""
        return tuple(None if np.isnan(value) else round(value) for value in self.values.tolist())

    @property
    def extent(self) -> float:
        """The largest value less the smallest; 0 where there is none."""
        known = self.values[~np.isnan(self.values)]
        return float(np.ptp(known)) if len(known) else 0.0


class ServiceSeries:
    """All series of one service."""

    def __init__(self, history: History, service: ServiceHistory) -> None:
        self.service = service
        captured = [step for step, capture in enumerate(service.captures) if capture is not None]
        with_table = [step for step in captured if service.totals[step] is not None]
        whole = [step for step in with_table if _status(service, step) in _WHOLE]
        self.uses_damaged = len(whole) < 0.5 * len(with_table)
        self.steps: tuple[int, ...] = tuple(with_table if self.uses_damaged else whole)
        self.left_out = len(with_table) - len(self.steps)
        self.without_table = len(captured) - len(with_table)
        self.origin_us = history.snapshots[self.steps[0]].taken_at_us if self.steps else 0
        self.moments_us = np.array([history.snapshots[step].taken_at_us for step in self.steps], dtype=np.int64)
        order = np.argsort(self.moments_us, kind="stable")
        # Two recorders, or tables that were imported as of one time: of those of one moment the last, as no line goes through two of them.
        order = order[np.append(np.diff(self.moments_us[order]) > 0, True)] if len(order) else order
        self.steps, self.moments_us = tuple(self.steps[i] for i in order), self.moments_us[order]
        self.hours = (self.moments_us - (self.moments_us[0] if len(self.moments_us) else 0)) / _HOUR_US
        begins = sorted(known.step for known in service.incarnations[1:])
        self.life = np.searchsorted(np.array(begins, dtype=np.int64), np.array(self.steps, dtype=np.int64), side="right").astype(np.int64)
        self.figure = self._figure()

    def _figure(self) -> Figure:
        """What the memory of this service is measured in: what all its tables have."""
        totals = [self._totals(step) for step in self.steps]
        for figure, index in ((Figure.FOOTPRINT, _FOOTPRINT), (Figure.RSS, _RSS)):
            known = sum(t.figures[index] is not None for t in totals)
            if known and known >= 0.5 * len(totals):
                return figure
        return Figure.SIZE

    @property
    def index(self) -> int:
        """The place of that figure among `FIGURES`."""
        return {Figure.FOOTPRINT: _FOOTPRINT, Figure.RSS: _RSS}.get(self.figure, _SIZE)

    def _totals(self, step: int) -> Totals:
        totals = self.service.totals[step]
        assert totals is not None
        return totals

    def _series(self, values: Iterable[float | None]) -> Series:
        return Series(self.hours, np.array([np.nan if v is None else v for v in values], dtype=np.float64), self.life)

    @cached_property
    def total(self) -> Series:
        """The figure of the whole process; where it is not the footprint, without files, most of which are page cache."""
        if self.figure is not Figure.FOOTPRINT:
            return self.sum_of([known for family, regions in self._families.items() if family not in FILE_FAMILIES for known in regions])
        return self._series(_held(self._totals(step).figures, self.index) for step in self.steps)

    def mappings(self) -> Series:
        """The number of mappings."""
        return self._series(self._totals(step).mappings for step in self.steps)

    @cached_property
    def _families(self) -> dict[str, list[RegionHistory]]:
        groups: dict[str, list[RegionHistory]] = defaultdict(list)
        for known in self.service.regions:
            groups[known.region.label.family].append(known)
        return groups

    def families(self) -> dict[str, list[RegionHistory]]:
        """The regions of each family."""
        return self._families

    def region(self, samples: Samples) -> Series:
        """The figure of a region."""
        return Series(self.hours, self._column(samples, self.index), self.life)

    def sum_of(self, regions: Sequence[RegionHistory]) -> Series:
        """The figure of several regions together."""
        values = np.zeros(len(self.steps))
        for known in regions:
            values += self._column(known.samples, self.index)
        return Series(self.hours, values, self.life)

    def count_of(self, regions: Sequence[RegionHistory]) -> Series:
        """The number of mappings of several regions together."""
        values = np.zeros(len(self.steps))
        for known in regions:
            values += self._column(known.samples, None)
        return Series(self.hours, values, self.life)

    def sizes_of(self, regions: Sequence[RegionHistory]) -> Series:
        """The address space of several regions together, in KiB."""
        values = np.zeros(len(self.steps))
        for known in regions:
            values += self._column(known.samples, _SIZE)
        return Series(self.hours, values, self.life)

    def room(self, regions: Sequence[RegionHistory], delta: float) -> float | None:
        """How many KiB of some regions are mapped and not used yet, where they grew by `delta` KiB without their address space; else None."""
        sizes = self.sizes_of(regions).values
        if not len(sizes) or np.isnan(sizes[[0, -1]]).any() or sizes[-1] - sizes[0] >= 0.1 * max(delta, 1):
            return None
        used = sum((sample.figures[_RSS] or 0) for known in regions if (sample := known.samples[self.steps[-1]]) is not None)
        return max(0.0, float(sizes[-1]) - used)

    def sharers(self, regions: Sequence[RegionHistory]) -> float:
        """By how many processes some regions are mapped at the end, by Rss and Pss; at least 1."""
        samples = [sample for known in regions if (sample := known.samples[self.steps[-1]]) is not None]
        rss, pss = (sum(sample.figures[index] or 0 for sample in samples) for index in (_RSS, _PSS))
        return max(1.0, rss / pss) if pss else 1.0

    def is_on_no_disk(self, known: RegionHistory) -> bool:
        """Whether no block device is behind a file (major 0), so that it may be memory."""
        return any(mapping.device is not None and mapping.device.startswith("00:") for mapping in known.region.spans[0][1])

    def cached(self) -> Series:
        """Rss that is not in the footprint: pages of files; nothing where that cannot be told."""
        values = np.zeros(len(self.steps))
        for family, regions in self._families.items():
            if family not in SHARED_FAMILIES:
                for known in regions:
                    if any(sample.figures[_RSS] for _, sample in known.samples.runs):
                        values += np.maximum(self._column(known.samples, _RSS) - self._column(known.samples, _ANONYMOUS), 0.0)
        return Series(self.hours, values, self.life)

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
        """The steps, and which of them have no table of mappings (None: all have one): the same for all regions of a service."""
        steps = np.array(self.steps, dtype=np.int64)
        if not self.service.regions:
            return steps, None
        samples = self.service.regions[0].samples
        there = np.zeros(len(samples), dtype=bool)
        there[np.array(samples.tables, dtype=np.int64)] = True
        missing = ~there[steps]
        return steps, missing if missing.any() else None

    def _column(self, samples: Samples, index: int | None) -> Values:
        """One figure of a region at each step (the number of its mappings without an index); NaN where it has none."""
        steps, missing = self._places
        amounts = [0.0, *[float(sample.mappings) if index is None else _amount(_held(sample.figures, index)) for _, sample in samples.runs]]
        if len(amounts) == 2 and len(steps) and samples.runs[0][0] <= steps.min():
            # Most regions never change.
            found: Values = np.full(len(steps), amounts[1])
        else:
            starts = np.array([step for step, _ in samples.runs], dtype=np.int64)
            found = np.array(amounts)[np.searchsorted(starts, steps, side="right")]
        if missing is not None:
            found[missing] = np.nan
        return found


def _held(figures: Figures, index: int) -> int | None:
    """A figure; the footprint without what the process has told the kernel to take when it needs it (MADV_FREE, Linux 4.12)."""
    value = figures[index]
    return value if index != _FOOTPRINT or value is None else max(0, value - (figures[_LAZY_FREE] or 0))


def _amount(value: int | None) -> float:
    return float("nan") if value is None else float(value)


def _status(service: ServiceHistory, step: int) -> Status | None:
    capture = service.captures[step]
    return None if capture is None else capture.status
