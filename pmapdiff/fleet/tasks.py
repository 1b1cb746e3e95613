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
        refs = source.refs(host, asked.since_us, asked.until_us, wanted)
        history = trace(source.walk(host, refs, wanted), source.last_seen(host, wanted), classifier=_classifier(asked.buckets))
        return find_leaks(history, horizon_hours=self.horizon_hours, family=self.family)


@lru_cache(maxsize=1)
def _classifier(buckets: tuple[bytes, str] | None) -> Classifier:
    from pmapdiff.align import BUILT_IN, parse_buckets

    return BUILT_IN if buckets is None else parse_buckets(*buckets)
