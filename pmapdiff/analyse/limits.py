"""How long it takes until something is full, if it goes on like this."""

from __future__ import annotations

from pmapdiff.align import History, ServiceHistory
from pmapdiff.analyse.result import Figure, TimeToLimit, Trend

# include/linux/mm.h, DEFAULT_MAX_MAP_COUNT, 2.6 to 6.18.
_DEFAULT_MAX_MAP_COUNT = 65_530


def _until(what: str, limit: int, used: int, trend: Trend) -> TimeToLimit | None:
    left = max(limit - used, 0)
    if trend.high <= 0:
        return None
    return TimeToLimit(what, limit, used, left / trend.high, left / trend.low if trend.low > 0 else None)


def limits_of(history: History, service: ServiceHistory, steps: tuple[int, ...], figure: Figure, trend: Trend, used: int) -> tuple[TimeToLimit, ...]:
    """The limits that a growing figure reaches, the next one first: of its last captures that say what they are.

    `used` is the process's memory in KiB (or the number of its mappings) at the end.
    """
    last = steps[-1]
    ref, capture = history.snapshots[last], service.captures[last]
    found: list[TimeToLimit | None] = []
    if figure is Figure.MAPPINGS:
        return tuple(known for known in [_until("vm.max_map_count", ref.max_map_count or _DEFAULT_MAX_MAP_COUNT, used, trend)] if known)
    if capture is not None and capture.cgroup_limit_bytes is not None:
        # The cgroup holds other processes, too, and its page cache, which goes first.
        found.append(_until("cgroup limit", capture.cgroup_limit_bytes >> 10, used, trend))
    if ref.mem_total_kib is not None:
        found.append(_until("MemTotal", ref.mem_total_kib, used, trend))
    if figure is Figure.SIZE and service.process.rlimit_as_bytes is not None:
        found.append(_until("RLIMIT_AS", service.process.rlimit_as_bytes >> 10, used, trend))
    return tuple(sorted((known for known in found if known is not None), key=lambda known: known.low_hours))


def fills_within(limits: tuple[TimeToLimit, ...], horizon_hours: float) -> bool:
    """Whether a limit is reached within so many hours, halfway between the earliest and the latest time."""
    return any(
        (known.low_hours + (known.high_hours if known.high_hours is not None else 4 * known.low_hours)) / 2 <= horizon_hours for known in limits
    )
