"""What others see of a lake: DuckDB, with the views of docs/lake.md, sees what the store's own views say."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from laking import write_lake

from pmapdiff.lake import LakeWriter
from pmapdiff.model import COUNTERS, FIGURES
from pmapdiff.store import Store

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "sample_snapshots"
_VIEWS = re.search(r"^```sql\n(-- lake\nCREATE VIEW.*?)^```$", (ROOT / "docs" / "lake.md").read_text(), re.DOTALL | re.MULTILINE)
assert _VIEWS is not None
VIEWS = _VIEWS[1]
# Dirty is not in the view: it gives the sum of the two that the kernel has.
COUNTER_NAMES = tuple(counter.attribute for counter in COUNTERS if counter.kernel != "Dirty")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake of both samples, in which one snapshot was written twice, and a part that was only begun."""
    folder = tmp_path_factory.mktemp("lake")
    lake = folder / "lake"
    for name in ("orders", "redis"):
        shutil.copy(SAMPLES / f"{name}.db", folder)
        store = Store.open(str(folder / f"{name}.db"))
        write_lake(store, str(lake), store.refs()[:-2])
    # As by another writer, who did not see what this one wrote.
    refs = store.refs()
    twice = LakeWriter(str(lake))
    list(twice.write([refs[-3:]], store.walk))
    # And one was killed before the last of its files.
    write_lake(store, str(folder / "other"), refs[:2])
    for dataset in ("processes", "captures", "mappings"):
        shutil.copytree(folder / "other" / dataset, lake / dataset, dirs_exist_ok=True)
    write_lake(Store.open(str(folder / "orders.db")), str(lake))
    return folder


@pytest.fixture
def lake(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with closing(duckdb.connect()) as connection:
        connection.execute("SET file_search_path = $1", [str(folder)])
        connection.execute(VIEWS)
        yield connection


def asked(lake: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return lake.execute(query).fetchall()


def of_stores(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """The answers of both stores together."""
    rows: list[tuple[Any, ...]] = []
    for name in ("orders", "redis"):
        with closing(sqlite3.connect(folder / f"{name}.db")) as connection:
            rows += connection.execute(query).fetchall()
    return rows


def key(row: tuple[Any, ...]) -> str:
    return repr(row)


def test_every_mapping_of_every_snapshot(lake: duckdb.DuckDBPyConnection, folder: Path) -> None:
    counters = ", ".join(COUNTER_NAMES)
    same = f"device, inode, name, {counters}"
    ours = asked(
        lake,
        "SELECT host, origin_number, label, pid, command_line, printf('0x%x', start_address), printf('0x%x', start_address + size_bytes), perms, "
        f"printf('0x%x', file_offset), size_bytes // 1024, {same} FROM mapping",
    )
    theirs = of_stores(
        folder, f"SELECT host, snapshot_id, label, pid, command, start_hex, end_hex, perms, offset_hex, size_kib, {same} FROM mapping_table"
    )
    assert len(theirs) > 10_000
    assert sorted(ours, key=key) == sorted(theirs, key=key)


def test_every_capture(lake: duckdb.DuckDBPyConnection, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "redis.db")) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(process_table)")}
    figures = [name for name in FIGURES if name in columns]
    assert len(figures) > 10
    same = f"status, threads, vm_hwm_kib, cgroup_limit_bytes, cgroup_usage_bytes, read_us, mappings, {', '.join(figures)}"
    ours = asked(lake, f"SELECT host, origin_number, pid, comm, unit, epoch_us(taken_at), {same} FROM capture")
    moment = "(SELECT taken_at FROM snapshot WHERE snapshot.id = snapshot_id)"
    theirs = of_stores(folder, f"SELECT host, snapshot_id, pid, comm, unit, {moment}, {same} FROM process_table")
    assert sorted(ours, key=key) == sorted(theirs, key=key)


def test_every_snapshot_once(lake: duckdb.DuckDBPyConnection, folder: Path) -> None:
    ours = asked(lake, "SELECT host, origin_number, epoch_us(taken_at), label, captures, strftime(day, '%Y-%m-%d') FROM snapshot")
    count = "(SELECT count(*) FROM capture WHERE snapshot_id = snapshot.id)"
    day = "strftime('%Y-%m-%d', taken_at / 1000000, 'unixepoch')"
    theirs = of_stores(folder, f"SELECT host.name, snapshot.id, taken_at, label, {count}, {day} FROM snapshot JOIN host ON host.id = host_id")
    assert sorted(ours, key=key) == sorted(theirs, key=key)
    assert len(asked(lake, "SELECT part FROM read_parquet('lake/snapshots/*/*/*.parquet')")) > len(ours), "one of them is there twice"


def test_intervals_are_few(lake: duckdb.DuckDBPyConnection) -> None:
    (intervals,), (samples,) = asked(lake, "SELECT count(*) FROM interval UNION ALL SELECT count(*) FROM mapping")
    assert intervals < samples / 2
    (wrong,) = asked(lake, "SELECT count(*) FROM interval WHERE first > last OR first_taken_at > last_taken_at")
    assert wrong == (0,)


def test_other_days_and_hosts_are_not_read(lake: duckdb.DuckDBPyConnection) -> None:
    plan = str(asked(lake, "EXPLAIN ANALYZE SELECT count(*) FROM mapping WHERE host = 'shop1' AND day = '2026-11-22'"))
    read = [int(number) for number in re.findall(r"Total Files Read: (\d+)", plan)]
    assert len(read) == 4, plan
    assert set(read) == {1}, plan
