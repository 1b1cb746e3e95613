"""`pmapdiff snapshots`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.cli._app import Global, HostOption, chosen, command, screen_view

_SHOWN = 50


@command("snapshots", "pmapdiff snapshots --top 10", order=3)
def snapshots(
    context: typer.Context,
    host: HostOption = None,
    top: Annotated[int | None, typer.Option("--top", metavar="N", min=0, help=f"The newest N, 0 for all. Default: {_SHOWN} as text.")] = None,
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="text, json or csv.")] = "text",
) -> None:
    """List the snapshots in the store, the newest last."""
    from pmapdiff.report import write_report
    from pmapdiff.report.table import ALL
    from pmapdiff.units import plural

    options: Global = context.obj
    store = options.open_store()
    limit = (_SHOWN if form == "text" else None) if top is None else top or None
    wanted = chosen(host)
    found = store.snapshots(limit, wanted)
    write_report("snapshots", form, found, screen_view(), sys.stdout)
    total = store.count_snapshots(wanted)
    if form == "text" and len(found) < total:
        sys.stdout.write(f"{plural(total - len(found), 'older snapshot')} not shown: {ALL}\n")
