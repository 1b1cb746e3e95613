"""Several of pmap's tables of the same process at the same time become one that knows what each of them knows.

pmap -x has the counters, -d has offset and device, and only one of them may have been given -p.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from pmapdiff.formats.base import SavedTable
from pmapdiff.model import NO_COUNTERS, Mapping, MappingTable

_FORMS = _PLAIN, _EXTENDED, _DEVICE = "pmap", "pmap-x", "pmap-d"
# A file may hold a hundred thousand tables with the same rows, whose names contradict.
_MOST_TRIED = 100


@dataclass
class _Combined:
    """A table so far, and the forms that went into it."""

    table: SavedTable
    forms: frozenset[str]


def combine(tables: Sequence[SavedTable]) -> list[SavedTable]:
    """Join those of pmap's tables that show the same process with the same rows; everything else stays, in order.

    Each joins the first before it that can take it: the same pid and command, the same addresses and perms, names that do not
    contradict, and none of the same form in it yet (two of one form are two moments).
    """
    combined: list[_Combined] = []
    lacking: dict[tuple[object, ...], deque[_Combined]] = defaultdict(deque)
    for table in tables:
        if table.form not in _FORMS:
            combined.append(_Combined(table, frozenset()))
            continue
        key = _key(table)
        alike = lacking[table.form, key]
        for place, earlier in enumerate(islice(alike, _MOST_TRIED)):
            if _names_agree(earlier.table.table, table.table):
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


def _names_agree(one: MappingTable, other: MappingTable) -> bool:
    return all(_richer(a.name, b.name) is not None for a, b in zip(one.mappings, other.mappings, strict=True))


def _richer(one: bytes, other: bytes) -> bytes | None:
    """The name that says more; None if they are names of different things."""
    short, long = sorted((one, other), key=len)
    # pmap prints what follows the last slash, and for the kernel's special names, unless told to show them, nothing.
    if short in (long, long.rpartition(b"/")[2]) or (not short and long.startswith(b"[")):
        return long
    return None


def _join(one: SavedTable, other: SavedTable, forms: frozenset[str]) -> SavedTable:
    mappings = tuple([_join_mappings(a, b) for a, b in zip(one.table.mappings, other.table.mappings, strict=True)])
    return SavedTable(
        table=MappingTable(mappings),
        form="+".join(form for form in (_EXTENDED, _DEVICE) if form in forms),
        source=one.source if one.source == other.source else f"{one.source} + {other.source}",
        pid=one.pid,
        command=one.command,
        warnings=tuple(dict.fromkeys(one.warnings + other.warnings)),
    )


def _join_mappings(one: Mapping, other: Mapping) -> Mapping:
    return one._replace(
        name=_richer(one.name, other.name) or b"",
        offset=other.offset if one.offset is None else one.offset,
        device=other.device if one.device is None else one.device,
        counters=other.counters if one.counters == NO_COUNTERS else one.counters,
    )
