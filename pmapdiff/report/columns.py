"""What kind of value each column of a flat table holds: for all forms that have types, or cells that must be made safe."""

from __future__ import annotations

from enum import Enum, auto


class Kind(Enum):
    """What the cells of a column are; each may be missing (None) besides."""

    INTEGER = auto()
    """A number that fits 64 bits with a sign."""
    UNSIGNED = auto()
    """A number that uses all 64 bits."""
    NUMBER = auto()
    """A number that need not be whole."""
    FLAG = auto()
    MOMENT = auto()
    """µs since the epoch."""
    WORD = auto()
    """Text of known shape: an address, permissions, the name of a family."""
    TEXT = auto()
    """Text that strangers chose, exact and not yet safe to print."""


_TEXTS = frozenset(
    (
        *("command", "command_line", "exe", "cgroup", "unit", "container", "name", "path", "vm_flags", "host", "label", "source", "selection"),
        *("evidence", "suggestion", "service", "role", "release", "what", "worst_host"),
    )
)
_WORDS = frozenset(
    (
        *("match", "change", "family", "family_reason", "perms", "offset", "device", "status", "region"),
        *("start", "end", "start_before", "end_before"),
        *("process_verdict", "verdict", "figure", "limit", "region_ids"),
    )
)


_MOMENTS = frozenset(("since", "until", "onset"))
_NUMBERS = frozenset(("share", "hours_low", "hours_high"))


def kind_of(column: str) -> Kind:
    """The kind of a column, by its name, which means the same in every table."""
    if column in _TEXTS:
        return Kind.TEXT
    if column in _WORDS:
        return Kind.WORD
    if column.startswith(("taken_at", "started_at")) or column in _MOMENTS:
        return Kind.MOMENT
    if column.startswith("slope_") or column in _NUMBERS:
        return Kind.NUMBER
    if column in ("possibly", "urgent", "silent", "may_be_chance", "onset_is_known"):
        return Kind.FLAG
    return Kind.UNSIGNED if column == "inode" else Kind.INTEGER
