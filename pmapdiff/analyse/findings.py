"""The findings of one service: which families and regions keep growing, and what else did not stay as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pmapdiff.align import History, RegionHistory, ServiceHistory
from pmapdiff.analyse.advice import Allocator, Runtime, allocator_of, runtime_of, suggestion_for
from pmapdiff.analyse.evidence import evidence_for, evidence_for_cache, evidence_for_mappings
from pmapdiff.analyse.limits import fills_within, limits_of
from pmapdiff.analyse.lives import trend_of
from pmapdiff.analyse.result import Figure, Finding, TimeToLimit, Trend, Verdict
from pmapdiff.analyse.series import BOUNDED_FAMILIES, FILE_FAMILIES, SHARED_FAMILIES, Series, ServiceSeries
from pmapdiff.text import printable

MAPPING_COUNT = "mapping-count"
# What glibc adds to [heap] at once (M_TOP_PAD, malloc/malloc.c): what grew by less may be a single step.
LEAST_KIB = 132
LEAST_MAPPINGS = 16
_LEAST_CACHE_KIB = 1024
# Growth that is a smaller part of the process than this is no news: if it fills the memory in time all the same, only where it is less than 4 MiB.
_LEAST_SHARE = 0.05
_LEAST_URGENT_KIB = 4 << 10
# … or, where it is as straight as a ruler, less than 1 MiB.
_LEAST_CERTAIN_KIB, _CERTAIN = 1 << 10, 1e-6
# Where nobody knows how much memory there is: what grows by less than this in time fills nothing.
_SMALL_MEMORY_KIB = 256 << 10
_SOON_HOURS = 24.0
_OWN_REGION = 0.1
# One of many without a name is only worth a finding of its own if it is nearly all of it.
_MOST_OF_IT = 0.7
_MOST_REGIONS = 5
_ORDER = (Verdict.GROWING, Verdict.PLATEAU, Verdict.STEP, Verdict.SAWTOOTH, Verdict.SHRINKING, Verdict.CACHE)


class Findings:
    """Looks at one service; `horizon_hours` is within which time growth must fill something to be urgent."""

    def __init__(self, history: History, service: ServiceHistory, horizon_hours: float) -> None:
        self.series = ServiceSeries(history, service)
        self._history, self._service, self._horizon = history, service, horizon_hours
        self._runtime: Runtime | None = None
        self._allocator: Allocator | None = None
        self._total_series = self.series.total if self.series.steps else None
        self.total = Trend(Verdict.TOO_SHORT) if self._total_series is None else self._trend(self._total_series, LEAST_KIB)
        self._end_kib = 0
        if self._total_series is not None and len(known := self._total_series.known().values):
            self._end_kib = int(known[-1])

    def _trend(self, series: Series, least: float) -> Trend:
        return trend_of(series, self.series.origin_us, least)

    def all(self, only: str | None = None) -> list[Finding]:
        """All findings, the worst first; of one family only, if that is asked for."""
        if not self.series.steps:
            return []
        found: list[Finding] = []
        for family, regions in self.series.families().items():
            if only in (None, family):
                found += self._of_family(family, regions)
        if only is None and self.total.verdict is Verdict.GROWING and not any(f.trend.verdict is Verdict.GROWING for f in found):
            found += self._of_the_whole({known.family for known in found})
        if only in (None, MAPPING_COUNT):
            found += self._of_mappings()
        if only in (None, "file", "image"):
            found += self._of_cache()
        found.sort(key=_rank)
        return [replace(known, rank=place) for place, known in enumerate(found, start=1)]

    def _of_family(self, family: str, regions: Sequence[RegionHistory]) -> list[Finding]:
        if not any(_varies(known) for known in regions):
            return []
        series = self.series.sum_of(regions)
        if series.extent <= LEAST_KIB:
            return []
        trend = self._trend(series, LEAST_KIB)
        if self.series.figure is not Figure.FOOTPRINT and family in FILE_FAMILIES:
            # Here Rss is mostly page cache, and Size what was mapped of files.
            rising = trend.verdict in (Verdict.GROWING, Verdict.PLATEAU, Verdict.STEP) and trend.delta > 0
            return [self._finding(family, regions, series, replace(trend, verdict=Verdict.CACHE))] if rising and self._is_large(series) else []
        if trend.verdict is not Verdict.GROWING:
            if trend.verdict in (Verdict.STABLE, Verdict.TOO_SHORT) or not self._is_large(series):
                return []
            return [self._finding(family, regions, series, trend)]
        found: list[Finding] = []
        rest = list(regions)
        if len(regions) > 1:
            for known, of_region in self._leading(regions, trend):
                own = self._trend(of_region, LEAST_KIB)
                if own.verdict is Verdict.GROWING:
                    found.append(self._finding(family, [known], of_region, own))
                    rest = [other for other in rest if other is not known]
        left = self.series.sum_of(rest)
        remaining = self._gain(left, trend)
        if not found or remaining >= _OWN_REGION * max(trend.delta, 1):
            own = trend if not found else self._trend(left, LEAST_KIB)
            if own.verdict is Verdict.GROWING:
                found.append(self._finding(family, rest, left, own))
        return [known for known in found if self._matters(known)]

    def is_mostly(self, finding: Finding) -> bool:
        """Whether the growth of the process is nearly all that of a finding."""
        return finding.trend.delta >= _MOST_OF_IT * self.total.delta > LEAST_KIB

    def _is_large(self, series: Series) -> bool:
        return series.extent >= 0.02 * max(self._end_kib, 1)

    def _leading(self, regions: Sequence[RegionHistory], trend: Trend) -> list[tuple[RegionHistory, Series]]:
        """The regions that are each a good part of a family's growth, with their series."""
        gains = [(self._gain(series := self.series.region(known.samples), trend), known, series) for known in regions if _varies(known)]
        gains = [item for item in gains if item[0] >= (_MOST_OF_IT if _is_unnamed(item[1]) else _OWN_REGION) * max(trend.delta, 1)]
        return [(known, series) for _, known, series in sorted(gains, key=lambda item: -item[0])[:_MOST_REGIONS]]

    def _gain(self, series: Series, trend: Trend) -> float:
        """How much a series grew since the onset of a trend, within the last incarnation."""
        known = series.known()
        if not len(known.values):
            return 0.0
        since = 0.0 if trend.onset_us is None else (trend.onset_us - self.series.origin_us) / 3.6e9 - 1e-9
        mine = (known.life == known.life[-1]) & (known.hours >= since)
        values = known.values[mine]
        return float(values[-1] - values[0]) if len(values) else 0.0

    def _finding(self, family: str, regions: Sequence[RegionHistory], series: Series, trend: Trend) -> Finding:
        figure = self.series.figure
        if family in SHARED_FAMILIES and figure is Figure.FOOTPRINT:
            figure = Figure.SHARED
        growing = trend.verdict is Verdict.GROWING
        seen = self.series.sharers(regions) if figure is Figure.SHARED else 1.0
        limits = limits_of(self._history, self._service, self.series.steps[-1], figure, trend, self._end_kib, seen) if growing else ()
        room = self.series.room(regions, trend.delta) if growing and family in BOUNDED_FAMILIES else None
        ends = room is not None and all(room < known.limit - known.used for known in limits)
        if ends:
            limits = ()
        if self._runtime is None or self._allocator is None:
            self._runtime, self._allocator = runtime_of(self._service), allocator_of(self._service)
        moving = [known for known in regions if _varies(known)] or list(regions)
        return Finding(
            rank=0,
            family=family,
            name=_name_of(moving),
            figure=figure,
            trend=trend,
            share=self._share(trend) if growing else None,
            limits=limits,
            evidence=(*trend.words, *evidence_for(self.series, family, moving, series, trend)),
            suggestion=suggestion_for(family, self._runtime, self._allocator, self._service.process) if growing else "",
            region_ids=tuple(known.id for known in moving[:_MOST_REGIONS]),
            urgent=growing and not ends and self._is_urgent(limits, trend),
            series=series.rounded(),
        )

    def _is_urgent(self, limits: tuple[TimeToLimit, ...], trend: Trend) -> bool:
        if limits:
            return fills_within(limits, self._horizon)
        # Nobody knows how much there is: would it be twice as large in that time?
        return trend.slope * self._horizon >= max(self._end_kib, _SMALL_MEMORY_KIB)

    def _matters(self, finding: Finding) -> bool:
        least = _LEAST_SHARE * self._end_kib
        if finding.urgent:
            least = min(least, _LEAST_CERTAIN_KIB if finding.trend.p < _CERTAIN else _LEAST_URGENT_KIB)
        return finding.trend.delta >= least

    def _share(self, trend: Trend) -> float | None:
        assert self._total_series is not None
        whole = self._gain(self._total_series, trend)
        return min(1.0, trend.delta / whole) if whole > 0 and trend.delta > 0 else None

    def _of_the_whole(self, judged: set[str]) -> list[Finding]:
        """The process grows, but no family does it for all of the time: the one that grew most, under the trend of the whole.

        None if one family is nearly all of it, and it is known what that does.
        """
        assert self._total_series is not None
        gains = {family: self._gain(self.series.sum_of(regions), self.total) for family, regions in self.series.families().items()}
        if not gains:
            return []
        family = max(gains, key=lambda name: gains[name])
        if family in judged and gains[family] >= _MOST_OF_IT * self.total.delta:
            return []
        finding = self._finding(family, self.series.families()[family], self._total_series, self.total)
        finding = replace(finding, name=f"in all, most of it {family}", share=1.0)
        return [finding] if self._matters(finding) else []

    def _of_mappings(self) -> list[Finding]:
        series = self.series.mappings()
        if series.extent <= LEAST_MAPPINGS:
            return []
        trend = self._trend(series, LEAST_MAPPINGS)
        if trend.verdict is not Verdict.GROWING:
            return []
        used = int(series.values[-1])
        limits = limits_of(self._history, self._service, self.series.steps[-1], Figure.MAPPINGS, trend, used)
        urgent = fills_within(limits, self._horizon)
        if not urgent and trend.delta < 0.1 * used:
            return []
        evidence, regions = evidence_for_mappings(self.series, trend)
        suggestion = suggestion_for(MAPPING_COUNT, Runtime.NATIVE, Allocator.UNKNOWN, self._service.process)
        ids = tuple(known.id for known in regions[:_MOST_REGIONS])
        return [
            Finding(
                0,
                MAPPING_COUNT,
                "the number of mappings",
                Figure.MAPPINGS,
                trend,
                None,
                limits,
                (*trend.words, *evidence),
                suggestion,
                ids,
                urgent,
                series.rounded(),
            )
        ]

    def _of_cache(self) -> list[Finding]:
        if self.series.figure is not Figure.FOOTPRINT:
            return []
        series = self.series.cached()
        if series.extent <= max(_LEAST_CACHE_KIB, 0.02 * self._end_kib):
            return []
        trend = self._trend(series, _LEAST_CACHE_KIB)
        if trend.verdict not in (Verdict.GROWING, Verdict.PLATEAU, Verdict.STEP) or trend.delta <= 0:
            return []
        trend = replace(trend, verdict=Verdict.CACHE)
        evidence, regions = evidence_for_cache(self.series, trend)
        # Kernel without a block device behind it: tmpfs, but overlayfs, btrfs and NFS as well.
        may_be_memory = any(self.series.is_on_no_disk(known) for known in regions)
        suggestion = "No leak: the kernel drops these pages when it needs the memory" + (
            ", unless the file is on a tmpfs: findmnt -T FILE" * may_be_memory
        )
        name = _name_of(regions) if regions else "files"
        family = regions[0].region.label.family if regions else "file"
        ids = tuple(known.id for known in regions[:_MOST_REGIONS])
        return [Finding(0, family, name, Figure.CACHE, trend, None, (), evidence, suggestion, ids, series=series.rounded())]


def _varies(known: RegionHistory) -> bool:
    """Whether its samples are not all alike."""
    runs = known.samples.runs
    return len(runs) > 1 or bool(runs and known.samples.tables and runs[0][0] > known.samples.tables[0])


def _is_unnamed(known: RegionHistory) -> bool:
    return known.region.label.name == "[anon]"


def _name_of(regions: Sequence[RegionHistory]) -> str:
    """What people call some regions, safe to print."""
    names = {known.region.label.name for known in regions}
    if len(regions) == 1:
        return printable(next(iter(names)))
    return f"{len(regions):,} × {printable(names.pop())}" if len(names) == 1 else f"{len(regions):,} regions"


def _rank(finding: Finding) -> tuple[float, ...]:
    trend = finding.trend
    soonest = min((known.low_hours for known in finding.limits), default=np.inf)
    of_memory = finding.figure is not Figure.MAPPINGS
    # Mappings grow in number because some memory does, unless they are about to be too many.
    return (_place(trend.verdict), not of_memory and soonest > _SOON_HOURS, not finding.urgent, -abs(trend.delta) if of_memory else 0.0)


def _place(verdict: Verdict) -> int:
    return _ORDER.index(verdict) if verdict in _ORDER else len(_ORDER)
