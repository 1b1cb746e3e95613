"""`pmapdiff record`."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from pmapdiff.cli._app import (
    RAW_ARGUMENTS,
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
    check_label,
    command,
    retention_of,
)
from pmapdiff.cli._progress import ProgressLine
from pmapdiff.errors import CaptureError, NotFoundError, PmapdiffError, StoreError, UsageError
from pmapdiff.text import printable
from pmapdiff.units import parse_duration, plural

if TYPE_CHECKING:
    from pmapdiff.capture.record import Recorder, Schedule, StopRequest

_FOLLOW_EVERY_S = 1.0
# A series looks for old snapshots after the first one, and then no more often than this.
_TIDY_EVERY_S = 600.0
_OLD_GARBAGE_EVERY = 100


@command(
    "record",
    """
pmapdiff record --all
pmapdiff record --name '^redis' --every 10s --for 1h
pmapdiff record --pid 1100 --label 'before deploy'
pmapdiff record --every 500ms -- ./server --port 8080
pmapdiff record --all --quiet --keep-all 24h --keep-hourly 7d
""",
    context_settings={"allow_interspersed_args": False},
    order=1,
    short_help="Record the mapping tables of processes.",
)
def record(
    context: typer.Context,
    everything: EverythingOption = False,
    pid: Annotated[list[int] | None, typer.Option("--pid", "-p", metavar="PID", help="This process; may be repeated.")] = None,
    name: SelectNameOption = None,
    user: UserOption = None,
    cgroup: CgroupOption = None,
    tree: TreeOption = False,
    every: Annotated[str | None, typer.Option("--every", "-e", metavar="DURATION", help="Again and again, at this interval: 10s, 5m, 1h30m.")] = None,
    count: Annotated[int | None, typer.Option("--count", "-c", metavar="N", min=1, help="Stop after N snapshots.")] = None,
    for_: Annotated[str | None, typer.Option("--for", "-f", metavar="DURATION", help="Stop after this long.")] = None,
    label: Annotated[str | None, typer.Option("--label", "-l", metavar="TEXT", help="A name for the snapshot, to be used as a WHEN.")] = None,
    max_read: MaxReadOption = None,
    max_stall: MaxStallOption = None,
    timeout: TimeoutOption = "5s",
    keep_all: KeepAllOption = None,
    keep_hourly: KeepHourlyOption = None,
    keep_daily: KeepDailyOption = None,
    keep_last: KeepLastOption = None,
    max_size: MaxSizeOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors (for cron).")] = False,
    argv: Annotated[list[str] | None, typer.Argument(metavar="-- CMD", help="Start this program, and record it and its children.")] = None,
) -> None:
    """Record the mapping tables of processes: one snapshot, or a series.

    All criteria given must hold (several --pid: any of them). With `-- CMD` the program is started and recorded with its
    children until it ends, every second unless --every says otherwise, and its exit code is returned. SIGINT and SIGTERM
    end a series after the snapshot that is being taken. With a --keep rule or --max-size old snapshots are removed on the
    way, as by `pmapdiff prune`. With --max-read or --max-stall a process whose smaps would take longer to read is recorded
    without counters, and marked.
    """
    from pmapdiff.capture.budget import Budget
    from pmapdiff.capture.record import Recorder, Schedule, StopRequest
    from pmapdiff.capture.select import Selection, uid_of
    from pmapdiff.store import ProcessFilter

    every_s = None if every is None else parse_duration(every)
    for_s = None if for_ is None else parse_duration(for_)
    if every_s is None and not argv and (count is not None or for_s is not None):
        raise UsageError("--count and --for need --every: how long between the snapshots?")
    if label is not None:
        label = check_label(label)
    if argv and context.meta[RAW_ARGUMENTS][-len(argv) - 1 : -len(argv)] != ["--"]:
        raise UsageError(f"to record a running process: --name {argv[0]}, or --pid; to start a program and record it: -- {' '.join(argv)}")
    if argv and (everything or pid or name is not None or user is not None or cgroup is not None):
        raise UsageError("a command is recorded with its children; leave out --all, --pid, --name, --user and --cgroup")
    timeout_s = parse_duration(timeout)
    budget = Budget(*(None if most is None else round(parse_duration(most) * 1e6) for most in (max_read, max_stall)))
    selection = None
    if not argv:
        uid = None if user is None else uid_of(user)
        selection = Selection(everything, frozenset(pid or ()), name, uid, cgroup, tree)
    options: Global = context.obj
    wanted = (keep_all, keep_hourly, keep_daily, keep_last, max_size)
    retention = retention_of(*wanted) if any(option is not None for option in wanted) else None
    store = options.open_store(write=True)
    with store.recording(), StopRequest() as stop:
        run = _Run(stop, Schedule(every_s, count, for_s), quiet, sys.stderr if argv else sys.stdout)
        if retention is not None:
            store.check_retention(retention)
            # Each host that records into a store tidies up after itself.
            run.tidy = partial(store.prune, retention, wanted=ProcessFilter(hosts=frozenset([os.uname().nodename])))
        if selection is not None:
            run.series(Recorder(selection, store, label, timeout_s, budget, run.progress))
            return
        assert argv is not None
        child = _start(argv)
        follow = Selection(pids=frozenset([child.pid]), tree=True)
        run.schedule = Schedule(every_s or _FOLLOW_EVERY_S, count, for_s)
        run.series(Recorder(follow, store, label, timeout_s, budget, run.progress), child)
        code = _wait_for(child, stop)
    raise typer.Exit(code)


def _start(argv: list[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(argv)
    except OSError as error:
        raise NotFoundError(f"cannot start {printable(argv[0])}: {error.strerror}") from None


def _wait_for(child: subprocess.Popen[bytes], stop: StopRequest) -> int:
    """The exit code of the program, 128 + the signal's number if one ended it.

    The first SIGINT only ends the recording: a terminal's Ctrl-C reaches the program by itself, and it may take its time. A
    SIGTERM, and every further request, is passed on; the third one kills.
    """
    if child.poll() is not None:
        return _exit_code(child)
    fd = os.pidfd_open(child.pid)
    try:
        passed_on = 0
        while child.poll() is None:
            if stop.signal is not None and stop.requests > passed_on:
                passed_on = stop.requests
                if passed_on > 2:
                    child.kill()
                elif passed_on > 1 or stop.signal == signal.SIGTERM:
                    child.send_signal(stop.signal)
            stop.wait_for(fd)
    finally:
        os.close(fd)
    return _exit_code(child)


def _exit_code(child: subprocess.Popen[bytes]) -> int:
    code = child.returncode
    return code if code >= 0 else 128 - code


@dataclass(slots=True)
class _Run:
    """One run of the command: when, what it prints, and when it is over."""

    stop: StopRequest
    schedule: Schedule
    quiet: bool
    output: TextIO
    tidy: Callable[[], object] | None = None
    _skipped: int = 0
    _tidied: float | None = None
    _line: ProgressLine = field(default_factory=ProgressLine)
    _started: float = 0.0

    def series(self, recorder: Recorder, child: subprocess.Popen[bytes] | None = None) -> None:
        """Take the snapshots; return when there are enough, when asked to stop, or when the program has ended."""
        failed: PmapdiffError | None = None
        told = ""
        pidfd = os.pidfd_open(child.pid) if child is not None else None
        try:
            for number, tick in enumerate(self.schedule.ticks()):
                self._skipped += tick.skipped
                self.stop.wait(tick.deadline, pidfd)
                # Who asked for one snapshot and gets exit code 0 shall have it.
                asked_to_stop = self.stop.signal is not None and self.schedule.every_s is not None
                if asked_to_stop or (child is not None and child.poll() is not None):
                    break
                self._started = time.monotonic()
                self._line.restart()
                try:
                    recorded = recorder.take()
                except (NotFoundError, CaptureError, StoreError) as error:
                    # In a series the service may be down, or not yet up, and a full disk may get room again. Whatever it
                    # is, the program that we started is not ours to end for it.
                    if self.schedule.every_s is None or (number == 0 and child is None):
                        raise
                    if child is None and recorder.selection.pids and isinstance(error, NotFoundError):
                        # A service may come back under its name, but not under its pid.
                        self._print(f"{recorder.selection.describe()} has ended", always=True)
                        break
                    failed = error
                    if str(error) != told and not (child is not None and isinstance(error, NotFoundError)):
                        told = str(error)
                        self._print(f"{error}; {'still looking' if isinstance(error, NotFoundError) else 'going on'}", always=True)
                    continue
                finally:
                    self._line.clear()
                failed, told = None, ""
                skipped = f", {plural(tick.skipped, 'tick')} skipped" if tick.skipped else ""
                self._print(recorded.summary() + skipped)
                if recorded.absent and number == 0:
                    self._print(f"no process {', '.join(map(str, recorded.absent))}", always=True)
                if self.tidy is not None and (self._tidied is None or self._started - self._tidied >= _TIDY_EVERY_S):
                    self._tidied = self._started
                    try:
                        self.tidy()
                    except StoreError as error:
                        if self.schedule.every_s is None:
                            raise
                        self._print(f"{error}; going on", always=True)
                if self.schedule.every_s is not None:
                    # SQLAlchemy leaves cycles behind at each statement; a series must not grow by them. Nearly all are young, and to look at
                    # everything that is remembered takes as long as half a snapshot.
                    gc.collect(2 if number % _OLD_GARBAGE_EVERY == 0 else 0)
        finally:
            if pidfd is not None:
                os.close(pidfd)
            if self._skipped:
                self._print(f"{plural(self._skipped, 'tick')} skipped in all: they came before the last one was done")
        if child is None and failed is not None and not isinstance(failed, NotFoundError):
            raise failed

    def progress(self, done: int, total: int) -> None:
        """One line on a terminal while a snapshot takes long."""
        if not self.quiet:
            self._line.draw(f"{done:,} of {total:,} processes")

    def _print(self, line: str, *, always: bool = False) -> None:
        if always:
            sys.stderr.write(f"pmapdiff: {line}\n")
            sys.stderr.flush()
        elif not self.quiet:
            self.output.write(f"{line}\n")
            self.output.flush()
