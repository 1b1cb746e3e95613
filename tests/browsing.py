"""A real browser, and what it should not do: complain, or ask anybody for anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

# Where pictures of what was looked at go, if anybody wants to see them.
ARTEFACTS = Path(os.environ.get("PMAPDIFF_ARTEFACTS") or Path(__file__).parents[1] / "artefacts")


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """A headless Chromium; skips where none is installed."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """A page in the browser, and what it should not have done."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", self._failed)
        page.on("console", lambda message: self.errors.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))

    def _failed(self, request: Request) -> None:
        # Leaving a page ends what it was still loading.
        if request.failure != "net::ERR_ABORTED":
            self.errors.append(f"{request.failure}: {request.url}")

    def go(self, path: Path) -> None:
        """Open a file."""
        self.page.goto(path.as_uri())

    def fits(self) -> bool:
        """Whether nothing is wider than the screen; wide tables and outputs scroll by themselves."""
        return bool(self.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))

    def photograph(self, name: str) -> None:
        """Keep what is to be seen, all of it."""
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)

    def check(self) -> None:
        """Nothing went wrong, and nobody was asked for anything."""
        self.page.wait_for_load_state("networkidle")
        assert self.errors == []
        assert self.requests != []
        assert [url for url in self.requests if urlsplit(url).scheme not in {"file", "data", "blob"}] == []
