"""Names as labels: what they say when there is no inode to ask, and what reports call a region."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from pmapdiff.model import Mapping
from pmapdiff.model.counters import RSS
from pmapdiff.model.mapping import DELETED
from pmapdiff.text import decode

# A library's bss of more than this, and of so many times its size, is taken for other memory.
_LEAST_MERGED_KIB = 1024
_MANY_TIMES = 16
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

    It is the unnamed rw-p that starts where its object's rw-p segment ends (fs/binfmt_elf.c, set_brk and vm_brk_flags).
    """
    sizes = object_sizes(mappings)
    owners: dict[int, int] = {}
    segment: Mapping | None = None
    for position, mapping in enumerate(mappings):
        if segment is not None and not mapping.name and is_bss(segment, mapping, sizes):
            owners[position] = position - 1
        # Most mappings of a large table have no name, and nothing to ask them.
        segment = mapping if mapping.name or mapping.inode else None
    return owners


def object_sizes(mappings: Sequence[Mapping]) -> dict[bytes, int]:
    """How much of each file is mapped, in KiB, by name."""
    sizes: dict[bytes, int] = defaultdict(int)
    for mapping in mappings:
        if mapping.name or mapping.inode:
            sizes[mapping.name] += mapping.size_kib
    return sizes


def is_bss(segment: Mapping, mapping: Mapping, sizes: dict[bytes, int]) -> bool:
    """Whether a mapping is the bss of the object of the segment before it; `sizes` are those of `object_sizes`.

    Between two libraries the kernel may have merged a bss with what was mapped into the hole behind it (Python's arenas, malloc's big blocks): one
    that dwarfs its library is rather that. (libtcmalloc has a bss of 10 times its size; the arenas behind zlib had 25 times that.)
    """
    if not (mapping.perms == "rw-p" == segment.perms and not mapping.name and not mapping.inode and segment.is_file and segment.end == mapping.start):
        return False
    merged = mapping.size_kib > max(_LEAST_MERGED_KIB, _MANY_TIMES * sizes[segment.name])
    return not merged or SHARED_LIBRARY.search(object_name(segment.name)) is None


def display_name(mapping: Mapping, bss_of: Mapping | None) -> str:
    """What people call a mapping: the kernel's name, `libc.so.6 bss`, or `[anon]`."""
    if bss_of is not None:
        return f"{decode(basename(bss_of.name))} bss"
    return decode(mapping.name) or "[anon]"


def speaker(mappings: Sequence[Mapping]) -> int:
    """Which of a region's mappings speaks for it: the fullest that can be written; an arena's used part, not its reserve."""
    return max(range(len(mappings)), key=lambda i: (mappings[i].perms[1] == "w", mappings[i].counters[RSS] or 0, mappings[i].end - mappings[i].start))
