"""HotSpot's own map of its memory: jcmd System.map, System.dump_map, and what it prints at its end."""

from __future__ import annotations

import time
from typing import Any

import pytest
from damaged import check_cut, outcome
from hypothesis import given
from hypothesis import strategies as st
from saved_samples import sample
from strategies import law

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.model import COUNTER_INDEX, NO_COUNTERS

OFFSETS, RESIDENT, DUMPED = sample("hotspot/jdk22.System.map"), sample("hotspot/jdk25.System.map"), sample("hotspot/vm_memory_map_9531.txt")
HEAD = b"7:\nMemory mappings:\n\n     STACK    (known) Thread Stack\n\nsize          prot offset  What\n"
ROW = b"0x0000000000400000 - 0x0000000000402000        8192  r-xp 00001000    CDS /opt/jre/lib/server/classes.jsa\n"
ANON = b"0x0000000000500000 - 0x0000000000501000        4096  rw-p 00000000    \n"
SMALL = HEAD + ROW + ANON + b"Total: 2 mappings with a total vsize of 12288 (12288B)\n"


def parsed(data: bytes, **options: Any) -> SavedTable:
    (table,) = parse_saved(data, "f", **options)
    return table


def counters(**values: int) -> tuple[int | None, ...]:
    counters = list(NO_COUNTERS)
    for name, value in values.items():
        counters[COUNTER_INDEX[name]] = value
    return tuple(counters)


def test_with_offsets() -> None:
    found = parsed(OFFSETS)
    assert found == SavedTable(found.table, "system-map", "f", pid=8421)
    # It was written from the maps of the process, which grew until it crashed.
    crashed = {(*m[:4], m.name.partition(b" ")[0]) for m in parsed(sample("hotspot/hs_err_pid8421.log")).table.mappings}
    assert len({(*m[:4], m.name) for m in found.table.mappings} ^ crashed) == 4
    assert {(m.device, m.inode, m.counters) for m in found.table.mappings} == {(None, None, NO_COUNTERS)}


def test_with_rss() -> None:
    found, offsets = parsed(RESIDENT), parsed(OFFSETS)
    assert found == SavedTable(found.table, "system-map", "f", pid=8421)
    # JDK 25 leaves out the last mapping, [vsyscall]; and jcmd's own thread needs some memory.
    assert len({(*m[:3], m.name) for m in found.table.mappings} ^ {(*m[:3], m.name) for m in offsets.table.mappings[:-1]}) == 4
    assert {m.offset for m in found.table.mappings} == {None}
    by_name = {m.name: m for m in found.table.mappings}
    assert by_name[b"[stack]"].counters == counters(Rss=28, Private_Hugetlb=0, KernelPageSize=4)
    assert found.table.totals.get("rss_kib") == 52609024 >> 10
    assert b"/srv/demo/data/week" in by_name


def test_a_dump_says_nothing_of_its_process() -> None:
    found = parsed(DUMPED)
    assert found == SavedTable(found.table, "system-map", "f")
    assert len(found.table.mappings) == 165
    assert found.table.totals.get("rss_kib") == 52989952 >> 10
    # What HotSpot uses a mapping for is no name of the kernel's.
    assert not any(mapping.name and mapping.name[:1] not in (b"/", b"[") for mapping in found.table.mappings)


def test_printed_at_exit() -> None:
    found = parsed(b"Hello world\n" + DUMPED + b"Bye\n")
    assert found.table == parsed(DUMPED).table
    assert found.partial is None
    assert [table.pid for table in parse_saved(OFFSETS + RESIDENT.replace(b"8421:", b"8422:", 1), "f")] == [8421, 8422]


@pytest.mark.parametrize(
    ("rest", "name"),
    [
        (b"", b""),
        (b"CDS ", b""),
        (b"CDS CLASS mtNMT", b""),
        (b'STACK(9 "a /b") ', b""),
        (b'STACK(9 "a") /lib/x.so', b"/lib/x.so"),
        (b'STACK(9 "a [b] (c") d") /dev/shm/x', b"/dev/shm/x"),
        (b"[heap]", b"[heap]"),
        (b"INTERN anon_inode:[perf_event]", b"anon_inode:[perf_event]"),
        (b"JAVAHEAP /memfd:\xff\xfe", b"/memfd:\xff\xfe"),
    ],
)
def test_names(rest: bytes, name: bytes) -> None:
    found = parsed(SMALL.replace(b"    CDS /opt/jre/lib/server/classes.jsa", b"    " + rest))
    assert found.table.mappings[0].name == name
    assert bool(found.warnings) is name.startswith(b"/memfd:")


@pytest.mark.parametrize(
    ("row", "values"),
    [
        (b"0x00400000 - 0x00600000    2097152 rw-p    2097152    1048576 2M  thp,huge         JAVAHEAP /x", (2048, 1024, 2048)),
        (b"0x00400000 - 0x00600000    2097152 rw-p          0          0 4K  ", (0, 0, 4)),
        (
            b"0x0000000000400000-0x0000000000600000      2097152 rw-p       8192            0 64K  -                -        -",
            (8, 0, 64),
        ),
        (
            b"0x00400000-0x40000400000 4398046511104rw-p 4398046511104            0 1G   com,thpad        META,STACK-9-a-b                      /x",
            (1 << 32, 0, 1 << 20),
        ),
        (b"0x00400000-0x00600000 2097152 rw-p 0 0 0B - - -", (0, 0, None)),
    ],
)
def test_columns_with_rss(row: bytes, values: tuple[int | None, ...]) -> None:
    (mapping,) = parsed(row + b"\n").table.mappings
    assert tuple(mapping.counters[COUNTER_INDEX[name]] for name in ("Rss", "Private_Hugetlb", "KernelPageSize")) == values
    assert mapping.name == (b"/x" if row.endswith(b"/x") else b"")


def test_builds_that_leave_out_names() -> None:
    row = b"0x00400000 - 0x00600000    2097152 rw-p          0          0 4K  com              \n"
    assert parsed(row).warnings[1:] == ("this JDK leaves out the names of files that it has nothing to say of: unnamed mappings may be files",)
    assert len(parsed(row.replace(b" - ", b"-")).warnings) == 1


def test_sizes_for_people_are_no_sizes() -> None:
    assert parsed(ROW.replace(b"       8192", b"         8K")).table.mappings[0].size_kib == 8
    assert parsed(ROW.replace(b"       8192  ", b"   17592186M")).table.mappings[0].perms == "r-xp"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (SMALL.replace(b"       8192", b"       4096"), 7),
        (SMALL.replace(b"        4096  rw", b"        4097  rw"), 8),
        (SMALL.replace(b"0x0000000000501000        4096", b"0x0000000000500fff        4095"), 8),
        (SMALL.replace(b"0x0000000000501000 ", b"0x0000000000400000 "), 8),
        (SMALL.replace(ANON, ANON + b"nothing\n" + ANON.replace(b"50", b"60", 1).replace(b"501000", b"601000")), 9),
    ],
)
def test_rows_that_cannot_be(data: bytes, line: int) -> None:
    found = outcome(data)
    assert isinstance(found, FormatError)
    assert "not a row of HotSpot's map" in found.reason
    assert found.line == line


def test_footers_are_checked() -> None:
    refused = outcome(SMALL.replace(b"Total: 2", b"Total: 3"))
    assert isinstance(refused, FormatError)
    assert "its footer says 3 mappings, here are 2" in refused.reason
    assert parsed(SMALL.replace(b"Total: 2", b"Total: 3"), partial=True).partial is not None
    assert parsed(SMALL.replace(b"12288 (", b"16384 (")).warnings == ("the footer says 16 KiB of vsize, the rows add up to 12 KiB",)
    assert parsed(DUMPED.replace(b"rss: 52989952", b"rss: 52985856")).warnings == ("the footer says 51744 KiB of rss, the rows add up to 51748 KiB",)
    assert parsed(SMALL[:-1]).warnings == ()


def test_without_a_heading() -> None:
    assert parsed(ROW + ANON).table == parsed(SMALL).table
    assert parsed(ROW + ANON).warnings == ("neither [stack] nor [vdso] is in it: the end may be missing",)
    with pytest.raises(FormatError, match="the last line does not end, nor does the table"):
        parsed(ROW + ANON.rstrip())


@pytest.mark.parametrize("data", [OFFSETS, RESIDENT, DUMPED, SMALL], ids=["22", "25", "dump", "small"])
def test_cut_anywhere(data: bytes) -> None:
    refused, parts = check_cut(data, range(0, len(data) - 1, max(1, len(data) // 200)))
    assert refused > 180
    assert parts > 60


@given(st.integers(0, len(SMALL)), st.integers(0, 60), st.binary(max_size=40), st.booleans())
@law(300)
def test_mutations_raise_nothing_else(position: int, removed: int, inserted: bytes, partial: bool) -> None:
    outcome(SMALL[:position] + inserted + SMALL[position + removed :], partial=partial)


@pytest.mark.parametrize(
    "data",
    [
        b"Memory mappings:\n" * 50_000,
        (b"1:\nMemory mappings:\n" + b"a\n" * 59) * 2_000,
        ROW[:-1] + b' STACK(1 "a")' * 30_000 + b"\n",
        ROW.replace(b"8192", b"1") * 8_000,
        ROW[:40] + b" " * 300_000 + b"\n",
        ROW[:40] + b"1" * 300_000 + b"\n",
        ROW + b"\n" * 300_000,
    ],
    ids=range(7),
)
def test_linear_time(data: bytes) -> None:
    began = time.process_time()
    outcome(data)
    assert time.process_time() - began < 5
