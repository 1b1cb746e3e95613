"""What `leaks` finds: the result that every report of it reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pmapdiff.model import ProcessInfo


class Verdict(StrEnum):
    """What a series does. In the order in which an investigator wants to see them."""

    GROWING = "growing"
    """It keeps growing to its end, and it is not page cache."""
    STEP = "step"
    """It changed once or twice at a stroke, and stayed there."""
    PLATEAU = "plateau"
    """It grew, and has stopped, or is about to: a warm-up, a cache that is full, memory kept after a burst."""
    SAWTOOTH = "sawtooth"
    """It rises and is freed again, and what stays each time does not grow."""
    CACHE = "cache"
    """Only pages of files grow, which the kernel drops when it needs the memory."""
    SHRINKING = "shrinking"
    """It keeps shrinking."""
    STABLE = "stable"
    """Nothing of all that."""
    TOO_SHORT = "too-short"
    """There are too few tables to say anything."""


class Figure(StrEnum):
    """What a series is of."""

    FOOTPRINT = "footprint"
    """KiB that cannot be dropped for free, without shared memory."""
    SHARED = "shared"
    """KiB of shared memory: Pss and swap of shm, sysv-shm and memfd."""
    CACHE = "cache"
    """KiB of Rss that is neither: pages of files."""
    RSS = "rss"
    """KiB of Rss, where the source has no counters from which a footprint could be told."""
    SIZE = "size"
    """KiB of address space, where the source has nothing else."""
    DIRTY = "dirty"
    """KiB of dirty pages of files."""
    MAPPINGS = "mappings"
    """The number of mappings; no KiB."""

    @property
    def is_count(self) -> bool:
        """Whether its values are numbers, not KiB."""
        return self is Figure.MAPPINGS


@dataclass(frozen=True, slots=True)
class Trend:
    """The verdict on one series.

    Slopes are per hour, in KiB or in mappings, of what lasts: between its jumps for `sawtooth`, since the onset for `growing`; `low` and `high`
    are the ends of their 95 %
    interval. `delta` is how much it grew since the onset, to its end; `onset_us` is when that began, in µs since the epoch, and None where nothing
    did.
    `words` say why, in the order of their weight. `p` is about how often memory that only wanders would look the same (1 where that was not asked).
    """

    verdict: Verdict
    slope: float = 0.0
    low: float = 0.0
    high: float = 0.0
    delta: float = 0.0
    onset_us: int | None = None
    words: tuple[str, ...] = ()
    p: float = 1.0


@dataclass(frozen=True, slots=True)
class TimeToLimit:
    """When something is full if it goes on like this: hours from the last snapshot on, as an interval.

    `what` is `cgroup limit`, `MemTotal`, `vm.max_map_count` or `RLIMIT_AS`; `limit` and `used` are KiB or mappings. `high_hours` is None where the
    low end of
    the slope would not ever reach it.
    """

    what: str
    limit: int
    used: int
    low_hours: float
    high_hours: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of a process that did not stay as it was, the worst first by `rank` (1, 2, …).

    `family` is one of `FAMILIES`, or `mapping-count`; `name` is that of a region, or says of how many; it is safe to print, as are `evidence` and
    `suggestion`. `share` is the part of the growth of the process that this is (None where the process did not grow). `region_ids` are what
    `history` knows its regions by.
    `urgent` says that it fills the memory within the time that was asked for. `series` is what it is judged by: the figure at each of the
    `moments_us` of its process, in KiB or mappings.
    """

    rank: int
    family: str
    name: str
    figure: Figure
    trend: Trend
    share: float | None
    limits: tuple[TimeToLimit, ...]
    evidence: tuple[str, ...]
    suggestion: str
    region_ids: tuple[str, ...] = ()
    urgent: bool = False
    series: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Sibling:
    """Another process of the same program and name, at an age that both had: its footprint in KiB, and what that had grown since an earlier age."""

    process: ProcessInfo
    host: str
    verdict: Verdict
    age_hours: float
    footprint_kib: int
    grown_kib: int
    ours_kib: int
    ours_grown_kib: int


@dataclass(frozen=True, slots=True)
class End:
    """How a process was last seen, and what the kernel said when it killed it. Sizes in KiB.

    `last_seen_us` is its last capture with a table; `lines` compare the kernel's figures with it, in words that are safe to print.
    """

    last_seen_us: int
    footprint_kib: int | None
    rss_kib: int | None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Suspect:
    """One service and what is said of it.

    `verdict` is the worst of its findings, or what its footprint does as a whole; `series` has its figure (`figure`: footprint, or Rss or Size
    where the
    source has no more) at each snapshot of its life, None for a gap; `moments_us` are their times. `restarts` counts its incarnations but for the
    first. `urgent` says that
    a finding is. `end` is there where its end was asked for.
    """

    process: ProcessInfo
    host: str
    snapshots: int
    verdict: Verdict
    trend: Trend
    findings: tuple[Finding, ...]
    figure: Figure
    moments_us: tuple[int, ...]
    series: tuple[int | None, ...]
    restarts: int = 0
    urgent: bool = False
    end: End | None = None
    siblings: tuple[Sibling, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leaks:
    """The services of a store from one moment to another, worst first. Moments in µs since the epoch; None if there is no snapshot."""

    since_us: int | None
    until_us: int | None
    snapshots: int
    hosts: tuple[str, ...]
    processes: tuple[Suspect, ...]
    horizon_hours: float
    notes: tuple[str, ...] = ()
