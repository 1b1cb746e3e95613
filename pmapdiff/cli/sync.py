"""`pmapdiff sync`."""

from __future__ import annotations

import gc
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Annotated

import typer

from pmapdiff.cli._app import Global, command
from pmapdiff.cli._progress import ProgressLine
from pmapdiff.errors import NotFoundError, StoreError, UsageError
from pmapdiff.text import argument_text, printable
from pmapdiff.units import format_duration, parse_duration, plural


@command(
    "sync",
    """
pmapdiff sync postgresql+psycopg://web3@db/all
pmapdiff sync postgresql+psycopg://web3@db/all --every 5m --splay 1m
pmapdiff --db web3.db sync postgresql+psycopg://me@db/all --pull --host web3
pmapdiff --db old.db sync all.db
""",
    order=13,
    short_help="Bring snapshots to a shared store, or from it.",
)
def sync(
    context: typer.Context,
    store: Annotated[str, typer.Argument(metavar="PATH_OR_URL", help="The other store: postgresql+psycopg://USER@HOST/NAME, or a file.")],
    pull: Annotated[bool, typer.Option("--pull", help="From the other store into this one.")] = False,
    host: Annotated[list[str] | None, typer.Option("--host", metavar="HOST", help="Only snapshots of this host; may be repeated.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="WHEN", help="Only from this snapshot or time on.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Only up to this snapshot or time.")] = None,
    every: Annotated[str | None, typer.Option("--every", "-e", metavar="DURATION", help="Again and again: 1m, 5m, 1h.")] = None,
    splay: Annotated[
        str | None, typer.Option("--splay", metavar="DURATION", help="Wait for a random part of this first, so that hosts do not come all at once.")
    ] = None,
    timeout: Annotated[str, typer.Option("--timeout", metavar="DURATION", help="Give up if the other store says nothing for so long.")] = "5m",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")] = False,
) -> None:
    """Bring the snapshots that another store does not have yet to it; with --pull, from it.

    It goes on where it was cut off; what arrived stays as it is, and none comes twice. Both stores are pmapdiff's, in a file or on PostgreSQL; what
    this one lacks is made.
    """
    every_s, splay_s = (None if text is None else parse_duration(text) for text in (every, splay))
    job = _Job(context.obj, store, pull, sorted({argument_text(name) for name in host or ()}), since, until, quiet, parse_duration(timeout))
    if every_s is None:
        time.sleep(random.uniform(0.0, splay_s or 0.0))
        job.run()
        return
    from pmapdiff.capture.record import Schedule, StopRequest

    told = ""
    with StopRequest() as stop:
        job.is_to_stop = lambda: stop.signal is not None
        for number, tick in enumerate(Schedule(every_s).ticks()):
            stop.wait(tick.deadline + random.uniform(0.0, splay_s or 0.0))
            if job.is_to_stop():
                break
            try:
                job.run()
                told = ""
            except (StoreError, NotFoundError) as error:
                # The server may be down for days: what was recorded meanwhile is brought afterwards.
                if number == 0 and isinstance(error, NotFoundError):
                    raise
                if str(error) != told:
                    told = str(error)
                    sys.stderr.write(f"pmapdiff: {printable(told)}; going on\n")
            gc.collect()


class _Stopped(Exception):
    """Whoever runs this wants no more of it."""


@dataclass(slots=True)
class _Job:
    """What is brought where."""

    options: Global
    other: str
    pull: bool
    hosts: list[str]
    since: str | None
    until: str | None
    quiet: bool
    timeout_s: float
    is_to_stop: Callable[[], bool] = lambda: False
    _line: ProgressLine = field(default_factory=ProgressLine)
    _done: int = 0
    _to_do: int = 0

    def run(self) -> None:
        """Bring what there is to bring. Raises StoreError, NotFoundError, UsageError."""
        before = signal.signal(signal.SIGALRM, self._give_up)
        try:
            self._wait_no_longer()
            self._bring()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)

    def _wait_no_longer(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self.timeout_s)

    def _give_up(self, _number: int, _frame: FrameType | None) -> None:
        # Something between us and the server may keep the connection open and pass nothing on.
        from pmapdiff.store.trouble import shown_location

        raise StoreError(f"{shown_location(self.other)} said nothing for {format_duration(self.timeout_s)}; --timeout says how long to wait")

    def _bring(self) -> None:
        from pmapdiff.api.look import Span
        from pmapdiff.store import ProcessFilter, Store
        from pmapdiff.store.sync import sync

        # First what there must be: nothing is made for nothing.
        source = Store.open(self.other) if self.pull else self.options.open_store()
        target = self.options.open_store(write=True) if self.pull else Store.open(self.other, write=True)
        since_us, until_us = Span(self.since, self.until).moments_us(source, ProcessFilter(hosts=frozenset(self.hosts)))
        begun = time.monotonic()
        self._done = self._to_do = 0
        self._line.restart()
        found = []
        try:
            for brought in sync(source, target, hosts=self.hosts, since_us=since_us, until_us=until_us, progress=self._progress):
                found.append(brought)
        except _Stopped:
            return
        except StoreError as error:
            if not self._done:
                raise
            advice = f"{self._done:,} of {plural(self._to_do, 'snapshot')} of the host are there, the next run goes on behind them"
            raise StoreError(f"{error}; {advice}") from error
        finally:
            self._line.clear()
        missing = [printable(name) for name in self.hosts if name not in {brought.host for brought in found}]
        if missing:
            raise UsageError(f"no snapshot of {', '.join(missing)} in {printable(source.location)}: `pmapdiff hosts` lists those that there are")
        if not self.quiet:
            stored, present = sum(brought.stored for brought in found), sum(brought.present for brought in found)
            what = f"{plural(stored, 'new snapshot')} of {plural(len(found), 'host')}"
            there = f", {present:,} more were there already" if present else ""
            sys.stdout.write(f"{what} brought to {printable(target.location)} in {time.monotonic() - begun:.1f} s{there}\n")
            sys.stdout.flush()

    def _progress(self, host: str, done: int, to_do: int) -> None:
        self._wait_no_longer()
        self._done, self._to_do = done, to_do
        self._line.draw(f"{printable(host)}: {done:,} of {to_do:,} snapshots")
        if self.is_to_stop():
            raise _Stopped
