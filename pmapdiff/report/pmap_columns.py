"""pmap -X and -XX: a column for each counter line of smaps, as procps-ng 4.0.2 prints them.

The facts are from src/pmap.c, `print_extended_maps`, of 4.0.2. It reads smaps twice, once for the widths and totals and once for the rows,
so that those of a process that goes on do not fit each other; and until 4.0.4 the totals of the second process that it prints include the
first. Here there is one table, and each process has its own totals. It also takes no notice of -A; here, as in versions after 4.0.4,
rows, totals and the widths of counters are those within the range.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from pmapdiff.model import COUNTER_INDEX, Mapping, Snapshot
from pmapdiff.report.base import View, register
from pmapdiff.report.exact import Shown, tables, write_exact
from pmapdiff.report.pmap_process import process_line

_FIXED = (b"Address", b"Perm", b"Offset", b"Device", b"Inode")
_FLAGS = b"VmFlags"
_NUMBER = re.compile(rb"^([^:\n]+): *([0-9]+)(?: kB)?$", re.MULTILINE)
# is_unimportant(): -X leaves them out.
_UNIMPORTANT = frozenset(
    (b"AnonHugePages", b"KernelPageSize", b"MMUPageSize", b"Shared_Dirty", b"Private_Dirty", b"Shared_Clean", b"Private_Clean", _FLAGS)
)
# Of a table that was not read from smaps: the kernel's order of the counters (fs/proc/task_mmu.c, show_smap, 6.18).
_BEFORE = ("KernelPageSize", "MMUPageSize", "Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty")
_AFTER = ("Referenced", "Anonymous", "KSM", "LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb")
_KERNEL_ORDER = (*_BEFORE, *_AFTER, "Swap", "SwapPss", "Locked", "THPeligible", "ProtectionKey")
# sscanf's %127[^\n], after the white space that it skips.
_LONGEST_NAME = 127
_SPACE = b" \t\n\v\f\r"
# What a mapping of a table does not have that others do.
_NONE = b"-"


@dataclass(frozen=True, slots=True)
class _Row:
    """A mapping as text: the columns before the counters, the counters by their label, the flags and the name."""

    mapping: Mapping
    fixed: tuple[bytes, ...]
    values: dict[bytes, bytes]
    flags: bytes | None
    name: bytes


def _row(mapping: Mapping, view: View, everything: bool) -> _Row:
    name = mapping.name.lstrip(_SPACE)[:_LONGEST_NAME]
    assert mapping.offset is not None
    assert mapping.device is not None
    assert mapping.inode is not None
    fixed = (b"%08x" % mapping.start, mapping.perms.encode(), b"%08x" % mapping.offset, mapping.device.encode(), b"%d" % mapping.inode)
    values = {label: value for label, value in _values(mapping) if everything or label not in _UNIMPORTANT}
    flags = mapping.flags.strip() if everything and mapping.flags is not None else None
    return _Row(mapping, fixed, values, flags, name if view.show_path else name.rpartition(b"/")[2])


def _values(mapping: Mapping) -> list[tuple[bytes, bytes]]:
    """The counters of a mapping by their label, in the order of its lines."""
    if mapping.layout is not None:
        found: list[tuple[bytes, bytes]] = _NUMBER.findall(mapping.layout.render(mapping.size_kib, mapping.counters, mapping.flags, mapping.extra))
        return found
    known = ((name, mapping.counters[COUNTER_INDEX[name]]) for name in _KERNEL_ORDER)
    return [(b"Size", b"%d" % mapping.size_kib), *((name.encode(), b"%d" % value) for name, value in known if value is not None)]


def _labels(rows: Iterable[_Row]) -> list[bytes]:
    """The labels of all rows, each after the one that it follows.

    Kernels print the same for every mapping, with few exceptions (`Nonlinear`, until 3.19): those are too much for pmap.
    """
    labels: list[bytes] = []
    for own in dict.fromkeys(tuple(row.values) for row in rows):
        place = 0
        for label in own:
            if label not in labels:
                labels.insert(place, label)
            place = labels.index(label) + 1
    return labels


def _total(rows: Sequence[_Row], label: bytes) -> bytes:
    """The sum of a column; missing if one of the rows has no value in it."""
    values = [row.values.get(label) for row in rows]
    return _NONE if None in values else b"%d" % sum(int(value or 0) for value in values)


def _render(shown: Shown, view: View, *, everything: bool) -> bytes:
    parts = [process_line(shown.process)]
    mappings = () if shown.table is None else shown.table.mappings
    # Without a mapping there are no lines to make headings of.
    if not mappings:
        return parts[0]
    every = [_row(mapping, view, everything) for mapping in mappings]
    rows = [row for row in every if view.shows(row.mapping)]
    labels = _labels(every)
    totals = [_total(rows, label) for label in labels]
    has_flags = any(row.flags is not None for row in every)

    fixed_widths = [max(map(len, column)) for column in zip(*(row.fixed for row in every), strict=True)]
    flags_width = max(len(row.flags or _NONE) for row in every)
    if view.quiet:
        widths = [max([len(row.values.get(label, _NONE)) for row in rows], default=0) for label in labels]
    else:
        fixed_widths = list(map(max, fixed_widths, map(len, _FIXED)))
        widths = [max(len(label), len(total)) for label, total in zip(labels, totals, strict=True)]
        flags_width = max(flags_width, len(_FLAGS))

    all_widths = [*fixed_widths, *widths, *([flags_width] if has_flags else [])]

    def line(cells: Iterable[bytes], last: bytes) -> bytes:
        return b"".join([cell.rjust(width) + b" " for cell, width in zip(cells, all_widths, strict=True)]) + last + b"\n"

    if not view.quiet:
        parts.append(line([*_FIXED, *labels, *([_FLAGS] if has_flags else [])], b"Mapping"))
    for row in rows:
        flags = [_NONE if row.flags is None else row.flags] if has_flags else []
        parts.append(line([*row.fixed, *(row.values.get(label, _NONE) for label in labels), *flags], row.name))
    if not view.quiet:
        gap = b" " * (sum(fixed_widths) + len(fixed_widths))
        parts.append(gap + b"".join([b"=" * width + b" " for width in widths]) + b"\n")
        parts.append(gap + b"".join([total.rjust(width) + b" " for total, width in zip(totals, widths, strict=True)]) + b"KB \n")
    return b"".join(parts)


@register("show", "pmap-X")
def write_more(result: Snapshot, view: View, out: TextIO) -> None:
    """As pmap -X: what matters most of the kernel's counters."""
    write_exact(out, b"".join([_render(shown, view, everything=False) for shown in tables(result, view, "pmap-X")]))


@register("show", "pmap-XX")
def write_everything(result: Snapshot, view: View, out: TextIO) -> None:
    """As pmap -XX: all of the kernel's counters, and the flags."""
    write_exact(out, b"".join([_render(shown, view, everything=True) for shown in tables(result, view, "pmap-XX")]))
