"""`pmapdiff hosts`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.cli._app import Global, HostOption, TopOption, chosen, command, screen_view
from pmapdiff.errors import UsageError

_SORTS = ("name", "last", "lag")


@command(
    "hosts",
    "pmapdiff hosts\npmapdiff hosts --host 'web*' --sort last",
    order=4,
    short_help="List the hosts in the store.",
)
def hosts(
    context: typer.Context,
    host: HostOption = None,
    sort: Annotated[str, typer.Option("--sort", metavar="KEY", help="name; last: longest not heard of; lag: latest to arrive.")] = "name",
    top: TopOption = None,
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="text, json or csv.")] = "text",
) -> None:
    """List the hosts in the store: what there is of each, when it was last heard of, how late that arrived, and how its clock stands.

    A host is silent if its last capture is older than twice the longest gap between its last 20.
    """
    from pmapdiff.report import write_report
    from pmapdiff.report.table import ALL
    from pmapdiff.units import plural

    if sort not in _SORTS:
        raise UsageError(f"--sort {sort}: one of {', '.join(_SORTS)}")
    options: Global = context.obj
    found = options.open_store().hosts(chosen(host))
    if sort == "last":
        found.sort(key=lambda row: (row.age_us is not None, -(row.age_us or 0)))
    elif sort == "lag":
        found.sort(key=lambda row: (row.lag_us is None, -(row.lag_us or 0)))
    shown = found[:top] if top else found
    write_report("hosts", form, shown, screen_view(), sys.stdout)
    if form == "text" and len(shown) < len(found):
        sys.stdout.write(f"{plural(len(found) - len(shown), 'host')} not shown: {ALL}\n")
