"""What a mapping is for, and why we think so; and what the rules share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from pmapdiff.model import Mapping

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

FAMILIES = (
    "heap",
    "malloc-arena",
    "thread-stack",
    "stack",
    "anon",
    "managed-heap",
    "jit",
    "image",
    "file",
    "shm",
    "sysv-shm",
    "memfd",
    "device",
    "kernel",
    "other",
)


class Verdict(NamedTuple):
    """The family of a mapping, and the rule that says so in a few words for people.

    Each rule has one, so that equal verdicts are of one rule, and can be counted.
    """

    family: str
    reason: str


Run: TypeAlias = Sequence[int]
"""The positions of neighbouring private mappings without a name, with no gap between them."""


class Table(NamedTuple):
    """What the rules about neighbours work on.

    `verdicts` are those of the mappings by themselves, and change as rules find more; `runs` holds every mapping whose
    verdict may still change, and `flags` the VmFlags of these. `libraries` are the basenames of the program and its libraries. `top` is
    where the highest mapping of the process itself ends: how large the address space is.
    """

    mappings: Sequence[Mapping]
    verdicts: list[Verdict]
    runs: Sequence[Run]
    libraries: frozenset[bytes]
    flags: frozenset[bytes | None]
    top: int

    def flagged(self, flag: bytes, *, but: bytes = b"") -> frozenset[bytes | None]:
        """The VmFlags, of those that there are, that have this flag and not the other: most tables have a handful of different ones."""
        return frozenset(flags for flags in self.flags if flag in (found := flag_set(flags)) and but not in found)


# A host has a few hundred different ones, and each is asked for again and again.
@lru_cache(maxsize=1024)
def flag_set(flags: bytes | None) -> frozenset[bytes]:
    """The two-letter VmFlags of a mapping; none where the source does not have them."""
    return frozenset((flags or b"").split())
