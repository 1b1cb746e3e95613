"""`pmapdiff history`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.cli._app import BucketsOption, Global, HostOption, PidOption, SortOption, TopOption, chosen, command, parse_threshold, screen_view
from pmapdiff.cli._progress import counted_snapshots


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
    host: HostOption = None,
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
    from pmapdiff.api.look import Span, classifier_of, find_history
    from pmapdiff.report import check_by, write_report

    check_by("history", by)
    options: Global = context.obj
    view = screen_view(by=by, sort=sort, threshold_kib=parse_threshold(threshold), top=top)
    found = find_history(
        options.open_store(),
        chosen(host, pid, name),
        Span(since, until),
        region=region,
        family=family,
        classifier=classifier_of(buckets),
        counted=counted_snapshots,
    )
    write_report("history", form, found, view, sys.stdout)
