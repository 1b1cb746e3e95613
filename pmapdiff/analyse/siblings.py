"""Other processes of the same program, at the age that both had: whether they grew alike."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pmapdiff.align import ServiceHistory
from pmapdiff.analyse.lines import Values
from pmapdiff.analyse.result import Sibling, Verdict
from pmapdiff.analyse.series import ServiceSeries
from pmapdiff.model import ProcessInfo

_MOST = 5
_HOUR_US = 3.6e9


def is_sibling(one: ProcessInfo, other: ProcessInfo) -> bool:
    """Whether two processes run the same program under the same name."""
    return one.identity != other.identity and one.name == other.name and (one.exe is None or other.exe is None or one.exe == other.exe)


def siblings_of(series: ServiceSeries, host: str, others: Iterable[tuple[ServiceHistory, ServiceSeries, Verdict]]) -> tuple[Sibling, ...]:
    """The siblings of a service, those on its own host first, compared at the oldest age that both were seen at, since the youngest."""
    ours = _by_age(series)
    if ours is None:
        return ()
    found = []
    for service, theirs_series, verdict in others:
        theirs = _by_age(theirs_series)
        if theirs is None or theirs_series.figure is not series.figure:
            continue
        begin, end = max(ours[0][0], theirs[0][0]), min(ours[0][-1], theirs[0][-1])
        if end <= begin:
            continue
        mine, their = (np.interp([begin, end], *known) for known in (ours, theirs))
        found.append(
            Sibling(
                service.process,
                service.host,
                verdict,
                float(end),
                round(their[1]),
                round(their[1] - their[0]),
                round(mine[1]),
                round(mine[1] - mine[0]),
            )
        )
    found.sort(key=lambda known: (known.host != host, -known.age_hours))
    return tuple(found[:_MOST])


def _by_age(series: ServiceSeries) -> tuple[Values, Values] | None:
    """Ages in hours and the figure of the last incarnation, where there are two samples at least."""
    if not series.steps:
        return None
    total = series.total
    last = total.life == total.life[-1]
    there = last & ~np.isnan(total.values)
    if there.sum() < 2:
        return None
    born_us = series.service.process.started_at_us
    moments = series.moments_us[there]
    if born_us is None or born_us > moments[0]:
        born_us = int(moments[0])
    return (moments - born_us) / _HOUR_US, total.values[there]
