"""Memory maps in reports of crashes: sanitizers, gdb, Android's tombstones. And texts that look like one and hold none."""

from __future__ import annotations

import pytest
from saved_samples import sample, table

from pmapdiff.errors import FormatError
from pmapdiff.formats import parse_saved
from pmapdiff.model.mapping import UNKNOWN_PERMS

ASAN = sample("sanitizer/asan-rss-limit.txt")
LIVE, CORE = sample("gdb/live.txt"), sample("gdb/core.txt")
TOMBSTONE = sample("android/tombstone-64.txt")


def error_of(data: bytes, *, partial: bool = False) -> FormatError:
    with pytest.raises(FormatError) as caught:
        parse_saved(data, "report", partial=partial)
    return caught.value


@pytest.mark.parametrize(
    ("path", "pid", "rows", "size_kib"),
    [
        ("asan-rss-limit.txt", 10121, 79, 21474939392),
        ("asan-log_exe_name.txt", 10161, 79, 21474939392),
        ("asan-32bit.txt", 10141, 54, 620624),
        ("asan-shadow.txt", 10131, 46, 19092),
    ],
)
def test_sanitizers(path: str, pid: int, rows: int, size_kib: int) -> None:
    saved = table(f"sanitizer/{path}")
    assert (saved.form, saved.pid, len(saved.table.mappings), saved.table.totals.get("size_kib")) == ("sanitizer", pid, rows, size_kib)
    assert saved.partial is None
    assert {(m.perms, m.offset, m.device, m.inode) for m in saved.table.mappings} == {(UNKNOWN_PERMS, None, None, None)}
    assert sum(m.name == b"[stack]" for m in saved.table.mappings) == 1
    names = [m.name for m in saved.table.mappings]
    assert names.count(b"") == sample(f"sanitizer/{path}").count(b"\t\n")
    assert saved.comm == (b"checked" if "exe_name" in path else None)


def test_tabs_become_blanks_in_a_ticket() -> None:
    pasted = b"It died:\n```\n" + b"\n".join(line.replace(b"\t", b"    ").rstrip() for line in ASAN.split(b"\n")) + b"```\nAny idea?\n"
    (saved,) = parse_saved(pasted, "ticket")
    assert saved.table == table("sanitizer/asan-rss-limit.txt").table
    assert saved.partial is None


def test_several_reports_in_one_log() -> None:
    first, second = parse_saved(sample("sanitizer/asan-32bit.txt") + ASAN, "log")
    assert (first.pid, second.pid) == (10141, 10121)


def test_a_memory_map_without_its_end() -> None:
    cut = ASAN[: ASAN.rindex(b"==10121==End")]
    assert "--partial" in str(error_of(cut))
    (saved,) = parse_saved(cut, "report", partial=True)
    assert saved.table == table("sanitizer/asan-rss-limit.txt").table
    assert saved.partial is not None


def test_a_row_that_is_none() -> None:
    lines = ASAN.split(b"\n")
    lines[30] = b"\t0x7fff-what\t/usr/lib"
    error = error_of(b"\n".join(lines))
    assert error.line == 31
    assert "not a row" in error.reason


def test_a_memory_map_that_is_empty() -> None:
    error = error_of(b"==7==ERROR: AddressSanitizer: out of memory\n==7==Process memory map follows:\n==7==End of process memory map.\n")
    assert error.line == 2
    assert "empty" in error.reason
    assert "has no memory map" in error_of(sample("sanitizer/asan-no-map.txt")).reason


def test_gdb_of_a_process() -> None:
    saved = table("gdb/live.txt")
    assert (saved.form, saved.pid, saved.partial) == ("gdb", 4111, None)
    # Newer versions align to the left, and call the last column otherwise.
    left = b"\n".join(b" ".join(line.split(None, 5)) if b" 0x" in line else line for line in LIVE.split(b"\n")).replace(b"objfile", b"File")
    (again,) = parse_saved(left, "log")
    assert [m[:7] for m in again.table.mappings] == [m[:7] for m in saved.table.mappings]


def test_gdb_before_version_12() -> None:
    old = LIVE.replace(b"Perms  ", b"")
    for perms in (b"rw-p", b"r--p", b"r-xp", b"---p", b"rw-s", b"r--s", b"--xp"):
        old = old.replace(b"  " + perms + b" ", b" ")
    (saved,) = parse_saved(old, "log")
    assert {m.perms for m in saved.table.mappings} == {UNKNOWN_PERMS}
    assert [m.name for m in saved.table.mappings] == [m.name for m in table("gdb/live.txt").table.mappings]
    # There is more than files, so that it is a process.
    assert saved.partial is None


def test_gdb_of_a_core_dump_has_only_files() -> None:
    saved = table("gdb/core.txt")
    assert saved.command == b"/srv/demo/bin/worker"
    assert saved.partial is not None
    assert "core dump" in " ".join(saved.warnings)
    live = {m.start: m for m in table("gdb/live.txt").table.mappings}
    for mapping in saved.table.mappings:
        expected = live[mapping.start]
        assert (mapping.end, mapping.offset, mapping.name, mapping.perms) == (expected.end, expected.offset, expected.name, UNKNOWN_PERMS)


def test_gdb_with_a_size_that_is_not_that_of_the_addresses() -> None:
    row = LIVE.split(b"\n")[19]
    error = error_of(LIVE.replace(row, row.replace(b" 0x600000 ", b" 0x700000 ")))
    assert "not a row" in error.reason
    assert error.line == 20


def test_tombstones() -> None:
    saved = table("android/tombstone-64.txt")
    assert (saved.form, saved.pid, saved.uid, saved.command) == ("tombstone", 1744, 10123, b"com.example.notes")
    assert saved.taken_at_us == 1795428588123456
    assert saved.partial is None
    assert saved.table.mappings[9].perms == "---p"
    # A file may be mapped shared or private.
    assert {m.perms[3] for m in saved.table.mappings if m.is_file} == {"?"}
    assert not any(b"BuildId" in m.name for m in saved.table.mappings)


@pytest.mark.parametrize("where", ["before any", "between", "after any"])
def test_a_fault_address_that_is_in_none_of_them(where: str) -> None:
    row = b"    0000007b'1e5c0000"
    line = b"--->Fault address falls at 00000000'00000000 %b mapped regions\n" % where.encode()
    expected = table("android/tombstone-64.txt").table
    if where == "after any":
        data = TOMBSTONE.replace(b"\nopen files", line + b"\nopen files")
    elif where == "between":
        data = TOMBSTONE.replace(row, line + row)
    else:
        data = TOMBSTONE.replace(b": (fault address prefixed with --->)\n", b":\n" + line)
    (saved,) = parse_saved(data.replace(b"--->0", b"    0"), "tombstone")
    assert saved.table == expected
    assert saved.partial is None


def test_what_the_unwinder_knows_is_not_in_the_name() -> None:
    (saved,) = parse_saved(TOMBSTONE.replace(b"7f91)\n    0000007b'9a20c", b"7f91) (load bias 0x1000)\n    0000007b'9a20c"), "tombstone")
    assert saved.table == table("android/tombstone-64.txt").table
    (saved,) = parse_saved(TOMBSTONE.replace(b"[anon:.bss]\n", b" (load bias 0x1000)\n", 1), "tombstone")
    assert saved.table.mappings[6].name == b""


def test_a_tombstone_with_fewer_rows_than_it_says() -> None:
    start = TOMBSTONE.index(b"    0000007b'9b4f2000")
    (saved,) = parse_saved(TOMBSTONE[:start] + TOMBSTONE[TOMBSTONE.index(b"\nopen files") :], "tombstone")
    assert saved.partial is not None
    assert "16 of 19 entries" in saved.partial
    assert "16 of 19 entries" in error_of(TOMBSTONE[:start]).reason
    (saved,) = parse_saved(TOMBSTONE.replace(b"(19 entries)", b"(18 entries)"), "tombstone")
    assert "18 entries, there are 19" in " ".join(saved.warnings)


@pytest.mark.parametrize("path", ["head.numa_maps", "worker.numa_maps", "odd.numa_maps"])
def test_numa_maps_is_not_enough(path: str) -> None:
    error = error_of(sample(f"proc/{path}"))
    assert "numa_maps" in error.reason
    assert "save /proc/PID/smaps" in error.reason
    assert error.line == (2 if path.startswith("head") else 1)
