"""What people read on a terminal, as one family: it fits, it is harmless, and one thing is called, ordered and coloured alike wherever it stands."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import leak_results
import odd_store
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text
from strategies import capture_of, evolutions, law

from pmapdiff.align import trace
from pmapdiff.analyse.leaks import find_leaks
from pmapdiff.compare import compare_snapshots
from pmapdiff.model import Mapping, ProcessInfo, Snapshot, SnapshotRef, Totals
from pmapdiff.report import View, forms_of, write_report
from pmapdiff.report.base import figure_title
from pmapdiff.report.sparkline import bar, sparkline
from pmapdiff.report.table import Column, write_table
from pmapdiff.store import ProcessSummary, SnapshotSummary

WIDTHS = (80, 100, 120, 160, 240)
# The heads of all columns: who adds one says so here, and sees what there is already.
FIGURES = ["Size", "Rss", "Pss", "Footprint", "Dirty", "Swap"]
TITLES = {
    *FIGURES,
    *("#", "Taken at", "Processes", "Mappings", "Label", "PID", "Snapshots", "Read", "Command", "Address", "Share", "Perms", "Offset", "Family"),
    *("Mapping", "Mapping: why", "Rule", "Change", "Changes", "Match", "Process", "First", "Most", "Last", "±", "Over time"),
    "Anonymous",
    *("Process: mapping", "Process: family", "Verdict", "Growth", "Since", "Full", "What", "Age", "This one", "Other"),
}
NAMES = {"Label", "Command", "Family", "Mapping", "Mapping: why", "Rule", "Process", "Process: mapping", "Process: family", "Other"}


def numbered(found: Sequence[Snapshot]) -> list[Snapshot]:
    return [snapshot._replace(ref=snapshot.ref._replace(id=number)) for number, snapshot in enumerate(found, start=1)]


def summaries(found: Sequence[Snapshot]) -> tuple[list[SnapshotSummary], list[ProcessSummary]]:
    """What `Store.snapshots` and `Store.processes` say of them."""
    of_snapshots = []
    ends: dict[ProcessInfo, tuple[SnapshotRef, Totals, SnapshotRef, Totals, int | None]] = {}
    for ref, captures in found:
        totals = [capture.sums for capture in captures if capture.sums is not None]
        statuses = {status: sum(capture.status is status for capture in captures) for status in {capture.status for capture in captures}}
        figures = [[total.get(name) or 0 for total in totals] for name in ("rss_kib", "footprint_kib")]
        of_snapshots.append(SnapshotSummary(ref, statuses, sum(t.mappings for t in totals), *map(sum, figures)))
        for capture in captures:
            if capture.sums is not None:
                first, before, *_ = ends.get(capture.process, (ref, capture.sums))
                ends[capture.process] = (first, before, ref, capture.sums, capture.read_us)
    of_processes = [
        ProcessSummary(process, last.host, 1234, first, last, before, after, read_us)
        for process, (first, before, last, after, read_us) in ends.items()
    ]
    return of_snapshots, of_processes


def results(found: Sequence[Snapshot]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Every subject with every way to look at it."""
    of_snapshots, of_processes = summaries(found)
    yield "snapshots", of_snapshots, {}
    yield "processes", of_processes, {}
    options: dict[str, Any]
    for options in ({}, {"sort": "rss", "top": 3}, {"sort": "name", "explain": True}, {"by": "family"}, {"by": "family", "explain": True, "top": 2}):
        yield "show", found[-1], {"by": "mapping", **options}
    one = [snapshot._replace(captures=snapshot.captures[:1]) for snapshot in found]
    for snapshots in (found, one):
        compared = compare_snapshots(snapshots[0], snapshots[-1])
        for by in ("region", "family", "process"):
            for options in ({}, {"top": 0}, {"top": 2, "sort": "size"}, {"threshold_kib": 512}, {"explain": True} if by == "family" else {}):
                yield "compare", compared, {"by": by, **options}
        history = trace(snapshots)
        for options in ({}, {"top": 0}, {"top": 2, "sort": "rss"}, {"by": "family"}, {"threshold_kib": 64}):
            yield "history", history, options
            yield "series", trace(snapshots, across_hosts=True), options
        yield "series", history, {"by": "process"}
        yield "leaks", find_leaks(history), {}
        yield "leaks", find_leaks(history), {"top": 0}
    named = next((service for service in history.services if service.regions), None)
    if named is not None:
        alone = type(history)(history.snapshots, (type(named)(*(*(getattr(named, f) for f in named.__slots__[:-1]), named.regions[:1])),))
        yield "history", alone, {}


@cache
def odd() -> list[tuple[str, Any, dict[str, Any]]]:
    return [*results(numbered(odd_store.snapshots())), ("leaks", leak_results.one(), {}), ("leaks", leak_results.many(), {"top": 0})]


def written(subject: str, result: Any, form: str = "text", **options: Any) -> str:
    out = io.StringIO()
    write_report(subject, form, result, View(**options), out)
    return out.getvalue()


def is_harmless(text: str) -> None:
    for character in text:
        assert character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp", "Cs"), (character, text)


def fits(text: str, width: int) -> None:
    for line in text.splitlines():
        assert cell_len(line) <= width, (cell_len(line), line)
        assert line == line.rstrip(), line


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_and_nothing_drives_the_terminal(width: int) -> None:
    for subject, result, options in odd():
        text = written(subject, result, width=width, **options)
        fits(text, width)
        is_harmless(text)
        assert text


@law(25)
@given(evolutions(), st.sampled_from(WIDTHS), st.integers(0, 40))
def test_whatever_the_tables_are_it_fits(tables: tuple[Sequence[Mapping], Sequence[Mapping]], width: int, exponent: int) -> None:
    before, after = tables
    larger = [m._replace(counters=tuple(v if v is None else v << exponent for v in m.counters)) for m in after]
    moments = (before, after, larger, before)
    found = [Snapshot(SnapshotRef(n, n * 10**9, "h"), (capture_of(table),)) for n, table in enumerate(moments, start=1)]
    for subject, result, options in results(found):
        fits(written(subject, result, width=width, **options), width)


@pytest.mark.parametrize("width", [80, 160])
def test_colour_is_all_that_a_terminal_adds(width: int) -> None:
    coloured = 0
    for subject, result, options in odd():
        painted = written(subject, result, width=width, colour=True, **options)
        plain = written(subject, result, width=width, **options)
        assert "".join(f"{line.rstrip()}\n" for line in Text.from_ansi(painted).plain.splitlines()) == plain
        coloured += painted != plain
        assert not re.findall("\x1b(?!\\[[0-9;]*m)", painted)
    assert coloured == len(odd())


def test_what_scripts_read_knows_nothing_of_terminals() -> None:
    for subject, result, options in odd():
        for form in sorted({"json", "csv", "markdown"} & set(forms_of(subject))):
            looks: tuple[dict[str, Any], ...] = ({}, {"width": 80, "colour": True}, {"width": 160, "colour": True})
            there = {written(subject, result, form, **look, **options) for look in looks}
            assert len(there) == 1, (subject, form, options)


def heads(text: str) -> Iterator[list[str]]:
    """The heads of the tables in a text: bold lines of two columns and more."""
    for line in text.splitlines():
        if line.startswith("\x1b[1m") or line.lstrip().startswith("\x1b[1m"):
            titles = re.findall("\x1b\\[1m([^\x1b]*)\x1b\\[0m", line)
            if len(titles) > 1 and not any("iB" in title or title in ("0", "-", "in all") for title in titles):
                yield titles


@pytest.mark.parametrize("width", [80, 160])
def test_one_thing_has_one_name_and_one_place(width: int) -> None:
    seen: set[str] = set()
    for subject, result, options in odd():
        for titles in heads(written(subject, result, width=width, colour=True, **options)):
            known = [title for title in titles if not re.fullmatch(r"#\d+|\(\d+\)", title)]
            assert set(known) <= TITLES, titles
            figures = [title for title in known if title in FIGURES]
            assert figures == sorted(figures, key=FIGURES.index), titles
            # Names come last; only a note may follow the figures of a region.
            assert titles[-1] in NAMES | {"Mappings"}, titles
            seen.update(known)
    assert seen >= {*FIGURES, "Mappings", "Family", "±", "Over time", "Verdict"} - ({"Pss"} if width == 80 else set())


def test_a_wider_terminal_shows_more_and_loses_nothing() -> None:
    more = 0
    for subject, result, options in odd():
        if subject in ("leaks", "series"):
            # Leaks say below the row what has no column; the snapshots of a series stand in as many blocks as they take.
            continue
        narrow, wide = (list(heads(written(subject, result, width=width, colour=True, **options))) for width in (80, 160))
        assert len(narrow) == len(wide)
        for few, many in zip(narrow, wide, strict=True):
            rest = iter(many)
            assert all(title in rest for title in few), (few, many)
            more += len(many) > len(few)
    assert more > 20


def test_numbers_stand_on_the_right_and_words_on_the_left() -> None:
    out = io.StringIO()
    rows = [["数据", "1", "x"], ["b", "12345", "é́"], [], ["", "12346", "in all"]]
    write_table([Column("Words", True), Column("N"), Column("Name", True)], rows, View(width=80), out, None)
    assert out.getvalue().splitlines() == ["Words      N  Name", "数据       1  x", "b      12345  é́", "       ─────", "       12346  in all"]


def test_what_can_be_spared_goes_first_and_numbers_are_never_cut() -> None:
    columns = [
        Column("Aaaaaaaaaa"),
        Column("Bbbbbbbbbb", spare=1),
        Column("Cccccccccc", spare=2),
        Column("Dddddddddd", extra=True),
        Column("Name", True),
    ]
    rows = [["1234567890", "1234567890", "1234567890", "1234567890", "n" * 60]]

    def titles(width: int | None) -> str:
        out = io.StringIO()
        write_table(columns, rows, View(width=width), out, None)
        return "".join(title[0] for title in out.getvalue().splitlines()[0].split())

    assert titles(120) == "ABCDN"
    assert titles(89) == "ABCN"
    assert titles(55) == "ABN"
    assert titles(40) == "AN"
    assert titles(12) == "AN"
    assert titles(None) == "ABCN"


def test_figures_are_called_as_everywhere() -> None:
    assert [figure_title(name) for name in ("size_kib", "rss_kib", "pss_kib", "footprint_kib", "dirty_kib", "swap_kib")] == FIGURES


@given(st.floats(-1, 1), st.integers(1, 40))
def test_a_bar_is_as_long_as_its_part(part: float, width: int) -> None:
    drawn = bar(part, width)
    assert len(drawn) <= width
    assert bool(drawn) == (part != 0)
    assert len(drawn) >= int(abs(part) * width)
    assert bar(1, width) == "█" * width


@given(st.lists(st.integers(0, 1 << 40), min_size=2, max_size=200))
def test_a_series_has_one_scale_at_every_width(values: list[int]) -> None:
    full = sparkline(values, len(values))
    assert max(sparkline(values, 16)) == max(full)
    assert set(sparkline(values, 16)) <= set(full)


@pytest.mark.parametrize("sort", ["size", "rss", "pss", "dirty", "anonymous", "swap", "footprint"])
def test_the_figure_by_which_rows_are_sorted_is_there(sort: str) -> None:
    found = [snapshot._replace(captures=snapshot.captures[1:2]) for snapshot in numbered(odd_store.snapshots())]
    compared = compare_snapshots(found[0], found[-1])
    ways = (("show", found[-1], "mapping"), ("show", found[-1], "family"), *(("compare", compared, by) for by in ("region", "family", "process")))
    for subject, result, by in ways:
        (titles, *_) = heads(written(subject, result, width=80, colour=True, by=by, sort=sort))
        assert sort.capitalize() in titles, (subject, by)
