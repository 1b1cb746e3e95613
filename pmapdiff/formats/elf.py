"""What of an ELF core dump says how the memory was laid out: its program headers and its notes.

A dump may be larger than the memory of this host, be cut off anywhere, and hold anything: only these two are ever read, each piece is
checked against the size of the file first, and all work is in proportion to what is there. pyelftools knows the structures, for both classes and byte
orders. Its own ways through them (`iter_segments`, `iter_notes`) believe what they read, and would read a note of 4 GB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from pmapdiff.errors import FormatError

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

MAGIC = b"\x7fELF"
EXECUTABLE, WRITABLE, READABLE = 1, 2, 4
_PRSTATUS, NT_PRPSINFO, NT_AUXV, NT_FILE = 1, 3, 6, 0x46494C45
_MANY = 0xFFFF
"""PN_XNUM: the number of program headers does not fit, and stands in section header 0."""
# vm.max_map_count is 65,530 unless somebody raised it, threads-max a few notes each; more than this is no dump of a process.
_MOST_SEGMENTS = 1 << 22
_MOST_NOTES = 1 << 20
_HEADERS_AT_ONCE = 4096
# The kernel writes up to 16 MiB of names (sysctl kernel.core_file_note_size_limit), gdb as many as there are.
_MOST_NAMES_BYTES = 256 << 20
_MOST_BYTES = {NT_FILE: _MOST_NAMES_BYTES, NT_AUXV: 1 << 16, NT_PRPSINFO: 1 << 12}
_NOT_CORES = {
    "ET_EXEC": "this is a program, not a core dump",
    "ET_DYN": "this is a program or a library, not a core dump",
    "ET_REL": "this is an object file, not a core dump",
}
# /proc/kcore, kdump, and the dump of a guest by QEMU.
_OF_KERNELS = (b"VMCOREINFO", b"QEMU")
_OWNER_BYTES = 16
_CUT = "--partial takes what is there"


class Load(NamedTuple):
    """A PT_LOAD header: the address range `start` to `end` (exclusive) in bytes, and the permissions as PF_R, PF_W and PF_X."""

    start: int
    end: int
    flags: int


@dataclass
class Dump:
    """What a core dump says, unparsed.

    `notes` are the contents of the first note of each type that is of interest, `threads` is the number of threads, `cut` says what is missing
    because the file ends too early.
    """

    file: ELFFile
    source: str
    loads: list[Load] = field(default_factory=list)
    notes: dict[int, bytes] = field(default_factory=dict)
    threads: int = 0
    cut: str | None = None

    @property
    def by_debugger(self) -> bool:
        """Whether gdb wrote it, or whoever else uses BFD: it has section headers. The kernel writes none, or the one that counts segments."""
        return int(self.file["e_shnum"]) > 1

    @property
    def machine(self) -> str:
        """What pyelftools calls the machine."""
        return str(self.file["e_machine"])

    @property
    def word(self) -> str:
        """The format of an address of this dump for `struct`, behind the sign for its byte order."""
        return "Q" if self.file.elfclass == 64 else "I"

    @property
    def order(self) -> str:
        """The sign for its byte order."""
        return "<" if self.file.little_endian else ">"

    @property
    def address_limit(self) -> int:
        """The first address in bytes that is none."""
        return 1 << self.file.elfclass


def read_dump(stream: BinaryIO, source: str, *, partial: bool) -> Dump:
    """The headers and notes of a core dump of a process.

    Raises FormatError for any other file, for a damaged one, and unless `partial` for one that ends before all of them are read.
    """
    file = _opened(stream, source)
    if file["e_type"] != "ET_CORE":
        raise FormatError(_NOT_CORES.get(str(file["e_type"]), "an ELF file, but no core dump"), source=source)
    dump = Dump(file, source)
    places = []
    for segment, offset, size, load in _segments(dump):
        if segment == "PT_NOTE":
            places.append((offset, size))
        elif load.end > dump.address_limit:
            raise FormatError("a segment ends beyond the last address", source=source)
        elif load.end > load.start:
            dump.loads.append(load)
    for kind, offset, size in _notes(dump, places):
        _take(dump, kind, offset, size)
    if dump.cut is not None and not partial:
        raise FormatError(f"{dump.cut}: {_CUT}", source=source)
    return dump


def notes_begin(stream: BinaryIO) -> int | None:
    """Where the notes of the dump begin that this is the beginning of; None if it cannot be told, or there are none."""
    try:
        dump = Dump(_opened(stream, ""), "")
        return min((offset for kind, offset, _, _ in _segments(dump) if kind == "PT_NOTE"), default=None)
    except FormatError:
        return None


def _opened(stream: BinaryIO, source: str) -> ELFFile:
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        return ELFFile(stream)
    except ELFError as error:
        raise FormatError(f"not an ELF file, or a damaged one: {error or type(error).__name__}", source=source) from None


def _segments(dump: Dump) -> Iterator[tuple[str, int, int, Load]]:
    """The PT_NOTE and PT_LOAD headers, with where their content is in the file and how much of it."""
    file, form = dump.file, dump.file.structs.Elf_Phdr
    if file["e_phentsize"] != form.sizeof():
        raise FormatError(f"its program headers have {file['e_phentsize']} bytes each, not {form.sizeof()}", source=dump.source)
    begin, each = int(file["e_phoff"]), form.sizeof()
    count = _number_of_segments(dump)
    room = max(0, file.stream_len - begin) // each
    if count > room:
        dump.cut = f"cut off within its headers: {room:,} of {count:,} segments are there"
        count = room
    if count > _MOST_SEGMENTS:
        raise FormatError(f"it claims to have {count:,} segments: no process has so many", source=dump.source)
    for first in range(0, count, _HEADERS_AT_ONCE):
        size = min(_HEADERS_AT_ONCE, count - first) * each
        data = _read(dump, begin + first * each, size)
        if data.count(0) == size:
            continue
        headers = BytesIO(data)
        for _ in range(size // each):
            header: Any = form.parse_stream(headers)
            if header.p_type in ("PT_LOAD", "PT_NOTE"):
                start = header.p_vaddr
                yield header.p_type, header.p_offset, header.p_filesz, Load(start, start + header.p_memsz, header.p_flags)


def _number_of_segments(dump: Dump) -> int:
    """How many program headers there are. The kernel puts a number of more than 16 bits at the very end of the file, where it is soon lost."""
    file = dump.file
    number, structs = int(file["e_phnum"]), file.structs
    if number != _MANY:
        return number
    place, size = int(file["e_shoff"]), structs.Elf_Shdr.sizeof()
    if 0 < place <= file.stream_len - size:
        header: Any = structs.Elf_Shdr.parse(_read(dump, place, size))
        return int(header.sh_info)
    # fs/binfmt_elf.c, elf_core_dump: the headers, the notes right behind them (which are the first of them), and then the memory.
    begin, each = int(file["e_phoff"]), structs.Elf_Phdr.sizeof()
    if begin <= file.stream_len - 2 * each:
        note, load = (structs.Elf_Phdr.parse(_read(dump, begin + i * each, each)) for i in range(2))
        if note.p_type == "PT_NOTE" and load.p_offset > note.p_offset > begin and (note.p_offset - begin) % each == 0:
            return int(note.p_offset - begin) // each
    dump.cut = "cut off before the number of its segments"
    return _MANY


def _notes(dump: Dump, places: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Type, offset and size of the content of each note of Linux's own that is whole."""
    header = struct.Struct(f"{dump.order}3I")
    seen = 0
    for offset, size in places:
        end = min(offset + size, dump.file.stream_len)
        if end < offset + size:
            dump.cut = dump.cut or "cut off before the end of its notes"
        while end - offset >= header.size:
            head = _read(dump, offset, min(header.size + _OWNER_BYTES, end - offset))
            name_bytes, content_bytes, kind = header.unpack_from(head)
            content_at = offset + header.size + _aligned(name_bytes)
            if content_at + content_bytes > end:
                if end == dump.file.stream_len and dump.cut:
                    break
                raise FormatError("a note is longer than the segment that it is in", source=dump.source)
            owner = head[header.size : header.size + name_bytes].rstrip(b"\0")
            if owner in _OF_KERNELS:
                raise FormatError("this is a dump of a kernel's memory, not of a process's", source=dump.source)
            if owner == b"CORE":
                yield kind, content_at, content_bytes
            offset = content_at + _aligned(content_bytes)
            seen += 1
            if seen > _MOST_NOTES:
                raise FormatError(f"it has more than {_MOST_NOTES:,} notes: no process has so many threads", source=dump.source)


def _take(dump: Dump, kind: int, offset: int, size: int) -> None:
    if kind == _PRSTATUS:
        dump.threads += 1
    elif kind in _MOST_BYTES and kind not in dump.notes:
        if size > _MOST_BYTES[kind]:
            raise FormatError(f"its note of type {kind:#x} has {size:,} bytes: no process needs so many", source=dump.source)
        dump.notes[kind] = _read(dump, offset, size)


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _read(dump: Dump, offset: int, size: int) -> bytes:
    """Bytes that were found to be within the file."""
    dump.file.stream.seek(offset)
    data = dump.file.stream.read(size)
    if len(data) < size:
        raise FormatError("the file became shorter while it was read", source=dump.source)
    return data
