"""The smaps parser: what it makes of single texts, and how it refuses what is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from strategies import counters_of

from pmapdiff.errors import FormatError
from pmapdiff.formats import parse_saved
from pmapdiff.formats.smaps import SmapsParser, parse_header, render_header, render_smaps
from pmapdiff.model import Mapping

FROZEN = Path(__file__).parents[1] / "data" / "redis-frozen" / "smaps.txt"
HEADER = b"7f0000000000-7f0000002000 rw-p 00001000 fe:00 77"
LINES = b"Size:                  8 kB\nRss:                   4 kB\nVmFlags: rd wr \n"


def line(name: bytes) -> bytes:
    return (HEADER + b" ").ljust(72) + b" " + name + b"\n"


def one(text: bytes) -> Mapping:
    (mapping,) = SmapsParser().parse(text)
    assert render_smaps([mapping]) == text
    return mapping


def test_a_mapping() -> None:
    mapping = one(line(b"/usr/lib/x.so") + LINES)
    assert mapping[:8] == (0x7F0000000000, 0x7F0000002000, "rw-p", 0x1000, "fe:00", 77, b"/usr/lib/x.so", b" rd wr ")
    assert mapping.counters == counters_of(rss=4)
    assert (mapping.size_kib, mapping.extra, mapping.header) == (8, (), None)


def test_a_frozen_process() -> None:
    """Numbers counted with grep and awk from the file itself."""
    text = FROZEN.read_bytes()
    (saved,) = parse_saved(text, "f")
    assert saved.form == "smaps"
    for label, figure in ((b"Size", "size_kib"), (b"Rss", "rss_kib"), (b"Pss", "pss_kib"), (b"Anonymous", "anonymous_kib"), (b"Swap", "swap_kib")):
        printed = sum(int(row.split()[1]) for row in text.split(b"\n") if row.startswith(label + b":"))
        assert saved.table.totals.get(figure) == printed
    assert saved.table.totals.mappings == text.count(b"\nVmFlags:")


@pytest.mark.parametrize(
    "name", [b"[heap]", b"/a b  c ", b"/x (deleted)", b"/lit\\012eral", b"/\xff\xfe", b"/\r", b"/" + b"y" * 6200, b"/ 7f-8f r", b"anon_inode:[x]"]
)
def test_names_are_kept_as_they_are(name: bytes) -> None:
    assert one(line(name) + LINES).name == name


@pytest.mark.parametrize("gap", [b"", b" ", b"   ", b"\t"])
def test_headers_in_another_form_are_kept_verbatim(gap: bytes) -> None:
    text = HEADER + gap + (b"/x" if gap else b"") + b"\n" + LINES
    if gap == b"\t":
        with pytest.raises(FormatError):
            SmapsParser().parse(text)
        return
    mapping = one(text)
    assert mapping.name == (b"/x" if gap else b"")
    assert render_header(mapping) == text.split(b"\n")[0]


@pytest.mark.parametrize(
    ("rest", "extra"),
    [
        (b"New_Counter:          12 kB\n", (12,)),
        (b"NewFlag:               1\n", (1,)),
        (b"Name:           [anon:x]\n", (b"           [anon:x]",)),
        (b"Odd: 007\nOther:1\n", (b" 007", 1)),
        (b"Empty:\n", (b"",)),
        (b"Percent: 5% %d %b\n", (b" 5% %d %b",)),
        (b"Huge:           1234567890123456789012345 kB\n", (b"           1234567890123456789012345 kB",)),
    ],
)
def test_counters_that_nobody_knows(rest: bytes, extra: tuple[int | bytes, ...]) -> None:
    assert one(line(b"/x") + b"Size:                  8 kB\n" + rest + b"VmFlags: rd \n").extra == extra


@pytest.mark.parametrize(
    ("text", "number", "said"),
    [
        (b"garbage\n", 1, "not the first line"),
        (LINES, 1, "not the first line"),
        (line(b"/x"), 1, "without counters"),
        (line(b"/x") + b"garbage\n", 2, "neither a mapping nor a counter"),
        (line(b"/x") + LINES + b"\n", 5, "neither a mapping nor a counter"),
        (line(b"/x") + b"Size:                  8 kB\nRss:                   4 MB\n", 3, "Rss has no value in kB"),
        (line(b"/x") + b"Size:                  8 kB\nRss:                     kB\n", 3, "Rss has no value in kB"),
        (line(b"/x") + b"Rss:                   4 kB\nRss:                   4 kB\n", 3, "stands twice"),
        (line(b"/x") + b"Size:                 80 kB\n", 2, "Size is 80 kB, but the addresses span 8 KiB"),
        (line(b"/x") + LINES[:-1], 4, "ends in the middle of a line"),
        (line(b"/x") + LINES + line(b"/x")[:40], 5, "ends in the middle of a line"),
        (line(b"/x").replace(b"7f0000002000", b"7f0000000000") + LINES, 1, "not the first line"),
        (line(b"/x").replace(b" 77", b" 18446744073709551616") + LINES, 1, "not the first line"),
        (line(b"/x").replace(b"7f00", b"8f00") + LINES + line(b"/x") + LINES, 5, "backwards"),
    ],
)
def test_errors_say_where_and_what(text: bytes, number: int, said: str) -> None:
    with pytest.raises(FormatError, match=said) as caught:
        SmapsParser().parse(text, "file")
    assert (caught.value.source, caught.value.line) == ("file", number)
    assert str(caught.value).isprintable()


def test_a_torn_table_goes_back_by_a_mapping() -> None:
    """mprotect merged what was printed with what comes next, between two reads."""
    rows = ((b"7f0000000000", b"7f0000002000"), (b"7f0000002000", b"7f0000003000"), (b"7f0000000000", b"7f0000009000"))
    text = b"".join(b"%b-%b rw-p 00000000 00:00 0 \nRss:                   4 kB\nVmFlags: rd \n" % row for row in rows)
    found = SmapsParser().parse(text)
    assert [mapping.end & 0xFFFF for mapping in found] == [0x2000, 0x9000, 0x3000], "by address"


def test_a_file_that_was_cut_off() -> None:
    text = FROZEN.read_bytes()
    cut = text[: text.rindex(b"\nSwap:") + 1]
    with pytest.raises(FormatError, match="the last mapping has 19 of 24 lines"):
        parse_saved(cut, "f")
    with pytest.raises(FormatError, match="the last line is not whole"):
        parse_saved(text[:-3], "f")


def test_no_text_is_no_mapping() -> None:
    assert SmapsParser().parse(b"") == ()
    assert render_smaps([]) == b""


def test_only_what_was_read_from_smaps_has_a_text() -> None:
    with pytest.raises(ValueError, match="no smaps text"):
        render_smaps([Mapping(0, 4096, "rw-p", 0, "00:00", 0, b"")])


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"0-1 rw-p 0 0:0 0", b"00000000-00001000 rwzp 00000000 00:00 0", b"00000000-00001000 rw-p 00000000 00:00 -1"]
)
def test_no_headers(raw: bytes) -> None:
    assert parse_header(raw) is None


def test_addresses_of_every_width() -> None:
    for start, end in ((0x400000, 0x401000), (0x7F0000000000, 0x7F0000001000), (0xFFFFFFFFFF600000, 0xFFFFFFFFFF601000), (0xFFFFFF000, 0x1000000000)):
        fields = parse_header(b"%08x-%08x --xp 00000000 00:00 0 " % (start, end))
        assert fields is not None
        assert (fields[0], fields[1], fields[7]) == (start, end, None)
