"""The line of `check`: what is too fast, what Nagios and Icinga read of it, and that no name breaks out of it."""

from __future__ import annotations

import io
import math
import re
import shlex
from dataclasses import replace

import leak_results as made
import pytest
from leak_results import MIB

from pmapdiff.analyse.result import Leaks, Suspect, Trend, Verdict
from pmapdiff.report import View, write_report
from pmapdiff.report.check import Check, Limits

# Nagios Plugins Development Guidelines, "Performance data": 'label'=value[UOM];[warn];[crit];[min];[max]
DATUM = re.compile(r"([a-z_]+)=(\d+)(B?);(\d*);(\d*);(\d*)(?:;(\d*))?")

NONE = Limits()


def line(check: Check) -> str:
    out = io.StringIO()
    write_report("check", "nagios", check, View(), out)
    text = out.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    return text[:-1]


def state(check: Check) -> str:
    """OK or WARNING, which must go with what decides on the exit code."""
    word = line(check).split()[1].rstrip(":")
    assert (word == "WARNING") == bool(check.found())
    return word


def data(check: Check) -> dict[str, tuple[int, int | None]]:
    """Each value with its limit."""
    text, _, performance = line(check).partition(" | ")
    assert "|" not in text + performance
    found = {}
    for part in performance.split(" "):
        match = DATUM.fullmatch(part)
        assert match is not None, part
        found[match[1]] = int(match[2]), int(match[4]) if match[4] else None
    return found


def of(*suspects: Suspect, limits: Limits = NONE, family: str | None = None) -> Check:
    return Check(made.leaks(*suspects), limits, family)


def growing(low: float, slope: float, family: str = "heap", verdict: Verdict = Verdict.GROWING) -> Suspect:
    """A service of which one family grows so fast, and the rest does not."""
    finding = replace(
        made.heap(), family=family, trend=Trend(verdict, slope, low, 2 * slope - low, 100.0 * MIB, made.ONSET_US), limits=(), urgent=False
    )
    return replace(made.suspect(findings=[finding]), verdict=verdict, trend=Trend(Verdict.STABLE))


@pytest.mark.parametrize(
    ("low", "slope", "verdict", "expected"),
    [
        (10.1, 12.0, Verdict.GROWING, "WARNING"),
        (10.0, 12.0, Verdict.GROWING, "OK"),
        (9.9, 40.0, Verdict.GROWING, "OK"),
        (-math.inf, 40.0, Verdict.GROWING, "OK"),
        (math.nan, 40.0, Verdict.GROWING, "OK"),
        (90.0, 100.0, Verdict.CACHE, "OK"),
        (90.0, 100.0, Verdict.PLATEAU, "OK"),
        (90.0, 100.0, Verdict.SAWTOOTH, "OK"),
    ],
)
def test_only_growth_that_is_sure_to_be_too_fast_counts(low: float, slope: float, verdict: Verdict, expected: str) -> None:
    check = of(growing(low * MIB, slope * MIB, verdict=verdict), limits=Limits(kib_per_hour=10.0 * MIB))
    assert state(check) == expected
    value, limit = data(check)["growth_per_hour"]
    assert limit == 10 << 20
    assert (value > limit) == (expected == "WARNING"), "what is graphed says the same"


def test_the_line_when_all_is_well() -> None:
    quiet = [made.suspect(b"idle", n, Verdict.STABLE, series=[4 * MIB] * 30) for n in (1, 2, 3)]
    assert line(of(*quiet, limits=Limits(10.0 * MIB))) == (
        "PMAPDIFF OK: 3 services, 30 snapshots in 25 h up to 2026-11-23 11:00:00, none grows by more than 10.0 MiB/h"
        " | growth_per_hour=0B;10485760;;0 mappings_per_hour=0;;;0 found=0;0;;0;3"
    )


def test_the_line_when_something_grows() -> None:
    grows, idle = made.suspect(findings=[made.heap(), made.mapping_count()]), made.suspect(b"idle", 2, Verdict.STABLE)
    assert line(of(grows, idle, limits=Limits(10.0 * MIB, 100.0))) == (
        "PMAPDIFF WARNING: 1 of 2 services grows by more than 10.0 MiB/h or 100 mappings/h: worker 1100 [heap] +57.0 MiB/h "
        "(+1.1 GiB since 2026-11-22 14:00:00, in 10 to 12 h: cgroup limit)"
        " | growth_per_hour=59485716B;10485760;;0 mappings_per_hour=383;100;;0 found=1;0;;0;2"
    )


def test_without_a_limit_what_is_urgent_is_too_fast() -> None:
    assert state(of(made.suspect(findings=[made.heap()]))) == "WARNING"
    assert state(of(made.suspect(findings=[replace(made.heap(), urgent=False)]))) == "OK"
    assert "none fills the memory or reaches a limit within 90 d" in line(of(made.suspect(b"idle", 2, Verdict.STABLE)))
    two = of(*(made.suspect(b"worker", n, findings=[made.heap()]) for n in (1, 2)))
    assert "2 of 2 services fill the memory or reach a limit within 90 d: worker 1 [heap]" in line(two)


def test_the_parts_of_a_process_add_up() -> None:
    """6 MiB/h of heap and 6 of something else are 12, unless one family was asked for."""
    parts = growing(6.0 * MIB, 6.0 * MIB).findings + growing(6.0 * MIB, 6.0 * MIB, "anon").findings
    whole = made.suspect(findings=parts)
    limits = Limits(10.0 * MIB)
    assert whole.trend.low > 10 * MIB
    assert state(of(whole, limits=limits)) == "WARNING"
    assert "worker 1100 +61.0 MiB/h" in line(of(whole, limits=limits))
    assert state(of(whole, limits=limits, family="heap")) == "OK"
    assert data(of(whole, limits=limits, family="heap"))["growth_per_hour"][0] == 6 << 20


def test_a_family_hears_of_no_other() -> None:
    check = of(growing(20.0 * MIB, 30.0 * MIB, "anon"), limits=Limits(10.0 * MIB), family="heap")
    assert state(check) == "OK"
    assert data(check)["growth_per_hour"][0] == 0
    assert state(replace(check, family="anon")) == "WARNING"
    assert "grows in anon by more than" in line(replace(check, family="anon"))


@pytest.mark.parametrize(
    ("limits", "expected"), [(Limits(1.0), "OK"), (Limits(None, 300.0), "WARNING"), (Limits(None, 383.2), "OK"), (Limits(1.0, 10.0), "WARNING")]
)
def test_mappings_have_a_limit_of_their_own(limits: Limits, expected: str) -> None:
    suspect = replace(made.suspect(findings=[made.mapping_count(1)]), trend=Trend(Verdict.STABLE))
    assert state(of(suspect, limits=limits)) == expected


def test_too_few_snapshots_are_no_failure() -> None:
    check = of(made.suspect(verdict=Verdict.TOO_SHORT, series=[4 * MIB]), made.suspect(b"idle", 2, Verdict.STABLE), limits=Limits(1.0))
    assert state(check) == "OK"
    assert "; 1 of them with too few snapshots to tell | " in line(check)
    assert state(Check(Leaks(None, None, 0, (), (), 1.0))) == "OK"


def test_what_is_told_is_bounded() -> None:
    check = of(*(made.suspect(b"worker", n, findings=[made.heap()]) for n in range(1, 30)))
    assert ", and 26 more | " in line(check)
    assert len(line(check)) < 800
    assert data(check)["found"][0] == 29


@pytest.mark.parametrize("limits", [Limits(), Limits(1.0), Limits(1.0, 1.0)])
def test_no_name_breaks_out(limits: Limits) -> None:
    named = replace(made.heap(), name=made.HOSTILE.decode("utf-8", "backslashreplace"), family="a|b=c")
    hostile = replace(made.suspect(made.HOSTILE, findings=[named]), host=made.HOSTILE.decode("utf-8", "backslashreplace"))
    for family in (None, "a|b=c"):
        check = Check(made.leaks(hostile, hosts=("a", "b")), limits, family)
        assert state(check) == "WARNING"
        assert set(data(check)) == {"growth_per_hour", "mappings_per_hour", "found"}
        text = line(check).partition(" | ")[0]
        assert text.isprintable()
        assert not set(text) & set("|'\"`=;<>&$")
        assert len(shlex.split(f'printf "{text}"')) == 2, "as a notification command quotes it"
