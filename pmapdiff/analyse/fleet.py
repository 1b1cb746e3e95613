"""From the results of hosts to that of the fleet: service by service, whatever order they come in, and without keeping them all."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from pmapdiff.align.lineage import Lineage, in_order
from pmapdiff.analyse.chance import FALSE_DISCOVERIES, discovery_chances
from pmapdiff.analyse.fleet_host import curve_of, middle
from pmapdiff.analyse.fleet_result import (
    Calm,
    FleetLeaks,
    Grower,
    Healthy,
    HostLeaks,
    HostService,
    Release,
    ServiceLeaks,
)
from pmapdiff.analyse.onsets import Dated, shared_onset
from pmapdiff.analyse.result import Figure, Suspect, Verdict
from pmapdiff.model.fleet import Failure

# Of each service so many that grow are kept in full, and of each of its releases so many that do not.
WORST = 5
_CALM = 4
_HEALTHY = 5
_ORDER = tuple(Verdict)

_Rank = tuple[object, ...]


class Gathering:
    """Takes the hosts in, in whatever order they are done; what it keeps does not grow with those of their processes that do not grow."""

    def __init__(self, horizon_hours: float) -> None:
        self._horizon_hours = horizon_hours
        self._services: dict[Lineage, _Gathered] = defaultdict(_Gathered)
        self._silent: list[str] = []
        self._failures: list[Failure] = []
        self._hosts = self._snapshots = 0
        self._ends: list[int] = []

    def add(self, found: HostLeaks | Failure) -> None:
        """One more host."""
        self._hosts += 1
        if isinstance(found, Failure):
            self._failures.append(found)
            return
        self._snapshots += found.snapshots
        if not found.services:
            self._silent.append(found.host)
        if found.since_us is not None and found.until_us is not None:
            self._ends = [min([*self._ends, found.since_us]), max([*self._ends, found.until_us])]
        for service in found.services:
            self._services[service.lineage].add(found, service)

    def result(self) -> FleetLeaks:
        """What they come to."""
        lineages = sorted(self._services, key=in_order)
        chances = discovery_chances([self._services[lineage].chance() for lineage in lineages])
        services = [self._services[lineage].service(lineage, chance) for lineage, chance in zip(lineages, chances, strict=True)]
        services.sort(key=_rank)
        return FleetLeaks(
            self._ends[0] if self._ends else None,
            self._ends[-1] if self._ends else None,
            self._hosts,
            self._snapshots,
            tuple(sorted(self._silent)),
            tuple(sorted(self._failures, key=lambda failure: failure.host)),
            tuple(services),
            self._horizon_hours,
        )


def _rank(service: ServiceLeaks) -> _Rank:
    worst = min((_ORDER.index(verdict) for verdict, _ in service.verdicts), default=len(_ORDER))
    growth = sum(known.trend.slope for known in service.growers if not known.figure.is_count)
    how_much = (-service.urgent, -service.growing, -growth)
    return (not service.is_growing, not service.growing, *how_much, worst, -service.hosts, service.title, in_order(service.lineage))


def rank_of_grower(known: Grower) -> _Rank:
    """The worst first: what is full soonest, then what grows fastest."""
    soonest = known.limit.low_hours if known.limit is not None and known.urgent else float("inf")
    return (not known.urgent, soonest, known.figure.is_count, -known.trend.slope, known.host, known.pid)


class _Gathered:
    """What is kept of one service."""

    def __init__(self) -> None:
        self._hosts = self._judged = self._growing = self._urgent = self._processes = 0
        self._verdicts: Counter[Verdict] = Counter()
        self._releases: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0])
        self._growers: list[Grower] = []
        self._worst: list[tuple[_Rank, Suspect]] = []
        self._calm: dict[tuple[str, ...], list[Calm]] = defaultdict(list)
        self._calm_until: list[int | None] = []
        self._title: tuple[str, str] | None = None
        self._dated: list[Dated] = []
        self._before = 0

    def add(self, found: HostLeaks, service: HostService) -> None:
        self._hosts += 1
        self._processes += service.processes
        self._judged += any(verdict is not Verdict.TOO_SHORT for verdict, _ in service.verdicts)
        self._growing += bool(service.growers)
        self._urgent += any(known.urgent for known in service.growers)
        self._verdicts.update(dict(service.verdicts))
        for release, grows in service.releases:
            self._releases[release][0] += 1
            self._releases[release][1] += grows
        self._growers += service.growers
        self._note_onset(found, service)
        ranked = [(rank_of_grower(known), suspect) for known, suspect in zip(service.growers, service.suspects, strict=True)]
        self._worst = sorted([*self._worst, *ranked], key=lambda item: item[0])[:WORST]
        if not service.growers:
            for known in service.calm:
                kept = [*self._calm[known.release], known]
                self._calm[known.release] = sorted(kept, key=lambda calm: (-calm.age_hours, calm.host, calm.pid))[:_CALM]
            if any(verdict not in (Verdict.GROWING, Verdict.TOO_SHORT) for verdict, _ in service.verdicts):
                self._calm_until = [_later(*self._calm_until, service.calm_until_us)]
        self._title = min(self._title or (found.host, service.title), (found.host, service.title))

    def _note_onset(self, found: HostLeaks, service: HostService) -> None:
        """A host counts once, however many workers it has: by the first of them whose onset is known, unless one is older than the record."""
        if any(not known.dated for known in service.growers):
            self._before += 1
            return
        onsets = [(known.trend.onset_us, known.precision_us) for known in service.growers if known.trend.onset_us is not None]
        if onsets and found.since_us is not None and found.until_us is not None:
            self._dated.append(Dated(*min(onsets), found.since_us, found.until_us))

    def chance(self) -> float:
        """About how often so many processes that only wander would look as much like growth: of many small chances together (Simes)."""
        count = sum(number for verdict, number in self._verdicts.items() if verdict is not Verdict.TOO_SHORT)
        ps = sorted(known.p for known in self._growers)
        return min((p * count / rank for rank, p in enumerate(ps, 1)), default=1.0)

    def service(self, lineage: Lineage, chance: float) -> ServiceLeaks:
        growers = sorted(self._growers, key=rank_of_grower)
        family, what, figure, hosts = _dominant(growers)
        slopes = [known.trend.slope for known in growers if (known.family, known.what) == (family, what) and known.figure is figure]
        names = _release_names(self._releases)
        worst = tuple(suspect for _, suspect in self._worst)
        return ServiceLeaks(
            lineage=lineage,
            title=self._title[1] if self._title else "",
            hosts=self._hosts,
            judged=self._judged,
            growing=self._growing,
            urgent=self._urgent,
            processes=self._processes,
            verdicts=tuple(sorted(self._verdicts.items(), key=lambda item: _ORDER.index(item[0]))),
            chance=chance,
            may_be_chance=bool(growers) and chance > FALSE_DISCOVERIES,
            releases=_releases(self._releases, names),
            onset=shared_onset(self._dated),
            before=self._before,
            restarted_us=self._restarted_us(growers),
            family=family,
            what=what,
            what_hosts=hosts,
            figure=figure,
            median_slope=middle(slopes),
            worst_slope=max(slopes, default=0.0),
            growers=tuple(growers),
            worst=worst,
            healthy=_healthy(self._calm, worst[0] if worst else None, names),
        )

    def _restarted_us(self, growers: Sequence[Grower]) -> int | None:
        """When the first of those that grow was started, if that was after all that do not: whatever was deployed came in between."""
        started = [known.started_at_us for known in growers]
        calm = self._calm_until[0] if self._calm_until else None
        if calm is None or not started or None in started:
            return None
        first = min(known for known in started if known is not None)
        return first if first > calm else None


def _later(*moments: int | None) -> int | None:
    """The latest of these moments; None if one is unknown."""
    return None if None in moments else max(known for known in moments if known is not None)


def _dominant(growers: Sequence[Grower]) -> tuple[str, str, Figure, int]:
    """What grows on most hosts; of as many, what grows fastest in all: its family, its name, the figure, and on how many."""
    hosts: dict[tuple[str, str, Figure], set[str]] = defaultdict(set)
    slopes: dict[tuple[str, str, Figure], float] = defaultdict(float)
    for known in growers:
        key = (known.family, known.what, known.figure)
        hosts[key].add(known.host)
        slopes[key] += known.trend.slope
    if not hosts:
        return "", "", Figure.FOOTPRINT, 0
    key = min(hosts, key=lambda known: (-len(hosts[known]), -slopes[known], known))
    return (*key, len(hosts[key]))


def _release_names(releases: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """What to call each release: those of its versions that are not the same everywhere; nothing where there is only one."""
    known = sorted(releases)
    if len(known) < 2:
        return dict.fromkeys(known, "")
    columns = [len(set(column)) > 1 for column in zip_longest(*known)]
    return {release: " ".join(word for word, differs in zip(release, columns, strict=False) if differs) or "none" for release in known}


def _releases(counts: dict[tuple[str, ...], list[int]], names: dict[tuple[str, ...], str]) -> tuple[Release, ...]:
    """The releases, if there are several: those that grow on the largest part of their hosts first."""
    if len(counts) < 2:
        return ()
    found = [Release(names[release], hosts, growing) for release, (hosts, growing) in counts.items()]
    return tuple(sorted(found, key=lambda release: (-release.growing / release.hosts, -release.hosts, release.name)))


def _healthy(calm: dict[tuple[str, ...], list[Calm]], worst: Suspect | None, names: dict[tuple[str, ...], str]) -> tuple[Healthy, ...]:
    """A few of the hosts that do not grow, of each release some, the oldest first: that those have run for longer says most."""
    if worst is None:
        return ()
    ours = curve_of(worst)
    chosen: list[Calm] = []
    for row in zip_longest(*(calm[release] for release in sorted(calm))):
        chosen += [known for known in row if known is not None]
    return tuple(_beside(known, ours, names[known.release]) for known in chosen[:_HEALTHY])


def _beside(known: Calm, ours: Sequence[tuple[float, int]], release: str) -> Healthy:
    begin, end = known.curve[0][0], known.curve[-1][0]
    common = (max(begin, ours[0][0]), min(end, ours[-1][0])) if ours else (begin, begin)
    if common[1] <= common[0]:
        last = known.curve[-1][1]
        return Healthy(known.host, known.pid, release, known.verdict, end, last, last - known.curve[0][1], None, None)
    (first, last), (our_first, our_last) = ([_at(curve, age) for age in common] for curve in (known.curve, ours))
    return Healthy(known.host, known.pid, release, known.verdict, common[1], last, last - first, our_last, our_last - our_first)


def _at(curve: Sequence[tuple[float, int]], age: float) -> int:
    """What a curve holds at an age between its ends, by a line between its points."""
    place = bisect_left(curve, (age,))
    if place == 0:
        return curve[0][1]
    if place == len(curve):
        return curve[-1][1]
    (before, low), (after, high) = curve[place - 1], curve[place]
    return round(low + (high - low) * (age - before) / (after - before)) if after > before else high
