"""Which file of one table is which of another: the same path, or another version of it, and which segment is which.

Used where addresses say nothing: across incarnations, and for what was unloaded and loaded again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from pmapdiff.align.component import Relation
from pmapdiff.align.segments import segment_roles
from pmapdiff.align.versions import fold_version, version_key
from pmapdiff.model import Mapping

_Positions = tuple[int, ...]


@dataclass(frozen=True)
class FileObject:
    """All mappings of one path in one table, as positions in it in the order of their addresses, and the bss behind them.

    `label` is the path without ` (deleted)`, or a basename. `family` is what its mappings are for.
    """

    label: bytes
    table: Sequence[Mapping]
    positions: _Positions
    bss: _Positions
    family: str

    @cached_property
    def mappings(self) -> list[Mapping]:
        """Its mappings, without the bss."""
        return [self.table[position] for position in self.positions]

    @cached_property
    def inodes(self) -> frozenset[int]:
        """The inodes that the path had; none if the table does not say."""
        return frozenset(m.inode for m in self.mappings if m.inode)

    @cached_property
    def devices(self) -> frozenset[str]:
        """The devices that the file was on; none if the table does not say."""
        return frozenset(m.device for m in self.mappings if m.device is not None)

    @cached_property
    def layout(self) -> Counter[tuple[int | None, str, int]]:
        """Offset, permissions and size in KiB of each mapping."""
        return Counter((m.offset, m.perms, m.size_kib) for m in self.mappings)

    @cached_property
    def text_kib(self) -> int:
        """The size of all executable mappings: mprotect can split them, but not change their sum."""
        return sum(m.size_kib for m in self.mappings if "x" in m.perms)

    @cached_property
    def has_perms(self) -> bool:
        """Whether the table says all permissions of all mappings."""
        return not any("?" in m.perms for m in self.mappings)

    @property
    def is_image(self) -> bool:
        """Whether it is a program or a library."""
        return self.family == "image"

    @property
    def is_regular(self) -> bool:
        """Whether it may be a file of a file system, of which there can be another version; shared memory and devices are made anew."""
        return self.family in ("image", "file") and not self.mappings[0].is_shared_memory


def is_replaced(one: FileObject, other: FileObject) -> bool:
    """Whether a file of one table took the place of the other table's.

    It has another inode on the same device; or the text of the program or library is not as long as it was. On another device (the next
    container of the same image) the same file may have another number.
    """
    if not one.is_regular or not other.is_regular:
        return False
    if one.is_image and one.text_kib != other.text_kib and one.has_perms and other.has_perms:
        return True
    if not one.inodes or not other.inodes or one.inodes & other.inodes:
        return False
    return bool(one.devices & other.devices) or one.layout != other.layout


@dataclass(frozen=True)
class ObjectPair:
    """A file of one table and what it is in the other: one of them is None if there is none."""

    one: FileObject | None
    other: FileObject | None
    relation: Relation = Relation.SAME

    def segments(self) -> list[tuple[_Positions, _Positions]]:
        """Which mappings are which, as positions; one side is empty for what only the other has."""
        return self._paired[0]

    def unmatched_bss(self) -> tuple[_Positions, _Positions]:
        """Memory that stands where a bss would, of a file of which the other table has no such."""
        return self._paired[1]

    @cached_property
    def _paired(self) -> tuple[list[tuple[_Positions, _Positions]], tuple[_Positions, _Positions]]:
        one, other = self.one, self.other
        if one is None or other is None:
            ours, theirs = (() if side is None else (*side.positions, *side.bss) for side in (one, other))
            return [((i,), ()) for i in ours] + [((), (j,)) for j in theirs], ((), ())
        found: list[tuple[_Positions, _Positions]] = []
        left = (list(one.positions), list(other.positions))
        tables = (one.table, other.table)
        images = one.is_image and other.is_image
        known = one.has_perms and other.has_perms
        if not images or one.layout == other.layout or one.inodes & other.inodes or not known:
            found += _take_equal(left, tables, lambda m: (m.offset, known and m.perms, m.size_kib))
        found += _take_roles(left, (one, other)) if images else _take_equal(left, tables, lambda m: (m.offset, known and m.perms))
        found += [((i,), ()) for i in left[0]] + [((), (j,)) for j in left[1]]
        spare = (list(one.bss), list(other.bss))
        found += _take_equal(spare, tables, lambda m: m.size_kib)
        found += _take_equal(spare, tables, lambda m: m.perms)
        return found, (tuple(spare[0]), tuple(spare[1]))


def _take_equal(
    left: tuple[list[int], list[int]], tables: tuple[Sequence[Mapping], Sequence[Mapping]], key: Callable[[Mapping], Hashable]
) -> list[tuple[_Positions, _Positions]]:
    """Pair what has equal keys, in the order of addresses, and take it out of what is left."""
    waiting: dict[Hashable, list[int]] = defaultdict(list)
    for position in reversed(left[1]):
        waiting[key(tables[1][position])].append(position)
    pairs: list[tuple[_Positions, _Positions]] = []
    for position in left[0]:
        candidates = waiting.get(key(tables[0][position]))
        if candidates:
            pairs.append(((position,), (candidates.pop(),)))
    _take(left, pairs)
    return pairs


def _take_roles(left: tuple[list[int], list[int]], objects: tuple[FileObject, FileObject]) -> list[tuple[_Positions, _Positions]]:
    """Pair what is left by what it is for: one by one if there are as many of a role on both sides, else together."""
    by_role: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, known in enumerate(objects):
        roles = dict(zip(known.positions, segment_roles(known.table, known.positions), strict=True))
        for position in left[side]:
            by_role[roles[position]][side].append(position)
    pairs: list[tuple[_Positions, _Positions]] = []
    for ours, theirs in by_role.values():
        if len(ours) == len(theirs):
            pairs += [((i,), (j,)) for i, j in zip(ours, theirs, strict=True)]
        elif ours and theirs:
            pairs.append((tuple(ours), tuple(theirs)))
    _take(left, pairs)
    return pairs


def _take(left: tuple[list[int], list[int]], pairs: Sequence[tuple[_Positions, _Positions]]) -> None:
    for side in (0, 1):
        taken = {position for pair in pairs for position in pair[side]}
        left[side][:] = [position for position in left[side] if position not in taken]


def pair_objects(ours: Sequence[FileObject], theirs: Sequence[FileObject]) -> Iterator[ObjectPair]:
    """Every file of both tables exactly once: by path, then by path without versions.

    Programs and libraries that are alone of their name are another version of each other. Of several, and of other files (which may be the next of a
    numbered series), it is a guess; of several other files there is nothing to tell which is which. Shared memory is made anew by
    each incarnation, often with a number in its name, and is never another version.
    """
    by_label = {known.label: known for known in theirs}
    left: list[FileObject] = []
    for one in ours:
        other = by_label.pop(one.label, None)
        if other is None:
            left.append(one)
        else:
            yield ObjectPair(one, other, Relation.REPLACED if is_replaced(one, other) else Relation.SAME)
    folded: dict[tuple[bytes, bool, bool], tuple[list[FileObject], list[FileObject]]] = defaultdict(lambda: ([], []))
    for side, objects in enumerate((left, by_label.values())):
        for known in objects:
            shared = known.mappings[0].is_shared_memory
            key = fold_version(known.label) if known.is_regular or shared else known.label
            folded[(key, known.is_image, shared)][side].append(known)
    for (_, is_image, shared), group in folded.items():
        yield from _pair_versions(group, is_image, shared)


def _pair_versions(group: tuple[list[FileObject], list[FileObject]], is_image: bool, shared: bool) -> Iterator[ObjectPair]:
    before, after = (sorted(side, key=lambda known: version_key(known.label)) for side in group)
    alone = len(before) == len(after) == 1
    if not (alone or is_image or shared):
        yield from (ObjectPair(known, None) for known in before)
        yield from (ObjectPair(None, known) for known in after)
        return
    relation = Relation.SAME if shared else Relation.REPLACED if alone and is_image else Relation.POSSIBLY_REPLACED
    for one, other in zip_longest(before, after):
        yield ObjectPair(one, other, relation if one is not None and other is not None else Relation.SAME)
