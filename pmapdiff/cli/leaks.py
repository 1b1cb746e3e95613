"""`pmapdiff leaks`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pmapdiff.cli._app import BucketsOption, HostOption, NameOption, PidOption, TopOption, chosen, command, screen_view
from pmapdiff.cli._leaks import FamilyOption, SinceOption, UntilOption, WithinOption, look
from pmapdiff.errors import UsageError


@command(
    "leaks",
    """
pmapdiff leaks
pmapdiff leaks --name worker --since '3d ago'
pmapdiff leaks --until '2026-11-23 03:12' --oom-log /var/log/kern.log
pmapdiff leaks --name worker --format markdown > ticket.md
""",
    order=8,
    short_help="Say what keeps growing, since when, and how fast.",
)
def leaks(
    context: typer.Context,
    since: SinceOption = None,
    until: UntilOption = None,
    pid: PidOption = None,
    name: NameOption = None,
    host: HostOption = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="All processes of the store, as without --pid and --name.")] = False,
    family: FamilyOption = None,
    within: WithinOption = "90d",
    oom_log: Annotated[
        str | None, typer.Option("--oom-log", metavar="FILE", help="What the kernel said when memory ran out: say how the killed processes ended.")
    ] = None,
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="text, json, csv or markdown.")] = "text",
    top: TopOption = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 if any growth is urgent.")] = False,
    buckets: BucketsOption = None,
) -> None:
    """Say what keeps growing, since when, how fast, what kind of memory it is, and what to do next: services ranked, or one in depth.

    Services are followed through restarts. Growth that fills the memory only later than --within is told, but not urgent.
    """
    from pmapdiff.report import write_report

    if everything and (pid or name is not None):
        raise UsageError(f"--all and {'--pid' if pid else '--name'} contradict each other: give one of them")
    wanted = chosen(host, pid, name)
    kills = []
    if oom_log is not None:
        from pmapdiff.formats.oom_report import read_oom_log

        kills = read_oom_log(oom_log)
    found = look(context.obj, wanted, since, until, family=family, within=within, buckets=buckets, kills=kills)
    write_report("leaks", form, found, screen_view(top=top), sys.stdout)
    if exit_code and any(suspect.urgent for suspect in found.processes):
        sys.stdout.flush()
        raise typer.Exit(1)
