"""What grows too fast, in one line for Nagios, Icinga, crontab and CI (https://nagios-plugins.org/doc/guidelines.html)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple, TextIO

from pmapdiff.analyse.result import Figure, Finding, Leaks, Suspect, Trend, Verdict
from pmapdiff.report.base import View, register
from pmapdiff.report.leak_shape import first_limit
from pmapdiff.report.leak_words import delta_words, growth_words, limit_words, looked_words, suspect_title, what_words, within_words
from pmapdiff.units import format_growth_count, format_growth_kib, format_moment_short, plural

# What ends a text, a label or a command of those that read such a line: | begins the performance data, quotes and = belong to its labels, the
# rest means something to the shells that notifications are sent by.
_SPECIAL = re.compile(r"[|'\"`=;<>&$]")
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Limits:
    """How fast something may grow: KiB and mappings an hour. Without either, growth is too fast that `leaks` calls urgent."""

    kib_per_hour: float | None = None
    mappings_per_hour: float | None = None

    @property
    def none(self) -> bool:
        """Whether there is none."""
        return self.kib_per_hour is None and self.mappings_per_hour is None


class Growth(NamedTuple):
    """Something that keeps growing: a finding, or, without one, a process as a whole."""

    suspect: Suspect
    trend: Trend
    figure: Figure
    finding: Finding | None

    @property
    def least(self) -> float:
        """How fast it grows at least, an hour: the low end of the interval, so that noise alone raises no alarm."""
        return self.trend.low if isfinite(self.trend.low) else 0.0


@dataclass(frozen=True, slots=True)
class Check:
    """A result and what is allowed. `family` is the one that was asked for: then a process as a whole says nothing."""

    leaks: Leaks
    limits: Limits = Limits()
    family: str | None = None

    def growing(self) -> Iterator[Growth]:
        """All that keeps growing."""
        for suspect in self.leaks.processes:
            if self.family is None and suspect.trend.verdict is Verdict.GROWING:
                yield Growth(suspect, suspect.trend, suspect.figure, None)
            for finding in suspect.findings:
                if finding.trend.verdict is Verdict.GROWING and self.family in (None, finding.family):
                    yield Growth(suspect, finding.trend, finding.figure, finding)

    def is_too_fast(self, growth: Growth) -> bool:
        """Whether it is more than is allowed."""
        if self.limits.none:
            return growth.finding is not None and growth.finding.urgent
        limit = self.limits.mappings_per_hour if growth.figure.is_count else self.limits.kib_per_hour
        return limit is not None and growth.least > limit

    def found(self) -> list[Growth]:
        """What grows too fast, in the order of the result: of each service the first finding, or itself if none of them does alone."""
        worst: dict[int, Growth] = {}
        for growth in filter(self.is_too_fast, self.growing()):
            known = worst.get(id(growth.suspect))
            if known is None or known.finding is None:
                worst[id(growth.suspect)] = growth
        return list(worst.values())


@register("check", "nagios")
def write_check(result: Check, _view: View, out: TextIO) -> None:
    """One line: the state, what it is about, and behind a bar the figures for graphs."""
    found, leaks = result.found(), result.leaks
    services = plural(len(leaks.processes), "service")
    if found:
        words = f"{len(found)} of {services} {_too_fast(result, one=len(found) == 1)}: {_told(found, leaks)}"
    else:
        words = f"{services}, {looked_words(leaks.snapshots, leaks.since_us, leaks.until_us)}, none {_too_fast(result, one=True)}"
    short = sum(suspect.verdict is Verdict.TOO_SHORT for suspect in leaks.processes)
    remark = f"; {short} of them with too few snapshots to tell" if short else ""
    out.write(f"PMAPDIFF {'WARNING' if found else 'OK'}: {words}{remark} | {_performance(result, len(found))}\n")


def _too_fast(check: Check, *, one: bool) -> str:
    """`grows by more than 10.0 MiB/h or 100 mappings/h`."""
    limits = check.limits
    what = "" if check.family is None else f" in {_safe(check.family)}"
    if limits.none:
        return f"{'fills' if one else 'fill'} the memory or reach{'es' if one else ''} a limit{what} within {within_words(check.leaks)}"
    parts = [] if limits.kib_per_hour is None else [format_growth_kib(limits.kib_per_hour).lstrip("+")]
    parts += [] if limits.mappings_per_hour is None else [format_growth_count(limits.mappings_per_hour).lstrip("+")]
    return f"{'grows' if one else 'grow'}{what} by more than {' or '.join(parts)}"


def _told(found: list[Growth], leaks: Leaks) -> str:
    more = f", and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return ", ".join(_growth(growth, leaks) for growth in found[:_TOLD]) + more


def _growth(growth: Growth, leaks: Leaks) -> str:
    """`worker 1100 [heap] +12.0 MiB/h (+1.2 GiB since 2026-11-22 14:00:00, in 5 to 7 h: cgroup limit)`."""
    finding, trend = growth.finding, growth.trend
    limit = None if finding is None else first_limit(finding)
    since = "" if trend.onset_us is None else f" since {format_moment_short(trend.onset_us)}"
    parts = [f"{delta_words(trend, growth.figure)}{since}", *([] if limit is None else [limit_words(limit)])]
    what = "" if finding is None else f" {what_words(finding)}"
    return _safe(f"{suspect_title(growth.suspect, leaks)}{what} {growth_words(trend, growth.figure)} ({', '.join(parts)})")


def _safe(text: str) -> str:
    return _SPECIAL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def _performance(check: Check, found: int) -> str:
    """Labels that stay the same from run to run, whatever grows: the fastest growth, at least, and how many services there are."""
    growing = list(check.growing())
    kib = max((growth.least for growth in growing if not growth.figure.is_count), default=0.0)
    mappings = max((growth.least for growth in growing if growth.figure.is_count), default=0.0)
    limits = check.limits
    warn = ["" if limit is None else f"{limit * scale:.0f}" for limit, scale in ((limits.kib_per_hour, 1024), (limits.mappings_per_hour, 1))]
    return " ".join(
        (
            f"growth_per_hour={max(kib, 0) * 1024:.0f}B;{warn[0]};;0",
            f"mappings_per_hour={max(mappings, 0):.0f};{warn[1]};;0",
            f"found={found};0;;0;{len(check.leaks.processes)}",
        )
    )
