"""Tables in a text: what people paste into a ticket, and what is left of it when it was cut."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.formats.dates import date_in

FROZEN = Path(__file__).resolve().parent.parent / "data/redis-frozen"
SMAPS, MAPS, EXTENDED = ((FROZEN / name).read_bytes() for name in ("smaps.txt", "maps.txt", "pmap-x.txt"))
TEXTS = {"smaps": SMAPS, "maps": MAPS, "pmap-x": EXTENDED}


def only(data: bytes, *, partial: bool = False) -> SavedTable:
    (table,) = parse_saved(data, "f", partial=partial)
    return table


def outcome(data: bytes, *, partial: bool = False) -> tuple[list[SavedTable], FormatError | None]:
    try:
        return parse_saved(data, "f", partial=partial), None
    except FormatError as error:
        return [], error


def each_line(data: bytes, before: bytes) -> bytes:
    return b"".join(before + line for line in data.splitlines(keepends=True))


COPIES: dict[str, Callable[[bytes], bytes]] = {
    "fenced": lambda text: b"It leaks:\n\n```\n$ cat it\n" + text + b"```\n\nWhat now?\n",
    "fenced with a language": lambda text: b"```text\n" + text + b"```\n",
    "jira": lambda text: b"{code:title=it}\n" + text + b"{code}\n",
    "html": lambda text: b"<details><summary>it</summary>\n<pre>\n" + text + b"</pre></details>\n",
    "mail": lambda text: b"On Monday you wrote:\n" + each_line(text, b"> ") + b"Yes.\n",
    "mail of a mail": lambda text: each_line(text, b"> > "),
    "indented": lambda text: b"It leaks:\n\n" + each_line(text, b"    ") + b"\nWhat now?\n",
    "indented by a tab": lambda text: each_line(text, b"\t"),
    "dos": lambda text: text.replace(b"\n", b"\r\n"),
    "utf-16": lambda text: text.decode().encode("utf-16"),
    "coloured": lambda text: b"".join(b"\x1b[01;32m" + line + b"\x1b[0m\x1b[K\n" for line in text.split(b"\n")[:-1]),
    "from a web page": lambda text: text.replace(b" ", b"\xc2\xa0"),
    "blank lines around": lambda text: b"\n\n  \n" + text + b"\n\n",
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("form", TEXTS)
def test_a_copy_is_the_same_table(form: str, copy: str) -> None:
    expected, found = only(TEXTS[form]), only(COPIES[copy](TEXTS[form]))
    assert found.form == form
    assert [(m.start, m.end, m.perms, m.name, m.counters) for m in found.table.mappings] == [
        (m.start, m.end, m.perms, m.name, m.counters) for m in expected.table.mappings
    ]
    assert found.partial is None


@pytest.mark.parametrize("form", ["smaps", "maps"])
def test_tabs_for_blanks(form: str) -> None:
    expected = only(TEXTS[form]).table
    for pattern in (rb" {2,}", rb" +"):
        found = only(re.sub(pattern, b"\t", TEXTS[form])).table
        assert [(m[:7], m.counters) for m in found.mappings] == [(m[:7], m.counters) for m in expected.mappings]


def test_what_stands_behind_a_row_that_was_cut_is_said_to_be_left_out() -> None:
    found = only(MAPS + b"7ffc00000\n```\nBye\nX\n")
    number = MAPS.count(b"\n")
    assert f"line {number + 1} is cut off" in found.warnings[0]
    assert found.warnings[1:] == (f"2 lines that are no part of a table were left out, the first is line {number + 3}: 'Bye'",)


def test_what_is_left_out_is_said_once() -> None:
    found = only(b"Hello,\n\n" + MAPS + b"\nBye\nX\n")
    assert found.warnings == ("3 lines that are no part of a table were left out, the first is line 1: 'Hello,'",)
    found = only(MAPS + b"\x1b[2Jboo\n")
    assert found.warnings == (r"line 119 is no part of a table and was left out: '\x1b[2Jboo'",)
    assert only(b"```\n" + MAPS + b"```\n").warnings == ()


def test_several_tables_in_one_text() -> None:
    forms = [(table.form, len(table.table.mappings)) for table in parse_saved(EXTENDED + b"and\n" + SMAPS + MAPS + b"\n" + MAPS + SMAPS, "f")]
    assert forms == [("pmap-x", 118), ("smaps", 118), ("maps", 118), ("maps", 118), ("smaps", 118)]


def test_the_command_before_a_table_says_whose_it_is() -> None:
    tables = parse_saved(b"root@web1:~# cat /proc/1100/smaps\n" + SMAPS + b"# cat /proc/77/task/78/maps\n" + MAPS + b"$ ls\n" + MAPS, "f")
    assert [table.pid for table in tables] == [1100, 77, None]


def test_a_log_of_a_loop_has_the_times_of_its_dates() -> None:
    text = b"Mon Nov 23 09:50:58 UTC 2026\n" + SMAPS + b"=== 2026-11-23T09:55:58+00:00 ===\n" + MAPS + MAPS + b"1795428058.250\n" + EXTENDED
    start = int(datetime(2026, 11, 23, 9, 50, 58, tzinfo=UTC).timestamp()) * 1_000_000
    tables = parse_saved(text, "f")
    assert [((table.taken_at_us or 0) - start) / 1e6 for table in tables] == [0, 300, 300, 600.25]
    assert [table.warnings for table in tables] == [()] * 4


@pytest.mark.parametrize(
    ("line", "moment"),
    [
        (b"Mon Nov 23 09:50:58 UTC 2026", "2026-11-23T09:50:58+00:00"),
        (b"Mon Nov  2 09:50:58 AM UTC 2026", "2026-11-02T09:50:58+00:00"),
        (b"Mon Nov 23 09:50:58 PM UTC 2026", "2026-11-23T21:50:58+00:00"),
        (b"Mon Nov 23 12:05:00 AM UTC 2026", "2026-11-23T00:05:00+00:00"),
        (b"Mon, 23 Nov 2026 09:50:58 +0100", "2026-11-23T08:50:58+00:00"),
        (b"Mon 23 Nov 2026 09:50:58 PM UTC", "2026-11-23T21:50:58+00:00"),
        (b"2026-11-23 09:50:58Z", "2026-11-23T09:50:58+00:00"),
        (b"2026-11-23T09:50:58,250000-08:00", "2026-11-23T17:50:58.250000+00:00"),
        (b"[2026/11/23 09:50:58 UTC]", "2026-11-23T09:50:58+00:00"),
        (b"1795427458", "2026-11-23T09:50:58+00:00"),
    ],
)
def test_dates(line: bytes, moment: str) -> None:
    found = date_in(line)
    assert found is not None
    assert found == int(datetime.fromisoformat(moment).timestamp() * 1e6)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Monday",
        b"2026-11-23",
        b"2026-13-23 09:50:58",
        b"1960-01-01 00:00:00Z",
        b"2026-11-23 25:50:58",
        b"at 2026-11-23 09:50:58 it was",
        b"9999999999999",
        b"-" * 200,
    ],
)
def test_no_dates(line: bytes) -> None:
    assert date_in(line) is None


@pytest.mark.parametrize("form", TEXTS)
def test_a_line_within_a_table_that_nothing_explains_is_damage(form: str) -> None:
    lines = TEXTS[form].split(b"\n")
    for number in (3, len(lines) // 2, len(lines) - 6):
        text = b"\n".join([*lines[:number], b"!" * 30, *lines[number:]])
        for before in (b"", b"Hello,\n\n"):
            with pytest.raises(FormatError) as caught:
                parse_saved(before + text, "f")
            assert caught.value.line == before.count(b"\n") + number + 1, caught.value


def test_the_part_before_damage_is_to_be_had() -> None:
    lines = SMAPS.split(b"\n")
    text = b"\n".join([*lines[:600], b"!" * 30, *lines[600:]])
    found = only(text, partial=True)
    assert found.table.mappings == only(SMAPS).table.mappings[: 600 // 25]
    assert found.partial is not None
    assert "line 601" in found.partial


@pytest.mark.parametrize("form", TEXTS)
@given(data=st.data())
def test_cut_off_at_any_byte(form: str, data: st.DataObject) -> None:
    """A file that was cut off is refused with the place, or only lacks its last line; what is whole of it is part of the table."""
    text = TEXTS[form]
    whole = only(text).table.mappings
    cut = text[: data.draw(st.integers(1, len(text) - 2))]
    found, error = outcome(cut)
    if error is not None:
        assert error.line is not None
        assert cut.count(b"\n") - 25 <= error.line <= cut.count(b"\n") + 1
    else:
        assert found[0].warnings or found[0].table.mappings == whole
    parts, error = outcome(cut, partial=True)
    if error is not None:
        assert cut.count(b"\n") <= 25
        return
    (part,) = parts
    # Of a row that ends in a name nobody can say whether it is whole.
    assert part.table.mappings[:-1] == whole[: len(part.table.mappings) - 1]
    assert part.warnings or part.table.mappings == whole


@pytest.mark.parametrize("form", TEXTS)
@given(data=st.data())
def test_a_paste_that_begins_and_ends_anywhere(form: str, data: st.DataObject) -> None:
    """Of a table that was marked with the mouse the whole rows are taken, and what was cut is said."""
    text = TEXTS[form]
    whole = {(m.start, m.end, m.name) for m in only(text).table.mappings}
    # A heading is nothing that could be missed.
    start = data.draw(st.integers(text.index(b"562bd0478000") + 1, len(text) // 3))
    end = data.draw(st.integers(2 * len(text) // 3, len(text) - 1))
    found = only(b"```\n" + text[start:end] + b"\n```\n")
    rows = found.table.mappings
    assert len(rows) > 30
    assert {(m.start, m.end, m.name) for m in rows[1:-1]} <= whole
    # Nobody sees where a copy was cut between two lines.
    assert found.warnings or text[start - 1 : start] == b"\n" or not text[start:].partition(b"\n")[0].strip()


def test_two_tables_without_a_line_between_them_need_an_end_of_the_first() -> None:
    rows = MAPS.split(b"\n")
    with pytest.raises(FormatError, match="backwards") as caught:
        parse_saved(b"\n".join([*rows[50:60], *rows[:10], b""]), "f")
    assert caught.value.line == 11
    assert len(parse_saved(b"\n".join([*rows[50:60], b"--", *rows[:10], b""]), "f")) == 2


def test_blank_lines_within_a_table_are_nothing() -> None:
    for text in (MAPS.replace(b"\n", b"\n\n", 40), SMAPS.replace(b"sd \n", b"sd \n\n", 40)):
        assert len(only(text).table.mappings) == 118


def test_android_says_names_in_a_line_of_their_own() -> None:
    header = b"7f0000000000-7f0000002000 rw-p 00000000 00:00 0 \n"
    counters = b"Size:                  8 kB\nRss:                   4 kB\nVmFlags: rd wr \n"
    for text in (header + b"Name:           [anon:libc_malloc]\n" + counters, header + counters + b"Name:           [anon:libc_malloc]\n"):
        (mapping,) = only(text).table.mappings
        assert mapping.name == b"[anon:libc_malloc]"


@given(
    st.lists(
        st.sampled_from(
            [SMAPS[:1400], MAPS[:300], EXTENDED[:400], b"\n", b"```\n", b"> ", b"\t", b"x\n", b"Rss:  4 kB\n", b"==> a <==\n", b"\x1b[m", b"\xff\xfe"]
        ),
        max_size=8,
    )
)
def test_any_text_raises_nothing_else(parts: list[bytes]) -> None:
    for partial in (False, True):
        found, error = outcome(b"".join(parts), partial=partial)
        assert found or str(error).isprintable()
