"""Two tables of different incarnations (exec, restart): addresses mean nothing here.

File mappings match by path, offset and permissions, and by their order among equals; an object's bss by the
object; [heap], [stack] and the kernel's own by name; all other anonymous memory by the totals of its family.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from pmapdiff.align.component import Component
from pmapdiff.align.families import classify
from pmapdiff.align.labels import basename, bss_owners, object_name
from pmapdiff.model import Mapping


def align_incarnations(before: Sequence[Mapping], after: Sequence[Mapping]) -> list[Component]:
    """The regions of two tables of different incarnations, each mapping in exactly one. O(n) in the mappings."""
    only_basenames = not all(_has_paths(side) for side in (before, after))
    groups: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, mappings in enumerate((before, after)):
        for position, key in enumerate(_keys(mappings, only_basenames)):
            groups[key][side].append(position)
    return [Component(tuple(ours), tuple(theirs), parts_before=len(ours), parts_after=len(theirs)) for ours, theirs in groups.values()]


def _has_paths(mappings: Sequence[Mapping]) -> bool:
    files = [m for m in mappings if m.is_file]
    return not files or any(b"/" in m.name for m in files)


def _keys(mappings: Sequence[Mapping], only_basenames: bool) -> list[Hashable]:
    families = classify(mappings)
    owners = bss_owners(mappings)
    seen: dict[Hashable, int] = defaultdict(int)
    keys: list[Hashable] = []
    for position, mapping in enumerate(mappings):
        owner = owners.get(position)
        if owner is not None or mapping.is_file:
            name = mappings[owner].name if owner is not None else mapping.name
            label = basename(name) if only_basenames else object_name(name)
            key: Hashable = ("bss" if owner is not None else "file", label, mapping.offset, mapping.perms)
            ordinal = seen[key]
            seen[key] += 1
            keys.append((key, ordinal))
        elif mapping.name:
            keys.append(("name", mapping.name))
        else:
            keys.append(("family", families[position]))
    return keys
