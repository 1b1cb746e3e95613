import json
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, all_forms, parse_saved
from pmapdiff.formats.base import DETECT_BYTES
from pmapdiff.model import Mapping
from pmapdiff.model.counters import DIRTY, NO_COUNTERS, RSS
from pmapdiff.text import printable

ROOT = Path(__file__).parents[2]
SNAPSHOTS = ROOT / "sample_snapshots"
FROZEN = ROOT / "tests" / "data" / "redis-frozen"
PMAP_FORMS = ("pmap", "pmap-x", "pmap-d")
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
    FROZEN / "pmap-X.txt": None,
    FROZEN / "pmap-XX.txt": None,
    FROZEN / "smaps.txt": "smaps",
    FROZEN / "smaps_rollup.txt": None,
    FROZEN / "status.txt": None,
}
WITH_PATHS = ("pmap-p.txt", "pmap-xp.txt", "pmap-dp.txt")
PMAP_SAMPLES = [path for path, form in SAMPLES.items() if form in PMAP_FORMS]

X_COLUMNS = b"Address           Kbytes     RSS   Dirty Mode  Mapping\n"
D_COLUMNS = b"Address           Kbytes Mode  Offset           Device    Mapping\n"
X_ROW = b"0000000000400000     312     300       4 r-x-- redis-server\n"
D_ROW = b"0000000000400000     312 r-x-- 000000000004d000 0fb:00001 redis-server\n"
PLAIN_ROW = b"0000000000400000    312K r-x-- redis-server\n"


def detected(data: bytes) -> list[str]:
    return [name for name, form in all_forms().items() if form.detect(data[:DETECT_BYTES])]


def parse(path: Path) -> SavedTable:
    (table,) = parse_saved(path.read_bytes(), str(path))
    return table


def outcome(data: bytes, form: str) -> list[SavedTable] | FormatError:
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
    assert detected(path.read_bytes()) == ([form] if form else [])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"\x7fELF\x02\x01\x01" + bytes(500),
        Path(sys.executable).read_bytes()[:DETECT_BYTES],
        bytes(range(256)) * 40,
        json.dumps({"1": "   x", "mappings": [["0000000000400000", "312K"]]}).encode(),
        b"The quick brown fox\njumps over the lazy dog\n",
        b"1:   one\n2:   two\n3:   three\n",
        b"1:   Title\n----------\n",
        b"1100:   /usr/sbin/redis-server /etc/redis.conf\n",
        b"1100:   cmd\nAddress           Kbytes     RSS    Anon  Locked Mode   Mapping\n",
        X_COLUMNS + X_ROW,
    ],
)
def test_what_is_no_table_is_of_no_form(data: bytes) -> None:
    assert detected(data) == []
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


@pytest.mark.parametrize("path", PMAP_SAMPLES, ids=lambda path: path.name)
def test_the_samples_hold_what_maps_says(path: Path) -> None:
    table = parse(path)
    assert table.warnings == ()
    if path.parent != FROZEN:
        return
    assert (table.pid, table.command) == (30412, b"redis-server *:7801")
    (maps,) = parse_saved((FROZEN / "maps.txt").read_bytes(), "maps")
    assert [mapping[:3] for mapping in table.table.mappings] == [mapping[:3] for mapping in maps.table.mappings]
    # pmap tells only [stack] from other memory without a path.
    for mine, kernels in zip(table.table.mappings, maps.table.mappings, strict=True):
        path_name = kernels.name if kernels.name.startswith(b"/") or kernels.name == b"[stack]" else b""
        assert mine.name == (path_name if path.name in WITH_PATHS else path_name.rpartition(b"/")[2])
        if table.form == "pmap-d":
            assert (mine.offset, mine.device) == (kernels.offset, kernels.device)
        if table.form == "pmap-x":
            assert mine.counters[RSS] is not None


def test_shared_rows_keep_their_letter() -> None:
    assert [mapping.perms for mapping in parse(FROZEN / "pmap-x.txt").table.mappings if mapping.perms[3] == "s"] == ["r--s"]


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        (b"   [ anon ]", b""),
        (b"    [ anon ]", b""),
        (b" [ anon ]", b""),
        (b"   [ stack ]", b"[stack]"),
        (b"   [ shmid=0x2a8001 ]", b"[shmid=0x2a8001]"),
        (b"   [ shmid=nonsense ]", b"[ shmid=nonsense ]"),
        (b" [ anon ]x", b"[ anon ]x"),
        (b"  two words (deleted)", b"two words (deleted)"),
        (b" ends with blanks  ", b"ends with blanks  "),
        (b" caf\xc3\xa9 \xff\t\x1b[1m", b"caf\xc3\xa9 \xff\t\x1b[1m"),
        (b" 100K r-x-- inner", b"100K r-x-- inner"),
        (b" ", b""),
        (b"", b""),
    ],
)
@pytest.mark.parametrize("start", [X_ROW, D_ROW, PLAIN_ROW])
def test_names(start: bytes, shown: bytes, name: bytes) -> None:
    assert row(start.removesuffix(b" redis-server\n") + shown + b"\n").name == name


@pytest.mark.parametrize(("mode", "perms"), [(b"-----", "---p"), (b"rwxs-", "rwxs"), (b"--x--", "--xp"), (b"r--s-", "r--s"), (b"r--p-", "r--p")])
def test_modes(mode: bytes, perms: str) -> None:
    assert row(PLAIN_ROW.replace(b"r-x--", mode)).perms == perms


@pytest.mark.parametrize(
    ("shown", "device"), [(b"0fe:00000", "fe:00"), (b"103:00005", "103:05"), (b"000:0000a", "00:0a"), (b"008:fffff", "08:fffff")]
)
def test_devices_are_as_the_kernel_prints_them(shown: bytes, device: str) -> None:
    assert row(D_ROW.replace(b"0fb:00001", shown)).device == device


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
        assert parse_saved(data.removesuffix(b"\n"), "f") == expected
        assert parse_saved(data.replace(b"\n", b"\r\n").removesuffix(b"\n"), "f") == expected


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
    assert (denied.pid, denied.table.mappings) == (1, ())
    assert "could not read" in denied.warnings[0]
    assert read.warnings == ()


def test_no_footer() -> None:
    for columns, line in ((X_COLUMNS, X_ROW), (D_COLUMNS, D_ROW)):
        (table,) = parse_saved(b"7:   a\n" + columns + line, "f")
        assert table.warnings == ("no footer: the end may be missing",)
        (table,) = parse_saved(b"7:   a\n" + line, "f")
        assert table.warnings == ()


@pytest.mark.parametrize(
    ("path", "right", "wrong", "warning"),
    [
        ("redis-1100.pmap-x.txt", b"35904    8076    6368", b"35904    8077    6368", "the footer says 8077 KiB of Rss, the rows add up to 8076 KiB"),
        (
            "redis-1100.pmap-x.txt",
            b"35904    8076    6368",
            b"35904    8076    6367",
            "the footer says 6367 KiB of dirty, the rows add up to 6368 KiB",
        ),
        ("redis-1100.pmap-x.txt", b"     312     312", b"     316     312", "the footer says 35904 KiB of size, the rows add up to 35908 KiB"),
        (
            "redis-1100.pmap-d.txt",
            b"25012K",
            b"25016K",
            "the footer says 25016 KiB of writeable/private size, the rows add up to 25012 KiB",
        ),
        ("redis-1100.pmap-d.txt", b"shared: 0K", b"shared: 8K", "the footer says 8 KiB of shared size, the rows add up to 0 KiB"),
    ],
)
def test_a_footer_that_disagrees_is_told(path: str, right: bytes, wrong: bytes, warning: str) -> None:
    data = (SNAPSHOTS / path).read_bytes()
    assert data.count(right) >= 1
    (table,) = parse_saved(data.replace(right, wrong, 1), "f")
    assert table.warnings == (warning,)


def test_a_footer_of_a_plain_table_is_checked() -> None:
    (table,) = parse_saved(b"7:   a\n" + PLAIN_ROW + b" total              316K\n", "f")
    assert table.warnings == ("the footer says 316 KiB of size, the rows add up to 312 KiB",)


def test_the_ghost_rows_of_older_pmaps_are_left_out() -> None:
    ghost = b"0000000000400000       0       0       0 r-x-- redis-server\n"
    (table,) = parse_saved(b"7:   a\n" + X_COLUMNS + X_ROW + ghost + b"total kB 312 300 4\n", "f")
    assert len(table.table.mappings) == 1
    assert table.warnings == ()


def test_overlapping_rows_are_told() -> None:
    (table,) = parse_saved(b"7:   a\n" + PLAIN_ROW + PLAIN_ROW.replace(b"400000", b"401000"), "f")
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
        (b"00000000000500000       4K r-x-- a", "neither a row"),
        (b"0000000000500000 " + b"9" * 1_000_000 + b"K r-x-- a", "neither a row"),
        (X_ROW.strip(), "neither a row"),
        (b"pmap: \x1b[31mfailed", "neither a row"),
    ],
    ids=range(14),
)
def test_broken_lines(line: bytes, reason: str) -> None:
    preceding = b"7:   a\n" + (PLAIN_ROW if reason not in ("whole number of pages", "beyond 64 bits") else b"")
    with pytest.raises(FormatError, match=reason) as caught:
        parse_saved(preceding + line + b"\n", "saved.txt", "pmap")
    assert caught.value.line == preceding.count(b"\n") + 1
    assert str(caught.value).startswith(f"saved.txt:{caught.value.line}: ")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_absurd_counters_are_refused() -> None:
    for old in (b"     300", b"     312", b"       4 "):
        with pytest.raises(FormatError) as caught:
            parse_saved(b"7:   a\n" + X_COLUMNS + X_ROW.replace(old, b" " + b"9" * 30 + b" "), "f")
        assert caught.value.line == 3


def test_a_row_before_the_process_and_one_after_the_footer() -> None:
    with pytest.raises(FormatError, match="begins with the line"):
        parse_saved(PLAIN_ROW, "f", "pmap")
    with pytest.raises(FormatError, match="after a table's footer") as caught:
        parse_saved(b"7:   a\n" + PLAIN_ROW + b" total 312K\n" + PLAIN_ROW, "f")
    assert caught.value.line == 4


def test_a_named_form_without_a_table() -> None:
    for data in (b"", b"7:   a\n"):
        with pytest.raises(FormatError, match="there is no table"):
            parse_saved(data, "f", "pmap")


@pytest.mark.parametrize("filling", [b" ", b"-", b"- ", b"0", b"a", b"Address ", b"1: ", b"\r", b"7:   a\n"])
@pytest.mark.parametrize("beginning", [b"", b"7:", X_COLUMNS[:-1], b"-", b"total kB ", b"mapped: 1K", PLAIN_ROW[:-1], X_ROW[:16], D_ROW[:40]])
def test_long_lines_take_linear_time(beginning: bytes, filling: bytes) -> None:
    line = beginning + filling * (1_000_000 // len(filling)) + b"\0"
    began = time.process_time()
    detected(b"7:   a\n" + line)
    for form in PMAP_FORMS:
        outcome(b"7:   a\n" + X_COLUMNS * (form == "pmap-x") + line, form)
    assert time.process_time() - began < 5


@given(st.binary(max_size=400), st.sampled_from(PMAP_FORMS))
def test_arbitrary_bytes_raise_nothing_else(data: bytes, form: str) -> None:
    assert detected(data) in ([], ["maps"], ["smaps"], *([name] for name in PMAP_FORMS))
    for text in (data, b"7:   a\n" + data):
        result = outcome(text, form)
        assert result
        if isinstance(result, FormatError):
            assert printable(str(result)) == str(result)


@given(st.data())
def test_mutated_samples_raise_nothing_else(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(PMAP_SAMPLES))
    text = path.read_bytes()
    position = data.draw(st.integers(0, len(text)))
    removed = data.draw(st.integers(0, 90))
    inserted = data.draw(st.binary(max_size=20) | st.sampled_from([b"\n", b"9", b" ", b"-", X_ROW, D_ROW, PLAIN_ROW]))
    mutated = text[:position] + inserted + text[position + removed :]
    assert len(detected(mutated)) <= 1
    form = SAMPLES[path]
    assert form
    result = outcome(mutated, form)
    assert result
    if isinstance(result, FormatError):
        assert result.line is None or 1 <= result.line <= mutated.count(b"\n") + 1
