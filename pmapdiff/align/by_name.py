"""Tables of sums, which stand at no address: what has the same name is the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pmapdiff.align.component import Component
from pmapdiff.align.labels import object_name, pmap_name
from pmapdiff.model import Mapping

# smaps_rollup has one sum, over everything.
_ROLLUP = b"[rollup]"


def hold_sums(*tables: Sequence[Mapping]) -> bool:
    """Whether one of these tables holds sums, so that they can only be compared by name."""
    return any(mapping.is_sum for table in tables for mapping in table[:1])


def align_by_name(before: Sequence[Mapping], after: Sequence[Mapping]) -> list[Component]:
    """The regions of two tables by the names of their mappings alone: all of one name together, and all unnamed memory.

    One that is the sum of everything is compared with all of the other. O(n log n) in the mappings.
    """
    if any(mapping.name == _ROLLUP for table in (before, after) for mapping in table):
        return [_component(range(len(before)), range(len(after)))] if before or after else []
    only_basenames = any(files and not any(b"/" in name for name in files) for files in (_files(before), _files(after)))
    groups: dict[bytes, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, table in enumerate((before, after)):
        for position, mapping in enumerate(table):
            groups[pmap_name(mapping.name) if only_basenames else object_name(mapping.name)][side].append(position)
    return sorted((_component(*sides) for sides in groups.values()), key=lambda c: (c.before or c.after, c.after))


def _files(table: Sequence[Mapping]) -> list[bytes]:
    return [mapping.name for mapping in table if mapping.is_file]


def _component(ours: Sequence[int], theirs: Sequence[int]) -> Component:
    return Component(tuple(ours), tuple(theirs), parts_before=len(ours), parts_after=len(theirs))
