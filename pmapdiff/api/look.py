"""What is looked for in a whole series: regions over time, and what keeps growing. `history`, `leaks` and `check` ask here, and so do programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.model import Snapshot, SnapshotRef
from pmapdiff.text import argument_text, printable

if TYPE_CHECKING:
    from pmapdiff.align import Classifier, History
    from pmapdiff.analyse.result import Leaks
    from pmapdiff.model.oom import OomKill
    from pmapdiff.store import ProcessFilter, Store

MAPPING_COUNT = "mapping-count"
DEFAULT_WITHIN = "90d"

# Passes on snapshots, of which there are so many, and shows how far it is.
Counted = Callable[[Iterable[Snapshot], int], Iterable[Snapshot]]


class Span(NamedTuple):
    """From one WHEN to another, both included; None: from the first snapshot, to the last one."""

    since: str | None = None
    until: str | None = None

    def moments_us(self, store: Store, wanted: ProcessFilter) -> tuple[int | None, int | None]:
        """Both ends in µs since the epoch; snapshots are of the wanted hosts. Raises NotFoundError, UsageError."""
        since, until = (None if text is None else store.moment(argument_text(text), wanted) for text in self)
        return since, until

    def refs(self, store: Store, wanted: ProcessFilter) -> list[SnapshotRef]:
        """The snapshots in it that hold a wanted process, the oldest first."""
        return store.refs(*self.moments_us(store, wanted), wanted)


def classifier_of(path: str | None) -> Classifier:
    """What a file of rules says that mappings are for (`--buckets`); the built-in rules alone without one. Raises UsageError."""
    from pmapdiff.align import BUILT_IN, parse_buckets

    if not path:
        return BUILT_IN
    source = argument_text(path)
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise UsageError(f"--buckets {source}: {getattr(error, 'strerror', None) or error}") from None
    return parse_buckets(data, source)


def find_history(
    store: Store,
    wanted: ProcessFilter,
    span: Span,
    *,
    region: str | None = None,
    family: str | None = None,
    classifier: Classifier,
    counted: Counted,
) -> History:
    """How regions changed over time: one that people name, those of a family, or all of the wanted processes.

    If no process has the wanted name, regions of such a name are meant. Raises UsageError, and NotFoundError if there is none.
    """
    from pmapdiff.align import trace
    from pmapdiff.report.regions import RegionFilter

    if family is not None and family not in classifier.families:
        raise UsageError(f"--family {printable(family)}: one of {', '.join(classifier.families)}")
    name = wanted.name
    regions = RegionFilter(region, family, None)
    if name is not None and not store.has_process(wanted):
        wanted, regions = replace(wanted, name=None), RegionFilter(region, family, name)
    refs = span.refs(store, wanted)
    found = regions.apply(trace(counted(store.walk(refs, wanted), len(refs)), store.last_seen(wanted), classifier=classifier))
    if not found.services:
        raise NotFoundError(_no_region(region, family, name, bool(refs)))
    return found


def _no_region(region: str | None, family: str | None, name: str | None, any_snapshot: bool) -> str:
    if not any_snapshot or (region, family, name) == (None, None, None):
        return "there is no snapshot of such a process in this time: see `pmapdiff snapshots` and `pmapdiff processes`"
    given = [("", region), ("--family ", family), ("--name ", name)]
    what = " ".join(f"{option}{printable(text)}" for option, text in given if text is not None)
    return f"there is no region {what}: `pmapdiff history` lists those that changed, `pmapdiff show` all of one snapshot"


def find_growth(
    store: Store,
    wanted: ProcessFilter,
    span: Span,
    *,
    family: str | None = None,
    within: str = DEFAULT_WITHIN,
    kills: Sequence[OomKill] = (),
    classifier: Classifier,
    counted: Counted,
) -> Leaks:
    """What the wanted processes did from one WHEN to another; without an end, to that of the last kill, else to the last snapshot.

    Raises UsageError, and NotFoundError if there is no such process in that time.
    """
    from pmapdiff.analyse.leaks import find_leaks
    from pmapdiff.units import parse_duration

    check_family(family, classifier)
    horizon_hours = parse_duration(within) / 3600
    history = follow(store, wanted, span, kills=kills, classifier=classifier, counted=counted)
    return find_leaks(history, horizon_hours=horizon_hours, family=family, kills=kills, pids=wanted.pids)


def check_family(family: str | None, classifier: Classifier) -> None:
    """Raise UsageError if there is no such family to look for growth in."""
    families = (*classifier.families, MAPPING_COUNT)
    if family is not None and family not in families:
        raise UsageError(f"--family {printable(argument_text(family))}: one of {', '.join(families)}")


def follow(store: Store, wanted: ProcessFilter, span: Span, *, kills: Sequence[OomKill] = (), classifier: Classifier, counted: Counted) -> History:
    """The wanted processes from one WHEN to another; of a process also what it was before a restart, and others of its name.

    Without an end, to that of the last kill, else to the last snapshot. Raises UsageError, and NotFoundError if there is no such process in that
    time.
    """
    from pmapdiff.align import trace

    since_us, until_us = span.moments_us(store, wanted)
    if until_us is None:
        until_us = max((kill.time_us for kill in kills if kill.time_us is not None), default=None)
    loaded = wanted
    if wanted.pids and store.refs(since_us, until_us, wanted):
        # Whoever asks for a process asks for what it was before a restart, too, and how others of its program did.
        names = sorted({re.escape(known.process.name) for known in store.processes(wanted)})
        loaded = replace(wanted, pids=frozenset(), name=f"^({'|'.join(names)})$")
    refs = store.refs(since_us, until_us, loaded)
    history = trace(counted(store.walk(refs, loaded), len(refs)), store.last_seen(loaded), classifier=classifier)
    if not history.services:
        raise NotFoundError(_no_process(store, wanted, in_range=since_us is not None or until_us is not None))
    return history


def _no_process(store: Store, wanted: ProcessFilter, *, in_range: bool) -> str:
    """What there is not, and what to do about it."""
    if not store.count_snapshots():
        return "there is no snapshot in the store: record some with `pmapdiff record --all --every 1m`"
    which = "" if wanted.everything else f" that matches {wanted.describe()}"
    if not wanted.everything and not store.has_process(wanted):
        return f"there is no process{which} in the store: `pmapdiff processes` lists those that there are"
    if in_range:
        return f"there is no process{which} in this time: `pmapdiff snapshots` says which times there are"
    return f"there is no process{which} in the store: record some with `pmapdiff record --all`"
