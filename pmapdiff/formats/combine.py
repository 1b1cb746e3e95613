"""Several of pmap's tables of the same process at the same time become one that knows what each of them knows.

pmap -x has Rss and Dirty, -d has offset and device, -X most counters, and only one of them may have been given -p.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from pmapdiff.formats.base import SavedTable
from pmapdiff.model import NO_COUNTERS, Mapping, MappingTable
from pmapdiff.model.counters import DIRTY, PRIVATE_DIRTY, SHARED_DIRTY, dirty_kib

# The one without anything of its own is not named.
_PLAIN, _OTHERS = "pmap", ("pmap-X", "pmap-x", "pmap-d")
# pmap -X keeps so many bytes of a path, and shows the basename of that.
_MOST_OF_A_NAME = 127
_SHMID = re.compile(rb"\[shmid=0x([0-9a-f]{1,16})\]")
_FORMS = (_PLAIN, *_OTHERS)
# A file may hold a hundred thousand tables with the same rows, whose names contradict.
_MOST_TRIED = 100


@dataclass
class _Combined:
    """A table so far, and the forms that went into it."""

    table: SavedTable
    forms: frozenset[str]


def combine(tables: Sequence[SavedTable]) -> list[SavedTable]:
    """Join those of pmap's tables that show the same process with the same rows; everything else stays, in order.

    Each joins the first before it that can take it: the same pid and command, the same addresses and perms, nothing that
    contradicts, and none of the same form in it yet (two of one form are two moments).
    """
    combined: list[_Combined] = []
    lacking: dict[tuple[object, ...], deque[_Combined]] = defaultdict(deque)
    for table in tables:
        if table.form not in _FORMS or not table.table.mappings or table.table.has_sums:
            combined.append(_Combined(table, frozenset()))
            continue
        key = _key(table)
        alike = lacking[table.form, key]
        for place, earlier in enumerate(islice(alike, _MOST_TRIED)):
            if _agree(earlier.table.table, table.table):
                earlier.forms |= {table.form}
                earlier.table = _join(earlier.table, table, earlier.forms)
                del alike[place]
                break
        else:
            combined.append(_Combined(table, frozenset((table.form,))))
            for form in _FORMS:
                if form != table.form:
                    lacking[form, key].append(combined[-1])
    return [each.table for each in combined]


def _key(table: SavedTable) -> tuple[object, ...]:
    return table.pid, table.command, tuple([(mapping.start, mapping.end, mapping.perms) for mapping in table.table.mappings])


def _agree(one: MappingTable, other: MappingTable) -> bool:
    return all(_mappings_agree(a, b) for a, b in zip(one.mappings, other.mappings, strict=True))


def _mappings_agree(one: Mapping, other: Mapping) -> bool:
    """Whether nothing that both know differs: if the process ran in between, its counters do."""
    pairs = [(one.offset, other.offset), (one.device, other.device), (dirty_kib(one.counters), dirty_kib(other.counters))]
    pairs += zip(one.counters, other.counters, strict=True)
    return _richer(one, other) is not None and all(a is None or b is None or a == b for a, b in pairs)


def _richer(one: Mapping, other: Mapping) -> bytes | None:
    """The name that says more; None if they are names of different things."""
    for mapping, another in ((one, other), (other, one)):
        # pmap names SysV memory by its id, which is the inode; the kernel by the key that it was made with.
        match = _SHMID.fullmatch(mapping.name)
        if match is not None and another.name.rpartition(b"/")[2].startswith(b"SYSV"):
            return another.name if another.inode in (None, int(match[1], 16)) else None
    short, long = sorted((one.name, other.name), key=len)
    # pmap prints what follows the last slash, and for the kernel's special names, unless told to show them, nothing.
    if short in (long, long.rpartition(b"/")[2], long[:_MOST_OF_A_NAME], long[:_MOST_OF_A_NAME].rpartition(b"/")[2]):
        return long
    return long if not short and long.lstrip(b" ").startswith(b"[") else None


def _join(one: SavedTable, other: SavedTable, forms: frozenset[str]) -> SavedTable:
    return replace(
        one,
        table=MappingTable(tuple([_join_mappings(a, b) for a, b in zip(one.table.mappings, other.table.mappings, strict=True)])),
        form="+".join(form for form in _OTHERS if form in forms),
        source=one.source if one.source == other.source else f"{one.source} + {other.source}",
        warnings=tuple(dict.fromkeys(one.warnings + other.warnings)),
        taken_at_us=one.taken_at_us or other.taken_at_us,
        partial=one.partial or other.partial,
    )


def _join_mappings(one: Mapping, other: Mapping) -> Mapping:
    counters = [b if a is None else a for a, b in zip(one.counters, other.counters, strict=True)]
    if counters[SHARED_DIRTY] is not None and counters[PRIVATE_DIRTY] is not None:
        counters[DIRTY] = NO_COUNTERS[DIRTY]
    return one._replace(
        name=_richer(one, other) or b"",
        offset=other.offset if one.offset is None else one.offset,
        device=other.device if one.device is None else one.device,
        inode=other.inode if one.inode is None else one.inode,
        flags=other.flags if one.flags is None else one.flags,
        counters=tuple(counters),
    )
