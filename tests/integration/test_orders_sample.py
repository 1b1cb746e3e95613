"""The night in sample_snapshots: what is known of it is what `leaks` says, and nothing in it tells where it was recorded."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from programs import Runner

from pmapdiff.formats.oom_report import read_oom_log
from pmapdiff.model.oom import OomKill
from pmapdiff.units import to_datetime

ROOT = Path(__file__).parents[2]
DATABASE, LOG = ROOT / "sample_snapshots" / "orders.db", ROOT / "sample_snapshots" / "orders" / "oom.log"


@pytest.fixture(scope="module")
def kill() -> OomKill:
    (kill,) = read_oom_log(str(LOG))
    return kill


@pytest.fixture(scope="module")
def after(kill: OomKill) -> str:
    assert kill.time_us is not None
    return (to_datetime(kill.time_us) + timedelta(seconds=1)).strftime("%Y-%m-%d %H:%M:%S")


def test_the_kill(kill: OomKill) -> None:
    report = kill.report
    assert (kill.name, kill.uid, kill.cgroup, report.constraint, report.limit_kib) == (
        b"orders",
        65534,
        b"/system.slice/orders.service",
        "memcg",
        56 << 10,
    )
    assert report.usage_kib == pytest.approx(56 << 10, abs=1024)
    assert [task.name for task in report.tasks] == [b"orders"] * 3
    assert max(report.tasks, key=lambda task: task.rss_kib).pid == kill.pid
    assert kill.anon_rss_kib is not None
    assert kill.anon_rss_kib > 30 << 10


def test_leaks_finds_the_worker_that_was_killed(run: Runner, kill: OomKill, after: str) -> None:
    answer: dict[str, Any] = json.loads(
        run.here("--db", DATABASE, "leaks", "--until", after, "--oom-log", LOG, "--format", "json", "--top", 0).ok().out
    )
    first, *others = answer["processes"]
    assert (first["pid"], first["verdict"]) == (kill.pid, "growing")
    assert (first["findings"][0]["family"], first["findings"][0]["name"]) == ("heap", "[heap]")
    assert first["findings"][0]["share"] > 0.7
    assert [other["verdict"] for other in others] == ["stable", "stable"]
    # With the restart at midnight: two processes of catalog are one service.
    assert first["findings"][0]["slope_kib_per_hour"] > 2 << 10


def test_the_kernel_killed_what_was_recorded(kill: OomKill) -> None:
    with closing(sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True)) as connection:
        moments = [moment for (moment,) in connection.execute("SELECT taken_at FROM snapshot ORDER BY id")]
        (number, process) = connection.execute(
            "SELECT max(snapshot_id), process_id FROM capture JOIN process ON process_id = process.id WHERE pid = ?", (kill.pid,)
        ).fetchone()
        (rss_kib,) = connection.execute(
            "SELECT rss_kib FROM totals WHERE process_id = ? AND ? BETWEEN first_snapshot AND last_snapshot", (process, number)
        ).fetchone()
    assert kill.time_us is not None
    # Between its last snapshot and the next one, with a little more than was recorded.
    assert moments[number - 1] < kill.time_us < moments[number]
    assert rss_kib == pytest.approx((kill.anon_rss_kib or 0) + (kill.file_rss_kib or 0) + (kill.shmem_rss_kib or 0), rel=0.05)


def test_nothing_tells_where_it_was_recorded() -> None:
    with closing(sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT name FROM host").fetchall() == [("shop1",)]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        names = [text for (text,) in connection.execute("SELECT text FROM string")]
    assert not [name for name in names if re.search(r"/(home|root|tmp|work|opt)\b|\.venv|pyenv", name)]
    assert {name for name in names if ".service" in name} == {"/system.slice/orders.service"}
    assert DATABASE.stat().st_size < 1_500_000
    assert not list(DATABASE.parent.glob("orders.db?*"))


def test_the_documents_are_about_this_night(kill: OomKill, after: str) -> None:
    for page in ("docs/morning-after.md", "sample_snapshots/README.md"):
        text = (ROOT / page).read_text()
        assert f"--until '{after}'" in text
        assert set(re.findall(r"--pid (\d+)", text)) <= {str(kill.pid)}
        assert datetime.fromisoformat(after).strftime("%H:%M") in text
