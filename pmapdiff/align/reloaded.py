"""What is left over of two tables of one process: files of which another version was loaded, by dlclose and dlopen, or a cache mapped anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from pmapdiff.align.component import Component, Relation
from pmapdiff.align.kinds import Side
from pmapdiff.align.labels import object_name
from pmapdiff.align.objects import FileObject, pair_objects


def pair_reloaded(gone: list[Component], new: list[Component], before: Side, after: Side) -> tuple[list[Component], list[Component], list[Component]]:
    """Pair the files of which all that was mapped is gone with those that are wholly new, if they are versions of each other.

    What is left of both, and the pairs. A file at the same path with another inode is another file, which is said: they are `replaced`.
    """
    ours, theirs = _objects(gone, before, 0), _objects(new, after, 1)
    if not ours or not theirs:
        return gone, new, []
    pairs: list[Component] = []
    for pair in pair_objects(ours, theirs):
        if pair.relation is not Relation.SAME:
            pairs += [Component(one, other, pair.relation, len(one), len(other)) for one, other in pair.segments() if one and other]
    taken = ({i for c in pairs for i in c.before}, {j for c in pairs for j in c.after})
    left = [c for c in gone if not taken[0].intersection(c.before)], [c for c in new if not taken[1].intersection(c.after)]
    return *left, pairs


def _objects(components: Sequence[Component], side: Side, which: int) -> list[FileObject]:
    """The regular files whose every mapping is in one of these components."""
    positions: dict[bytes, list[int]] = defaultdict(list)
    for component in components:
        for position in (component.before, component.after)[which]:
            mapping = side.mappings[position]
            if mapping.is_file:
                positions[object_name(mapping.name)].append(position)
    if not positions:
        return []
    number: dict[bytes, int] = defaultdict(int)
    for mapping in side.mappings:
        if mapping.is_file and object_name(mapping.name) in positions:
            number[object_name(mapping.name)] += 1
    whole = {label: tuple(sorted(found)) for label, found in positions.items() if number[label] == len(found)}
    known = [FileObject(label, side.mappings, found, (), side.families[found[0]]) for label, found in whole.items()]
    return [item for item in known if item.is_regular]
