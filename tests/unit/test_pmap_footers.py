"""What pmap's footers say, rightly and wrongly, and the rows that older versions print twice."""

from pathlib import Path

import pytest

from pmapdiff.formats import parse_saved
from pmapdiff.model.counters import DIRTY, RSS

ROOT = Path(__file__).parents[2]
SNAPSHOTS, SAVED = ROOT / "sample_snapshots", ROOT / "tests" / "data" / "saved" / "pmap"
X_COLUMNS = b"Address           Kbytes     RSS   Dirty Mode  Mapping\n"
D_COLUMNS = b"Address           Kbytes Mode  Offset           Device    Mapping\n"
X_ROW = b"0000000000400000     312     300       4 r-x-- redis-server\n"
D_ROW = b"0000000000400000     312 r-x-- 000000000004d000 0fb:00001 redis-server\n"
PLAIN_ROW = b"0000000000400000    312K r-x-- redis-server\n"


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


@pytest.mark.parametrize(
    ("name", "right", "wrong", "warning"),
    [
        # What 3.3.10 counts twice (236 KiB are shared) is known, nothing else is.
        ("3.3.10/x.txt", b"105085928", b"105085924", "the footer says 105085924 KiB of size"),
        # With -A too much of the counters is known, too little is not; nor is another size.
        ("4.0.2/x-A.txt", b"    3224    3004", b"     100    3004", "the footer says 100 KiB of Rss"),
        ("4.0.2/x-A.txt", b"     496    3224", b"     500    3224", "the footer says 500 KiB of size"),
        ("written/sles11-d.txt", b"372K writable", b"376K writable", "the footer says 376 KiB of writable-private size"),
        ("written/sles11-d.txt", b"309K    216K", b"310K    216K", "the footer says 310 KiB of Pss"),
        ("busybox-1.35.0/x.txt", b"3220    3088", b"3221    3088", "the footer says 3221 KiB of Pss"),
        ("languages/uk/d.txt", "372К".encode(), "376К".encode(), "the footer says 376 KiB of writeable/private size"),
        ("languages/vi/default.txt", b"2600K", b"2604K", "the footer says 2604 KiB of size"),
    ],
)
def test_only_what_some_pmap_says_wrongly_is_not_told(name: str, right: bytes, wrong: bytes, warning: str) -> None:
    data = (SAVED / name).read_bytes()
    assert data.count(right) == 1
    assert parse_saved(data, "f")[0].warnings == ()
    (table,) = parse_saved(data.replace(right, wrong), "f")
    assert warning in table.warnings[0]


def test_a_footer_of_a_plain_table_is_checked() -> None:
    (table,) = parse_saved(b"7:   a\n" + PLAIN_ROW + b" total              316K\n", "f")
    assert table.warnings == ("the footer says 316 KiB of size, the rows add up to 312 KiB",)


@pytest.mark.parametrize("behind", [b"root@db7:~# sleep 5s\n", b"$ pmap -x 12 13 14\n", b"3 of 4 done\n"])
def test_what_stands_below_is_no_footer(behind: bytes) -> None:
    for line in (PLAIN_ROW, X_ROW, D_ROW):
        (table,) = parse_saved(b"7:   a\n" + line + behind, "f")
        (warning,) = table.warnings
        assert "no part of a table" in warning


@pytest.mark.parametrize(
    "ghost",
    [
        b"0000000000400000       0       0       0 r-x-- redis-server\n",
        # RHEL 6 prints the size again.
        b"0000000000400000     312       0       0 r-x-- redis-server\n",
        b"0000000000400000       0     300       0 r-x-- redis-server\n",
    ],
)
def test_the_ghost_rows_of_older_pmaps_are_left_out(ghost: bytes) -> None:
    (table,) = parse_saved(b"7:   a\n" + X_COLUMNS + X_ROW + ghost + b"total kB 312 300 4\n", "f")
    (mapping,) = table.table.mappings
    assert (mapping.size_kib, mapping.counters[RSS], mapping.counters[DIRTY]) == (312, 300, 4)
    assert table.warnings == ()
