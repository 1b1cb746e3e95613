"""The animals, and the truth about each: what it does is known because it was written to do so (programs/), not because a verdict said it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The classes that are scored each by itself."""

    LEAK = "leak"
    NO_LEAK = "no leak"
    HARD = "hard"


@dataclass(frozen=True)
class Animal:
    """One program and the truth about it.

    `families` are those that a finding of a leak may name first; `verdicts` those that are right for the process at the end of the recording.
    Before the ticks in `restarts` it is killed and started anew.
    """

    name: str
    language: str
    kind: Kind
    verdicts: frozenset[str]
    families: frozenset[str] = frozenset()
    restarts: tuple[int, ...] = ()

    @property
    def leaks(self) -> bool:
        """Whether it leaks to the end."""
        return "growing" in self.verdicts


def _leak(name: str, families: str, language: str = "c", kind: Kind = Kind.LEAK, restarts: tuple[int, ...] = ()) -> Animal:
    return Animal(name, language, kind, frozenset(["growing"]), frozenset(families.split()), restarts)


def _calm(name: str, verdicts: str, language: str = "c", kind: Kind = Kind.NO_LEAK, restarts: tuple[int, ...] = ()) -> Animal:
    return Animal(name, language, kind, frozenset(verdicts.split()), restarts=restarts)


_RESTARTS = (8, 15, 22)

ANIMALS = (
    _leak("small-blocks", "heap"),
    _leak("big-blocks", "anon"),
    _leak("arenas", "malloc-arena"),
    _leak("stuck-threads", "thread-stack"),
    _leak("unjoined-threads", "thread-stack"),
    _leak("memfd", "memfd"),
    _leak("dev-shm", "shm"),
    _leak("sysv", "sysv-shm"),
    _leak("mremap", "anon"),
    _leak("mappings", "mapping-count"),
    # Mapped at once, and filled little by little: Size never changes.
    _leak("reserved", "anon"),
    # Entries of less than 512 bytes are in arenas of Python's own, the table itself is a large block of malloc.
    _leak("python-cache", "anon", "python"),
    _leak("python-buffers", "heap", "python"),
    # The smaller ones are in the heap or in arenas; most of it is in large blocks.
    _leak("node-buffers", "anon", "node"),
    _leak("node-objects", "managed-heap", "node"),
    # Large ones would be blocks of their own, which the kernel may merge with what the JVM has taken for itself.
    _leak("java-buffers", "malloc-arena", "java"),
    _leak("java-objects", "managed-heap", "java"),
    _calm("warm-up", "plateau"),
    _calm("cache", "plateau"),
    _calm("retention", "step plateau"),
    _calm("collector", "sawtooth"),
    _calm("one-step", "step plateau"),
    _calm("page-cache", "cache"),
    # What a process and its child have in common counts in both, and a copy in the place of it.
    _calm("copy-on-write", "stable"),
    _calm("huge-pages", "step plateau"),
    _calm("paging", "stable"),
    _calm("churn", "stable"),
    _calm("thread-pool", "stable"),
    _calm("shrinking", "shrinking"),
    _calm("idle", "stable"),
    _calm("python-idle", "stable", "python"),
    _calm("python-cycles", "sawtooth", "python"),
    _calm("node-idle", "stable", "node"),
    _calm("node-collector", "sawtooth", "node"),
    _calm("java-idle", "stable", "java"),
    _calm("java-collector", "sawtooth", "java"),
    _leak("leak-under-sawtooth", "anon", kind=Kind.HARD),
    _leak("python-leak-under-cycles", "anon", "python", Kind.HARD),
    _leak("late", "heap", kind=Kind.HARD),
    _leak("bursts", "anon", kind=Kind.HARD),
    _leak("leak-restarted", "heap", kind=Kind.HARD, restarts=_RESTARTS),
    _calm("warm-up-restarted", "plateau step stable sawtooth", kind=Kind.HARD, restarts=_RESTARTS),
    _calm("fixed", "plateau", kind=Kind.HARD),
    _calm("flushed-cache", "sawtooth", kind=Kind.HARD),
    # What is freed stays in the heap, and is used again.
    _calm("flushed-cache-kept", "plateau step", kind=Kind.HARD),
)
