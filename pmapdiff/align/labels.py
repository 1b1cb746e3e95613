"""Names as labels: what they say when there is no inode to ask, and what reports call a region."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

from pmapdiff.model import Mapping
from pmapdiff.model.counters import RSS
from pmapdiff.model.mapping import DELETED
from pmapdiff.text import decode

# Behind a library, what is larger than the first and no larger than the second is taken for memory that was merged with a bss: holes between
# libraries come from their alignment to 2 MiB.
_LIBRARY_BSS_BYTES, _HOLE_BYTES = 512 << 10, 4 << 20
_SYSV = (b"/SYSV", b"SYSV", b"[shmid=")
# src/pmap.c of procps 3.2 to 4.0.4: what is not printable is replaced, byte for byte, but by -X.
_SHOWN_BY_PMAP = bytes(byte if 0x20 <= byte < 0x7F else ord("?") for byte in range(256))
# The few libraries that have much more, and are common.
_LARGE_BSS = re.compile(rb"lib(jemalloc|tcmalloc|asan|hwasan|lsan|tsan|ubsan)")


def object_name(name: bytes) -> bytes:
    """A file's name without ` (deleted)`: an upgrade under a running process does not make it another file."""
    return name.removesuffix(DELETED)


def basename(name: bytes) -> bytes:
    """The last component of a path (pmap prints no more without -p)."""
    return object_name(name).rsplit(b"/", 1)[-1]


def pmap_path(name: bytes) -> bytes:
    """A file's name as pmap -p prints it: `?` for each byte that is no ASCII, and SysV shared memory by its id, which the kernel's name lacks."""
    name = object_name(name)
    return b"SYSV" if name.startswith(_SYSV) else name.translate(_SHOWN_BY_PMAP)


def pmap_name(name: bytes) -> bytes:
    """A file's name as pmap prints it without -p."""
    return basename(pmap_path(name))


def same_object_name(one: bytes, other: bytes) -> bool:
    """Whether two names may be of one file: equal, or one of them as pmap prints the other."""
    one, other = object_name(one), object_name(other)
    if one == other:
        return True
    if (b"/" in one) != (b"/" in other):
        return pmap_name(one) == pmap_name(other)
    return (b"?" in one) != (b"?" in other) and pmap_path(one) == pmap_path(other)


def object_of(mapping: Mapping) -> Hashable:
    """What tells the object behind a mapping from others."""
    return (mapping.device, mapping.inode) if mapping.inode else object_name(mapping.name)


def bss_owners(mappings: Sequence[Mapping]) -> dict[int, int]:
    """Which mappings are the bss of an object, by position, and the position of the segment that they belong to.

    It is the unnamed rw-p that starts where its object's rw-p segment ends (fs/binfmt_elf.c, set_brk and vm_brk_flags). Among
    libraries, where the kernel fills holes from above, so does other memory, and merges with it: what is as large as such a hole is hardly ever bss.
    (Of 1,605 libraries of a Debian 12, 24 have more than 512 KiB of bss; of 334 mappings that looked like it in 28 processes, the 114 larger
    ones held 267 MB, of which 0.1 were bss: the rest was arenas of Python.)
    """
    # Most mappings of a large table have no name, and nothing to ask them.
    named = [position for position, mapping in enumerate(mappings) if mapping.name or mapping.inode]
    owners = {
        position + 1: position for position in named if position + 1 < len(mappings) and _adjoins_data(mappings[position], mappings[position + 1])
    }
    return _without_merged(mappings, owners)


def bss_owner(mappings: Sequence[Mapping], position: int) -> int | None:
    """The position of the segment that this mapping is the bss of, as `bss_owners` says; None if it is none."""
    if not position or not _adjoins_data(mappings[position - 1], mappings[position]):
        return None
    return _without_merged(mappings, {position: position - 1}).get(position)


def _without_merged(mappings: Sequence[Mapping], owners: dict[int, int]) -> dict[int, int]:
    """Those of them that are not too large to be a bss alone."""
    large = [position for position in owners if _LIBRARY_BSS_BYTES < mappings[position].end - mappings[position].start <= _HOLE_BYTES]
    if large:
        # The program itself stands below all libraries, and alone. A table without any code does not say which it is.
        program = next((object_of(m) for m in mappings if "x" in m.perms and m.is_file), None)
        for position in large if program is not None else ():
            owner = mappings[owners[position]]
            if object_of(owner) != program and not _LARGE_BSS.match(basename(owner.name)):
                del owners[position]
    return owners


def _adjoins_data(segment: Mapping, mapping: Mapping) -> bool:
    if mapping.perms != "rw-p" or segment.perms != "rw-p" or mapping.name or mapping.inode or not segment.is_file or segment.end != mapping.start:
        return False
    # No loader asks for MAP_NORESERVE (fs/binfmt_elf.c; glibc's dl-map-segments.h): that is an arena, below which the kernel has put a library.
    return b"nr" not in (mapping.flags or b"").split()


def display_name(mapping: Mapping, bss_of: Mapping | None) -> str:
    """What people call a mapping: the kernel's name, `libc.so.6 bss`, or `[anon]`."""
    if bss_of is not None:
        return f"{decode(basename(bss_of.name))} bss"
    return decode(mapping.name) or "[anon]"


def speaker(mappings: Sequence[Mapping]) -> int:
    """Which of a region's mappings speaks for it: the fullest that can be written; an arena's used part, not its reserve."""
    return max(range(len(mappings)), key=lambda i: (mappings[i].perms[1] == "w", mappings[i].counters[RSS] or 0, mappings[i].end - mappings[i].start))
