"""`pmapdiff import`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.api.source import read_files, warnings_of
from pmapdiff.cli._app import Global, check_label, command
from pmapdiff.cli._progress import ProgressLine
from pmapdiff.cli._when import warn
from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.text import argument_text, printable
from pmapdiff.units import parse_duration, plural


@command(
    "import",
    """
pmapdiff import before.smaps after.smaps
pmapdiff import --at '2026-11-22 14:00' redis.pmap-x.txt redis.pmap-d.txt
pmapdiff import --every 5m monday/*.smaps.gz
ssh web1 'pmap -X 1100' | pmapdiff import --host web1 -
""",
    order=2,
    short_help="Take saved mapping tables into the store.",
)
def import_(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Saved mapping tables, in any form that there is.")],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="When the tables were taken. Default: what the file says, else when it was modified."),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option("--every", metavar="DURATION", help="The tables are a series in this order, with so much time between them: 10s, 5m."),
    ] = None,
    pid: Annotated[
        int | None, typer.Option("--pid", "-p", metavar="PID", min=1, help="Whose table it is, where the file does not say; else take only this one.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", "-l", metavar="TEXT", help="A name for the snapshots.")] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="NAME", help="The host that the tables are from. Default: what the file says, else 'imported'.")
    ] = None,
    form: Annotated[str | None, typer.Option("--format", metavar="FORM", help="The files' form, where it cannot be told from their content.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Take what is whole of a file that was cut off.")] = False,
) -> None:
    """Take saved mapping tables into the store, one snapshot for each moment in each file.

    A FILE is what pmap or /proc printed, a core dump, a crash report, a heap profile; packed, pasted between other text, an archive or a folder
    laid out like /proc; - is standard input. What pmap printed of the same process and rows in several forms becomes one table. Nothing is stored
    unless every file can be read.
    """
    from pmapdiff.formats.combine import combine
    from pmapdiff.formats.saved import moments_of
    from pmapdiff.model import IMPORTED, Snapshot, SnapshotRef

    label = None if label is None else check_label(label)
    at_us, every_us = _moment_us(at), None if every is None else int(parse_duration(every) * 1e6)
    options: Global = context.obj
    with ProgressLine() as progress:
        combined = combine(read_files(files, form, progress, partial=partial))
        moments = moments_of([table for table in combined if pid is None or table.pid in (None, pid)], pid)
        if not moments:
            raise NotFoundError(f"none of the files has a table of pid {pid}; nothing was stored")
        first_us = moments[0].taken_at_us if at_us is None else at_us
        taken = []
        for number, moment in enumerate(moments):
            taken_at_us = moment.taken_at_us if at_us is None else at_us
            if every_us is not None:
                taken_at_us = first_us + number * every_us
            whose = argument_text(host) if host is not None else moment.host or IMPORTED
            taken.append(Snapshot(SnapshotRef(None, taken_at_us, whose, label, argument_text(moment.source)), moment.captures))
        progress.draw(f"storing {plural(len(combined), 'table')}")
        refs = options.open_store(write=True).write_all(taken)
    for warning in warnings_of(combined):
        warn(warning)
    for ref, snapshot in zip(refs, taken, strict=True):
        mappings = sum(len(capture.table.mappings) for capture in snapshot.captures if capture.table is not None)
        sys.stdout.write(
            f"snapshot {ref.id}: {plural(len(snapshot.captures), 'table')}, {plural(mappings, 'mapping')}, from {printable(ref.source)}\n"
        )


def _moment_us(at: str | None) -> int | None:
    """The time that --at says. Raises UsageError if it is none."""
    from pmapdiff.store.when import parse_when

    if at is None:
        return None
    moment_us: int | None = getattr(parse_when(at), "moment_us", None)
    if moment_us is None:
        raise UsageError(f"--at {at!r} is no time: write 2026-11-22T14:00 or '2h ago'")
    return moment_us
