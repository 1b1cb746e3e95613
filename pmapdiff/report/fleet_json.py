"""What grows in a fleet, as JSON (docs/json.md): every service, unless --top says how many."""

from __future__ import annotations

from typing import Any, TextIO

from pmapdiff.analyse.fleet_result import FleetLeaks, Grower, Healthy, Release, ServiceLeaks, SharedOnset
from pmapdiff.model.fleet import Failure
from pmapdiff.report.base import View, register
from pmapdiff.report.findings import number_value
from pmapdiff.report.fleet_words import service_title
from pmapdiff.report.json import write_object
from pmapdiff.report.leaks_json import limit_value, suspect_value, trend_value
from pmapdiff.text import decode
from pmapdiff.units import format_moment_utc


@register("fleet-leaks", "json")
def write_fleet(result: FleetLeaks, view: View, out: TextIO) -> None:
    """`pmapdiff.fleet-leaks/1`; services in the order of the result, worst first."""
    services = result.services[: view.top] if view.top else result.services
    write_object(
        {
            "schema": "pmapdiff.fleet-leaks/1",
            "since": moment(result.since_us),
            "until": moment(result.until_us),
            "hosts": result.hosts,
            "snapshots": result.snapshots,
            "within_hours": result.horizon_hours,
            "silent": list(result.silent),
            "failures": failures_value(result.failures),
            "services": [_service_value(service, result) for service in services],
        },
        out,
    )


def moment(moment_us: int | None) -> str | None:
    """A moment as scripts get it."""
    return None if moment_us is None else format_moment_utc(moment_us)


def failures_value(failures: tuple[Failure, ...]) -> list[dict[str, Any]]:
    """The hosts that could not be read, and why."""
    return [{"host": failure.host, "reason": failure.reason} for failure in failures]


def lineage_value(lineage: Any) -> dict[str, Any]:
    """What makes processes of many hosts one service."""
    return {
        "program": decode(lineage.program),
        "unit": None if lineage.unit is None else decode(lineage.unit),
        "role": decode(lineage.role),
    }


def _service_value(service: ServiceLeaks, fleet: FleetLeaks) -> dict[str, Any]:
    counts = service.figure.is_count
    slopes = {"median": number_value(service.median_slope), "worst": number_value(service.worst_slope)} if service.growers else None
    return {
        "service": service_title(service, fleet.services),
        **lineage_value(service.lineage),
        "growing": service.is_growing,
        "hosts": service.hosts,
        "hosts_judged": service.judged,
        "hosts_growing": service.growing,
        "hosts_urgent": service.urgent,
        "processes": service.processes,
        "verdicts": {verdict.value: number for verdict, number in service.verdicts},
        "chance": number_value(service.chance),
        "may_be_chance": service.may_be_chance,
        "onset": None if service.onset is None else _onset_value(service.onset),
        "hosts_before": service.before,
        "restarted": moment(service.restarted_us),
        "releases": [_release_value(release) for release in service.releases],
        "family": service.family or None,
        "what": service.what or None,
        "hosts_what": service.what_hosts,
        "slopes_kib_per_hour": None if counts else slopes,
        "slopes_mappings_per_hour": slopes if counts else None,
        "processes_growing": [_grower_value(known) for known in service.growers],
        "worst": [suspect_value(suspect) for suspect in service.worst],
        "healthy": [_healthy_value(known) for known in service.healthy],
    }


def _onset_value(onset: SharedOnset) -> dict[str, Any]:
    return {
        "hosts": onset.hosts,
        "of_hosts": onset.dated,
        "since": moment(onset.since_us),
        "until": moment(onset.until_us),
        "precision_seconds": number_value(onset.precision_us / 1e6),
        "chance": number_value(onset.chance),
    }


def _release_value(release: Release) -> dict[str, Any]:
    return {"release": release.name, "hosts": release.hosts, "hosts_growing": release.growing}


def _grower_value(known: Grower) -> dict[str, Any]:
    return {
        "host": known.host,
        "pid": known.pid,
        "release": " ".join(known.release),
        "family": known.family,
        "what": known.what,
        **trend_value(known.trend, known.figure),
        "onset_is_known": known.dated,
        "onset_precision_seconds": number_value(known.precision_us / 1e6),
        "started_at": moment(known.started_at_us),
        "size_kib": known.size_kib,
        "urgent": known.urgent,
        "limit": None if known.limit is None else limit_value(known.limit),
        "chance": number_value(known.p),
    }


def _healthy_value(known: Healthy) -> dict[str, Any]:
    return {
        "host": known.host,
        "pid": known.pid,
        "release": known.release,
        "verdict": known.verdict.value,
        "age_hours": number_value(known.age_hours),
        "footprint_kib": known.footprint_kib,
        "grown_kib": known.grown_kib,
        "worst_kib": known.ours_kib,
        "worst_grown_kib": known.ours_grown_kib,
    }
