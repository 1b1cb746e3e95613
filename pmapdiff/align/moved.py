"""What is left over of two tables of one process, paired if it moved: pieces of files by inode and offset, anonymous memory by likeness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from functools import partial

from pmapdiff.align.component import Component, Relation
from pmapdiff.align.kinds import Side
from pmapdiff.align.reloaded import pair_reloaded
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


def pair_moved(components: list[Component], before: Side, after: Side) -> list[Component]:
    """Pair what is only on one side: files by inode and offset, then by version; anonymous memory by likeness.

    What could be paired with several is paired in the order of the addresses, on both sides.
    """
    gone = sorted((c for c in components if not c.after), key=lambda c: c.before)
    new = sorted((c for c in components if not c.before), key=lambda c: c.after)
    pairs = [c for c in components if c.before and c.after]
    if not gone or not new:
        return sorted(components, key=_by_place)
    # Of one file's mappings at one offset those that are most alike: a file may be mapped many times.
    for size, resident in ((True, True), (True, False), (False, True), (False, False)):
        gone, new, moved = _pair_by_key(gone, new, partial(_file_key, before=before, after=after, size=size, resident=resident), Relation.MOVED)
        pairs += moved
    gone, new, replaced = pair_reloaded(gone, new, before, after)
    pairs += replaced
    gone, new, moved = _pair_by_key(gone, new, partial(_memory_key, before=before, after=after), Relation.POSSIBLY_MOVED)
    pairs += moved
    gone, new, moved = _pair_by_likeness(gone, new, before, after)
    return sorted(pairs + moved + gone + new, key=_by_place)


def _by_place(component: Component) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return component.before or component.after, component.after


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


def _file_key(component: Component, *, before: Side, after: Side, size: bool, resident: bool) -> Hashable:
    mapping = before.mappings[component.before[0]] if component.before else after.mappings[component.after[0]]
    if not mapping.is_file:
        return None
    identity: Hashable = (mapping.device, mapping.inode) if mapping.inode else mapping.name
    return (identity, mapping.offset, mapping.perms, mapping.size_kib if size else None, mapping.counters[RSS] if resident else None)


def _memory(component: Component, before: Side, after: Side) -> tuple[Hashable, int, int | None, int] | None:
    """What is known of a one-sided component: its kind, size and resident KiB, and its start.

    None if it is nothing that mremap would move: malloc and programs move their blocks, but nobody moves stacks, arenas and heaps, and V8, jemalloc
    and mimalloc map and unmap (without reserving) equal blocks all the time.
    """
    side, positions = (before, component.before) if component.before else (after, component.after)
    if side.families[positions[0]] != "anon" or b"nr" in (side.mappings[positions[0]].flags or b"").split():
        return None
    mappings = [side.mappings[position] for position in positions]
    first = mappings[0]
    resident = [m.counters[RSS] for m in mappings]
    total = None if None in resident else sum(r or 0 for r in resident) + sum(m.counters[SWAP] or 0 for m in mappings)
    return ((first.perms, first.name, side.kinds[positions[0]]), sum(m.size_kib for m in mappings), total, first.start)


def _memory_key(component: Component, *, before: Side, after: Side) -> Hashable:
    facts = _memory(component, before, after)
    # Memory that was never touched has nothing that could have moved with it.
    return facts[:3] if facts is not None and facts[2] else None


def _pair_by_likeness(
    gone: list[Component], new: list[Component], before: Side, after: Side
) -> tuple[list[Component], list[Component], list[Component]]:
    """Pair anonymous memory whose larger side may be the smaller one, moved and perhaps grown (mremap).

    What was resident must still be there; large blocks, which realloc moves that way, may have filled what was added. The rule is the same in both
    directions, so that a comparison turned round finds the same pairs.
    """
    by_kind: dict[Hashable, tuple[list[tuple[Component, int, int, int]], list[tuple[Component, int, int, int]]]] = defaultdict(lambda: ([], []))
    for side, components in enumerate((gone, new)):
        for component in components:
            facts = _memory(component, before, after)
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
