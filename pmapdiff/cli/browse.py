"""`pmapdiff browse`."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from pmapdiff.cli._app import BucketsOption, Global, HostOption, NameOption, PidOption, chosen, command
from pmapdiff.cli._leaks import SinceOption, UntilOption, look
from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.text import printable

if TYPE_CHECKING:
    from pmapdiff.analyse.result import Leaks
    from pmapdiff.store import ProcessFilter


@command(
    "browse",
    """
pmapdiff browse
pmapdiff browse --name redis --since '2h ago'
pmapdiff browse --follow
""",
    order=9,
    short_help="Look at the store on the screen, and go through time.",
)
def browse(
    context: typer.Context,
    pid: PidOption = None,
    name: NameOption = None,
    host: HostOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show new snapshots as they are recorded.")] = False,
    buckets: BucketsOption = None,
) -> None:
    """Look at the store on the screen: hosts, processes, one process through time, and what changed between any two of its snapshots.

    Without --since it looks at the last 1,000 snapshots. The key ? lists all keys. Nothing is written.
    """
    _demand_terminal()
    try:
        from pmapdiff.browse.app import BrowseApp
    except ImportError as error:
        raise UsageError(f"browse needs Textual ({error}): pip install 'pmapdiff[tui]'") from None
    from pmapdiff.api.look import Span, classifier_of
    from pmapdiff.browse.source import MOST_SNAPSHOTS, Source
    from pmapdiff.store import sqlite_path

    options: Global = context.obj
    wanted = chosen(host, pid, name)
    classifier = classifier_of(buckets)
    store = options.open_store()
    place = ""
    if since is None:
        try:
            store.resolve(f"latest~{MOST_SNAPSHOTS}", wanted)
            since = str(store.resolve(f"latest~{MOST_SNAPSHOTS - 1}", wanted).id)
            place = f", last {MOST_SNAPSHOTS:,} snapshots"
        except NotFoundError:
            # There are not so many.
            if not follow:
                store.resolve("latest", wanted)
    since_us, until_us = Span(since, until).moments_us(store, wanted)
    path = sqlite_path(store.location)
    source = Source(store, wanted, since_us, until_us, classifier)
    verdicts = partial(judge, options.location, wanted, since, until, buckets)
    app = BrowseApp(source, printable(store.location if path is None else path.name) + place, verdicts, follow=follow)
    # The mouse stays the terminal's, so that one can select and copy.
    app.run(mouse=False)
    if app.return_code:
        # It has printed its traceback.
        raise typer.Exit(2)


def _demand_terminal() -> None:
    if not _is_terminal():
        raise UsageError("browse needs a terminal: `pmapdiff processes`, `leaks`, `history` and `compare` say the same to a file or a pipe")
    if os.environ.get("TERM", "dumb") in ("dumb", ""):
        raise UsageError("browse needs a terminal that can move its cursor, and TERM is dumb: `pmapdiff processes`, `leaks` and `compare` need none")


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def judge(location: str | None, wanted: ProcessFilter, since: str | None, until: str | None, buckets: str | None) -> Leaks:
    """What `leaks` finds, for a process of its own: it can be pickled by its name."""
    from pmapdiff.api.look import DEFAULT_WITHIN

    return look(Global(location), wanted, since, until, family=None, within=DEFAULT_WITHIN, buckets=buckets)
