"""`browse` without a terminal: keys are pressed, and what stands on the screen is read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from programs.driver import PATIENCE_S
from rich.text import Text
from textual.pilot import Pilot

from pmapdiff.browse.app import BrowseApp, Judge
from pmapdiff.browse.page import Page
from pmapdiff.browse.process import ProcessPage
from pmapdiff.browse.source import Source
from pmapdiff.store import EVERYTHING, ProcessFilter, Store

_T = TypeVar("_T")


class Session:
    """Somebody at the screen."""

    def __init__(self, app: BrowseApp, pilot: Pilot[None]) -> None:
        self.app, self._pilot = app, pilot

    async def until(self, holds: Callable[[], Any]) -> None:
        """Wait for something, as long as it takes."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                assert self.app.return_code is None, "it has failed"
                await self._pilot.pause()

    async def press(self, *keys: str) -> None:
        """Press keys one after the other, each when the screen has come to rest."""
        for key in keys:
            await self._pilot.press(key)
            await self.rest()

    async def type(self, text: str) -> None:
        """Press the keys of a text."""
        for character in text:
            await self._pilot.press(character if character.isalnum() else {" ": "space", "-": "minus", "[": "left_square_bracket"}[character])
        await self.rest()

    async def rest(self) -> None:
        """Wait until everything that was asked for is on the screen."""
        await self._pilot.pause()
        await self.until(lambda: not any(worker.group == "compare" and not worker.is_finished for worker in self.app.workers))
        await self._pilot.pause()

    async def listed(self) -> None:
        """Wait until the series has been read."""
        await self.until(lambda: self.app.history is not None and isinstance(self.app.screen, Page))
        await self.rest()

    async def resize(self, width: int, height: int) -> None:
        """Another size of the terminal."""
        await self._pilot.resize_terminal(width, height)
        await self.rest()

    @property
    def page(self) -> Page:
        """The screen on top."""
        page = self.app.screen
        assert isinstance(page, Page)
        return page

    @property
    def process(self) -> ProcessPage:
        """The screen on top, which is of one process."""
        page = self.app.screen
        assert isinstance(page, ProcessPage)
        return page

    @property
    def lines(self) -> list[str]:
        """What stands on the screen."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        """The same as one text."""
        return "\n".join(line.rstrip() for line in self.lines)

    def styled(self) -> Text:
        """The same with its colours."""
        lines = (Text.assemble(*((segment.text, segment.style or "") for segment in strip)) for strip in self.app.screen._compositor.render_strips())
        return Text("\n").join(lines)


@asynccontextmanager
async def browsing(
    db: Path | str,
    *,
    size: tuple[int, int] = (80, 24),
    wanted: ProcessFilter = EVERYTHING,
    since_us: int | None = None,
    until_us: int | None = None,
    judge: Judge | None = None,
    follow: bool = False,
) -> AsyncIterator[Session]:
    """The screen of a store. With `follow` it looks for more as often as it can."""
    source = Source(Store.open(str(db)), wanted, since_us, until_us)
    app = BrowseApp(source, Path(str(db)).name, judge, follow=follow, poll_s=0.05, rest=0)
    async with app.run_test(size=size) as pilot:
        session = Session(app, pilot)
        await session.until(lambda: isinstance(app.screen, Page))
        if not follow:
            await session.listed()
        yield session


def at_screen(do: Callable[[Session], Awaitable[_T]], db: Path | str, **options: Any) -> _T:
    """Do something at the screen of a store."""

    async def run() -> _T:
        async with browsing(db, **options) as session:
            return await do(session)

    return asyncio.run(run())


def browse_screen(db: Path, keys: Sequence[str], *, size: tuple[int, int], judge: Judge | None = None) -> Text:
    """What stands on the screen after some keys (Textual's names: `enter`, `left`, `m`, …), in colour."""

    async def look(session: Session) -> Text:
        await session.until(lambda: judge is None or session.app.verdicts.leaks is not None)
        await session.press(*keys)
        return session.styled()

    # Textual looks at it when an application is made.
    with mock.patch.dict(os.environ):
        os.environ.pop("NO_COLOR", None)
        return at_screen(look, db, size=size, judge=judge)
