"""Flat tables: the same columns and rows in every form, nothing made up, and no more memory for more snapshots."""

from __future__ import annotations

import csv
import gc
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from strategies import PAGE, capture_of, file, in_form, make

from pmapdiff.model import COUNTER_INDEX, Capture, Snapshot, SnapshotRef, Status
from pmapdiff.report import View, forms_of, parquet, write_report
from pmapdiff.report.flat import MAPPINGS, TABLES, Flat, FlatTable
from pmapdiff.report.frames import flat_frame, mapping_frame

A = 0x7F0000000000
MOMENT_US = 1_795_341_600_123_457
HOSTILE = b'=cmd|"x",\r\n\x1b[31m\xff\xe2\x80\xae\xe2\x80\xa8 NA '


def snapshots() -> list[Snapshot]:
    """Three snapshots with all that is odd: other counters, no table, 64 bits, names that are no text."""
    known = make(A, A + 4 * PAGE, "rw-p", b"[heap]", rss=12, private_dirty=8, swap=4)
    odd = file(A + 8 * PAGE, A + 9 * PAGE, "r-xp", (1 << 64) - PAGE, HOSTILE, (1 << 64) - 5)
    top = make((1 << 64) - PAGE, 1 << 64, "---p")
    bare = in_form([make(A, A + PAGE, "rw-p", b"", rss=4), odd], "pmap-x")
    first = capture_of([known, odd, top])
    first = first._replace(process=first.process._replace(started_at_us=MOMENT_US - 1, exe=HOSTILE, unit="x.service"), threads=3)
    saved = capture_of(bare, 0)
    denied = capture_of([], 7, Status.DENIED)._replace(table=None)
    grown = first._replace(table=capture_of([known._replace(end=A + 6 * PAGE), odd, top]).table)
    refs = [SnapshotRef(n, MOMENT_US + n * 60_000_000, "hö", None if n == 1 else "=l", selection="--all") for n in (1, 2, 3)]
    return [Snapshot(ref, captures) for ref, captures in zip(refs, [(first, saved), (denied,), (first, grown, saved)], strict=True)]


def written(form: str, table: FlatTable, found: list[Snapshot], view: View | None = None) -> bytes:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, "utf-8", newline="")
    write_report("export", form, Flat(table, iter(found)), view or View(), out)
    out.flush()
    return raw.getvalue()


def plain(value: Any) -> Any:
    return None if value is None or value is pd.NA or value is pd.NaT else value.isoformat() if isinstance(value, pd.Timestamp) else value


def expected(table: FlatTable) -> list[dict[str, Any]]:
    frame = flat_frame(Flat(table, snapshots()))
    return [{name: plain(row[name]) for name in frame.columns} for _, row in frame.astype(object).iterrows()]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_form_has_the_columns_and_rows_of_the_frame(table: FlatTable) -> None:
    rows = expected(table)
    columns = list(table.columns(View()))
    assert len(rows) == {"mappings": 5 + 0 + 8, "processes": 2 + 1 + 3, "snapshots": 3}[table.name]
    assert len(set(columns)) == len(columns)
    assert set(forms_of("export")) == {"csv", "jsonl", "parquet"}

    objects = [json.loads(line) for line in written("jsonl", table, snapshots()).splitlines()]
    assert [list(item) for item in objects] == [columns] * len(rows)
    for item in objects:
        for name in ("taken_at", "started_at"):
            if item.get(name):
                item[name] = item[name].replace("Z", "+00:00")
    assert objects == rows

    typed = pq.read_table(io.BytesIO(written("parquet", table, snapshots())))
    assert typed.column_names == columns
    assert [{name: plain(value) for name, value in row.items()} for row in typed.to_pylist()] == [
        {name: pd.Timestamp(value).to_pydatetime() if name.endswith("_at") and value else value for name, value in row.items()} for row in rows
    ]
    kinds = dict(zip(columns, map(str, typed.schema.types), strict=True))
    assert kinds["taken_at"] == "timestamp[us, tz=UTC]"
    assert {kinds[name] for name in columns if name.endswith("_kib")} == {"int64"}
    assert kinds.get("inode", "uint64") == "uint64"

    cells = list(csv.DictReader(io.StringIO(written("csv", table, snapshots()).decode(), newline="")))
    assert [list(item) for item in cells] == [columns] * len(rows)
    for item, row in zip(cells, rows, strict=True):
        for name, value in row.items():
            if value is None:
                assert item[name] == "", name
            elif isinstance(value, int):
                assert item[name] == str(value), name


def test_names_of_strangers_are_exact_but_in_csv() -> None:
    text = written("csv", MAPPINGS, snapshots()).decode()
    assert text.count("\n") == 1 + 13
    assert all(character.isprintable() or character == "\n" for character in text)
    cells = [row["name"] for row in csv.DictReader(io.StringIO(text, newline="")) if row["inode"] not in ("0", "")]
    assert set(cells) == {'\'=cmd|"x",\\x0d\\x0a\\x1b[31m\\xff\\u202e\\u2028 NA '}
    lines = written("jsonl", MAPPINGS, snapshots())
    assert lines.isascii()
    assert HOSTILE.decode("utf-8", "backslashreplace") in {json.loads(line)["name"] for line in lines.splitlines()}


def test_missing_is_not_0() -> None:
    (row,) = [json.loads(line) for line in written("jsonl", TABLES["snapshots"], snapshots()).splitlines()][1:2]
    assert (row["processes"], row["mappings"], row["rss_kib"]) == (1, None, None), "it was denied"
    bare = [json.loads(line) for line in written("jsonl", MAPPINGS, snapshots()).splitlines() if json.loads(line)["pid"] == 0]
    assert {(row["pss_kib"], row["swap_kib"], row["footprint_kib"], row["inode"]) for row in bare} == {(None, None, None, None)}
    assert [row["rss_kib"] for row in bare[:1]] == [4]


def test_a_table_that_changes_is_written_as_it_is_then() -> None:
    """Encoded rows are kept only as long as the table, and the number of threads, which says what stacks are, stay the same."""
    base = capture_of([make(A, A + PAGE, rss=1)])
    other = base._replace(table=capture_of([make(A, A + PAGE, rss=2)]).table)
    order = [base, base, other, base._replace(threads=9), other]
    found = [Snapshot(SnapshotRef(n, n, "h"), (capture,)) for n, capture in enumerate(order)]
    for form in ("csv", "jsonl"):
        one_by_one = [written(form, MAPPINGS, [snapshot]).splitlines()[-1] for snapshot in found]
        assert written(form, MAPPINGS, found).splitlines()[-5:] == one_by_one
    assert pq.read_table(io.BytesIO(written("parquet", MAPPINGS, found)))["rss_kib"].to_pylist() == [1, 1, 2, 1, 2]


def test_reasons_and_order_of_a_snapshot() -> None:
    frame = mapping_frame(snapshots()[0], View(explain=True, sort="rss", top=1))
    assert list(frame["rss_kib"]) == [12, 4]
    assert frame["family_reason"].notna().all()


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_nothing_to_write(form: str, table: FlatTable) -> None:
    found = written(form, table, [])
    if form == "csv":
        assert found.decode() == ",".join(table.columns(View())) + "\n"
    elif form == "jsonl":
        assert found == b""
    else:
        assert pq.read_table(io.BytesIO(found)).column_names == list(table.columns(View()))


def test_groups_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small snapshots make few groups, and a large one is not held twice."""
    monkeypatch.setattr(parquet, "_GROUP", 100)
    found = [Snapshot(SnapshotRef(n, n, "h"), (capture_of([make(A + i * PAGE, A + (i + 1) * PAGE) for i in range(30)]),)) for n in range(10)]
    data = pq.ParquetFile(io.BytesIO(written("parquet", MAPPINGS, found)))
    assert [data.metadata.row_group(n).num_rows for n in range(data.num_row_groups)] == [120, 120, 60]


def _anew(number: int) -> Capture:
    """A process that no other snapshot has, with names and counters of its own."""
    rss = COUNTER_INDEX["Rss"]
    counters = make(A, A + PAGE).counters
    mappings = [
        make(A + i * PAGE, A + (i + 1) * PAGE, name=b"/tmp/%d-%d" % (number, i))._replace(
            counters=(*counters[:rss], number * 1000 + i, *counters[rss + 1 :])
        )
        for i in range(200)
    ]
    return capture_of(mappings, 10 + number)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_memory_does_not_grow_with_the_snapshots(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_GROUP", 1000)
    held: list[int] = []

    def come() -> Iterator[Snapshot]:
        for number in range(40):
            if number % 10 == 9:
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
            yield Snapshot(SnapshotRef(number, number, "h"), (_anew(number),))

    with open(tmp_path / "out", "w", encoding="utf-8", newline="") as out:
        write_report("export", form, Flat(MAPPINGS, [Snapshot(SnapshotRef(0, 0, "h"), (_anew(0),))]), View(), out)
        tracemalloc.start()
        try:
            write_report("export", form, Flat(MAPPINGS, come()), View(), out)
        finally:
            tracemalloc.stop()
    # What the last thirty would add up to, if it were kept, is more than 3 MB. Names that are safe for CSV are kept, up to a number.
    assert held[-1] - held[0] < 2_600_000, held
    assert len(held) == 4
