"""`pmapdiff schedule`: a crontab entry, or a systemd timer."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from pmapdiff.cli._app import (
    CgroupOption,
    EverythingOption,
    Global,
    KeepAllOption,
    KeepDailyOption,
    KeepHourlyOption,
    KeepLastOption,
    MaxReadOption,
    MaxSizeOption,
    MaxStallOption,
    SelectNameOption,
    TimeoutOption,
    TreeOption,
    UserOption,
    app,
    command,
    retention_of,
)
from pmapdiff.errors import UsageError
from pmapdiff.text import printable
from pmapdiff.units import parse_duration

if TYPE_CHECKING:
    from pmapdiff.schedule.command import Job
    from pmapdiff.schedule.cron import Crontab
    from pmapdiff.schedule.systemd import Manager

group = typer.Typer(
    rich_markup_mode=None,
    help="Record for months: a crontab entry, or a systemd timer, that runs `record`. Printed, installed, shown or removed.",
    short_help="Record for months, by cron or systemd.",
)
app.add_typer(
    group,
    name="schedule",
    epilog="\b\nExamples:\n  pmapdiff schedule cron --every 5m --all --keep-all 24h --keep-hourly 7d\n  pmapdiff schedule systemd --show",
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What `record` is told each time: a field is an option of every schedule, and is handed on under its name."""

    all_: EverythingOption = False
    name: SelectNameOption = None
    user: UserOption = None
    cgroup: CgroupOption = None
    tree: TreeOption = False
    max_read: MaxReadOption = None
    max_stall: MaxStallOption = None
    timeout: TimeoutOption = "5s"
    keep_all: KeepAllOption = None
    keep_hourly: KeepHourlyOption = None
    keep_daily: KeepDailyOption = None
    keep_last: KeepLastOption = None
    max_size: MaxSizeOption = None

    def check(self) -> None:
        """Raises what `record` would raise, now rather than in the mail of a crontab."""
        from pmapdiff.capture.select import Selection, uid_of

        if not (self.all_ or self.name is not None or self.user is not None or self.cgroup is not None):
            raise UsageError("say what to record: --all, --name, --user or --cgroup")
        Selection(self.all_, frozenset(), self.name, None if self.user is None else uid_of(self.user), self.cgroup, self.tree)
        for duration in (self.timeout, self.max_read, self.max_stall):
            if duration is not None:
                parse_duration(duration)
        retention_of(self.keep_all, self.keep_hourly, self.keep_daily, self.keep_last, self.max_size)

    def options(self) -> list[tuple[str, str | int | bool | None]]:
        """The options that were given, as words for `record`."""
        given = [field for field in fields(self) if getattr(self, field.name) != field.default]
        return [(f"--{field.name.strip('_').replace('_', '-')}", getattr(self, field.name)) for field in given]


def _with_recorded(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Recorded` after its own first two; the values come as `recorded`."""
    hints = get_type_hints(Recorded, include_extras=True)
    shared = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
        for field in fields(Recorded)
    ]
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
        if parameter.name != "recorded"
    ]
    parameters = [*own[:2], *shared, *own[2:]]

    @functools.wraps(function)
    def run(**values: Any) -> None:
        function(recorded=Recorded(**{parameter.name: values.pop(parameter.name) for parameter in shared}), **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


EveryOption = Annotated[str, typer.Option("--every", "-e", metavar="DURATION", help="How long from one snapshot to the next: 1m, 5m, 6h.")]
InstallOption = Annotated[bool, typer.Option("--install", help="Put it in, instead of the one that is there.")]
ShowOption = Annotated[bool, typer.Option("--show", help="Print what is installed.")]
SyncOption = Annotated[
    str | None,
    typer.Option(
        "--sync", metavar="PATH_OR_URL", help="And bring it to this store, beside the recording: postgresql+psycopg://USER@HOST/NAME, or a file."
    ),
]
RemoveOption = Annotated[bool, typer.Option("--remove", help="Take it out. What was recorded stays.")]


@command(
    "cron",
    """
pmapdiff schedule cron --every 5m --all --keep-all 24h --keep-hourly 7d
pmapdiff schedule cron --every 5m --all --system --install
pmapdiff schedule cron --all --sync postgresql+psycopg://web3@db/pmapdiff
pmapdiff schedule cron --show
""",
    group,
    order=1,
    short_help="A crontab entry.",
)
@_with_recorded
def cron(
    context: typer.Context,
    every: EveryOption = "5m",
    sync: SyncOption = None,
    system: Annotated[bool, typer.Option("--system/--own", help="In /etc/cron.d, run as root, or in your own crontab.")] = False,
    install: InstallOption = False,
    show: ShowOption = False,
    remove: RemoveOption = False,
    file: Annotated[Path | None, typer.Option("--file", hidden=True)] = None,
    *,
    recorded: Recorded,
) -> None:
    """Print the crontab entry that records again and again; change nothing unless told to.

    There is one such entry in a crontab: --install replaces it, and leaves all other lines as they are.
    """
    _check_action(recorded, sync, install=install, show=show, remove=remove)
    from pmapdiff.schedule import cron as entries

    target: Crontab = entries.SystemCrontab(file or entries.SYSTEM_FILE) if system else entries.UserCrontab()
    if show or remove:
        if show:
            _print_found(entries.installed(target))
        else:
            _say("removed from" if entries.remove(target).existed else "there was no entry in", target.where)
        return
    interval = parse_duration(every)
    record = _record_job(context, recorded, system=system)
    when = entries.cron_fields(interval)
    from pmapdiff.schedule.command import make_folder, splay_of
    from pmapdiff.store import default_location

    bring = _sync_job(record, sync, splay_of(interval))
    (location,) = record.stores
    lock = entries.lock_file(location, default_location(root=system or None), system=system)
    line = entries.command_line(record.words, lock, None if bring is None else bring.words)
    text = entries.entry(target, when, line)
    if install:
        _check_starts(record, bring)
        make_folder(lock.parent)
        change = entries.install(target, when, line)
        _say("unchanged in" if not change.changed else "replaced in" if change.existed else "added to", change.where)
        _warn_of_outsiders(root=system or os.geteuid() == 0)
        if not entries.daemon_runs():
            _warn("no cron daemon is running on this host: nothing will be recorded until one is started")
    elif not lock.parent.is_dir():
        _warn(f"{printable(str(lock.parent))} is not there yet; --install makes it, or: mkdir -p -m 700 {printable(entries.quote(str(lock.parent)))}")
    sys.stdout.write(f"{text}\n")


@command(
    "systemd",
    """
pmapdiff schedule systemd --every 30s --name '^redis'
pmapdiff schedule systemd --every 5m --all --keep-all 24h --install
pmapdiff schedule systemd --all --sync postgresql+psycopg://web3@db/pmapdiff
pmapdiff schedule systemd --remove
""",
    group,
    order=2,
    short_help="A systemd service and its timer.",
)
@_with_recorded
def systemd(
    context: typer.Context,
    every: EveryOption = "5m",
    sync: SyncOption = None,
    system: Annotated[
        bool | None, typer.Option("--system/--own", help="Units of the host, or of your own manager. Default: of the host for root.")
    ] = None,
    install: InstallOption = False,
    show: ShowOption = False,
    remove: RemoveOption = False,
    folder: Annotated[Path | None, typer.Option("--folder", hidden=True)] = None,
    *,
    recorded: Recorded,
) -> None:
    """Print the units of a timer that records again and again; change nothing unless told to.

    The service may read the tables of all processes and write to the folder of the store, and not much else.
    --install enables and starts the timer.
    """
    _check_action(recorded, sync, install=install, show=show, remove=remove)
    from pmapdiff.schedule.systemd import Manager
    from pmapdiff.schedule.units import make_units

    if system is None:
        system = os.geteuid() == 0
    manager = Manager.of(folder, system=system)
    if show or remove:
        if show:
            _print_found(manager.installed())
        else:
            _say("removed from" if manager.remove() else "there were no units in", str(manager.folder))
        return
    record = _record_job(context, recorded, system=system)
    bring = _sync_job(record, sync)
    units = make_units(record, parse_duration(every), system=system, sync=bring)
    if not install:
        for name, text in units.items():
            sys.stdout.write(f"# {manager.folder / name}\n{text}\n")
        return
    from pmapdiff.schedule.command import folder_of, make_folder

    _check_starts(record, bring)
    for store in (bring or record).stores:
        if (folder := folder_of(store)) is not None:
            # A sandbox is made of folders that are there.
            make_folder(folder)
    _say("installed in" if manager.install(units) else "unchanged in", str(manager.folder))
    _warn_of_outsiders(root=system)
    _print_commands(manager)


def _print_commands(manager: Manager) -> None:
    """What is left to be done, or to be seen."""
    from pmapdiff.schedule.units import TIMER

    if manager.runs:
        sys.stdout.write(f"the timer runs: {' '.join(manager.command('list-timers', TIMER))}\n")
        if not manager.system:
            sys.stdout.write("to record while nobody is logged in, too: loginctl enable-linger\n")
        return
    _warn("systemd does not run here; where it does:")
    for words in (("daemon-reload",), ("enable", "--now", TIMER)):
        sys.stdout.write(f"{' '.join(manager.command(*words))}\n")


def _check_action(recorded: Recorded, sync: str | None, *, install: bool, show: bool, remove: bool) -> None:
    if install + show + remove > 1:
        raise UsageError("--install, --show and --remove: one at a time")
    if (show or remove) and (recorded.options() or sync is not None):
        raise UsageError(f"--{'show' if show else 'remove'} takes no options of what to record: there is only one schedule")


def _record_job(context: typer.Context, recorded: Recorded, *, system: bool) -> Job:
    recorded.check()
    from pmapdiff.schedule.command import record_job
    from pmapdiff.store import default_location

    options: Global = context.obj
    return record_job(_place(options.location or default_location(root=system or None)), recorded.options())


def _sync_job(record: Job, other: str | None, splay_s: float | None = None) -> Job | None:
    """What brings what is recorded to the other store, if there is one."""
    if other is None:
        return None
    from pmapdiff.schedule.command import sync_job

    return sync_job(record.stores[0], _place(other), splay_s=splay_s)


def _place(location: str) -> str:
    """The absolute path of a store that is a file, however it was named; the URL of another."""
    from pmapdiff.store import sqlite_path

    path = sqlite_path(location)
    return location if path is None else os.path.abspath(path)


def _check_starts(record: Job, sync: Job | None) -> None:
    """Raises PmapdiffError if this pmapdiff only works here, or lacks what the other store needs; no server is asked."""
    from pmapdiff.schedule.command import check_runs

    check_runs(record.words)
    if sync is not None:
        from pmapdiff.store import check_driver

        check_driver(sync.stores[1])


def _warn_of_outsiders(*, root: bool) -> None:
    from pmapdiff.schedule.command import outsiders, program_paths

    found = outsiders(program_paths()) if root else []
    if found:
        _warn(f"root will run what others may change ({printable(str(found[0]))}): better install pmapdiff for root, as in /opt/pmapdiff")


def _print_found(text: str) -> None:
    from pmapdiff.schedule.command import without_password

    sys.stdout.write("".join(f"{printable(line)}\n" for line in without_password(text).splitlines()))


def _say(what: str, where: str) -> None:
    sys.stdout.write(f"{what} {printable(where)}\n")


def _warn(text: str) -> None:
    sys.stderr.write(f"pmapdiff: {text}\n")
