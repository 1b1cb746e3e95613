"""What changed in a fleet between two moments, as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TextIO

from pmapdiff.compare.fleet import Change, FleetComparison, HostChange, ServiceChange, Spread
from pmapdiff.report.base import View, register
from pmapdiff.report.fleet_json import failures_value, lineage_value, moment
from pmapdiff.report.fleet_words import failure_words, named_hosts, service_title
from pmapdiff.report.json import write_object
from pmapdiff.report.page import Page, register_page
from pmapdiff.report.table import ALL, NOTE, Column, Row, Under, cut_end, delta_cell, worded
from pmapdiff.text import printable
from pmapdiff.units import format_delta_kib, format_duration, format_moment_short, plural

_SHOWN, _HOSTS, _IN_DEPTH, _FAMILIES = 15, 3, 3, 3
# What changed by a smaller part of what the first one did has its row, and no more.
_MUCH = 0.1
# A snapshot that is this much older than the moment that it stands for is worth a word.
_LATE_US = 3_600_000_000


@register_page("fleet-compare")
def write_comparison(result: FleetComparison, page: Page) -> None:
    """The services by how much they changed all together, and of the first ones the hosts on which they grew most."""
    page.wrapped(headline(result), "bold", "", "  ")
    top = page.view.top
    changed = [service for service in result.services if service.main.total or service.main.most or service.main.least]
    shown = changed if top == 0 else changed[: top or _SHOWN]
    if shown:
        page.line()
        page.table(_columns(), [_row(service, result.services) for service in shown], cut=cut_end)
    left = len(changed) - len(shown)
    if left:
        page.wrapped(f"{plural(left, 'more service')} changed: {ALL}")
    much = [known for known in shown if known.worst and abs(known.main.total) >= _MUCH * abs(shown[0].main.total)]
    for service in much[: None if top is not None else _IN_DEPTH]:
        page.line()
        _write_hosts(service, result.services, page)
    if len(result.services) > len(changed):
        page.wrapped(f"{plural(len(result.services) - len(changed), 'service')} as before", "dim")
    for words in trouble_words(result):
        page.wrapped(f"note: {words}", "yellow", *NOTE)


def headline(fleet: FleetComparison) -> str:
    """`64 hosts, from 2026-11-22 14:00:00 to 2026-11-23 14:00:00: footprint +12.3 GiB; most of it orders, +11.9 GiB on 41 of 64 hosts`."""
    looked = f"{plural(fleet.hosts, 'host')}, from {format_moment_short(fleet.before_us)} to {format_moment_short(fleet.after_us)}"
    if not fleet.services:
        return looked
    total = sum(service.main.total for service in fleet.services)
    first = fleet.services[0]
    if not first.main.total:
        return f"{looked}: nothing changed"
    of_it = f"{service_title(first, fleet.services)}, {format_delta_kib(first.main.total)}, grown on {first.grew:,} of {plural(first.hosts, 'host')}"
    return f"{looked}: footprint {format_delta_kib(total)}; most of it {of_it}"


def _columns() -> list[Column]:
    return [
        *(Column("Footprint"), Column("Rss", spare=3), Column("Typical", spare=2), Column("Most", spare=1)),
        *(Column("Grew on"), worded("Family", spare=4), worded("Service")),
    ]


def _row(service: ServiceChange, others: Sequence[ServiceChange]) -> Row:
    main = service.main
    return [
        delta_cell(main.total),
        delta_cell(service.rss.total if service.rss.hosts else None),
        delta_cell(round(main.median)),
        delta_cell(main.most),
        f"{service.grew:,} of {service.hosts:,}",
        service.families[0][0] if service.families else "",
        ", ".join([service_title(service, others), *besides_words(service)]),
    ]


def besides_words(service: ServiceChange) -> list[str]:
    """`restarted on 8 hosts`, `another version on 8 hosts`: what else happened to it."""
    said = []
    if service.hosts_released:
        said.append(f"another version on {plural(service.hosts_released, 'host')}")
    elif service.hosts_restarted:
        said.append(f"restarted on {plural(service.hosts_restarted, 'host')}")
    before, after = service.processes
    if before != after:
        said.append(f"{before:,} → {after:,} processes")
    return said


def families_words(families: Sequence[tuple[str, int]]) -> str:
    """`heap +12.3 MiB, anon -4 KiB`: those that changed most."""
    largest = sorted(families, key=lambda item: -abs(item[1]))[:_FAMILIES]
    return ", ".join(f"{printable(family)} {format_delta_kib(kib)}" for family, kib in largest)


def _write_hosts(service: ServiceChange, others: Sequence[ServiceChange], page: Page) -> None:
    page.wrapped(f"{service_title(service, others)}: {families_words(service.families) or 'no family changed'}", "bold", "", "  ")
    most = None if page.view.top == 0 else _HOSTS
    rows: list[Row | Under] = [
        [delta_cell(known.main), delta_cell(known.rss.delta), versions_words(known), printable(known.host)] for known in service.worst[:most]
    ]
    page.table([Column("Footprint"), Column("Rss"), worded("Version", spare=1), worded("Most: host")], rows, cut=cut_end)


def versions_words(known: HostChange) -> str:
    """`1.9 → 1.10`, where the names tell."""
    before, after = (printable(", ".join(names)) for names in known.releases)
    return after if before == after or not before else f"{before} → {after}"


def trouble_words(fleet: FleetComparison) -> list[str]:
    """Hosts that nothing is said of, and why; and if snapshots are much older than they should be."""
    said = []
    if fleet.silent:
        said.append(f"no snapshot at or before one of these times of {plural(len(fleet.silent), 'host')}: {named_hosts(fleet.silent)}")
    if fleet.stale:
        said.append(f"no snapshot between these times of {plural(len(fleet.stale), 'host')}: {named_hosts(fleet.stale)}")
    if fleet.late_us > _LATE_US:
        said.append(f"the snapshots that stand for these times are up to {format_duration(fleet.late_us / 1e6)} older")
    return [*said, *failure_words(fleet.failures)]


@register("fleet-compare", "json")
def write_json(result: FleetComparison, view: View, out: TextIO) -> None:
    """`pmapdiff.fleet-compare/1`; services in the order of the result, the largest change first."""
    services = result.services[: view.top] if view.top else result.services
    write_object(
        {
            "schema": "pmapdiff.fleet-compare/1",
            "before": moment(result.before_us),
            "after": moment(result.after_us),
            "hosts": result.hosts,
            "silent": list(result.silent),
            "stale": list(result.stale),
            "failures": failures_value(result.failures),
            "late_seconds": result.late_us / 1e6,
            "services": [_service_value(service, result.services) for service in services],
        },
        out,
    )


def _service_value(service: ServiceChange, others: Sequence[ServiceChange]) -> dict[str, Any]:
    return {
        "service": service_title(service, others),
        **lineage_value(service.lineage),
        "hosts": service.hosts,
        "hosts_grew": service.grew,
        "hosts_restarted": service.hosts_restarted,
        "hosts_released": service.hosts_released,
        "processes_before": service.processes[0],
        "processes_after": service.processes[1],
        "incomparable": service.incomparable,
        "footprint_kib": _spread_value(service.footprint),
        "rss_kib": _spread_value(service.rss),
        "families": [{"family": family, "delta_kib": kib} for family, kib in service.families],
        "worst": [_host_value(known) for known in service.worst],
        "shrunk": [_host_value(known) for known in service.shrunk],
    }


def _spread_value(spread: Spread) -> dict[str, Any] | None:
    if not spread.hosts:
        return None
    return {"hosts": spread.hosts, "total": spread.total, "median": spread.median, "most": spread.most, "least": spread.least}


def _change_value(change: Change) -> dict[str, Any]:
    return {"before": change.before, "after": change.after, "delta": change.delta}


def _host_value(known: HostChange) -> dict[str, Any]:
    return {
        "host": known.host,
        "processes_before": known.processes[0],
        "processes_after": known.processes[1],
        "restarted": known.restarted,
        "footprint_kib": _change_value(known.footprint),
        "rss_kib": _change_value(known.rss),
        "families": [{"family": family, "delta_kib": kib} for family, kib in known.families],
        "releases_before": list(known.releases[0]),
        "releases_after": list(known.releases[1]),
    }
