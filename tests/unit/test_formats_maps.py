import time
from pathlib import Path

import pytest
from damaged import maps_of
from hypothesis import given
from hypothesis import strategies as st
from saved_samples import sample

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.formats.smaps import render_header

FROZEN = Path(__file__).parents[1] / "data" / "redis-frozen"
ROW = b"562bd0666000-562bd06c0000 rw-p 001ed000 fe:00 2170885                    /usr/bin/redis-check-rdb\n"
UNNAMED = b"562bd06c0000-562bd06df000 rw-p 00000000 00:00 0 \n"
HIGH = b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"


def given_back(data: bytes) -> bytes:
    (table,) = parse_saved(data, "f", "maps")
    return b"".join(render_header(mapping) + b"\n" for mapping in table.table.mappings)


def outcome(data: bytes) -> list[SavedTable] | FormatError:
    try:
        return parse_saved(data, "f", "maps")
    except FormatError as error:
        return error


def is_maps(data: bytes) -> bool:
    try:
        return {table.form for table in parse_saved(data, "f")} == {"maps"}
    except FormatError:
        return False


def test_a_table_and_back() -> None:
    data = (FROZEN / "maps.txt").read_bytes()
    (table,) = parse_saved(data, "saved")
    assert (table.form, table.source, table.pid, table.command, table.warnings) == ("maps", "saved", None, None, ())
    assert all(mapping.header is None for mapping in table.table.mappings)
    first, last = table.table.mappings[0], table.table.mappings[-1]
    assert first[:7] == (0x562BD0478000, 0x562BD04D7000, "r--p", 0, "fe:00", 2170885, b"/usr/bin/redis-check-rdb")
    assert (last.start, last.name) == (0xFFFFFFFFFF600000, b"[vsyscall]")
    assert given_back(data) == data


def test_the_smaps_of_the_same_moment_has_the_same_rows() -> None:
    tables = [parse_saved((FROZEN / name).read_bytes(), name)[0] for name in ("maps.txt", "smaps.txt")]
    maps, smaps = ([mapping[:7] for mapping in table.table.mappings] for table in tables)
    assert maps == smaps


@pytest.mark.parametrize(
    "data",
    [
        ROW + UNNAMED + HIGH,
        ROW[:-1] + b" (deleted)  \n",
        ROW[:-1] + b"\r\n" + UNNAMED,
        ROW[:73] + b"/tmp/a\\012b\tc \xff \x1b[0m\x0b\x0c\x1c\x85\n",
        ROW[:73] + b"x" * 6000 + b"\n",
        UNNAMED[:-2] + b"\n",
        b"562bd06c0000-562bd06df000 rw-p 00000000 00:00 0 [heap]\n",
        b"00400000-0040b000 r-xp 00000000 103:05 18446744073709551615 /a\n",
        b"0400000000000000-0400000000001000 r-xp 123456789abcdef0 fe:00 1             /pushed/on\n",
    ],
)
def test_any_row_is_given_back(data: bytes) -> None:
    assert given_back(data) == data


def test_other_line_ends() -> None:
    data = (FROZEN / "maps.txt").read_bytes()
    (expected,) = parse_saved(data, "f")
    assert parse_saved(data.replace(b"\n", b"\r\n"), "f") == [expected]
    (cut,) = parse_saved(data.removesuffix(b"\n"), "f")
    assert cut.table == expected.table
    assert cut.warnings == ("the last line does not end: the end may be missing",)


def test_what_glibc_prints_when_it_aborts() -> None:
    (found,) = parse_saved(sample("glibc/abort.txt"), "f")
    assert (found.form, found.table, found.partial) == ("maps", maps_of("worker").table, None)
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("7 lines that are no part of a table were left out, the first is line 1:")


def test_offsets_of_old_kernels() -> None:
    # Up to 2.6.2x that of anonymous memory is its address.
    data = b"00b8d000-00b8e000 rw-p 00b8d000 00:00 0 \nbfbbe000-bfbd3000 rw-p bfbbe000 00:00 0          [stack]\n"
    assert given_back(data) == data
    (found,) = parse_saved(data, "f")
    assert [(mapping.offset, mapping.is_file) for mapping in found.table.mappings] == [(0xB8D000, False), (0xBFBBE000, False)]


def test_overlapping_rows_are_told() -> None:
    (table,) = parse_saved(ROW + UNNAMED.replace(b"562bd06c0000-", b"562bd0667000-"), "f")
    assert len(table.table.mappings) == 2
    assert "overlap" in table.warnings[0]


def test_one_row_is_enough() -> None:
    assert is_maps(ROW)
    assert is_maps(UNNAMED)


def test_what_is_not_maps() -> None:
    for data in (b"", b"\n", b"\x7fELF", ROW + b"Size:   4 kB\n", ROW + b"Rss:    4 kB\n", b'{"a": 1}', b"400000-401000\n"):
        assert not is_maps(data)
    assert not is_maps((FROZEN / "smaps.txt").read_bytes())
    assert not is_maps((FROZEN / "smaps_rollup.txt").read_bytes())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (ROW, "address goes backwards: more than one table in this file?"),
        (b"00400000-00401000 rw-p 00000000 00:00 0 \n", "address goes backwards: more than one table in this file?"),
        (b"562bd06df000-562bd06c0000 rw-p 00000000 00:00 0 \n", "not a row"),
        (b"562bd06c0000-562bd06df000 rw-p 00000\n", "not a row"),
        (b"562bd06c0000-562bd06df000 rw-p 00000000 00:00 " + b"9" * 1_000_000 + b" \n", "not a row"),
        (b"\x1b[2J\xff\x00\n", "not a row"),
        (b"Size;                 4 kB\n", "not a row"),
    ],
    ids=range(7),
)
def test_broken_lines(line: bytes, reason: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_saved(ROW + line + HIGH, "saved", "maps")
    assert caught.value.line == 2
    assert reason in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_nothing_at_all() -> None:
    for data in (b"\n", b"Nothing.\n", ROW + b"Size:                 4 kB\n"):
        with pytest.raises(FormatError):
            parse_saved(data, "f", "maps")


@pytest.mark.parametrize("filling", [b" ", b"0", b"a", b"\r", b"\xff"])
@pytest.mark.parametrize("beginning", [b"", ROW[:12], ROW[:40], ROW[:73], ROW[:-1]])
def test_long_lines_take_linear_time(beginning: bytes, filling: bytes) -> None:
    line = beginning + filling * 1_000_000
    began = time.process_time()
    is_maps(line)
    outcome(line)
    assert time.process_time() - began < 2


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 90))
def test_mutations_raise_nothing_else(inserted: bytes, position: int, removed: int) -> None:
    text = (ROW + UNNAMED + HIGH) * 2
    mutated = text[:position] + inserted + text[position + removed :]
    result = outcome(mutated)
    assert result
    if isinstance(result, FormatError):
        assert result.line is None or 1 <= result.line <= mutated.count(b"\n") + 1


@given(st.binary(max_size=100).filter(lambda name: b"\n" not in name))
def test_any_name_is_given_back(name: bytes) -> None:
    data = ROW[:73] + name + b"\n" + UNNAMED
    assert given_back(data) == data
