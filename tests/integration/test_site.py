"""The documents as a site: it is built without a warning, asks nobody for anything, and works from a disk in a real browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urljoin, urlsplit

import pytest
from browsing import Visit, opened_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as by `make docs`; --strict makes an error of every warning: a broken link, a page that is in no menu."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield Visit(context.new_page())
    context.close()


def test_every_page_is_built(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    built = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert pages <= built
    assert {"sample_snapshots/index.html", "CHANGELOG.html", "pmapdiff/report/schemas/compare-1.json"} <= {
        path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()
    }
    assert not list(site.rglob("*.py"))


# What a browser fetches by itself; links are for people to follow.
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|input)\b[^>]*?\ssrc=["']?([^"'\s>]+)|<link\b(?![^>]*rel="?canonical)[^>]*?\shref=["']?([^"'\s>]+)"""
)
FETCHED_BY_CSS = re.compile(r"""@import\s+["']?([^"');]+)|url\(["']?([^"')]+)""")


def fetched(text: str, pattern: re.Pattern[str]) -> set[str]:
    return {first or second for first, second in pattern.findall(text)}


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    found = {path: fetched(path.read_text(), FETCHED) for path in site.rglob("*.html")}
    found |= {path: fetched(path.read_text(), FETCHED_BY_CSS) for suffix in ("css", "svg", "html") for path in site.rglob(f"*.{suffix}")} | found
    assert sum(map(len, found.values())) > 100
    away = {
        str(path.relative_to(site)): url
        for path, urls in found.items()
        for url in urls
        if urlsplit(urljoin("file:///", url)).scheme not in {"file", "data"}
    }
    assert away == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "concepts.html", "commands/compare.html", "sample_snapshots/index.html"])
def test_a_page_opens_from_a_disk(site: Path, browser: Browser, name: str, scheme: Literal["light", "dark"]) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    visit = Visit(context.new_page())
    visit.go(site / name)
    assert visit.page.locator("h1").first.is_visible()
    assert visit.page.locator("body").get_attribute("data-md-color-scheme") == {"light": "default", "dark": "slate"}[scheme]
    pictures = visit.page.evaluate("Array.from(document.querySelectorAll('article img'), image => image.complete && image.naturalWidth)")
    assert all(pictures)
    assert bool(pictures) == (name in {"index.html", "concepts.html"})
    for width in (1280, 390):
        visit.page.set_viewport_size({"width": width, "height": 900})
        visit.photograph(f"site-{name.removesuffix('.html').replace('/', '-')}-{width}-{scheme}")
        assert visit.fits()
    visit.check()
    context.close()


def test_the_search_works_from_a_disk(site: Path, visit: Visit) -> None:
    visit.go(site / "index.html")
    visit.page.locator("[data-md-component=search-query]").click()
    visit.page.keyboard.type("malloc arena")
    first = visit.page.locator(".md-search-result__link").first
    first.wait_for()
    visit.page.locator(".md-search-result__link", has_text="Families").first.click()
    visit.page.wait_for_url("**/families.html*")
    visit.check()


def test_every_page_fits_a_telephone(site: Path, visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 800})
    for path in sorted({*site.rglob("*.html")} - {site / "404.html"}):  # That one is for servers.
        visit.go(path)
        assert visit.fits(), path
    visit.check()
