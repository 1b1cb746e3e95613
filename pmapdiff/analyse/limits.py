"""How long it takes until something is full, if it goes on like this."""

from __future__ import annotations

from dataclasses import replace

from pmapdiff.align import History, ServiceHistory
from pmapdiff.analyse.result import Figure, TimeToLimit, Trend

# include/linux/mm.h, DEFAULT_MAX_MAP_COUNT, 2.6 to 6.18.
_DEFAULT_MAX_MAP_COUNT = 65_530


def _until(what: str, limit: int, used: int, trend: Trend) -> TimeToLimit | None:
    left = max(limit - used, 0)
    if trend.high <= 0:
        return None
    return TimeToLimit(what, limit, used, left / trend.high, left / trend.low if trend.low > 0 else None)


def limits_of(
    history: History, service: ServiceHistory, last: int, figure: Figure, trend: Trend, used: int, sharers: float = 1.0
) -> tuple[TimeToLimit, ...]:
    """The limits that a growing figure reaches, the next one first: as of step `last`, the last capture, which says what they are.

    `used` is the process's memory in KiB (or the number of its mappings) there; `sharers` is by how many processes growing shared memory is mapped.
    """
    ref, capture = history.snapshots[last], service.captures[last]
    found: list[TimeToLimit | None] = []
    if figure is Figure.MAPPINGS:
        return tuple(known for known in [_until("vm.max_map_count", ref.max_map_count or _DEFAULT_MAX_MAP_COUNT, used, trend)] if known)
    trend = replace(trend, slope=trend.slope * sharers, low=trend.low * sharers, high=trend.high * sharers)
    if capture is not None and capture.cgroup_limit_bytes is not None:
        found.append(_until("cgroup limit", capture.cgroup_limit_bytes >> 10, max(used, _used_in_cgroup(history, service, last)), trend))
    if ref.mem_total_kib is not None:
        found.append(_until("MemTotal", ref.mem_total_kib, used, trend))
    if figure is Figure.SIZE and service.process.rlimit_as_bytes is not None:
        found.append(_until("RLIMIT_AS", service.process.rlimit_as_bytes >> 10, used, trend))
    return tuple(sorted((known for known in found if known is not None), key=lambda known: known.low_hours))


def _used_in_cgroup(history: History, service: ServiceHistory, step: int) -> int:
    """KiB of the cgroup's memory that its recorded processes hold; its own count has page cache as well, which goes before the limit is reached."""
    cgroup = service.process.cgroup
    totals = [
        other.totals[step]
        for other in history.services
        if cgroup is not None and other.host == service.host and other.process.cgroup == cgroup and other.totals[step] is not None
    ]
    held = sum((known.get("footprint_kib") or 0) for known in totals if known is not None)
    capture = service.captures[step]
    usage = None if capture is None or capture.cgroup_usage_bytes is None else capture.cgroup_usage_bytes >> 10
    return held if usage is None else min(held, usage)


def fills_within(limits: tuple[TimeToLimit, ...], horizon_hours: float) -> bool:
    """Whether a limit is reached within so many hours, halfway between the earliest and the latest time."""
    return any(
        (known.low_hours + (known.high_hours if known.high_hours is not None else 4 * known.low_hours)) / 2 <= horizon_hours for known in limits
    )
