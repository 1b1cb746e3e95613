"""What a sweep over many hosts finds: of each host what is to be kept of it, and the fleet that these come to."""

from __future__ import annotations

from dataclasses import dataclass

from pmapdiff.align.lineage import Lineage
from pmapdiff.analyse.result import Figure, Suspect, TimeToLimit, Trend, Verdict
from pmapdiff.model.fleet import Failure


@dataclass(frozen=True, slots=True)
class Calm:
    """A process that does not grow: how old it was when it was last seen, in hours, and points (age, KiB) of its last incarnation."""

    host: str
    pid: int
    release: tuple[str, ...]
    verdict: Verdict
    age_hours: float
    curve: tuple[tuple[float, int], ...]


@dataclass(frozen=True, slots=True)
class Grower:
    """A process that grows, by its main finding.

    `what` names it without numbers (`[heap]`). Its onset is known no better than to `precision_us`; if it is not `dated`, the record of its host
    begins no longer before it than that, so that it may be older. `size_kib` is what the process held at the end; `p` is about how often memory that
    only wanders would look like it.
    """

    host: str
    pid: int
    release: tuple[str, ...]
    family: str
    what: str
    figure: Figure
    trend: Trend
    dated: bool
    precision_us: int
    started_at_us: int | None
    size_kib: int | None
    urgent: bool
    limit: TimeToLimit | None
    p: float


@dataclass(frozen=True, slots=True)
class HostService:
    """What one host says of a service: of its processes how many there are of each verdict, those that grow, and a calm one of each release.

    `releases` are those that its processes are of, each with whether one of them grows. `calm_until_us` is when the youngest of those that were
    judged and do not grow was started (None: that is unknown of one of them, or there is none). `suspects` are those that grow, in full.
    """

    lineage: Lineage
    title: str
    processes: int
    verdicts: tuple[tuple[Verdict, int], ...]
    releases: tuple[tuple[tuple[str, ...], bool], ...]
    growers: tuple[Grower, ...]
    calm: tuple[Calm, ...]
    calm_until_us: int | None
    suspects: tuple[Suspect, ...]


@dataclass(frozen=True, slots=True)
class HostLeaks:
    """What is kept of the result of `leaks` on one host."""

    host: str
    since_us: int | None
    until_us: int | None
    snapshots: int
    services: tuple[HostService, ...]


@dataclass(frozen=True, slots=True)
class SharedOnset:
    """An onset that many hosts have in common, as after a deploy: `hosts` of all `dated` ones from one moment to another, give or take the precision.

    `chance` is at most how often onsets that have nothing to do with each other would lie as close.
    """

    hosts: int
    dated: int
    since_us: int
    until_us: int
    precision_us: int
    chance: float


@dataclass(frozen=True, slots=True)
class Release:
    """A version of a service, as the names of its program and script say it: on how many hosts it runs, and on how many of these it grows."""

    name: str
    hosts: int
    growing: int


@dataclass(frozen=True, slots=True)
class Healthy:
    """A process of a host on which its service does not grow, beside the worst one at an age that both had.

    Sizes are KiB; growth is that since an earlier age. `ours_kib` and `ours_grown_kib` are those of the worst one, None if it was never that old.
    """

    host: str
    pid: int
    release: str
    verdict: Verdict
    age_hours: float
    footprint_kib: int
    grown_kib: int
    ours_kib: int | None
    ours_grown_kib: int | None


@dataclass(frozen=True, slots=True)
class ServiceLeaks:
    """One service of the fleet.

    `hosts` is on how many it runs, `judged` on how many of these something can be said of it, `growing` and `urgent` on how many it grows, and so.
    `chance` is about which part of those services that look as much like growth, among all of the fleet, only look so (Benjamini and Hochberg, of
    the chance that the hosts of this one together have); `may_be_chance` says that it is too large to go by. `before` is on how many it grew when
    their record began, `onset` what the others have in common. `restarted_us` is when all that grow had been started since, where all that do not had
    been started before. `family` and `what` are what grows on most hosts; slopes (an hour, of that) are the middle one and the worst.
    `growers` are all of them, the worst first; `worst` the first ones in full.
    """

    lineage: Lineage
    title: str
    hosts: int
    judged: int
    growing: int
    urgent: int
    processes: int
    verdicts: tuple[tuple[Verdict, int], ...]
    chance: float
    may_be_chance: bool
    releases: tuple[Release, ...]
    onset: SharedOnset | None
    before: int
    restarted_us: int | None
    family: str
    what: str
    what_hosts: int
    figure: Figure
    median_slope: float
    worst_slope: float
    growers: tuple[Grower, ...]
    worst: tuple[Suspect, ...]
    healthy: tuple[Healthy, ...]

    @property
    def is_growing(self) -> bool:
        """Whether it grows anywhere, and not only by chance."""
        return self.growing > 0 and not self.may_be_chance


@dataclass(frozen=True, slots=True)
class FleetLeaks:
    """The services of all hosts, worst first. Moments in µs since the epoch; None if there is no snapshot.

    `hosts` were asked about; of those in `silent` there is no such process in this time, those in `failures` could not be read.
    """

    since_us: int | None
    until_us: int | None
    hosts: int
    snapshots: int
    silent: tuple[str, ...]
    failures: tuple[Failure, ...]
    services: tuple[ServiceLeaks, ...]
    horizon_hours: float
