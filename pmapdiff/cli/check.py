"""`pmapdiff check`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.cli._app import BucketsOption, HostOption, NameOption, PidOption, chosen, command, screen_view
from pmapdiff.cli._leaks import FamilyOption, SinceOption, UntilOption, WithinOption, look


@command(
    "check",
    """
pmapdiff check --max-growth 10M/h --since '1d ago'
pmapdiff check --name worker --family heap --max-growth 100M/d
pmapdiff check --within 7d
""",
    order=10,
    short_help="Say in one line whether anything grows too fast.",
)
def check(
    context: typer.Context,
    max_growth: Annotated[
        str | None, typer.Option("--max-growth", metavar="RATE", help="How fast a service, or a family of it, may grow: 10M/h, 500K/min, 1G/d.")
    ] = None,
    max_mappings_growth: Annotated[
        str | None, typer.Option("--max-mappings-growth", metavar="RATE", help="How fast the number of its mappings may: 100/h, 1000/d.")
    ] = None,
    family: FamilyOption = None,
    pid: PidOption = None,
    name: NameOption = None,
    host: HostOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    within: WithinOption = "90d",
    buckets: BucketsOption = None,
) -> None:
    """Say in one line whether anything grows too fast, and exit 1 if so: for crontab, CI and Nagios.

    Without a limit, what is urgent is too fast, as with `leaks --exit-code`. Growth counts by the low end of its interval.
    """
    from pmapdiff.report import write_report
    from pmapdiff.report.check import Check, Limits
    from pmapdiff.units import parse_count_growth, parse_growth_kib

    limits = Limits(
        None if max_growth is None else parse_growth_kib(max_growth), None if max_mappings_growth is None else parse_count_growth(max_mappings_growth)
    )
    wanted = chosen(host, pid, name)
    found = Check(look(context.obj, wanted, since, until, family=family, within=within, buckets=buckets), limits, family)
    write_report("check", "nagios", found, screen_view(), sys.stdout)
    if found.found():
        sys.stdout.flush()
        raise typer.Exit(1)
