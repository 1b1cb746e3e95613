"""`pmapdiff fleet`: many hosts at once."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from pmapdiff.cli._app import BucketsOption, HostOption, NameOption, TopOption, app, command, screen_view
from pmapdiff.cli._leaks import FamilyOption, WithinOption
from pmapdiff.cli._output import STANDARD_OUTPUT, opened_output
from pmapdiff.cli._progress import ProgressLine
from pmapdiff.errors import PmapdiffError, UsageError
from pmapdiff.text import argument_text, printable

if TYPE_CHECKING:
    from pmapdiff.fleet.tasks import Asked
    from pmapdiff.model.fleet import Failure

T = TypeVar("T")

group = typer.Typer(
    rich_markup_mode=None,
    help="Ask many hosts at once, in a lake or a store that they share: which service grows, where, and since when.",
    short_help="Ask many hosts at once.",
)
app.add_typer(group, name="fleet", epilog="\b\nExample:\n  pmapdiff fleet leaks /srv/lake")

SourceArgument = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A lake (a folder or URL), or a store that hosts share (a URL of PostgreSQL, or a file).")
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", metavar="N", min=0, help="Local processes; one a processor unless told, 0 for this process alone.")
]
SchedulerOption = Annotated[
    str | None, typer.Option("--scheduler", metavar="URL", help="The scheduler of a Dask cluster, whose workers do it: tcp://10.0.0.7:8786.")
]
OutputOption = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; standard output unless told.")]


@command(
    "leaks",
    """
pmapdiff fleet leaks /srv/lake
pmapdiff fleet leaks s3://memory/lake --since '2d ago' --name orders
pmapdiff fleet leaks s3://memory/lake --scheduler tcp://10.0.0.7:8786
pmapdiff fleet leaks postgresql+psycopg://db/memory --format html -o f.html
""",
    group,
    short_help="Say which services keep growing, on how many hosts, since when.",
)
def leaks(
    source: SourceArgument,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="From this time on.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Up to this time.")] = None,
    host: HostOption = None,
    name: NameOption = None,
    family: FamilyOption = None,
    within: WithinOption = "90d",
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="text, json, csv or html.")] = "text",
    output: OutputOption = None,
    top: TopOption = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 if any growth is urgent.")] = False,
    buckets: BucketsOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
) -> None:
    """Do on every host what `leaks` does on one, and say what it comes to: services ranked across hosts.

    Processes of many hosts are one service if they run the same program in the same unit, whatever its version. What grows on many hosts
    since the same time was brought there; what grows on one of many is that host's own.
    """
    from pmapdiff.analyse.fleet import Gathering
    from pmapdiff.api.look import check_family, classifier_of
    from pmapdiff.fleet.tasks import LeaksTask
    from pmapdiff.report import write_report
    from pmapdiff.units import parse_duration

    check_family(family, classifier_of(buckets))
    horizon_hours = parse_duration(within) / 3600
    task = LeaksTask(_asked(source, since, until, name, buckets), horizon_hours, family)
    _check_form("fleet-leaks", form)
    gathered = Gathering(horizon_hours)
    for found in _swept(task, task.asked, host or [], workers, scheduler):
        gathered.add(found)
    result = gathered.result()
    _demand_one(result.hosts, result.failures)
    with opened_output(output or STANDARD_OUTPUT) as out:
        write_report("fleet-leaks", form, result, screen_view(top=top), out)
    if form != "text":
        _tell(result.failures)
    if exit_code and any(service.is_growing and service.urgent for service in result.services):
        sys.stdout.flush()
        raise typer.Exit(1)


@command(
    "compare",
    """
pmapdiff fleet compare /srv/lake '1d ago' now
pmapdiff fleet compare /srv/lake '2h ago' '1h ago' --name orders
""",
    group,
    short_help="Say what changed in all hosts between two times.",
)
def compare(
    source: SourceArgument,
    before: Annotated[str, typer.Argument(metavar="T1", help="The earlier time.")],
    after: Annotated[str, typer.Argument(metavar="T2", help="The later one.")],
    host: HostOption = None,
    name: NameOption = None,
    form: Annotated[str, typer.Option("--format", metavar="FORM", help="text, json, csv or html.")] = "text",
    output: OutputOption = None,
    top: TopOption = None,
    buckets: BucketsOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
) -> None:
    """Compare of every host its last snapshots at or before two times, and say what it comes to: services by how much they changed.

    What is compared is a service on a host: all of its processes together, whichever of them were started anew.
    """
    from pmapdiff.api.look import classifier_of
    from pmapdiff.compare.fleet import Gathering
    from pmapdiff.fleet.tasks import CompareTask
    from pmapdiff.report import write_report

    classifier_of(buckets)
    moments = [_moment(end, text) or 0 for end, text in (("T1", before), ("T2", after))]
    task = CompareTask(_asked(source, None, None, name, buckets), *moments)
    _check_form("fleet-compare", form)
    gathered = Gathering(*moments)
    for found in _swept(task, task.asked, host or [], workers, scheduler):
        gathered.add(found)
    result = gathered.result()
    _demand_one(result.hosts, result.failures)
    with opened_output(output or STANDARD_OUTPUT) as out:
        write_report("fleet-compare", form, result, screen_view(top=top), out)
    if form != "text":
        _tell(result.failures)


def _asked(source: str, since: str | None, until: str | None, name: str | None, buckets: str | None) -> Asked:
    from pathlib import Path

    from pmapdiff.fleet.source import same_everywhere
    from pmapdiff.fleet.tasks import Asked
    from pmapdiff.store.filter import check_name

    check_name(name)
    rules = (Path(buckets).read_bytes(), argument_text(buckets)) if buckets else None
    return Asked(same_everywhere(source), _moment("--since", since), _moment("--until", until), name, rules)


def _moment(option: str, text: str | None) -> int | None:
    """The time that is meant, in µs since the epoch: the numbers of snapshots are each host's own. Raises UsageError."""
    from pmapdiff.store.when import ByTime, parse_when

    if text is None:
        return None
    when = parse_when(argument_text(text))
    if not isinstance(when, ByTime):
        raise UsageError(f"{option} {printable(argument_text(text))}: of many hosts a time is asked for, such as '2d ago'")
    return when.moment_us


def _check_form(subject: str, form: str) -> None:
    """Raise UsageError for a form that there is not: before all hosts have been asked."""
    from pmapdiff.report import forms_of

    if form not in forms_of(subject):
        raise UsageError(f"--format {printable(argument_text(form))}: a fleet is written as {', '.join(forms_of(subject))}")


def _swept(task: Callable[[str], T], asked: Asked, patterns: list[str], workers: int | None, scheduler: str | None) -> Iterator[T | Failure]:
    """What becomes of each of the hosts, in whatever order they are done; on a terminal one sees how many are."""
    from pmapdiff.fleet.source import chosen_hosts, opened
    from pmapdiff.store import ProcessFilter

    if scheduler is not None and workers is not None:
        raise UsageError("--workers is about processes of this machine, --scheduler about others: give one of them")
    with ProgressLine() as line:
        line.draw("looking for hosts")
        hosts = chosen_hosts(opened(asked.location), ProcessFilter(hosts=frozenset(map(argument_text, patterns))), asked.since_us, asked.until_us)
    with ProgressLine() as line, _sweeper(task, hosts, workers, scheduler, line) as found:
        for done, item in enumerate(found, 1):
            line.draw(f"{done:,} of {len(hosts):,} hosts")
            yield item


@contextmanager
def _sweeper(
    task: Callable[[str], T], hosts: list[str], workers: int | None, scheduler: str | None, line: ProgressLine
) -> Generator[Iterator[T | Failure]]:
    from pmapdiff.fleet.sweep import local_client, remote_client, sweep, sweep_here, usable_processors

    if scheduler is None and workers == 0:
        yield sweep_here(task, hosts)
        return
    # Dask makes cycles.
    gc.enable()
    line.draw("starting workers")
    if scheduler is not None:
        with remote_client(argument_text(scheduler)) as client:
            yield sweep(client, task, hosts)
    else:
        with local_client(min(workers or usable_processors(), len(hosts))) as client:
            yield sweep(client, task, hosts)


def _demand_one(hosts: int, failures: tuple[Failure, ...]) -> None:
    """Raise an error if no host could be read."""
    if failures and len(failures) == hosts:
        raise PmapdiffError(f"none of {hosts:,} hosts could be read: {failures[0].host}: {failures[0].reason}")


def _tell(failures: tuple[Failure, ...]) -> None:
    """Say on standard error which hosts are not in what was written."""
    for failure in failures:
        sys.stderr.write(f"pmapdiff: {printable(failure.host)} could not be read: {printable(failure.reason)}\n")
