"""From the history of a store to what is said of each of its services."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from pmapdiff.align import History, ServiceHistory
from pmapdiff.analyse.chance import FALSE_DISCOVERIES, discovery_chances
from pmapdiff.analyse.end import end_of, kill_of
from pmapdiff.analyse.findings import LEAST_KIB, Findings
from pmapdiff.analyse.result import Figure, Leaks, Sibling, Suspect, Trend, Verdict
from pmapdiff.analyse.siblings import is_sibling, siblings_of
from pmapdiff.model import ProcessInfo
from pmapdiff.model.oom import OomKill
from pmapdiff.units import plural

DEFAULT_HORIZON_HOURS = 90 * 24.0
_ORDER = tuple(Verdict)


def find_leaks(
    history: History,
    *,
    horizon_hours: float = DEFAULT_HORIZON_HOURS,
    family: str | None = None,
    kills: Sequence[OomKill] = (),
    pids: Collection[int] = (),
) -> Leaks:
    """What is said of each service of a history, the worst first; those that a kill tells of before all others.

    Growth is urgent if it fills something within `horizon_hours`. With a `family` (or `mapping-count`) only that is judged; with `pids` only the
    services
    that were one of these once are, and the others are there to be compared with. Raises nothing: of what cannot be judged it is said why.
    """
    pool = [_Judged(history, service, horizon_hours, family) for service in history.services]
    judged = [known for known in pool if not pids or any(incarnation.process.pid in pids for incarnation in known.service.incarnations)]
    _discount_chance(judged)
    suspects = [(known, known.suspect(kills, pool)) for known in judged]
    suspects.sort(key=lambda item: _rank(item[1]))
    refs = history.snapshots
    moments = [ref.taken_at_us for ref in refs]
    return Leaks(
        min(moments, default=None),
        max(moments, default=None),
        len(refs),
        tuple(sorted({ref.host for ref in refs})),
        tuple(suspect for _, suspect in suspects),
        horizon_hours,
        tuple(_notes(kills, [suspect for _, suspect in suspects])),
    )


class _Judged:
    """One service with its findings."""

    def __init__(self, history: History, service: ServiceHistory, horizon_hours: float, family: str | None) -> None:
        self.history, self.service, self.family = history, service, family
        self.looked = Findings(history, service, horizon_hours)
        self.findings = self.looked.all(family)

    @property
    def p(self) -> float:
        """About how often memory that only wanders would look like its growth."""
        return min((known.trend.p for known in self.findings if known.trend.verdict is Verdict.GROWING), default=1.0)

    @property
    def varies(self) -> bool:
        """Whether there was anything to judge."""
        return bool(self.looked.series.steps) and (bool(self.findings) or self.looked.series.total.extent > LEAST_KIB)

    def doubt(self, number: int) -> None:
        """Take its growth for chance: among so many some look like it."""
        said = f"among {plural(number, 'service')} that vary, some look like this by chance: look at it alone (--name), or with more snapshots"
        self.findings = [
            replace(
                known, trend=replace(known.trend, verdict=Verdict.STABLE), evidence=(said, *known.evidence), suggestion="", urgent=False, limits=()
            )
            if known.trend.verdict is Verdict.GROWING
            else known
            for known in self.findings
        ]

    @property
    def verdict(self) -> Verdict:
        """The worst of its findings, or what it does as a whole."""
        verdicts = {known.trend.verdict for known in self.findings}
        if Verdict.GROWING in verdicts:
            return Verdict.GROWING
        whole = self.looked.total.verdict
        if self.family is not None:
            return next((v for v in _ORDER if v in verdicts), Verdict.TOO_SHORT if whole is Verdict.TOO_SHORT else Verdict.STABLE)
        if whole is Verdict.GROWING:
            # It does, but by too little to matter, or it is known what nearly all of it does.
            whole = self.findings[0].trend.verdict if self.findings and self.looked.is_mostly(self.findings[0]) else Verdict.STABLE
        return Verdict.CACHE if whole is Verdict.STABLE and Verdict.CACHE in verdicts else whole

    def suspect(self, kills: Sequence[OomKill], pool: Sequence[_Judged]) -> Suspect:
        """What is said of it."""
        service, series = self.service, self.looked.series
        verdict = self.verdict
        kill = kill_of(service, kills)
        leading = self.findings[0].trend if verdict is Verdict.GROWING and self.findings else self.looked.total
        total = series.total if series.steps else None
        values = () if total is None else total.rounded()
        siblings: tuple[Sibling, ...] = ()
        if verdict is Verdict.GROWING or kill is not None:
            alike = [known for known in pool if is_sibling(service.process, known.service.process)]
            siblings = siblings_of(series, service.host, [(known.service, known.looked.series, known.verdict) for known in alike])
        return Suspect(
            process=service.process if kill is None else _killed(service, kill),
            host=service.host,
            snapshots=len(series.steps),
            verdict=verdict,
            trend=leading,
            findings=tuple(self.findings),
            figure=series.figure,
            moments_us=tuple(int(moment) for moment in series.moments_us),
            series=values,
            restarts=len(service.incarnations) - 1,
            urgent=any(known.urgent for known in self.findings),
            end=end_of(series, leading, kill, gone=_is_gone(self.history, service)) if series.steps else None,
            siblings=siblings,
            notes=tuple(self._notes(leading)),
        )

    def _notes(self, trend: Trend) -> list[str]:
        series, notes = self.looked.series, []
        if series.left_out:
            notes.append(f"{plural(series.left_out, 'snapshot')} left out: the table was torn, or only a part of it is there")
        if series.uses_damaged:
            notes.append("nearly all tables are torn or in part: sums may be off")
        if series.without_table:
            notes.append(f"{plural(series.without_table, 'snapshot')} without a table of it")
        if series.steps and series.figure is not Figure.FOOTPRINT:
            notes.append(f"the tables do not say what is anonymous: this is about {series.figure.capitalize()} of memory without files")
        if trend.verdict is Verdict.TOO_SHORT:
            notes.append(f"{plural(len(series.steps), 'snapshot')} of it: five of one incarnation are the least that anything can be said of")
        return notes


def _killed(service: ServiceHistory, kill: OomKill) -> ProcessInfo:
    """The incarnation that was killed."""
    return next(known.process for known in reversed(service.incarnations) if known.process.pid == kill.pid)


def _discount_chance(judged: Sequence[_Judged]) -> None:
    """Of many services some grow by chance alone: those that may be are no longer called growing."""
    tested = [known for known in judged if known.varies]
    if len(tested) < 2:
        return
    chances = discovery_chances([known.p for known in tested])
    for known, chance in zip(tested, chances, strict=True):
        if known.p < 1.0 and chance > FALSE_DISCOVERIES:
            known.doubt(len(tested))


def _is_gone(history: History, service: ServiceHistory) -> bool:
    """Whether somebody who looked for the same processes on its host later did not find it any more."""
    last = service.lifetime[-1]
    known = history.snapshots[last]
    return any(ref.host == known.host and ref.selection == known.selection and ref.source == known.source for ref in history.snapshots[last + 1 :])


def _rank(suspect: Suspect) -> tuple[object, ...]:
    killed = suspect.end is not None and bool(suspect.end.lines)
    order = _ORDER.index(suspect.verdict)
    soonest = min((limit.low_hours for known in suspect.findings for limit in known.limits), default=float("inf"))
    return (not killed, order, not suspect.urgent, soonest if suspect.urgent else 0.0, -abs(suspect.trend.delta), suspect.process.pid)


def _notes(kills: Sequence[OomKill], suspects: Sequence[Suspect]) -> list[str]:
    if not kills or any(suspect.end is not None and suspect.end.lines for suspect in suspects):
        return []
    return [f"none of the {plural(len(kills), 'process', 'processes')} that were killed is among those that were recorded"]
