"""All that a report tells: a series, what keeps growing in it, and what changed between two of its moments."""

from __future__ import annotations

import pwd
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from pmapdiff.api.look import Counted, Span, follow
from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.store import ProcessFilter
from pmapdiff.text import argument_text, printable
from pmapdiff.units import format_moment_utc, parse_duration

if TYPE_CHECKING:
    from pmapdiff.align import Classifier, History
    from pmapdiff.api.source import Source
    from pmapdiff.compare import Comparison
    from pmapdiff.model import SnapshotRef
    from pmapdiff.model.oom import OomKill
    from pmapdiff.report.visual.build import Story
    from pmapdiff.report.visual.content import Content
    from pmapdiff.store import Store

# Of fewer tables nothing can be said that a comparison does not.
_LEAST_TABLES = 3
_MOST_PAIRS = 50
_FIRST_USER, _LAST_USER = 1000, 60000


def find_story(
    open_store: Callable[[], Store],
    source: Source,
    texts: Sequence[str],
    wanted: ProcessFilter,
    span: Span,
    *,
    within: str,
    kills: Sequence[OomKill],
    classifier: Classifier,
    counted: Counted,
) -> Story:
    """What is told of these WHENs: of two of the store all snapshots from one to the other, of files these, of none the whole span.

    Raises UsageError, and NotFoundError if there is no such process.
    """
    if texts and span != Span():
        raise UsageError("give two WHENs, or --since and --until, not both")
    if not texts:
        return story_of_range(open_store(), wanted, span, within=within, kills=kills, classifier=classifier, counted=counted)
    if len(texts) == 2 and not any(source.is_file(text) for text in texts):
        store = open_store()
        refs = _ends(store, wanted, texts[0], texts[1])
        # Between two hosts there is no time that passes.
        if not refs[0].is_elsewhere(refs[1]):
            return story_between(store, wanted, refs, within=within, kills=kills, classifier=classifier, counted=counted)
    return story_of_given(source, texts, wanted, within=within, kills=kills, classifier=classifier)


def story_of_range(
    store: Store, wanted: ProcessFilter, span: Span, *, within: str, kills: Sequence[OomKill], classifier: Classifier, counted: Counted
) -> Story:
    """What the wanted processes did from one WHEN to another; of each the first table is compared with the last one.

    Raises UsageError, and NotFoundError if there is no such process in that time.
    """
    history = follow(store, wanted, span, kills=kills, classifier=classifier, counted=counted)
    whole = history
    if wanted.pids:
        asked = tuple(s for s in history.services if any(known.process.pid in wanted.pids for known in s.incarnations))
        history = replace(history, services=asked or history.services)
    found = _story(history, whole, None, within, kills, wanted, classifier)
    return replace(found, of_services=_first_and_last(store, history, classifier))


def _ends(store: Store, wanted: ProcessFilter, first: str, last: str) -> list[SnapshotRef]:
    """The snapshots that two WHENs mean, the older one first. Raises UsageError, NotFoundError."""
    named = {text: store.resolve(text, wanted) for text in (first, last)}
    store.demand_one_host(named, wanted)
    return sorted((named[first], named[last]), key=lambda ref: (ref.taken_at_us, ref.id or 0))


def story_between(
    store: Store,
    wanted: ProcessFilter,
    refs: Sequence[SnapshotRef],
    *,
    within: str,
    kills: Sequence[OomKill],
    classifier: Classifier,
    counted: Counted,
) -> Story:
    """The same of all snapshots of a host from one to another, which are those that are compared. Raises UsageError, NotFoundError."""
    if refs[0].known_host is not None and refs[0].host == refs[1].host:
        wanted = replace(wanted, hosts=frozenset([refs[0].host]))
    span = Span(*(format_moment_utc(ref.taken_at_us) for ref in refs))
    found = story_of_range(store, wanted, span, within=within, kills=kills, classifier=classifier, counted=counted)
    return replace(found, comparison=_compared(store, refs, wanted, classifier))


def story_of_given(
    source: Source, texts: Sequence[str], wanted: ProcessFilter, *, within: str, kills: Sequence[OomKill], classifier: Classifier
) -> Story:
    """The same of these snapshots and saved files alone, the first and the last of which are compared. Raises UsageError, NotFoundError."""
    from pmapdiff.align import trace
    from pmapdiff.compare import compare_snapshots

    snapshots = source.load(*texts)
    source.demand(*snapshots)
    history = trace(snapshots, across_hosts=True, classifier=classifier)
    if not history.services:
        raise NotFoundError(f"there is no process in {' and '.join(printable(argument_text(text)) for text in texts)}")
    compared = compare_snapshots(snapshots[0], snapshots[-1], classifier=classifier) if len(snapshots) > 1 else None
    return _story(history, history, compared, within, kills, wanted, classifier)


def _first_and_last(store: Store, history: History, classifier: Classifier) -> dict[int, Comparison]:
    """For each service, by its place, the first table of it compared with the last one; of processes that came and went, of those that most did."""
    ends: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, service in enumerate(history.services):
        steps = [step for step, total in enumerate(service.totals) if total is not None]
        if len(steps) > 1:
            ends[steps[0], steps[-1]].append(place)
    found: dict[int, Comparison] = {}
    for pair, places in sorted(ends.items(), key=lambda item: -len(item[1]))[:_MOST_PAIRS]:
        services = [history.services[place] for place in places]
        pids = frozenset(known.process.pid for service in services for known in service.incarnations)
        compared = _compared(store, [history.snapshots[step] for step in pair], ProcessFilter(pids), classifier)
        if compared is not None:
            found.update(dict.fromkeys(places, compared))
    return found


def _compared(store: Store, refs: Sequence[SnapshotRef], wanted: ProcessFilter, classifier: Classifier) -> Comparison | None:
    from pmapdiff.compare import compare_snapshots

    if len(refs) < 2 or refs[0] == refs[1]:
        return None
    before, after = store.load_all(refs, wanted)
    return compare_snapshots(before, after, classifier=classifier)


def _story(
    history: History,
    whole: History,
    compared: Comparison | None,
    within: str,
    kills: Sequence[OomKill],
    wanted: ProcessFilter,
    classifier: Classifier,
) -> Story:
    from pmapdiff.analyse.leaks import find_leaks
    from pmapdiff.report.visual.build import Story

    horizon_hours = parse_duration(within) / 3600
    judged = find_leaks(whole, horizon_hours=horizon_hours, kills=kills, pids=wanted.pids) if len(history.snapshots) >= _LEAST_TABLES else None
    return Story(history, compared, judged, time.time_ns() // 1000, tuple(kills), classifier.families)


def content_without_names(content: Content, story: Story, rules: Sequence[str]) -> Content:
    """The content as it may leave the company: no hosts, users, arguments, and no paths but those of the system. Raises UsageError for a bad rule."""
    from pmapdiff.report.visual.redact import redacted
    from pmapdiff.report.words import script_name

    hosts = {ref.host for ref in story.history.snapshots}
    processes = [known.process for service in story.history.services for known in service.incarnations]
    users = _users(process.uid for process in processes if process.uid is not None)
    scripts = {script_name(process) for process in processes}
    return redacted(content, hosts, users, scripts - {""}, {process.name for process in processes}, rules)


def _users(uids: Iterable[int]) -> set[str]:
    """The names of people on this machine, and of those whose processes these are."""
    names = {entry.pw_name for entry in pwd.getpwall() if _FIRST_USER <= entry.pw_uid < _LAST_USER}
    for uid in uids:
        with suppress(KeyError):
            names.add(pwd.getpwuid(uid).pw_name)
    # It is everywhere, and tells nobody from another.
    return names - {"root"}
