"""What `browse` shows, without a screen: series, pairs and ledgers."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import capture_of, make

from pmapdiff.align import History, trace
from pmapdiff.browse.course import Course, Place, columns_of
from pmapdiff.browse.drawing import SIGNS, timeline
from pmapdiff.browse.entries import PROCESS_SORTS, Verdicts, entries_of_history, process_sheet
from pmapdiff.browse.ledger import SORTS, Alike, Families, Level, Look, Mappings, Regions
from pmapdiff.browse.source import Source
from pmapdiff.compare import Comparison, FamilyChange
from pmapdiff.model import Capture, Figures, ProcessIdentity, Snapshot, SnapshotRef, Status
from pmapdiff.model.counters import subtract_figures, sum_figures
from pmapdiff.report import View
from pmapdiff.report.shape import ShownRow
from pmapdiff.report.sparkline import chart, sparkline
from pmapdiff.report.table import Cell, Sheet
from pmapdiff.store import Store

SAMPLES = Path(__file__).resolve().parents[2] / "sample_snapshots"
A, M = 0x7F0000000000, 1 << 20
MINUTE_US = 60_000_000


def capture(kib: int, pid: int = 1100, status: Status = Status.COMPLETE) -> Capture:
    found = capture_of([make(A, A + 64 * M, name=b"[heap]", rss=kib, anonymous=kib)], pid, status)
    return found._replace(process=found.process._replace(identity=ProcessIdentity("boot", pid, pid, "k"), exe=b"/bin/prog"))


def course(*captures: Capture | None, minutes: tuple[int, ...] = ()) -> Course:
    """The course of the first process of a series, a minute between snapshots if not told otherwise."""
    times = minutes or tuple(range(len(captures)))
    snapshots = [
        Snapshot(SnapshotRef(10 + n, at * MINUTE_US, "h"), (found,) if found else ())
        for n, (at, found) in enumerate(zip(times, captures, strict=True))
    ]
    history = trace(snapshots)
    return Course.of(history, history.services[0])


def words(sheet: Sheet) -> list[str]:
    """The last cells of a sheet."""
    return [cell.text if isinstance(cell, Cell) else cell for line in sheet.lines for cell in line.row[-1:]]


def read(name: str) -> tuple[Source, History]:
    source = Source(Store.open(str(SAMPLES / name)))
    return source, source.history()


# Charts.


@given(st.lists(st.none() | st.integers(0, 1 << 30), min_size=1, max_size=60), st.integers(1, 9))
def test_a_chart_is_a_sparkline_in_more_lines(values: list[int | None], height: int) -> None:
    lines = chart(values, height)
    assert [len(line) for line in lines] == [len(values)] * height
    assert chart(values, 1)[0] == sparkline(values, len(values))
    for column, value in zip(zip(*lines, strict=True), values, strict=True):
        text = "".join(column)
        assert (value is None) == (text.strip() == "")
        # A bar stands on the ground, and is full up to its top.
        assert text.lstrip()[1:].strip("█") == ""


def test_bars_rise_with_their_values() -> None:
    lines = chart([0, 25, 50, 100], 4)
    heights = ["".join(column).count("█") for column in zip(*lines, strict=True)]
    assert heights == [0, 1, 2, 4]


# A course.


def test_what_happened_is_said_at_the_snapshot_and_of_the_whole() -> None:
    gone = capture(0)._replace(status=Status.DENIED, table=None, note="needs \x1b[31mCAP")
    found = course(
        *(capture(4 + n) for n in range(5)), capture(9, status=Status.TORN), None, gone, capture(3, 1200), minutes=(0, 1, 2, 3, 4, 20, 21, 22, 23)
    )
    assert found.summary() == "9 snapshots in 23 min, 1 gap, 1 restart, 1 × torn, 1 × not recorded, 1 × denied"
    assert [moment.sign for moment in found.moments] == ["", "", "", "", "", "!", "?", "x", "R"]
    assert "no snapshot: 16 min" in found.words(5, "rss")
    assert "torn" in found.words(5, "rss")
    assert found.words(6, "rss").endswith("not recorded")
    assert r"denied (needs \x1b[31mCAP)" in found.words(7, "rss")
    assert "restarted as 1200" in found.words(8, "rss")
    assert "Rss 3 KiB  1 mapping" in found.words(8, "rss")
    text = "\n".join("".join(piece.text for piece in line) for line in timeline(found, Place.last(found), "rss", 80, 4))
    assert all(sign in text for sign in "!?xR·")
    assert {sign for sign, _ in SIGNS} >= set("!?xR·")


def test_a_figure_that_no_table_has_is_said_to_be_unknown() -> None:
    bare = capture_of([make(A, A + M)])
    assert bare.table is not None
    mapping = bare.table.mappings[0]
    found = course(bare._replace(table=bare.table.__class__((mapping._replace(counters=(None,) * len(mapping.counters)),))))
    assert found.figure == "size"
    lines = ["".join(piece.text for piece in line) for line in timeline(found, Place.last(found), "rss", 80, 4)]
    assert any("Rss is not known" in line for line in lines)


@given(st.integers(1, 70), st.integers(8, 80), st.data())
def test_columns_hold_each_snapshot_in_its_order(count: int, width: int, data: st.DataObject) -> None:
    pauses = data.draw(st.lists(st.sampled_from([1, 1, 1, 1, 30]), min_size=count, max_size=count))
    found = course(*(capture(n) for n in range(count)), minutes=tuple(sum(pauses[: n + 1]) for n in range(count)))
    columns = columns_of(found, range(count), width)
    assert len(columns) <= width
    places = [place for column in columns for place in column.places]
    assert list(dict.fromkeys(places)) == list(range(count))
    assert places == sorted(places)
    for place, moment in enumerate(found.moments):
        number = next(number for number, column in enumerate(columns) if place in column.places)
        if moment.late and place:
            # In its column, or in the one before.
            assert "·" in {columns[number].sign(found), columns[number - 1].sign(found)}
    for line in timeline(found, Place.last(found), "rss", width + 10, 3):
        assert len("".join(piece.text for piece in line)) <= width + 10


@given(st.lists(st.sampled_from(["left", "right", "mark", "zoom in", "zoom out", "first", "last", "more"]), max_size=40))
def test_one_is_always_somewhere_and_the_earlier_is_before(steps: list[str]) -> None:
    captures = [capture(n) for n in range(30)]
    found = course(*captures[:20])
    place, length = Place.last(found), 20
    for step in steps:
        ended = place.ends
        match step:
            case "mark":
                place = place.marked()
            case "zoom in" | "zoom out":
                place = place.zoomed(found, 1 if step == "zoom in" else -1)
            case "more":
                length = min(30, length + 1)
                found = course(*captures[:length])
                place = place.within(found)
                assert place.index(found) == length - 1 if ended else not place.ends or place.index(found) == length - 1
            case _:
                place = place.moved(found, {"left": -1, "right": 1, "first": -99, "last": 99}[step])
        window, (before, after) = place.window(found), place.pair(found)
        assert place.index(found) in window
        assert 0 <= window.start <= window.stop <= length
        assert 0 <= before <= after < length
        marks = sorted(mark - 10 for mark in place.marks)
        assert len(marks) <= 2
        assert (before, after) == (tuple(marks) if len(marks) == 2 else tuple(sorted([marks[0] if marks else 0, place.index(found)])))


def test_a_third_mark_begins_anew_and_the_same_one_is_taken_away() -> None:
    found = course(*(capture(n) for n in range(5)))
    place = Place.last(found).marked()
    assert place.marks == (14,)
    assert place.marked().marks == ()
    place = place.moved(found, -2).marked()
    assert place.marks == (14, 12)
    assert place.pair(found) == (2, 4)
    assert place.moved(found, -1).marked().marks == (11,)


# Lists.


def test_rows_are_sorted_both_ways() -> None:
    _, history = read("orders.db")
    entries = entries_of_history(history)
    assert len(entries) > 1
    for width in (80, 160):
        for sort in PROCESS_SORTS:
            up, down = (process_sheet(entries, Verdicts(), View(width=width), sort, reverse=reverse) for reverse in (False, True))
            assert [line.of for line in up.lines] == [line.of for line in reversed(down.lines)]
            assert sum(title.endswith(("▲", "▼")) for title in up.header) == 1
            assert all(len(line.row) == len(up.header) for line in up.lines)
    grown = [entry.growth for entry in (line.of for line in process_sheet(entries, Verdicts(), View(width=80), "growth", reverse=False).lines)]  # type: ignore[attr-defined]
    assert grown == sorted(grown, reverse=True)


# Ledgers.


def delta_of(of: object) -> Figures:
    assert isinstance(of, ShownRow | FamilyChange)
    return of.delta


def check_level(level: Level, whole: Figures, depth: int = 0) -> int:
    """Rows add up to the whole, at every depth; returns how many levels were seen."""
    look = Look(100)
    sheet = level.sheet(look)
    # Rules, sentences and rows.
    assert all(len(line.row) in (0, 1, len(sheet.header)) for line in sheet.lines)
    lines = [line for line in sheet.lines if line.of is not None]
    if isinstance(level, Mappings):
        change = level.change
        assert len(sheet.lines) == len(change.before) + len(change.after) + 3
        sides = [sum_figures(mapping.figures for mapping in side) for side in (change.after, change.before)]
        assert all(a == b or b is None for a, b in zip(subtract_figures(sides[0], sides[1]), whole, strict=True))
        return 1
    parts = sum_figures(delta_of(line.of) for line in lines)
    if isinstance(level, Regions):
        changes = [change for change in level.process.changes if level.family is None or change.family == level.family.family]
        assert parts == sum_figures(change.delta for change in changes)
        rest = [w for w in words(sheet) if w == "in regions of other families"]
        assert bool(rest) == any((a or 0) != (b or 0) for a, b in zip(whole, parts, strict=True) if a is not None and b is not None)
    else:
        assert parts == whole
    seen = 1
    for line in lines:
        below = level.opened(line)
        assert below is not None
        seen += check_level(below, delta_of(line.of), depth + 1)
    return seen


def pairs(name: str, count: int) -> list[Comparison]:
    source, history = read(name)
    found = []
    for service in history.services:
        steps = [step for step in service.lifetime if service.totals[step] is not None]
        chosen = sorted({steps[len(steps) * n // count] for n in range(count)} | {steps[-1]})
        found += [source.compare(history, service, a, b) for a, b in combinations(chosen, 2)]
    return found


@pytest.mark.parametrize(("name", "count"), [("redis.db", 7), ("orders.db", 4)])
def test_every_level_of_a_ledger_adds_up(name: str, count: int) -> None:
    levels = 0
    for comparison in pairs(name, count):
        (process,) = comparison.processes
        levels += check_level(Families(process), process.delta) + check_level(Regions(process), process.delta)
    assert levels > 100


def test_what_is_searched_for_leaves_a_row_of_what_is_not() -> None:
    comparison = pairs("redis.db", 2)[-1]
    (process,) = comparison.processes
    for level in (Families(process), Regions(process), Regions(process, process.families[0])):
        whole = level.sheet(Look(100))
        for query in ("anon", "no such thing", "LIB"):
            sheet = level.sheet(Look(100, query=query))
            shown = [line for line in sheet.lines if line.of is not None]
            hidden = len([line for line in whole.lines if line.of is not None]) - len(shown)
            assert all(query.casefold() in " ".join(str(getattr(cell, "text", cell)) for cell in line.row).casefold() for line in shown)
            assert [w for w in words(sheet) if "without" in w] == ([f"{hidden} row{'s' * (hidden != 1)} without {query!r}"] if hidden else [])
            assert words(sheet)[-1] == words(whole)[-1]


def test_ledgers_are_sorted_as_compare_sorts_them() -> None:
    (process,) = pairs("redis.db", 2)[-1].processes
    for sort in SORTS:
        up, down = (Regions(process).sheet(Look(100, sort, reverse)) for reverse in (False, True))
        assert {id(line.of) for line in up.lines if line.of is None} == {id(line.of) for line in down.lines if line.of is None}
        assert [delta_of(line.of) for line in up.lines if line.of] == [delta_of(line.of) for line in down.lines if line.of][::-1]


def test_regions_that_read_the_same_are_opened_one_by_one() -> None:
    found = [
        below
        for comparison in pairs("redis.db", 7)
        for process in comparison.processes
        for line in Regions(process).sheet(Look(80)).lines
        if isinstance(below := Regions(process).opened(line), Alike)
    ]
    assert found
    for level in found:
        lines = [line for line in level.sheet(Look(80)).lines if line.of is not None]
        assert len(lines) == len(level.row.changes)
        assert all(isinstance(level.opened(line), Mappings) for line in lines)


def test_the_pair_of_another_incarnation_is_what_compare_says() -> None:
    source, history = read("orders.db")
    service = next(service for service in history.services if service.restarts())
    before, after = service.lifetime[0], next(iter(service.restarts()))
    (process,) = source.compare(history, service, before, after).processes
    assert process.match == "restarted"
    assert process.before is not None
    assert process.before.process.identity != process.process.identity
