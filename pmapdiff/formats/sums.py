"""Rows that are sums over several mappings: what some forms print instead of the mappings themselves."""

from __future__ import annotations

from collections.abc import Iterable

from pmapdiff.model import Counters, Mapping, MappingTable
from pmapdiff.model.mapping import SUM_PERMS

_FIRST_PLACE = 1 << 12


def sum_table(rows: Iterable[tuple[bytes, int | None, Counters]]) -> MappingTable:
    """A table of sums: of each the name, the size in KiB if that is known, and the counters.

    A sum stands at no address. The rows get places one behind the other, so that a table has an order; nobody is shown those.
    """
    mappings: list[Mapping] = []
    # At 0 a store would take the end of an empty one for that of the address space.
    end = _FIRST_PLACE
    for name, size_kib, counters in rows:
        start, end = end, end + ((size_kib or 0) << 10)
        mappings.append(Mapping(start, end, SUM_PERMS, None, None, None, name, counters=counters))
    return MappingTable(tuple(mappings))
