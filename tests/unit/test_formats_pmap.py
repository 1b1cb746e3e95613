"""The rows, names and footers of pmap's plain, -x and -d forms, and what is no such table."""

import json
import sys
import time
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import law

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.model import Mapping
from pmapdiff.model.counters import COUNTER_INDEX, DIRTY, NO_COUNTERS, RSS
from pmapdiff.text import printable

ROOT = Path(__file__).parents[2]
SNAPSHOTS = ROOT / "sample_snapshots"
FROZEN = ROOT / "tests" / "data" / "redis-frozen"
SAVED = ROOT / "tests" / "data" / "saved" / "pmap"
PMAP_FORMS = ("pmap", "pmap-x", "pmap-d", "pmap-X")
SAMPLES = {
    SNAPSHOTS / "redis-1100.pmap-x.txt": "pmap-x",
    SNAPSHOTS / "redis-1100.pmap-d.txt": "pmap-d",
    FROZEN / "maps.txt": "maps",
    FROZEN / "pmap.txt": "pmap",
    FROZEN / "pmap-p.txt": "pmap",
    FROZEN / "pmap-x.txt": "pmap-x",
    FROZEN / "pmap-xp.txt": "pmap-x",
    FROZEN / "pmap-xq.txt": "pmap-x",
    FROZEN / "pmap-d.txt": "pmap-d",
    FROZEN / "pmap-dp.txt": "pmap-d",
    FROZEN / "pmap-X.txt": "pmap-X",
    FROZEN / "pmap-XX.txt": "pmap-X",
    FROZEN / "smaps.txt": "smaps",
    FROZEN / "smaps_rollup.txt": "smaps_rollup",
    FROZEN / "status.txt": None,
}
PMAP_SAMPLES = [path for path, form in SAMPLES.items() if form in PMAP_FORMS]
OTHER_SAMPLES = [
    *(SAVED / "4.0.2" / f"{name}.txt" for name in ("q", "x-two-pids", "d-A", "X-two-pids", "C", "C-Rss-VmFlags", "x-kernel-thread", "Xq")),
    *(SAVED / "languages" / name for name in ("ka/d.txt", "fr/x.txt", "vi/default.txt", "ko_KR.EUC-KR/x.txt", "ko/X.txt")),
    *(SAVED / name for name in ("3.3.12/XX.txt", "3.2.8-rhel6/x.txt", "written/sles11-d.txt", "busybox-1.35.0/x.txt", "toybox-0.8.9/default.txt")),
]

X_COLUMNS = b"Address           Kbytes     RSS   Dirty Mode  Mapping\n"
D_COLUMNS = b"Address           Kbytes Mode  Offset           Device    Mapping\n"
X_ROW = b"0000000000400000     312     300       4 r-x-- redis-server\n"
D_ROW = b"0000000000400000     312 r-x-- 000000000004d000 0fb:00001 redis-server\n"
PLAIN_ROW = b"0000000000400000    312K r-x-- redis-server\n"
MORE_ROWS = b"0000000000600000    312K rw--- more\n0000000000700000    312K rw--- more\n"


def forms_of(data: bytes) -> set[str]:
    try:
        return {table.form for table in parse_saved(data, "f")}
    except FormatError:
        return set()


def parse(path: Path) -> SavedTable:
    (table,) = parse_saved(path.read_bytes(), str(path))
    return table


def outcome(data: bytes, form: str | None) -> list[SavedTable] | FormatError:
    try:
        return parse_saved(data, "f", form)
    except FormatError as error:
        return error


def row(line: bytes, form: str | None = None) -> Mapping:
    (table,) = parse_saved(b"7:   cmd\n" + line, "f", form)
    (mapping,) = table.table.mappings
    return mapping


@pytest.mark.parametrize(("path", "form"), SAMPLES.items(), ids=lambda value: value.name if isinstance(value, Path) else None)
def test_each_sample_is_of_one_form_or_of_none(path: Path, form: str | None) -> None:
    assert forms_of(path.read_bytes()) == ({form} if form else set())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"\x7fELF\x02\x01\x01" + bytes(500),
        Path(sys.executable).read_bytes()[:65536],
        bytes(range(256)) * 40,
        json.dumps({"1": "   x", "mappings": [["0000000000400000", "312K"]]}).encode(),
        b"The quick brown fox\njumps over the lazy dog\n",
        b"1:   one\n2:   two\n3:   three\n",
        b"1:   Title\n----------\n",
        b"1100:   /usr/sbin/redis-server /etc/redis.conf\n",
        b"1100:   cmd\nAddress           Kbytes     RSS    Anon  Locked Mode   Mapping\n",
        b"7:   a\nAddress Rss Mapping\n",
        b"deadbeef 4 of clubs\n00400000 pages\n",
        # Not from a Linux: sizes without a unit.
        b"7:   a\n00400000     312 r-x-- /usr/bin/a\n",
    ],
    ids=range(14),
)
def test_what_is_no_table_is_of_no_form(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_saved(data, "f")


def test_an_extended_table() -> None:
    table = parse(SNAPSHOTS / "redis-1100.pmap-x.txt")
    assert (table.form, table.pid, table.command, table.warnings) == ("pmap-x", 1100, b"/usr/sbin/redis-server /etc/redis.conf", ())
    mappings = table.table.mappings
    assert len(mappings) == 38
    counters = list(NO_COUNTERS)
    counters[RSS], counters[DIRTY] = 312, 0
    assert mappings[0] == Mapping(0x400000, 0x44E000, "r-xp", None, None, None, b"redis-server", counters=tuple(counters))
    assert [mapping.name for mapping in mappings[2:4]] == [b"", b""]
    assert mappings[10].name == b"libc-2.12.so (deleted)"
    assert [mapping.name for mapping in mappings if mapping.name.startswith(b"[")] == [b"[stack]"]
    assert mappings[-1].end == 0xFFFFFFFFFF601000
    totals = table.table.totals
    assert [totals.get(figure) for figure in ("size_kib", "rss_kib", "dirty_kib", "pss_kib")] == [35904, 8076, 6368, None]


def test_a_device_table() -> None:
    table = parse(SNAPSHOTS / "redis-1100.pmap-d.txt")
    assert (table.form, table.pid, table.warnings) == ("pmap-d", 1100, ())
    mappings = table.table.mappings
    assert mappings[1] == Mapping(0x64D000, 0x64F000, "rw-p", 0x4D000, "fb:01", None, b"redis-server")
    assert (mappings[2].name, mappings[2].offset, mappings[2].device) == (b"", 0, "00:00")
    assert sum(mapping.size_kib for mapping in mappings) == 35904
    assert sum(mapping.size_kib for mapping in mappings if mapping.perms[1] == "w") == 25012


def test_shared_rows_keep_their_letter() -> None:
    assert [mapping.perms for mapping in parse(FROZEN / "pmap-x.txt").table.mappings if mapping.perms[3] == "s"] == ["r--s"]


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        (b"   [ anon ]", b""),
        (b"    [ anon ]", b""),
        (b" [ anon ]", b""),
        (b"   [anon]", b""),
        (b"\t[ anon ]", b""),
        (b"   [ stack ]", b"[stack]"),
        (b"   [stack]", b"[stack]"),
        (b"  [heap]", b"[heap]"),
        (b"   [ shmid=0x2a8001 ]", b"[shmid=0x2a8001]"),
        (b" [ anon ]x", b"[ anon ]x"),
        (b"  two words (deleted)", b"two words (deleted)"),
        (b" ends with blanks  ", b"ends with blanks  "),
        (b" caf\xc3\xa9 \xff\t\x1b[1m", b"caf\xc3\xa9 \xff\t\x1b[1m"),
        (b" 100K r-x-- inner", b"100K r-x-- inner"),
        (b" 00000000 00:00 inner", b"00000000 00:00 inner"),
        (b" ", b""),
        (b"", b""),
    ],
)
@pytest.mark.parametrize("start", [X_ROW, D_ROW.replace(b"0fb:00001", b"000:00000"), PLAIN_ROW])
def test_names(start: bytes, shown: bytes, name: bytes) -> None:
    assert row(start.removesuffix(b" redis-server\n") + shown + b"\n").name == name


def names_of(*shown: bytes) -> list[bytes]:
    rows = [b"%016x 4K rw---%b\n" % (0x400000 + (number << 12), name) for number, name in enumerate(shown)]
    (table,) = parse_saved(b"7:   a\n" + b"".join(rows), "f")
    return [mapping.name for mapping in table.table.mappings]


def test_a_name_keeps_the_blanks_that_are_its_own() -> None:
    assert names_of(b" a", b"   b", b"   [ anon ]") == [b"a", b"  b", b""]


def test_a_device_tells_a_file_from_memory_of_that_name() -> None:
    assert row(D_ROW.replace(b" redis-server", b" [ anon ]")).name == b"[ anon ]"


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        # The word that stands once, at the highest writable addresses, is the stack.
        ((b"   [ x ]", b"   [ x ]", b"   [ y  ]"), [b"", b"", b"[stack]"]),
        ((b"   [ anon ]", b"   [ y ]"), [b"", b"[stack]"]),
        ((b"   [ x ]", b"   [ anon ]"), [b"", b""]),
        ((b"   [ x ]", b"   [ stack ]"), [b"", b"[stack]"]),
        # One word alone is that for all memory.
        ((b"   [ x ]", b"   [ x ]"), [b"", b""]),
        ((b"   [ y ]", b" a", b"   [ shmid=0x1 ]"), [b"", b"a", b"[shmid=0x1]"]),
        ((b"   [ x ]", b"   [ y ]", b"   [ y ]"), [b"", b"", b""]),
    ],
)
def test_words_for_memory_in_an_unknown_language(shown: tuple[bytes, ...], names: list[bytes]) -> None:
    assert names_of(*shown) == names


def test_tables_without_any_folder_are_marked() -> None:
    for path in PMAP_SAMPLES:
        assert parse(path).table.has_basenames == (path.stem not in ("pmap-p", "pmap-xp", "pmap-dp"))
    assert not parse(FROZEN / "maps.txt").table.has_basenames
    (anonymous,) = parse_saved(b"7:   a\n" + PLAIN_ROW.replace(b"redis-server", b"  [ anon ]"), "f")
    assert not anonymous.table.has_basenames


@pytest.mark.parametrize(("mode", "perms"), [(b"-----", "---p"), (b"rwxs-", "rwxs"), (b"--x--", "--xp"), (b"r--s-", "r--s"), (b"r--p-", "r--p")])
def test_modes(mode: bytes, perms: str) -> None:
    assert row(PLAIN_ROW.replace(b"r-x--", mode)).perms == perms
    if mode[3] != ord("-"):
        assert row(PLAIN_ROW.replace(b"r-x--", mode[:4])).perms == perms


@pytest.mark.parametrize(
    ("shown", "device"),
    [(b"0fe:00000", "fe:00"), (b"103:00005", "103:05"), (b"000:0000a", "00:0a"), (b"008:fffff", "08:fffff"), (b"fe:00", "fe:00")],
)
def test_devices_are_as_the_kernel_prints_them(shown: bytes, device: str) -> None:
    assert row(D_ROW.replace(b"0fb:00001", shown)).device == device


@pytest.mark.parametrize(
    ("columns", "counters"),
    [
        (b"300 4", {"Rss": 300, "Dirty": 4}),
        (b"- - -", {}),
        (b"200 4 8", {"Pss": 200, "Dirty": 4, "Swap": 8}),
        (b"300 200 4 8", {"Rss": 300, "Pss": 200, "Dirty": 4, "Swap": 8}),
    ],
)
def test_the_number_of_columns_says_which_they_are(columns: bytes, counters: dict[str, int]) -> None:
    mapping = row(b"0000000000400000 312 " + columns + b" r-x-- a\n")
    assert {name: mapping.counters[index] for name, index in COUNTER_INDEX.items() if mapping.counters[index] is not None} == counters
    assert mapping.size_kib == 312


def test_anonymous_memory_has_no_offset() -> None:
    line = D_ROW.replace(b"000000000004d000 0fb:00001 redis-server", b"0000000000400000 000:00000   [ anon ]")
    assert row(line).offset == 0


def test_32_bit_tables() -> None:
    data = b"9:   cmd\nAddress   Kbytes     RSS   Dirty Mode   Mapping\n08048000       4       4       0 r-x--  a\n"
    (table,) = parse_saved(data + b"-------- ------- ------- ------- -------\ntotal kB       4       -       -       -\n", "f")
    assert table.table.mappings[0].start == 0x8048000
    assert table.warnings == ()


def test_other_line_ends_change_nothing() -> None:
    for path in PMAP_SAMPLES:
        data = path.read_bytes()
        expected = parse_saved(data, "f")
        assert parse_saved(data.replace(b"\n", b"\r\n"), "f") == expected
        if path.stem != "pmap-xq":
            assert parse_saved(data.removesuffix(b"\n"), "f") == expected
            assert parse_saved(data.replace(b"\n", b"\r\n").removesuffix(b"\n"), "f") == expected


def test_a_last_row_without_an_end_may_be_cut() -> None:
    data = (FROZEN / "pmap-xq.txt").read_bytes()
    (expected,), (table,) = parse_saved(data, "f"), parse_saved(data.removesuffix(b"\n"), "f")
    assert table.table == expected.table
    assert table.warnings == ("the last line does not end: the end may be missing",)


def test_a_carriage_return_in_a_name_stays() -> None:
    assert row(PLAIN_ROW.replace(b"\n", b"\r\n")).name == b"redis-server\r"


def test_several_processes_in_one_file() -> None:
    data = b"2:   [kthreadd]\n total                0K\n7:   a\n" + PLAIN_ROW + b" total              312K\n\n8:   \n" + PLAIN_ROW
    tables = parse_saved(data, "f")
    assert [(table.pid, table.command, len(table.table.mappings), table.warnings) for table in tables] == [
        (2, b"[kthreadd]", 0, ()),
        (7, b"a", 1, ()),
        (8, b"", 1, ()),
    ]


def test_a_process_that_pmap_could_not_read_is_told() -> None:
    denied, read = parse_saved(b"1:   init\n7:   a\n" + X_COLUMNS + X_ROW + b"total kB 312 300 4\n", "f")
    assert (denied.pid, denied.table.mappings, denied.form) == (1, (), "pmap-x")
    assert "could not read" in denied.warnings[0]
    assert read.warnings == ()


def test_overlapping_rows_are_told() -> None:
    (table,) = parse_saved(b"7:   a\n" + PLAIN_ROW + PLAIN_ROW.replace(b"400000", b"401000"), "f")
    assert "1 of the rows overlap" in table.warnings[0]


def test_a_torn_copy_that_goes_back_by_one_is_sorted() -> None:
    (table,) = parse_saved(b"7:   a\n" + PLAIN_ROW + PLAIN_ROW.replace(b"400000", b"3ff000"), "f")
    assert [mapping.start for mapping in table.table.mappings] == [0x3FF000, 0x400000]
    assert "1 of the rows overlap" in table.warnings[0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"0000000000400000     313K r-x-- a", "whole number of pages"),
        (b"0000000000400100     312K r-x-- a", "whole number of pages"),
        (b"0000000000400000       0K r-x-- a", "whole number of pages"),
        (b"fffffffffffff000       8K r-x-- a", "beyond 64 bits"),
        (b"0000000000400000 99999999999999992K r-x-- a", "beyond 64 bits"),
        (b"00000000003ff000       4K r-x-- a", "goes backwards"),
        (b"0000000000400000       4K r-x-- a", "goes backwards"),
        (b"00000000004g0000       4K r-x-- a", "neither a row"),
        (b"0000000000500000       -4K r-x-- a", "neither a row"),
        (b"0000000000500000       4K rrr-- a", "neither a row"),
        (b"0000000000500000 " + b"9" * 1_000_000 + b"K r-x-- a", "neither a row"),
        (X_ROW.strip(), "neither a row"),
        (b"pmap: \x1b[31mfailed", "neither a row"),
    ],
    ids=range(13),
)
def test_broken_lines(line: bytes, reason: str) -> None:
    preceding = b"7:   a\n" + (PLAIN_ROW if reason not in ("whole number of pages", "beyond 64 bits") else b"")
    with pytest.raises(FormatError, match=reason) as caught:
        parse_saved(preceding + line + b"\n" + MORE_ROWS, "saved.txt", "pmap")
    assert caught.value.line == preceding.count(b"\n") + 1
    assert str(caught.value).startswith(f"saved.txt:{caught.value.line}: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("form", ["pmap", None])
def test_a_first_row_that_is_broken(form: str | None) -> None:
    for opening in (b"7:   a\n", b"7:   a\nAddress   Kbytes Mode\n"):
        with pytest.raises(FormatError, match="not a row of pmap") as caught:
            parse_saved(opening + PLAIN_ROW.replace(b" r-x", b" what r-x") + MORE_ROWS, "f", form)
        assert caught.value.line == opening.count(b"\n") + 1


def test_absurd_counters_are_refused() -> None:
    more = X_ROW.replace(b"400000", b"600000")
    for old in (b"     300", b"     312", b"       4 "):
        broken = X_ROW.replace(old, b" " + b"9" * 30 + b" ")
        with pytest.raises(FormatError) as caught:
            parse_saved(b"7:   a\n" + X_COLUMNS + X_ROW.replace(b"400000", b"200000") + broken + more, "f")
        assert caught.value.line == 4
        with pytest.raises(FormatError):
            parse_saved(b"7:   a\n" + X_COLUMNS + broken, "f")


def test_rows_without_their_process_and_rows_after_the_footer() -> None:
    (table,) = parse_saved(PLAIN_ROW, "f", "pmap")
    assert (table.pid, table.command) == (None, None)
    assert table.warnings == ("neither a first line nor a footer: beginning and end may be missing",)
    (table,) = parse_saved(PLAIN_ROW + b" total 312K\n", "f")
    assert table.warnings == ("no first line: the beginning may be missing",)
    with pytest.raises(FormatError, match="not a line of pmap") as caught:
        parse_saved(b"7:   a\n" + PLAIN_ROW + b" total 312K\n" + PLAIN_ROW, "f")
    assert caught.value.line == 4


def test_a_named_form_without_a_table() -> None:
    for data in (b"", b"\n", b"7:   a\n", X_ROW):
        with pytest.raises(FormatError, match=r"no table of pmap|empty"):
            parse_saved(data, "f", "pmap")


_BEGINNINGS = [
    b"",
    b"7:",
    b"7:   a\n",
    X_COLUMNS[:-1],
    b"-",
    b"total kB ",
    b"mapped: 1K",
    PLAIN_ROW[:-1],
    X_ROW[:16],
    D_ROW[:40],
    b"  5566661f3000 r--p 0",
]
_WORDS = [b" ", b"-", b"- ", b"0", b"0 ", b"a", b"Address ", b"rd ", b"Size ", b"1: ", b"\r"]
# A beginning is one line long: what many lines cost, it does not change.
_LINES = [b"\n", b"7:   a\n", PLAIN_ROW, X_COLUMNS]


@pytest.mark.parametrize(("beginning", "filling"), [*product(_BEGINNINGS, _WORDS), *product([b"", X_COLUMNS[:-1]], _LINES)])
def test_long_lines_take_linear_time(beginning: bytes, filling: bytes) -> None:
    line = beginning + filling * (100_000 // len(filling)) + b"\0"
    began = time.process_time()
    forms_of(b"7:   a\n" + line)
    for form in PMAP_FORMS:
        outcome(b"7:   a\n" + X_COLUMNS * (form == "pmap-x") + line, form)
    assert time.process_time() - began < 5


@law(300)
@given(st.binary(max_size=400), st.sampled_from(PMAP_FORMS))
def test_arbitrary_bytes_raise_nothing_else(data: bytes, form: str) -> None:
    for text in (data, b"7:   a\n" + data):
        for result in (outcome(text, form), outcome(text, None)):
            assert result
            if isinstance(result, FormatError):
                assert printable(str(result)) == str(result)


@law(300)
@given(st.data())
def test_mutated_samples_raise_nothing_else(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(PMAP_SAMPLES + OTHER_SAMPLES))
    text = path.read_bytes()
    position = data.draw(st.integers(0, len(text)))
    removed = data.draw(st.integers(0, 90))
    inserted = data.draw(st.binary(max_size=20) | st.sampled_from([b"\n", b"9", b" ", b"\t", b"-", b"7:   a\n", X_ROW, D_ROW, PLAIN_ROW]))
    mutated = text[:position] + inserted + text[position + removed :]
    for result in (outcome(mutated, SAMPLES.get(path)), outcome(mutated, data.draw(st.sampled_from(PMAP_FORMS)))):
        assert result
        if isinstance(result, FormatError):
            assert result.line is None or 1 <= result.line <= mutated.count(b"\n") + 1
