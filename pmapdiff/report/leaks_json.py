"""What keeps growing, as JSON (docs/json.md): every process, unless --top says how many, with its whole series."""

from __future__ import annotations

from math import isfinite
from typing import Any, TextIO

from pmapdiff.analyse.result import End, Figure, Finding, Leaks, Sibling, Suspect, TimeToLimit, Trend
from pmapdiff.report.base import View, register
from pmapdiff.report.findings import number_value
from pmapdiff.report.json import process_value, write_object
from pmapdiff.units import format_moment_utc


@register("leaks", "json")
def write_leaks(result: Leaks, view: View, out: TextIO) -> None:
    """`pmapdiff.leaks/1`; processes and findings in the order of the result, worst first."""
    processes = result.processes[: view.top] if view.top else result.processes
    write_object(
        {
            "schema": "pmapdiff.leaks/1",
            "since": _moment(result.since_us),
            "until": _moment(result.until_us),
            "snapshots": result.snapshots,
            "hosts": list(result.hosts),
            "within_hours": result.horizon_hours,
            "notes": list(result.notes),
            "processes": [suspect_value(suspect) for suspect in processes],
        },
        out,
    )


def _moment(moment_us: int | None) -> str | None:
    return None if moment_us is None else format_moment_utc(moment_us)


def trend_value(trend: Trend, figure: Figure) -> dict[str, Any]:
    """What a series does. Of mappings there are no KiB; the ends of the interval are in the unit of the slope."""
    counts = figure.is_count
    slope, delta = number_value(trend.slope), round(trend.delta) if isfinite(trend.delta) else None
    return {
        "figure": figure.value,
        "verdict": trend.verdict.value,
        "slope_kib_per_hour": None if counts else slope,
        "slope_mappings_per_hour": slope if counts else None,
        "slope_low": number_value(trend.low),
        "slope_high": number_value(trend.high),
        "delta_kib": None if counts else delta,
        "delta_mappings": delta if counts else None,
        "onset": _moment(trend.onset_us),
        "reasons": list(trend.words),
    }


def limit_value(limit: TimeToLimit) -> dict[str, Any]:
    """When something is full."""
    return {
        "what": limit.what,
        "limit": limit.limit,
        "used": limit.used,
        "hours_low": number_value(limit.low_hours),
        "hours_high": number_value(limit.high_hours),
    }


def _finding_value(finding: Finding) -> dict[str, Any]:
    return {
        "rank": finding.rank,
        "family": finding.family,
        "name": finding.name,
        **trend_value(finding.trend, finding.figure),
        "share": number_value(finding.share),
        "urgent": finding.urgent,
        "limits": [limit_value(limit) for limit in finding.limits],
        "evidence": list(finding.evidence),
        "suggestion": finding.suggestion,
        "region_ids": list(finding.region_ids),
        "series": list(finding.series),
    }


def _end_value(end: End) -> dict[str, Any]:
    return {
        "last_seen": format_moment_utc(end.last_seen_us),
        "footprint_kib": end.footprint_kib,
        "rss_kib": end.rss_kib,
        "lines": list(end.lines),
    }


def _sibling_value(sibling: Sibling) -> dict[str, Any]:
    return {
        "pid": sibling.process.pid,
        "command": sibling.process.name,
        "host": sibling.host,
        "verdict": sibling.verdict.value,
        "age_hours": number_value(sibling.age_hours),
        "footprint_kib": sibling.footprint_kib,
        "grown_kib": sibling.grown_kib,
        "ours_kib": sibling.ours_kib,
        "ours_grown_kib": sibling.ours_grown_kib,
    }


def suspect_value(suspect: Suspect) -> dict[str, Any]:
    """One service of a host, with all that is found of it and its whole series."""
    return {
        **process_value(suspect.process),
        "host": suspect.host,
        "snapshots": suspect.snapshots,
        "restarts": suspect.restarts,
        "verdict": suspect.verdict.value,
        "urgent": suspect.urgent,
        "trend": trend_value(suspect.trend, suspect.figure),
        "findings": [_finding_value(finding) for finding in suspect.findings],
        "end": None if suspect.end is None else _end_value(suspect.end),
        "siblings": [_sibling_value(sibling) for sibling in suspect.siblings],
        "notes": list(suspect.notes),
        "series": [[format_moment_utc(moment), kib] for moment, kib in zip(suspect.moments_us, suspect.series, strict=True)],
    }
