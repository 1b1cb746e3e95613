"""What two mappings of one process must have in common to hold the same memory, as a key."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from pmapdiff.align.labels import object_name, pmap_name, pmap_path
from pmapdiff.model import Mapping

ANONYMOUS = "anonymous"
# Flags that a mapping has from birth (include/linux/mm.h; mm/mprotect.c, mm/madvise.c and mm/mlock.c change none of them): noreserve, huge pages
# of hugetlbfs, shared, may be shared, grows down, shadow stack, and what mprotect may ever allow.
_BORN_WITH = frozenset((b"nr", b"ht", b"sh", b"ms", b"gd", b"ss", b"mr", b"mw", b"me"))


class Side(NamedTuple):
    """One of two tables that are aligned, in the order of its addresses, and what is known of each of its mappings."""

    mappings: Sequence[Mapping]
    kinds: Sequence[Hashable]
    families: Sequence[str]


def kinds_of(before: Sequence[Mapping], after: Sequence[Mapping]) -> tuple[list[Hashable], list[Hashable]]:
    """The kind of each mapping of two tables: those that overlap and are of one kind are one region.

    Of a file it is device, inode and the address where the file would begin; the path is a label, which a rename changes in a running process. Of
    anonymous memory it is what a mapping is born with. Where one of the tables says less (pmap -x has no inodes, offsets or flags, and
    without -p only basenames), that much is asked of both.
    """
    rows = [(m, m.is_file) for m in (*before, *after)]
    files = [m for m, is_file in rows if is_file]
    identified = all(m.device is not None and m.inode is not None for m in files)
    placed = all(m.offset is not None for m in files)
    have_paths = all(b"/" in m.name for m in files)
    label = object_name if identified and have_paths else pmap_path if have_paths else pmap_name
    flagged = all(m.flags is not None for m, is_file in rows if not is_file)
    # pmap calls [vdso] `[ anon ]`: what the other table calls the same place.
    theirs, ours = ({(m.start, m.end, m.perms): m.name for m in table if m.name and m.is_kernel} for table in (before, after))
    anonymous: dict[bytes | None, Hashable] = {}
    kinds: list[Hashable] = []
    for mapping, is_file in rows:
        kind: Hashable = None
        if is_file:
            what = (mapping.device, mapping.inode) if identified and mapping.inode else label(mapping.name)
            kind = (what, mapping.start - (mapping.offset or 0) if placed else None)
        elif mapping.name:
            kind = mapping.name if mapping.is_kernel else None
        elif mapping.inode is None:
            kind = (ours if len(kinds) < len(before) else theirs).get((mapping.start, mapping.end, mapping.perms))
        if kind is None:
            flags = mapping.flags if flagged else None
            kind = anonymous.get(flags)
            if kind is None:
                kind = anonymous[flags] = (ANONYMOUS, _BORN_WITH.intersection((flags or b"").split()))
        kinds.append(kind)
    return kinds[: len(before)], kinds[len(before) :]


def is_anonymous(kind: Hashable) -> bool:
    """Whether mappings of this kind are plain memory, of which one looks like the other."""
    return isinstance(kind, tuple) and kind[0] == ANONYMOUS
