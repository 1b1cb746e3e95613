"""From results to the content of a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from statistics import median

from pmapdiff.align import FAMILIES, History, RegionHistory, ServiceHistory
from pmapdiff.analyse.result import Finding, Leaks, Suspect, Verdict
from pmapdiff.compare import Comparison, ProcessComparison
from pmapdiff.model import SnapshotRef
from pmapdiff.model.mapping import known_perms
from pmapdiff.model.oom import OomKill
from pmapdiff.report.leak_shape import evidence_lines
from pmapdiff.report.leak_words import figure_words, finding_lines, history_commands, looked_words, verdict_sentence, what_words
from pmapdiff.report.leak_words import headline as leaks_headline
from pmapdiff.report.regions import region_title, service_title
from pmapdiff.report.sparkline import gaps
from pmapdiff.report.visual.content import Content, Mark, Moment, Panel, Row, Scope, Span, largest_first
from pmapdiff.report.visual.series import FIGURES, Series, together
from pmapdiff.report.words import again_words, caveats, effect_words, headline, snapshot_words
from pmapdiff.text import printable
from pmapdiff.units import format_duration, format_moment_short, plural, to_datetime

# Of so many processes every region is told, the worst first: of more there is no room in a page.
_IN_FULL = 60
_HOUR_MS = 3_600_000
_WITHOUT_VERDICT = frozenset((Verdict.STABLE, Verdict.TOO_SHORT))


@dataclass(frozen=True, slots=True)
class Story:
    """The results that a page is made of.

    `comparison` is of the two snapshots that somebody named, None if nobody did; then `of_services` has for each service (by its place in the
    history) that of its first table with its last one. `leaks` is None where there is too little.
    """

    history: History
    comparison: Comparison | None
    leaks: Leaks | None
    made_at_us: int
    kills: Sequence[OomKill] = ()
    families: tuple[str, ...] = FAMILIES
    of_services: Mapping[int, Comparison] = field(default_factory=dict)


def content_of(story: Story) -> Content:
    """What there is to be seen of these results."""
    history = story.history
    moments = _moments(history.snapshots)
    services = _in_order(story)
    scopes = [_scope(story, service, moments, in_full=place < _IN_FULL) for place, service in enumerate(services)]
    if len(scopes) > 1:
        scopes.insert(0, _all(story, scopes, services, moments))
    steps = _pair(story)
    shown = next((place for place, scope in enumerate(scopes[:2]) if not scope.is_all and (len(scopes) == 1 or scope.verdict == "growing")), 0)
    families = tuple(name for name in story.families if any(row.family == name for scope in scopes for row in scope.families))
    refs = history.snapshots
    about = [looked_words(len(refs), refs[0].taken_at_us, refs[-1].taken_at_us)]
    hosts = sorted({printable(ref.host) for ref in refs if ref.host})
    if hosts:
        about.append(f"on {', '.join(hosts)}")
    if story.comparison is not None:
        about += [f"before: {snapshot_words(story.comparison.before)}", f"after: {snapshot_words(story.comparison.after)}"]
    return Content(
        title=scopes[1 if len(scopes) > 1 and shown else 0].title if shown or len(scopes) == 1 else f"{len(services)} processes",
        headline=_headline(story, scopes, shown),
        about=tuple(about),
        notes=(*(story.leaks.notes if story.leaks is not None else ()), *_left_out(len(history.services) - len(services))),
        moments=moments,
        families=families,
        scopes=tuple(scopes),
        pair=steps,
        shown=shown,
        made_at_us=story.made_at_us,
    )


def _left_out(number: int) -> list[str]:
    """What is said of services that are not in the page."""
    return [f"left out, as no table was read of them: {plural(number, 'process', 'processes')}"] if number else []


def _headline(story: Story, scopes: Sequence[Scope], shown: int) -> str:
    if len(scopes) == 1 or shown:
        return scopes[shown].answer
    return leaks_headline(story.leaks) if story.leaks is not None else scopes[0].answer


class Clock:
    """Places in time as a picture has them: ms since 1970 by the clock of whoever makes it, as if that had always been what it is at the end.

    So an hour that a clock on the wall shows twice is two hours, and lines run forward.
    """

    def __init__(self, last_us: int) -> None:
        offset = to_datetime(last_us).astimezone().utcoffset()
        self._offset_ms = 0 if offset is None else round(offset.total_seconds() * 1000)

    def ms(self, moment_us: int) -> int:
        """The place of a moment, in µs since the epoch."""
        return moment_us // 1000 + self._offset_ms


def _moments(refs: Sequence[SnapshotRef]) -> tuple[Moment, ...]:
    clock = Clock(refs[-1].taken_at_us)
    moments: list[Moment] = []
    for ref in refs:
        label = ref.label or ("" if ref.id is not None else ref.source)
        # No two at one place, or they would be drawn as one.
        place = max(clock.ms(ref.taken_at_us), moments[-1].clock_ms + 1 if moments else -(1 << 62))
        shift = Clock(ref.taken_at_us).ms(ref.taken_at_us) - place
        moments.append(Moment(ref.id, ref.taken_at_us, place, format_moment_short(ref.taken_at_us), printable(label), shift))
    return tuple(moments)


def _pair(story: Story) -> tuple[int, int]:
    """The places of the two snapshots that are compared."""
    refs = story.history.snapshots
    if story.comparison is None:
        return 0, len(refs) - 1
    places = [next((i for i, ref in enumerate(refs) if ref == wanted), None) for wanted in (story.comparison.before, story.comparison.after)]
    return (0 if places[0] is None else places[0]), (len(refs) - 1 if places[1] is None else places[1])


def _in_order(story: Story) -> list[ServiceHistory]:
    """The services, what an investigator wants to see first: as `leaks` ranks them, else as `compare` does."""
    services = [service for service in story.history.services if any(total is not None for total in service.totals)]
    services = services or list(story.history.services)
    if story.leaks is not None:
        known = [(suspect.process.identity, suspect.host) for suspect in story.leaks.processes]
        places = {identity: place for place, identity in reversed(list(enumerate(known)))}
        ranked = {id(s): min((places.get((i.process.identity, s.host), len(known)) for i in s.incarnations), default=0) for s in services}
    elif story.comparison is not None:
        compared = {process.process.identity: place for place, process in enumerate(story.comparison.processes)}
        ranked = {id(s): min(compared.get(i.process.identity, len(compared)) for i in s.incarnations) for s in services}
    else:
        ranked = {id(s): -max(((total.get("rss_kib") or total.get("size_kib") or 0) for total in s.totals if total), default=0) for s in services}
    return sorted(services, key=lambda service: (ranked[id(service)], service.process.pid))


def _scope(story: Story, service: ServiceHistory, moments: Sequence[Moment], *, in_full: bool) -> Scope:
    history = story.history
    suspect, pairing = _suspect_of(story, service), _compared_of(story, service)
    tables = [step for step, total in enumerate(service.totals) if total is not None]
    sentences: list[str] = []
    notes: list[str] = []
    changed = ""
    if pairing is not None:
        compared, comparison = pairing
        changed = headline(compared, comparison)
        sentences += [changed, *effect_words(compared)]
        notes += caveats(compared)
    if not tables:
        notes.append("no table of it was read")
    title = service_title(service, history)
    answer = changed or title
    if suspect is not None and suspect.verdict not in _WITHOUT_VERDICT:
        answer = f"{title}: {verdict_sentence(suspect)}"
    if suspect is not None:
        notes += map(printable, suspect.notes)
        if suspect.end is not None:
            sentences += map(printable, suspect.end.lines)
    by_family: dict[str, list[RegionHistory]] = defaultdict(list)
    for known in service.regions:
        by_family[known.region.label.family].append(known)
    families = [Row(name, name, name, Series.of_sum([known.samples for known in by_family[name]])) for name in story.families if name in by_family]
    totals = Series.of_totals(service.totals)
    return Scope(
        title=title,
        answer=answer,
        verdict="" if suspect is None else suspect.verdict.value,
        urgent=suspect is not None and suspect.urgent,
        what=printable(service.process.command_line),
        steps=tuple(tables),
        totals=totals,
        families=tuple(families),
        rows=tuple(largest_first([_region(known) for known in service.regions], _first_known(totals))) if in_full else (),
        regions=len(service.regions),
        marks=tuple(_marks(story, service, moments)),
        sentences=tuple(sentence for sentence in sentences if sentence != answer),
        notes=tuple(notes),
        panels=tuple(_panel(finding, suspect, service, moments) for finding in suspect.findings) if suspect is not None else (),
    )


def _first_known(totals: Series) -> str:
    return next((figure for figure in FIGURES if any(value is not None for value in totals.values(figure))), "size")


def _suspect_of(story: Story, service: ServiceHistory) -> Suspect | None:
    identities = {known.process.identity for known in service.incarnations}
    suspects = story.leaks.processes if story.leaks is not None else ()
    return next((suspect for suspect in suspects if suspect.host == service.host and suspect.process.identity in identities), None)


def _compared_of(story: Story, service: ServiceHistory) -> tuple[ProcessComparison, Comparison] | None:
    """What a comparison says of a service, if it pairs the same two processes."""
    place = next(place for place, known in enumerate(story.history.services) if known is service)
    comparison = story.comparison or story.of_services.get(place)
    if comparison is None:
        return None
    sides = []
    for ref in (comparison.before, comparison.after):
        step = next((step for step, known in enumerate(story.history.snapshots) if known == ref), None)
        capture = None if step is None else service.captures[step]
        sides.append(None if capture is None else capture.process.identity)
    for process in comparison.processes:
        found = [None if capture is None else capture.process.identity for capture in (process.before, process.after)]
        if found == sides and any(sides):
            return process, comparison
    return None


def _region(known: RegionHistory) -> Row:
    label = known.region.label
    spans: list[Span] = []
    for step, mappings in known.region.spans:
        lie = tuple((m.start, m.end - m.start, known_perms(m.perms) or "") for m in mappings if not m.is_sum)
        if not spans or spans[-1][1] != lie:
            spans.append((step, lie))
    return Row(
        key=known.id,
        family=label.family,
        name=region_title(known),
        series=Series.of(known.samples),
        perms=known_perms(label.perms) or "",
        path="" if label.path is None else printable(label.path),
        offset="" if label.offset is None else hex(label.offset),
        guess=known.region.possibly,
        spans=tuple(spans),
    )


def _marks(story: Story, service: ServiceHistory, moments: Sequence[Moment]) -> list[Mark]:
    """What happened to a service, in the order of time."""
    marks = [Mark("restart", moments[step].clock_ms, moments[step].words, again_words(known), step) for step, known in service.restarts().items()]
    for step in service.lifetime:
        capture = service.captures[step]
        if capture is not None and capture.status != "complete":
            note = f" ({printable(capture.note)})" if capture.note else ""
            marks.append(Mark("incomplete", moments[step].clock_ms, moments[step].words, f"the capture is marked {capture.status}{note}", step))
    life = list(service.lifetime)
    for place in gaps([moments[step].taken_at_us for step in life]):
        before, after = moments[life[place - 1]], moments[life[place]]
        pause = format_duration((after.taken_at_us - before.taken_at_us) / 1e6)
        marks.append(Mark("gap", before.clock_ms, before.words, f"no snapshot for {pause}", life[place]))
    pids = {known.process.pid for known in service.incarnations}
    clock = Clock(moments[-1].taken_at_us)
    marks += [_kill_mark(kill, kill.time_us, clock) for kill in story.kills if kill.pid in pids and kill.time_us is not None]
    return sorted(marks, key=lambda mark: mark.clock_ms)


def _kill_mark(kill: OomKill, moment_us: int, clock: Clock) -> Mark:
    name = printable(kill.name.decode("utf-8", "backslashreplace")) if kill.name else "a process"
    return Mark(
        "kill", clock.ms(moment_us), format_moment_short(moment_us), f"out of memory: {name} {kill.pid or ''} killed by {printable(kill.killer)}"
    )


def _panel(finding: Finding, suspect: Suspect, service: ServiceHistory, moments: Sequence[Moment]) -> Panel:
    """A finding with the series that it was judged by."""
    known = dict(zip(suspect.moments_us, finding.series, strict=False))
    values = tuple(known.get(moment.taken_at_us) for moment in moments) if known else ()
    onset_us = finding.trend.onset_us
    return Panel(
        title=what_words(finding),
        verdict=finding.trend.verdict.value,
        urgent=finding.urgent,
        figure=figure_words(finding.figure),
        unit="mappings" if finding.figure.is_count else "KiB",
        values=values,
        slopes=tuple(_slopes(finding, values, service, moments)),
        onset_ms=None if onset_us is None else Clock(moments[-1].taken_at_us).ms(onset_us),
        sentences=tuple(finding_lines(finding)),
        evidence=tuple(evidence_lines(finding)),
        suggestion=printable(finding.suggestion),
        commands=history_commands(finding),
    )


def _slopes(
    finding: Finding, values: Sequence[int | None], service: ServiceHistory, moments: Sequence[Moment]
) -> list[tuple[tuple[int, float], tuple[int, float]]]:
    """The slope since the onset, in each incarnation through the middle of what it is the slope of."""
    trend = finding.trend
    if trend.verdict not in (Verdict.GROWING, Verdict.SHRINKING, Verdict.CACHE) or trend.onset_us is None or not isfinite(trend.slope):
        return []
    onset, per_ms = Clock(moments[-1].taken_at_us).ms(trend.onset_us), trend.slope / _HOUR_MS
    slopes = []
    for first, end in pairwise([0, *service.restarts(), len(values)]):
        known = [(moments[step].clock_ms, value) for step in range(first, end) if (value := values[step]) is not None]
        points = [(at, value) for at, value in known if at >= onset]
        if len(points) > 1:
            level = median(value - per_ms * (at - onset) for at, value in points)
            low, high = ((at, level + per_ms * (at - onset)) for at in (points[0][0], points[-1][0]))
            slopes.append((low, high))
    return slopes


def _all(story: Story, scopes: Sequence[Scope], services: Sequence[ServiceHistory], moments: Sequence[Moment]) -> Scope:
    """All processes together: their sums, of which each has the figures that were last captured of it."""
    lives = [range(service.lifetime[0], service.lifetime[-1] + 1) for service in services]
    size = len(moments)
    families: dict[str, list[tuple[Series, range]]] = defaultdict(list)
    for scope, life in zip(scopes, lives, strict=True):
        for row in scope.families:
            families[row.family].append((row.series, life))
    rows = [
        Row(str(place), "", scope.title, together([(scope.totals, life)], size))
        for place, (scope, life) in enumerate(zip(scopes, lives, strict=True), 1)
    ]
    marks = [
        Mark(mark.kind, mark.clock_ms, mark.when, f"{scope.title}: {mark.words}", mark.step)
        for scope in scopes
        for mark in scope.marks
        if mark.kind in ("restart", "kill")
    ]
    late = gaps([moment.taken_at_us for moment in moments])
    for place, (before, after) in enumerate(pairwise(moments), 1):
        if place in late:
            pause = format_duration((after.taken_at_us - before.taken_at_us) / 1e6)
            marks.append(Mark("gap", before.clock_ms, before.words, f"no snapshot for {pause}", place))
    title = plural(len(services), "process", "processes")
    names = [name for name in story.families if name in families]
    return Scope(
        title=f"all {title}",
        answer=title,
        verdict="",
        urgent=False,
        what="",
        steps=tuple(range(size)),
        totals=together([(scope.totals, life) for scope, life in zip(scopes, lives, strict=True)], size),
        families=tuple(Row(name, name, name, together(families[name], size)) for name in names),
        rows=tuple(rows),
        regions=len(rows),
        marks=tuple(sorted(marks, key=lambda mark: mark.clock_ms)),
        is_all=True,
    )
