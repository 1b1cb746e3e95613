"""What is kept of the result of one host, for that of the fleet: all of what grows, and of all else as little as will do."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median

from pmapdiff.align.lineage import Lineage, in_order, lineage_of, release_of
from pmapdiff.analyse.fleet_result import Calm, Grower, HostLeaks, HostService
from pmapdiff.analyse.result import Finding, Leaks, Suspect, Verdict
from pmapdiff.text import decode

_HOUR_US = 3.6e9
_CURVE_POINTS = 12
# What the judge of a series can tell an onset from: it looks at no more than so many blocks (analyse/judge.py).
_BLOCKS = 60
_NUMBER_OF = re.compile(r"^[\d,]+ (?:× )?")


def keep_of(host: str, leaks: Leaks) -> HostLeaks:
    """What is kept of the leaks of one host."""
    services: dict[Lineage, list[Suspect]] = defaultdict(list)
    for suspect in leaks.processes:
        services[lineage_of(suspect.process, host)].append(suspect)
    return HostLeaks(
        host,
        leaks.since_us,
        leaks.until_us,
        leaks.snapshots,
        tuple(_service(lineage, services[lineage], leaks) for lineage in sorted(services, key=in_order)),
    )


def main_growth(suspect: Suspect) -> Finding | None:
    """The finding that says that it grows, the worst; None where it does not."""
    if suspect.verdict is not Verdict.GROWING:
        return None
    return next((known for known in suspect.findings if known.trend.verdict is Verdict.GROWING), None)


def _service(lineage: Lineage, suspects: Sequence[Suspect], leaks: Leaks) -> HostService:
    growing = [(suspect, finding) for suspect in suspects if (finding := main_growth(suspect)) is not None]
    calm = [known for known in suspects if known.verdict not in (Verdict.GROWING, Verdict.TOO_SHORT)]
    releases: dict[tuple[str, ...], bool] = {}
    for suspect in suspects:
        release = _release(suspect)
        releases[release] = releases.get(release, False) or suspect.verdict is Verdict.GROWING
    oldest: dict[tuple[str, ...], Calm] = {}
    for found in sorted((_calm(suspect) for suspect in calm), key=lambda known: (-known.age_hours, known.pid)):
        if found.curve:
            oldest.setdefault(found.release, found)
    started = [suspect.process.started_at_us for suspect in calm]
    return HostService(
        lineage,
        min((suspect.process.pid, _title(suspect)) for suspect in suspects)[1],
        len(suspects),
        tuple(sorted(Counter(suspect.verdict for suspect in suspects).items())),
        tuple(sorted(releases.items())),
        tuple(_grower(suspect, finding, leaks) for suspect, finding in growing),
        tuple(oldest[release] for release in sorted(oldest)),
        None if None in started else max((known for known in started if known is not None), default=None),
        tuple(suspect for suspect, _ in growing),
    )


def _title(suspect: Suspect) -> str:
    return suspect.process.name


def _release(suspect: Suspect) -> tuple[str, ...]:
    return tuple(map(decode, release_of(suspect.process)))


def _grower(suspect: Suspect, finding: Finding, leaks: Leaks) -> Grower:
    moments = suspect.moments_us
    onset_us = finding.trend.onset_us
    precision_us = _precision_us(moments, onset_us)
    return Grower(
        suspect.host,
        suspect.process.pid,
        _release(suspect),
        finding.family,
        _NUMBER_OF.sub("", finding.name),
        finding.figure,
        finding.trend,
        onset_us is not None and (onset_us > moments[0] + precision_us or _began_here(suspect, leaks)),
        precision_us,
        suspect.process.started_at_us,
        next((value for value in reversed(suspect.series) if value is not None), None),
        suspect.urgent,
        min((limit for known in suspect.findings for limit in known.limits), key=lambda limit: (limit.low_hours, limit.what), default=None),
        min(known.trend.p for known in suspect.findings if known.trend.verdict is Verdict.GROWING),
    )


def _began_here(suspect: Suspect, leaks: Leaks) -> bool:
    """Whether the service itself began within the record of its host."""
    if leaks.since_us is None or suspect.moments_us[0] <= leaks.since_us:
        return False
    started = suspect.process.started_at_us
    return bool(suspect.restarts) or started is None or started > leaks.since_us


def _precision_us(moments: Sequence[int], onset_us: int | None) -> int:
    """How well an onset is known: no better than the captures beside it, nor than the blocks that are looked at."""
    if len(moments) < 2:
        return 0
    place = 0 if onset_us is None else bisect_left(moments, onset_us)
    beside = [moments[i] - moments[i - 1] for i in (place, place + 1) if 0 < i < len(moments)]
    return max(*beside, (moments[-1] - moments[0]) // _BLOCKS) if beside else 0


def curve_of(suspect: Suspect, points: int | None = None) -> tuple[tuple[float, int], ...]:
    """What its last incarnation held at which age in hours; at most so many points, the first and the last of them in any case."""
    born_us = suspect.process.started_at_us
    known = [(moment, value) for moment, value in zip(suspect.moments_us, suspect.series, strict=True) if value is not None]
    if suspect.restarts and born_us is not None:
        known = [(moment, value) for moment, value in known if moment >= born_us]
    if not known:
        return ()
    if born_us is None or born_us > known[0][0]:
        born_us = known[0][0]
    if points is not None and len(known) > points:
        known = [known[i * (len(known) - 1) // (points - 1)] for i in range(points)]
    return tuple((round((moment - born_us) / _HOUR_US, 4), value) for moment, value in known)


def _calm(suspect: Suspect) -> Calm:
    curve = curve_of(suspect, _CURVE_POINTS)
    return Calm(suspect.host, suspect.process.pid, _release(suspect), suspect.verdict, curve[-1][0] if curve else 0.0, curve)


def middle(values: Sequence[float]) -> float:
    """The middle one, 0 where there is none."""
    return float(median(values)) if values else 0.0
