"""Adjacent mappings that count as one: the kernel merges neighbours that are alike, but not always."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Sequence
from itertools import accumulate

from pmapdiff.align.families import is_guard
from pmapdiff.align.kinds import Side
from pmapdiff.model import Mapping
from pmapdiff.model.counters import RSS, SWAP


class Run:
    """Neighbours of one kind in one table, or a single mapping.

    `rows` are their positions in the table. `has_guard` marks a thread's stack with the guard below it: they come and go together.
    """

    __slots__ = ("_family", "_kib", "_table", "_torn", "end", "has_guard", "rows", "start")

    def __init__(self, table: Sequence[Mapping], position: int, family: str) -> None:
        mapping = table[position]
        self.start = mapping.start
        self.end = mapping.end
        self.rows = [position]
        self.has_guard = False
        self._family = family
        self._table = table
        self._torn = False
        self._kib: list[int] | None = None

    def append(self, position: int) -> None:
        """Take in the next mapping."""
        mapping = self._table[position]
        self._torn = self._torn or mapping.start < self.end
        self.end = max(self.end, mapping.end)
        self.rows.append(position)

    @property
    def last(self) -> Mapping:
        """The highest of its mappings."""
        return self._table[self.rows[-1]]

    @property
    def name(self) -> bytes:
        """What its mappings are called."""
        return self.last.name

    @property
    def perms(self) -> str:
        """The permissions of its mappings, not of a guard."""
        return self.last.perms

    @property
    def is_reserve(self) -> bool:
        """Whether it was set aside to be filled by and by: MAP_NORESERVE, or a runtime's heap."""
        return self._family == "managed-heap" or b"nr" in (self.last.flags or b"").split()

    def reserved_to(self, *, above: bool) -> int:
        """How far what lies right above (or below) it is anonymous memory without permissions: an address, its own end (or start) if none is."""
        step, reach = (1, self.end) if above else (-1, self.start)
        row = self.rows[-1 if above else 0] + step
        while 0 <= row < len(self._table):
            mapping = self._table[row]
            if mapping.perms != "---p" or mapping.is_file or (mapping.start if above else mapping.end) != reach:
                break
            reach = mapping.end if above else mapping.start
            row += step
        return reach

    def boundaries(self) -> list[int]:
        """Where its mappings begin and end."""
        if len(self.rows) == 1:
            return [self.start, self.end]
        return [address for mapping in map(self._table.__getitem__, self.rows) for address in (mapping.start, mapping.end)]

    def resident_kib(self, start: int, end: int) -> tuple[int, int] | None:
        """The least and the most that may be resident or paged out between two addresses within it; None if the table does not say."""
        if len(self.rows) == 1:
            kib = _kib(self.last)
            return None if kib is None else _within(kib, self.end - self.start, end - start)
        if self._kib is None:
            known = [_kib(self._table[row]) for row in self.rows]
            self._kib = [] if None in known else list(accumulate((kib or 0 for kib in known), initial=0))
        if not self._kib:
            return None
        if self._torn:
            return _within(self._kib[-1], self.end - self.start, end - start)
        first = bisect_right(self.rows, start, key=lambda row: self._table[row].end)
        last = bisect_left(self.rows, end, key=lambda row: self._table[row].start) - 1
        least = most = max(0, self._kib[last] - self._kib[first + 1])
        for number in {first, last}:
            mapping = self._table[self.rows[number]]
            part = min(mapping.end, end) - max(mapping.start, start)
            bounds = _within(self._kib[number + 1] - self._kib[number], mapping.end - mapping.start, part)
            least += bounds[0]
            most += bounds[1]
        return least, most


def _kib(mapping: Mapping) -> int | None:
    """What of a mapping is resident or paged out."""
    rss = mapping.counters[RSS]
    return None if rss is None else rss + (mapping.counters[SWAP] or 0)


def _within(kib: int, size: int, part: int) -> tuple[int, int]:
    """How much of what is resident in so many bytes may be in a part of them."""
    return max(0, kib - ((size - part) >> 10)), min(kib, part >> 10)


def runs_by_kind(side: Side) -> dict[Hashable, list[Run]]:
    """The runs of a table by their kind, in the order of their addresses. Those of one kind do not overlap."""
    found: dict[Hashable, list[Run]] = {}
    mappings, kinds, families = side
    for position, mapping in enumerate(mappings):
        runs = found.setdefault(kinds[position], [])
        if runs and mapping.start <= runs[-1].end:
            run = runs[-1]
            beside = mapping.start == run.last.end
            guarded = beside and families[position] == "thread-stack" and is_guard(run.last) and not is_guard(mapping)
            # A torn table may show one mapping twice, before and after it grew.
            if guarded or mapping.start < run.end or (beside and _mergeable(run.last, mapping)):
                run.append(position)
                run.has_guard = run.has_guard or guarded
                continue
        runs.append(Run(mappings, position, families[position]))
    return found


def _mergeable(left: Mapping, right: Mapping) -> bool:
    """Whether the kernel may merge two neighbours: their VmFlags are equal but for soft-dirty (mm/vma.c, is_mergeable_vma)."""
    if left.perms != right.perms or left.name != right.name or left.is_file:
        return False
    if left.flags == right.flags or left.flags is None or right.flags is None:
        return True
    return set(left.flags.split()) - {b"sd"} == set(right.flags.split()) - {b"sd"}
