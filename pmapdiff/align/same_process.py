"""Two tables of one process: mappings that overlap in the address space are the same region, if they may hold the same memory.

The kernel splits, merges and grows mappings as it likes, so neither start nor end is a key: `runs` says which neighbours count
as one, `kinds` what has to agree, `overlaps` what is connected and how surely, and `moved` pairs what is left over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pmapdiff.align.component import Component, Relation
from pmapdiff.align.families import classify
from pmapdiff.align.kinds import Side, kinds_of
from pmapdiff.align.labels import object_name
from pmapdiff.align.moved import pair_moved
from pmapdiff.align.overlaps import Region, regions
from pmapdiff.model import Mapping
from pmapdiff.model.mapping import perms_agree


def unequal_parts(before: Sequence[Mapping], after: Sequence[Mapping]) -> tuple[list[int], list[int]]:
    """The positions of the mappings in those parts of the address space in which the tables differ at all. O(n) in the mappings.

    A part is what has no gap in either table, so no region reaches from one into another. Between two snapshots most are the same, and
    need no alignment. Of a file of which something came or went all mappings are given, wherever they are: whether another version took its
    place depends on all of them. Both tables are in the order of their addresses.
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
    return with_files(before, ours, after, theirs)


def with_files(before: Sequence[Mapping], ours: list[int], after: Sequence[Mapping], theirs: list[int]) -> tuple[list[int], list[int]]:
    """These positions, and those of all mappings of a file of which something among them came or went."""
    files = ({(m.start, m.end, m.name) for m in map(table.__getitem__, rows) if m.is_file} for table, rows in ((before, ours), (after, theirs)))
    changed = {object_name(name) for _, _, name in next(files) ^ next(files)}
    return (_of_files(before, ours, changed), _of_files(after, theirs, changed)) if changed else (ours, theirs)


def _of_files(table: Sequence[Mapping], positions: list[int], names: set[bytes]) -> list[int]:
    """These positions, and those of all mappings of files of these names."""
    known = set(positions)
    more = [i for i, m in enumerate(table) if m.name and i not in known and object_name(m.name) in names]
    return sorted([*positions, *more]) if more else positions


def align_same_process(
    before: Sequence[Mapping], after: Sequence[Mapping], families: tuple[Sequence[str], Sequence[str]] | None = None
) -> list[Component]:
    """The regions of two tables of one process, each mapping in exactly one. O(n log n) in the mappings.

    Both tables are in the order of their addresses. `families` are those of the mappings, which need to be given for
    parts of tables: what a mapping is for can depend on the others.
    """
    families = families or (classify(before), classify(after))
    kinds = kinds_of(before, after)
    ours, theirs = Side(before, kinds[0], families[0]), Side(after, kinds[1], families[1])
    return pair_moved([_component(found, before, after) for found in regions(ours, theirs)], ours, theirs)


def _component(found: Region, before: Sequence[Mapping], after: Sequence[Mapping]) -> Component:
    ours, theirs = tuple(sorted(found.before)), tuple(sorted(found.after))
    relation = Relation.SAME if found.sure else Relation.POSSIBLY_SAME
    if not ours or not theirs:
        return Component(ours, theirs)
    if len(ours) == 1 == len(theirs):
        return Component(ours, theirs, relation, 1, 1, not perms_agree(before[ours[0]].perms, after[theirs[0]].perms))
    parts, reprotected = _meetings([before[i] for i in ours], [after[j] for j in theirs])
    return Component(ours, theirs, relation, parts[0], parts[1], reprotected)


def _meetings(ours: Sequence[Mapping], theirs: Sequence[Mapping]) -> tuple[tuple[int, int], bool]:
    """How many mappings of each side overlap one of the other, and whether any of different permissions do."""
    rows = (ours, theirs)
    # What begins where another ends does not overlap it: ends come first.
    events = sorted(
        (address, begins, side, number)
        for side in (0, 1)
        for number, mapping in enumerate(rows[side])
        for address, begins in ((mapping.start, True), (mapping.end, False))
    )
    met, here = [0, 0], (Counter[str](), Counter[str]())
    # The mappings at this address that have met none yet.
    alone: tuple[set[int], set[int]] = (set(), set())
    reprotected = False
    for _, begins, side, number in events:
        perms, other = rows[side][number].perms, 1 - side
        if begins:
            here[side][perms] += 1
            alone[side].add(number)
            if here[other]:
                reprotected = reprotected or not all(perms_agree(perms, met_perms) for met_perms in here[other])
                for which in (0, 1):
                    met[which] += len(alone[which])
                    alone[which].clear()
        else:
            alone[side].discard(number)
            here[side][perms] -= 1
            if not here[side][perms]:
                del here[side][perms]
    return (met[0], met[1]), reprotected
