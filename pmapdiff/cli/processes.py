"""`pmapdiff processes`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.cli._app import Global, HostOption, NameOption, PidOption, chosen, command, screen_view
from pmapdiff.errors import UsageError

_SHOWN = 40
_SORTS = ("growth", "footprint", "rss", "size", "read", "pid", "name")


@command(
    "processes",
    "pmapdiff processes --sort rss\npmapdiff processes --name python --format csv",
    order=4,
    short_help="List the processes in the store.",
)
def processes(
    context: typer.Context,
    pid: PidOption = None,
    name: NameOption = None,
    host: HostOption = None,
    sort: Annotated[str, typer.Option("--sort", metavar="KEY", help=f"{', '.join(_SORTS[:-1])} or {_SORTS[-1]}.")] = "growth",
    top: Annotated[int | None, typer.Option("--top", metavar="N", min=0, help=f"At most N rows, 0 for all. Default: {_SHOWN} as text.")] = None,
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="text, json or csv.")] = "text",
) -> None:
    """List the processes in the store: size, Rss and footprint when last seen, how much they grew since first seen, and the longest read."""
    from pmapdiff.report import write_report
    from pmapdiff.report.shape import by_growth
    from pmapdiff.report.table import ALL
    from pmapdiff.store import ProcessSummary
    from pmapdiff.units import plural

    if sort not in _SORTS:
        raise UsageError(f"--sort {sort}: one of {', '.join(_SORTS)}")

    def key(row: ProcessSummary) -> tuple[float, int] | tuple[str, int]:
        number = row.process.pid
        if sort == "name":
            return (row.process.name, number)
        if sort == "pid":
            return (0.0, number)
        if sort == "read":
            return (-float(row.read_us or 0), number)
        if sort in ("size", "rss", "footprint"):
            return (-float(row.totals_last.get(f"{sort}_kib") or 0), number)
        return by_growth(row)

    options: Global = context.obj
    found = sorted(options.open_store().processes(chosen(host, pid, name)), key=key)
    limit = (_SHOWN if form == "text" else 0) if top is None else top
    write_report("processes", form, found[:limit] if limit else found, screen_view(), sys.stdout)
    if form == "text" and 0 < limit < len(found):
        sys.stdout.write(f"{plural(len(found) - limit, 'process', 'processes')} not shown: {ALL}\n")
