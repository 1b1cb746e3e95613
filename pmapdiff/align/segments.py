"""The parts of an ELF file in memory: what each of its mappings is for, however the linker has laid it out.

The loader maps one mapping a segment (fs/binfmt_elf.c, glibc's elf/dl-map-segments.h), and mprotect makes the relocated, then read-only part of
the data segment one of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from pmapdiff.model import Mapping


def segment_roles(mappings: Sequence[Mapping], positions: Sequence[int]) -> list[str]:
    """The role of each mapping of one object: header, text, rodata, relro, data or gap; `positions` are in the order of addresses.

    What is mapped twice has each role twice. A file of which nothing is executable has only data, rodata and gaps.
    """
    roles: list[str] = []
    seen_text = False
    has_text = any("x" in mappings[position].perms for position in positions)
    for index, position in enumerate(positions):
        mapping = mappings[position]
        following = mappings[positions[index + 1]] if index + 1 < len(positions) else None
        if mapping.offset == 0 and "x" not in mapping.perms and has_text and mapping.perms[1] != "w":
            seen_text = False
        if "x" in mapping.perms:
            seen_text = True
            roles.append("text")
        elif mapping.perms[1] == "w":
            roles.append("data")
        elif mapping.perms[0] != "r":
            roles.append("gap")
        elif has_text and not seen_text:
            roles.append("header")
        elif following is not None and _is_relro(mapping, following):
            roles.append("relro")
        else:
            roles.append("rodata")
    return roles


def _is_relro(mapping: Mapping, data: Mapping) -> bool:
    """Whether a read-only mapping is the first part of the data segment above it: it adjoins, and they lie in the file as in memory."""
    if data.perms[1] != "w" or mapping.end != data.start:
        return False
    if mapping.offset is None or data.offset is None:
        return True
    return mapping.start - mapping.offset == data.start - data.offset
