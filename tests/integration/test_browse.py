"""`browse` at the keyboard: what stands on the screen is what the other commands say, and nothing that strangers chose drives it."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from at_screen import Session, at_screen
from programs import Runner
from strategies import capture_of, file, make
from textual.screen import Screen

from pmapdiff.browse.course import FIGURES
from pmapdiff.browse.keys import EVERYWHERE, PROCESS, ROWS, SECTIONS
from pmapdiff.browse.lists import HostsPage, ProcessesPage
from pmapdiff.browse.process import ProcessPage
from pmapdiff.compare import FamilyChange
from pmapdiff.model import FIGURE_INDEX, Capture, Mapping, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.report import View, write_report
from pmapdiff.store import ProcessFilter, Store
from pmapdiff.text import printable
from pmapdiff.units import format_delta_kib, format_kib

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "sample_snapshots"
A, M = 0x7F0000000000, 1 << 20
HOUR_US = 3_600_000_000


@pytest.fixture
def redis(run: Runner) -> Path:
    """A copy of the series of a redis-server."""
    run.db.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(SAMPLES / "redis.db", run.db)
    return run.db


@pytest.fixture
def orders(run: Runner) -> Path:
    """A copy of a night of a service that is restarted."""
    run.db.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(SAMPLES / "orders.db", run.db)
    return run.db


def capture(mappings: Sequence[Mapping], pid: int = 1100, name: bytes = b"svc", status: Status = Status.COMPLETE) -> Capture:
    found = capture_of(mappings, pid, status)
    info = ProcessInfo(ProcessIdentity("boot", pid, pid, "k"), name, b"/bin/" + name + b"\0--serve", b"/bin/" + name)
    return found._replace(process=info)


def heap(kib: int) -> Mapping:
    return make(A, A + 64 * M, name=b"[heap]", rss=kib, anonymous=kib, private_dirty=kib)


def record(db: Path, *snapshots: Sequence[Capture], first: int = 0, host: str = "h1") -> None:
    """Store snapshots, an hour apart."""
    store = Store.open(str(db), write=True)
    for number, captures in enumerate(snapshots, first):
        store.write(Snapshot(SnapshotRef(None, (number + 1) * HOUR_US, host, selection="--all"), tuple(captures)))


@pytest.fixture
def db(run: Runner) -> Path:
    """An empty store of this test alone."""
    Store.open(str(run.db), write=True)
    return run.db


def row_of(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.rstrip().endswith(name))


# What is shown.


def test_the_list_has_the_figures_of_processes(run: Runner, orders: Path) -> None:
    listed = run.here("processes", "--format", "json").json["processes"]

    async def look(session: Session) -> str:
        assert isinstance(session.page, ProcessesPage)
        return session.text

    text = at_screen(look, orders)
    # A service is one row, under its last pid; what it was before is in it.
    last = max(listed, key=lambda process: str(process["last"]["taken_at"]))
    row = next(line for line in text.splitlines() if line.split()[:1] == [str(last["pid"])])
    assert format_kib(last["last"]["totals"]["rss_kib"]) in row
    assert format_kib(last["last"]["totals"]["footprint_kib"]) in row
    assert "checkout" in text
    assert "catalog" in text
    assert len(text.splitlines()) == 24
    assert "shop1" in text.splitlines()[0]


@pytest.mark.parametrize("marks", [(2, 4), (6, 0), (3, 4)])
def test_the_ledger_is_what_compare_says_of_the_marked_pair(run: Runner, redis: Path, marks: tuple[int, int]) -> None:
    first, second = sorted(marks)
    compared = run.here("compare", first + 1, second + 1, "--format", "json").json

    async def mark(session: Session) -> None:
        await session.press("enter", "less_than_sign")
        place = 0
        for wanted in marks:
            await session.press(*["right" if wanted > place else "left"] * abs(wanted - place), "m")
            place = wanted
        # Where one goes then is no matter.
        await session.press("greater_than_sign")
        page = session.process
        assert page.comparison is not None
        out = Written()
        write_report("compare", "json", page.comparison, View(), out)  # type: ignore[arg-type]
        assert json.loads(out.text) == compared
        families = {family["family"]: family for family in compared["processes"][0]["families"]}
        rows = [line for line in page.rows.lines if isinstance(line.of, FamilyChange)]
        assert len(rows) == len(families)
        for line in rows:
            assert isinstance(line.of, FamilyChange)
            delta = families[line.of.family]["delta"]
            assert dict(zip(FIGURE_INDEX, line.of.delta, strict=True)) == delta
            row = row_of(session.text, line.of.family)
            assert row.split()[:2] == format_delta_kib(delta["size_kib"]).split()[:2] or row.split()[0] == "0"
            assert f" {format_delta_kib(delta['footprint_kib'])} " in row
        for when in ("before", "after"):
            assert any(line.startswith(f"{when} ") and f"#{compared[when]['id']} of" in line for line in session.text.splitlines())

    at_screen(mark, redis)


class Written:
    """A text that is written."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text


@pytest.mark.parametrize("size", [(80, 40), (160, 50)])
def test_by_region_it_is_the_text_of_compare(run: Runner, redis: Path, size: tuple[int, int]) -> None:
    printed = run.here("compare", 1, 7, env={"COLUMNS": str(size[0])}).ok().out.splitlines()

    async def look(session: Session) -> None:
        await session.press("enter", "b")
        shown = session.text.splitlines()
        start = next(n for n, line in enumerate(shown) if line.startswith("before "))
        begin = next(n for n, line in enumerate(printed) if line.endswith("Mapping"))
        header = next(n for n, line in enumerate(shown) if line.endswith("Mapping"))
        assert [line for line in printed[:begin] if line] == shown[start:header]
        # The same rows in the same columns; the header also says by what they are sorted.
        assert [" ".join(line.split()) for line in printed[begin + 1 : -1]] == [" ".join(line.split()) for line in shown[header + 1 : -1] if line]
        assert shown[header].replace("▼", "").split() == printed[begin].split()

    at_screen(look, redis, size=size)


def test_one_goes_from_a_family_to_its_mappings_and_back(redis: Path) -> None:
    async def walk(session: Session) -> None:
        await session.press("enter")
        assert "by family" in session.lines[0]
        await session.press("enter")
        assert "family anon" in session.lines[0]
        await session.press("down", "enter")
        assert "before" in session.text
        assert "7ff2d" in session.text
        row = session.process.rows.line
        await session.press("right", "left")
        assert session.process.rows.line is not None
        assert row is not None
        assert session.process.rows.line.row == row.row
        await session.press("escape")
        assert "family anon" in session.lines[0]
        assert session.process.rows.line is not None
        await session.press("escape")
        assert "by family" in session.lines[0]
        await session.press("escape")
        assert isinstance(session.page, ProcessesPage)
        # From the first screen there is no way back.
        await session.press("escape")
        assert isinstance(session.page, ProcessesPage)

    at_screen(walk, redis)


def test_a_level_that_is_open_stays_open_for_another_pair(redis: Path) -> None:
    async def walk(session: Session) -> None:
        await session.press("enter", "enter")
        assert "family anon" in session.lines[0]
        before = session.text
        await session.press("left", "left")
        assert "family anon" in session.lines[0]
        assert session.text != before
        # Nothing has been there before the first: then there is nothing to be open.
        await session.press("less_than_sign")
        assert "no change" in session.text

    at_screen(walk, redis)


def test_left_and_right_go_through_time_and_keys_choose_the_figure(redis: Path) -> None:
    async def go(session: Session) -> None:
        await session.press("enter")
        steps = {"left": -1, "right": 1, "less_than_sign": -99, "greater_than_sign": 99, "left_square_bracket": -1, "right_square_bracket": 1}
        number = 7
        back, on = ("left", "left", "right", "less_than_sign", "left"), ("greater_than_sign", "right", "left_square_bracket", "left")
        for key in (*back, *on, "right_square_bracket"):
            await session.press(key)
            number = max(1, min(7, number + steps[key]))
            assert re.search(rf"^#{number} 2026-", session.text, re.MULTILINE), (key, session.text)
        assert number == 6
        store = Store.open(str(redis))
        (known,) = store.load(store.resolve("#6")).captures
        assert known.sums is not None
        for key, figure in zip("123456", FIGURES, strict=True):
            await session.press(key)
            assert f"[{key} {figure.capitalize()}]" in session.text
            kib = None if figure == "mappings" else known.sums.get(f"{figure}_kib")
            value = f"{known.sums.mappings} mappings" if figure == "mappings" else f"{figure.capitalize()} {format_kib(kib)}"
            assert value in next(line for line in session.text.splitlines() if line.startswith("#6 "))

    at_screen(go, redis)


def test_search_sort_and_turn_round(orders: Path) -> None:
    async def search(session: Session) -> None:
        rows = [line.of for line in session.page.rows.lines]
        await session.press("S")
        assert [line.of for line in session.page.rows.lines] == rows[::-1]
        await session.press("S")
        assert "±▼" in session.lines[1]
        await session.press("s")
        assert "Verdict▲" in session.lines[1]
        await session.press("slash")
        # Keys are text now, the one that quits too.
        await session.type("q")
        assert session.page.rows.lines == ()
        assert "no process is called 'q'" in session.text
        await session.press("backspace")
        await session.type("ORDERS 19")
        assert len(session.page.rows.lines) == 1
        await session.press("enter")
        assert "/ORDERS 19" in session.lines[-1]
        assert len(session.page.rows.lines) == 1
        await session.press("escape")
        assert len(session.page.rows.lines) == len(rows)

    at_screen(search, orders)


def test_a_search_in_the_ledger_leaves_it_adding_up(redis: Path) -> None:
    async def search(session: Session) -> None:
        await session.press("enter", "slash")
        await session.type("anon")
        assert "rows without 'anon'" in session.text
        assert row_of(session.text, "in all")
        await session.press("enter", "enter")
        # What is gone into is another list.
        assert "without" not in session.text

    at_screen(search, redis)


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (200, 60), (79, 20), (20, 5)])
def test_it_fits_every_screen(orders: Path, size: tuple[int, int]) -> None:
    async def fit(session: Session) -> None:
        for keys in ((), ("enter",), ("b",), ("enter",), ("question_mark",)):
            await session.press(*keys)
            assert len(session.lines) == size[1]
            assert all(len(line) <= size[0] for line in session.lines)
            if size[0] >= 79:
                assert session.lines[-1].rstrip().endswith("q quit")
        await session.resize(100, 30)
        assert all(len(line) <= 100 for line in session.lines)

    at_screen(fit, orders, size=size)


def test_at_80_columns_and_24_lines_there_is_room_for_a_ledger(orders: Path) -> None:
    async def fit(session: Session) -> None:
        await session.press("enter")
        assert session.process.rows.size.height >= 7
        assert row_of(session.text, "in all")

    at_screen(fit, orders)


# Keys, and what is written of them.


def bound(screen: Screen[None]) -> set[str]:
    return set(screen.active_bindings)


def test_every_key_is_in_the_help_and_in_the_documents(orders: Path) -> None:
    known = {name for _, keys in SECTIONS for key in keys for name in key.names}

    async def look(session: Session) -> None:
        lists = {name for key in (*ROWS, *EVERYWHERE) for name in key.names}
        assert bound(session.page) == lists
        await session.press("enter")
        assert bound(session.page) == known == lists | {name for key in PROCESS for name in key.names}
        await session.press("question_mark")
        assert bound(session.page) <= known
        written = [session.text]
        while "(end)" not in written:
            before = session.text
            await session.press("pagedown")
            written.append("(end)" if session.text == before else session.text)
        helped = " ".join(" ".join(written).split())
        for _, keys in SECTIONS:
            for key in keys:
                assert f"{key.shown} {key.does}" in helped

    at_screen(look, orders, size=(200, 24))
    page = (ROOT / "docs/commands/browse.md").read_text()
    rows = re.findall(r"^\| (`.*) \| (.*) \|$", page.partition("## Keys")[2], re.MULTILINE)
    expected = [(" ".join(f"`{word}`" for word in key.shown.split()), key.does) for _, keys in SECTIONS for key in keys]
    assert rows == expected, "write the keys of pmapdiff/browse/keys.py into docs/commands/browse.md"


# What is not whole.


def test_gaps_restarts_and_captures_that_are_not_whole_are_said(db: Path) -> None:
    denied = capture([])._replace(status=Status.DENIED, table=None, note="not allowed")
    record(db, *([capture([heap(100 + n)])] for n in range(5)))
    record(db, [capture([heap(200)], status=Status.TORN)], [denied], [], [capture([heap(50)], 1200)], first=20)

    async def look(session: Session) -> None:
        await session.press("enter")
        assert "9 snapshots in 23 h, 1 gap, 1 restart, 1 × torn, 1 × denied, 1 × not recorded" in session.text
        assert "restarted as 1200" in session.text
        assert "(restarted, was pid 1100)" in session.text
        await session.press("left")
        assert "not recorded" in session.text
        assert "not recorded after" in session.text or "gone" in session.text
        await session.press("left")
        assert "denied (not allowed)" in session.text
        assert "cannot be compared" in session.text
        assert "note: the capture after is marked denied (not allowed): there is no table of it" in session.text
        await session.press("left")
        assert "no snapshot: 16 h" in session.text
        assert "torn" in session.text
        assert "note: the capture after is marked torn" in session.text

    at_screen(look, db, size=(100, 30))


def test_a_pruned_snapshot_is_said_to_be_gone(run: Runner, redis: Path) -> None:
    async def look(session: Session) -> None:
        await session.press("enter")
        with closing(sqlite3.connect(redis)) as connection:
            connection.execute("UPDATE snapshot SET label = NULL")
            connection.commit()
        run.here("prune", "--keep-last", 3).ok()
        await session.press("left")
        assert "snapshot 1 of redis-server is no longer in the store: it was pruned" in session.text
        await session.press("m", "right", "m")
        assert "#6 of" in session.text
        assert "pruned" not in session.text

    at_screen(look, redis)


def test_a_store_that_is_gone_is_said_to_be(redis: Path) -> None:
    async def look(session: Session) -> None:
        await session.press("enter")
        redis.write_bytes(b"no database any more" * 1000)
        await session.press("left")
        assert "is not a database" in " ".join(session.text.split())

    at_screen(look, redis)


def test_a_store_of_one_snapshot(db: Path) -> None:
    record(db, [capture([heap(100)])])

    async def look(session: Session) -> None:
        await session.press("enter")
        assert "1 snapshot" in session.text
        assert "no change" in session.text
        await session.press("left", "m", "right", "m", "plus", "minus", "v", "b", "enter")
        assert "svc 1100" in session.text

    at_screen(look, db)


def test_nothing_in_this_time(redis: Path) -> None:
    async def look(session: Session) -> None:
        assert "there is no process in this time" in session.text
        await session.press("enter", "down", "s", "S", "slash", "escape", "question_mark", "escape")
        assert "there is no process in this time" in session.text

    at_screen(look, redis, until_us=0)


def test_hosts_come_first_if_there_are_several(db: Path) -> None:
    for number, host in enumerate(("web1", "web2", "web1", "web2")):
        record(db, [capture([heap(100 * (number + 1))], 1100 + number % 2)], first=number, host=host)

    async def look(session: Session) -> None:
        assert isinstance(session.page, HostsPage)
        assert [line.of for line in session.page.rows.lines] == ["web1", "web2"]
        assert format_kib(300) in row_of(session.text, "web1")
        await session.press("down", "enter")
        assert len(session.page.rows.lines) == 1
        assert "web2" in session.lines[0]
        await session.press("enter")
        assert "svc 1101" in session.lines[0]
        assert "2 snapshots" in session.text
        await session.press("escape", "escape")
        assert isinstance(session.page, HostsPage)

    at_screen(look, db)


def test_a_process_by_name_or_pid(db: Path) -> None:
    record(db, [capture([heap(1)]), capture([heap(2)], 1200, b"other")], [capture([heap(3)]), capture([heap(4)], 1200, b"other")])
    for wanted, title in ((ProcessFilter(name="oth"), "other --serve"), (ProcessFilter(frozenset([1100])), "svc --serve")):

        async def look(session: Session, title: str = title) -> None:
            (line,) = session.page.rows.lines
            assert session.text.splitlines()[2].endswith(title)
            assert line

        at_screen(look, db, wanted=wanted)


# A store that is being recorded.


def test_new_snapshots_show_up_and_marks_stay(db: Path) -> None:
    record(db, [capture([heap(100)])], [capture([heap(200)])])

    async def follow(session: Session) -> None:
        await session.listed()
        await session.press("enter", "m")
        assert "#2 " in session.text
        record(db, [capture([heap(4000)])], first=2)
        await session.until(lambda: "3 snapshots" in session.text)
        await session.rest()
        # Who is at the end stays there, and what is marked stays marked.
        assert re.search(r"^#3 ", session.text, re.MULTILINE)
        assert session.process.place is not None
        assert session.process.place.marks == (2,)
        await session.until(lambda: "before  #2 of" in session.text and "after   #3 of" in session.text)
        assert "+3.7 MiB" in session.text
        await session.press("left")
        record(db, [capture([heap(5000)]), capture([heap(7)], 1300, b"second")], first=3)
        await session.until(lambda: "4 snapshots" in session.text)
        assert re.search(r"^#2 ", session.text, re.MULTILINE)
        await session.press("escape")
        assert "second --serve" in session.text
        # A restart is another pid of the same row.
        record(db, [capture([heap(10)], 1400), capture([heap(7)], 1300, b"second")], first=4)
        await session.until(lambda: any(line.startswith("1400") for line in session.lines))
        assert not any(line.startswith("1100") for line in session.lines)

    at_screen(follow, db, follow=True)


def test_one_can_wait_for_the_first_snapshot(db: Path) -> None:
    async def follow(session: Session) -> None:
        assert "there is no snapshot of such a process yet" in session.text
        record(db, [capture([heap(100)])])
        await session.until(lambda: "svc --serve" in session.text)

    at_screen(follow, db, follow=True)


def test_it_keeps_nobody_from_writing(db: Path) -> None:
    record(db, [capture([heap(100)])], [capture([heap(200)])])

    async def look(session: Session) -> None:
        await session.press("enter", "left")
        with closing(sqlite3.connect(db, timeout=0, isolation_level=None)) as other:
            # Fails, or leaves something, while anybody reads.
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            other.execute("BEGIN EXCLUSIVE")
            other.execute("ROLLBACK")

    at_screen(look, db)


def test_it_writes_nothing(redis: Path) -> None:
    before = redis.read_bytes()

    async def look(session: Session) -> None:
        await session.press("enter", "left", "m", "enter", "enter")

    at_screen(look, redis)
    assert redis.read_bytes() == before


# Verdicts.


def test_verdicts_are_those_of_leaks_and_can_be_read_in_depth(run: Runner, orders: Path) -> None:
    from pmapdiff.cli.browse import judge

    found = run.here("leaks", "--format", "json").json["processes"]
    printed = run.here("leaks", "--pid", found[0]["pid"], env={"COLUMNS": "100"}).ok().out

    async def look(session: Session) -> None:
        await session.until(lambda: session.app.verdicts.leaks is not None)
        await session.press("s")
        rows = [line for line in session.text.splitlines()[2:-1] if line.strip()]
        assert len(rows) == len(found)
        for process in found:
            row = next(row for row in rows if row.split()[0] == str(process["pid"]))
            assert process["verdict"] in row
        await session.press("enter")
        assert "growing: [heap]" in session.text
        await session.press("v")
        shown = [line for line in session.text.splitlines()[1:-1] if line.strip()]
        assert len(shown) > 10
        assert shown == [line for line in printed.splitlines() if line.strip()][: len(shown)]
        await session.press("escape")
        assert isinstance(session.page, ProcessPage)

    at_screen(look, orders, size=(100, 40), judge=partial(judge, str(orders), ProcessFilter(), None, None, None))


# Strangers.

HOSTILE = [
    b"[red]x[/red]",
    b"[@click=app.bell]a[/]",
    b"[/]",
    b"\x1b[31mred\x1b[2J",
    "right\u202eto\u2066left\u200b".encode(),
    b"new\nline\r\t",
    b"\xff\xfe\x80",
    b"\\[b]",
]


def test_names_are_shown_and_do_nothing(db: Path) -> None:
    from test_hostile import is_harmless

    before = [file(A + n * M, A + (n + 1) * M, "rw-p", 0, b"/tmp/" + name, 100 + n) for n, name in enumerate(HOSTILE)]
    after = [m._replace(end=m.end - 4096) for m in before]
    info = ProcessInfo(ProcessIdentity("boot", 1, 1, "k"), b"[b]\x1b[2J\n", b"[red]\x1b]0;x\x07\0[/]", b"/bin/x", started_at_us=0)
    label = "[blink]\x1b[31m\u202e"
    store = Store.open(str(db), write=True)
    for number, mappings in enumerate((before, after)):
        taken = capture(mappings)._replace(process=info, note="[i]\x1b[1m" if number else None, status=Status.TORN if number else Status.COMPLETE)
        store.write(Snapshot(SnapshotRef(None, (number + 1) * HOUR_US, "[u]\x1b[7mhost", label), (taken,)))
        store.write(Snapshot(SnapshotRef(None, (number + 1) * HOUR_US, "other", label), (taken,)))

    async def look(session: Session) -> None:
        await session.press("enter")
        assert printable("[red]\x1b]0;x\x07 [/]") in session.text
        await session.press("enter", "b")
        assert printable("[b]\x1b[2J\n") in session.text
        names = [printable(name.decode("utf-8", "backslashreplace")) for name in HOSTILE]
        # The kernel writes a newline as \012; here it is as it may come from elsewhere.
        assert all(f"/tmp/{name}" in session.text for name in names), session.text
        assert printable(label) in session.text
        assert printable("[i]\x1b[1m") in session.text
        is_harmless(session.text)
        await session.press("down", "enter")
        is_harmless(session.text)
        await session.press("slash")
        await session.type("[")
        is_harmless(session.text)
        await session.press("escape", "escape", "escape", "escape", "escape")
        is_harmless(session.text)
        # Nothing of it has become a style that can be clicked.
        segments = [segment for strip in session.app.screen._compositor.render_strips() for segment in strip]
        assert "app.bell" not in str([segment.style.meta for segment in segments if segment.style is not None])

    at_screen(look, db, size=(160, 50))
