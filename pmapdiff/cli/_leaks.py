"""What `leaks` and `check` have in common: which snapshots and processes, and what is found in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pmapdiff.cli._app import Global
from pmapdiff.cli._progress import counted_snapshots

if TYPE_CHECKING:
    from pmapdiff.analyse.result import Leaks
    from pmapdiff.model.oom import OomKill
    from pmapdiff.store import ProcessFilter

SinceOption = Annotated[str | None, typer.Option("--since", metavar="WHEN", help="From this snapshot or time on.")]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Up to this snapshot or time.")]
FamilyOption = Annotated[
    str | None, typer.Option("--family", metavar="FAMILY", help="Only what this family did: heap, anon, malloc-arena, …, or mapping-count.")
]
WithinOption = Annotated[
    str, typer.Option("--within", metavar="DURATION", help="Growth is urgent if it fills the memory, or reaches a limit, within this time.")
]


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
    """What the wanted processes did from one WHEN to another. Raises UsageError, NotFoundError."""
    from pmapdiff.api.look import Span, classifier_of, find_growth

    return find_growth(
        options.open_store(),
        wanted,
        Span(since, until),
        family=family,
        within=within,
        kills=kills,
        classifier=classifier_of(buckets),
        counted=counted_snapshots,
    )
