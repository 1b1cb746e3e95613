"""Names as labels: what they say when there is no inode to ask, and what reports call a region."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from pmapdiff.model import Mapping
from pmapdiff.model.counters import RSS
from pmapdiff.model.mapping import DELETED
from pmapdiff.text import decode

# A library's bss of more than this, and of so many times what is mapped of the file, is taken for other memory.
_LEAST_MERGED_KIB = 1024
_MANY_TIMES = 8
SHARED_LIBRARY = re.compile(rb"\.so(\.[0-9.]+)?$")


def object_name(name: bytes) -> bytes:
    """A file's name without ` (deleted)`: an upgrade under a running process does not make it another file."""
    return name.removesuffix(DELETED)


def basename(name: bytes) -> bytes:
    """The last component of a path (pmap prints no more without -p)."""
    return object_name(name).rsplit(b"/", 1)[-1]


def same_object_name(one: bytes, other: bytes) -> bool:
    """Whether two names may be of one file: equal, or one of them only a basename."""
    one, other = object_name(one), object_name(other)
    if one == other:
        return True
    return (b"/" in one) != (b"/" in other) and basename(one) == basename(other)


def bss_owners(mappings: Sequence[Mapping]) -> dict[int, int]:
    """Which mappings are the bss of an object, by position, and the position of the segment that they belong to.

    It is the unnamed rw-p that starts where its object's rw-p segment ends (fs/binfmt_elf.c, set_brk and vm_brk_flags). Between two libraries
    the kernel may have merged it with what was mapped into the hole behind it: one that dwarfs its library is no bss but that.
    """
    sizes: dict[bytes, int] = defaultdict(int)
    for mapping in mappings:
        if mapping.is_file:
            sizes[mapping.name] += mapping.size_kib
    owners: dict[int, int] = {}
    for position in range(1, len(mappings)):
        segment, bss = mappings[position - 1], mappings[position]
        if bss.perms == "rw-p" == segment.perms and not bss.name and not bss.inode and segment.is_file and segment.end == bss.start:
            merged = bss.size_kib > max(_LEAST_MERGED_KIB, _MANY_TIMES * sizes[segment.name])
            if not merged or not SHARED_LIBRARY.search(object_name(segment.name)):
                owners[position] = position - 1
    return owners


def display_name(mapping: Mapping, bss_of: Mapping | None) -> str:
    """What people call a mapping: the kernel's name, `libc.so.6 bss`, or `[anon]`."""
    if bss_of is not None:
        return f"{decode(basename(bss_of.name))} bss"
    return decode(mapping.name) or "[anon]"


def speaker(mappings: Sequence[Mapping]) -> int:
    """Which of a region's mappings speaks for it: the fullest that can be written; an arena's used part, not its reserve."""
    return max(range(len(mappings)), key=lambda i: (mappings[i].perms[1] == "w", mappings[i].counters[RSS] or 0, mappings[i].end - mappings[i].start))
