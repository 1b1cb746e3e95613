"""`pmapdiff show`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.cli._app import BucketsOption, ExplainOption, HostOption, NameOption, TopOption, chosen, command, screen_view
from pmapdiff.cli._when import InputFormOption, PartialOption, Source
from pmapdiff.errors import UsageError
from pmapdiff.model import Snapshot, Status
from pmapdiff.text import printable

# The other forms are another program's, which has no words for a capture that went wrong.
_SAY_THE_STATUS = ("text", "json", "csv")


@command(
    "show",
    """
pmapdiff show latest --name redis --sort rss --top 20
pmapdiff show latest --by family
pmapdiff show 12 --pid 1100 --format smaps
pmapdiff show '2h ago' --pid 1100 --format pmap-x -p
pmapdiff show saved-pmap.txt --format csv
""",
    order=5,
)
def show(
    context: typer.Context,
    when: Annotated[str, typer.Argument(metavar="WHEN", help="Which snapshot, or a saved file.")] = "latest",
    # Without its -p: here that is pmap's.
    pid: Annotated[list[int] | None, typer.Option("--pid", metavar="PID", help="Only this process; may be repeated.")] = None,
    name: NameOption = None,
    host: HostOption = None,
    by: Annotated[str, typer.Option("--by", metavar="WHAT", help="mapping, or family: sums over all these processes.")] = "mapping",
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORM",
            help="text, json, csv; smaps, maps or smaps_rollup of one process; or as pmap prints it: pmap, pmap-x, pmap-d, pmap-X, pmap-XX.",
        ),
    ] = "text",
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="KEY", help="address, size, rss, pss, dirty, anonymous, swap, footprint or name.")
    ] = None,
    top: TopOption = None,
    explain: ExplainOption = False,
    buckets: BucketsOption = None,
    partial: PartialOption = False,
    input_form: InputFormOption = None,
    show_path: Annotated[bool, typer.Option("--show-path", "-p", help="As pmap -p: names with their paths.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="As pmap -q: no headings and no totals.")] = False,
    address_range: Annotated[
        str | None, typer.Option("--range", "-A", metavar="LOW,HIGH", help="As pmap -A: only mappings that touch these addresses (hexadecimal).")
    ] = None,
) -> None:
    """Show mapping tables as they were, with their totals."""
    from pmapdiff.api.look import classifier_of
    from pmapdiff.report import check_by, write_report
    from pmapdiff.units import parse_address_range

    if (show_path or quiet or address_range is not None) and not form.startswith("pmap"):
        raise UsageError(f"-p, -q and -A are for pmap's forms, --format {form} is none of them (a process is chosen with --pid)")
    check_by("show", by)
    view = screen_view(
        by=by,
        sort=sort,
        top=top,
        explain=explain,
        classifier=classifier_of(buckets),
        show_path=show_path,
        quiet=quiet,
        address_range=None if address_range is None else parse_address_range(address_range),
    )
    source = Source(context.obj, chosen(host, pid, name), form=input_form, partial=partial)
    (snapshot,) = source.load(when)
    source.demand(snapshot)
    write_report("show", form, snapshot, view, sys.stdout)
    if form not in _SAY_THE_STATUS:
        _say_the_status(snapshot)


def _say_the_status(snapshot: Snapshot) -> None:
    """Say on standard error which captures are not whole."""
    from pmapdiff.report.words import process_title

    for capture in snapshot.captures:
        if capture.status is not Status.COMPLETE:
            note = f": {printable(capture.note)}" if capture.note else ""
            sys.stderr.write(f"pmapdiff: {process_title(capture.process)}: this capture is marked {capture.status}{note}\n")
