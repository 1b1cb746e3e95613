"""`compare` and `show` as users call them: saved files, WHEN, options, errors."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from programs import Runner, Target

ROOT = Path(__file__).parents[2]
FROZEN = ROOT / "tests" / "data" / "redis-frozen"
BASE, ELSEWHERE = 0x100000000000, 0x200000000000
DEFAULT_STORE = Path("/var/lib/pmapdiff")


@pytest.fixture
def saved(target: Target, tmp_path: Path) -> tuple[Path, Path]:
    """Two saved smaps of one process: 3 MiB more, 5 pages of them dirty."""
    before, after = tmp_path / "before.smaps", tmp_path / "after.smaps"
    with target.stopped():
        before.write_bytes(target.smaps())
    target.call("map", size=3 << 20, address=ELSEWHERE)
    target.call("write", address=ELSEWHERE, pages=5)
    with target.stopped():
        after.write_bytes(target.smaps())
    return before, after


@pytest.fixture
def series(run: Runner, target: Target) -> list[dict[str, Any]]:
    """Four snapshots of a process that grows by 1 MiB each time."""
    for number in range(4):
        target.call("map", size=1 << 20, address=BASE + (number << 32))
        run.here("record", "--pid", target.pid, "--label", f"step {number}.").ok()
    rows: list[dict[str, Any]] = run.here("snapshots", "--format", "json").json["snapshots"]
    return rows


def state(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*")) if folder.exists() else []


def test_two_saved_files_need_no_database(run: Runner, saved: tuple[Path, Path], tmp_path: Path) -> None:
    home = tmp_path / "an empty home"
    home.mkdir()
    default = state(DEFAULT_STORE)
    for form in ("text", "json", "csv", "markdown"):
        result = run.fresh("compare", *saved, "--format", form, store=False, env={"HOME": str(home), "PMAPDIFF_DB": str(home / "none.db")}).ok()
        assert result.stderr == b""
        result = run.here("compare", *saved, "--format", form, store=False, env={"HOME": str(home)}).ok()
        assert result.stderr == b""
    for form in ("text", "json", "csv", "smaps"):
        run.here("show", saved[0], "--format", form, store=False, env={"HOME": str(home)}).ok()
    assert list(home.iterdir()) == []
    assert state(DEFAULT_STORE) == default


def test_two_saved_files_say_what_two_snapshots_say(run: Runner, saved: tuple[Path, Path]) -> None:
    (process,) = run.here("compare", *saved, "--format", "json", store=False).json["processes"]
    assert process["match"] == "same"
    (change,) = (change for change in process["changes"] if change["after"] and change["after"][0]["start"] == hex(ELSEWHERE))
    assert (change["change"], change["delta"]["size_kib"], change["delta"]["dirty_kib"]) == (["new"], 3072, 20)
    (process,) = run.here("compare", *saved, "--format", "json", "--restarted", store=False).json["processes"]
    assert process["match"] == "restarted"
    assert process["totals"]["delta"]["size_kib"] == 3072


def test_a_file_and_a_snapshot(run: Runner, saved: tuple[Path, Path], target: Target) -> None:
    run.here("record", "--pid", target.pid).ok()
    (process,) = run.here("compare", saved[0], "latest", "--format", "json").json["processes"]
    assert process["match"] == "same"
    assert process["totals"]["delta"]["size_kib"] == 3072


@pytest.mark.parametrize(("one", "other"), [("pmap-x", "smaps"), ("pmap-d", "smaps"), ("maps", "smaps"), ("pmap", "pmap-xp"), ("smaps", "pmap-dp")])
def test_two_forms_of_one_table_differ_in_nothing(run: Runner, one: str, other: str) -> None:
    (process,) = run.here("compare", FROZEN / f"{one}.txt", FROZEN / f"{other}.txt", "--format", "json", store=False).json["processes"]
    assert process["changes"] == []
    assert process["totals"]["delta"]["size_kib"] == 0
    assert process["match"] == "same"


def test_every_way_to_say_when(run: Runner, series: list[dict[str, Any]]) -> None:
    moments = [datetime.fromisoformat(row["taken_at"]) for row in series]
    here = moments[1].replace(tzinfo=None)
    forms = {
        "2": 2,
        "#2": 2,
        "first": 1,
        "latest": 4,
        "latest~1": 3,
        "latest~3": 1,
        "step 2.": 3,
        series[1]["taken_at"]: 2,
        here.isoformat(): 2,
        here.isoformat(sep=" "): 2,
        (moments[1] + timedelta(hours=2)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+00:00"): 4,
        (moments[2] - timedelta(microseconds=1)).isoformat(): 2,
        "now": 4,
        "0.001s ago": 4,
    }
    for when, number in forms.items():
        assert run.here("show", when, "--format", "json").json["snapshot"]["id"] == number, when
    compared = run.here("compare", "step 0.", "now", "--format", "json").json
    assert (compared["before"]["id"], compared["after"]["id"]) == (1, 4)
    assert f"#1 of {moments[0]:%Y-%m-%d %H:%M:%S}" in run.here("compare", "first", "latest").out


NOWHERE = (
    "5",
    "#0",
    "latest~4",
    "no such label",
    "1h ago",
    "yesterday",
    "1999-12-31",
    "2026-13-01",
    "yesterday 25:00",
    "/no/such/file",
    "gone.smaps",
    "",
)


def test_a_when_that_is_not_there(run: Runner, series: list[dict[str, Any]]) -> None:
    assert len(series) == 4
    for when in NOWHERE:
        run.here("show", when).refused()
        run.here("compare", when, "latest").refused()
        run.here("compare", "latest", when).refused()


def test_latest_of_a_process_is_not_hidden_by_others(run: Runner, target: Target, series: list[dict[str, Any]]) -> None:
    with Target() as other:
        run.here("record", "--pid", other.pid).ok()
    assert run.here("show", "latest", "--pid", target.pid, "--format", "json").json["snapshot"]["id"] == len(series)
    run.here("show", 5, "--pid", target.pid).refused(f"--pid {target.pid}")


def test_by(run: Runner, series: list[dict[str, Any]], target: Target) -> None:
    regions = run.here("compare", "first", "latest").ok().out
    assert "in all" in regions
    assert "mappings unchanged" in regions
    families = run.here("compare", "first", "latest", "--by", "family").ok().out
    assert "+3.0 MiB" in families
    assert "anon" in families
    assert str(target.pid) in run.here("compare", "first", "latest", "--by", "process").ok().out
    for by, rows in (("region", 3), ("family", 4), ("process", 1)):
        table = list(csv.DictReader(io.StringIO(run.here("compare", "first", "latest", "--by", by, "--format", "csv").ok().out)))
        assert len(table) >= rows
        assert sum(int(row["size_kib"]) for row in table) == 3072
        assert run.here("compare", "first", "latest", "--by", by, "--format", "markdown").ok().out.count("\n|") > 2
    run.here("compare", "first", "latest", "--by", "colour").refused("--by colour", "region, family")
    assert len(series) == 4


@pytest.mark.parametrize("command", [["compare", "first", "latest"], ["show", "latest"]])
def test_sort(run: Runner, series: list[dict[str, Any]], command: list[str]) -> None:
    for key in ("size", "rss", "pss", "dirty", "anonymous", "swap", "footprint", "name"):
        for form in ("text", "json"):
            run.here(*command, "--sort", key, "--format", form).ok()
    run.here(*command, "--sort", "colour").refused("--sort colour", "footprint")
    assert len(series) == 4


def test_sort_and_top(run: Runner, series: list[dict[str, Any]]) -> None:
    (process,) = run.here("show", "latest", "--sort", "size", "--top", 5, "--format", "json").json["processes"]
    sizes = [mapping["size_kib"] for mapping in process["mappings"]]
    assert len(sizes) == 5
    assert sizes == sorted(sizes, reverse=True)
    (process,) = run.here("compare", "first", "latest", "--sort", "size", "--top", 2, "--format", "json").json["processes"]
    assert [change["delta"]["size_kib"] for change in process["changes"]] == [1024, 1024]
    left = process["below_threshold"]
    assert left["changes"] >= 1
    assert left["delta"]["size_kib"] + 2048 == process["totals"]["delta"]["size_kib"] == 3072
    assert len(series) == 4


def test_threshold(run: Runner, target: Target, series: list[dict[str, Any]]) -> None:
    target.call("map", size=8192, address=BASE + (9 << 32))
    run.here("record", "--pid", target.pid).ok()
    (process,) = run.here("compare", "first", "latest", "--threshold", "1M", "--format", "json").json["processes"]
    assert all(change["delta"]["size_kib"] == 1024 for change in process["changes"])
    assert len(process["changes"]) == 3
    assert process["below_threshold"]["changes"] >= 1
    for figure, value in process["totals"]["delta"].items():
        if figure != "mappings":
            assert sum(change["delta"][figure] for change in process["changes"]) + process["below_threshold"]["delta"][figure] == value
    text = run.here("compare", "first", "latest", "--threshold", "1M").ok().out
    assert "smaller change" in text
    run.here("compare", "first", "latest", "--threshold", "much").refused("'much'")
    assert len(series) == 4


def test_exit_code(run: Runner, saved: tuple[Path, Path], series: list[dict[str, Any]]) -> None:
    for form in ("text", "json", "csv", "markdown"):
        assert run.here("compare", "first", "latest", "--exit-code", "--format", form).code == 1
    assert run("compare", "first", "latest", "--exit-code").code == 1
    assert run("compare", "latest", "latest", "--exit-code").code == 0
    assert run.here("compare", *saved, "--exit-code", store=False).code == 1
    assert run.here("compare", saved[0], saved[0], "--exit-code", store=False).code == 0
    assert run.here("compare", "first", "latest").code == 0
    assert run.here("compare", "first", "no such", "--exit-code").code == 2
    assert len(series) == 4


@pytest.mark.parametrize(
    "command", [["show", "latest"], ["compare", "first", "latest"], ["snapshots"], ["processes"], ["db", "info"], ["db", "check"]]
)
def test_no_store(bare: Runner, command: list[str]) -> None:
    bare.here(*command).refused("no store at", "pmapdiff record")
    assert not bare.db.parent.exists()


@pytest.mark.parametrize(
    "command",
    [["show", "x", "--format", "xml"], ["compare", "a", "b", "--format", "smaps"], ["snapshots", "--format", "smaps"], ["processes", "--sort", "x"]],
)
def test_forms_that_there_are_not(run: Runner, series: list[dict[str, Any]], command: list[str]) -> None:
    assert len(series) == 4
    run.here(*["latest" if word in ("x", "a", "b") and place < 3 else word for place, word in enumerate(command)]).refused()


@pytest.mark.parametrize(
    "command",
    [["compare"], ["compare", "1"], ["show", "--top", "-1"], ["show", "--pid", "x"], ["nonsense"], ["db"], ["db", "nonsense"], ["--nonsense"], []],
)
def test_command_lines_that_cannot_be_read(bare: Runner, command: list[str]) -> None:
    result = bare.here(*command)
    assert result.code == 2 or (result.code == 0 and command in ([], ["db"]))
    assert "Traceback" not in result.err
    assert not bare.db.parent.exists()


# Stores that are none, or not ours.


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def text_file(path: Path) -> None:
    path.write_text("This is no database.\n" * 20)


def short_file(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


def other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("CREATE TABLE snapshot (id INTEGER); INSERT INTO snapshot VALUES (1);")


def newer_schema(path: Path, journal: str = "wal") -> None:
    Runner(path)("db", "upgrade").ok()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.execute(f"PRAGMA journal_mode={journal}")


def newer_schema_without_wal(path: Path) -> None:
    newer_schema(path, "delete")


@pytest.mark.parametrize("make", [text_file, short_file, other_database, newer_schema, newer_schema_without_wal])
def test_a_store_that_is_not_ours_is_left_alone(bare: Runner, target: Target, make: Any) -> None:
    bare.db.parent.mkdir()
    make(bare.db)
    before = digests(bare.db.parent)
    said = "9999" if make in (newer_schema, newer_schema_without_wal) else str(bare.db)
    for command in (
        ["record", "--pid", target.pid],
        ["import", FROZEN / "smaps.txt"],
        ["show", "latest"],
        ["compare", "first", "latest"],
        ["snapshots"],
        ["processes"],
        ["db", "info"],
        ["db", "upgrade"],
        ["db", "check"],
    ):
        bare.here(*command).refused(said)
        assert digests(bare.db.parent).get("test.db") == before["test.db"], command
    bare("record", "--pid", target.pid).refused(said, "left as it")
    assert digests(bare.db.parent)["test.db"] == before["test.db"]


def test_a_folder_as_store(tmp_path: Path) -> None:
    folder = Runner(tmp_path)
    folder("show", "latest").refused(str(tmp_path), "folder")
    folder("record", "--all").refused(str(tmp_path), "folder")


def test_a_damaged_store(run: Runner, series: list[dict[str, Any]]) -> None:
    with closing(sqlite3.connect(run.db)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with run.db.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        for offset in range(4096 * 3, size, 4096):
            file.seek(offset)
            file.write(b"\xff" * 64)
    for command in (["show", "latest"], ["compare", "first", "latest"], ["snapshots"], ["processes"]):
        result = run.here(*command)
        assert result.code == 2, (command, result)
        assert "Traceback" not in result.err, (command, result)
    result = run.here("db", "check")
    assert result.code == 2
    assert "Traceback" not in result.err
    assert len(series) == 4


def test_output_that_cannot_be_written(run: Runner, series: list[dict[str, Any]]) -> None:
    """A full disk under the output is an error, not a success and not a finding."""
    for form in ("text", "json", "csv"):
        command = f'exec "$@" show latest --format {form} > /dev/full'
        result = run.fresh(prefix=["sh", "-c", command, "sh"])
        assert result.code == 2, result
        assert result.err.startswith("pmapdiff: "), result
        assert result.err.count("\n") == 1, result
    assert len(series) == 4


def test_a_reader_that_has_seen_enough(run: Runner, series: list[dict[str, Any]]) -> None:
    for form in ("text", "json", "csv", "smaps"):
        result = run.fresh(prefix=["sh", "-c", f'{{ "$@" show latest --format {form}; echo $? >&2; }} | head -c 10', "sh"])
        assert result.err == "0\n", result
        assert len(result.stdout) == 10
    assert len(series) == 4
