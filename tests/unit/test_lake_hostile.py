"""Files of a lake that are damaged, or that somebody made to do harm: one clear line, and nothing of them is taken."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backends import Files
from laking import in_lake, write_lake
from programs import Runner
from smaps_texts import KERNELS, Line, Row, render
from strategies import MANY

from pmapdiff.errors import StoreError
from pmapdiff.formats.smaps import SmapsParser
from pmapdiff.lake import columns
from pmapdiff.lake.parts import DATASETS
from pmapdiff.model import Capture, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.store import Store

MOMENT_US = 1_795_341_600_000_000


def text(kib: int) -> bytes:
    """Three mappings, with a counter that nobody knows, and flags."""
    lines = tuple(Line(label.encode(), "kb", kib) for label in KERNELS[2])
    lines = (*lines, Line(b"Numa.Local", "number", 7), Line(b"Policy", "text", b" x"), Line(b"VmFlags", "text", b" rd wr "))
    starts = (0x400000, 0x7F0000000000, 0x7F0000100000)
    return render([Row(start, start + 0x2000, b"rw-p", 0, b"fe:00", 12, b"/x\xff", lines) for start in starts])


@pytest.fixture(scope="module")
def sound(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of four snapshots of two processes."""
    folder = tmp_path_factory.mktemp("sound")
    store = Store.open(str(files.copy(folder / "store.db")), write=True)
    for number in range(4):
        table = MappingTable(SmapsParser().parse(text(4 * (number // 2))))
        infos = [ProcessInfo(ProcessIdentity("boot", pid, 5, "exec"), b"prog") for pid in (1, 2)]
        captures = [Capture(info, Status.COMPLETE, table, b"%016d" % (number // 2)) for info in infos]
        store.write(Snapshot(SnapshotRef(None, MOMENT_US + number, "web1", "a label"), tuple(captures)))
    write_lake(store, str(folder / "lake"))
    return folder / "lake"


@pytest.fixture
def lake(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "lake"))


def file_of(lake: Path, dataset: str) -> Path:
    (path,) = (lake / dataset).rglob("*.parquet")
    return path


def refused(lake: Path, dataset: str, said: str) -> None:
    with pytest.raises(StoreError) as caught:
        in_lake(str(lake))
    message = str(caught.value)
    # Of two files that contradict each other, the one that was read later.
    later = {"processes": "captures"}.get(dataset, dataset)
    assert message.startswith((str(file_of(lake, dataset)), str(file_of(lake, later))))
    assert said in message
    assert "\n" not in message
    assert len(message) < 600


def put(table: pa.Table, name: str, values: list[Any], kind: pa.DataType | None = None) -> pa.Table:
    """The table with other values in a column; the first of them come first, the rest stay."""
    place = table.schema.names.index(name)
    old = table.column(name).to_pylist()
    kind = kind or table.schema.field(name).type
    return table.set_column(place, pa.field(name, kind), pa.array([*values, *old[len(values) :]], kind))


Change = Callable[[pa.Table], pa.Table]
CHANGES: list[tuple[str, str, Change, str]] = [
    *((dataset, "no rows", lambda table: table.slice(0, 0), "") for dataset in DATASETS),
    *((dataset, "half of the rows", lambda table: table.slice(0, table.num_rows // 2), "") for dataset in DATASETS),
    *((dataset, "every row twice", lambda table: pa.concat_tables([table, table]), "") for dataset in DATASETS),
    *((dataset, "no such column", lambda table: table.drop_columns([table.schema.names[-1]]), "it has no column") for dataset in DATASETS),
    *((dataset, "a column twice", lambda table: table.append_column(table.field(2), table.column(2)), "it has no column") for dataset in DATASETS),
    *(
        (dataset, "another type", lambda table: put(table, table.schema.names[1], ["x"] * table.num_rows, pa.string()), "is string, not int32")
        for dataset in DATASETS
    ),
    *((dataset, "a gap", lambda table: put(table, table.schema.names[1], [None]), "gap") for dataset in ("snapshots", "processes", "captures")),
    ("mappings", "a gap", lambda table: put(table, "perms", [None]), "has gaps"),
    ("mappings", "a row of no process", lambda table: put(table, "process", [None]), "process that is not there"),
    ("snapshots", "another order", lambda table: put(table, "snapshot", [1, 0]), "not in their order"),
    ("snapshots", "another time", lambda table: put(table, "taken_at", [MOMENT_US + 9]), "other snapshots than its name says"),
    ("snapshots", "another day", lambda table: put(table, "taken_at", [0]), "snapshots of another day"),
    ("snapshots", "no time", lambda table: put(table, "taken_at", [(1 << 63) - 1]), "no time"),
    ("snapshots", "a time before all times", lambda table: put(table, "taken_at", [-(1 << 63)]), "no time"),
    ("snapshots", "another store", lambda table: put(table, "origin_store", ["0" * 32]), "other snapshots than its name says"),
    ("snapshots", "no store", lambda table: put(table, "origin_store", ["x"]), "other snapshots than its name says"),
    ("snapshots", "another number", lambda table: put(table, "origin_number", [-1]), "other snapshots than its name says"),
    ("snapshots", "a NUL", lambda table: put(table, "label", ["a\0b"]), "NUL"),
    ("processes", "another order", lambda table: put(table, "process", [1, 0]), "not in their order"),
    ("processes", "a NUL", lambda table: put(table, "unit", ["a\0"]), "NUL"),
    ("processes", "no time", lambda table: put(table, "started_at", [1 << 60]), "no time"),
    ("processes", "one twice", lambda table: put(table, "pid", [2]), "twice"),
    ("captures", "no such snapshot", lambda table: put(table, "snapshot", [4]), "snapshot that is not there"),
    ("captures", "a snapshot below all", lambda table: put(table, "snapshot", [-1]), "snapshot that is not there"),
    ("captures", "no such process", lambda table: put(table, "process", [9]), "process that is not there"),
    ("captures", "too many in a snapshot", lambda table: put(table, "snapshot", [1]), "other captures than its snapshots"),
    ("captures", "two of a process", lambda table: put(table, "process", [0, 0, 0, 0, 0, 1, 1, 1]), "two captures of a process"),
    ("captures", "no such status", lambda table: put(table, "status", ["fine"]), "status that there is not"),
    ("captures", "a digest of nothing", lambda table: put(table, "mappings", [None]), "digest of no table"),
    ("mappings", "no such process", lambda table: put(table, "process", [9]), "process that is not there"),
    ("mappings", "a process below all", lambda table: put(table, "process", [-1]), "process that is not there"),
    ("mappings", "an interval beyond the part", lambda table: put(table, "last", [4]), "intervals or addresses"),
    ("mappings", "an interval that ends before it begins", lambda table: put(table, "first", [3]), "intervals or addresses"),
    ("mappings", "an interval before the part", lambda table: put(table, "first", [-1]), "intervals or addresses"),
    ("mappings", "intervals that overlap", lambda table: put(table, "last", [3]), "of pid 1 has 4 of 3 mappings"),
    ("mappings", "an interval that is too short", lambda table: put(table, "last", [0]), "of pid 1 has 2 of 3 mappings"),
    ("mappings", "an address beyond all", lambda table: put(table, "size_bytes", [(1 << 64) - 1]), "intervals or addresses"),
    ("mappings", "long permissions", lambda table: put(table, "perms", ["rw-p" * 100]), "permissions that there are not"),
    ("mappings", "odd permissions", lambda table: put(table, "perms", ["\x1b[2J"]), "permissions that there are not"),
    ("mappings", "flags that are no bytes", lambda table: put(table, "vm_flags", ["数"]), "latin-1"),
    ("mappings", "no flags where there should be some", lambda table: put(table, "vm_flags", [None]), "other counters than its layouts"),
    ("mappings", "a counter that is missing", lambda table: put(table, "rss_kib", [None]), "other counters than its layouts"),
    ("mappings", "a layout of a GB", lambda table: put(table, "layout", [b"Rss: %1000000000d\n"]), "a layout that is none"),
    ("mappings", "a layout with a hole too many", lambda table: put(table, "layout", [b"Rss: %8d %8d\n"]), "a layout that is none"),
    ("mappings", "a layout that ends in a hole", lambda table: put(table, "layout", [b"Rss: %8d\n%"]), "a layout that is none"),
    ("mappings", "a layout with the wrong hole", lambda table: put(table, "layout", [b"Rss: %b\nNuma.Local: %d\nPolicy:%b\n"]), "other counters"),
    ("mappings", "too few unknown counters", lambda table: put(table, "extra", ["[7]"]), "other counters than its layouts"),
    ("mappings", "no unknown counters", lambda table: put(table, "extra", [None]), "other counters than its layouts"),
    ("mappings", "deep unknown counters", lambda table: put(table, "extra", ["[" * 60_000]), "damaged"),
    ("mappings", "long unknown counters", lambda table: put(table, "extra", ["[" + "1," * 60_000 + "1]"]), "counters that are none"),
    ("mappings", "unknown counters of another kind", lambda table: put(table, "extra", ['[7, {"a": 1}]']), "counters that are none"),
    ("mappings", "unknown counters that are no JSON", lambda table: put(table, "extra", ["7, 8"]), "damaged"),
    ("mappings", "a huge unknown counter", lambda table: put(table, "extra", ["[" + "9" * 5000 + ', "x"]']), "damaged"),
]


@pytest.mark.parametrize(("dataset", "change", "said"), [(d, c, s) for d, _, c, s in CHANGES], ids=[f"{d}: {what}" for d, what, _, _ in CHANGES])
def test_what_is_in_it_makes_no_sense(lake: Path, dataset: str, change: Change, said: str) -> None:
    path = file_of(lake, dataset)
    table = pq.ParquetFile(path).read()
    # A thing of the file's, not of pyarrow's.
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(place, field, table.column(place).cast(pa.timestamp("us", tz="UTC")))
    pq.write_table(change(table), path, store_schema=False)
    refused(lake, dataset, said)


def test_what_is_no_parquet(lake: Path, sound: Path) -> None:
    for dataset in DATASETS:
        path = file_of(lake, dataset)
        whole = path.read_bytes()
        for content in (b"", b"PAR1", b"x" * 100, whole[: len(whole) // 2], whole[:-1], b"PAR1" + b"\xff" * 100 + b"PAR1"):
            path.write_bytes(content)
            refused(lake, dataset, "damaged")
        path.write_bytes(whole)
    assert in_lake(str(lake)) == in_lake(str(sound))


@pytest.mark.parametrize("dataset", DATASETS[:-1])
def test_a_file_that_is_missing(lake: Path, dataset: str) -> None:
    path = file_of(lake, dataset)
    path.unlink()
    with pytest.raises(StoreError) as caught:
        in_lake(str(lake))
    assert str(caught.value) == f"{path} is missing, so what the lake has of web1 on 2026-11-22 is damaged"


@pytest.mark.parametrize("limit", ["_MOST_ROWS", "_MOST_ROWS_A_GROUP", "_MOST_UNPACKED", "_MOST_UNPACKED_A_GROUP"])
def test_more_than_ever_was_written(lake: Path, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, limit, 1)
    refused(lake, "snapshots", "damaged: it ")


def test_a_file_that_would_unpack_to_more_than_there_is(lake: Path) -> None:
    """A few KB that say of themselves that they are a hundred million rows."""
    path = file_of(lake, "mappings")
    rows = 100_000_000
    pq.write_table(pa.table({"part": pa.nulls(rows, pa.string())}), path, row_group_size=rows)
    assert path.stat().st_size < 1_000_000
    refused(lake, "mappings", "it has 100,000,000 rows")


def test_a_file_that_is_too_large_to_be_one(lake: Path) -> None:
    path = file_of(lake, "captures")
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    refused(lake, "captures", "larger than any file of a lake")


def readable(lake: Path) -> list[Snapshot] | None:
    """What is in it; None if it is refused."""
    try:
        return in_lake(str(lake))
    except StoreError:
        return None


def test_any_byte_may_be_wrong(lake: Path, sound: Path) -> None:
    """Whatever it is, it is refused, or changes nothing: nothing else than what was written comes out of it."""
    expected = in_lake(str(sound))
    chance = random.Random(8)
    outcomes = set()
    for dataset in DATASETS:
        path = file_of(lake, dataset)
        whole = path.read_bytes()
        for _ in range(25 * MANY):
            content = bytearray(whole)
            # What says how to read the rest is at the end.
            at = chance.randrange(len(whole)) if chance.random() < 0.5 else len(whole) - 1 - chance.randrange(len(whole) // 3)
            content[at] ^= 1 << chance.randrange(8)
            path.write_bytes(content)
            found = readable(lake)
            outcomes.add(found is not None)
            assert found in (None, expected)
        path.write_bytes(whole)
    assert outcomes == {True, False}


def test_a_store_that_reads_it_stays_as_it_was(lake: Path, run: Runner) -> None:
    path = file_of(lake, "mappings")
    path.write_bytes(path.read_bytes()[:1000])
    before = run.here("db", "info", "--json").json
    message = run.here("lake", "read", lake).refused().err
    assert message.startswith(f"pmapdiff: {path} is damaged: ")
    assert message.count("\n") == 1
    assert run.here("db", "info", "--json").json == before
    run.here("db", "check").ok()
