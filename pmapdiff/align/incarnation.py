"""Two tables of different incarnations (exec, restart, upgrade): addresses mean nothing here.

Files match by path, and their mappings by offset, permissions and size, and by their order among equals; an object's bss goes with the
object. A file that took the place of another version of itself matches by what each of its segments is for. [heap], [stack] and the
kernel's own match by name; all other anonymous memory by the totals of its family.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence

from pmapdiff.align.component import Component, Relation
from pmapdiff.align.families import classify
from pmapdiff.align.labels import bss_owners, object_name, pmap_name
from pmapdiff.align.objects import FileObject, pair_objects
from pmapdiff.model import Mapping

_NUMBER = re.compile(rb"[0-9]+")
_Group = tuple[list[int], list[int]]


def align_incarnations(before: Sequence[Mapping], after: Sequence[Mapping]) -> list[Component]:
    """The regions of two tables of different incarnations, each mapping in exactly one. O(n log n) in the mappings."""
    only_basenames = not all(_has_paths(side) for side in (before, after))
    has_names = all(_has_special_names(side) for side in (before, after))
    sides = [_Side(mappings, only_basenames, has_names) for mappings in (before, after)]
    components: list[Component] = []
    memory: dict[Hashable, _Group] = defaultdict(lambda: ([], []))
    for side, known in enumerate(sides):
        for key, positions in known.memory.items():
            memory[key][side].extend(positions)
    for pair in pair_objects(sides[0].objects, sides[1].objects):
        for ours, theirs in pair.segments():
            components.append(_component(ours, theirs, pair.relation if ours and theirs else Relation.SAME))
        for side, spare in enumerate(pair.unmatched_bss()):
            if spare:
                # Memory that only happens to lie behind a library looks like its bss; then the other side has none.
                memory["family", "anon"][side].extend(spare)
    components += [_component(tuple(sorted(ours)), tuple(sorted(theirs)), Relation.SAME) for ours, theirs in memory.values()]
    return sorted(components, key=lambda c: (c.before or c.after, c.after))


def _component(ours: tuple[int, ...], theirs: tuple[int, ...], relation: Relation) -> Component:
    return Component(ours, theirs, relation, len(ours), len(theirs))


def _has_paths(mappings: Sequence[Mapping]) -> bool:
    files = [m for m in mappings if m.is_file]
    return not files or any(b"/" in m.name for m in files)


def _has_special_names(mappings: Sequence[Mapping]) -> bool:
    """Whether the source says what is the heap: pmap -x calls all of it [ anon ]."""
    return any(m.inode is not None for m in mappings) or any(m.name == b"[heap]" for m in mappings)


class _Side:
    """One table taken apart: its objects, and its memory by what it is matched by."""

    def __init__(self, mappings: Sequence[Mapping], only_basenames: bool, has_names: bool) -> None:
        families = classify(mappings)
        owners = bss_owners(mappings)
        positions: dict[bytes, list[int]] = defaultdict(list)
        bss: dict[bytes, list[int]] = defaultdict(list)
        self.memory: dict[Hashable, list[int]] = defaultdict(list)
        for position, mapping in enumerate(mappings):
            owner = owners.get(position)
            if owner is not None:
                bss[_label(mappings[owner], only_basenames)].append(position)
            elif mapping.is_file:
                positions[_label(mapping, only_basenames)].append(position)
            elif mapping.name and (has_names or mapping.name == b"[stack]"):
                # Names of thread stacks hold the thread's id: `[anon: glibc: pthread stack: 1234]`.
                self.memory["name", _NUMBER.sub(b"#", mapping.name)].append(position)
            else:
                family = "anon" if not has_names and families[position] in ("heap", "kernel", "jit") else families[position]
                self.memory["family", family].append(position)
        self.objects = [
            FileObject(label, mappings, tuple(of_file), tuple(bss.get(label, ())), families[of_file[0]]) for label, of_file in positions.items()
        ]


def _label(mapping: Mapping, only_basename: bool) -> bytes:
    return pmap_name(mapping.name) if only_basename else object_name(mapping.name)
