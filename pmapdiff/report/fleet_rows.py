"""A fleet as flat tables: of `fleet leaks` one row a process that grows, of `fleet compare` one row a service."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pmapdiff.align.lineage import Lineage
from pmapdiff.analyse.fleet_result import FleetLeaks
from pmapdiff.compare.fleet import FleetComparison
from pmapdiff.report.findings import number_value
from pmapdiff.report.fleet_words import service_title
from pmapdiff.text import decode

_LINEAGE = ("service", "exe", "unit", "role")
LEAKS_COLUMNS = (
    *("since", "until", *_LINEAGE, "hosts", "hosts_growing", "may_be_chance", "host", "pid", "release", "family", "what", "figure", "urgent"),
    *("slope_kib_per_hour", "slope_mappings_per_hour", "slope_low", "slope_high", "onset", "onset_is_known", "started_at", "size_kib"),
    *("limit", "hours_low", "hours_high"),
)
COMPARE_COLUMNS = (
    *("since", "until", *_LINEAGE, "hosts", "hosts_grew", "hosts_restarted", "hosts_released", "processes_before", "processes_after"),
    *(f"{figure}_{what}" for figure in ("footprint_kib", "rss_kib") for what in ("total", "median", "most", "least")),
    *("family", "worst_host"),
)


def _lineage(title: str, lineage: Lineage) -> tuple[Any, ...]:
    return title, decode(lineage.program), None if lineage.unit is None else decode(lineage.unit), decode(lineage.role)


def leaks_rows(fleet: FleetLeaks, services: int | None) -> Iterator[tuple[Any, ...]]:
    """The processes that grow of so many services (None: of all), worst first."""
    for service in fleet.services[:services]:
        head = (fleet.since_us, fleet.until_us, *_lineage(service_title(service, fleet.services), service.lineage))
        for known in service.growers:
            trend, limit = known.trend, known.limit
            slope, low, high = (number_value(value) for value in (trend.slope, trend.low, trend.high))
            yield (
                *(*head, service.hosts, service.growing, service.may_be_chance),
                *(known.host, known.pid, " ".join(known.release), known.family, known.what, known.figure.value, known.urgent),
                *((None, slope) if known.figure.is_count else (slope, None)),
                *(low, high, trend.onset_us, known.dated, known.started_at_us, known.size_kib),
                *((None, None, None) if limit is None else (limit.what, number_value(limit.low_hours), number_value(limit.high_hours))),
            )


def compare_rows(fleet: FleetComparison, services: int | None) -> Iterator[tuple[Any, ...]]:
    """So many services (None: all), the largest change first; the family is the one that changed most."""
    for service in fleet.services[:services]:
        yield (
            *(fleet.before_us, fleet.after_us, *_lineage(service_title(service, fleet.services), service.lineage)),
            *(service.hosts, service.grew, service.hosts_restarted, service.hosts_released, *service.processes),
            *(
                value
                for spread in (service.footprint, service.rss)
                for value in ((spread.total, round(spread.median), spread.most, spread.least) if spread.hosts else (None,) * 4)
            ),
            *(service.families[0][0] if service.families else None, service.worst[0].host if service.worst else None),
        )
