"""What each mapping is for, from the table alone.

Rules are tried in order; each looks at a mapping and its neighbours. The fingerprints are those of glibc, musl,
the kernel and the common runtimes; what no rule knows is `other`.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

from pmapdiff.align.labels import SHARED_LIBRARY, bss_owners, object_name
from pmapdiff.model import Mapping
from pmapdiff.model.mapping import DELETED

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

_ARENA_BYTES = 64 << 20  # HEAP_MAX_SIZE of glibc's malloc/arena.c on 64-bit machines
_GUARD_LIMIT_BYTES = 64 << 10
_SMALLEST_STACK_BYTES = 16 << 10
_GO_ARENAS = range(0xC000000000, 0xC000000000 + (1 << 38))  # Go's runtime/malloc.go, arenaBaseOffset and hints on linux/amd64 and arm64
_NAMED_ANON = (
    # prctl(PR_SET_VMA_ANON_NAME): names that allocators and runtimes give (glibc tunable decorate_maps, bionic, ART, V8).
    (re.compile(rb"^\[anon: ?glibc: malloc arena"), "malloc-arena"),
    (re.compile(rb"^\[anon: ?glibc: (loader )?malloc"), "heap"),
    (re.compile(rb"^\[anon: ?(glibc: pthread )?(user )?stack|^\[anon:.*thread (stack|signal stack)|^\[anon:stack_and_tls"), "thread-stack"),
    (re.compile(rb"^\[anon:(libc_malloc|scudo|GWP-ASan)"), "heap"),
    (re.compile(rb"^\[anon:(dalvik-|v8|.*[Jj]ava[Hh]eap)"), "managed-heap"),
    (re.compile(rb"^\[anon:\.bss\]"), "image"),
)


def classify(mappings: Sequence[Mapping]) -> list[str]:
    """The family of each mapping of a table (in the order of its addresses)."""
    images = _images(mappings)
    owners = bss_owners(mappings)
    # Large tables are large because the same kind of mapping stands in them again and again.
    known: dict[Hashable, str] = {}
    families: list[str] = []
    for mapping in mappings:
        likeness = (mapping.name, mapping.perms, mapping.flags, mapping.device, mapping.inode)
        family = known.get(likeness)
        if family is None:
            family = known[likeness] = _own_family(mapping, images)
        families.append(family)
    for position, owner in owners.items():
        if _object(mappings[owner]) in images:
            families[position] = "image"
    _mark_go_heap(mappings, families)
    _mark_arenas(mappings, families)
    _mark_thread_stacks(mappings, families)
    return families


def _object(mapping: Mapping) -> object:
    return (mapping.device, mapping.inode) if mapping.inode else object_name(mapping.name)


def _images(mappings: Sequence[Mapping]) -> set[object]:
    """The objects that are ELF files: something of them is executable, or they are called like a library."""
    named = (m for m in mappings if m.name or m.inode)
    return {_object(m) for m in named if m.is_file and not m.is_shared_memory and ("x" in m.perms or SHARED_LIBRARY.search(object_name(m.name)))}


def _own_family(mapping: Mapping, images: set[object]) -> str:
    name = mapping.name
    if mapping.is_kernel:
        return "kernel"
    if mapping.is_file:
        return _file_family(mapping, images)
    if name == b"[heap]":
        return "heap"
    if name == b"[stack]":
        return "stack"
    if name.startswith(b"[stack:"):
        return "thread-stack"
    if name.startswith(b"[anon:"):
        return next((family for pattern, family in _NAMED_ANON if pattern.search(name)), "anon")
    if name:
        return "other"
    if mapping.perms[2] == "x":
        return "jit"
    return "anon"


def _file_family(mapping: Mapping, images: set[object]) -> str:
    name = mapping.name
    if name.startswith(b"/memfd:"):
        return "memfd"
    if name.startswith((b"/SYSV", b"[shmid=")):
        return "sysv-shm"
    if mapping.is_shared_memory:
        return "shm"
    if name == b"/anon_hugepage" + DELETED:
        return "anon"
    if name.startswith((b"/dev/", b"anon_inode:", b"socket:")) and not name.startswith(b"/dev/hugepages/"):
        return "device"
    flags = (mapping.flags or b"").split()
    if b"pf" in flags or b"io" in flags:
        return "device"
    return "image" if _object(mapping) in images else "file"


def _mark_go_heap(mappings: Sequence[Mapping], families: list[str]) -> None:
    """Anonymous memory in Go's arenas, if the first of them is there: others (V8) use these addresses by chance."""
    if any(m.start == _GO_ARENAS.start and families[i] == "anon" for i, m in enumerate(mappings)):
        for i, mapping in enumerate(mappings):
            if families[i] == "anon" and mapping.start in _GO_ARENAS:
                families[i] = "managed-heap"


def _mark_arenas(mappings: Sequence[Mapping], families: list[str]) -> None:
    """Runs of anonymous rw-p and ---p from a multiple of 64 MiB to the next are arenas of glibc's malloc.

    An arena that was used up is rw-p throughout; one that is not ends in its reserve, ---p.
    """
    for i, first in enumerate(mappings):
        if families[i] != "anon" or first.start % _ARENA_BYTES or first.perms != "rw-p" or first.name:
            continue
        end = first.end
        j = i + 1
        while j < len(mappings) and families[j] == "anon" and mappings[j].start == end and end < first.start + _ARENA_BYTES:
            end = mappings[j].end
            j += 1
        reserve = mappings[j - 1]
        if end == first.start + _ARENA_BYTES and (reserve.perms == "---p" or j == i + 1) and {m.perms for m in mappings[i:j]} <= {"rw-p", "---p"}:
            families[i:j] = ["malloc-arena"] * (j - i)


def is_guard(mapping: Mapping) -> bool:
    """Whether it may be the guard below a thread's stack: a few anonymous pages that nobody may touch."""
    return mapping.perms == "---p" and not mapping.is_file and mapping.end - mapping.start <= _GUARD_LIMIT_BYTES


def _mark_thread_stacks(mappings: Sequence[Mapping], families: list[str]) -> None:
    """A small anonymous ---p with rw-p above it is a thread's guard and stack (glibc up to 2.41, musl, JVM)."""
    for i in range(len(mappings) - 1):
        guard, stack = mappings[i], mappings[i + 1]
        if (
            families[i] == families[i + 1] == "anon"
            and is_guard(guard)
            and stack.perms == "rw-p"
            and guard.end == stack.start
            and stack.end - stack.start >= _SMALLEST_STACK_BYTES
        ):
            families[i] = families[i + 1] = "thread-stack"
