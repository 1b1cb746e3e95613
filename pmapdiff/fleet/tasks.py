"""What is asked of one host: the very functions that a command on one host calls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from pmapdiff.fleet.source import HostSource, opened
from pmapdiff.store import ProcessFilter

if TYPE_CHECKING:
    from pmapdiff.align import Classifier
    from pmapdiff.analyse.fleet_result import HostLeaks
    from pmapdiff.analyse.result import Leaks
    from pmapdiff.compare import Comparison
    from pmapdiff.compare.fleet import HostComparison


@dataclass(frozen=True, slots=True)
class Asked:
    """What of every host is looked at: where, from when to when (µs since the epoch), processes of which name; `buckets` are a file of rules."""

    location: str
    since_us: int | None = None
    until_us: int | None = None
    name: str | None = None
    buckets: tuple[bytes, str] | None = None


@dataclass(frozen=True, slots=True)
class LeaksTask:
    """`pmapdiff leaks --host HOST`, and of its result what is kept."""

    asked: Asked
    horizon_hours: float
    family: str | None = None

    def __call__(self, host: str) -> HostLeaks:
        """Look at a host."""
        from pmapdiff.analyse.fleet_host import keep_of

        return keep_of(host, self.leaks(opened(self.asked.location), host))

    def leaks(self, source: HostSource, host: str) -> Leaks:
        """All that is said of a host."""
        from pmapdiff.align import trace
        from pmapdiff.analyse.leaks import find_leaks

        asked, wanted = self.asked, ProcessFilter(name=self.asked.name)
        snapshots = source.series(host, asked.since_us, asked.until_us, wanted)
        history = trace(snapshots, source.last_seen(host, asked.since_us), classifier=_classifier(asked.buckets))
        return find_leaks(history, horizon_hours=self.horizon_hours, family=self.family)


@dataclass(frozen=True, slots=True)
class CompareTask:
    """`pmapdiff compare T1 T2` on a host, of its last snapshots at or before two moments (µs since the epoch), and of its result what is kept."""

    asked: Asked
    before_us: int
    after_us: int

    def __call__(self, host: str) -> HostComparison:
        """Look at a host."""
        from pmapdiff.compare.fleet import HostComparison, keep_of

        comparison = self.comparison(opened(self.asked.location), host)
        return comparison if isinstance(comparison, HostComparison) else keep_of(host, comparison)

    def comparison(self, source: HostSource, host: str) -> Comparison | HostComparison:
        """All that changed on a host; if there are no two snapshots to compare, which there are."""
        from pmapdiff.compare import compare_snapshots
        from pmapdiff.compare.fleet import HostComparison

        wanted = ProcessFilter(name=self.asked.name)
        before, after = (source.last_at(host, moment, wanted) for moment in (self.before_us, self.after_us))
        if before is None or after is None or before == after:
            return HostComparison(host, before, after)
        one, other = source.load(host, sorted((before, after), key=lambda ref: ref.taken_at_us), wanted)
        if one.ref != before:
            one, other = other, one
        return compare_snapshots(one, other, classifier=_classifier(self.asked.buckets))


@lru_cache(maxsize=1)
def _classifier(buckets: tuple[bytes, str] | None) -> Classifier:
    from pmapdiff.align import BUILT_IN, parse_buckets

    return BUILT_IN if buckets is None else parse_buckets(*buckets)
