"""Whose the rest of anonymous memory may be: the family stays `anon`, the reason says more."""

from __future__ import annotations

import re

from pmapdiff.align.families.objects import ANON_RW
from pmapdiff.align.families.verdict import MIB, Table, Verdict, flag_set

# An allocator of which the library is mapped, and whether its memory is reserved with MAP_NORESERVE: then the flag nr tells it from others.
_ALLOCATORS = (
    (re.compile(rb"^libjemalloc\b"), True, Verdict("anon", "rw-p with the flag nr (MAP_NORESERVE), and libjemalloc is mapped: its extents")),
    (re.compile(rb"^libmimalloc\b"), True, Verdict("anon", "rw-p with the flag nr (MAP_NORESERVE), and libmimalloc is mapped: its segments")),
    (re.compile(rb"^libtcmalloc"), False, Verdict("anon", "anonymous memory, and libtcmalloc is mapped: its spans, or mmap")),
)
_PYTHON = re.compile(rb"^(lib)?python[23]")
_PYTHON_ARENAS = Verdict("anon", "whole MiB of rw-p in a Python process: arenas of its object allocator, or big blocks")
_PYTHON_ARENA_BYTES = MIB  # ARENA_BITS = 20 in CPython's Include/internal/pycore_obmalloc.h, from 3.10 on


def mark_hints(table: Table) -> None:
    """Name the allocators whose libraries are mapped."""
    allocators = [(nr, verdict) for pattern, nr, verdict in _ALLOCATORS if any(map(pattern.search, table.libraries))]
    python = any(map(_PYTHON.search, table.libraries))
    if not allocators and not python:
        return
    for run in table.runs:
        for position in run:
            if table.verdicts[position] is not ANON_RW:
                continue
            mapping = table.mappings[position]
            for reserved, verdict in allocators:
                if not reserved or b"nr" in flag_set(mapping.flags):
                    table.verdicts[position] = verdict
                    break
            else:
                if python and (mapping.end - mapping.start) % _PYTHON_ARENA_BYTES == 0:
                    table.verdicts[position] = _PYTHON_ARENAS
