"""The SQL views say what Store.load says, for every row and column."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from strategies import PAGE, file, in_form, make

from pmapdiff.model import COUNTERS, FIGURES, Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.model.counters import dirty_kib, uss_kib
from pmapdiff.store import Store
from pmapdiff.text import decode, printable
from pmapdiff.units import format_moment_utc

A = 0x7F0000000000
DAY_US = 86400 * 10**6


def process(pid: int, **fields: Any) -> ProcessInfo:
    return ProcessInfo(ProcessIdentity("boot", pid, 5, "exec"), **{"comm": b"prog", "command": b"/usr/bin/prog\0-v\0\0x", **fields})


TABLE = (
    make(0x400000, 0x401000, "r-xp", b"/bin/\xff\x1b[31m \xe2\x80\xae", device="fe:00", inode=(1 << 64) - 5, offset=(1 << 64) - PAGE),
    file(A, A + 4 * PAGE, "rw-p", 0x5000, rss=16, private_dirty=8, shared_dirty=4, private_clean=3, private_hugetlb=7, locked=1, swap=9),
    make(A + 8 * PAGE, A + 9 * PAGE, name=b"[heap]", rss=4),
    make(0xFFFFFFFFFF600000, 0xFFFFFFFFFF601000, "--xp", b"[vsyscall]"),
    make((1 << 64) - PAGE, 1 << 64, "---p"),
)


@pytest.fixture
def store(store: Store) -> Store:
    """Four snapshots: changing, missing and unreadable tables of several processes."""
    touched = (TABLE[0], TABLE[1]._replace(counters=(99, *TABLE[1].counters[1:])), *TABLE[3:])
    odd = process(7, comm=b"\xfe\n", command=b"", exe=b"/x (deleted)", cgroup=b"/c\xff", unit="u.service", uid=1000)
    saved = ProcessInfo(ProcessIdentity("", 0, 0, "saved"), b"sleep", b"sleep\x0060\0")
    contents: list[list[tuple[ProcessInfo, Status, tuple[Mapping, ...] | None]]] = [
        [(process(1), Status.COMPLETE, TABLE), (odd, Status.TORN, in_form(TABLE, "old")), (saved, Status.COMPLETE, in_form(TABLE[:3], "pmap-x"))],
        [(process(1), Status.COMPLETE, touched), (odd, Status.DENIED, None)],
        [(process(1), Status.VANISHED, None), (odd, Status.TIMEOUT, in_form(TABLE, "maps")), (saved, Status.COMPLETE, in_form(TABLE[:3], "pmap-d"))],
        [(process(1), Status.COMPLETE, TABLE), (odd, Status.TIMEOUT, None), (saved, Status.COMPLETE, ())],
    ]
    for number, rows in enumerate(contents):
        captures = tuple(
            Capture(info, status, None if table is None else MappingTable(table), None, None, 3, 4, 5, 6, 7) for info, status, table in rows
        )
        store.write(Snapshot(SnapshotRef(None, DAY_US + number * 1_500_000, "hö", "l" if number else None, "live", 1), captures))
    return store


def clean(value: Any) -> Any:
    """What pandas has in a cell as Python has it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return int(value) if isinstance(value, float) else value


def rows(store: Store, view: str) -> list[dict[str, Any]]:
    # Without these, a column of integers and NULLs, or of PostgreSQL's numerics, becomes floats, and big inodes lose their last digits.
    frame = pd.read_sql(f"SELECT * FROM {view}", store.engine, dtype_backend="numpy_nullable", coerce_float=False)
    return [{str(name): None if value is pd.NA else clean(value) for name, value in row.items()} for row in frame.astype(object).to_dict("records")]


def shown(raw: bytes | None) -> str | None:
    return None if raw is None else printable(decode(raw))


def expected_process(snapshot: Snapshot, capture: Capture) -> dict[str, Any]:
    info = capture.process
    return {
        "snapshot_id": snapshot.ref.id,
        "taken_at": format_moment_utc(snapshot.ref.taken_at_us),
        "host": snapshot.ref.host,
        "label": snapshot.ref.label,
        "selection": snapshot.ref.selection,
        "pid": info.pid,
        "command": printable(info.command_line),
        "comm": shown(info.comm),
    }


def expected_mapping(mapping: Mapping) -> dict[str, Any]:
    values = {counter.attribute: value for counter, value in zip(COUNTERS, mapping.counters, strict=True)}
    return {
        **values,
        "start_hex": f"0x{mapping.start:x}",
        # The end of the highest page does not fit into 64 bits.
        "end_hex": f"0x{mapping.end & 0xFFFFFFFFFFFFFFFF:x}",
        "perms": mapping.perms,
        "offset_hex": None if mapping.offset is None else f"0x{mapping.offset:x}",
        "device": mapping.device,
        "inode": mapping.inode,
        "name": shown(mapping.name),
        "vm_flags": shown(mapping.flags),
        "size_kib": mapping.size_kib,
        "dirty_kib": dirty_kib(mapping.counters),
        "uss_kib": uss_kib(mapping.counters),
    }


def by_address(row: dict[str, Any]) -> tuple[int, int, int]:
    return (row["snapshot_id"], row["pid"], int(row["start_hex"], 16))


def test_mapping_table(store: Store) -> None:
    expected = []
    for summary in store.snapshots():
        snapshot = store.load(summary.ref)
        for capture in snapshot.captures:
            for mapping in () if capture.table is None else capture.table.mappings:
                expected.append({**expected_process(snapshot, capture), **expected_mapping(mapping)})
    found = sorted(rows(store, "mapping_table"), key=by_address)
    assert len(found) == len(expected) == 5 + 5 + 3 + 4 + 5 + 3 + 5
    for row, wanted in zip(found, sorted(expected, key=by_address), strict=True):
        assert isinstance(row.pop("process_id"), int)
        if row["inode"] is not None:
            # Inodes of more than 63 bits come as text from SQLite, and as a Decimal from PostgreSQL.
            row["inode"] = int(row["inode"])
        assert row == wanted


def test_process_table(store: Store) -> None:
    expected = []
    for summary in store.snapshots():
        snapshot = store.load(summary.ref)
        for capture in snapshot.captures:
            info, sums = capture.process, capture.totals
            wanted = expected_process(snapshot, capture) | {
                "exe": shown(info.exe),
                "uid": info.uid,
                "cgroup": shown(info.cgroup),
                "unit": info.unit,
                "status": capture.status.value,
                "threads": capture.threads,
                "vm_hwm_kib": capture.vm_hwm_kib,
                "cgroup_limit_bytes": capture.cgroup_limit_bytes,
                "cgroup_usage_bytes": capture.cgroup_usage_bytes,
                "read_us": capture.read_us,
                "mappings": None if sums is None else sums.mappings,
            }
            expected.append(wanted | {name: None if sums is None else sums.get(name) for name in FIGURES})
    found = sorted(rows(store, "process_table"), key=lambda row: (row["snapshot_id"], row["pid"]))
    expected.sort(key=lambda row: (row["snapshot_id"], row["pid"]))
    assert len(found) == len(expected) == 11
    for row, wanted in zip(found, expected, strict=True):
        assert isinstance(row.pop("process_id"), int)
        assert row == {name: value for name, value in wanted.items() if name in row}
        assert {"rss_kib", "pss_kib", "dirty_kib", "uss_kib", "footprint_kib", "size_kib", "mappings", "status"} <= row.keys()


def test_the_columns_that_are_promised(store: Store) -> None:
    """design.md §6."""
    promised = """snapshot_id taken_at host pid command start_hex end_hex perms offset_hex device inode name size_kib rss_kib pss_kib
        shared_clean_kib shared_dirty_kib private_clean_kib private_dirty_kib referenced_kib anonymous_kib swap_kib dirty_kib"""
    frame = pd.read_sql("SELECT * FROM mapping_table WHERE snapshot_id = 1 AND pid = 1", store.engine)
    assert set(promised.split()) <= set(frame.columns)
    assert frame["rss_kib"].sum() == 20
