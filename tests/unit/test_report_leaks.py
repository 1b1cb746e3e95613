"""`leaks` as people and programs read it: the answer on the first screen, nothing cut, nothing of strangers unescaped."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace

import leak_results as made
import pytest
from leak_results import GIB, HOUR_US, MIB, SINCE_US, UNTIL_US
from rich.cells import cell_len

from pmapdiff.analyse.result import End, Figure, Finding, Leaks, TimeToLimit, Trend, Verdict
from pmapdiff.report import View, forms_of, write_report
from pmapdiff.report.leak_words import delta_words, growth_words, hours_words, limit_sentence, range_words, trend_sentence, what_words
from pmapdiff.text import printable

FORMS = ("text", "json", "csv", "markdown")


def written(result: Leaks, form: str = "text", view: View | None = None) -> str:
    out = io.StringIO()
    write_report("leaks", form, result, view or View(width=80), out)
    return out.getvalue()


def test_the_forms() -> None:
    assert sorted(forms_of("leaks")) == sorted(FORMS)


@pytest.mark.parametrize(
    ("slope", "words"),
    [
        (12.0 * MIB, "+12.0 MiB/h"),
        (1024.0, "+1.0 MiB/h"),
        (1023.0, "+24.0 MiB/d"),
        (132.0, "+3.1 MiB/d"),
        (0.5, "+12.0 KiB/d"),
        (-300.0 * GIB, "-300 GiB/h"),
        (0.0, "0"),
        (0.001, "0"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_growth_in_words(slope: float, words: str) -> None:
    assert growth_words(Trend(Verdict.GROWING, slope), Figure.FOOTPRINT) == words


@pytest.mark.parametrize(("slope", "words"), [(412.0, "+412 mappings/h"), (0.5, "+12.0 mappings/d"), (65_000.0, "+65,000 mappings/h"), (0.0, "0")])
def test_growth_of_a_number(slope: float, words: str) -> None:
    assert growth_words(Trend(Verdict.GROWING, slope), Figure.MAPPINGS) == words
    assert growth_words(Trend(Verdict.GROWING, slope), Figure.MAPPINGS, short=True) == words.replace("mappings", "maps")


def test_an_interval_has_the_unit_of_its_slope() -> None:
    trend = Trend(Verdict.GROWING, 12.0 * MIB, 0.4 * MIB, 1500.0 * MIB)
    assert range_words(trend, Figure.FOOTPRINT) == "+0.4 to +1,500 MiB/h"
    assert growth_words(trend, Figure.FOOTPRINT, margin=True) == "+12.0 ±1,488 MiB/h"
    slow = Trend(Verdict.GROWING, 100.0, -20.0, 300.0)
    assert range_words(slow, Figure.FOOTPRINT) == "-0.5 to +7.0 MiB/d"
    sure = Trend(Verdict.GROWING, 6.4 * MIB, 6.39 * MIB, 6.41 * MIB)
    assert range_words(sure, Figure.FOOTPRINT) == "less than ±0.1 MiB/h"
    assert growth_words(sure, Figure.FOOTPRINT, margin=True) == "+6.4 MiB/h"
    for without in (Trend(Verdict.STABLE), Trend(Verdict.GROWING, 5.0, -math.inf, math.inf), Trend(Verdict.GROWING, 5.0, math.nan, 7.0)):
        assert range_words(without, Figure.FOOTPRINT) == ""
        assert "±" not in growth_words(without, Figure.FOOTPRINT, margin=True)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (5.0, 7.0, "5 to 7 h"),
        (0.2, 3.0, "12 min to 3 h"),
        (5.001, 5.04, "about 5 h"),
        (10.1, 11.6, "10 to 12 h"),
        (72.0, None, "3 d or more"),
        (50.0, math.inf, "2.1 d or more"),
        (50.0, 1e9, "2.1 d or more"),
        (0.0, 1.0, "0 to 60 min"),
        (24 * 900.0, 24 * 1800.0, "2.5 to 4.9 years"),
        (1e9, None, "a century or more"),
        (math.inf, None, "a century or more"),
    ],
)
def test_when_something_is_full(low: float, high: float | None, words: str) -> None:
    assert hours_words(low, high) == words


def test_a_limit_that_has_been_reached() -> None:
    assert limit_sentence(TimeToLimit("cgroup limit", GIB, GIB, 0.0, 0.0), Figure.FOOTPRINT) == "full reached: cgroup limit (1.0 GiB of 1.0 GiB used)"


@pytest.mark.parametrize("verdict", [Verdict.PLATEAU, Verdict.STEP, Verdict.SAWTOOTH, Verdict.STABLE, Verdict.TOO_SHORT])
def test_what_has_come_to_rest_has_no_rate(verdict: Verdict) -> None:
    """That it grew by 4 GiB an hour while it started is no news."""
    rested = replace(made.heap(), trend=made.trend(verdict), limits=(), urgent=False)
    suspect = replace(made.suspect(findings=[rested]), verdict=verdict, trend=made.trend(verdict))
    for form in ("text", "markdown"):
        for others in ([], [made.suspect(b"idle", 2, Verdict.STABLE)]):
            text = written(
                made.leaks(replace(made.suspect(findings=[rested]), verdict=verdict, trend=made.trend(verdict)), *others), form, View(top=0)
            )
            assert "/h" not in text
            assert "+1.2 GiB" in text
    (process,) = json.loads(written(made.leaks(suspect), "json"))["processes"]
    assert process["findings"][0]["slope_kib_per_hour"] == 12.0 * MIB, "programs get what there is"


def test_what_is_measured_is_said() -> None:
    trend = made.trend()
    assert trend_sentence(trend, Figure.CACHE).startswith("page cache +12.0 MiB/h")
    assert trend_sentence(trend, Figure.FOOTPRINT, 0.934).endswith("93 % of the growth")
    assert delta_words(replace(trend, delta=-4.0), Figure.MAPPINGS) == "-4 mappings"
    assert delta_words(replace(trend, delta=math.nan), Figure.FOOTPRINT) == "-"
    assert what_words(replace(made.heap(), family="malloc-arena", name="8 × [anon]")) == "malloc-arena: 8 × [anon]"
    assert what_words(made.mapping_count()) == "mapping-count"


def test_what_grows_is_on_the_first_screen() -> None:
    """However much else there is, and however much of it does something."""
    others = [made.other(verdict, "anon", "[anon]", 5000 + n) for verdict in (Verdict.STEP, Verdict.PLATEAU, Verdict.SAWTOOTH) for n in range(40)]
    growing = [made.suspect(b"leaky", 100 + n, findings=[made.heap()]) for n in range(4)]
    text = written(made.leaks(*growing, *others, *(made.suspect(b"idle", 9000 + n, Verdict.STABLE) for n in range(300))))
    lines = text.splitlines()
    assert len(lines) <= 40
    assert all(any(f"leaky {100 + n}" in line for line in lines[:20]) for n in range(4))
    assert "37 step, 37 plateau, 37 sawtooth, 300 stable not shown: --top 0 shows all" in " ".join(text.split())


@pytest.mark.parametrize(("top", "rows"), [(None, 8), (0, 148), (1, 1), (2, 2), (500, 148)])
def test_as_many_rows_as_asked_for(top: int | None, rows: int) -> None:
    text = written(made.many(), view=View(top=top))
    assert len(re.findall(rf"^({'|'.join(Verdict)}) ", text, re.MULTILINE)) == rows
    assert ("not shown" in text) == (rows < 148)


@pytest.mark.parametrize("form", ["json", "csv"])
def test_programs_get_all_unless_they_say_how_many(form: str) -> None:
    def pids(view: View) -> list[str]:
        text = written(made.many(), form, view)
        found = json.loads(text)["processes"] if form == "json" else list(csv.DictReader(io.StringIO(text)))
        return list(dict.fromkeys(str(row["pid"]) for row in found))

    every = [str(suspect.process.pid) for suspect in made.many().processes]
    assert pids(View()) == pids(View(top=0)) == every
    assert pids(View(top=3)) == every[:3]


def test_a_process_without_findings_has_a_row_of_its_own() -> None:
    (row,) = csv.DictReader(io.StringIO(written(made.leaks(made.suspect(verdict=Verdict.STABLE)), "csv")))
    assert row["rank"] == row["family"] == row["onset"] == ""
    assert (row["verdict"], row["slope_kib_per_hour"]) == ("stable", "0.0")


def test_nothing_is_found_in_nothing() -> None:
    for form in FORMS:
        text = written(Leaks(None, None, 0, (), (), 2160.0, ("nothing was recorded",)), form)
        assert ("0 services, 0 snapshots" in text) == (form in ("text", "markdown"))


def test_colours_are_for_what_matters() -> None:
    text = written(made.many(), view=View(width=80, colour=True))
    lines = text.splitlines()
    assert any(line.startswith("\x1b[1;31mgrowing") and "worker" in line for line in lines), "urgent"
    assert any(line.startswith("\x1b[31mgrowing") and "indexer" in line for line in lines), "not urgent"
    assert any(line.startswith("\x1b[33mstep") for line in lines)
    assert re.sub(r"\x1b\[[0-9;]*m", "", text) == written(made.many())


@pytest.mark.parametrize("width", [80, 100, 120, 139, 140, 160, 200])
@pytest.mark.parametrize("result", [made.one(), made.many()], ids=["one", "many"])
def test_nothing_is_wider_than_the_terminal(width: int, result: Leaks) -> None:
    assert max(map(cell_len, written(result, view=View(width=width)).splitlines())) <= width


def hostile() -> Leaks:
    """Every text that a stranger may have chosen, or that quotes one; long, too."""
    name = made.HOSTILE
    said = printable(name.decode("utf-8", "backslashreplace"))
    finding = replace(made.heap(), name=said + "x" * 90, evidence=(said, "字" * 60), suggestion=said * 3, region_ids=("55d0c0000000@1",))
    bad = replace(
        made.in_depth(),
        process=made.process(name),
        findings=(finding, made.mapping_count()),
        end=End(UNTIL_US, None, None, (said,)),
        siblings=tuple(replace(s, process=made.process(name), host=said) for s in made.in_depth().siblings),
        notes=(said,),
    )
    return made.leaks(bad, replace(bad, host=name.decode("utf-8", "backslashreplace")), hosts=("a", "b"), notes=(said,))


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_names_cannot_drive_what_shows_them(form: str, several: bool) -> None:
    result = hostile() if several else replace(hostile(), processes=hostile().processes[:1])
    for width in (80, 160, None):
        text = written(result, form, View(width=width))
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]", text)
        text.encode()
        if form == "text" and width:
            assert max(map(cell_len, text.splitlines())) <= width
    if form == "json":
        assert json.loads(text)["processes"][0]["command"] == made.HOSTILE.decode("utf-8", "backslashreplace"), "exactly what the kernel says"
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        assert len(rows) == 2 * len(result.processes)
        assert all(not str(cell).startswith(("=", "+", "@")) for row in rows for cell in row.values())
        assert rows[0]["command"].startswith("'=a|b")
    if form == "markdown":
        for line in text.splitlines():
            unescaped = re.sub(r"\\.", "", line)
            assert "<" not in unescaped
            assert "*x*" not in unescaped
            if line.startswith("|"):
                assert unescaped.count("|") in (9, 7), "as many cells as the header has"


def test_nothing_is_cut_in_a_pipe() -> None:
    result = hostile()
    assert what_words(result.processes[0].findings[0]) in written(result, view=View())
    alone = result.processes[0]
    text = written(replace(result, processes=(alone,)), view=View())
    for finding in alone.findings:
        assert all(line in text.splitlines() for line in (f"  - {finding.evidence[0]}", f"  next: {finding.suggestion}"))


def test_the_onset_is_marked_below_its_place() -> None:
    lines = written(made.leaks(made.suspect(findings=[made.heap()]))).splitlines()
    (place,) = [n for n, line in enumerate(lines) if line.lstrip().startswith("^ 2026-11-22 14:00:00")]
    mark, blocks = lines[place].index("^"), lines[place - 1]
    assert len(set(blocks[2:mark])) == 1, "flat before"
    assert blocks[mark + 8] > blocks[mark - 2]
    late = made.suspect(series=[4 * MIB] * 290 + [8 * MIB] * 10, verdict=Verdict.STEP)
    late = replace(late, trend=replace(late.trend, onset_us=late.moments_us[290]))
    lines = written(made.leaks(late)).splitlines()
    assert any(re.fullmatch(r" +2026-11-23 10:\d\d:\d\d \^", line) for line in lines), "to the left where there is no room"


def test_a_gap_stays_a_gap() -> None:
    """A night without snapshots, and captures without a table."""
    suspect = made.suspect(series=[None if 10 <= n < 20 else 100 * MIB + n for n in range(40)], verdict=Verdict.STABLE)
    moments = tuple(SINCE_US + n * HOUR_US // 60 + (10 * HOUR_US if n >= 30 else 0) for n in range(40))
    text = written(made.leaks(replace(suspect, moments_us=moments), until_us=moments[-1]))
    assert re.search(r"^  ▁{10} {10}▁{10} ▁{10}$|^  [▁▄]{10} {10}[▁▄]{10} [▁▄]{10}$", text, re.MULTILINE)


def test_a_process_that_was_killed_says_so_in_the_ranking_too() -> None:
    killed = made.suspect(b"victim", 77, Verdict.STABLE, end=End(UNTIL_US, 5 * MIB, 6 * MIB, ("the kernel killed it", "more")))
    text = written(made.leaks(killed, *(made.suspect(b"idle", 100 + n, Verdict.STABLE) for n in range(30))))
    assert "victim 77" in text
    assert "last seen 2026-11-23 11:00:00: footprint 5.0 MiB, Rss 6.0 MiB" in text
    assert "the kernel killed it" in text
    assert "30 stable not shown" in text


def test_the_evidence_that_is_shown_first_is_what_the_tables_show() -> None:
    found = made.heap()
    reasoned = replace(found, trend=replace(found.trend, words=("up in 95 % of the steps",)), evidence=("up in 95 % of the steps", *found.evidence))
    lines = written(made.leaks(made.suspect(findings=[reasoned]), made.suspect(b"idle", 2, Verdict.STABLE))).splitlines()
    assert "  [heap] grows at its end, in 281 of 299 steps" in lines
    in_full = written(made.leaks(made.suspect(findings=[reasoned])))
    assert in_full.count("up in 95 % of the steps") == 1


def test_the_limit_of_a_row_is_the_first_that_the_process_reaches() -> None:
    """Memory is worse than mappings, but they may run out sooner."""
    count = replace(made.mapping_count(), limits=(TimeToLimit("vm.max_map_count", 65_530, 60_000, 1.0, 2.0),))
    result = made.leaks(made.suspect(findings=[made.heap(), count]), made.suspect(b"idle", 2, Verdict.STABLE))
    for width in (80, 160, None):
        assert "in 60 min to 2 h: vm.max_map_count" in written(result, view=View(width=width))
    alone = written(replace(result, processes=result.processes[:1]), view=View()).splitlines()
    assert alone[1].endswith("full in 60 min to 2 h: vm.max_map_count")


@pytest.mark.parametrize("pid", [1, 4194304])
def test_the_pid_is_not_cut(pid: int) -> None:
    text = written(
        made.leaks(made.suspect(b"fifteen-letters", pid, findings=[made.mapping_count(1, 65_000.0)]), made.suspect(b"b", 2, Verdict.STABLE))
    )
    assert re.search(rf"^growing .*  fifteen-letters {pid}\b", text, re.MULTILINE)


def test_times_of_one_day_need_no_date() -> None:
    short = made.leaks(made.suspect(findings=[made.heap()]), made.suspect(b"b", 2, Verdict.STABLE), until_us=SINCE_US + 5 * HOUR_US)
    assert re.search(r"^growing +\S+ MiB/h  14:00:00 ", written(short), re.MULTILINE)
    assert re.search(r"^growing +\S+ MiB/h  11-22 14:00 ", written(made.many()), re.MULTILINE)


def test_numbers_that_are_none_are_null() -> None:
    odd = replace(made.heap(), trend=Trend(Verdict.GROWING, math.inf, -math.inf, math.nan, math.nan), share=math.nan)
    odd = replace(odd, limits=(TimeToLimit("MemTotal", 1, 1, math.inf, math.inf),))
    (process,) = json.loads(written(made.leaks(made.suspect(findings=[odd])), "json"))["processes"]
    (finding,) = process["findings"]
    assert [finding[name] for name in ("slope_kib_per_hour", "slope_low", "slope_high", "delta_kib", "share")] == [None] * 5
    for form in FORMS:
        assert not re.search(r"\b(nan|inf|NaN|Infinity)\b", written(made.leaks(made.suspect(findings=[odd])), form))


def test_a_finding_of_another_verdict_than_its_process() -> None:
    """The process grows as a whole, its parts only stepped: the row is about the whole, and names no part."""
    step: Finding = replace(made.heap(), trend=made.trend(Verdict.STEP), urgent=False)
    text = written(made.leaks(made.suspect(findings=[step]), made.suspect(b"b", 2, Verdict.STABLE)))
    (row,) = [line for line in text.splitlines() if line.startswith("growing")]
    assert "+61.0 MiB/h" in row
    assert row.endswith("worker 1100")
