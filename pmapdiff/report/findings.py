"""What keeps growing as a flat table: one row a finding, and one for each process that has none."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import Any

from pmapdiff.analyse.result import Finding, Leaks, Suspect
from pmapdiff.report.leak_shape import evidence_lines, first_limit

COLUMNS = (
    *("since", "until", "host", "pid", "command", "command_line", "snapshots", "restarts", "process_verdict"),
    *("rank", "family", "name", "figure", "verdict", "urgent"),
    *("slope_kib_per_hour", "slope_mappings_per_hour", "slope_low", "slope_high", "delta_kib", "delta_mappings", "share", "onset"),
    *("limit", "hours_low", "hours_high", "evidence", "suggestion", "region_ids"),
)


def finding_rows(leaks: Leaks, processes: int | None) -> Iterator[tuple[Any, ...]]:
    """The rows of so many processes (None: of all), worst first. Of a process without findings the rank is None, and the trend that of all of it."""
    for suspect in leaks.processes[:processes]:
        info = suspect.process
        head = (leaks.since_us, leaks.until_us, suspect.host, info.pid, info.name, info.command_line)
        known = (*head, suspect.snapshots, suspect.restarts, suspect.verdict.value)
        for finding in suspect.findings or (None,):
            yield (*known, *_cells(suspect, finding))


def _cells(suspect: Suspect, finding: Finding | None) -> tuple[Any, ...]:
    trend, figure = (suspect.trend, suspect.figure) if finding is None else (finding.trend, finding.figure)
    slope, low, high = (number_value(value) for value in (trend.slope, trend.low, trend.high))
    delta = round(trend.delta) if isfinite(trend.delta) else None
    counts = figure.is_count
    growth = (*((None, slope) if counts else (slope, None)), low, high, *((None, delta) if counts else (delta, None)))
    if finding is None:
        return (None, None, None, figure.value, trend.verdict.value, suspect.urgent, *growth, None, trend.onset_us, *(None,) * 6)
    limit = first_limit(finding)
    until = (None, None, None) if limit is None else (limit.what, number_value(limit.low_hours), number_value(limit.high_hours))
    words = ("; ".join(evidence_lines(finding)), finding.suggestion, " ".join(finding.region_ids))
    share = number_value(finding.share)
    what = (finding.rank, finding.family, finding.name, figure.value, trend.verdict.value, finding.urgent)
    return (*what, *growth, share, trend.onset_us, *until, *words)


def number_value(value: float | None) -> float | None:
    """A figure as scripts get it: there is no infinity in JSON."""
    return round(value, 6) if value is not None and isfinite(value) else None
