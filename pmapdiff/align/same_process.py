"""Two tables of one process: mappings that overlap in the address space are the same region.

The kernel splits, merges and grows mappings as it likes, so neither start nor end is a key. Two mappings are
connected when they overlap and are of one kind: files when device, inode and (start - offset) agree (the path is a label:
a rename shows in a running process), anonymous memory with anonymous memory. Adjacent anonymous mappings
of equal permissions, flags and name count as one, because the kernel merges such neighbours, but not always.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import accumulate

from pmapdiff.align.component import Component, Relation
from pmapdiff.align.families import classify, is_guard
from pmapdiff.align.labels import same_object_name
from pmapdiff.model import Mapping
from pmapdiff.model.counters import RSS, SWAP

# Beyond this many left-over anonymous mappings of one kind a side, only those of equal size and residency are
# paired: trying all pairs would cost n × m.
_ALL_PAIRS_LIMIT = 64
# How much of what is resident may have been touched or dropped on the way, for "like residency".
_RESIDENCY_TOLERANCE = 0.1
# From this size on, memory may have been filled since it was moved. glibc moves blocks with mremap from 128 KiB on, but smaller
# ones than this are too common to tell from others.
_MOVED_BLOCK_KIB = 1024


_Key = Callable[[Component], Hashable]


class _Sets:
    """Disjoint sets over the mappings of both sides: before are 0 … n-1, after are n … n+m-1."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, item: int) -> int:
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, one: int, other: int) -> None:
        one, other = self.find(one), self.find(other)
        if one != other:
            self._parent[max(one, other)] = min(one, other)


def unequal_parts(before: Sequence[Mapping], after: Sequence[Mapping]) -> tuple[list[int], list[int]]:
    """The positions of the mappings in those parts of the address space in which the tables differ at all. O(n) in the mappings.

    A part is what has no gap in either table, so no region reaches from one into another. Between two snapshots most are the same, and
    need no alignment. Both tables are in the order of their addresses.
    """
    ours: list[int] = []
    theirs: list[int] = []
    i = j = 0
    while i < len(before) or j < len(after):
        first, other = i, j
        end = min(before[i].start if i < len(before) else after[j].start, after[j].start if j < len(after) else before[i].start)
        while True:
            if i < len(before) and before[i].start <= end:
                end = max(end, before[i].end)
                i += 1
            elif j < len(after) and after[j].start <= end:
                end = max(end, after[j].end)
                j += 1
            else:
                break
        if before[first:i] != after[other:j]:
            ours.extend(range(first, i))
            theirs.extend(range(other, j))
    return ours, theirs


def align_same_process(
    before: Sequence[Mapping], after: Sequence[Mapping], families: tuple[Sequence[str], Sequence[str]] | None = None
) -> list[Component]:
    """The regions of two tables of one process, each mapping in exactly one. O(n log n) in the mappings.

    Both tables are in the order of their addresses. `families` are those of the mappings, which need to be given for
    parts of tables: what a mapping is for can depend on the others.
    """
    shift = len(before)
    sets = _Sets(shift + len(after))
    families = families or (classify(before), classify(after))
    _join_runs(before, families[0], sets, 0)
    _join_runs(after, families[1], sets, shift)
    overlapping: set[int] = set()
    reprotected: set[int] = set()
    for i, j in _overlaps(before, after):
        overlapping.update((i, shift + j))
        sets.join(i, shift + j)
        if before[i].perms != after[j].perms:
            reprotected.add(i)
    members: dict[int, list[int]] = defaultdict(list)
    for item in range(shift + len(after)):
        members[sets.find(item)].append(item)
    components: list[Component] = []
    for items in members.values():
        ours = tuple(i for i in items if i < shift)
        theirs = tuple(i - shift for i in items if i >= shift)
        parts = sum(i in overlapping for i in ours)
        components.append(
            Component(ours, theirs, Relation.SAME, parts, sum(i + shift in overlapping for i in theirs), any(i in reprotected for i in ours))
        )
    return _pair_moved(components, before, after, families)


def _join_runs(mappings: Sequence[Mapping], families: Sequence[str], sets: _Sets, shift: int) -> None:
    for position in range(1, len(mappings)):
        left, right = mappings[position - 1], mappings[position]
        if families[position] == "thread-stack" and left.end == right.start and is_guard(left) and not is_guard(right):
            # A guard page and the stack above it come and go together.
            sets.join(shift + position - 1, shift + position)
        elif left.end == right.start and left.perms == right.perms and left.name == right.name and not left.is_file and _mergeable(left, right):
            sets.join(shift + position - 1, shift + position)


def _mergeable(left: Mapping, right: Mapping) -> bool:
    """Whether the kernel may merge two anonymous neighbours: their VmFlags are equal but for soft-dirty (mm/vma.c, is_mergeable_vma)."""
    if right.is_file:
        return False
    if left.flags == right.flags or left.flags is None or right.flags is None:
        return True
    return set(left.flags.split()) - {b"sd"} == set(right.flags.split()) - {b"sd"}


def _kind(mapping: Mapping) -> Hashable:
    """Overlapping mappings of equal kind are one region; None where the table does not say enough to tell."""
    if mapping.is_file:
        if mapping.device is None or not mapping.inode or mapping.offset is None:
            return None
        return (mapping.device, mapping.inode, mapping.start - mapping.offset)
    return mapping.name if mapping.is_kernel else b""


def _overlaps(before: Sequence[Mapping], after: Sequence[Mapping]) -> Iterable[tuple[int, int]]:
    """The pairs of overlapping mappings that are one region, found by bisection."""
    kinds_before, kinds_after = [_kind(m) for m in before], [_kind(m) for m in after]
    starts = [m.start for m in after]
    # A torn table may overlap itself, so the ends are not sorted; the highest so far are.
    highest = list(accumulate((m.end for m in after), max))
    for i, ours in enumerate(before):
        kind = kinds_before[i]
        j = bisect_left(starts, ours.end) - 1
        while j >= 0 and highest[j] > ours.start:
            theirs, other = after[j], kinds_after[j]
            if theirs.end > ours.start and (_alike(ours, theirs) if kind is None or other is None else kind == other or _same_special(ours, theirs)):
                yield i, j
            j -= 1


def _alike(ours: Mapping, theirs: Mapping) -> bool:
    """Whether two mappings are one kind, judged by what both tables say (saved pmap output has no inodes)."""
    if ours.is_file != theirs.is_file or not same_object_name(ours.name, theirs.name):
        return False
    return ours.offset is None or theirs.offset is None or ours.start - ours.offset == theirs.start - theirs.offset


def _same_special(ours: Mapping, theirs: Mapping) -> bool:
    """Whether a [vdso] stands where the other table has an unnamed mapping: pmap calls both `[ anon ]`."""
    if ours.is_file or theirs.is_file or (ours.start, ours.end, ours.perms) != (theirs.start, theirs.end, theirs.perms):
        return False
    nameless = theirs if ours.is_kernel else ours
    return nameless.name == b"" and nameless.inode is None


def _pair_moved(
    components: list[Component], before: Sequence[Mapping], after: Sequence[Mapping], families: tuple[Sequence[str], Sequence[str]]
) -> list[Component]:
    """Pair what is only on one side: files by inode and offset, anonymous memory by likeness."""
    gone = [c for c in components if not c.after]
    new = [c for c in components if not c.before]
    if not gone or not new:
        return components
    kept = [c for c in components if c.before and c.after]
    gone, new, moved = _pair_by_key(gone, new, lambda c: _file_key(c, before, after, size=True), Relation.MOVED)
    kept += moved
    gone, new, moved = _pair_by_key(gone, new, lambda c: _file_key(c, before, after, size=False), Relation.MOVED)
    kept += moved
    gone, new, moved = _pair_by_key(gone, new, lambda c: _memory_key(c, before, after, families), Relation.POSSIBLY_MOVED)
    kept += moved
    gone, new, moved = _pair_by_likeness(gone, new, before, after, families)
    return sorted(kept + moved + gone + new, key=lambda c: (c.before or c.after, c.after))


def _pair_by_key(
    gone: list[Component], new: list[Component], key: _Key, relation: Relation
) -> tuple[list[Component], list[Component], list[Component]]:
    """Pair components of equal key in the order of their addresses; a key of None pairs with nothing."""
    waiting: dict[Hashable, list[Component]] = defaultdict(list)
    for component in reversed(new):
        waiting[key(component)].append(component)
    waiting.pop(None, None)
    pairs: list[Component] = []
    left: list[Component] = []
    for component in gone:
        candidates = waiting.get(key(component))
        if candidates:
            pairs.append(Component(component.before, candidates.pop().after, relation))
        else:
            left.append(component)
    paired = {c.after for c in pairs}
    return left, [c for c in new if c.after not in paired], pairs


def _file_key(component: Component, before: Sequence[Mapping], after: Sequence[Mapping], *, size: bool) -> Hashable:
    mapping = before[component.before[0]] if component.before else after[component.after[0]]
    if not mapping.is_file:
        return None
    identity: Hashable = (mapping.device, mapping.inode) if mapping.inode else mapping.name
    return (identity, mapping.offset, mapping.perms, mapping.size_kib if size else None)


def _memory(
    component: Component, before: Sequence[Mapping], after: Sequence[Mapping], families: tuple[Sequence[str], Sequence[str]]
) -> tuple[Hashable, int, int | None, int] | None:
    """What is known of a one-sided anonymous component: its kind, size and resident KiB, and its start; None for files."""
    mappings = [before[i] for i in component.before] or [after[i] for i in component.after]
    first = mappings[0]
    if first.is_file or first.is_kernel:
        return None
    resident = [m.counters[RSS] for m in mappings]
    total = None if None in resident else sum(r or 0 for r in resident) + sum(m.counters[SWAP] or 0 for m in mappings)
    family = families[0][component.before[0]] if component.before else families[1][component.after[0]]
    return ((first.perms, first.name, family), sum(m.size_kib for m in mappings), total, first.start)


def _memory_key(component: Component, before: Sequence[Mapping], after: Sequence[Mapping], families: tuple[Sequence[str], Sequence[str]]) -> Hashable:
    facts = _memory(component, before, after, families)
    # Memory that was never touched has nothing that could have moved with it.
    return facts[:3] if facts is not None and facts[2] else None


def _pair_by_likeness(
    gone: list[Component],
    new: list[Component],
    before: Sequence[Mapping],
    after: Sequence[Mapping],
    families: tuple[Sequence[str], Sequence[str]],
) -> tuple[list[Component], list[Component], list[Component]]:
    """Pair anonymous memory whose larger side may be the smaller one, moved and perhaps grown (mremap).

    What was resident must still be there; large blocks, which realloc moves that way, may have filled what was added. The rule is the same in both
    directions, so that a comparison turned round finds the same pairs.
    """
    by_kind: dict[Hashable, tuple[list[tuple[Component, int, int, int]], list[tuple[Component, int, int, int]]]] = defaultdict(lambda: ([], []))
    for side, components in enumerate((gone, new)):
        for component in components:
            facts = _memory(component, before, after, families)
            if facts is not None and facts[2]:
                by_kind[facts[0]][side].append((component, facts[1], facts[2], facts[3]))
    candidates: list[tuple[tuple[int, ...], Component, Component]] = []
    for ours, theirs in by_kind.values():
        largest = [sorted(side, key=lambda f: (-f[1], f[3]))[:_ALL_PAIRS_LIMIT] for side in (ours, theirs)]
        for one, size, resident, start in largest[0]:
            for other, other_size, other_resident, other_start in largest[1]:
                small, large = sorted(((size, resident), (other_size, other_resident)))
                slack = _RESIDENCY_TOLERANCE * small[1]
                filled = large[0] - small[0] if small[0] >= _MOVED_BLOCK_KIB else 0
                if small[1] - slack <= large[1] <= small[1] + filled + slack:
                    order = (large[0] - small[0], abs(resident - other_resident), min(start, other_start), max(start, other_start))
                    candidates.append((order, one, other))
    pairs: list[Component] = []
    taken: set[tuple[int, tuple[int, ...]]] = set()
    for _, one, other in sorted(candidates, key=lambda c: c[0]):
        if (0, one.before) not in taken and (1, other.after) not in taken:
            taken.update(((0, one.before), (1, other.after)))
            pairs.append(Component(one.before, other.after, Relation.POSSIBLY_MOVED))
    return [c for c in gone if (0, c.before) not in taken], [c for c in new if (1, c.after) not in taken], pairs
