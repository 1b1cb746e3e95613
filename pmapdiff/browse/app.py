"""The application: what is known of the store, and how it comes to be known without holding up the screen."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from typing import TypeVar

from textual.app import App

from pmapdiff.align import History
from pmapdiff.analyse.result import Leaks
from pmapdiff.browse.child import in_child
from pmapdiff.browse.entries import Entry, Verdicts, entries_of_history, entries_of_summaries
from pmapdiff.browse.keys import EVERYWHERE
from pmapdiff.browse.lists import HostsPage, ProcessesPage
from pmapdiff.browse.page import Page
from pmapdiff.browse.rows import bindings
from pmapdiff.browse.source import Source, Stopped
from pmapdiff.errors import PmapdiffError
from pmapdiff.text import printable

_T = TypeVar("_T")

POLL_S = 1.0
# What is read again because there is more of it takes at most a tenth of the time: so many times as long it then rests.
REST = 9.0
Judge = Callable[[], Leaks]


class BrowseApp(App[None], inherit_bindings=False):
    """The store in the terminal.

    `place` names it, safe to print; `judge` gives the verdicts and can be pickled (None: there are none). With `follow` it looks for new snapshots
    every `poll_s` seconds, and rests `rest` times as long as it took to read them.
    """

    ENABLE_COMMAND_PALETTE = False
    BINDINGS = bindings(EVERYWHERE[-1:])
    CSS = "Screen { background: ansi_default; color: ansi_default; }"

    def __init__(
        self, source: Source, place: str, judge: Judge | None = None, *, follow: bool = False, poll_s: float = POLL_S, rest: float = REST
    ) -> None:
        super().__init__(ansi_color=True)
        self.source, self.place, self.judge = source, place, judge
        self.follow, self.poll_s, self.rest = follow, poll_s, rest
        self.entries: list[Entry] = []
        self.history: History | None = None
        self.verdicts = Verdicts()
        self._reading, self._judging = "reading", ""
        self.trouble = ""
        self.nothing = "reading …"
        self._stamp: tuple[int, int | None] | None = None
        self._leaving = False
        # Commands run without a garbage collector, which an hour on the screen needs. What stays is not for it to look at, again and again.
        self._collects = not gc.isenabled()

    def on_mount(self) -> None:
        """Everything that is read is read beside the screen."""
        self.run_worker(self._read_all(), group="read")

    def on_unmount(self) -> None:
        """Let no thread go on."""
        self._leaving = True

    @property
    def doing(self) -> str:
        """What goes on beside the screen, for its first line."""
        return ", ".join(part for part in (self._reading, self._judging, "following" if self.follow else "") if part)

    def _busy(self, *, reading: str | None = None, judging: str | None = None) -> None:
        before = self.doing
        self._reading = self._reading if reading is None else reading
        self._judging = self._judging if judging is None else judging
        if self.doing != before:
            self._titles()

    async def aside(self, work: Callable[[], _T]) -> _T | None:
        """What `work` gives, done in a thread; None if the store is in trouble, which is said at the bottom of the screen."""
        try:
            found = await asyncio.to_thread(work)
        except PmapdiffError as error:
            self._say(printable(str(error)))
            return None
        self._say("")
        return found

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self._titles()

    def _titles(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, Page) and screen.is_mounted:
                screen.draw_title()

    def _updated(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, Page) and screen.is_mounted:
                screen.updated()

    async def _read_all(self) -> None:
        self._stamp = await self.aside(self.source.stamp)
        summaries = await self.aside(self.source.summaries)
        self.entries = entries_of_summaries(summaries or ())
        self.nothing = "there is no snapshot of such a process yet" if self.follow else "there is no process in this time"
        several = len({entry.host for entry in self.entries}) > 1
        await self.push_screen(HostsPage() if several else ProcessesPage())
        if self._collects:
            gc.freeze()
            gc.enable()
        took = await self._read_history()
        if self.judge is not None:
            self.run_worker(self._judge_again(), group="judge")
        while self.follow:
            await asyncio.sleep(max(self.poll_s, self.rest * took))
            took = await self._look_again()

    async def _look_again(self) -> float:
        """Read again if there are other snapshots than before; gives how long that took, in seconds."""
        stamp = await self.aside(self.source.stamp)
        if stamp is None or stamp == self._stamp:
            return 0.0
        self._stamp = stamp
        return await self._read_history()

    async def _read_history(self) -> float:
        began = time.monotonic()
        done = [0, 0]

        def told(number: int, of: int) -> None:
            done[:] = number, of

        def draw() -> None:
            self._busy(reading=f"reading {done[0]:,} of {done[1]:,} snapshots" if done[1] else "reading")

        timer = self.set_interval(0.2, draw)
        try:
            history = await self.aside(lambda: self.source.history(told, lambda: self._leaving))
        except Stopped:
            return 0.0
        finally:
            timer.stop()
        if history is not None:
            self.history, self.entries = history, entries_of_history(history)
            if self._collects:
                gc.freeze()
        self._busy(reading="")
        self._updated()
        return time.monotonic() - began

    async def _judge_again(self) -> None:
        """The verdicts, and with `follow` those on what has come since."""
        judge, judged = self.judge, None
        while judge is not None:
            began = time.monotonic()
            if judged != self._stamp:
                judged = self._stamp
                self._busy(judging="judging")
                said = ""
                try:
                    self.verdicts = Verdicts.of(await in_child(judge))
                except PmapdiffError:
                    # Nothing to be judged, which the list says already.
                    self.verdicts = Verdicts()
                except ChildProcessError as error:
                    said = f"no verdicts: {error}"
                self._busy(judging=said)
                self._updated()
            if not self.follow:
                return
            await asyncio.sleep(max(self.poll_s, self.rest * (time.monotonic() - began)))

    def action_leave(self) -> None:
        """Quit."""
        self.exit()
