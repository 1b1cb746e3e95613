"""Texts that somebody may well take for a mapping table, and that hold none: what is missing in them, and what to save instead."""

from __future__ import annotations

import re

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Parse

_REPORT = rb"^[ \t]*==(?:[^\n]{1,255}==)?[1-9]\d{0,9}=="
_KNOWN = (
    (
        # fs/proc/task_mmu.c, show_numa_map, and mm/mempolicy.c, mpol_to_str: address and policy of each mapping.
        re.compile(rb"^(?:[^\s:]*/numa_maps:(?:\d{1,9}:)?)?[0-9a-f]{5,16} (?:default|prefer|bind|(?:weighted )?interleave|local)\b", re.MULTILINE),
        "this is /proc/PID/numa_maps, which does not say where mappings end: save /proc/PID/smaps",
    ),
    (re.compile(_REPORT + rb"Process memory map follows:", re.MULTILINE), "the memory map of this report is empty: the sanitizer could not read it"),
    (
        re.compile(_REPORT + rb"(?:(?:ERROR|WARNING): )?[A-Za-z]{1,20}Sanitizer", re.MULTILINE),
        "this report of a sanitizer has no memory map ('Process memory map follows:')",
    ),
)


def raise_for_what_it_is(data: bytes, given: Parse) -> None:
    """Raises FormatError if a text without a table is of a kind that is known, unless the user has named another."""
    if given.only is not None:
        return
    for pattern, reason in _KNOWN:
        match = pattern.search(data)
        if match is not None:
            raise FormatError(reason, source=given.source, line=data.count(b"\n", 0, match.start()) + 1)
