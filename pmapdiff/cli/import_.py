"""`pmapdiff import`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pmapdiff.cli._app import Global, argument_text, check_label, command
from pmapdiff.cli._when import warn
from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.text import printable
from pmapdiff.units import plural

if TYPE_CHECKING:
    from pmapdiff.formats import SavedTable
    from pmapdiff.model import Capture, ProcessIdentity, Snapshot


@command(
    "import",
    """
pmapdiff import before.smaps after.smaps
pmapdiff import --at '2026-11-22 14:00' redis.pmap-x.txt redis.pmap-d.txt
""",
    order=2,
    short_help="Take saved mapping tables into the store.",
)
def import_(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Saved smaps, maps or pmap output (plain, -x or -d).")],
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="When the tables were taken. Default: when the file was modified.")] = None,
    pid: Annotated[
        int | None, typer.Option("--pid", "-p", metavar="PID", min=1, help="Whose table it is, where the file does not say; else take only this one.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", "-l", metavar="TEXT", help="A name for the snapshots.")] = None,
    host: Annotated[str, typer.Option("--host", metavar="NAME", help="The host that the tables are from.")] = "imported",
    form: Annotated[str | None, typer.Option("--format", metavar="FORM", help="The files' form, where it cannot be told from their content.")] = None,
) -> None:
    """Take saved mapping tables into the store, one snapshot a file.

    The output of pmap -x and of pmap -d of the same process and rows, given together, becomes one table. Nothing is
    stored unless every file can be read.
    """
    from pmapdiff.formats.combine import combine
    from pmapdiff.formats.saved import read_saved
    from pmapdiff.store.when import parse_when

    if label is not None:
        label = check_label(label)
    moment_us: int | None = None
    if at is not None:
        when = parse_when(at)
        moment_us = getattr(when, "moment_us", None)
        if moment_us is None:
            raise UsageError(f"--at {at!r} is no time: write 2026-11-22T14:00 or '2h ago'")
    tables: list[tuple[str, SavedTable]] = []
    combined = combine([table for path in files for table in read_saved(path, form)])
    warn(combined)
    for table in combined:
        if pid is None or table.pid in (None, pid):
            tables.append((table.source, table))
    if not tables:
        raise NotFoundError(f"none of the files has a table of pid {pid}; nothing was stored")
    taken = _snapshots(tables, files, moment_us, pid, label, argument_text(host))
    options: Global = context.obj
    for ref, snapshot in zip(options.open_store(write=True).write_all(taken), taken, strict=True):
        mappings = sum(len(capture.table.mappings) for capture in snapshot.captures if capture.table is not None)
        sys.stdout.write(
            f"snapshot {ref.id}: {plural(len(snapshot.captures), 'table')}, {plural(mappings, 'mapping')}, from {printable(ref.source)}\n"
        )


def _snapshots(
    tables: list[tuple[str, SavedTable]], files: list[str], moment_us: int | None, pid: int | None, label: str | None, host: str
) -> list[Snapshot]:
    """One snapshot for each file or set of files that were combined; several if it holds several tables of one process."""
    from pmapdiff.formats.saved import modified_us, saved_capture
    from pmapdiff.model import Snapshot, SnapshotRef

    by_source: dict[str, list[SavedTable]] = {}
    for source, table in tables:
        by_source.setdefault(source, []).append(table)
    snapshots = []
    for source, members in by_source.items():
        path = next(path for path in files if source == path or source.startswith(f"{path} + "))
        taken_at = modified_us(path) if moment_us is None else moment_us
        # A second table of one process in a file is a second moment.
        moments: list[dict[ProcessIdentity, Capture]] = []
        for table in members:
            capture = saved_capture(table, pid)
            identity = capture.process.identity
            moment = next((moment for moment in moments if identity not in moment), None)
            if moment is None:
                moments.append(moment := {})
            moment[identity] = capture
        snapshots += [Snapshot(SnapshotRef(None, taken_at, host, label, argument_text(source)), tuple(moment.values())) for moment in moments]
    return snapshots
