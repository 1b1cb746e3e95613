"""What is left over of two tables of one process, paired if it moved: pieces of files by inode and offset, anonymous memory by likeness."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from functools import partial
from itertools import product
from typing import NamedTuple

from pmapdiff.align.component import Component, Relation
from pmapdiff.align.kinds import Side
from pmapdiff.align.reloaded import pair_reloaded
from pmapdiff.model.counters import RSS, SWAP

# Beyond this many left-over anonymous mappings of one kind a side, and of all kinds, only those of equal size and residency are
# paired: trying all pairs would cost n × m.
_ALL_PAIRS_LIMIT = 64
_ALL_KINDS_LIMIT = 1024
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


class _Memory(NamedTuple):
    """A component of anonymous memory that is only on one side: its kind, its size, what is resident of it (both in KiB), and where it starts."""

    component: Component
    kind: Hashable
    size: int
    resident: int
    start: int


def _memory(component: Component, before: Side, after: Side) -> _Memory | None:
    """What is known of a one-sided component.

    None if it is nothing that mremap would move: malloc and programs move their blocks, but nobody moves stacks, arenas and heaps, and V8, jemalloc
    and mimalloc map and unmap (without reserving) equal blocks all the time. What was never touched has nothing that could have moved with it.
    """
    side, positions = (before, component.before) if component.before else (after, component.after)
    if side.families[positions[0]] != "anon" or b"nr" in (side.mappings[positions[0]].flags or b"").split():
        return None
    mappings = [side.mappings[position] for position in positions]
    first = mappings[0]
    known = [m.counters[RSS] for m in mappings]
    resident = 0 if None in known else sum(rss or 0 for rss in known) + sum(m.counters[SWAP] or 0 for m in mappings)
    if not resident:
        return None
    return _Memory(component, (first.perms, first.name, side.kinds[positions[0]]), sum(m.size_kib for m in mappings), resident, first.start)


def _memory_key(component: Component, *, before: Side, after: Side) -> Hashable:
    memory = _memory(component, before, after)
    return None if memory is None else (memory.kind, memory.size, memory.resident)


def _pair_by_likeness(
    gone: list[Component], new: list[Component], before: Side, after: Side
) -> tuple[list[Component], list[Component], list[Component]]:
    """Pair anonymous memory whose larger side may be the smaller one, moved and perhaps grown (mremap).

    The closest in size are paired first. The rule is the same in both directions, so that a comparison turned round finds the same pairs.
    """
    by_kind: dict[Hashable, tuple[list[_Memory], list[_Memory]]] = defaultdict(lambda: ([], []))
    for side, components in enumerate((gone, new)):
        left = [memory for c in components if (memory := _memory(c, before, after)) is not None]
        for memory in sorted(left, key=lambda memory: (-memory.size, memory.start))[:_ALL_KINDS_LIMIT]:
            if len(by_kind[memory.kind][side]) < _ALL_PAIRS_LIMIT:
                by_kind[memory.kind][side].append(memory)
    candidates = [pair for ours, theirs in by_kind.values() for pair in product(ours, theirs) if _are_alike(*pair)]
    pairs: list[Component] = []
    taken: tuple[set[tuple[int, ...]], set[tuple[int, ...]]] = (set(), set())
    for one, other in sorted(candidates, key=_closeness):
        if one.component.before not in taken[0] and other.component.after not in taken[1]:
            taken[0].add(one.component.before)
            taken[1].add(other.component.after)
            pairs.append(Component(one.component.before, other.component.after, Relation.POSSIBLY_MOVED))
    return [c for c in gone if c.before not in taken[0]], [c for c in new if c.after not in taken[1]], pairs


def _are_alike(one: _Memory, other: _Memory) -> bool:
    """Whether what was resident may still be there; large blocks, which realloc moves that way, may have filled what was added."""
    small, large = sorted((one, other), key=lambda memory: (memory.size, memory.resident))
    slack = _RESIDENCY_TOLERANCE * small.resident
    filled = large.size - small.size if small.size >= _MOVED_BLOCK_KIB else 0
    return small.resident - slack <= large.resident <= small.resident + filled + slack


def _closeness(pair: tuple[_Memory, _Memory]) -> tuple[int, ...]:
    one, other = pair
    return (abs(one.size - other.size), abs(one.resident - other.resident), min(one.start, other.start), max(one.start, other.start))
