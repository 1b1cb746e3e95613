"""Law 6: a recorder with a budget keeps to it, and says what it left out."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from programs import Runner, Target

LARGE = 128 << 20
ADDRESS = 0x100000000000


@pytest.fixture
def large(target: Target) -> Target:
    """A process with 128 MiB in 4 KiB pages, which takes a millisecond to read."""
    target.call("map", size=LARGE, address=ADDRESS)
    target.call("write", address=ADDRESS, pages=LARGE >> 12)
    return target


def process_of(run: Runner, when: object = "latest") -> dict[str, Any]:
    processes: list[dict[str, Any]] = run.here("show", when, "--format", "json", "--top", 0).json["processes"]
    assert len(processes) == 1
    return processes[0]


def test_a_process_that_is_too_costly_is_recorded_without_counters(run: Runner, large: Target) -> None:
    result = run("record", "--pid", large.pid, "--max-read", "300us").ok()
    assert ", 1 maps only, " in result.out
    taken = process_of(run)
    assert taken["status"] == "maps-only"
    assert "--max-read 300 µs" in taken["note"]
    with large.stopped():
        whole = large.smaps()
    assert len(taken["mappings"]) == whole.count(b"\nSize:")
    assert all(mapping["rss_kib"] is None and mapping["size_kib"] for mapping in taken["mappings"])
    assert taken["totals"]["size_kib"] == sum(m["size_kib"] for m in taken["mappings"])
    # What the kernel counts by the process may lag by some pages for each processor (32 of them, 6.2 and later).
    assert LARGE >> 10 <= taken["totals"]["rss_kib"] <= (LARGE >> 10) + (64 << 10)
    assert taken["totals"]["anonymous_kib"] >= LARGE >> 10
    assert taken["totals"]["pss_kib"] is None
    assert taken["read_us"] is None
    assert run("db", "check").ok().code == 0


def test_within_the_budget_nothing_is_left_out(run: Runner, large: Target) -> None:
    run("record", "--pid", large.pid, "--max-read", "10s", "--max-stall", "10s").ok()
    taken = process_of(run)
    assert taken["status"] == "complete"
    assert taken["read_us"] > 0
    assert all(mapping["rss_kib"] is not None for mapping in taken["mappings"])


def test_a_stall_is_foreseen_for_one_large_mapping_and_not_for_many_small_ones(run: Runner, target: Target) -> None:
    target.call("map", size=LARGE, address=ADDRESS)
    target.call("write", address=ADDRESS, pages=LARGE >> 12)
    run("record", "--pid", target.pid, "--max-stall", "400us").ok()
    assert process_of(run)["status"] == "maps-only"
    assert "hold it up" in process_of(run)["note"]
    # The same memory in 128 mappings, which cannot be one.
    for piece in range(0, 128, 2):
        target.call("protect", address=ADDRESS + piece * (LARGE // 128), size=LARGE // 128, prot=1)
    run("record", "--pid", target.pid, "--max-stall", "600us").ok()
    # On a busy machine a read may take long all the same, and is then given up.
    assert "hold it up" not in (process_of(run)["note"] or "")


def test_growth_shows_although_there_are_no_counters(run: Runner, large: Target) -> None:
    run("record", "--pid", large.pid, "--max-read", "300us").ok()
    first = process_of(run)["totals"]["rss_kib"]
    large.call("map", size=LARGE // 4, address=ADDRESS + 2 * LARGE)
    large.call("write", address=ADDRESS + 2 * LARGE, pages=LARGE >> 14)
    run("record", "--pid", large.pid, "--max-read", "300us").ok()
    second = process_of(run)["totals"]["rss_kib"]
    assert second - first >= (LARGE // 4 >> 10) - 1024
    compared = json.loads(run("compare", 1, 2, "--format", "json").ok().out)["processes"][0]
    assert compared["totals"]["delta"]["rss_kib"] == second - first
    assert compared["complete"] is False
    assert "rss_kib" in compared["missing"]
    assert [change["delta"]["rss_kib"] for change in compared["changes"]] == [None]
    assert [change["delta"]["size_kib"] for change in compared["changes"]] == [LARGE // 4 >> 10]
    text = run("compare", 1, 2).ok().out
    assert "Rss +32" in text
    assert "no counters" in text


def test_an_unchanged_process_without_counters_costs_one_row(run: Runner, large: Target) -> None:
    with large.stopped():
        for _ in range(3):
            run("record", "--pid", large.pid, "--max-read", "300us").ok()
    with closing(sqlite3.connect(run.db)) as connection:
        count = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("capture", "totals", "usage")}
    assert count == {"capture": 3, "totals": 1, "usage": len(process_of(run)["mappings"])}


def test_a_read_that_takes_longer_than_foreseen_is_given_up(run: Runner, large: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    # The model is told that reading costs nothing, as on a machine that is slower than any it was measured on.
    monkeypatch.setattr("pmapdiff.capture.budget.model_us", lambda *_: 0.0)
    run.here("record", "--pid", large.pid, "--max-read", "300us").ok()
    taken = process_of(run)
    assert taken["status"] == "maps-only"
    assert "given up" in taken["note"]
    assert taken["read_us"] >= 300
    run.here("record", "--pid", large.pid, "--max-read", "300us").ok()
    again = process_of(run)
    assert again["status"] == "maps-only"
    assert again["read_us"] is None, "not tried again at once"


@pytest.mark.parametrize("value", ["0", "-1s", "soon"])
def test_a_budget_that_is_none(run: Runner, target: Target, value: str) -> None:
    result = run.here("record", "--pid", target.pid, f"--max-read={value}")
    assert result.code == 2
    assert "Traceback" not in result.err
