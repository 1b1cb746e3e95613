"""Mappings that say themselves what they are: by the object behind them, by the kernel's name, by their permissions.

Kernel names: fs/proc/task_mmu.c (show_map_vma), mm/shmem.c, fs/aio.c, fs/anon_inodes.c, drivers/dma-buf, 5.10 to 6.18.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple

from pmapdiff.align.families.verdict import Run, Verdict, flag_set
from pmapdiff.align.labels import basename, bss_owners, object_name, object_of
from pmapdiff.model import Mapping
from pmapdiff.model.mapping import known_perms, same_place

KERNEL = Verdict("kernel", "mapped into every process by the kernel")
HEAP = Verdict("heap", "[heap]: moved by the program break (brk)")
STACK = Verdict("stack", "[stack]: the stack of the main thread")
STACK_TID = Verdict("thread-stack", "[stack:TID]: kernels 3.4 to 4.4 name the stacks of threads")
SYSV = Verdict("sysv-shm", "a System V shared memory segment (/SYSV)")
MEMFD = Verdict("memfd", "a memory file (memfd_create)")
MEMFD_HEAP = Verdict("managed-heap", "the memory file java_heap: the heap of the JVM's ZGC")
SHM_FILE = Verdict("shm", "a file in /dev/shm: POSIX shared memory")
SHM_ANON = Verdict("shm", "shared anonymous memory (/dev/zero (deleted), anon_shmem)")
SHM_HUGE = Verdict("shm", "huge pages of hugetlbfs, shared or by a file: memory, no disk behind it")
DEVICE_NAME = Verdict("device", "an object of a driver or the kernel: /dev, anon_inode, socket, dmabuf, [aio]")
DEVICE_FLAGS = Verdict("device", "memory of a device (flag io or pf)")
IMAGE_CODE = Verdict("image", "a file with executable code: a program or library")
IMAGE_LIBRARY = Verdict("image", "called like a library and mapped privately in pieces, as a loader does")
IMAGE_MEMORY = Verdict("image", "a file in memory with executable code, mapped privately: a program or library")
IMAGE_BSS = Verdict("image", "rw-p that adjoins the data of a program or library: its bss")
FILE = Verdict("file", "a file without executable code")
JIT_PRIVATE = Verdict("jit", "executable memory without a file: generated code")
JIT_NAMED = Verdict("jit", "executable memory that its program has named, or of /dev/zero: generated code")
JIT_SHARED = Verdict("jit", "shared memory that is executable: generated code")
JIT_VIEW = Verdict("jit", "the writable view of shared memory that is executable elsewhere: generated code")
ARENA_NAMED = Verdict("malloc-arena", "named by glibc: an arena of malloc")
ANON_HUGE = Verdict("anon", "private huge pages (anon_hugepage)")
ANON_ZERO = Verdict("anon", "a private mapping of /dev/zero: anonymous memory")
ANON_RW = Verdict("anon", "anonymous rw-p: big blocks of malloc, other allocators, mmap")
ANON_READ = Verdict("anon", "anonymous memory that is not writable")
ANON_NONE = Verdict("anon", "addresses reserved, without permissions as far as the table tells them")
ANON_ALL_EXECUTABLE = Verdict("anon", "executable as even [heap] is (READ_IMPLIES_EXEC), which says nothing")
ANON_NAMED = Verdict("anon", "named by the program, and no rule knows the name")
IMAGE_BY_NAME = Verdict("image", "called like a program or library; its permissions are not known")
ANON_UNKNOWN = Verdict("anon", "memory without a name; its permissions are not known")
ROLLUP = Verdict("other", "the sum of all mappings of a process")
OTHER_NAME = Verdict("other", "a name in brackets that no rule knows")
OTHER_SHARED = Verdict("other", "shared, but the table does not say with what")

_NAMED = (
    # prctl(PR_SET_VMA_ANON_NAME), Linux 5.17: glibc's tunable glibc.mem.decorate_maps (2.39), Go 1.25, bionic, ART, V8.
    (re.compile(rb"^ ?glibc: malloc arena"), ARENA_NAMED),
    (re.compile(rb"^ ?glibc: (loader )?malloc"), Verdict("heap", "named by glibc: malloc")),
    (
        re.compile(rb"^ ?(glibc: pthread (user )?stack|stack_and_tls)|thread (signal )?stack|^ ?Go: OS thread stack"),
        Verdict("thread-stack", "named by glibc, bionic, ART or Go: the stack of a thread"),
    ),
    (re.compile(rb"^(libc_malloc|scudo|GWP-ASan)"), Verdict("heap", "named by an allocator: bionic, scudo, GWP-ASan")),
    (re.compile(rb"^dalvik-.*jit-code-cache"), Verdict("jit", "named by ART: code cache")),
    (re.compile(rb"^ ?Go: "), Verdict("managed-heap", "named by Go: its heap and what it keeps about it")),
    (re.compile(rb"^(dalvik-|v8\b)|[Jj]ava[ _]?[Hh]eap"), Verdict("managed-heap", "named by ART, V8 or a JVM: heap")),
    (re.compile(rb"^\.bss\]"), Verdict("image", "named by the loader of bionic: bss")),
)
# Verdicts that neighbours and the rest of the table may still change.
_OPEN = (ANON_RW, ANON_READ, ANON_NONE, JIT_PRIVATE)
_SHARED_LIBRARY = re.compile(rb"\.so(\.[0-9.]+)?$")
_CALLED_IMAGE = re.compile(rb"\.so(\.[0-9.]+)?$|/s?bin/|/libexec/|/app_process|/linker|^ld-[^/]*$|/ld-[^/]*$")
_DEVICE = re.compile(rb"/dev/(?!shm/|hugepages/)|anon_inode:|socket:\[|/dmabuf:|/(drm mm object|i915)\b|/?\[aio\]")
_MEMFD = (b"/memfd:", b"memfd:")
_SYSV = re.compile(rb"/?SYSV[0-9a-f]{8}\b|\[ ?shmid=")
# pmap without -p prints only the last component of a path, and of an unlinked object `zero (deleted)`.
_ZERO = (b"/dev/zero", b"zero")


class Files(NamedTuple):
    """What the mappings of files in a table say together: the verdict on each, and which objects are images or hold generated code."""

    mappings: Sequence[Mapping]
    verdicts: list[Verdict]
    images: dict[Hashable, Verdict]
    generated: dict[Hashable, _Pages]
    libraries: frozenset[bytes]

    def still_hold_for(self, mappings: Sequence[Mapping]) -> bool:
        """Whether these are the same but for their counters."""
        if len(mappings) != len(self.mappings):
            return False
        return all(one is other or same_place(one, other) for one, other in zip(self.mappings, mappings, strict=True))


def judge_files(mappings: Sequence[Mapping]) -> Files:
    """What these mappings, which are all that a table has of files, say together."""
    objects: dict[Hashable, list[Mapping]] = defaultdict(list)
    for mapping in mappings:
        objects[object_of(mapping)].append(mapping)
    images: dict[Hashable, Verdict] = {}
    generated: dict[Hashable, _Pages] = {}
    for key, parts in objects.items():
        _judge_object(key, parts, images, generated)
    known: dict[Hashable, Verdict] = {}
    verdicts = []
    for mapping in mappings:
        likeness = (mapping.name, mapping.perms, mapping.flags, mapping.device, mapping.inode)
        verdict = known.get(likeness)
        if verdict is None:
            verdict = known[likeness] = _file_verdict(mapping, images.get(object_of(mapping)))
        verdicts.append(verdict)
    return Files(mappings, verdicts, images, generated, frozenset(basename(objects[key][0].name) for key in images))


class Own(NamedTuple):
    """What the mappings of a table say by themselves: see `Table`."""

    verdicts: list[Verdict]
    runs: list[Run]
    files: Files
    flags: frozenset[bytes | None]


def by_itself(mappings: Sequence[Mapping], before: Files | None = None) -> Own:
    """The verdict on each mapping without a look at its neighbours in the address space, but for a bss.

    `before` is what the files of an earlier table of the process said.
    """
    named = [m for m in mappings if m.name or m.inode]
    files = [m for m in named if m.inode or m.is_file]
    judged = before if before is not None and before.still_hold_for(files) else judge_files(files)
    all_executable = any(m.name == b"[heap]" and "x" in m.perms for m in named)
    of_files = iter(judged.verdicts)
    # Large tables are large because the same kind of mapping stands in them again and again.
    special: dict[tuple[bytes, str], Verdict] = {}
    unnamed: dict[tuple[str, bytes | None], Verdict] = {}
    verdicts: list[Verdict] = []
    runs: list[Run] = []
    run: list[int] = []
    end: int | None = None
    owners = bss_owners(mappings)
    for position, mapping in enumerate(mappings):
        start, stop, perms, _, _, inode, name, flags = mapping[:8]
        if name or inode:
            end = None
            if inode or mapping.is_file:
                verdicts.append(next(of_files))
                continue
            verdict = special.get((name, perms))
            if verdict is None:
                verdict = special[name, perms] = _special_verdict(mapping)
            verdicts.append(verdict)
            continue
        verdict = unnamed.get((perms, flags))
        if verdict is None:
            verdict = unnamed[perms, flags] = _anonymous_verdict(perms, all_executable)
        if position in owners and object_of(mappings[owners[position]]) in judged.images:
            verdict, end = IMAGE_BSS, None
        elif verdict not in _OPEN:
            end = None
        elif start == end:
            run.append(position)
            end = stop
        else:
            run = [position]
            runs.append(run)
            end = stop
        verdicts.append(verdict)
    if judged.generated:
        _mark_generated(mappings, verdicts, judged.generated)
    return Own(verdicts, runs, judged, frozenset(flags for _, flags in unnamed))


class _Pages:
    """Pages of an object that some mappings show; all of them if the table has no offsets."""

    def __init__(self, mappings: Sequence[Mapping]) -> None:
        self._everything = any(m.offset is None for m in mappings)
        self._starts: list[int] = []
        self._ends: list[int] = []
        for offset, size in sorted((m.offset or 0, m.end - m.start) for m in mappings):
            if self._ends and offset <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], offset + size)
            else:
                self._starts.append(offset)
                self._ends.append(offset + size)

    def show(self, mapping: Mapping) -> bool:
        """Whether some page of this mapping of the object is among them."""
        if self._everything or mapping.offset is None:
            return True
        first = bisect_right(self._ends, mapping.offset)
        return first < len(self._starts) and self._starts[first] < mapping.offset + mapping.end - mapping.start


def _judge_object(key: Hashable, parts: list[Mapping], images: dict[Hashable, Verdict], generated: dict[Hashable, _Pages]) -> None:
    """Whether an object is an image, or holds generated code, judged by all of its mappings."""
    first = parts[0]
    memory = first.is_shared_memory or _is_memfd(first)
    executable = [m for m in parts if "x" in m.perms]
    if not executable and not all(m.has_perms for m in parts):
        if not memory and _CALLED_IMAGE.search(object_name(first.name)):
            images[key] = IMAGE_BY_NAME
    elif executable:
        code = [m for m in executable if "s" in m.perms]
        pages = _Pages(code)
        if code and (memory or any(pages.show(m) for m in parts if "s" in m.perms and "w" in m.perms)):
            generated[key] = pages
        elif not _names_a_device(first) and not _is_zero(first.name):
            images[key] = IMAGE_MEMORY if memory else IMAGE_CODE
    elif not memory and _SHARED_LIBRARY.search(object_name(first.name)):
        # A library of data alone (libicudata) has no code. Who only reads a file maps it from its beginning, in one piece.
        private = {(m.perms, m.offset) for m in parts if "s" not in m.perms}
        if len(private) > 1 or any(offset for _, offset in private):
            images[key] = IMAGE_LIBRARY


def _mark_generated(mappings: Sequence[Mapping], verdicts: list[Verdict], generated: dict[Hashable, _Pages]) -> None:
    for position, mapping in enumerate(mappings):
        code = generated.get(object_of(mapping)) if mapping.name or mapping.inode else None
        if code is not None:
            if "x" in mapping.perms:
                verdicts[position] = JIT_SHARED
            elif code.show(mapping):
                verdicts[position] = JIT_VIEW


def _names_a_device(mapping: Mapping) -> bool:
    """Whether the name is one of a device, or of the kernel's own objects."""
    return _DEVICE.match(mapping.name) is not None


def _is_memfd(mapping: Mapping) -> bool:
    return mapping.name.startswith(_MEMFD)


def _is_zero(name: bytes) -> bool:
    return object_name(name) in _ZERO


def _special_verdict(mapping: Mapping) -> Verdict:
    """The verdict on a mapping that has a name in brackets, but no file."""
    name = mapping.name
    if mapping.is_kernel:
        return KERNEL
    if name == b"[heap]":
        return HEAP
    if name == b"[rollup]":
        return ROLLUP
    if name == b"[stack]":
        return STACK
    if name.startswith(b"[stack:"):
        return STACK_TID
    if name.startswith(b"[anon:"):
        found = next((verdict for pattern, verdict in _NAMED if pattern.search(name[6:])), None)
        return found or (JIT_NAMED if "x" in mapping.perms else ANON_NAMED)
    return SHM_ANON if name.startswith(b"[anon_shmem:") else OTHER_NAME


def _anonymous_verdict(perms: str, all_executable: bool) -> Verdict:
    if "s" in perms:
        return OTHER_SHARED
    if "x" in perms:
        return ANON_ALL_EXECUTABLE if all_executable else JIT_PRIVATE
    if "w" in perms:
        return ANON_RW
    if known_perms(perms) is None:
        return ANON_UNKNOWN
    # gdb dumps every reserve as if it could be read, of which there are many more than of memory that can only be read.
    return ANON_READ if "r" in perms else ANON_NONE


def _file_verdict(mapping: Mapping, image: Verdict | None) -> Verdict:
    """The verdict on a mapping that has a file, which is such an image or none."""
    return _verdict_by_name(mapping.name, mapping.perms, mapping.flags, mapping.is_shared_memory, image)


# A series of tables asks the same few thousand questions again and again.
@lru_cache(maxsize=4096)
def _verdict_by_name(name: bytes, perms: str, vm_flags: bytes | None, shared_memory: bool, image: Verdict | None) -> Verdict:
    flags = flag_set(vm_flags)
    shared = "s" in perms
    private_image = None if shared else image
    if name.startswith(_MEMFD):
        if object_name(name).removeprefix(b"/") in (b"memfd:java_heap", b"memfd:java_heap.hugetlb"):
            return MEMFD_HEAP
        return private_image or MEMFD
    if _SYSV.match(name):
        return SYSV
    if _is_zero(name):
        # /dev/zero itself is mapped privately as plain memory; shared, it is an object of its own that is always deleted (mm/shmem.c,
        # shmem_zero_setup).
        return SHM_ANON if shared else JIT_NAMED if "x" in perms else ANON_ZERO
    if object_name(name) in (b"/anon_hugepage", b"anon_hugepage"):
        return SHM_HUGE if shared else ANON_HUGE
    if shared_memory:
        return private_image or (SHM_ANON if name.startswith(b"[") else SHM_FILE)
    if _DEVICE.match(name):
        return DEVICE_NAME
    if b"ht" in flags or name.startswith(b"/dev/hugepages/"):
        return SHM_HUGE
    if b"pf" in flags or b"io" in flags:
        return DEVICE_FLAGS
    return image or FILE
