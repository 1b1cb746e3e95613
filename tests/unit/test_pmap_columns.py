"""pmap -X, -XX and -C: columns under the kernel's names."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import law

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.model import COUNTER_INDEX, Mapping

SAVED = Path(__file__).parents[1] / "data" / "saved" / "pmap"
PROCESS = b"7:   a\n"
HEADING = b"         Address Perm   Offset Device   Inode Size  Rss Pss Mapping\n"
ROW = b"    5566661f3000 r--p 00000000  fe:00 1517822    8    4   2 stockd\n"
UNNAMED = b"    7f9b10047000 rw-p 00000000  00:00       0    8    8   8 \n"
FLAGS_HEADING = b"         Address Perm   Offset Device   Inode Size  Rss Pss     VmFlags Mapping\n"


def one(data: bytes) -> SavedTable:
    (table,) = parse_saved(data, "f")
    assert table.form == "pmap-X"
    return table


def counters(mapping: Mapping) -> dict[str, int]:
    return {name: value for name, index in COUNTER_INDEX.items() if (value := mapping.counters[index]) is not None}


def test_a_table() -> None:
    table = one(PROCESS + HEADING + ROW + UNNAMED + b"                                              ==== ==== === \n")
    assert (table.pid, table.command, table.warnings) == (7, b"a", ("no footer: the end may be missing",))
    first, second = table.table.mappings
    assert first[:8] == (0x5566661F3000, 0x5566661F5000, "r--p", 0, "fe:00", 1517822, b"stockd", None)
    assert second[:8] == (0x7F9B10047000, 0x7F9B10049000, "rw-p", 0, "00:00", 0, b"", None)
    assert counters(first) == {"Rss": 4, "Pss": 2}
    assert first.layout is None


def test_totals_are_checked() -> None:
    table = PROCESS + HEADING + ROW + UNNAMED + b"   ==== === ===\n"
    assert one(table + b"  16   12  10 KB \n").warnings == ()
    (warning,) = one(table + b"  20   12  11 KB \n").warnings
    assert warning.startswith("the footer says 20 KiB of Size, the rows add up to 16 KiB (and 1 more column)")
    assert one(table + b"  16   12 KB \n").warnings == ("the footer has 2 figures for 3 columns",)
    # Up to 4.0.3 the totals go on from process to process; afterwards they do not.
    for second in (b"  16   12  10 KB \n", b"  32   24  20 KB \n"):
        tables = parse_saved(table + b"  16   12  10 KB \n" + table + second, "f")
        assert [each.warnings for each in tables] == [(), ()]
    _, last = parse_saved(table + b"  16   12  10 KB \n" + table + b"  31   24  20 KB \n", "f")
    assert last.warnings[0].startswith("the footer says 31 KiB")


@pytest.mark.parametrize(
    ("columns", "row", "expected"),
    [
        (b"Address Perm Size Rss Mapping", b"5566661f3000 r--p 8 4 a", ("r--p", None, None, None, b"a")),
        (b"Address Offset Size Rss Mapping", b"5566661f3000 00001000 8 4 a", ("????", 0x1000, None, None, b"a")),
        (b"Address Inode Size Rss Mapping", b"5566661f3000 77 8 4 a", ("????", None, None, 77, b"a")),
        (b"Address Device Size Rss Mapping", b"5566661f3000 fe:00 8 4 a", ("????", None, "fe:00", None, b"a")),
        (b"Address Perm Device Inode Size Rss Mapping", b"5566661f3000 r--p fe:00 77 8 4 a", ("r--p", None, "fe:00", 77, b"a")),
        (b"Address Size Rss", b"5566661f3000 8 4", ("????", None, None, None, b"")),
        # What looks like an offset is the size of a large mapping if others have a smaller one.
        (b"Address Perm Size Rss Mapping", b"5566661f3000 r--p 8 4 a\n7f8210000000 ---p 104857600 0 b", ("r--p", None, None, None, b"a")),
    ],
)
def test_columns_of_ones_choice(columns: bytes, row: bytes, expected: tuple[object, ...]) -> None:
    mapping = one(PROCESS + b"  " + columns + b" \n" + row + b"\n").table.mappings[0]
    assert (mapping.perms, mapping.offset, mapping.device, mapping.inode, mapping.name) == expected
    assert (mapping.start, mapping.size_kib, counters(mapping)) == (0x5566661F3000, 8, {"Rss": 4})


@pytest.mark.parametrize(
    ("rest", "flags", "name"),
    [
        (b"       rd ex stockd", b" rd ex ", b"stockd"),
        (b"       rd ex", b" rd ex ", b""),
        (b"             stockd", b" ", b"stockd"),
        # A name of two letters is no flag.
        (b"       rd ex ex", b" rd ex ", b"ex"),
        (b"       rd ex ex is it", b" rd ex ", b"ex is it"),
        (b"       rd ??   blanks", b" rd ?? ", b"  blanks"),
    ],
)
def test_flags_end_where_they_end_in_other_rows(rest: bytes, flags: bytes, name: bytes) -> None:
    rows = [
        ROW.replace(b" stockd", rest),
        UNNAMED.replace(b" \n", b" rd wr mr mw\n"),
        UNNAMED.replace(b"10047", b"10057").replace(b" \n", b"       rd wr a\n"),
    ]
    mappings = one(PROCESS + FLAGS_HEADING + b"".join(rows)).table.mappings
    assert [(mapping.flags, mapping.name) for mapping in mappings] == [(flags, name), (b" rd wr mr mw ", b""), (b" rd wr ", b"a")]


def test_columns_that_nobody_knows_are_left_out_and_named() -> None:
    data = PROCESS + HEADING.replace(b"Rss Pss", b"Rss Novel Pss Brand_New") + ROW.replace(b"4   2", b"4 999 2 777")
    table = one(data)
    assert counters(table.table.mappings[0]) == {"Rss": 4, "Pss": 2}
    assert table.table.mappings[0].name == b"stockd"
    assert table.warnings[-1] == "left out, because this version does not know what they are: Novel, Brand_New"


@pytest.mark.parametrize("name", ["4.0.2/X.txt", "4.0.2/XX.txt", "3.3.12/XX.txt", "3.3.10/XX-small.txt", "redis"])
def test_without_headings_the_first_columns_are_known_by_their_place(name: str) -> None:
    path = SAVED / name if name != "redis" else SAVED.parents[1] / "redis-frozen" / "pmap-XX.txt"
    lines = path.read_bytes().splitlines(keepends=True)
    expected, found = one(b"".join(lines)), one(b"".join([lines[0], *lines[2:-2]]))
    for mine, whole in zip(found.table.mappings, expected.table.mappings, strict=True):
        assert mine[:8] == whole[:8]
        known = ("Rss", "Pss", "KernelPageSize", "MMUPageSize") if "XX" in path.name else ("Rss", "Pss")
        assert counters(mine) == {key: value for key, value in counters(whole).items() if key in known}
    (warning,) = found.warnings
    assert "without a name left out" in warning


def test_without_headings_nothing_is_known_of_columns_that_cannot_be_those() -> None:
    # As of a kernel whose second column is not Rss: more than the size.
    (mapping,) = one(PROCESS + ROW.replace(b"8    4   2", b"8   12   2")).table.mappings
    assert (mapping.size_kib, counters(mapping)) == (8, {})


def test_without_a_size_there_are_only_sums() -> None:
    table = one(PROCESS + b"  Address Perm Rss Mapping\n5566661f3000 r--p 4 a\n5566661f4000 r--p 4 a\n5566661f5000 rw-p 8 b\n")
    assert [(mapping.name, mapping.is_sum, counters(mapping)) for mapping in table.table.mappings] == [
        (b"a", True, {"Rss": 8}),
        (b"b", True, {"Rss": 8}),
    ]
    assert "no column Size" in table.warnings[1]


def test_names_that_may_be_cut_off_are_counted() -> None:
    name = b"/" + b"a" * 126
    assert "1 name of 127 bytes may be cut off" in one(PROCESS + HEADING + ROW.replace(b"stockd", name) + UNNAMED).warnings[1]
    assert len(one(PROCESS + HEADING + ROW.replace(b"stockd", name[:-1])).warnings) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (ROW.replace(b" 8 ", b" 9 "), "whole number of pages"),
        (ROW.replace(b" 8 ", b" 0 "), "whole number of pages"),
        (ROW.replace(b"    5566661f3000", b"fffffffffffff000"), "beyond 64 bits"),
        (ROW.replace(b"3000", b"3001"), "whole number of pages"),
        (ROW.replace(b"    4", b" 4x"), "neither a row"),
        (ROW.replace(b"   2", b""), "neither a row"),
        (ROW.replace(b"    4", b" " + b"9" * 30), "neither a row"),
        (ROW.replace(b"1f3", b"1e3"), "backwards"),
    ],
    ids=range(8),
)
def test_broken_rows(row: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason) as caught:
        parse_saved(PROCESS + HEADING + ROW.replace(b"1f3", b"1f2").replace(b" 8 ", b" 4 ") + row + UNNAMED, "f")
    assert caught.value.line == 4


def test_a_heading_of_other_columns_than_the_rows_have() -> None:
    with pytest.raises(FormatError, match="do not fit their headings"):
        parse_saved(PROCESS + HEADING + ROW.replace(b"4   2 stockd", b"") + UNNAMED.replace(b"8   8 ", b""), "f")


def test_the_table_of_a_process_does_not_take_that_of_the_next() -> None:
    whole = (SAVED / "4.0.2/X-two-pids.txt").read_bytes()
    shifted = re.sub(rb"(?m)^ *(?=f7|ff98|56|57)", b"", whole)
    assert [each.table for each in parse_saved(shifted, "f")] == [each.table for each in parse_saved(whole, "f")]


@law(200)
@given(st.binary(max_size=60).filter(lambda name: b"\n" not in name and b"\r" not in name and not name.startswith((b" ", b"\t"))))
def test_any_name_is_kept(name: bytes) -> None:
    if not name.strip(b" \t"):
        name = b""
    first, second, last = one(PROCESS + HEADING + ROW.replace(b"stockd", name) + UNNAMED + UNNAMED.replace(b"47000 ", b"57000 ")).table.mappings
    assert (first.name, second.name, last.name) == (name, b"", b"")
