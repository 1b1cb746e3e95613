"""What the C library lays out: arenas of glibc's malloc, and the stacks of threads with their guards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from pmapdiff.align.families.objects import ANON_NONE, ANON_RW, ARENA_NAMED
from pmapdiff.align.families.verdict import GIB, KIB, MIB, TIB, Run, Table, Verdict, flag_set
from pmapdiff.model import Mapping

ARENA = Verdict("malloc-arena", "rw-p then ---p, together 64 MiB from a multiple of 64 MiB: an arena of glibc's malloc")
ARENA_FULL = Verdict("malloc-arena", "rw-p of 64 MiB at a multiple of 64 MiB: an arena of glibc's malloc, used up")
ARENA_SMALL = Verdict("malloc-arena", "rw-p then ---p, together 1 MiB from a multiple of 1 MiB: an arena of glibc's malloc (32 bit)")
STACK_MARKED = Verdict("thread-stack", "a guard (---p) below rw-p with the flag nh (MAP_STACK): the stack of a thread or fiber")
STACK_PLAIN = Verdict("thread-stack", "a small guard (---p) below rw-p of the size of a stack")
STACK_GUARD_FLAG = Verdict("thread-stack", "rw-p with the flags nh (MAP_STACK) and gu (guard pages): stacks of threads, glibc 2.43")
STACK_MERGED = Verdict("thread-stack", "rw-p with the flag nh (MAP_STACK), a multiple of 8196 KiB: merged stacks of threads, glibc 2.43")

# HEAP_MAX_SIZE of glibc's malloc/arena.c (2.36): twice DEFAULT_MMAP_THRESHOLD_MAX, 4 MiB times the size of a long; 512 KiB for 32 bit.
_ARENA_BYTES = 64 * MIB
_SMALL_ARENA_BYTES = MIB
# Somebody may have protected pages within an arena. What is larger is the reserve of another allocator.
_ARENA_HOLE_BYTES = MIB
# Where mimalloc asks for its segments (src/os.c, mi_os_get_aligned_hint, 1.7 and 2.0). In an address space of 128 TiB or more
# the kernel puts nothing there that did not ask for it.
_MIMALLOC_HINTS = range(2 * TIB, 30 * TIB)
_LARGE_ADDRESS_SPACE = 64 * TIB
_GUARD_BYTES = 64 * KIB
# Core dumps do not tell all letters.
_GUARD_PERMS = ("---p", "?--p", "---?")
_MUSL_GUARD_BYTES = 8 * KIB  # DEFAULT_GUARD_SIZE of musl's src/internal/pthread_impl.h; its mmap has no MAP_STACK
_SMALLEST_STACK_BYTES = 16 * KIB
# Without nh, a stack may have merged with whatever is above it. From this size on more of it is likely to be something else, unless
# there are several of exactly that size.
_LIKELY_STACK_BYTES = 16 * MIB
# A stack that is large enough for nh to say that this kernel and C library set it: signal stacks of Rust have it everywhere.
_TELLING_STACK_BYTES = 64 * KIB
_DEFAULT_STACK_BYTES = 8196 * KIB  # 8 MiB and a page, which is within the mapping from glibc 2.43 on
# glibc keeps the stacks of threads that have ended, up to 40 MiB of them (nptl, stack_cache_maxsize).
_CACHED_STACKS = 16


def is_guard(mapping: Mapping) -> bool:
    """Whether it may be the guard below a thread's stack: a few anonymous pages that nobody may touch."""
    return mapping.perms in _GUARD_PERMS and not mapping.is_file and mapping.end - mapping.start <= _GUARD_BYTES


def mark_arenas(table: Table) -> None:
    """Runs of rw-p and ---p from a multiple of 64 MiB to another.

    An arena is a reserve without permissions, rw-p from its start as far as it was used; two neighbours of which the lower is
    used up are one mapping. An arena that is used up and has no such neighbour is only told by its size and place.
    """
    mappings, verdicts = table.mappings, table.verdicts
    size = _ARENA_BYTES if table.top > 4 * GIB else _SMALL_ARENA_BYTES
    no_reserve = table.flagged(b"nr")
    dont_fork = table.flagged(b"dc")
    full: list[int] = []
    arenas_no_reserve = False
    for run in table.runs:
        if run[0] and verdicts[run[0] - 1] is ARENA_NAMED:
            _mark_rest_of_named_arena(table, run, size)
        done = 0
        for i, position in enumerate(run):
            mapping = mappings[position]
            if mapping.start % size or i < done or verdicts[position] is not ANON_RW:
                continue
            if mapping.flags in dont_fork or (mapping.start in _MIMALLOC_HINTS and table.top > _LARGE_ADDRESS_SPACE):
                continue
            length = _arena_length(table, run, i, size, no_reserve)
            if length:
                arenas_no_reserve |= mapping.flags in no_reserve
                for arena in run[i : i + length]:
                    verdicts[arena] = ARENA if size == _ARENA_BYTES else ARENA_SMALL
                done = i + length
            elif size == _ARENA_BYTES == mapping.end - mapping.start:
                full.append(position)
    for position in full:
        # Arenas are reserved with MAP_NORESERVE; a buffer of this size and place hardly ever is.
        flags = mappings[position].flags
        if flags is None or flags in no_reserve or not arenas_no_reserve:
            verdicts[position] = ARENA_FULL


def _mark_rest_of_named_arena(table: Table, run: Run, size: int) -> None:
    """With the tunable glibc.mem.decorate_maps only what was used at first has a name (malloc/arena.c, alloc_new_heap)."""
    named = table.mappings[run[0] - 1]
    limit = named.start - named.start % size + size
    for position in run if named.end == table.mappings[run[0]].start else ():
        if table.mappings[position].end > limit or table.verdicts[position] not in (ANON_RW, ANON_NONE):
            break
        table.verdicts[position] = ARENA_NAMED


def _arena_length(table: Table, run: Run, first: int, size: int, no_reserve: frozenset[bytes | None]) -> int:
    """How many mappings from the first one are arenas, the last of them a reserve; 0 if none."""
    flags = table.mappings[run[first]].flags
    before: Verdict | None = None
    for i in range(first, len(run)):
        mapping, verdict = table.mappings[run[i]], table.verdicts[run[i]]
        if verdict is ANON_NONE:
            # mprotect leaves MAP_NORESERVE as it is: if only the rest has it, somebody else has mapped the one over the other.
            if (mapping.flags in no_reserve) != (flags in no_reserve):
                return 0
            if mapping.end % size == 0 and mapping.end - mapping.start < size:
                return i + 1 - first
            if mapping.end - mapping.start > _ARENA_HOLE_BYTES:
                return 0
        elif verdict is not ANON_RW or mapping.end % size == 0 or (flags is None and before is verdict):
            # What is used of an arena, or of two neighbours, is one mapping: these are of different kinds.
            return 0
        before = verdict
    return 0


def mark_thread_stacks(table: Table, threads: int | None) -> None:
    """A guard with rw-p above it, or rw-p that the kernel marks as stacks.

    From Linux 6.7 on, MAP_STACK shows as the flag nh (VM_NOHUGEPAGE, include/linux/mman.h), which glibc and most others set. Where
    stacks show it, a guard alone is no evidence: allocators have guards, too (V8, PartitionAlloc, scudo). Elsewhere, size and number
    must do; `threads` bounds it.
    """
    plain: list[tuple[int, int]] = []
    marked_by_kernel = False
    for guard, stack in _pairs(table):
        mapping, below = table.mappings[stack], table.mappings[guard]
        flags = flag_set(mapping.flags)
        size, guard_size = mapping.end - mapping.start, below.end - below.start
        if b"nh" in flags and (guard_size <= _GUARD_BYTES or b"nh" in flag_set(below.flags)):
            table.verdicts[guard] = table.verdicts[stack] = STACK_MARKED
            marked_by_kernel |= size >= _TELLING_STACK_BYTES
        elif guard_size <= _GUARD_BYTES and size >= _SMALLEST_STACK_BYTES and not flags & {b"nr", b"dc"}:
            plain.append((guard, stack))
    for guard, stack in _likely(table, plain, marked_by_kernel, threads):
        table.verdicts[guard] = table.verdicts[stack] = STACK_PLAIN
    # Of stacks with guards that are flags, none may be left to pair.
    nh = table.flagged(b"nh", but=b"nr")
    for run in table.runs if nh else ():
        for position in run:
            if table.verdicts[position] is ANON_RW and table.mappings[position].flags in nh:
                _judge_without_guard(table, position)


def _pairs(table: Table) -> Iterator[tuple[int, int]]:
    verdicts = table.verdicts
    for run in table.runs:
        if len(run) > 1:
            for guard, stack in pairwise(run):
                if verdicts[guard] is ANON_NONE and verdicts[stack] is ANON_RW:
                    yield guard, stack


def _likely(table: Table, pairs: list[tuple[int, int]], marked_by_kernel: bool, threads: int | None) -> list[tuple[int, int]]:
    """Those of the pairs without nh that are stacks."""

    def size_of(position: int) -> int:
        return table.mappings[position].end - table.mappings[position].start

    if marked_by_kernel:
        return [pair for pair in pairs if size_of(pair[0]) == _MUSL_GUARD_BYTES]
    sizes = Counter(size_of(stack) for _, stack in pairs)
    if threads is not None:
        # Of more pairs than there can be stacks, the largest are: what allocators guard is smaller.
        room = threads + _CACHED_STACKS
        for size in sorted(sizes, reverse=True):
            room -= sizes[size]
            if room < 0:
                sizes[size] = 0
    return [pair for pair in pairs if ((size := size_of(pair[1])) < _LIKELY_STACK_BYTES and sizes[size]) or sizes[size] > 1]


def _judge_without_guard(table: Table, position: int) -> None:
    mapping = table.mappings[position]
    flags = flag_set(mapping.flags)
    if b"gu" in flags:
        table.verdicts[position] = STACK_GUARD_FLAG
    elif (mapping.end - mapping.start) % _DEFAULT_STACK_BYTES == 0:
        table.verdicts[position] = STACK_MERGED
