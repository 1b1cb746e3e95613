"""pmap's output as it arrives in tickets and mails: cut, quoted, with tabs, between prompts."""

import re
from pathlib import Path

import pytest

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, parse_saved

SAVED = Path(__file__).parents[1] / "data" / "saved" / "pmap"
NAMES = ["default", "p", "x", "xp", "xq", "d", "dq", "X", "XX", "C"]


def text(name: str) -> bytes:
    return (SAVED / "4.0.2" / f"{name}.txt").read_bytes()


def lines_of(name: str) -> list[bytes]:
    return text(name).splitlines(keepends=True)


def one(data: bytes, *, partial: bool = False) -> SavedTable:
    (table,) = parse_saved(data, "f", partial=partial)
    return table


@pytest.mark.parametrize("name", NAMES)
def test_tabs_in_the_place_of_blanks(name: str) -> None:
    expected = one(text(name))
    # Names keep theirs; anonymous memory has lost one of its blanks.
    lines = [re.match(rb"(?s)(.*?)(\S*\n)", line).groups() if b"two  spaces" not in line else (line, b"") for line in lines_of(name)]  # type: ignore[union-attr]
    data = b"".join(re.sub(rb"(?<=[0-9a-zK:-]) +(?=[0-9a-z/:-]+( |$))", b"\t", head) + tail for head, tail in lines)
    assert data.count(b"\t") > 60
    found = one(data)
    assert [mapping._replace(name=b"") for mapping in found.table.mappings] == [mapping._replace(name=b"") for mapping in expected.table.mappings]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mark", [b"> ", b"    ", b">> ", b"\t"])
def test_a_quotation(name: str, mark: bytes) -> None:
    expected = one(text(name))
    found = one(b"Hello,\n\n" + b"".join(mark + line for line in lines_of(name)) + b"\nany idea?\n")
    assert found.table == expected.table
    assert found.warnings[: len(expected.warnings)] == expected.warnings


@pytest.mark.parametrize("name", NAMES)
def test_prompts_and_fences(name: str) -> None:
    expected = one(text(name))
    found = one(b"```console\n$ date\nMon Nov 23 09:30:00 UTC 2026\n$ pmap -x 15026\n" + text(name) + b"$ \n```\nMany thanks!\n")
    assert (found.table, found.pid) == (expected.table, 15026)
    assert found.taken_at_us is not None
    (said,) = [warning for warning in found.warnings if "no part of a table" in warning]
    assert said.startswith("4 lines that are no part of a table were left out, the first is line 2: '$ date'")


@pytest.mark.parametrize("name", NAMES)
def test_every_other_line_is_blank(name: str) -> None:
    assert one(text(name).replace(b"\n", b"\n\n")) == one(text(name))


def row_numbers(name: str) -> list[int]:
    return [number for number, line in enumerate(lines_of(name)) if re.match(rb" *[0-9a-f]{8,16} .*[a-z-]", line) and b"KB" not in line]


@pytest.mark.parametrize("name", ["default", "xq", "x", "d", "X", "XX"])
@pytest.mark.parametrize("lost", [3, 6, 9, 13])
def test_a_beginning_that_was_cut_off_is_told(name: str, lost: int) -> None:
    lines, first = lines_of(name), row_numbers(name)[0]
    expected = one(text(name)).table.mappings[1:]
    # The blanks before the address of -X are none of the digits.
    found = one(b"ticket 12\n\n" + lines[first].lstrip(b" ")[lost:] + b"".join(lines[first + 1 :]))
    known = 7 if name not in ("X", "XX") else 8
    assert [mapping[:known] for mapping in found.table.mappings] == [mapping[:known] for mapping in expected]
    assert found.pid is None
    assert found.partial is not None
    assert "the beginning of the table is missing" in found.partial


def test_a_ghost_row_whose_row_was_cut_off_is_no_mapping() -> None:
    lines = (SAVED / "3.3.10" / "x.txt").read_bytes().splitlines(keepends=True)
    found = one(b"".join(lines[3:]))
    assert found.table.mappings == one(b"".join(lines)).table.mappings[1:]
    assert found.partial is not None


@pytest.mark.parametrize("name", ["default", "x", "d", "X", "XX"])
@pytest.mark.parametrize("kept", [5, 12, 16, 18, 23, 25])
@pytest.mark.parametrize("behind", [b"", b"\n", b"\n```\nthanks\n", b"\n\nthanks\n"])
def test_a_last_row_that_was_cut_off_is_told(name: str, kept: int, behind: bytes) -> None:
    lines = lines_of(name)
    last = row_numbers(name)[46]
    expected = one(text(name)).table.mappings[:46]
    # Rows of -X are indented.
    data = b"".join([*lines[:last], lines[last][: kept + (4 if "X" in name else 0)] + behind])
    if not behind:
        # A file that ends so was cut off.
        with pytest.raises(FormatError, match="cut off here"):
            parse_saved(data, "f")
    found = one(data, partial=not behind.strip())
    assert found.table.mappings == expected
    assert found.partial is not None
    assert "is cut off" in found.partial or "is not whole" in found.partial


@pytest.mark.parametrize("name", ["q", "xq", "dq"])
def test_a_name_that_may_be_cut_off_is_told(name: str) -> None:
    data = text(name)[: text(name).index(b"libc.so.6") + 4]
    with pytest.raises(FormatError, match="the last line does not end, nor does the table"):
        parse_saved(data, "f")
    found = one(data, partial=True)
    assert found.table.mappings[-1].name != b"libc"
    assert found.partial is not None


@pytest.mark.parametrize("name", ["default", "x", "d", "X"])
def test_a_footer_that_was_cut_off_is_told(name: str) -> None:
    data = text(name).rstrip(b" KB\n")[:-2]
    with pytest.raises(FormatError, match="cut off here"):
        parse_saved(data, "f")
    found = one(data, partial=True)
    assert found.table == one(text(name)).table
    assert found.partial is not None
    assert "is not whole" in found.partial or "is cut off" in found.partial


@pytest.mark.parametrize("name", ["default", "xq", "x", "d", "X", "XX"])
def test_a_line_within_that_is_no_row_is_damage(name: str) -> None:
    lines = lines_of(name)
    for broken in (b"pmap: out of memory\n", lines[30][:20] + b"\n", lines[30].replace(b"r", b"q").replace(b"rw", b"qw").replace(b"-", b"q")):
        with pytest.raises(FormatError) as caught:
            parse_saved(b"".join([*lines[:30], broken, *lines[31:]]), "f")
        assert caught.value.line == 31
        (found,) = parse_saved(b"".join([*lines[:30], broken, *lines[31:]]), "f", partial=True)
        assert found.table.mappings == one(text(name)).table.mappings[: len(found.table.mappings)]
        assert found.partial is not None


def test_rows_of_two_processes_one_behind_the_other() -> None:
    first, second = (SAVED / "4.0.2" / "default-two-pids.txt").read_bytes().split(b"16428:")
    whole = parse_saved(first + b"16428:" + second, "f")
    rows = [re.sub(rb"(?m)^(\d+:.*|   .*| total.*)\n", b"", part) for part in (first, second)]
    # An address space ends with the stack.
    tables = parse_saved(b"".join(rows), "f")
    assert [[mapping[:3] for mapping in each.table.mappings] for each in tables] == [
        [mapping[:3] for mapping in each.table.mappings] for each in whole
    ]
    with pytest.raises(FormatError, match="goes backwards"):
        parse_saved(b"".join(rows).replace(b"[ stack ]", b"[ anon ]"), "f")


def test_tables_of_several_forms_in_one_text() -> None:
    tables = parse_saved(b"".join(text(name) for name in NAMES), "f")
    expected = [one(text(name)) for name in NAMES]
    assert [(table.form, table.table) for table in tables] == [(table.form, table.table) for table in expected]
