"""What is said of a fleet, the same in every form: which service, on how many hosts, since when, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pmapdiff.align.lineage import Lineage
from pmapdiff.analyse.fleet_result import FleetLeaks, Grower, ServiceLeaks, SharedOnset
from pmapdiff.analyse.result import Verdict
from pmapdiff.model.fleet import Failure
from pmapdiff.report.leak_words import rate_words
from pmapdiff.text import decode, printable
from pmapdiff.units import format_duration, format_moment_short, plural

_CODE = ("-c", "-e")
_MOST_HOSTS = 5


class Named(Protocol):
    """What has a name in a fleet: a service that grows, or that changed."""

    @property
    def lineage(self) -> Lineage:
        """What makes processes of many hosts one service."""
        ...

    @property
    def title(self) -> str:
        """What one of its processes is called."""
        ...


def service_title(service: Named, others: Sequence[Named] = ()) -> str:
    """`orders`, `python3 app.py`, `nginx: worker process`; with its unit where that says more, or where another one is called the same."""
    title = _name(service)
    unit = "" if service.lineage.unit is None else decode(service.lineage.unit)
    alike = any(other is not service and _name(other) == title for other in others)
    if unit and (alike or ("/" not in unit and unit.removesuffix(".service") != title)):
        return printable(f"{title} ({unit})")
    return printable(f"{title} ({decode(service.lineage.program)})" if alike else title)


def _name(service: Named) -> str:
    role = decode(service.lineage.role)
    first, _, module = role.partition("\0")
    if not role:
        return service.title
    if first in _CODE:
        return f"{service.title} {first}"
    if role.startswith(f"{service.title}:"):
        return role
    runs = module or (role if role.startswith("-") else role.rsplit("/", 1)[-1])
    return service.title if runs == service.title else f"{service.title} {runs}"


def headline(fleet: FleetLeaks) -> str:
    """`64 hosts, 18,432 snapshots in 24 h up to …: 1 of 212 services grows, on 41 hosts (on 12 full within 90 d)`."""
    span = ""
    if fleet.since_us is not None and fleet.until_us is not None:
        length = f" in {format_duration((fleet.until_us - fleet.since_us) / 1e6)}" if fleet.until_us > fleet.since_us else ""
        span = f"{length} up to {format_moment_short(fleet.until_us)}"
    looked = f"{plural(fleet.hosts, 'host')}, {plural(fleet.snapshots, 'snapshot')}{span}"
    growing = [service for service in fleet.services if service.is_growing]
    maybe = sum(service.may_be_chance for service in fleet.services)
    chance = f", {maybe:,} more may only look so" if maybe else ""
    if not growing:
        return f"{looked}: none of {plural(len(fleet.services), 'service')} grows{chance}"
    hosts = len({known.host for service in growing for known in service.growers})
    urgent = len({known.host for service in growing for known in service.growers if known.urgent})
    within = format_duration(fleet.horizon_hours * 3600).replace(".0 d", " d")
    hurry = f" ({urgent:,} full within {within})" if urgent else ""
    verb = "grows" if len(growing) == 1 else "grow"
    return f"{looked}: {len(growing):,} of {plural(len(fleet.services), 'service')} {verb}, on {plural(hosts, 'host')}{hurry}{chance}"


def hosts_words(service: ServiceLeaks) -> str:
    """`41 of 64 hosts`, where little can be said of some of them also on how many it was judged."""
    judged = "" if service.judged == service.hosts else f" ({service.hosts - service.judged:,} with too few snapshots)"
    return f"{service.growing:,} of {plural(service.hosts, 'host')}{judged}"


def answer(service: ServiceLeaks, others: Sequence[ServiceLeaks]) -> str:
    """`orders: grows on 41 of 64 hosts, on 12 of them urgent`."""
    urgent = f", {service.urgent:,} of them urgent" if service.urgent else ""
    return f"{service_title(service, others)}: grows on {hosts_words(service)}{urgent}"


def since_words(service: ServiceLeaks) -> list[str]:
    """When it began, and what the hosts have in common: a sentence each."""
    said = []
    if service.onset is not None:
        said.append(_onset_words(service.onset, service))
    elif (dated := [known.trend.onset_us for known in service.growers if known.dated and known.trend.onset_us is not None]) and service.growing > 1:
        said.append(f"began at different times, from {format_moment_short(min(dated))} to {format_moment_short(max(dated))}")
    elif dated:
        said.append(f"since {format_moment_short(min(dated))}")
    if service.before:
        on = "" if service.before == service.growing else f" on {plural(service.before, 'host')}"
        said.append(f"as old as the record{on}, or older: it grows from the first snapshots on")
    if service.restarted_us is not None:
        said.append(f"all that grow were started at {format_moment_short(service.restarted_us)} or later, all that do not before that")
    return said


def _onset_words(onset: SharedOnset, service: ServiceLeaks) -> str:
    first, last = format_moment_short(onset.since_us), format_moment_short(onset.until_us)
    if first[:10] == last[:10]:
        last = last[11:]
    when = f"at {first}" if onset.since_us == onset.until_us else f"between {first} and {last}"
    about = f", give or take {format_duration(onset.precision_us / 1e6)}" if onset.precision_us else ""
    return f"began on {onset.hosts:,} of {plural(service.growing, 'host')} {when}{about}: what was changed then?"


def release_words(service: ServiceLeaks) -> str:
    """`grows with 1.10 on 41 of 41 hosts, with 1.9 on 0 of 23`; empty where all run the same, or their names do not tell."""
    if not service.releases:
        return ""
    parts = [f"{printable(release.name)} on {release.growing:,} of {plural(release.hosts, 'host')}" for release in service.releases[:_MOST_HOSTS]]
    more = len(service.releases) - _MOST_HOSTS
    return f"grows with {', '.join(parts)}" + (f" and {more:,} more versions" if more > 0 else "")


def what_words(service: ServiceLeaks) -> str:
    """`heap: [heap] on 41 hosts, typically +12.0 MiB/h, at most +40.1 MiB/h`."""
    named = printable(service.what)
    family = printable(service.family)
    # What `leaks` says of growth that no region has to itself: `in all, most of it heap`.
    is_named = named.strip("[]") != family and not named.startswith("in all, ")
    what = f"{family}: {named}" if is_named and not service.figure.is_count else family
    if service.growing == 1:
        return f"{what}, {rate_words(service.worst_slope, service.figure)}"
    middle, most = (rate_words(slope, service.figure) for slope in (service.median_slope, service.worst_slope))
    on = "" if service.what_hosts == service.growing else f" on {plural(service.what_hosts, 'host')}"
    return f"{what}{on}, typically {middle}, at most {most}"


def chance_words(service: ServiceLeaks) -> str:
    """Why it is not called growing."""
    return (
        f"may be chance: among {plural(service.processes, 'process', 'processes')} of it and all others of the fleet some look like this; "
        "more snapshots will tell"
    )


def suggestion_of(service: ServiceLeaks) -> tuple[str, str] | None:
    """What to do next, and on which host: of the worst process."""
    for suspect in service.worst:
        for finding in suspect.findings:
            if finding.trend.verdict is Verdict.GROWING and finding.suggestion:
                return printable(suspect.host), printable(finding.suggestion)
    return None


def when_words(service: ServiceLeaks) -> str:
    """When it began, in a column: a moment, `various`, or `before` where that was before the record."""
    if service.onset is not None:
        return format_moment_short(service.onset.since_us)
    dated = [known.trend.onset_us for known in service.growers if known.dated and known.trend.onset_us is not None]
    if not dated:
        return "before"
    return format_moment_short(min(dated)) if service.growing == 1 else "various"


def onset_words(known: Grower) -> str:
    """When a process began to grow."""
    onset = known.trend.onset_us
    return "" if onset is None else format_moment_short(onset) if known.dated else f"before {format_moment_short(onset)}"


def calm_words(fleet: FleetLeaks) -> str:
    """`120 services without growth: 12,004 processes stable, 31 plateau`; empty if there are none."""
    calm = [service for service in fleet.services if not service.growing]
    counts: dict[Verdict, int] = {}
    for service in calm:
        for verdict, number in service.verdicts:
            counts[verdict] = counts.get(verdict, 0) + number
    said = ", ".join(f"{counts[verdict]:,} {verdict.value.replace('-', ' ')}" for verdict in Verdict if verdict in counts)
    return f"{plural(len(calm), 'service')} without growth; of their processes {said}" if calm else ""


def trouble_words(fleet: FleetLeaks) -> list[str]:
    """Hosts that nothing is said of, and why."""
    said = []
    if fleet.silent:
        said.append(f"no such snapshot of {plural(len(fleet.silent), 'host')}: {named_hosts(fleet.silent)}")
    return [*said, *failure_words(fleet.failures)]


def failure_words(failures: Sequence[Failure]) -> list[str]:
    """Which hosts could not be read, and of the first ones why."""
    said = [f"{printable(failure.host)} could not be read: {printable(failure.reason)}" for failure in failures[:_MOST_HOSTS]]
    rest = [failure.host for failure in failures[_MOST_HOSTS:]]
    return [*said, *([f"nor could {plural(len(rest), 'more host')}: {named_hosts(rest)}"] if rest else [])]


def named_hosts(hosts: Sequence[str]) -> str:
    """`web1, web2 and 40 more`."""
    names = ", ".join(printable(host) for host in hosts[:_MOST_HOSTS])
    return names if len(hosts) <= _MOST_HOSTS else f"{names} and {len(hosts) - _MOST_HOSTS:,} more"
