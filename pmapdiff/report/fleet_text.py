"""What grows in a fleet, as text: services ranked, then the first ones in depth."""

from __future__ import annotations

from collections.abc import Sequence

from pmapdiff.analyse.fleet_result import FleetLeaks, Grower, Healthy, ServiceLeaks
from pmapdiff.analyse.result import Verdict
from pmapdiff.report.fleet_words import (
    answer,
    calm_words,
    chance_words,
    headline,
    hosts_words,
    onset_words,
    release_words,
    service_title,
    since_words,
    suggestion_of,
    trouble_words,
    what_words,
    when_words,
)
from pmapdiff.report.leak_words import growth_words, limit_words, rate_words, style_of
from pmapdiff.report.page import Page, register_page
from pmapdiff.report.table import ALL, NOTE, Cell, Column, Row, Under, cut_end, delta_cell, size_cell, worded
from pmapdiff.text import printable
from pmapdiff.units import format_duration, plural

_RANKED, _IN_DEPTH = 10, 3
_HOSTS = 5


@register_page("fleet-leaks")
def write_fleet(result: FleetLeaks, page: Page) -> None:
    """Which service grows, on how many hosts, since when, where most, where not, and what to do; then what else there is."""
    page.wrapped(headline(result), "bold", "", "  ")
    top = page.view.top
    ranked = [service for service in result.services if service.growing]
    shown = ranked if top == 0 else ranked[: top or _RANKED]
    if len(shown) > 1:
        page.line()
        _write_ranking(shown, result, page)
    if len(ranked) > len(shown):
        page.wrapped(f"{plural(len(ranked) - len(shown), 'more service')} that grow{'s' if len(ranked) - len(shown) == 1 else ''}: {ALL}")
    for service in [known for known in shown if known.is_growing][: None if top is not None else _IN_DEPTH]:
        page.line()
        _write_service(service, result, page)
    if calm_words(result):
        page.line()
        page.wrapped(calm_words(result), "dim")
    for words in trouble_words(result):
        page.wrapped(f"note: {words}", "yellow", *NOTE)


def _write_ranking(shown: Sequence[ServiceLeaks], fleet: FleetLeaks, page: Page) -> None:
    rows: list[Row | Under] = []
    for service in shown:
        style = style_of(Verdict.GROWING, urgent=service.urgent > 0) if service.is_growing else "dim"
        rows.append(
            [
                Cell(f"{service.growing:,} of {service.hosts:,}", style),
                f"{service.urgent:,}" if service.urgent else "",
                rate_words(service.median_slope, service.figure, short=True),
                when_words(service),
                f"{service_title(service, fleet.services)}: {printable(service.family)}",
            ]
        )
        if not service.is_growing:
            rows.append(Under(chance_words(service), "dim"))
    columns = [Column("Hosts"), Column("Urgent", spare=2), Column("Growth"), worded("Since", spare=1), worded("Service: family")]
    page.table(columns, rows, cut=cut_end)


def _write_service(service: ServiceLeaks, fleet: FleetLeaks, page: Page) -> None:
    page.wrapped(answer(service, fleet.services), style_of(Verdict.GROWING, urgent=service.urgent > 0), "", "  ")
    for words in since_words(service):
        page.wrapped(words, "", *NOTE)
    if release_words(service):
        page.wrapped(release_words(service), "bold", *NOTE)
    page.wrapped(what_words(service), "", *NOTE)
    _write_growers(service, page)
    if service.healthy:
        _write_healthy(service, page)
    elif service.judged == service.growing:
        page.wrapped("there is no host on which it does not grow", "", *NOTE)
    known = suggestion_of(service)
    if known is not None:
        page.wrapped(f"next, on {known[0]}: {known[1]}", "cyan", *NOTE)


def _write_growers(service: ServiceLeaks, page: Page) -> None:
    most = len(service.growers) if page.view.top == 0 else _HOSTS
    rows: list[Row | Under] = [_grower_row(known, service, is_full=_is_any_full(service.growers[:most])) for known in service.growers[:most]]
    several = [worded("Version", spare=3)] if service.releases else []
    full = [worded("Full", spare=4)] if _is_any_full(service.growers[:most]) else []
    columns = [Column("Growth"), worded("Since", spare=2), Column("Footprint", spare=1), *several, *full, worded("Worst: host pid")]
    page.table(columns, rows, cut=cut_end)
    if len(service.growers) > most:
        page.wrapped(f"{plural(len(service.growers) - most, 'more process', 'more processes')} of it that grow: {ALL}")


def _is_any_full(growers: Sequence[Grower]) -> bool:
    """Whether any of them is about to fill something."""
    return any(known.urgent and known.limit is not None for known in growers)


def _grower_row(known: Grower, service: ServiceLeaks, *, is_full: bool) -> Row:
    release = [printable(" ".join(known.release))] if service.releases else []
    full = [limit_words(known.limit) if known.limit is not None and known.urgent else ""] if is_full else []
    growth = Cell(growth_words(known.trend, known.figure, short=True), style_of(Verdict.GROWING, urgent=known.urgent))
    return [growth, onset_words(known), size_cell(known.size_kib), *release, *full, f"{printable(known.host)} {known.pid}"]


def _write_healthy(service: ServiceLeaks, page: Page) -> None:
    several = [worded("Version", spare=2)] if service.releases else []
    columns = [
        Column("Age"),
        Column("Footprint"),
        Column("±"),
        Column("Worst one", spare=1),
        Column("±", spare=1),
        *several,
        worded("Healthy: host pid"),
    ]
    page.table(columns, [_healthy_row(known, service) for known in service.healthy], cut=cut_end)
    if service.hosts - service.growing > len({known.host for known in service.healthy}):
        page.wrapped(f"it does not grow on {plural(service.hosts - service.growing, 'host')}, of {hosts_words(service).partition(' of ')[2]}")


def _healthy_row(known: Healthy, service: ServiceLeaks) -> Row:
    release = [printable(known.release)] if service.releases else []
    ours = [size_cell(known.ours_kib), delta_cell(known.ours_grown_kib)]
    return [
        format_duration(known.age_hours * 3600),
        size_cell(known.footprint_kib),
        delta_cell(known.grown_kib),
        *ours,
        *release,
        f"{printable(known.host)} {known.pid}, {known.verdict.value}",
    ]
