"""What people and scripts see, kept as files: `GOLDEN_UPDATE=1 pytest tests/golden` writes them anew, git shows the difference.

A golden file can freeze a bug, so the invariants stand beside them.
"""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pytest
from programs import Runner

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = Path(__file__).resolve().parent / "files"
X_TABLE = Path("sample_snapshots/redis-1100.pmap-x.txt")
TABLES = Path("tests/golden/tables")

COMPARE = ["compare", "before", "after"]
CASES = {
    "compare-80.txt": (80, COMPARE),
    "compare-160.txt": (160, COMPARE),
    "compare-pipe.txt": (None, [*COMPARE, "--top", "0"]),
    "compare-threshold.txt": (80, [*COMPARE, "--threshold", "1M"]),
    "compare-family.txt": (80, [*COMPARE, "--by", "family"]),
    "compare-family-top.txt": (80, [*COMPARE, "--by", "family", "--top", "1"]),
    "compare-family.md": (80, [*COMPARE, "--by", "family", "--threshold", "1M", "--format", "markdown"]),
    "compare-family-explain.txt": (80, [*COMPARE, "--by", "family", "--explain"]),
    "compare-family-explain.md": (80, [*COMPARE, "--by", "family", "--explain", "--format", "markdown"]),
    "compare-process.txt": (80, [*COMPARE, "--by", "process"]),
    "compare.md": (80, [*COMPARE, "--format", "markdown"]),
    "compare.csv": (80, [*COMPARE, "--format", "csv"]),
    "compare-process.csv": (80, [*COMPARE, "--by", "process", "--format", "csv"]),
    "compare.json": (80, [*COMPARE, "--format", "json"]),
    "compare-three-80.txt": (80, [*COMPARE, "before"]),
    "compare-three-family.txt": (80, [*COMPARE, "before", "--by", "family", "--sort", "rss"]),
    "compare-three.md": (80, [*COMPARE, "before", "--format", "markdown", "--top", "3"]),
    "history-80.txt": (80, ["history", "--pid", "4242"]),
    "history-160.txt": (160, ["history", "--pid", "4242"]),
    "history-region.txt": (80, ["history", "7fa345a00000", "--pid", "4242"]),
    "history.csv": (80, ["history", "7fa345a00000", "--pid", "4242", "--format", "csv"]),
    "history.json": (80, ["history", "--pid", "4242", "--top", "1", "--format", "json"]),
    "show-80.txt": (80, ["show", "after", "--sort", "rss", "--top", "6"]),
    "show-160.txt": (160, ["show", "after", "--sort", "rss", "--top", "6"]),
    "show-explain-80.txt": (80, ["show", "after", "--explain", "--sort", "rss", "--top", "12"]),
    "show-explain-160.txt": (160, ["show", "after", "--explain", "--sort", "rss", "--top", "12"]),
    "show-family-80.txt": (80, ["show", "after", "--by", "family"]),
    "show-family-160.txt": (160, ["show", "after", "--by", "family", "--sort", "rss", "--top", "3"]),
    "show-family-explain-80.txt": (80, ["show", "after", "--by", "family", "--explain"]),
    "show-family.csv": (80, ["show", "after", "--by", "family", "--explain", "--format", "csv"]),
    "show-pmap-x.txt": (80, ["show", "only-x"]),
    "snapshots-80.txt": (80, ["snapshots"]),
    "snapshots-160.txt": (160, ["snapshots"]),
    "processes-80.txt": (80, ["processes"]),
    "processes-160.txt": (160, ["processes"]),
    "export.csv": (None, ["export", "only-x"]),
    "export.jsonl": (None, ["export", "--table", "processes", "--format", "jsonl"]),
    "export-snapshots.csv": (None, ["export", "--table", "snapshots"]),
    "export.prom": (None, ["export", "after", "--openmetrics", "-"]),
    "export-only-x.prom": (None, ["export", "--openmetrics", "-"]),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with fixed times: a process that grew, and a table that has only what pmap -x prints."""
    path = str(tmp_path_factory.mktemp("golden") / "store.db")
    imports = (
        ("before", "2026-11-22 14:00:00", TABLES / "before.smaps"),
        ("after", "2026-11-23 02:00:00", TABLES / "after.smaps"),
        ("only-x", "2026-11-23 03:00:00", X_TABLE),
    )
    previous = Path.cwd()
    os.chdir(ROOT)
    try:
        for label, at, file in imports:
            pid = [] if file == X_TABLE else ["--pid", "4242"]
            Runner(Path(path)).here("import", *pid, "--at", at, "--label", label, file).ok()
    finally:
        os.chdir(previous)
    return path


def _output(store: str, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    width, arguments = CASES[name]
    monkeypatch.setenv("COLUMNS", "" if width is None else str(width))
    done = Runner(Path(store)).here(*arguments).ok()
    assert done.stderr == b""
    return done.out


@pytest.mark.parametrize("name", CASES)
def test_the_output_is_as_it_was(store: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _output(store, name, monkeypatch)
    file = FILES / name
    if os.environ.get("GOLDEN_UPDATE"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(found, encoding="utf-8")
    assert found == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name, (width, _) in CASES.items() if width and name.endswith(".txt")])
def test_nothing_is_wider_than_the_terminal(store: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    width = CASES[name][0]
    assert width is not None
    assert max(map(len, _output(store, name, monkeypatch).splitlines())) <= width


def test_the_rows_add_up_in_every_form(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = list(csv.DictReader(io.StringIO(_output(store, "compare.csv", monkeypatch))))
    (total,) = csv.DictReader(io.StringIO(_output(store, "compare-process.csv", monkeypatch)))
    (process,) = json.loads(_output(store, "compare.json", monkeypatch))["processes"]
    figures = [name for name in total if name.endswith("_kib")]
    assert len(figures) > 20
    for figure in figures:
        assert sum(int(row[figure]) for row in changes) == int(total[figure]) == process["totals"]["delta"][figure], figure
        assert sum(change["delta"][figure] for change in process["changes"]) == process["totals"]["delta"][figure]
        assert sum(family["delta"][figure] for family in process["families"]) == process["totals"]["delta"][figure]
    assert process["totals"]["delta"]["rss_kib"] > 0, "the sample grows"
    kinds = {kind for change in process["changes"] for kind in change["change"]}
    assert {"new", "gone", "grew", "dirtied", "split"} <= kinds, "the sample shows what it is for"
