"""`pmapdiff export`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pmapdiff.cli._app import BucketsOption, Global, HostOption, NameOption, PidOption, chosen, command
from pmapdiff.cli._output import STANDARD_OUTPUT, opened_output
from pmapdiff.cli._progress import counted_snapshots
from pmapdiff.cli._when import InputFormOption, PartialOption, Source
from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.text import argument_text, printable

if TYPE_CHECKING:
    from pmapdiff.model import Snapshot
    from pmapdiff.report import View
    from pmapdiff.report.flat import FlatTable
    from pmapdiff.store import ProcessFilter

# Whoever runs node_exporter is to read it; the figures of processes are in /proc for all to see.
_READABLE_BY_ALL = 0o644


@command(
    "export",
    """
pmapdiff export latest --output mappings.csv
pmapdiff export --name redis --since '7d ago' --output redis.parquet
pmapdiff export --table processes --format jsonl | jq .rss_kib
pmapdiff export --name redis --openmetrics /srv/textfiles/pmapdiff.prom
""",
    order=11,
    short_help="Write flat tables, or metrics for Prometheus.",
)
def export(
    context: typer.Context,
    when: Annotated[list[str] | None, typer.Argument(metavar="WHEN", help="These snapshots or saved files. Default: all of the store.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="WHEN", help="From this snapshot or time on.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Up to this snapshot or time.")] = None,
    pid: PidOption = None,
    name: NameOption = None,
    host: HostOption = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="TABLE", help="mappings, processes or snapshots: what a row is.  [default: mappings]")
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", metavar="FORM", help="csv, jsonl or parquet. Default: what the name of FILE ends with, else csv.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write this file, whole or not at all. Default: standard output.")
    ] = None,
    openmetrics: Annotated[
        str | None,
        typer.Option(
            "--openmetrics", metavar="FILE", help="Write gauges of the latest snapshot, or of WHEN, as node_exporter's textfile collector reads them."
        ),
    ] = None,
    buckets: BucketsOption = None,
    partial: PartialOption = False,
    input_form: InputFormOption = None,
) -> None:
    """Write flat tables as CSV, JSON Lines or Parquet: one row a mapping and snapshot, or a process and snapshot, or a snapshot.

    With --openmetrics write what the processes of one snapshot and their families hold, as gauges for Prometheus. FILE - is standard output.
    """
    from pmapdiff.api.look import classifier_of
    from pmapdiff.report import View

    wanted = chosen(host, pid, name)
    view = View(classifier=classifier_of(buckets))
    source = Source(context.obj, wanted, form=input_form, partial=partial)
    if when and (since is not None or until is not None):
        raise UsageError("--since and --until are a range of their own: give them, or WHEN")
    if openmetrics is None:
        kind, written_as, place = _table(table or "mappings"), _form(form, output), output or STANDARD_OUTPUT
        if when:
            snapshots, number = _given(source, when, wanted), len(when)
        else:
            snapshots, number = _range(context.obj, since, until, wanted, tables=kind.name == "mappings")
        _write_table(kind, snapshots, number, written_as, place, view)
        return
    for option, value in {"--since": since, "--until": until, "--table": table, "--format": form, "--output": output}.items():
        if value is not None:
            raise UsageError(f"{option} is about flat tables: leave it out with --openmetrics")
    if when and len(when) > 1:
        raise UsageError("--openmetrics is about one snapshot: give one WHEN, or none for the latest")
    _write_metrics(source, when[0] if when else "latest", wanted, openmetrics, view)


def _table(name: str) -> FlatTable:
    from pmapdiff.report.flat import TABLES

    if name not in TABLES:
        raise UsageError(f"--table {printable(name)}: one of {', '.join(TABLES)}")
    return TABLES[name]


def _form(form: str | None, output: str | None) -> str:
    """The form that is asked for, or that the name of the file says."""
    from pmapdiff.report import forms_of

    forms = forms_of("export")
    if form is None:
        form = "csv" if output in (None, STANDARD_OUTPUT) else Path(str(output)).suffix[1:].lower()
        if form not in forms:
            raise UsageError(f"--output {argument_text(str(output))}: its name does not end with .{', .'.join(forms)}, so give --format")
    if form == "parquet" and output in (None, STANDARD_OUTPUT) and sys.stdout.isatty():
        raise UsageError("Parquet is nothing to be shown on a terminal: give --output FILE")
    return form


def _range(options: Global, since: str | None, until: str | None, wanted: ProcessFilter, *, tables: bool) -> tuple[Iterator[Snapshot], int]:
    """The snapshots between two moments that hold a wanted process, as they are asked for, and how many they are."""
    from pmapdiff.api.look import Span

    store = options.open_store()
    refs = Span(since, until).refs(store, wanted)
    if not refs and since is None and until is None and wanted.everything:
        raise NotFoundError("the store is empty: make a snapshot with `pmapdiff record`")
    if not refs:
        of_what = "of" if wanted.every_process else "with a process that matches"
        what = "" if wanted.everything else f" {of_what} {wanted.describe()}"
        raise NotFoundError(f"there is no snapshot{what} in this time: see `pmapdiff snapshots` and `pmapdiff processes`")
    return store.walk(refs, wanted, tables=tables), len(refs)


def _given(source: Source, when: list[str], wanted: ProcessFilter) -> Iterator[Snapshot]:
    """The snapshots that these WHENs mean and that hold a wanted process, one after the other. Raises NotFoundError if none does."""
    without = []
    for text in when:
        for snapshot in source.load(text):
            if snapshot.captures or wanted.every_process:
                yield snapshot
            else:
                without.append(snapshot)
    if len(without) == len(when):
        source.demand(*without)


def _write_table(table: FlatTable, snapshots: Iterator[Snapshot], number: int, form: str, output: str, view: View) -> None:
    from pmapdiff.report import write_report
    from pmapdiff.report.flat import Flat

    if output != STANDARD_OUTPUT or not sys.stdout.isatty():
        snapshots = counted_snapshots(snapshots, number)
    with opened_output(output) as out:
        write_report("export", form, Flat(table, snapshots), view, out)


def _write_metrics(source: Source, when: str, wanted: ProcessFilter, output: str, view: View) -> None:
    from pmapdiff.report import write_report
    from pmapdiff.report.openmetrics import Metrics

    # A file that is written again and again must not be about another host each time.
    (snapshot,) = source.load(when, of_one_host=True)
    source.demand(snapshot)
    with opened_output(output, _READABLE_BY_ALL) as out:
        write_report("metrics", "openmetrics", Metrics(snapshot, wanted.describe()), view, out)
    if output != STANDARD_OUTPUT and not output.endswith(".prom"):
        sys.stderr.write(f"pmapdiff: node_exporter reads only files whose names end with .prom, so not {printable(argument_text(output))}\n")
