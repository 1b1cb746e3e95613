"""Two tables of different incarnations (exec, restart): addresses mean nothing here.

File mappings match by path, offset and permissions, and by their order among equals; an object's bss by the
object; [heap], [stack] and the kernel's own by name; all other anonymous memory by the totals of its family.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from pmapdiff.align.component import Component
from pmapdiff.align.families import classify
from pmapdiff.align.labels import basename, bss_owners, object_name
from pmapdiff.model import Mapping


def align_incarnations(before: Sequence[Mapping], after: Sequence[Mapping]) -> list[Component]:
    """The regions of two tables of different incarnations, each mapping in exactly one. O(n) in the mappings."""
    only_basenames = not all(_has_paths(side) for side in (before, after))
    groups: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    keys = [_keys(mappings, only_basenames) for mappings in (before, after)]
    common = set(keys[0]) & set(keys[1])
    for side, side_keys in enumerate(keys):
        for position, key in enumerate(side_keys):
            # Memory that only happens to lie behind a library looks like its bss; then the other side has none.
            groups[key if key.kind != "bss" or key in common else _Key("family", "anon")][side].append(position)
    return [Component(tuple(ours), tuple(theirs), parts_before=len(ours), parts_after=len(theirs)) for ours, theirs in groups.values()]


def _has_paths(mappings: Sequence[Mapping]) -> bool:
    files = [m for m in mappings if m.is_file]
    return not files or any(b"/" in m.name for m in files)


class _Key(NamedTuple):
    """What a mapping is matched by in another incarnation: bss, file, name or family, and which."""

    kind: str
    what: Hashable


def _keys(mappings: Sequence[Mapping], only_basenames: bool) -> list[_Key]:
    families = classify(mappings)
    owners = bss_owners(mappings)
    seen: dict[Hashable, int] = defaultdict(int)
    keys: list[_Key] = []
    for position, mapping in enumerate(mappings):
        owner = owners.get(position)
        if owner is not None or mapping.is_file:
            name = mappings[owner].name if owner is not None else mapping.name
            label = basename(name) if only_basenames else object_name(name)
            key = _Key("bss" if owner is not None else "file", (label, mapping.offset, mapping.perms))
            keys.append(_Key(key.kind, (key.what, seen[key])))
            seen[key] += 1
        elif mapping.name:
            keys.append(_Key("name", mapping.name))
        else:
            keys.append(_Key("family", families[position]))
    return keys
