"""The page of `report` in a real browser: it draws, answers, asks nobody for anything, and names of strangers do nothing in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsing import Visit, opened_browser
from programs import PROGRAMS, Runner, Target
from test_report_numbers import signed, table_rows

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "sample_snapshots"
READY = "html[data-ready]"

Look = Callable[..., Visit]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture
def look(browser: Browser) -> Iterator[Look]:
    """Opens a page, and says at the end whether all was well."""
    contexts = []
    visits = []

    def opened(path: Path, width: int = 1280, *, script: bool = True, **settings: Any) -> Visit:
        context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=script, **settings)
        contexts.append(context)
        visit = Visit(context.new_page())
        visits.append(visit)
        visit.go(path)
        if script:
            visit.page.wait_for_selector(READY, state="attached")
        return visit

    yield opened
    for visit in visits:
        visit.check()
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runner, Path]:
    """A report of the night of the orders service, with the kernel's log."""
    folder = tmp_path_factory.mktemp("orders")
    run = Runner(folder / "orders.db")
    shutil.copy(SAMPLES / "orders.db", run.db)
    path = folder / "orders.html"
    run.here("report", "--oom-log", SAMPLES / "orders" / "oom.log", "-o", path).ok()
    return run, path


def ledger(visit: Visit) -> list[list[str]]:
    """The account that is to be seen."""
    rows = visit.page.locator("#ledger tbody tr").all()
    return [[cell.inner_text().strip() for cell in row.locator("td, th").all()] for row in rows]


def pair(visit: Visit) -> list[int]:
    """The numbers of the two snapshots that are compared."""
    found = [re.match(r"#(\d+) of", visit.page.locator(f"#{name}-words").inner_text()) for name in ("from", "to")]
    return [int(match[1]) for match in found if match is not None]


def check_account(run: Runner, visit: Visit, title: str) -> None:
    """Hold what is to be seen against `compare` of the same two snapshots."""
    compared = run.here("compare", *pair(visit), "--format", "json").json
    process = next(p for p in compared["processes"] if f"{p['command']} {p['pid']}" == title)
    rows = ledger(visit)
    keys = ("size_kib", "rss_kib", "footprint_kib", "dirty_kib")
    assert rows[-2][:4] == [signed(process["totals"]["delta"][key]) for key in keys]
    families = {row[-1]: row for row in rows}
    for family in process["families"]:
        if any(family["delta"][key] for key in keys):
            assert families[family["family"]][:4] == [signed(family["delta"][key]) for key in keys]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_is_drawn(look: Look, orders: tuple[Runner, Path], width: int, scheme: Any) -> None:
    visit = look(orders[1], width, color_scheme=scheme)
    for name in ("timeline", "space", "treemap"):
        assert visit.page.locator(f"#{name} svg path").count() > 3
    assert visit.fits()
    visit.photograph(f"report-{width}-{scheme}")


def test_to_drag_is_to_choose_a_pair(look: Look, orders: tuple[Runner, Path]) -> None:
    run, path = orders
    visit = look(path)
    title = visit.page.locator("[data-title]").first.inner_text()
    first = pair(visit)
    check_account(run, visit, title)
    visit.page.locator("#timeline").scroll_into_view_if_needed()
    box = visit.page.locator("#timeline svg .background").first.bounding_box()
    assert box is not None
    visit.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 100)
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 90, steps=4)
    visit.page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 90, steps=4)
    visit.page.mouse.up()
    visit.page.wait_for_function("first => document.getElementById('from-words').textContent.indexOf(first) !== 0", arg=f"#{first[0]} ")
    chosen = pair(visit)
    assert first[0] < chosen[0] < chosen[1] < first[1]
    check_account(run, visit, title)


def test_it_is_used_by_keyboard(look: Look, orders: tuple[Runner, Path]) -> None:
    run, path = orders
    visit = look(path)
    title = visit.page.locator("[data-title]").first.inner_text()
    before = pair(visit)
    visit.page.locator("#from").focus()
    for _ in range(3):
        visit.page.keyboard.press("ArrowRight")
    assert pair(visit) == [before[0] + 3, before[1]]
    check_account(run, visit, title)
    visit.page.locator("#space").focus()
    visit.page.keyboard.press("Home")
    seen = [visit.page.locator("#mapping").inner_text()]
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "End"):
        visit.page.keyboard.press(key)
        seen.append(visit.page.locator("#mapping").inner_text())
    assert len(set(seen)) == 5
    addresses = [int(text.partition("-")[0], 16) for text in seen]
    assert addresses == sorted(addresses)
    # What can be used is reached by the tabulator, in the order of the page.
    visit.page.locator("body").focus()
    reached = set()
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        reached.add(visit.page.evaluate("document.activeElement.id || document.activeElement.dataset.sort || document.activeElement.dataset.choose"))
    assert {"scope", "figure", "from", "to", "whole", "space", "grown", "search", "name"} <= reached


def test_another_process_another_figure(look: Look, orders: tuple[Runner, Path]) -> None:
    run, path = orders
    visit = look(path)
    for option in visit.page.locator("#scope option").all():
        title = option.inner_text()
        visit.page.locator("#scope").select_option(option.get_attribute("value"))
        assert visit.page.locator("[data-title]").first.inner_text() == title
        if title.startswith("all "):
            compared = run.here("compare", *pair(visit), "--format", "json").json
            deltas = [process["totals"]["delta"]["rss_kib"] for process in compared["processes"]]
            assert ledger(visit)[-2][1] == signed(sum(deltas))
        else:
            check_account(run, visit, title)
    for figure in ("rss", "size", "mappings"):
        visit.page.locator("#figure").select_option(figure)
        assert visit.page.locator("#regions-figure").inner_text().lower() == figure
    # The address says what is looked at, so that it can be told to others.
    address = visit.page.url
    again = visit.page.context.new_page()
    again.goto(address)
    again.wait_for_selector(READY, state="attached")
    assert again.locator("#regions-figure").inner_text() == "Mappings"


def test_regions_are_sorted_and_found(look: Look, orders: tuple[Runner, Path]) -> None:
    visit = look(orders[1])
    rows = visit.page.locator("#regions tbody tr")
    everything = rows.count()
    visit.page.locator("#search").fill("libc")
    assert 0 < rows.count() < everything
    assert all("libc" in text for text in rows.all_inner_texts())
    visit.page.locator("#search").fill("")
    visit.page.locator("[data-sort=name]").click()
    names = [row.locator("td").last.evaluate("cell => cell.firstChild.textContent") for row in rows.all()]
    assert names == sorted(names, reverse=True)
    visit.page.locator("[data-sort=name]").click()
    assert [row.locator("td").last.evaluate("cell => cell.firstChild.textContent") for row in rows.all()] == sorted(names)


def test_it_is_read_without_its_script(look: Look, orders: tuple[Runner, Path]) -> None:
    live, still = look(orders[1]), look(orders[1], script=False)
    assert still.page.locator("h1").inner_text() == live.page.locator("h1").inner_text()
    assert ledger(still) == ledger(live)
    for name in ("timeline", "space", "treemap"):
        assert still.page.locator(f"#{name} svg path").count() > 3
    assert not still.page.locator(".controls").is_visible()
    shown = [row.locator("td").all_inner_texts() for row in still.page.locator("#regions tbody tr").all()]
    assert sorted(shown) == sorted(row.locator("td").all_inner_texts() for row in live.page.locator("#regions tbody tr").all())
    assert "2026-11-23 02:48:06 out of memory: orders" in re.sub(" +", " ", still.page.locator("#marks").inner_text())
    assert live.page.locator("#marks").inner_text() == still.page.locator("#marks").inner_text()
    still.photograph("report-without-script")


def test_it_can_be_printed(look: Look, orders: tuple[Runner, Path]) -> None:
    visit = look(orders[1], color_scheme="dark")
    visit.page.emulate_media(media="print")
    assert not visit.page.locator(".controls").is_visible()
    # On paper it is light, whatever the screen is.
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert visit.page.pdf().startswith(b"%PDF")


ATTACKS = [
    b"<img src=x onerror=alert(1)>",
    b"<script>alert(1)<script>",
    b"{{ 7 * 7 }}{% raw %}",
    b"x' onmouseover='alert(1)",
    b'"><svg onload=alert(1)>',
    b"<!--",
    b"]]>&lt;b&gt;&amp;",
    b"\x1b]0;x\x07\x1b[31m",
    "right\u202eto\u2066left".encode(),
    b"${alert(1)} `x` \\u003cb",
    b"invalid \xff\xfe",
    b"long " + b"x" * 240,
    b"datum.v ? 1 : warn('x')",
]


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Target]:
    """A process whose name, arguments and files are made by somebody who means no good."""
    folder = tmp_path / "</files>" / "--><script>alert(2)<"
    folder.mkdir(parents=True)
    argv: list[str | bytes] = [sys.executable, "-I", "-S", str(PROGRAMS / "target.py"), b"</script><script>alert(3)</script>"]
    with Target(argv=argv) as target:
        target.call("name", name="<b>&\"'</b>")
        for number, name in enumerate(ATTACKS):
            path = os.fsencode(folder) + b"/" + name
            fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            os.ftruncate(fd, 4096 * 4)
            os.close(fd)
            fd = target.call("open", path=os.fsdecode(path))
            target.call("map", size=4096 * 4, address=0x100000000000 + number * 0x10000, flags=2, fd=fd)
        yield target


def test_names_of_strangers_do_nothing(look: Look, run: Runner, hostile: Target, tmp_path: Path) -> None:
    for step in range(4):
        run.here("record", "--pid", hostile.pid, "--label", f"<!--<b>{step}").ok()
        for number in range(len(ATTACKS)):
            hostile.call("write", address=0x100000000000 + number * 0x10000, pages=step + 1)
    path = tmp_path / "page.html"
    run.here("report", "-o", path).ok()
    text = path.read_text()
    assert re.findall(r"(?i)<script\b[^>]*>", text) == [
        '<script type="application/json" id="pictures">',
        '<script type="text/plain" id="content">',
        '<script type="module">',
    ]
    assert re.findall(r"(?i)<img|<iframe|<object|<link|<base|<form|<[a-z][^<>]*\son[a-z]+\s*=", re.sub(r"(?s)<script.*?</script>", "", text)) == []
    for script in (True, False):
        visit = look(path, script=script)
        shown = visit.page.locator("#regions").inner_text()
        for name in ("<img src=x onerror=alert(1)>", "{{ 7 * 7 }}{% raw %}", "<!--", "]]>&lt;b&gt;&amp;", "\\x1b[31m", "\\u202e", "\\xff\\xfe"):
            assert name in shown
        assert "<!--<b>" in visit.page.locator("#ledger-of").inner_text() or not script
        assert visit.page.evaluate("document.querySelectorAll('b, img').length") == 0
        assert visit.page.title().startswith("<b>&\"'</b>")
    visit = look(path)
    visit.page.locator("#space").focus()
    visit.page.keyboard.press("Home")
    for _ in range(60):
        visit.page.keyboard.press("ArrowDown")
    visit.page.locator("#search").fill("<script>")
    assert "alert" in visit.page.locator("#regions tbody").inner_text()
    assert visit.page.evaluate("document.querySelectorAll('b, img').length") == 0


def test_a_page_is_of_saved_files_too(look: Look, run: Runner, tmp_path: Path) -> None:
    files = sorted((SAMPLES / "redis-series").iterdir())
    path = tmp_path / "files.html"
    run.here("report", *files, "-o", path, store=False).ok()
    visit = look(path)
    assert len(ledger(visit)) > 3
    table = SAMPLES / "redis-1100.pmap-x.txt"
    run.here("report", table, "-o", path, store=False).ok()
    visit = look(path)
    assert not visit.page.locator("#over-time").is_visible()
    assert visit.page.locator("#space svg path").count() > 3
    assert [row[-1] for row in table_rows(path.read_text(), "ledger")] == ["before", "in all", "after"]


def test_the_first_drawing_is_there_before_the_script(look: Look, orders: tuple[Runner, Path]) -> None:
    """What is to be seen first does not wait for what makes it answer: the pictures stand in the file."""
    visit = look(orders[1])
    paint, ready = visit.page.evaluate("""() => [
        performance.getEntriesByName('first-contentful-paint')[0].startTime,
        performance.getEntriesByName('ready')[0].startTime,
    ]""")
    assert paint < ready
    # Not a test, which would depend on the machine: a figure for whoever asks.
    print(json.dumps({"first_contentful_paint_ms": paint, "ready_ms": ready}))
