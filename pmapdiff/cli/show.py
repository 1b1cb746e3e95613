"""`pmapdiff show`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.cli._app import BucketsOption, ExplainOption, NameOption, PidOption, TopOption, classifier_of, command, screen_view
from pmapdiff.cli._when import InputFormOption, PartialOption, Source
from pmapdiff.errors import UsageError


@command(
    "show",
    """
pmapdiff show latest --name redis --sort rss --top 20
pmapdiff show latest --by family
pmapdiff show 12 --pid 1100 --format smaps
pmapdiff show saved-pmap.txt --format csv
""",
    order=5,
)
def show(
    context: typer.Context,
    when: Annotated[str, typer.Argument(metavar="WHEN", help="Which snapshot, or a saved file.")] = "latest",
    pid: PidOption = None,
    name: NameOption = None,
    by: Annotated[str, typer.Option("--by", metavar="WHAT", help="mapping, or family: sums over all these processes.")] = "mapping",
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="text, json, csv, or smaps (one process, byte for byte).")] = "text",
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="KEY", help="address, size, rss, pss, dirty, anonymous, swap, footprint or name.")
    ] = None,
    top: TopOption = None,
    explain: ExplainOption = False,
    buckets: BucketsOption = None,
    partial: PartialOption = False,
    input_form: InputFormOption = None,
) -> None:
    """Show mapping tables as they were, with their totals."""
    from pmapdiff.report import write_report
    from pmapdiff.store import ProcessFilter

    if by not in ("mapping", "family"):
        raise UsageError(f"--by {by}: one of mapping, family")
    view = screen_view(by=by, sort=sort, top=top, explain=explain, classifier=classifier_of(buckets))
    source = Source(context.obj, ProcessFilter(frozenset(pid or ()), name), form=input_form, partial=partial)
    (snapshot,) = source.load(when)
    source.demand(snapshot)
    write_report("show", form, snapshot, view, sys.stdout)
