"""Core dumps: real ones without their memory, dumps of any class and byte order, and damaged ones."""

from __future__ import annotations

import gzip
import lzma
import re
import struct
from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import BinaryIO

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from pmapdiff.align import Match, classify
from pmapdiff.compare import compare_snapshots
from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, parse_saved, unpack
from pmapdiff.formats.base import Parse, parse_file
from pmapdiff.formats.saved import saved_capture
from pmapdiff.model import Mapping, Snapshot, SnapshotRef
from pmapdiff.model.mapping import perms_agree

SAMPLES = Path(__file__).parents[1] / "data" / "saved" / "core"
KERNEL = ("kernel-x86_64", "kernel-i386", "kernel-aarch64")
ALL = (*KERNEL, "gcore-x86_64", "qemu-aarch64")
ROW = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) \S+ \d+ *(.*)")
LINUX_NAMES = (b"[vdso]", b"[vvar]", b"[vvar_vclock]", b"[vsyscall]", b"[stack]")
X86_64, PPC64, I386, PPC = (2, "<", 62), (2, ">", 21), (1, "<", 3), (1, ">", 20)
PRSTATUS, PRPSINFO, AUXV, FILE = 1, 3, 6, 0x46494C45


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.core").read_bytes()


def only(data: bytes, *, partial: bool = False) -> SavedTable:
    (table,) = parse_saved(data, "core", partial=partial)
    return table


def refused(data: bytes, *, partial: bool = False) -> str:
    with pytest.raises(FormatError) as caught:
        parse_saved(data, "core", partial=partial)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def maps(name: str) -> dict[tuple[int, int], tuple[str, int, bytes]]:
    """Perms, offset and name of the kernel's own rows, by their addresses."""
    rows = [ROW.fullmatch(line) for line in (SAMPLES / f"{name}.maps").read_bytes().splitlines()]
    return {(int(row[1], 16), int(row[2], 16)): (row[3].decode(), int(row[4], 16), row[5]) for row in rows if row}


def ranges(rows: Sequence[Mapping]) -> list[tuple[int, int]]:
    return [(row.start, row.end) for row in rows]


def note(kind: int, content: bytes, order: str = "<", owner: bytes = b"CORE\0") -> bytes:
    padded = [part + bytes(-len(part) % 4) for part in (owner, content)]
    return struct.pack(f"{order}3I", len(owner), len(content), kind) + b"".join(padded)


def files_note(files: Sequence[tuple[int, int, int, bytes]], kind: tuple[int, str, int] = X86_64, page_bytes: int = 4096) -> bytes:
    word = f"{kind[1]}{{}}{'Q' if kind[0] == 2 else 'I'}"
    content = struct.pack(word.format(2), len(files), page_bytes)
    content += b"".join(struct.pack(word.format(3), start, end, page) for start, end, page, _ in files)
    return note(FILE, content + b"".join(name + b"\0" for *_, name in files), kind[1])


def dump(
    loads: Sequence[tuple[int, int, int]],
    notes: bytes = b"",
    kind: tuple[int, str, int] = X86_64,
    *,
    header: dict[str, int] | None = None,
    last: bool = True,
) -> bytes:
    """A core dump as the kernel writes it, without the memory: start, size and flags of each segment, and the bytes of the notes.

    The number of more than 65,534 segments stands at its end, unless not `last`.
    """
    elf_class, order, machine = kind
    word = "Q" if elf_class == 2 else "I"
    sizes = (64, 56, 64) if elf_class == 2 else (52, 32, 40)
    count = len(loads) + 1
    many = count >= 0xFFFF
    notes_at = sizes[0] + count * sizes[1]
    names = ("type", "machine", "version", "entry", "phoff", "shoff", "flags", "ehsize", "phentsize", "phnum", "shentsize", "shnum", "shstrndx")
    sections = (notes_at + len(notes), sizes[2], 1) if many else (0, 0, 0)
    values = (4, machine, 1, 0, sizes[0], sections[0], 0, sizes[0], sizes[1], 0xFFFF if many else count, *sections[1:], 0)
    fields = dict(zip(names, values, strict=True)) | (header or {})
    out = [b"\x7fELF" + bytes([elf_class, 1 if order == "<" else 2, 1]) + bytes(9), struct.pack(f"{order}HHI3{word}I6H", *fields.values())]

    def segment(kind: int, flags: int, offset: int, start: int, file_size: int, size: int) -> bytes:
        if elf_class == 2:
            return struct.pack(f"{order}2I6Q", kind, flags, offset, start, 0, file_size, size, 0)
        return struct.pack(f"{order}8I", kind, offset, start, 0, file_size, size, flags, 0)

    out.append(segment(4, 0, notes_at, 0, len(notes), 0))
    out += [segment(1, flags, notes_at + len(notes), start, 0, size) for start, size, flags in loads]
    out.append(notes)
    if many and last:
        out.append(struct.pack(f"{order}2I4{word}2I2{word}", *(0,) * 7, count, 0, 0))
    return b"".join(out)


@pytest.mark.parametrize("name", KERNEL)
def test_a_dump_of_the_kernel_has_every_row_of_maps(name: str) -> None:
    table = only(sample(name))
    expected = maps(name)
    assert ranges(table.table.mappings) == list(expected)
    for mapping in table.table.mappings:
        perms, offset, label = expected[mapping.start, mapping.end]
        assert (mapping.offset, mapping.device, mapping.inode) == (offset, None, None)
        assert mapping.name == (label if label != b"[heap]" else b"")
        # A file that no program is of may be shared or not.
        assert mapping.perms in (perms, f"{perms[:3]}?"), mapping
        assert ("?" in mapping.perms) == label.startswith(b"/var/tmp/")
    assert table.warnings == ()
    assert (table.form, table.ppid is not None, table.uid, table.threads, table.partial) == ("core", True, 1000, 2, None)
    assert (table.comm, table.command, table.exe) == (b"worker", b"/srv/demo/bin/worker --threads 2 /etc/demo worker.conf", b"/srv/demo/bin/worker")


def test_what_gdb_left_out_is_said_and_what_it_claims_is_not_believed() -> None:
    table = only(sample("gcore-x86_64"))
    expected = maps("gcore-x86_64")
    rows = {(mapping.start, mapping.end): mapping for mapping in table.table.mappings}
    left_out = {expected[place][2] for place in expected.keys() - rows.keys()}
    assert left_out == {b"[vvar]", b"[vvar_vclock]"}
    assert rows.keys() < expected.keys()
    unknown = 0
    for place, mapping in rows.items():
        perms, offset, label = expected[place]
        assert mapping.offset == offset
        assert mapping.name == (label if label != b"[heap]" else b"")
        assert all(a in ("?", b) for a, b in zip(mapping.perms, perms, strict=True)), mapping
        unknown += mapping.perms == "????"
        # Guards are readable, if one believes the headers.
        assert (mapping.perms == "?--p") == (perms == "---p" and not label)
    assert unknown == 5
    (warning,) = table.warnings
    assert "5 mappings of files came without permissions" in warning
    assert (table.uid, table.threads, table.comm, table.exe) == (1000, 2, b"worker", b"/srv/demo/bin/worker")


def test_a_dump_of_qemu_has_sizes_without_names() -> None:
    table = only(sample("qemu-aarch64"))
    assert (table.comm, table.command, table.threads, table.exe) == (b"mini64", b"./mini64 first second", 1, None)
    assert {mapping.offset for mapping in table.table.mappings} == {None}
    assert [mapping.perms for mapping in table.table.mappings if mapping.name == b"[stack]"] == ["rw-?"]
    (warning,) = table.warnings
    assert "NT_FILE" in warning


@pytest.mark.parametrize("name", [*KERNEL, "gcore-x86_64"])
def test_beside_maps_of_that_moment_nothing_has_changed(name: str) -> None:
    tables = [table for data in (sample(name), (SAMPLES / f"{name}.maps").read_bytes()) for table in parse_saved(data, name)]
    snapshots = [Snapshot(SnapshotRef(None, moment, ""), (saved_capture(table),)) for moment, table in enumerate(tables)]
    (process,) = compare_snapshots(*snapshots).processes
    assert process.match is Match.SAME
    left_out = {(b"[vvar]", ("new",)), (b"[vvar_vclock]", ("new",))} if name.startswith("gcore") else set()
    assert {(change.after[0].name, change.kinds) for change in process.changes} == left_out


def test_another_incarnation_is_compared_though_permissions_are_missing() -> None:
    captures = [saved_capture(only(sample(name))) for name in ("kernel-x86_64", "gcore-x86_64")]
    snapshots = [Snapshot(SnapshotRef(None, moment, ""), (capture,)) for moment, capture in enumerate(captures)]
    (process,) = compare_snapshots(*snapshots).processes
    assert process.match is Match.RESTARTED
    of_files = {change.kinds for change in process.changes for row in (*change.before, *change.after) if row.is_file}
    assert of_files == set()


def test_images_are_told_though_gdb_leaves_out_the_code() -> None:
    dumped = only(sample("gcore-x86_64")).table.mappings
    families = {mapping.name: family for mapping, family in zip(dumped, classify(dumped), strict=True) if mapping.is_file}
    assert {name for name, family in families.items() if family == "image"} >= {b"/srv/demo/bin/worker", b"/usr/lib/x86_64-linux-gnu/libc.so.6"}
    # Guards are told by where they are.
    whole = only(sample("kernel-x86_64")).table.mappings
    assert classify(dumped).count("thread-stack") == classify(whole).count("thread-stack") == 4


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("rw-p", "rw-p", True),
        ("rw-p", "rw-s", False),
        ("rw-?", "rw-s", True),
        ("r--?", "rw-s", False),
        ("?--p", "---p", True),
        ("????", "r-xp", True),
    ],
)
def test_permissions_agree_as_far_as_they_are_known(one: str, other: str, expected: bool) -> None:
    assert perms_agree(one, other) is perms_agree(other, one) is expected


@pytest.mark.parametrize("kind", [X86_64, PPC64, I386, PPC], ids=["64le", "64be", "32le", "32be"])
def test_both_classes_and_byte_orders(kind: tuple[int, str, int]) -> None:
    elf_class, order, _ = kind
    # elf_prpsinfo: state and so on, flags, uid and gid (16 bits on i386), pid, ppid, process group, session, name, arguments.
    flags = "4xQ" if elf_class == 2 else "I"
    info = struct.pack(f"{order}4B{flags}{'HH' if kind == I386 else 'II'}4i16s80s", 0, 82, 0, 0, 0, 70, 80, 321, 300, 0, 0, b"name", b"name -a b ")
    auxiliary = struct.pack(f"{order}4{'Q' if elf_class == 2 else 'I'}", 25, 0x70001234, 0, 0)
    notes = note(PRSTATUS, bytes(100), order) + note(PRPSINFO, info, order) + note(AUXV, auxiliary, order)
    # The kernel can sort them by size (sysctl kernel.core_sort_vma, 6.14).
    loads = [(0x70000000, 0x21000, 6), (0x400000, 0x1000, 5), (0x401000, 0x2000, 4)]
    notes += files_note([(0x400000, 0x401000, 0, b"/bin/a"), (0x401000, 0x403000, 1, b"/bin/a")], kind)
    table = only(dump(loads, notes, kind))
    assert [(m.start, m.end, m.perms, m.offset, m.name) for m in table.table.mappings] == [
        (0x400000, 0x401000, "r-xp", 0, b"/bin/a"),
        (0x401000, 0x403000, "r--p", 4096, b"/bin/a"),
        (0x70000000, 0x70021000, "rw-p", 0, b"[stack]"),
    ]
    assert (table.pid, table.ppid, table.uid, table.comm, table.command, table.threads) == (321, 300, 70, b"name", b"name -a b", 1)


def test_segments_and_files_that_meet_halfway() -> None:
    loads = [(0x10000, 0x4000, 4), (0x20000, 0x2000, 6)]
    files = [(0x8000, 0x9000, 7, b"/alone"), (0x11000, 0x12000, 2, b"/within"), (0x13000, 0x21000, 3, b"/over"), (0x30000, 0x31000, 0, b"/last")]
    table = only(dump(loads, files_note(files)))
    assert [(m.start, m.end, m.perms, m.offset, m.name) for m in table.table.mappings] == [
        (0x8000, 0x9000, "????", 0x7000, b"/alone"),
        (0x10000, 0x11000, "r--p", 0, b""),
        (0x11000, 0x12000, "r--?", 0x2000, b"/within"),
        (0x12000, 0x13000, "r--p", 0, b""),
        (0x13000, 0x14000, "r--p", 0x3000, b"/over"),
        (0x14000, 0x20000, "????", 0x4000, b"/over"),
        (0x20000, 0x21000, "rw-p", 0x10000, b"/over"),
        (0x21000, 0x22000, "rw-p", 0, b""),
        (0x30000, 0x31000, "????", 0, b"/last"),
    ]


def test_names_are_what_maps_would_say() -> None:
    names = [b"/a\nb", b"/c\\d (deleted)", b"/\xff\x1b[31m", b"/SYSV00000000 (deleted)", b"/dev/zero (deleted)", b"/memfd:x (deleted)", b"/dev/shm/s"]
    files = [(0x10000 * i, 0x10000 * i + 0x1000, 0, name) for i, name in enumerate(names, start=1)]
    table = only(dump([(start, 0x1000, 6) for start, *_ in files], files_note(files)))
    assert [(m.name, m.perms) for m in table.table.mappings] == [
        *((b"/a\\012b", "rw-?"), (b"/c\\d (deleted)", "rw-?"), (b"/\xff\x1b[31m", "rw-?")),
        *((name, "rw-s") for name in names[3:]),
    ]


@pytest.mark.parametrize(
    ("arguments", "is_full"), [(b"x" * 79 + b"\0", True), (b"x" * 78 + b" \0", True), (b"x" * 77 + b" \0\0", False), (b"short\0" + b"y" * 74, False)]
)
def test_a_command_line_as_long_as_fits_may_have_been_longer(arguments: bytes, is_full: bool) -> None:
    info = struct.pack("<4B4xQ6i16s80s", 0, 82, 0, 0, 0, 0, 0, 1, 0, 0, 0, b"a", arguments)
    table = only(dump([(0x1000, 0x1000, 4)], note(PRPSINFO, info) + files_note([])))
    assert table.command == arguments.split(b"\0")[0].removesuffix(b" ")
    assert any("command line" in warning for warning in table.warnings) == is_full
    assert (table.pid, table.ppid) == (1, None)


@pytest.mark.parametrize("last", [True, False], ids=["whole", "cut"])
def test_more_segments_than_16_bits_can_count(last: bool) -> None:
    count = 70_000
    loads = [(0x10000 + 0x2000 * i, 0x1000, 6) for i in range(count)]
    files = files_note([(start, start + size, 0, b"/f") for start, size, _ in loads[::2]])
    table = only(dump(loads, files, last=last))
    assert len(table.table.mappings) == count
    assert table.table.totals.get("size_kib") == 4 * count
    assert [m.name for m in table.table.mappings[:3]] == [b"/f", b"", b"/f"]


def test_what_was_cut_off() -> None:
    data = sample("kernel-x86_64")
    whole = only(data)
    # All of its memory is missing, and nothing of that was needed.
    assert whole.partial is None
    notes_at = 64 + 56 * (len(whole.table.mappings) + 1)
    reason = refused(data[: notes_at + 600])
    assert "cut off before the end of its notes" in reason
    assert "--partial" in reason
    part = only(data[: notes_at + 600], partial=True)
    assert part.partial == "cut off before the end of its notes"
    assert ranges(part.table.mappings) == ranges(whole.table.mappings)
    assert part.pid == whole.pid
    assert {mapping.name for mapping in part.table.mappings} <= {b"", *LINUX_NAMES}
    assert "cut off within its headers: 0 of " in refused(data[:64])
    some = only(data[: 64 + 56 * 11], partial=True)
    assert some.partial is not None
    assert some.partial.startswith("cut off within its headers: 11 of ")
    assert ranges(some.table.mappings) == ranges(whole.table.mappings)[:10]
    assert "cut off within its headers" in refused(data[: 64 + 56 * 11])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (dump([], header={"type": 2}), "this is a program, not a core dump"),
        (dump([], header={"type": 3}), "a program or a library, not a core dump"),
        (dump([], header={"type": 1}), "an object file, not a core dump"),
        (dump([], header={"type": 0xFE00}), "no core dump"),
        (dump([]), "no memory"),
        (b"\x7fELF", "damaged"),
        (b"\x7fELF\x03\x01\x01" + bytes(100), "EI_CLASS"),
        (b"\x7fELF\x02\x01\x01" + bytes(20), "damaged"),
        (dump([(0x1000, 0x1000, 4)], header={"phentsize": 8}), "8 bytes each"),
        (dump([(0x1000, 0x1000, 4)], header={"phentsize": 0, "phoff": 0, "phnum": 0xFFFE}), "0 bytes each"),
        (dump([(0x1000, 0x1000, 4)], header={"phoff": 1 << 62}), "cut off within its headers"),
        (dump([(0xFFFFFFFFFFFFF000, 0x2000, 4)]), "beyond the last address"),
        (dump([(0x1000, 0xFFFFFFFFFFFFFFFF, 4)]), "beyond the last address"),
        (dump([(0x1000, 0x2000, 4), (0x2000, 0x1000, 4)]), "overlap"),
        (dump([(0x1000, 0x1000, 4)], files_note([(0x1000, 0x3000, 0, b"/a"), (0x2000, 0x4000, 0, b"/b")])), "overlap"),
        (dump([(0x1000, 0x1000, 4)], files_note([(0x3000, 0x1000, 0, b"/a")])), "cannot be"),
        (dump([(0x1000, 0x1000, 4)], files_note([(0x1000, 0x2000, 1 << 60, b"/a")])), "cannot be"),
        (dump([(0x1000, 0x1000, 4)], files_note([(0x1000, 0x2000, 0, b"/a")], page_bytes=0)), "damaged"),
        (dump([(0x1000, 0x1000, 4)], note(FILE, bytes(8))), "too short"),
        (dump([(0x1000, 0x1000, 4)], note(FILE, struct.pack("<2Q", 1 << 60, 4096) + bytes(100))), "1,152,921,504,606,846,976"),
        (dump([(0x1000, 0x1000, 4)], note(FILE, struct.pack("<5Q", 1, 4096, 0, 4096, 0) + b"/no end")), "1 files and 0 names"),
        (dump([(0x1000, 0x1000, 4)], struct.pack("<3I", 5, 0xFFFFFFFF, FILE) + b"CORE\0"), "longer than the segment"),
        (dump([(0x1000, 0x1000, 4)], struct.pack("<3I", 0xFFFFFFFF, 0, 1)), "longer than the segment"),
        (dump([(0x1000, 0x1000, 4)], note(AUXV, bytes(1 << 17))), "131,072 bytes"),
        (dump([(0x1000, 0x1000, 4)], note(0, b"OSRELEASE=6.1", owner=b"VMCOREINFO\0")), "of a kernel's memory"),
        (dump([(0x1000, 0x1000, 4)], note(0, bytes(16)) * ((1 << 20) + 1)), "more than 1,048,576 notes"),
    ],
)
def test_refused(data: bytes, said: str) -> None:
    assert said in refused(data)


def test_text_that_is_called_a_core_dump() -> None:
    with pytest.raises(FormatError, match="not an ELF file"):
        parse_saved(b"core\n" * 100, "f", "core")


class Counting(BytesIO):
    """A file that counts what is read of it."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def read_of(data: bytes, *, partial: bool = False) -> tuple[int, SavedTable | None]:
    """How many bytes of a file are read, and its table."""
    stream = Counting(data)
    try:
        (table,) = parse_file(Parse(stream, "core", partial=partial))
    except FormatError:
        return stream.count, None
    return stream.count, table


def test_its_memory_is_not_read() -> None:
    data = sample("kernel-x86_64")
    count, table = read_of(data + bytes(10_000_000))
    assert table is not None
    assert table.table == only(data).table
    # The beginning is looked at to tell what it is.
    assert count < len(data) + 65536 + 1000


NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 0xFF, 0xFFFE, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 60, 1 << 63, (1 << 64) - 1])
PATCH = st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([1, 2, 4, 8]), NUMBERS | st.integers(0, (1 << 64) - 1))
# Headers are where the harm is done: half of the patches hit the first tenth.
PATCHES = st.lists(st.tuples(st.booleans(), PATCH), max_size=4)


@pytest.mark.parametrize("name", ALL)
@given(PATCHES, st.none() | st.floats(0, 1), st.booleans())
@example([], 0.5, True)
@example([(True, (0.0, 8, 0))], None, False)
def test_any_damage(name: str, patches: list[tuple[bool, tuple[float, int, int]]], cut: float | None, partial: bool) -> None:
    data = bytearray(sample(name))
    for early, (share, width, value) in patches:
        at = int(share * len(data) / (10 if early else 1))
        data[at : at + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    if cut is not None:
        del data[int(cut * len(data)) :]
    count, table = read_of(bytes(data), partial=partial)
    # Two notes of one type, or segments of notes that overlap, are read once each at the most.
    assert count <= 4 * len(data) + 65536
    if table is not None and table.form == "core":
        rows = table.table.mappings
        assert all(row.start < row.end <= 1 << 64 for row in rows)
        assert all(a.end <= b.start for a, b in pairwise(rows))
        assert len(rows) <= len(data) // 16


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


def with_memory(name: str, size: int) -> bytes:
    """A sample with so much memory again, as far as its form says where: behind the notes, or between headers and notes."""
    data = sample(name)
    memory = b"".join(Random(page).randbytes(256) + bytes(3840) for page in range(size >> 12))
    if not name.startswith("gcore"):
        return data + memory
    # The first header is that of the notes, and 8 bytes into it is their offset.
    (notes_at,) = struct.unpack_from("<Q", data, 72)
    return data[:72] + struct.pack("<Q", notes_at + size) + data[80:notes_at] + memory + data[notes_at:]


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("name", ["kernel-x86_64", "gcore-x86_64"])
def test_a_packed_dump_is_unpacked_only_where_it_matters(name: str, packer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "_CORE_BYTES", 2 << 20)
    data = with_memory(name, 8 << 20)
    table = only(data)
    packed = PACKERS[packer](data)
    written = unpack.unpack(BytesIO(packed), "core")
    assert only_of(written).table == table.table
    assert only_of(written).pid == table.pid
    # Of the notes at its end the place is kept, with a hole before them.
    assert written.seek(0, 2) == (len(data) if name.startswith("gcore") else 2 << 20)
    written.seek(5 << 20)
    assert written.read(4096).strip(b"\0") == b""


def only_of(stream: BinaryIO) -> SavedTable:
    (table,) = parse_file(Parse(stream, "core"))
    return table


def test_a_bomb_that_begins_like_a_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "_CORE_BYTES", 1 << 20)
    monkeypatch.setattr(unpack, "_MOST_TIMES_CORE", 10)
    data = with_memory("gcore-x86_64", 8 << 20)
    with pytest.raises(FormatError, match="unpacks to more than"):
        unpack.unpack(BytesIO(gzip.compress(data)), "core")
