"""What runtimes lay out: Go, V8, HotSpot, and the reserves of those who generate code."""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter

from pmapdiff.align.families.objects import ANON_NONE, ANON_READ, ANON_RW, JIT_PRIVATE
from pmapdiff.align.families.verdict import GIB, KIB, MIB, Run, Table, Verdict, flag_set

GO_FIRST_ARENA = Verdict("managed-heap", "within the addresses of Go's heap, and its first arena is mapped")
GO_ARENA = Verdict("managed-heap", "arenas of 64 MiB, used in steps of 4 MiB, beside the page summaries of a Go program: Go's heap")
GO_SUMMARY = Verdict("managed-heap", "reserves of 512 MiB and more with small islands of rw-p: the page summaries of Go's heap")
V8_PAGE = Verdict("managed-heap", "at a multiple of 256 KiB, one of many such mappings that stand alone: pages of V8's heap")
V8_OTHER = Verdict("managed-heap", "not copied by fork (flag dc) in a process with pages of V8's heap")
V8_SANDBOX = Verdict("managed-heap", "in a reserve of more than 256 GiB that core dumps leave out (flag dd): the sandbox of V8's heap")
JVM_LOW = Verdict("managed-heap", "below 32 GiB in a process that maps libjvm: the Java heap, or classes, behind compressed pointers")
JVM_RESERVE = Verdict("managed-heap", "reserved by HotSpot and not used yet")
JVM_USED = Verdict("managed-heap", "rw-p below a reserve of HotSpot: heap, classes or tables of the collector")
JIT_RESERVE = Verdict("jit", "---p that adjoins executable memory: the reserve of a code cache, or its guard")

# Go's runtime/malloc.go (1.11 to 1.27): the first hint on linux/amd64, and that on arm64; a heap grows from there. From 1.26 on the first
# address is random (GOEXPERIMENT randomizedheapbase64).
_GO_HINTS = (0xC000000000, 0x4000000000)
_GO_SPAN = 1 << 38
_GO_ARENA_BYTES = 64 * MIB  # heapArenaBytes
_GO_GROWTH_BYTES = 4 * MIB  # pallocChunkBytes
# Go's runtime/mpagealloc_64bit.go: five levels of summaries are reserved, the largest of them 512 MiB, and mapped page by page.
# The islands in that one are together, so that one of its gaps is about half of it. PartitionAlloc (Chromium) reserves far more.
_GO_SUMMARIES_BYTES = 512 * MIB
_GO_LARGEST_GAP_BYTES = 240 * MIB
_GO_MOST_BYTES = 4 * GIB
_GO_ISLAND_BYTES = 60 * KIB
_GO_ISLANDS = 3
# V8's src/common/globals.h, kPageSizeBits = 18; src/base/platform, madvise(MADV_DONTFORK).
_V8_PAGE_BYTES = 256 * KIB
_V8_FEWEST_PAGES = 8
_V8_SANDBOX_BYTES = 256 * GIB  # V8's include/v8-internal.h: the sandbox of Chromium and Electron is of 1 TiB
_JVM = b"libjvm.so"
_COMPRESSED_LIMIT = 32 * GIB  # what 32 bits can address in units of 8 bytes (HotSpot's compressed oops and class pointers)
_GUARD_BYTES = 64 * KIB
_start = attrgetter("start")


def is_jvm(table: Table) -> bool:
    """Whether HotSpot (or a JVM that is built like it) is mapped."""
    return _JVM in table.libraries


def mark_go(table: Table) -> None:
    """Go's heap: its known addresses if the first arena is there (others use them by chance), or arenas beside its page summaries."""
    mappings, verdicts = table.mappings, table.verdicts
    for hint in _GO_HINTS:
        first = bisect_left(mappings, hint, key=_start)
        if first < len(mappings) and mappings[first].start == hint and verdicts[first] in (ANON_RW, ANON_NONE):
            for position in range(first, bisect_left(mappings, hint + _GO_SPAN, key=_start)):
                if verdicts[position] in (ANON_RW, ANON_NONE):
                    verdicts[position] = GO_FIRST_ARENA
    summaries = [run for run in table.runs if len(run) > 2 * _GO_ISLANDS and _is_go_summary(table, run)]
    for run in summaries:
        edges = [i for i, position in enumerate(run) if verdicts[position] is ANON_NONE]
        # Memory of others may adjoin at both ends.
        for position in run[edges[0] : edges[-1] + 1]:
            verdicts[position] = GO_SUMMARY
    for run in table.runs if summaries else ():
        _mark_go_arenas(table, run)


def _is_go_summary(table: Table, run: Run) -> bool:
    mappings, verdicts = table.mappings, table.verdicts
    if not _GO_SUMMARIES_BYTES <= mappings[run[-1]].end - mappings[run[0]].start < _GO_MOST_BYTES:
        return False
    largest = islands = 0
    for i, position in enumerate(run):
        mapping = mappings[position]
        if flag_set(mapping.flags) & {b"nr", b"dc"} or verdicts[position] is JIT_PRIVATE:
            return False
        size = mapping.end - mapping.start
        if verdicts[position] is ANON_NONE:
            largest = max(largest, size)
        elif 0 < i < len(run) - 1 and verdicts[run[i - 1]] is verdicts[run[i + 1]] is ANON_NONE and mapping.start % _GO_ARENA_BYTES:
            islands += size <= _GO_ISLAND_BYTES
    return largest >= _GO_LARGEST_GAP_BYTES and islands >= _GO_ISLANDS


def _mark_go_arenas(table: Table, run: Run) -> None:
    """rw-p from a multiple of 64 MiB in steps of 4 MiB, and ---p up to the next such multiple."""
    mappings, verdicts = table.mappings, table.verdicts
    i = 0
    while i < len(run):
        first = i
        while i < len(run) and verdicts[run[i]] is ANON_RW:
            i += 1
        if i == first:
            i += 1
            continue
        start, used = mappings[run[first]].start, mappings[run[i - 1]].end
        if start % _GO_ARENA_BYTES or (used - start) % _GO_GROWTH_BYTES or b"nr" in flag_set(mappings[run[first]].flags):
            continue
        if used % _GO_ARENA_BYTES and i < len(run) and verdicts[run[i]] is ANON_NONE and mappings[run[i]].end % _GO_ARENA_BYTES == 0:
            i += 1
        elif used % _GO_ARENA_BYTES:
            continue
        for position in run[first:i]:
            verdicts[position] = GO_ARENA


def mark_v8(table: Table) -> None:
    """V8's heap: pages at multiples of 256 KiB, at random addresses, not copied by fork (flag dc); or all in one reserve."""
    mappings, verdicts = table.mappings, table.verdicts
    _mark_v8_sandbox(table)
    # QEMU does not copy its guest's memory either, but asks for huge pages (hg).
    dont_fork = table.flagged(b"dc", but=b"hg")
    if not dont_fork and None not in table.flags:
        return
    kinds = dont_fork or {None}
    of_v8 = [i for run in table.runs for i in run if mappings[i].flags in kinds and verdicts[i] in (ANON_RW, ANON_READ, ANON_NONE)]
    pages = [i for i in of_v8 if mappings[i].start % _V8_PAGE_BYTES == 0 and verdicts[i] is not ANON_NONE and _stands_alone(table, i)]
    if sum(mappings[i].end - mappings[i].start <= _V8_PAGE_BYTES for i in pages) < _V8_FEWEST_PAGES:
        return
    for position in of_v8 if dont_fork else ():
        verdicts[position] = V8_OTHER
    for position in pages:
        verdicts[position] = V8_PAGE


def _mark_v8_sandbox(table: Table) -> None:
    reserved = table.flagged(b"dd") & table.flagged(b"nr")
    for run in table.runs if reserved else ():
        for position in run:
            mapping = table.mappings[position]
            if mapping.flags in reserved and table.verdicts[position] is ANON_NONE and mapping.end - mapping.start > _V8_SANDBOX_BYTES:
                for inside in run:
                    if table.verdicts[inside] in (ANON_RW, ANON_READ, ANON_NONE):
                        table.verdicts[inside] = V8_SANDBOX
                break


def _stands_alone(table: Table, position: int) -> bool:
    mappings = table.mappings
    mapping = mappings[position]
    return (position == 0 or mappings[position - 1].end < mapping.start) and (
        position + 1 == len(mappings) or mapping.end < mappings[position + 1].start
    )


def mark_jvm_low(table: Table) -> None:
    """Anonymous memory of a 64-bit JVM below 32 GiB: the kernel puts nothing there that did not ask for it."""
    for run in table.runs if table.top > _COMPRESSED_LIMIT else ():
        if table.mappings[run[0]].start >= _COMPRESSED_LIMIT:
            break
        for position in run:
            if table.verdicts[position] is not JIT_PRIVATE:
                table.verdicts[position] = JVM_LOW


def mark_jvm_reserves(table: Table) -> None:
    """What HotSpot reserved (MAP_NORESERVE), and what it has mapped over the lower end of that to use it (os_linux.cpp, commit_memory)."""
    mappings, verdicts = table.mappings, table.verdicts
    for run in table.runs:
        for i, position in enumerate(run):
            mapping = mappings[position]
            is_reserve = _is_large(table, position) if mapping.flags is None else b"nr" in flag_set(mapping.flags)
            if verdicts[position] is not ANON_NONE or not is_reserve:
                continue
            verdicts[position] = JVM_RESERVE
            while i and verdicts[run[i - 1]] is ANON_RW and not flag_set(mappings[run[i - 1]].flags) & {b"nr", b"nh"}:
                i -= 1
                verdicts[run[i]] = JVM_USED


def _is_large(table: Table, position: int) -> bool:
    return table.mappings[position].end - table.mappings[position].start > _GUARD_BYTES


def mark_code_reserves(table: Table) -> None:
    """The reserve above executable memory, however it is cut, and the guard below it."""
    verdicts = table.verdicts
    for run in table.runs:
        if len(run) == 1 or not any(verdicts[position] is JIT_PRIVATE for position in run):
            continue
        for i, position in enumerate(run):
            if verdicts[position] is not ANON_NONE:
                continue
            above_code = i > 0 and verdicts[run[i - 1]] in (JIT_PRIVATE, JIT_RESERVE)
            below_code = i + 1 < len(run) and verdicts[run[i + 1]] is JIT_PRIVATE and not _is_large(table, position)
            if above_code or below_code:
                verdicts[position] = JIT_RESERVE
