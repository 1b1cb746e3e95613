"""`pmapdiff history`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.cli._app import (
    BucketsOption,
    Global,
    PidOption,
    SortOption,
    TopOption,
    argument_text,
    classifier_of,
    command,
    parse_threshold,
    screen_view,
)
from pmapdiff.cli._progress import counted
from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.text import printable


@command(
    "history",
    """
pmapdiff history '[heap]' --pid 1100
pmapdiff history --family anon --name redis --since '2h ago'
pmapdiff history 7ff2cdefc000 --format csv
""",
    order=7,
    short_help="Show regions over time.",
)
def history(
    context: typer.Context,
    region: Annotated[
        str | None,
        typer.Argument(metavar="REGION", help="A region: its name ([heap], libc.so.6 bss), an address, or the id that this command prints."),
    ] = None,
    family: Annotated[str | None, typer.Option("--family", metavar="FAMILY", help="Only regions of this family: heap, anon, thread-stack, …")] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", "-n", metavar="REGEX", help="Only processes whose name or program this is found in; if there is none, regions of such a name."
        ),
    ] = None,
    pid: PidOption = None,
    since: Annotated[str | None, typer.Option("--since", metavar="WHEN", help="From this snapshot or time on.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Up to this snapshot or time.")] = None,
    by: Annotated[str, typer.Option("--by", metavar="WHAT", help="region or family.")] = "region",
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="text, json or csv.")] = "text",
    buckets: BucketsOption = None,
    sort: SortOption = None,
    threshold: Annotated[
        str | None, typer.Option("--threshold", "-t", metavar="SIZE", help="Sum up regions that vary by less than this in every figure: 64K, 1.5M.")
    ] = None,
    top: TopOption = None,
) -> None:
    """Show how regions changed over time: one or two in full, of more a line each.

    Regions are followed through growth, splits, merges and moves, and through restarts of the service. Where there is no table there is a gap.
    """
    from pmapdiff.align import trace
    from pmapdiff.report import write_report
    from pmapdiff.report.regions import RegionFilter
    from pmapdiff.store import ProcessFilter

    if by not in ("region", "family"):
        raise UsageError(f"--by {by}: one of region, family")
    classifier = classifier_of(buckets)
    if family is not None and family not in classifier.families:
        raise UsageError(f"--family {printable(family)}: one of {', '.join(classifier.families)}")
    options: Global = context.obj
    view = screen_view(by=by, sort=sort, threshold_kib=parse_threshold(threshold), top=top)
    store = options.open_store()
    wanted = ProcessFilter(frozenset(pid or ()), name)
    regions = RegionFilter(region, family, None)
    if name is not None and not store.has_process(wanted):
        wanted, regions = ProcessFilter(frozenset(pid or ())), RegionFilter(region, family, name)
    since_us, until_us = (None if text is None else store.moment(argument_text(text)) for text in (since, until))
    refs = store.refs(since_us, until_us, wanted)
    found = regions.apply(trace(counted(store.walk(refs, wanted), len(refs), "snapshots"), store.last_seen(wanted), classifier=classifier))
    if not found.services:
        raise NotFoundError(_nothing(region, family, name, bool(refs)))
    write_report("history", form, found, view, sys.stdout)


def _nothing(region: str | None, family: str | None, name: str | None, any_snapshot: bool) -> str:
    if not any_snapshot or (region, family, name) == (None, None, None):
        return "there is no snapshot of such a process in this time: see `pmapdiff snapshots` and `pmapdiff processes`"
    given = [("", region), ("--family ", family), ("--name ", name)]
    what = " ".join(f"{option}{printable(text)}" for option, text in given if text is not None)
    return f"there is no region {what}: `pmapdiff history` lists those that changed, `pmapdiff show` all of one snapshot"
