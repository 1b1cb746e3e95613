"""What is known of a table but for its counters: from one snapshot to the next most tables differ in nothing else, and the rest in few places."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import compress
from operator import attrgetter, gt, is_not
from typing import NamedTuple, TypeVar

from pmapdiff.align.by_name import hold_sums
from pmapdiff.align.kinds import Side, kinds_of
from pmapdiff.align.runs import runs_by_kind
from pmapdiff.model import Mapping
from pmapdiff.model.mapping import PLACE, same_place

T = TypeVar("T")
_start = attrgetter("start")
# So many mappings are compared at once; of most nothing has changed.
_STRIDE = 16


class Changes(NamedTuple):
    """How a table differs from the one before it, as positions.

    `gone` are those of mappings of the earlier one that are not in the later one, `new` the other way round. The rest is in both, in the same
    order, and `counted` are those in the later one where only the counters differ.
    """

    gone: list[int]
    new: list[int]
    counted: list[int]


def changes(before: Sequence[Mapping], after: Sequence[Mapping]) -> Changes:
    """How a table differs from the one before it, both in the order of addresses without overlaps. O(n), and fast for equal objects."""
    if len(before) == len(after):
        found = _recounted(before, after)
        if found is not None:
            return Changes([], [], found)
    known = set(map(id, before))
    new = [j for j, mapping in enumerate(after) if id(mapping) not in known]
    known = set(map(id, after))
    gone = {before[i][PLACE]: i for i, mapping in enumerate(before) if id(mapping) not in known}
    counted = []
    unknown = []
    for j in new:
        i = gone.pop(after[j][PLACE], None)
        if i is None:
            unknown.append(j)
        elif before[i] != after[j]:
            counted.append(j)
    return Changes(list(gone.values()), unknown, counted)


def _recounted(before: Sequence[Mapping], after: Sequence[Mapping]) -> list[int] | None:
    """The positions at which two tables of equal length differ, if it is in counters alone."""
    found = []
    for first in range(0, len(after), _STRIDE):
        if before[first : first + _STRIDE] == after[first : first + _STRIDE]:
            continue
        for position in compress(range(first, first + _STRIDE), map(is_not, before[first : first + _STRIDE], after[first : first + _STRIDE])):
            one, other = before[position], after[position]
            if one != other:
                if not same_place(one, other):
                    return None
                found.append(position)
    return found


def without(items: Sequence[T], positions: Iterable[int]) -> list[T]:
    """What is not at these positions."""
    chosen = bytearray(b"\1") * len(items)
    for position in positions:
        chosen[position] = 0
    return list(compress(items, chosen))


class Part(NamedTuple):
    """A part of the address space without a gap in two tables: the positions in each, from the first up to the second."""

    ours: tuple[int, int]
    theirs: tuple[int, int]


class Places:
    """Where the mappings of a table are: which lie together without a gap, and which neighbours count as one.

    It holds for every table that differs from this one in counters alone, and another is made of it for one that differs in a few places. There is
    none of a table that leaves open what its mappings are, or in which they overlap: then no part can be aligned without the rest.
    """

    def __init__(self, table: Sequence[Mapping], families: Sequence[str], starts: list[int], ends: list[int], flagged: bool | None) -> None:
        self._table = table
        self._families = families
        # The parts without a gap.
        self._starts = starts
        self._ends = ends
        # Whether memory without a file has VmFlags: all of it or none; None if there is none.
        self._flagged = flagged
        # The first addresses of the parts of which the neighbours that count as one were given.
        self._given: set[int] = set()

    @classmethod
    def of(cls, table: Sequence[Mapping], families: Sequence[str]) -> Places | None:
        """The places of a table; None if it leaves open too much."""
        if hold_sums(table) or any(map(gt, [m.end for m in table], [m.start for m in table[1:]])) or not all(map(_is_identified, table)):
            return None
        flagged = {m.flags is not None for m in table if not m.is_file}
        if len(flagged) > 1:
            return None
        return cls(table, families, *_parts(table), next(iter(flagged), None))

    def follow(self, table: Sequence[Mapping], families: Sequence[str], changed: Changes) -> tuple[Places, list[Part]] | None:
        """The places of the next table, and the parts of both in which anything but a counter differs; None if it leaves open too much.

        A mapping of another family is another one, if anything else in its part differs.
        """
        new = [table[j] for j in changed.new]
        last = len(table) - 1
        if not all(map(_is_identified, new)) or any(
            (j and table[j - 1].end > table[j].start) or (j < last and table[j].end > table[j + 1].start) for j in changed.new
        ):
            return None
        flagged = {m.flags is not None for m in new if not m.is_file} | {self._flagged} - {None}
        if len(flagged) > 1:
            return None
        others = self._of_another_family(families, changed)
        spans = [(m.start, m.end) for m in (*new, *map(self._table.__getitem__, changed.gone))]
        if others:
            spans += [span for span in self._parts_of(table, changed.counted) if span in set(self._parts_of(table, others))]
        chosen = self._joined(spans)
        found = Places(table, families, *self._parts_beside(table, chosen), next(iter(flagged), None))
        found._given = {start for start in self._given if not any(low <= start < high for low, high in chosen)}
        found._given.difference_update([start for start, _ in found._parts_of(table, others)])
        # Whoever aligns these parts joins what counts as one.
        for low, high in chosen:
            found._given.update(found._starts[bisect_left(found._starts, low) : bisect_left(found._starts, high)])
        return found, [Part(_between(self._table, *span), _between(table, *span)) for span in chosen]

    def _of_another_family(self, families: Sequence[str], changed: Changes) -> list[int]:
        """The positions in the next table of mappings that are in both, but of another family there."""
        ours, theirs = without(self._families, changed.gone), without(families, changed.new)
        if ours == theirs:
            return []
        return [j for j, one, other in zip(without(range(len(families)), changed.new), ours, theirs, strict=True) if one != other]

    def _parts_of(self, table: Sequence[Mapping], positions: Iterable[int]) -> list[tuple[int, int]]:
        """The parts in which these mappings lie that are in this table, too."""
        numbers = (bisect_right(self._starts, table[position].start) - 1 for position in positions)
        return [(self._starts[number], self._ends[number]) for number in numbers]

    def _joined(self, spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """These spans of addresses with the parts that they overlap or adjoin, in order."""
        found: list[tuple[int, int]] = []
        for low, high in sorted(map(self._widened, spans)):
            if found and low <= found[-1][1]:
                found[-1] = (found[-1][0], max(high, found[-1][1]))
            else:
                found.append((low, high))
        return found

    def _widened(self, span: tuple[int, int]) -> tuple[int, int]:
        low, high = span
        first, end = bisect_left(self._ends, low), bisect_right(self._starts, high)
        return span if first == end else (min(low, self._starts[first]), max(high, self._ends[end - 1]))

    def _parts_beside(self, table: Sequence[Mapping], chosen: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
        """The parts of the next table, which differ from those of this one in these spans."""
        starts, ends = list(self._starts), list(self._ends)
        for low, high in chosen:
            here = slice(bisect_left(starts, low), bisect_left(starts, high))
            first, end = _between(table, low, high)
            starts[here], ends[here] = _parts(table[first:end])
        return starts, ends

    def joined_around(self, positions: Iterable[int]) -> list[list[int]]:
        """The neighbours that count as one in the parts in which these mappings lie, as positions; those of each part are given once."""
        table, found = self._table, []
        for low, high in {span for span in self._parts_of(table, positions) if span[0] not in self._given}:
            self._given.add(low)
            first, end = _between(table, low, high)
            if end - first == 1:
                continue
            rows = table[first:end]
            for runs in runs_by_kind(Side(rows, kinds_of(rows, rows)[0], self._families[first:end])).values():
                found += [[first + row for row in run.rows] for run in runs if len(run.rows) > 1]
        return found


def _is_identified(mapping: Mapping) -> bool:
    """Whether the table says of a mapping where it is, what file it is of, and what of it."""
    if mapping.device is None or mapping.offset is None or mapping.inode is None or mapping.start >= mapping.end:
        return False
    return mapping.inode != 0 or not mapping.is_file


def _parts(rows: Sequence[Mapping]) -> tuple[list[int], list[int]]:
    """Where the parts of some mappings begin and end that have no gap."""
    if not rows:
        return [], []
    starts, ends = [m.start for m in rows], [m.end for m in rows]
    gaps = [start > end for start, end in zip(starts[1:], ends, strict=False)]
    return [starts[0], *compress(starts[1:], gaps)], [*compress(ends, gaps), ends[-1]]


def _between(table: Sequence[Mapping], low: int, high: int) -> tuple[int, int]:
    """The mappings that begin between two addresses, as positions from the first up to the second."""
    return bisect_left(table, low, key=_start), bisect_left(table, high, key=_start)
