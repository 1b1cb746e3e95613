"""What the tables show of a finding, in words: never more than they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pmapdiff.align import RegionHistory
from pmapdiff.analyse.result import Trend, Verdict
from pmapdiff.analyse.series import SHARED_FAMILIES, Series, ServiceSeries
from pmapdiff.model import FIGURE_INDEX
from pmapdiff.text import printable
from pmapdiff.units import format_delta_kib, format_kib, plural

_RSS, _PSS, _SIZE, _SWAP, _HUGE = (FIGURE_INDEX[f"{name}_kib"] for name in ("rss", "pss", "size", "swap", "anon_huge_pages"))
_CONSISTENT = {
    "heap": "consistent with small blocks of malloc that are not freed, or that are freed between others that are not",
    "malloc-arena": "consistent with what threads allocate and do not free, or with free memory that glibc keeps for each thread",
    "thread-stack": "consistent with threads that never end, or end and are never joined",
    "anon": "consistent with blocks of malloc of 128 KiB and more, other allocators' memory, or mmap",
    "managed-heap": "consistent with objects that are held, or with garbage that was not collected yet",
    "jit": "consistent with code that is generated again and again",
    "memfd": "consistent with memory files that nobody closes",
    "shm": "consistent with objects in /dev/shm, or shared anonymous memory, that nobody unmaps or removes",
    "sysv-shm": "consistent with segments that nobody detaches or removes",
}


def evidence_for(series: ServiceSeries, family: str, regions: Sequence[RegionHistory], values: Series, trend: Trend) -> tuple[str, ...]:
    """What regions of one family show; the first line is the one to read."""
    words: list[str] = []
    if trend.verdict is Verdict.GROWING:
        words.append(_shape(series, family, regions, trend))
        words += _threads(series, family)
        words += _kinds(series, regions, trend)
        if family in _CONSISTENT:
            words.append(_CONSISTENT[family])
    else:
        words.append(_course(values, trend))
    return tuple(words)


def _course(values: Series, trend: Trend) -> str:
    known = values.known().values
    low, high, last = float(known.min()), float(known.max()), float(known[-1])
    if trend.verdict is Verdict.SAWTOOTH:
        return f"between {format_kib(round(low))} and {format_kib(round(high))}, freed again and again; what is left each time does not grow"
    if trend.verdict is Verdict.SHRINKING:
        return f"from {format_kib(round(float(known[0])))} to {format_kib(round(last))}"
    if trend.verdict is Verdict.STEP:
        stays = abs(float(known[-3:].min()) - last) <= 0.1 * abs(trend.delta)
        return f"from {format_kib(round(float(known[0])))} to {format_kib(round(last))} at a stroke" + ("; since then it keeps that size" * stays)
    ends = f"from {format_kib(round(float(known[0])))} to {format_kib(round(last))}"
    most = f", at most {format_kib(round(high))}" if high > 1.05 * last else ""
    return f"{ends}{most}; {'it grows more and more slowly' if trend.low > 0 else 'it has come to rest'}"


def _shape(series: ServiceSeries, family: str, regions: Sequence[RegionHistory], trend: Trend) -> str:
    """How it grows: new mappings, larger ones, or memory that had been reserved."""
    steps, first, last = _ends(series, trend)
    before = {known.id: _mappings_at(known, steps[first]) for known in regions}
    after = {known.id: _mappings_at(known, steps[last]) for known in regions}
    came = [known for known in regions if not before[known.id] and after[known.id]]
    went = [known for known in regions if before[known.id] and not after[known.id]]
    sizes = series.sizes_of(regions).values
    grown_size = float(sizes[last] - sizes[first])
    stayed = [known for known in regions if before[known.id] and after[known.id]]
    in_new = sum(_figure(known, steps[last], series.index) for known in came)
    if came and in_new >= 0.5 * max(trend.delta, 1):
        return _new_ones(family, came, steps[last]) + (f"; {plural(len(went), 'other')} went" if went else "")
    if np.isnan(grown_size):
        return "the tables do not say how large its address space is: whether it is used more, or larger, is not known"
    if len(stayed) == 1 and grown_size > 0:
        return _one_grew(stayed[0], steps[first], steps[last])
    if grown_size < 0.1 * max(trend.delta, 1):
        room = float(sizes[last]) - sum(_figure(known, steps[last], _RSS) for known in stayed)
        more = format_kib(round(max(room, 0)))
        return f"its address space is as large as before: memory that had been mapped is used more and more, which ends at {more} more"
    together = format_delta_kib(round(grown_size))
    return f"{plural(len(stayed), 'region')} stayed, {len(came):,} came, {len(went):,} went; together {together} of address space"


def _new_ones(family: str, came: Sequence[RegionHistory], step: int) -> str:
    """`412 new 64 MiB-aligned rw-p/---p pairs: glibc arenas`."""
    if family == "malloc-arena":
        aligned = sum((_start(known, step) >> 20) % 64 == 0 for known in came)
        return f"{plural(max(aligned, 1), 'new 64 MiB-aligned rw-p/---p pair')}: glibc arenas"
    if family == "thread-stack":
        return f"{plural(len(came), 'new mapping')} of thread stacks with their guards"
    names = Counter(known.region.label.name for known in came)
    sizes = Counter(int(_figure(known, step, _SIZE)) for known in came)
    common, number = sizes.most_common(1)[0]
    alike = f", {number:,} of them of {format_kib(common)}" if number > 1 and number >= 0.5 * len(came) else ""
    name, of_name = names.most_common(1)[0]
    what = f" {printable(name)}" if of_name == len(came) else ""
    return f"{plural(len(came), 'new mapping')}{what}{alike}"


def _one_grew(known: RegionHistory, before: int, after: int) -> str:
    one, other = known.samples[before], known.samples[after]
    assert one is not None
    assert other is not None
    size = f"from {format_kib(one.figures[_SIZE])} to {format_kib(other.figures[_SIZE])}"
    if format_kib(one.figures[_SIZE]) == format_kib(other.figures[_SIZE]):
        size = f"by {format_kib((other.figures[_SIZE] or 0) - (one.figures[_SIZE] or 0))}, to {format_kib(other.figures[_SIZE])}"
    if one.end == other.end and one.start != other.start:
        return f"one region grows downward, its end stays: {size}"
    if one.start == other.start and one.end != other.end:
        return f"one region grows at its end: {size}"
    return f"one region grows: {size}"


def _threads(series: ServiceSeries, family: str) -> list[str]:
    if family not in ("malloc-arena", "thread-stack", "anon"):
        return []
    counts = [capture.threads for step in series.steps if (capture := series.service.captures[step]) is not None and capture.threads is not None]
    if not counts or (family == "anon" and max(counts) == min(counts)):
        return []
    if max(counts) - min(counts) <= max(1, 0.05 * max(counts)):
        stable = f"Threads stable at {counts[-1]:,}"
        return [f"{stable}: the stacks of threads that ended were kept" if family == "thread-stack" else stable]
    return [f"Threads from {counts[0]:,} to {counts[-1]:,}, at most {max(counts):,}"]


def _kinds(series: ServiceSeries, regions: Sequence[RegionHistory], trend: Trend) -> list[str]:
    """What the kernel did with it: swapped out, in huge pages."""
    steps, first, last = _ends(series, trend)
    words = []
    for index, text in ((_SWAP, "of it was swapped out"), (_HUGE, "of it in huge pages, of which a few bytes in each may be used")):
        gained = sum(_figure(known, steps[last], index) - _figure(known, steps[first], index) for known in regions)
        if gained >= 0.2 * max(trend.delta, 1):
            words.append(f"{format_kib(round(gained))} {text}")
    seen, counted = (sum(_figure(known, steps[last], index) for known in regions) for index in (_RSS, _PSS))
    if regions and regions[0].region.label.family in SHARED_FAMILIES and counted > 0 and seen >= 1.5 * counted:
        words.append(f"other processes map it, too: what counts here is this one's share, in all it grows {seen / counted:.1f} times as fast")
    return words


def evidence_for_mappings(series: ServiceSeries, trend: Trend) -> tuple[tuple[str, ...], list[RegionHistory]]:
    """Which families the new mappings are of, and the largest regions among them."""
    steps, first, last = _ends(series, trend)
    gains: Counter[str] = Counter()
    by_region: list[tuple[int, RegionHistory]] = []
    for known in series.service.regions:
        gained = _mappings_at(known, steps[last]) - _mappings_at(known, steps[first])
        gains[known.region.label.family] += gained
        by_region.append((gained, known))
    family, number = gains.most_common(1)[0]
    count = series.mappings().values
    words = [f"from {int(count[first]):,} to {int(count[last]):,} mappings; {number:,} of them {family}"]
    memory = series.total.values
    if not np.isnan(memory[[first, last]]).any() and memory[last] - memory[first] < 4.0 * trend.delta:
        words.append(
            f"{series.figure} grew by {format_kib(round(max(memory[last] - memory[first], 0)))} only: neighbours that do "
            f"not merge, as their permissions differ"
        )
    by_region.sort(key=lambda item: -item[0])
    return tuple(words), [known for gained, known in by_region if gained > 0]


def evidence_for_cache(series: ServiceSeries, trend: Trend) -> tuple[tuple[str, ...], list[RegionHistory]]:
    """Which files are read, the largest first."""
    steps, first, last = _ends(series, trend)
    gains = []
    for known in series.service.regions:
        label = known.region.label
        if label.path is None:
            continue
        gained = _figure(known, steps[last], _RSS) - _figure(known, steps[first], _RSS)
        if gained > 0:
            gains.append((gained, known))
    gains.sort(key=lambda item: -item[0])
    dirty = sum(
        _figure(known, steps[last], FIGURE_INDEX["dirty_kib"]) - _figure(known, steps[last], FIGURE_INDEX["anonymous_kib"]) for _, known in gains
    )
    words = [f"{format_delta_kib(round(trend.delta))} of pages of files, while what cannot be dropped for free did not grow by that"]
    if dirty >= 0.2 * max(trend.delta, 1):
        words.append(f"{format_kib(round(dirty))} of it is dirty and must be written first")
    top = [known for gained, known in gains if gained >= 0.1 * max(trend.delta, 1)]
    return tuple(words), top or [known for _, known in gains[:1]]


def _ends(series: ServiceSeries, trend: Trend) -> tuple[tuple[int, ...], int, int]:
    """The steps, and the places of the onset (within the last incarnation) and of the end among them."""
    begin = int(np.searchsorted(series.moments_us, trend.onset_us)) if trend.onset_us is not None else 0
    mine = int(np.searchsorted(series.life, series.life[-1]))
    return series.steps, min(max(begin, mine), len(series.steps) - 1), len(series.steps) - 1


def _mappings_at(known: RegionHistory, step: int) -> int:
    sample = known.samples[step]
    return 0 if sample is None else sample.mappings


def _start(known: RegionHistory, step: int) -> int:
    sample = known.samples[step]
    return 0 if sample is None else sample.start


def _figure(known: RegionHistory, step: int, index: int) -> float:
    sample = known.samples[step]
    return 0.0 if sample is None else float(sample.figures[index] or 0)
