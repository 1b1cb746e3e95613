"""What `leaks` and `check` have in common: which snapshots and processes, and what is found in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pmapdiff.cli._app import Global, argument_text, classifier_of
from pmapdiff.cli._progress import counted
from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.text import printable

if TYPE_CHECKING:
    from pmapdiff.analyse.result import Leaks
    from pmapdiff.model.oom import OomKill
    from pmapdiff.store import ProcessFilter, Store

SinceOption = Annotated[str | None, typer.Option("--since", metavar="WHEN", help="From this snapshot or time on.")]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Up to this snapshot or time.")]
FamilyOption = Annotated[
    str | None, typer.Option("--family", metavar="FAMILY", help="Only what this family did: heap, anon, malloc-arena, …, or mapping-count.")
]
WithinOption = Annotated[
    str, typer.Option("--within", metavar="DURATION", help="Growth is urgent if it fills the memory, or reaches a limit, within this time.")
]
MAPPING_COUNT = "mapping-count"


def look(
    options: Global,
    wanted: ProcessFilter,
    since: str | None,
    until: str | None,
    *,
    family: str | None,
    within: str,
    buckets: str | None,
    kills: Sequence[OomKill] = (),
) -> Leaks:
    """What the wanted processes did from one WHEN to another; without an end, to that of the last kill, else to the last snapshot.

    Raises UsageError, and NotFoundError if there is no such process in that time.
    """
    from pmapdiff.align import trace
    from pmapdiff.analyse.leaks import find_leaks
    from pmapdiff.store import ProcessFilter
    from pmapdiff.units import parse_duration

    classifier = classifier_of(buckets)
    families = (*classifier.families, MAPPING_COUNT)
    if family is not None and family not in families:
        raise UsageError(f"--family {printable(argument_text(family))}: one of {', '.join(families)}")
    horizon_hours = parse_duration(within) / 3600
    store = options.open_store()
    since_us, until_us = (None if text is None else store.moment(argument_text(text)) for text in (since, until))
    if until_us is None:
        until_us = max((kill.time_us for kill in kills if kill.time_us is not None), default=None)
    loaded = wanted
    if wanted.pids and store.refs(since_us, until_us, wanted):
        # Whoever asks for a process asks for what it was before a restart, too, and how others of its program did.
        names = sorted({re.escape(known.process.name) for known in store.processes(wanted)})
        loaded = ProcessFilter(name=f"^({'|'.join(names)})$")
    refs = store.refs(since_us, until_us, loaded)
    history = trace(counted(store.walk(refs, loaded), len(refs), "snapshots"), store.last_seen(loaded), classifier=classifier)
    if not history.services:
        raise NotFoundError(_nothing(store, wanted, in_range=since_us is not None or until_us is not None))
    return find_leaks(history, horizon_hours=horizon_hours, family=family, kills=kills, pids=wanted.pids)


def _nothing(store: Store, wanted: ProcessFilter, *, in_range: bool) -> str:
    """What there is not, and what to do about it."""
    if not store.count_snapshots():
        return "there is no snapshot in the store: record some with `pmapdiff record --all --every 1m`"
    which = "" if wanted.everything else f" that matches {wanted.describe()}"
    if not wanted.everything and not store.has_process(wanted):
        return f"there is no process{which} in the store: `pmapdiff processes` lists those that there are"
    if in_range:
        return f"there is no process{which} in this time: `pmapdiff snapshots` says which times there are"
    return f"there is no process{which} in the store: record some with `pmapdiff record --all`"
