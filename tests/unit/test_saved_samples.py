"""One frozen process, all its forms: their tables agree wherever they share a column."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import pytest
from saved_samples import SAVED, smaps_of_worker, table, tables

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable
from pmapdiff.model import COUNTERS, Mapping, MappingTable
from pmapdiff.model.mapping import UNKNOWN_PERMS

WORKER = smaps_of_worker()
BY_START = {mapping.start: mapping for mapping in WORKER.mappings}
SMAPS_32 = table("android/android-32-kernel-3.10.smaps").table
SMAPS_64 = table("android/android-64-kernel-4.14.smaps").table

# Files with a row for each mapping of it, the columns that they have, and how their words differ from the kernel's.
WITH_ADDRESSES = {
    "gdb/live.txt": {"perms", "offset", "name"},
    "psutil/ungrouped-dicts.json": {"perms", "name"},
    "psutil/ungrouped-lists.json": {"perms", "name"},
    "psutil/as_dict-ungrouped.json": {"perms", "name"},
    "showmap/worker.showmap-a.txt": {"name"},
    "showmap/worker.showmap-av.txt": {"perms", "name"},
    "showmap/worker.showmap-av.csv": {"perms", "name"},
    "showmap/worker.showmap-av.json": {"perms", "name"},
    "proc/worker.maps": {"perms", "offset", "device", "inode", "name"},
    "apport/_srv_demo_bin_worker.0.crash": {"perms", "offset", "device", "inode", "name"},
    "glibc/abort.txt": {"perms", "offset", "device", "inode", "name"},
    "systemd-coredump/worker.export": {"perms", "offset", "device", "inode", "name"},
    "systemd-coredump/worker.json": {"perms", "offset", "device", "inode", "name"},
    "systemd-coredump/worker.verbose": {"perms", "offset", "device", "inode", "name"},
    "proc/grep-Hn.maps": {"perms", "offset", "device", "inode", "name"},
    "proc/grep-H.smaps": {"perms", "offset", "device", "inode", "name"},
    "smemcap/smem.tar": {"perms", "offset", "device", "inode", "name"},
}
SUMS = [
    "psutil/grouped-dicts.json",
    "psutil/grouped-lists.json",
    "psutil/as_dict.json",
    "showmap/worker.showmap.txt",
    "showmap/worker.showmap-v.txt",
    "showmap/worker.showmap.csv",
    "showmap/worker.showmap.json",
]


def perms_may_be(one: str, other: str) -> bool:
    return one == UNKNOWN_PERMS or all(a in ("?", b) for a, b in zip(one, other, strict=True))


def words_of(saved: SavedTable, name: bytes) -> bytes:
    """A kernel's name in the words of a form."""
    # psutil takes the mark off where no such file is there.
    return name.removesuffix(b" (deleted)") if saved.form == "psutil" else name


def assert_counters_agree(mapping: Mapping, expected: Mapping) -> int:
    known = [(counter.kernel, a, b) for counter, a, b in zip(COUNTERS, mapping.counters, expected.counters, strict=True) if a is not None]
    assert [a for _, a, _ in known] == [b for _, _, b in known], known
    return len(known)


@pytest.mark.parametrize("path", WITH_ADDRESSES)
def test_a_row_for_each_mapping(path: str) -> None:
    saved = table(path)
    columns = WITH_ADDRESSES[path]
    assert saved.partial is None
    assert saved.pid in (4111, None)
    assert [(m.start, m.end) for m in saved.table.mappings] == [(m.start, m.end) for m in WORKER.mappings]
    counted = 0
    for mapping in saved.table.mappings:
        expected = BY_START[mapping.start]
        assert perms_may_be(mapping.perms, expected.perms)
        assert ("perms" in columns) == (mapping.perms != UNKNOWN_PERMS)
        for column in ("offset", "device", "inode"):
            assert getattr(mapping, column) == (getattr(expected, column) if column in columns else None)
        assert mapping.name == words_of(saved, expected.name)
        counted += assert_counters_agree(mapping, expected)
    # A form that has counters has them of every mapping.
    assert counted % len(WORKER.mappings) == 0
    if path.startswith(("psutil", "showmap")):
        assert counted >= 9 * len(WORKER.mappings)


def sums_by_name(mappings: Iterable[Mapping], saved: SavedTable) -> dict[bytes, tuple[int, list[Mapping]]]:
    groups: dict[bytes, list[Mapping]] = defaultdict(list)
    for mapping in mappings:
        groups[words_of(saved, mapping.name)].append(mapping)
    return {name: (sum(m.size_kib for m in group), group) for name, group in groups.items()}


@pytest.mark.parametrize("path", SUMS)
def test_sums_over_the_mappings_of_each_name(path: str) -> None:
    saved = table(path)
    assert saved.table.has_sums
    expected = sums_by_name(WORKER.mappings, saved)
    assert {m.name: m.size_kib for m in saved.table.mappings} == {name: size for name, (size, _) in expected.items()}
    assert len(saved.table.mappings) == len(expected)
    counted = 0
    for row in saved.table.mappings:
        for number, value in enumerate(row.counters):
            if value is not None:
                assert value == sum(m.counters[number] or 0 for m in expected[row.name][1]), COUNTERS[number].kernel
                counted += 1
    assert counted >= 9 * len(expected)


@pytest.mark.parametrize(
    ("path", "smaps"),
    [
        ("android/tombstone-32.txt", SMAPS_32),
        ("android/tombstone-64.txt", SMAPS_64),
        ("showmap/android-5.showmap-a.txt", SMAPS_32),
        ("showmap/android-10.showmap-av.txt", SMAPS_64),
    ],
)
def test_android_with_addresses(path: str, smaps: MappingTable) -> None:
    mappings = table(path).table.mappings
    assert [(m.start, m.end) for m in mappings] == [(m.start, m.end) for m in smaps.mappings]
    for mapping, expected in zip(mappings, smaps.mappings, strict=True):
        assert mapping.name == expected.name
        assert perms_may_be(mapping.perms, expected.perms)
        assert mapping.offset in (None, expected.offset)
        assert_counters_agree(mapping, expected)


@pytest.mark.parametrize(
    ("path", "number", "smaps"),
    [
        ("showmap/android-2.3.showmap.txt", 0, SMAPS_32),
        ("showmap/android-5.showmap.txt", 0, SMAPS_32),
        ("showmap/android-5.showmap-v.txt", 0, SMAPS_32),
        ("showmap/android-10.showmap.txt", 0, SMAPS_64),
        ("showmap/android-10.bugreport.txt", 0, SMAPS_64),
        ("showmap/android-10.bugreport.txt", 1, SMAPS_32),
    ],
)
def test_android_sums(path: str, number: int, smaps: MappingTable) -> None:
    saved = tables(path)[number]
    assert saved.table.has_sums
    assert saved.table.totals.figures[:2] == smaps.totals.figures[:2]
    assert saved.table.totals.get("pss_kib") == smaps.totals.get("pss_kib")
    # showmap counts the memory behind a library as part of it.
    names = {m.name for m in smaps.mappings if m.name} | {b""} & {m.name for m in saved.table.mappings}
    assert {m.name for m in saved.table.mappings} == names


def outcome_of(path: str) -> list[SavedTable] | FormatError:
    try:
        return tables(path)
    except FormatError as error:
        return error


def test_no_sample_is_a_bug() -> None:
    """Every file there is can be read, or is refused in one line."""
    seen = 0
    for path in sorted(SAVED.rglob("*")):
        if path.is_file():
            seen += 1
            outcome = outcome_of(str(path.relative_to(SAVED)))
            if isinstance(outcome, FormatError):
                assert str(outcome).isprintable()
                assert len(str(outcome)) < 400
            else:
                # Of a kernel thread, and where it may not look, pmap prints no row.
                assert all(saved.table.mappings or saved.form.startswith("pmap") for saved in outcome)
    assert seen > 60
