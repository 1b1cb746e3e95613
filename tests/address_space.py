"""A model of how Linux lays out the memory of a process, in which every page knows where it came from.

It follows mm/mmap.c, mm/vma.c, mm/mprotect.c, mm/mremap.c and mm/huge_memory.c of 6.18 in what a mapping table shows: where the kernel
puts a mapping, what it splits, and what it merges. A test has the kernel do the same, and compares. Each page of memory
has a number from its birth that it keeps as long as it is mapped, wherever mremap takes it; so of any two moments is known
which mapping of the one holds memory of which mapping of the other. Addresses and lengths are in pages.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from strategies import PAGE, counters_of

from pmapdiff.model import COUNTERS, Mapping

KIB = PAGE >> 10
HUGE = (2 << 20) // PAGE
ARENA = (64 << 20) // PAGE

BINARY = 0x555555554000 // PAGE
MMAP_TOP = 0x7FFFF7FFF000 // PAGE
STACK_END = 0x7FFFFFFFF000 // PAGE
STACK_PAGES = 33
# Below this only the program itself and its heap are.
MMAP_BOTTOM = 0x7F0000000000 // PAGE

# The states of a page that was touched: written, written and shared with a child, in swap, read (back from swap, or from a file).
DIRTY, SHARED, SWAPPED, CLEAN = "dirty", "shared", "swapped", "clean"


class NoRoom(Exception):
    """The kernel would answer ENOMEM or EINVAL."""


@dataclass
class File:
    """A file that can be mapped; its name changes under the mappings."""

    name: bytes
    inode: int
    pages: int
    shared_memory: bool = False


class Run(NamedTuple):
    """Pages `start` to `end` hold the memory that was born with the numbers from `first` on."""

    start: int
    end: int
    first: int


@dataclass(eq=False)
class Vma:
    """One mapping. `offset` is what the kernel calls vm_pgoff: for anonymous memory the page at which it was mapped first."""

    start: int
    end: int
    perms: str
    flags: frozenset[str]
    offset: int
    file: File | None = None
    name: bytes = b""
    anon: int | None = None
    """Which anon_vma it has: none before its first page was written. Two that differ do not merge."""

    @property
    def pages(self) -> int:
        return self.end - self.start


class Row(NamedTuple):
    """A row of a snapshot: what the table says, and what the table does not say: the numbers of its pages, from each to each."""

    mapping: Mapping
    memory: tuple[tuple[int, int], ...]
    file: tuple[int, int, int] | None
    """Inode and pages of the file."""


class AddressSpace:
    """The memory of one process; `bottom` and `top` are the ends of the area for mmap."""

    def __init__(self, bottom: int = MMAP_BOTTOM, top: int = MMAP_TOP) -> None:
        self.bottom, self.top = bottom, top
        self.vmas: list[Vma] = []
        self._runs: list[Run] = []
        self._pages: dict[int, str] = {}
        self._next_memory = 0
        self._next_anon = 0
        self.brk_start = self.brk_end = 0
        self.forked = False

    # Where things are.

    def _at(self, page: int) -> int:
        """The position of the first mapping that ends above this page."""
        return bisect_right(self.vmas, page, key=lambda vma: vma.end)

    def within(self, start: int, end: int) -> list[Vma]:
        """The mappings that overlap these pages."""
        first = self._at(start)
        last = first
        while last < len(self.vmas) and self.vmas[last].start < end:
            last += 1
        return self.vmas[first:last]

    def _gaps(self) -> Iterator[tuple[int, int]]:
        """The free ranges of the mmap area, from the top."""
        top = self.top
        for vma in reversed(self.vmas):
            if vma.start < self.top and vma.end > self.bottom:
                if vma.end < top:
                    yield vma.end, top
                top = vma.start
        if top > self.bottom:
            yield self.bottom, top

    def free_area(self, pages: int, *, huge: bool) -> int:
        """Where get_unmapped_area puts so many pages: the top of the highest gap that has room.

        Anonymous memory of whole huge pages begins at a multiple of them (__thp_get_unmapped_area): room for one more is looked for, and the
        highest place in it taken.
        """
        if huge and pages % HUGE == 0:
            start = self.free_area(pages + HUGE, huge=False)
            return start + HUGE - start % HUGE
        for low, high in self._gaps():
            if high - low >= pages:
                return high - pages
        raise NoRoom

    # Splitting and merging.

    def _split_at(self, page: int) -> None:
        position = self._at(page)
        if position < len(self.vmas) and self.vmas[position].start < page:
            vma = self.vmas[position]
            upper = replace(vma, start=page, offset=vma.offset + page - vma.start)
            vma.end = page
            self.vmas.insert(position + 1, upper)

    def _isolate(self, start: int, end: int) -> list[Vma]:
        self._split_at(start)
        self._split_at(end)
        return self.within(start, end)

    def _merge(self, start: int, end: int) -> None:
        """Join what may be joined at and between these pages."""
        position = max(1, self._at(start - 1))
        while position < len(self.vmas) and self.vmas[position].start <= end:
            left, right = self.vmas[position - 1], self.vmas[position]
            if right.start >= start and _mergeable(left, right) and (left.anon is None or right.anon is None or left.anon == right.anon):
                left.end = right.end
                left.anon = left.anon if left.anon is not None else right.anon
                del self.vmas[position]
            else:
                position += 1

    # System calls.

    def map(
        self,
        pages: int,
        perms: str = "rw-p",
        flags: frozenset[str] = frozenset(),
        *,
        file: File | None = None,
        offset: int = 0,
        fixed: int | None = None,
        name: bytes = b"",
    ) -> int:
        """mmap: the address that it gets."""
        start = self.free_area(pages, huge=file is None) if fixed is None else fixed
        self.unmap(start, pages)
        if perms[1] == "w" and perms[3] == "p" and "nr" not in flags:
            flags |= {"ac"}
        vma = Vma(start, start + pages, perms, flags, start if file is None else offset, file, name)
        insort(self.vmas, vma, key=lambda v: v.start)
        self._born(start, start + pages)
        self._merge(start, start + pages)
        return start

    def unmap(self, start: int, pages: int) -> None:
        """munmap."""
        if not pages:
            return
        gone = self._isolate(start, start + pages)
        self._take_runs(start, start + pages)
        for vma in gone:
            self.vmas.remove(vma)
        self._drop_pages(start, start + pages)

    def protect(self, start: int, pages: int, perms: str) -> None:
        """mprotect; `perms` are the first three letters."""
        if sum(min(v.end, start + pages) - max(v.start, start) for v in self.within(start, start + pages)) < pages:
            raise NoRoom
        for vma in self._isolate(start, start + pages):
            vma.perms = perms + vma.perms[3]
            # mprotect_fixup: what becomes writable is accounted for, and stays so.
            if perms[1] == "w" and vma.perms[3] == "p" and "nr" not in vma.flags:
                vma.flags |= {"ac"}
        self._merge(start, start + pages)

    def advise(self, start: int, pages: int, flag: str, on: bool) -> None:
        """madvise or mlock that sets or clears a flag of the mappings."""
        for vma in self._isolate(start, start + pages):
            vma.flags = vma.flags | {flag} if on else vma.flags - {flag}
        self._merge(start, start + pages)

    def drop(self, start: int, pages: int) -> None:
        """madvise(MADV_DONTNEED): the pages are given back, the mapping stays whole."""
        self._drop_pages(start, start + pages)

    def brk(self, end: int) -> None:
        """Move the program break to a page."""
        if end < self.brk_start or self.within(self.brk_end, end):
            raise NoRoom
        if end < self.brk_end:
            self.unmap(end, self.brk_end - end)
        elif end > self.brk_end:
            insort(self.vmas, Vma(self.brk_end, end, "rw-p", frozenset({"ac"}), self.brk_end, name=b"[heap]"), key=lambda v: v.start)
            self._born(self.brk_end, end)
            self._merge(self.brk_end, end)
        self.brk_end = end

    def remap(self, start: int, pages: int, new_pages: int, *, to: int | None = None) -> int:
        """mremap with MREMAP_MAYMOVE, or to a fixed address. What it is given must lie in one mapping."""
        (vma,) = self.within(start, start + pages)
        if to is None and new_pages <= pages:
            self.unmap(start + new_pages, pages - new_pages)
            return start
        if to is None and vma.end == start + pages and not self.within(vma.end, start + new_pages) and start + new_pages <= self.top:
            old_end, vma.end = vma.end, start + new_pages
            self._born(old_end, vma.end)
            self._merge(vma.start, vma.end)
            return start
        there = self.free_area(new_pages, huge=vma.file is None) if to is None else to
        self.unmap(there, new_pages)
        (vma,) = self._isolate(start, start + pages)
        runs = self._take_runs(start, start + pages)
        self.vmas.remove(vma)
        for page in range(start, start + pages):
            if (state := self._pages.pop(page, None)) is not None:
                self._pages[there + page - start] = state
        # copy_vma: what has no pages yet gets the offset that it would have if it had been mapped there.
        offset = there if vma.file is None and vma.anon is None else vma.offset
        insort(self.vmas, replace(vma, start=there, end=there + new_pages, offset=offset), key=lambda v: v.start)
        for run in runs:
            insort(self._runs, Run(run.start - start + there, run.end - start + there, run.first))
        self._born(there + pages, there + new_pages)
        self._merge(there, there + new_pages)
        return there

    def grow_stack(self, pages: int) -> None:
        """expand_downwards: the stack is written to below where it begins."""
        stack = next(vma for vma in self.vmas if vma.name == b"[stack]")
        stack.start -= pages
        stack.offset -= pages
        self._born(stack.start, stack.start + pages)
        self.touch(stack.start, pages)

    # Pages.

    def touch(self, start: int, pages: int, *, write: bool = True) -> None:
        """Read or write each of these pages, where that is allowed."""
        for vma in self.within(start, start + pages):
            if vma.perms[1 if write else 0] == "-":
                continue
            private = vma.perms[3] == "p"
            if vma.file is None and not write:
                continue  # the zero page, which is not counted
            if write and private and vma.anon is None:
                vma.anon = self._anon_for(vma)
            state = DIRTY if write else CLEAN
            for page in range(max(vma.start, start), min(vma.end, start + pages)):
                if write or page not in self._pages or self._pages[page] == SWAPPED:
                    self._pages[page] = state

    def _anon_for(self, vma: Vma) -> int:
        """find_mergeable_anon_vma: a neighbour's, if the two could become one by mprotect."""
        position = self.vmas.index(vma)
        for left, right in ((position, position + 1), (position - 1, position)):
            if left >= 0 and right < len(self.vmas) and _mergeable(self.vmas[left], self.vmas[right], protection=False):
                neighbour = self.vmas[right if left == position else left]
                if neighbour.anon is not None:
                    return neighbour.anon
        self._next_anon += 1
        return self._next_anon

    def fork(self) -> None:
        """A child that shares all private pages, until it ends."""
        self.forked = True
        self._change_all(DIRTY, SHARED)

    def reap(self) -> None:
        """The child ends."""
        self.forked = False
        self._change_all(SHARED, DIRTY)

    def swap_out(self, start: int, pages: int) -> None:
        """Reclaim."""
        for vma in self.within(start, start + pages):
            if vma.file is None and "lo" not in vma.flags:
                for page in range(max(vma.start, start), min(vma.end, start + pages)):
                    if page in self._pages:
                        self._pages[page] = SWAPPED

    def swap_in(self, start: int, pages: int) -> None:
        """Read back what was swapped out: clean from then on."""
        for page in range(start, start + pages):
            if self._pages.get(page) == SWAPPED:
                self._pages[page] = CLEAN

    def _change_all(self, old: str, new: str) -> None:
        for page, state in self._pages.items():
            if state == old and self.vmas[self._at(page)].perms[3] == "p":
                self._pages[page] = new

    def _drop_pages(self, start: int, end: int) -> None:
        if end - start > len(self._pages):
            for page in [p for p in self._pages if start <= p < end]:
                del self._pages[page]
        else:
            for page in range(start, end):
                self._pages.pop(page, None)

    # The truth.

    def _born(self, start: int, end: int) -> None:
        if end > start:
            insort(self._runs, Run(start, end, self._next_memory))
            self._next_memory += end - start

    def _take_runs(self, start: int, end: int) -> list[Run]:
        """Cut these pages out of what is known to be there."""
        position = bisect_right(self._runs, start, key=lambda run: run.end)
        taken, kept = [], []
        last = position
        while last < len(self._runs) and self._runs[last].start < end:
            run = self._runs[last]
            if run.start < start:
                kept.append(Run(run.start, start, run.first))
            if run.end > end:
                kept.append(Run(end, run.end, run.first + end - run.start))
            low, high = max(run.start, start), min(run.end, end)
            taken.append(Run(low, high, run.first + low - run.start))
            last += 1
        self._runs[position:last] = kept
        return taken

    # What can be seen.

    def snapshot(self) -> list[Row]:
        """The mapping table, and with each row what it holds."""
        rows = []
        pages = sorted(self._pages)
        for vma in self.vmas:
            states = [self._pages[page] for page in pages[bisect_left(pages, vma.start) : bisect_left(pages, vma.end)]]
            position = bisect_right(self._runs, vma.start, key=lambda run: run.end)
            memory = []
            while position < len(self._runs) and self._runs[position].start < vma.end:
                run = self._runs[position]
                low, high = max(run.start, vma.start), min(run.end, vma.end)
                memory.append((run.first + low - run.start, run.first + high - run.start))
                position += 1
            assert sum(high - low for low, high in memory) == vma.pages
            file = None if vma.file is None else (vma.file.inode, vma.offset, vma.offset + vma.pages)
            rows.append(Row(self._row(vma, states), tuple(memory), file))
        return rows

    def _row(self, vma: Vma, states: list[str]) -> Mapping:
        count = {state: states.count(state) * KIB for state in (DIRTY, SHARED, SWAPPED, CLEAN)}
        resident = count[DIRTY] + count[SHARED] + count[CLEAN]
        anonymous = resident if vma.file is None else count[DIRTY] + count[SHARED] if vma.perms[3] == "p" else 0
        values = counters_of(
            rss=resident,
            pss=resident - count[SHARED] // 2,
            private_dirty=count[DIRTY],
            shared_dirty=count[SHARED],
            private_clean=count[CLEAN],
            referenced=resident,
            anonymous=anonymous,
            swap=count[SWAPPED],
            swap_pss=count[SWAPPED],
        )
        counters = tuple(0 if value is None and COUNTERS[index].kernel != "Dirty" else value for index, value in enumerate(values))
        letters = {"r": "rd", "w": "wr", "x": "ex"}
        shown = [letters[p] for p in vma.perms[:3] if p != "-"] + (["sh"] if vma.perms[3] == "s" else [])
        flags = " ".join([*shown, "mr", "mw", "me", *sorted(vma.flags)]) + " "
        name = vma.name if vma.file is None else vma.file.name
        return Mapping(
            vma.start * PAGE,
            vma.end * PAGE,
            vma.perms,
            0 if vma.file is None else vma.offset * PAGE,
            "00:00" if vma.file is None else "fe:00",
            0 if vma.file is None else vma.file.inode,
            name,
            flags.encode(),
            counters,
        )


def _mergeable(left: Vma, right: Vma, *, protection: bool = True) -> bool:
    """Whether the kernel may make one mapping of two, but for their anon_vma (mm/vma.c, is_mergeable_vma)."""
    flags = (left.flags, right.flags) if protection else (left.flags - {"ac"}, right.flags - {"ac"})
    return (
        left.end == right.start
        and left.file is right.file
        and left.name == right.name
        and (left.perms == right.perms if protection else left.perms[3] == right.perms[3])
        and flags[0] == flags[1]
        and left.offset + left.pages == right.offset
    )
