from __future__ import annotations

import struct

import pytest
from saved_samples import sample, table

from pmapdiff.errors import FormatError
from pmapdiff.formats import parse_saved

GPERFTOOLS, CPU = sample("heap-profile/gperftools.heap"), sample("heap-profile/gperftools-cpu.prof")
JEMALLOC_FILE = "heap-profile/jeprof.10411.2.i2.heap"
JEMALLOC = sample(JEMALLOC_FILE)


def test_jemalloc_copies_the_kernels_rows() -> None:
    saved = table(JEMALLOC_FILE)
    (maps,) = parse_saved(JEMALLOC.partition(b"MAPPED_LIBRARIES:\n")[2], "maps", "maps")
    assert saved.form == "heap-profile"
    assert saved.table == maps.table
    assert saved.warnings == ()


@pytest.mark.parametrize(
    ("name", "pid"),
    [
        ("jeprof.10411.2.i2.heap", 10411),
        ("/tmp/my.prefix.77.0.f.heap", 77),
        ("p.8.1.m1.heap.gz", 8),
        ("10411.heap", None),
        ("jeprof.10411.2.heap", None),
        ("-", None),
        ("/jeprof.1.2.i2.heap/x", None),
    ],
)
def test_jemallocs_own_names_have_the_pid(name: str, pid: int | None) -> None:
    (saved,) = parse_saved(JEMALLOC, name)
    assert saved.pid == pid


def test_gperftools_prints_rows_of_its_own() -> None:
    saved = table("heap-profile/gperftools.heap")
    assert len(saved.table.mappings) == 83
    by_name = {m.name: m for m in saved.table.mappings}
    # There is no device 00:00 behind a file, and - is said of shared mappings.
    assert by_name[b"/memfd:ring buffer (deleted)"][2:7] == ("rw-s", 0, None, 3033, b"/memfd:ring buffer (deleted)")
    assert by_name[b"/SYSV00000051 (deleted)"][2:6] == ("rw-s", 0, None, 0)
    assert by_name["/srv/demo/data/week 47 – notes.txt".encode()][2:6] == ("rw-p", 0, None, 3)
    assert by_name[b"[stack]"][2:6] == ("rw-p", 0, "00:00", 0)
    assert by_name[b""][2:6] == ("rw-p", 0, "00:00", 0)
    assert {m.device for m in saved.table.mappings if m.is_file} == {None}


def test_inodes_of_newer_and_older_versions() -> None:
    newer = GPERFTOOLS.replace(b"00:00 3033        /memfd", b"00:00 30330000001/memfd").replace(
        b"00:00 12          /srv", b"00:00 12345678901anon_inode:x"
    )
    (saved,) = parse_saved(newer, "f")
    assert [(m.inode, m.name) for m in saved.table.mappings if (m.inode or 0) > 1 << 31] == [
        (30330000001, b"/memfd:ring buffer (deleted)"),
        (12345678901, b"anon_inode:x/demo/data/state.db"),
    ]
    (saved,) = parse_saved(GPERFTOOLS.replace(b"00:00 3033 ", b"00:00 bd9  "), "f")
    inodes = {m.name: m.inode for m in saved.table.mappings}
    assert inodes[b"/memfd:ring buffer (deleted)"] == 0xBD9
    # If one of them is in hex, all are.
    assert inodes[b"/dev/zero (deleted)"] == 0x3035


@pytest.mark.parametrize("word", ["<Q", "<I", ">Q", ">I"])
def test_cpu_profiles_of_every_machine(word: str) -> None:
    text = CPU[CPU.index(b"55b8955a2000-") :]
    words = [0, 3, 0, 10000, 0, 1, 4, 1, 2, 3, 4, 7, 1, 99, 0, 1, 0]
    data = b"".join(struct.pack(word, value) for value in words) + text
    (saved,) = parse_saved(data, "f")
    assert saved.table == table("heap-profile/gperftools-cpu.prof").table
    assert len(saved.table.mappings) == 65
    with pytest.raises(FormatError, match="cut off among its samples"):
        parse_saved(data[: struct.calcsize(word) * 12], "f")
    with pytest.raises(FormatError, match="no mapped libraries"):
        parse_saved(data[: struct.calcsize(word) * 17], "f")


def test_the_stacks_are_no_part_of_the_table() -> None:
    many = GPERFTOOLS.replace(b"\nMAPPED", b"     1:       16 [     1:       16] @ 0x55885ca4e3ee\n" * 5000 + b"\nMAPPED")
    (saved,) = parse_saved(many, "f")
    assert saved.table == table("heap-profile/gperftools.heap").table
    assert saved.warnings == ()


def test_errors_name_the_line() -> None:
    lines = GPERFTOOLS.split(b"\n")
    lines[49] = b"7f7155600000-oops"
    with pytest.raises(FormatError) as caught:
        parse_saved(b"\n".join(lines), "f")
    assert caught.value.line == 50
    with pytest.raises(FormatError, match="no MAPPED_LIBRARIES"):
        parse_saved(GPERFTOOLS[:200], "f")
    with pytest.raises(FormatError, match="no mapped libraries"):
        parse_saved(GPERFTOOLS.partition(b"200000000-")[0], "f")


def test_a_profile_that_was_cut_off() -> None:
    cut = GPERFTOOLS[:-150]
    with pytest.raises(FormatError, match="--partial"):
        parse_saved(cut, "f")
    (saved,) = parse_saved(cut, "f", partial=True)
    whole = table("heap-profile/gperftools.heap").table.mappings
    assert saved.partial is not None
    assert saved.table.mappings == whole[: len(saved.table.mappings)]
    assert len(saved.table.mappings) == 80
