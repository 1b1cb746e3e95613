"""How a process ended: its last capture beside what the kernel said when it killed it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pmapdiff.align import ServiceHistory
from pmapdiff.analyse.result import End, Figure, Trend, Verdict
from pmapdiff.analyse.series import ServiceSeries
from pmapdiff.model import FIGURE_INDEX
from pmapdiff.model.oom import OomKill
from pmapdiff.text import decode, printable
from pmapdiff.units import format_delta_kib, format_duration, format_kib, format_moment_local, plural

# comm, without its NUL (include/linux/sched.h, TASK_COMM_LEN).
_NAME_BYTES = 15
_CLOSE = 0.2
_FIGURES = ("rss_kib", "anonymous_kib", "swap_kib", "size_kib", "footprint_kib")


def kill_of(service: ServiceHistory, kills: Sequence[OomKill]) -> OomKill | None:
    """The report that tells of the end of this service, the newest."""
    for kill in reversed(kills):
        for known in service.incarnations:
            process = known.process
            if kill.pid != process.pid or kill.pid is None:
                continue
            if kill.name and process.comm and kill.name[:_NAME_BYTES] != process.comm[:_NAME_BYTES]:
                continue
            if kill.time_us is not None and process.started_at_us is not None and process.started_at_us > kill.time_us + 2_000_000:
                continue
            return kill
    return None


def end_of(series: ServiceSeries, trend: Trend, kill: OomKill | None, *, gone: bool) -> End | None:
    """How it was last seen, and what the kernel said; None if nobody said that it ended."""
    if kill is None and not gone:
        return None
    places = _until_kill(series, kill)
    if not places:
        return None
    step = series.steps[places[-1]]
    seen_us = int(series.moments_us[places[-1]])
    totals = series.service.totals[step]
    assert totals is not None
    known = {name: totals.figures[FIGURE_INDEX[name]] for name in _FIGURES}
    lines = [] if kill is None else _lines(kill, seen_us, known, trend, series.figure)
    return End(seen_us, known["footprint_kib"], known["rss_kib"], tuple(lines))


def _until_kill(series: ServiceSeries, kill: OomKill | None) -> list[int]:
    """The places of the captures of the process that was killed, up to then."""
    places = range(len(series.steps))
    if kill is None:
        return list(places)
    mine = [p for p in places if (capture := series.service.captures[series.steps[p]]) is not None and capture.process.pid == kill.pid]
    if kill.time_us is not None:
        mine = [p for p in mine if series.moments_us[p] <= kill.time_us]
    return mine


def _lines(kill: OomKill, seen_us: int, known: dict[str, int | None], trend: Trend, figure: Figure) -> list[str]:
    name = printable(decode(kill.name)) if kill.name else "it"
    who = "the kernel" if kill.killer == "kernel" else printable(kill.killer)
    when = f" at {format_moment_local(kill.time_us)}" if kill.time_us is not None else ""
    why = {"memcg": ": its cgroup had reached its limit", "system": ": the whole system was out of memory"}.get(kill.report.constraint or "", "")
    lines = [f"{who} killed {name}{when}{why}"]
    if kill.report.limit_kib is not None:
        cgroup = f" of {printable(decode(kill.report.cgroup))}" if kill.report.cgroup else ""
        lines.append(f"the limit{cgroup} was {format_kib(kill.report.limit_kib)}")
    parts = [
        (kill.anon_rss_kib, "anon-rss"),
        (kill.shmem_rss_kib, "shmem-rss"),
        (kill.file_rss_kib, "file-rss"),
        (kill.swap_kib, "swap"),
        (kill.total_vm_kib, "total-vm"),
    ]
    said = ", ".join(f"{title} {format_kib(value)}" for value, title in parts if value is not None)
    if said:
        lines.append(f"it had {said}")
    if kill.anon_rss_kib is not None:
        held = kill.anon_rss_kib + (kill.shmem_rss_kib or 0) + (kill.swap_kib or 0)
        lines += _compared(kill, held, seen_us, known["footprint_kib"] if figure is Figure.FOOTPRINT else known["rss_kib"], trend)
    others = sorted((task for task in kill.report.tasks if task.pid != kill.pid), key=lambda task: -task.rss_kib)
    if others and others[0].rss_kib > (kill.anon_rss_kib or 0) + (kill.file_rss_kib or 0):
        lines.append(f"another held more: {printable(decode(others[0].name))} {others[0].pid} with {format_kib(others[0].rss_kib)} of Rss")
    elif others:
        rest = sum(task.rss_kib for task in others)
        lines.append(f"{plural(len(others), 'other process', 'other processes')} in its report had {format_kib(rest)} of Rss together")
    return lines


def _compared(kill: OomKill, held_kib: int, seen_us: int, recorded_kib: int | None, trend: Trend) -> list[str]:
    """The end against the last capture, and against what the trend would have led one to expect."""
    if recorded_kib is None:
        return []
    more = held_kib - recorded_kib
    if kill.time_us is None:
        return [f"that is {format_delta_kib(more)} against the last capture"]
    hours = (kill.time_us - seen_us) / 3.6e9
    words = f"that is {format_delta_kib(more)} against the last capture, {format_duration(hours * 3600)} before"
    if trend.verdict is not Verdict.GROWING or not np.isfinite(trend.slope):
        return [words]
    expected = trend.slope * hours
    if abs(more - expected) <= max(_CLOSE * abs(expected), 0.02 * held_kib):
        return [f"{words}: as the growth until then would have it"]
    if more > expected:
        return [f"{words}: more than the {format_delta_kib(round(expected))} that the growth until then would have added"]
    return [f"{words}: less than the {format_delta_kib(round(expected))} that the growth until then would have added"]
