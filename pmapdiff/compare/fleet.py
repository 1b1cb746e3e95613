"""From the comparisons of hosts to that of the fleet: service by service, whatever order they come in, and without keeping them all."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median

from pmapdiff.align import Match
from pmapdiff.align.lineage import Lineage, in_order, lineage_of, release_of
from pmapdiff.compare.result import Comparison, ProcessComparison
from pmapdiff.model import FIGURE_INDEX, Capture, SnapshotRef
from pmapdiff.model.fleet import Failure
from pmapdiff.text import decode

FIGURES = ("footprint_kib", "rss_kib")
# Of each service so many hosts are kept that grew most, and as many that shrank most.
WORST = 5
# What glibc adds to [heap] at once (M_TOP_PAD, malloc/malloc.c): a host on which a service changed by less has not grown.
LEAST_KIB = 132


@dataclass(frozen=True, slots=True)
class Change:
    """A figure in KiB then and now; None where a source does not have it."""

    before: int | None
    after: int | None

    @property
    def delta(self) -> int | None:
        """By how much it is more now."""
        return None if self.before is None or self.after is None else self.after - self.before


@dataclass(frozen=True, slots=True)
class HostChange:
    """The processes of a service on one host: how many, how many of them were started again, their figures and the versions in their names.

    `families` are differences of the footprint, or of Rss where there is no footprint, in KiB. `incomparable` counts processes without a table on
    either side.
    """

    host: str
    lineage: Lineage
    title: str
    processes: tuple[int, int]
    restarted: int
    incomparable: int
    footprint: Change
    rss: Change
    families: tuple[tuple[str, int], ...]
    releases: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def main(self) -> int | None:
        """By how much the footprint changed, or Rss where there is none."""
        return self.footprint.delta if self.footprint.delta is not None else self.rss.delta


@dataclass(frozen=True, slots=True)
class HostComparison:
    """What is kept of the comparison of one host; `before` or `after` is None where there is no snapshot at or before that moment."""

    host: str
    before: SnapshotRef | None
    after: SnapshotRef | None
    services: tuple[HostChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """A difference over many hosts: all together, the middle one, the largest and the smallest, of so many hosts on which it is known."""

    hosts: int = 0
    total: int = 0
    median: float = 0.0
    most: int = 0
    least: int = 0


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """One service of the fleet: on how many hosts it was, on how many it grew, its processes then and now, and what changed of it."""

    lineage: Lineage
    title: str
    hosts: int
    grew: int
    hosts_restarted: int
    hosts_released: int
    processes: tuple[int, int]
    incomparable: int
    footprint: Spread
    rss: Spread
    families: tuple[tuple[str, int], ...]
    worst: tuple[HostChange, ...]
    shrunk: tuple[HostChange, ...]

    @property
    def main(self) -> Spread:
        """Of the footprint, or of Rss where there is none."""
        return self.footprint if self.footprint.hosts else self.rss


@dataclass(frozen=True, slots=True)
class FleetComparison:
    """The services of all hosts at two moments (µs since the epoch), the largest change first.

    Of the hosts in `silent` there is no snapshot at or before one of the moments, of those in `stale` none between them; those in `failures` could
    not be read. The snapshots that stand for the moments lie up to `late_us` before them.
    """

    before_us: int
    after_us: int
    hosts: int
    silent: tuple[str, ...]
    stale: tuple[str, ...]
    failures: tuple[Failure, ...]
    late_us: int
    services: tuple[ServiceChange, ...]


def keep_of(host: str, comparison: Comparison) -> HostComparison:
    """What is kept of the comparison of one host."""
    services: dict[Lineage, list[ProcessComparison]] = defaultdict(list)
    for process in comparison.processes:
        services[lineage_of(process.process, host)].append(process)
    changes = tuple(_host_change(host, lineage, services[lineage]) for lineage in sorted(services, key=in_order))
    return HostComparison(host, comparison.before, comparison.after, changes)


def _host_change(host: str, lineage: Lineage, processes: Sequence[ProcessComparison]) -> HostChange:
    comparable = [process for process in processes if process.comparable]
    footprint, rss = (_change(comparable, figure) for figure in FIGURES)
    figure = FIGURES[0] if footprint.delta is not None else FIGURES[1]
    families: Counter[str] = Counter()
    for row in chain.from_iterable(process.families for process in comparable):
        families[row.family] += row.get(figure) or 0
    releases = [sorted({" ".join(map(decode, release_of(c.process))) for c in captures if c is not None}) for captures in _sides(processes)]
    counts = [sum(capture is not None for capture in captures) for captures in _sides(processes)]
    return HostChange(
        host,
        lineage,
        min((process.process.pid, process.process.name) for process in processes)[1],
        (counts[0], counts[1]),
        sum(process.match is Match.RESTARTED for process in processes),
        len(processes) - len(comparable),
        footprint,
        rss,
        tuple(sorted((family, kib) for family, kib in families.items() if kib)),
        (tuple(releases[0]), tuple(releases[1])),
    )


def _sides(processes: Sequence[ProcessComparison]) -> tuple[list[Capture | None], list[Capture | None]]:
    return [process.before for process in processes], [process.after for process in processes]


def _change(processes: Sequence[ProcessComparison], figure: str) -> Change:
    """The sums of a figure over processes that have tables; None where one lacks it."""
    index = FIGURE_INDEX[figure]
    before, after = 0, 0
    for process in processes:
        assert process.totals_before is not None
        assert process.totals_after is not None
        if process.delta[index] is None:
            return Change(None, None)
        before += process.totals_before.figures[index] or 0
        after += process.totals_after.figures[index] or 0
    return Change(before, after) if processes else Change(None, None)


class Gathering:
    """Takes the hosts in, in whatever order they are done."""

    def __init__(self, before_us: int, after_us: int) -> None:
        self._before_us, self._after_us = before_us, after_us
        self._services: dict[Lineage, _Gathered] = defaultdict(_Gathered)
        self._silent: list[str] = []
        self._stale: list[str] = []
        self._failures: list[Failure] = []
        self._hosts = self._late_us = 0

    def add(self, found: HostComparison | Failure) -> None:
        """One more host."""
        self._hosts += 1
        if isinstance(found, Failure):
            self._failures.append(found)
        elif found.before is None or found.after is None:
            self._silent.append(found.host)
        elif found.before == found.after:
            self._stale.append(found.host)
        else:
            late = (self._before_us - found.before.taken_at_us, self._after_us - found.after.taken_at_us)
            self._late_us = max(self._late_us, *late)
            for change in found.services:
                self._services[change.lineage].add(change)

    def result(self) -> FleetComparison:
        """What they come to."""
        services = [self._services[lineage].service(lineage) for lineage in sorted(self._services, key=in_order)]
        services.sort(key=lambda known: (-abs(known.main.total), -known.hosts, known.title, in_order(known.lineage)))
        failures = tuple(sorted(self._failures))
        ends = (self._before_us, self._after_us)
        return FleetComparison(*ends, self._hosts, tuple(sorted(self._silent)), tuple(sorted(self._stale)), failures, self._late_us, tuple(services))


class _Gathered:
    """What is kept of one service."""

    def __init__(self) -> None:
        self._hosts = self._grew = self._restarted = self._released = self._incomparable = 0
        self._processes = [0, 0]
        # Numbers as they are: of a hundred thousand hosts there are as many for each service.
        self._footprint, self._rss = array("q"), array("q")
        self._families: Counter[str] = Counter()
        self._worst: list[HostChange] = []
        self._shrunk: list[HostChange] = []
        self._title: tuple[str, str] | None = None

    def add(self, change: HostChange) -> None:
        self._hosts += 1
        self._grew += (change.main or 0) > LEAST_KIB
        self._restarted += change.restarted > 0
        before, after = change.releases
        self._released += bool(before and after) and before != after
        self._incomparable += change.incomparable
        for side, number in enumerate(change.processes):
            self._processes[side] += number
        for values, delta in ((self._footprint, change.footprint.delta), (self._rss, change.rss.delta)):
            if delta is not None:
                values.append(delta)
        self._families.update(dict(change.families))
        if (change.main or 0) > 0:
            self._worst = sorted([*self._worst, change], key=lambda known: (-(known.main or 0), known.host))[:WORST]
        elif (change.main or 0) < 0:
            self._shrunk = sorted([*self._shrunk, change], key=lambda known: (known.main or 0, known.host))[:WORST]
        self._title = min(self._title or (change.host, change.title), (change.host, change.title))

    def service(self, lineage: Lineage) -> ServiceChange:
        families = sorted(((family, kib) for family, kib in self._families.items() if kib), key=lambda item: (-abs(item[1]), item[0]))
        return ServiceChange(
            lineage,
            self._title[1] if self._title else "",
            self._hosts,
            self._grew,
            self._restarted,
            self._released,
            (self._processes[0], self._processes[1]),
            self._incomparable,
            _spread(self._footprint),
            _spread(self._rss),
            tuple(families),
            tuple(self._worst),
            tuple(self._shrunk),
        )


def _spread(values: array[int]) -> Spread:
    return Spread(len(values), sum(values), float(median(values)), max(values), min(values)) if values else Spread()
