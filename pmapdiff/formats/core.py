"""ELF core dumps of a process: of the kernel, of gdb's gcore, of QEMU's user mode. Sizes, permissions and files; no counters.

Kernel facts: fs/binfmt_elf.c, `elf_core_dump` and `fill_files_note`, and fs/coredump.c, 5.10 to 6.18: a header for every VMA, whatever the filter
leaves out of its memory, and the vsyscall page. What gdb writes: gdb/linux-tdep.c and gdb/gcore.c, 13.1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Form, Parse, SavedTable, register
from pmapdiff.formats.elf import EXECUTABLE, MAGIC, NT_AUXV, NT_FILE, NT_PRPSINFO, READABLE, WRITABLE, Dump, Load, read_dump
from pmapdiff.model import Mapping, MappingTable
from pmapdiff.model.mapping import UNKNOWN_PERMS, VSYSCALL, is_shared_memory_name
from pmapdiff.units import plural

# include/uapi/linux/auxvec.h
_AT_PHDR, _AT_ENTRY, _AT_RANDOM, _AT_EXECFN, _AT_SYSINFO_EHDR = 3, 9, 25, 31, 33
VDSO = b"[vdso]"
# Pages that the kernel has at the same place in every process.
_FIXED = {("EM_X86_64", 0xFFFFFFFFFF600000): VSYSCALL, ("EM_ARM", 0xFFFF0000): b"[vectors]"}
# arch/x86/entry/vdso/vma.c since 6.13: the pages of the hypervisors' clocks are a mapping of their own.
_VCLOCK_BYTES = 0x2000
_X86 = ("EM_X86_64", "EM_386")
# ELF_PRARGSZ, with the NUL at its end.
_ARGS_BYTES = 80
_MOST_PID = 1 << 22
_MOST_PAGE = 1 << 30


class _File(NamedTuple):
    """What NT_FILE says of an address range: which file, and from which of its bytes on."""

    start: int
    end: int
    offset: int
    name: bytes


class _Piece(NamedTuple):
    """An address range of one segment (None: it has none) and one file (None: memory)."""

    start: int
    end: int
    load: Load | None
    file: _File | None


def _parse(given: Parse) -> list[SavedTable]:
    dump = read_dump(given.stream, given.source, partial=given.partial)
    loads, files = sorted(dump.loads), _files(dump)
    if not loads:
        raise FormatError("this core dump has no memory in it", source=given.source)
    if any(b.start < a.end for a, b in pairwise(loads)) or any(b.start < a.end for a, b in pairwise(files or ())):
        raise FormatError("two of its segments or files overlap: this is no dump of one process", source=given.source)
    pieces = list(_pieces(loads, files or ()))
    about = _process(dump)
    auxiliary = _auxiliary(dump)
    table = MappingTable(tuple(_mappings(pieces, dump, auxiliary, named=files is not None)))
    program = next((p.file.name for kind in (_AT_PHDR, _AT_ENTRY) for p in pieces if p.file and p.start <= auxiliary.get(kind, -1) < p.end), None)
    warnings = tuple(_warnings(dump, pieces, about, named=files is not None))
    threads = None if dump.cut else dump.threads or None
    return [SavedTable(table, "core", given.source, exe=program, threads=threads, warnings=warnings, partial=dump.cut, **about)]


def _files(dump: Dump) -> list[_File] | None:
    """The files of NT_FILE in the order of their addresses; None if the dump does not say."""
    note = dump.notes.get(NT_FILE)
    if note is None:
        return None
    word = struct.calcsize(dump.order + dump.word)
    if len(note) < 2 * word:
        raise FormatError("its list of files is too short", source=dump.source)
    count, page_bytes = struct.unpack_from(f"{dump.order}2{dump.word}", note)
    # Each has three numbers, and a name with its NUL.
    if count > (len(note) - 2 * word) // (3 * word + 1) or not 0 < page_bytes <= _MOST_PAGE:
        raise FormatError(f"its list of files is damaged: it claims {count:,} of them in {len(note):,} bytes", source=dump.source)
    names_at = (2 + 3 * count) * word
    names = note[names_at:].split(b"\0", count)
    if len(names) <= count:
        raise FormatError(f"its list of files is damaged: it has {count:,} files and {len(names) - 1:,} names", source=dump.source)
    files = []
    for (start, end, page), name in zip(struct.iter_unpack(f"{dump.order}3{dump.word}", note[2 * word : names_at]), names, strict=False):
        offset = page * page_bytes
        if end <= start or offset >= 1 << 64:
            raise FormatError("its list of files is damaged: a range that cannot be", source=dump.source)
        # As in maps, from which gdb has them: a name is one line (fs/proc/task_mmu.c, show_map_vma).
        files.append(_File(start, end, offset, name.replace(b"\n", b"\\012")))
    return sorted(files)


def _auxiliary(dump: Dump) -> dict[int, int]:
    """The auxiliary vector, as the kernel gave it to the program."""
    note = dump.notes.get(NT_AUXV, b"")
    pair = struct.Struct(f"{dump.order}2{dump.word}")
    return dict(pair.iter_unpack(note[: len(note) // pair.size * pair.size]))


def _process(dump: Dump) -> dict[str, Any]:
    """What NT_PRPSINFO says of the process; nothing if it is not there."""
    structure, note = dump.file.structs.Elf_Prpsinfo, dump.notes.get(NT_PRPSINFO, b"")
    if len(note) < structure.sizeof():
        return {}
    said: Any = structure.parse(note)
    # The kernel makes a blank of each NUL between the arguments, and of the last one.
    command = said.pr_psargs.partition(b"\0")[0].removesuffix(b" ")
    comm = said.pr_fname.partition(b"\0")[0]
    pid, ppid = (number if 0 < number <= _MOST_PID else None for number in (said.pr_pid, said.pr_ppid))
    return {"pid": pid, "ppid": ppid, "uid": said.pr_uid, "comm": comm or None, "command": command or None}


def _pieces(loads: Sequence[Load], files: Sequence[_File]) -> Iterator[_Piece]:
    """The segments, cut where a file begins or ends within one, and the ranges of files that no segment covers. Linear in both."""
    i = j = 0
    position = 0
    while i < len(loads) or j < len(files):
        load = loads[i] if i < len(loads) else None
        file = files[j] if j < len(files) else None
        position = max(position, min(each.start for each in (load, file) if each is not None))
        here = load if load is not None and load.start <= position else None
        mapped = file if file is not None and file.start <= position else None
        bounds = (load and (load.end if here else load.start), file and (file.end if mapped else file.start))
        end = min(bound for bound in bounds if bound is not None)
        yield _Piece(position, end, here, mapped)
        position = end
        i += load is not None and load.end <= end
        j += file is not None and file.end <= end


def _mappings(pieces: Sequence[_Piece], dump: Dump, auxiliary: dict[int, int], *, named: bool) -> Iterator[Mapping]:
    """The rows of the table. Memory has no offset in the kernel's tables either: 0 there; None where nobody knows what is a file."""
    programs = {p.file.name for p in pieces if p.file is not None and (p.load is None or p.load.flags & EXECUTABLE)}
    kernels = _names_of_kernel(pieces, dump, auxiliary)
    for number, piece in enumerate(pieces):
        start, end, load, file = piece
        name = kernels.get(number, b"") if file is None else file.name
        offset = (0 if named else None) if file is None else file.offset + start - file.start
        is_file = None if not named else file is not None
        perms = _perms(load, name, dump, is_file=is_file, is_program=name in programs)
        yield Mapping(start, end, perms, offset, None, None, name)


def _perms(load: Load | None, name: bytes, dump: Dump, *, is_file: bool | None, is_program: bool) -> str:
    """The permissions, a `?` for each that the dump does not tell.

    Headers do not say what is shared. Memory is private unless its object is one of shared memory, and so are the segments of programs; other files
    may be either. BFD calls every segment readable, gdb's guards, too.
    """
    if load is None:
        return UNKNOWN_PERMS
    readable, writable, executable = (load.flags & bit for bit in (READABLE, WRITABLE, EXECUTABLE))
    claimed = dump.by_debugger and not writable and not is_file and name != VDSO
    shared = "s" if is_file and is_shared_memory_name(name, True) else "p" if is_file is False or is_program else "?"
    return ("?" if claimed else "r" if readable else "-") + ("w" if writable else "-") + ("x" if executable else "-") + shared


def _names_of_kernel(pieces: Sequence[_Piece], dump: Dump, auxiliary: dict[int, int]) -> dict[int, bytes]:
    """The names of memory that is certain to be what the kernel calls so, by the position. [heap] is not: no note says where it begins."""
    names: dict[int, bytes] = {}
    # The kernel puts these bytes and this name right above the arguments of main.
    stack = auxiliary.get(_AT_RANDOM) or auxiliary.get(_AT_EXECFN, -1)
    for number, (start, end, load, file) in enumerate(pieces):
        if file is not None or load is None:
            continue
        if (dump.machine, start) in _FIXED:
            names[number] = _FIXED[dump.machine, start]
        elif start <= stack < end and load.flags & WRITABLE:
            names[number] = b"[stack]"
        elif start == auxiliary.get(_AT_SYSINFO_EHDR):
            names[number] = VDSO
            below = [n for n in (number - 2, number - 1) if n >= 0 and _is_data_of_vdso(pieces[n : number + 1])]
            has_clocks = len(below) == 2 and dump.machine in _X86 and pieces[number - 1].end - pieces[number - 1].start == _VCLOCK_BYTES
            names |= zip(below, (b"[vvar]", b"[vvar_vclock]"), strict=True) if has_clocks else dict.fromkeys(below[-1:], b"[vvar]")
    return names


def _is_data_of_vdso(pieces: Sequence[_Piece]) -> bool:
    """Whether the first of these pieces is read-only memory, and they follow each other without a gap, as what [vdso] reads is placed."""
    first = pieces[0]
    return first.file is None and first.load is not None and first.load.flags == READABLE and all(a.end == b.start for a, b in pairwise(pieces))


def _warnings(dump: Dump, pieces: Sequence[_Piece], about: dict[str, Any], *, named: bool) -> Iterator[str]:
    if not dump.cut and not about:
        yield "it does not say which process it is of"
    if not dump.cut and not named:
        yield "it does not say what is mapped there (no note NT_FILE): the names and offsets of files are missing"
    bare = sum(piece.load is None for piece in pieces)
    if dump.by_debugger or bare:
        said = f"{plural(bare, 'mapping')} of files came without permissions, and " if bare else ""
        yield f"a debugger wrote it, not the kernel: {said}memory that it did not dump is missing"
    if len(about.get("command") or b"") >= _ARGS_BYTES - 2:
        yield f"the end of the command line may be missing: a core dump has {_ARGS_BYTES - 1} bytes of it"


register(Form("core", "an ELF core dump of the kernel, of gdb's gcore, of QEMU's user mode", lambda head: head.startswith(MAGIC), _parse))
