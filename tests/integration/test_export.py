"""`export` on recorded processes: what pandas gets back, which snapshots, and what it refuses."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from programs import Result, Runner, Target
from test_modules import loaded

from pmapdiff.report.flat import TABLES, Flat
from pmapdiff.report.frames import flat_frame
from pmapdiff.store import Store
from pmapdiff.text import csv_cell

BASE = 0x100000000000
FORMS = ("csv", "jsonl", "parquet")


@pytest.fixture
def recorded(run: Runner, target: Target, other: Target) -> Runner:
    """Three snapshots of a target that maps more each time; the second one of another process, too."""
    for number in range(3):
        target.call("map", size=1 << 20, address=BASE + number * (1 << 24))
        pids = ["--pid", target.pid, *(["--pid", other.pid] if number == 1 else [])]
        run.here("record", *pids, "--label", f"step {number}").ok()
    return run


def read(path: Path, form: str) -> pd.DataFrame:
    """What a user of pandas does, as docs/export.md has it."""
    if form == "csv":
        moments: list[str] = [name for name in ("taken_at", "started_at") if name in path.read_text().partition("\n")[0].split(",")]
        return pd.read_csv(path, keep_default_na=False, na_values=[""], dtype_backend="numpy_nullable", parse_dates=moments)
    if form == "jsonl":
        return pd.read_json(path, lines=True, dtype_backend="numpy_nullable")
    return pd.read_parquet(path, dtype_backend="numpy_nullable")


def like(found: pd.DataFrame, model: pd.DataFrame) -> pd.DataFrame:
    """With the types of the model, where a form has no types of its own; to CSV a name that is empty is missing."""
    for name, kind in model.dtypes.items():
        found[name] = pd.to_datetime(found[name], utc=True).astype(kind) if "datetime" in str(kind) else found[name].astype(kind)
        if str(kind) == "string" and name == "name":
            found[name] = found[name].fillna("")
    return found


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("table", TABLES)
def test_pandas_gets_back_what_is_in_the_store(recorded: Runner, tmp_path: Path, form: str, table: str) -> None:
    path = tmp_path / f"x.{form}"
    recorded("export", "--table", table, "--output", path).ok()
    store = Store.open(str(recorded.db))
    expected = flat_frame(Flat(TABLES[table], store.walk(store.refs())))
    if form == "csv" and table == "snapshots":
        # `--pid 12`: the one text here that a spreadsheet could take for a formula.
        expected["selection"] = expected["selection"].map(csv_cell).astype("string")
    found = read(path, form)
    assert list(found.columns) == list(expected.columns)
    assert len(found) > (200 if table == "mappings" else 2)
    assert_frame_equal(like(found, expected), expected)
    if form == "parquet":
        assert [str(kind) for name, kind in found.dtypes.items() if name in ("taken_at", "inode", "rss_kib", "name")] == [
            str(kind) for name, kind in expected.dtypes.items() if name in ("taken_at", "inode", "rss_kib", "name")
        ]


def test_a_row_is_what_show_says(recorded: Runner, target: Target) -> None:
    rows = [json.loads(line) for line in recorded.here("export", "step 2", "--format", "jsonl").ok().out.splitlines()]
    shown = recorded.shown("step 2")[target.pid]
    assert len(rows) == len(shown["mappings"])
    for row, mapping in zip(rows, shown["mappings"], strict=True):
        # In JSON the flags are a list.
        both = (row.keys() & mapping.keys()) - {"vm_flags"}
        assert {"start", "end", "perms", "family", "name", "rss_kib", "inode", "footprint_kib"} <= both
        assert {name: row[name] for name in both} == {name: mapping[name] for name in both}
    assert {(row["pid"], row["command"], row["started_at"], row["label"]) for row in rows} == {
        (target.pid, shown["command"], shown["started_at"], "step 2")
    }
    assert recorded.here("export", "step 2").out == recorded.here("show", "step 2", "--format", "csv").out


def ids(run: Runner, *args: object) -> list[int]:
    out = run.here("export", "--table", "processes", "--format", "jsonl", *args).ok().out
    return [json.loads(line)["snapshot_id"] for line in out.splitlines()]


def test_which_snapshots(recorded: Runner, target: Target, other: Target, tmp_path: Path) -> None:
    assert ids(recorded) == [1, 2, 2, 3]
    assert ids(recorded, "latest", "first") == [3, 1]
    assert ids(recorded, "--since", "step 1") == [2, 2, 3]
    assert ids(recorded, "--since", 1, "--until", "latest~1", "--pid", target.pid) == [1, 2]
    assert ids(recorded, "--pid", other.pid) == [2]
    assert ids(recorded, 1, 2, 3, "--pid", other.pid) == [2]
    assert ids(recorded, "latest", "--pid", other.pid) == [2]
    saved = tmp_path / "saved.smaps"
    saved.write_bytes(recorded.here("show", 3, "--pid", target.pid, "--format", "smaps").ok().stdout)
    cells = recorded.here("export", saved, 1, "--format", "jsonl", "--table", "snapshots").ok().out.splitlines()
    assert [(json.loads(line)["snapshot_id"], json.loads(line)["source"]) for line in cells] == [(None, str(saved)), (1, "live")]
    # A saved file needs no store.
    assert recorded("export", saved, store=False).ok().out.count("\n") > 20
    # One that was cut off is taken as by all other commands.
    saved.write_bytes(saved.read_bytes()[:-100])
    recorded("export", saved, store=False).refused("--partial takes what is whole")
    assert ",partial," in recorded("export", saved, "--partial", store=False).ok().out
    recorded("export", saved, "--input-format", "maps", store=False).refused("no table of maps")
    recorded("export", saved, "--input-format", "x\x1b[m", store=False).refused("there is no form 'x\\x1b[m' of saved files")


def test_one_row_for_each_process_and_snapshot(recorded: Runner) -> None:
    processes = [json.loads(line) for line in recorded.here("export", "--table", "processes", "--format", "jsonl").ok().out.splitlines()]
    snapshots = [json.loads(line) for line in recorded.here("export", "--table", "snapshots", "--format", "jsonl").ok().out.splitlines()]
    listed = recorded.snapshots()
    for row, summary in zip(snapshots, listed, strict=True):
        assert {name: row[name] for name in ("mappings", "rss_kib", "footprint_kib", "processes", "duration_us")} == {
            name: summary[name] for name in ("mappings", "rss_kib", "footprint_kib", "processes", "duration_us")
        }
        members = [item for item in processes if item["snapshot_id"] == row["snapshot_id"]]
        assert sum(item["rss_kib"] for item in members) == row["rss_kib"]


def test_what_the_host_allowed_and_had(recorded: Runner) -> None:
    """As the kernel says it, by another way than the recorder's."""
    limit = int(Path("/proc/sys/vm/max_map_count").read_text())
    memory = {name: value for name, _, value in (line.partition(":") for line in Path("/proc/meminfo").read_text().splitlines())}
    rows = [json.loads(line) for line in recorded.here("export", "--table", "snapshots", "--format", "jsonl").ok().out.splitlines()]
    assert {(row["max_map_count"], f"{row['mem_total_kib']} kB") for row in rows} == {(limit, memory["MemTotal"].strip())}


def test_nothing_to_export(run: Runner, kept: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    nobody = ["--name", "nobody-of-that-name"]
    for args in (nobody, ["latest", *nobody], [1, 1, *nobody], ["--until", "2001-01-01"], ["--pid", 2**22 - 7], [99], ["1", "no-such-label"]):
        result = run.here("export", *args, "--output", path)
        assert (result.code, result.err.count("\n")) == (2, 1), args
        assert not path.exists()
        if args not in ([1, 1], ["1", "no-such-label"]):
            run.here("export", *args).refused()
    run.here("export", "latest", *nobody, "--openmetrics", tmp_path / "x.prom").refused("nobody-of-that-name")
    assert list(tmp_path.glob("*x.*")) == []
    empty = Runner(tmp_path / "empty.db")
    empty.here("db", "upgrade").ok()
    empty.here("export").refused("the store is empty", "pmapdiff record")
    empty.here("export", "--openmetrics", "-").refused("the store is empty")
    assert kept.count() == 1


def test_what_contradicts_itself(recorded: Runner, tmp_path: Path) -> None:
    recorded.here("export", 1, "--since", 1).refused("--since and --until")
    recorded.here("export", "--table", "nothing").refused("--table nothing", "mappings, processes, snapshots")
    recorded.here("export", "--format", "xml").refused("--format xml", "csv, jsonl, parquet")
    recorded.here("export", "--format", "xml", "--output", tmp_path / "x.csv").refused("--format xml", "csv, jsonl, parquet")
    recorded.here("export", "--output", tmp_path / "x.txt").refused("x.txt", ".csv, .jsonl, .parquet", "--format")
    recorded.here("export", "--output", "/dev/null").refused("--format")
    recorded.here("export", "--name", "(").refused("regular expression")
    prom = tmp_path / "x.prom"
    recorded.here("export", 1, 2, "--openmetrics", prom).refused("one snapshot")
    for option in ("--since", "--until", "--table", "--format", "--output"):
        recorded.here("export", option, "1", "--openmetrics", prom).refused(option)
    assert list(tmp_path.glob("x.*")) == []
    # --format is for who wants another name.
    recorded.here("export", 1, "--output", tmp_path / "x.txt", "--format", "jsonl").ok()
    assert json.loads((tmp_path / "x.txt").read_text().splitlines()[0])["snapshot_id"] == 1
    assert recorded.here("export", 1, "--output", "-").out == recorded.here("export", 1).out


def test_the_help_names_every_form_and_table(run: Runner) -> None:
    helped = " ".join(run.here("export", "--help").ok().out.split())
    assert all(word in helped for word in (*FORMS, *TABLES))


def test_parquet_is_not_for_a_terminal(recorded: Runner) -> None:
    done = recorded.on_terminal("export", "--format", "parquet")
    assert done == Result(2, b"", b"pmapdiff: Parquet is nothing to be shown on a terminal: give --output FILE\n")
    assert recorded("export", "--format", "parquet").ok().stdout[:4] == b"PAR1"


def test_without_pyarrow(recorded: Runner, tmp_path: Path) -> None:
    (tmp_path / "pyarrow").mkdir()
    (tmp_path / "pyarrow" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'pyarrow'\")\n")
    path = tmp_path / "x.parquet"
    result = recorded.fresh("export", "--output", path, env={"PYTHONPATH": str(tmp_path)})
    assert result.refused().err == "pmapdiff: Parquet needs pyarrow (No module named 'pyarrow'): pip install 'pmapdiff[parquet]'\n"
    assert list(tmp_path.glob("*x.parquet*")) == []
    assert recorded.fresh("export", env={"PYTHONPATH": str(tmp_path)}).ok().out.count("\n") > 200


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_leaves_the_old_file(run: Runner, target: Target, tmp_path: Path, form: str) -> None:
    """A limit to the size of files fails a write in the middle, as a full disk does."""
    saved = tmp_path / "saved.smaps"
    saved.write_bytes(target.smaps())
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / f"x.{form}"
    path.write_text("old")
    result = run.fresh("export", saved, "--output", path, store=False, prefix=["prlimit", "--fsize=4096"])
    assert result.refused().err == f"pmapdiff: cannot write {path}: File too large\n"
    assert [each.read_text() for each in folder.iterdir()] == ["old"]


@pytest.mark.parametrize("form", FORMS)
def test_a_reader_that_has_seen_enough(recorded: Runner, form: str) -> None:
    with recorded.started("export", "--format", form) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_a_pipe_is_written_and_stays(recorded: Runner, tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    with recorded.started("export", 1, "--format", "csv", "--output", fifo) as process:
        text = fifo.read_text()
        assert process.wait(60) == 0
    assert text == recorded.here("export", 1).out
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_each_form_loads_only_what_it_needs(recorded: Runner, tmp_path: Path) -> None:
    heavy = {"pandas", "numpy", "pyarrow", "prometheus_client", "alembic"}
    for args, needed in (
        (["--output", tmp_path / "x.csv"], set()),
        (["--output", tmp_path / "x.jsonl"], set()),
        (["--openmetrics", tmp_path / "x.prom"], {"prometheus_client"}),
    ):
        assert heavy & loaded(recorded, "export", *args) == needed, args
    assert not heavy & loaded(recorded, "export", "--help")
