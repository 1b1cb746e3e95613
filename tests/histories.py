"""Random histories of an address space: what allocators, loaders, runtimes and databases do to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeAlias

from address_space import ARENA, BINARY, HUGE, MMAP_TOP, STACK_END, STACK_PAGES, AddressSpace, File, NoRoom, Vma

# Sizes of threads' stacks in pages: mostly one of them in a program.
STACKS = (2048, 2048, 2048, 253, 33)

Action: TypeAlias = "Callable[[History], None]"


class History:
    """One process and what it does; the same for the same seed.

    `actions` are all that it does, if given. In a `space` of its own there is a program from the start.
    """

    def __init__(self, seed: int, actions: Sequence[Action] | None = None, space: AddressSpace | None = None) -> None:
        self.random = Random(seed)
        self.space = space or AddressSpace()
        self._inode = 100
        self._blocks: list[tuple[int, int]] = []
        self._stacks: list[tuple[int, int]] = []
        self._arenas: list[tuple[int, int]] = []
        self._libraries: list[tuple[int, int]] = []
        self._windows: list[tuple[int, int, File]] = []
        self._reserves: list[tuple[int, int]] = []
        self._heaps: list[tuple[int, int, int]] = []
        self._files = [self._file(b"/var/data/%d" % i, self.random.choice((64, 300, 2000))) for i in range(4)]
        self._objects = [self._file(b"/usr/lib/lib%d.so" % i, self.random.randint(8, 60)) for i in range(8)]
        if space is None:
            self._start()
        self._actions = list(ACTIONS if actions is None else actions)
        # Programs differ in what they do most.
        self._weights = [1 if actions else ACTIONS[action] * self.random.choice((0, 1, 1, 2, 6)) for action in self._actions]

    def _file(self, name: bytes, pages: int, *, shared_memory: bool = False) -> File:
        self._inode += 1
        return File(name, self._inode, pages, shared_memory)

    def _start(self) -> None:
        space = self.space
        program = self._file(b"/usr/bin/prog", 40)
        space.map(10, "r--p", file=program, fixed=BINARY)
        space.map(20, "r-xp", file=program, offset=10, fixed=BINARY + 10)
        space.map(4, "rw-p", file=program, offset=30, fixed=BINARY + 30)
        space.map(6, fixed=BINARY + 34)
        space.brk_start = space.brk_end = BINARY + 40 + self.random.randint(1, 5000)
        space.brk(space.brk_start + 33)
        space.map(2, "r-xp", fixed=MMAP_TOP + 5, name=b"[vdso]")
        space.map(STACK_PAGES, flags=frozenset({"gd"}), fixed=STACK_END - STACK_PAGES, name=b"[stack]")
        space.touch(STACK_END - 4, 4)
        for _ in range(self.random.randint(1, 5)):
            self.load()

    def run(self, steps: int) -> None:
        """Do so many things."""
        for action in self.random.choices(self._actions, self._weights, k=steps):
            try:
                action(self)
            except NoRoom:
                continue

    # Sizes and places.

    def _pages(self) -> int:
        r = self.random
        return r.choice((1, 2, 4, 16, 33, 64, 256, 256, r.randint(1, 64), r.randint(32, 700), HUGE, 2 * HUGE))

    def _pick(self, things: list[tuple[int, int]]) -> tuple[int, int]:
        if not things:
            raise NoRoom
        return things[self.random.randrange(len(things))]

    def _part(self, start: int, pages: int) -> tuple[int, int]:
        """Some pages of these: all, the head, the tail or from the middle."""
        r = self.random
        if pages == 1 or r.random() < 0.2:
            return start, pages
        some = r.randint(1, pages - 1)
        return r.choice((start, start + pages - some, start + r.randint(0, pages - some))), some

    def _touched(self, start: int, pages: int) -> None:
        """Fill memory, or a little of it."""
        how = self.random.random()
        if how < 0.5:
            self.space.touch(start, pages)
        elif how < 0.85:
            self.space.touch(*self._part(start, pages))

    def _anonymous(self) -> Vma:
        found = [v for v in self.space.vmas if v.file is None and not v.name and v.end <= MMAP_TOP]
        if not found:
            raise NoRoom
        return self.random.choice(found)

    # What malloc does.

    def allocate(self) -> None:
        pages = self._pages()
        start = self.space.map(pages)
        self._blocks.append((start, pages))
        self._touched(start, pages)

    def allocate_equal(self) -> None:
        start = self.space.map(64)
        self._blocks.append((start, 64))
        self._touched(start, 64)

    def release(self) -> None:
        block = self._pick(self._blocks)
        self._blocks.remove(block)
        self.space.unmap(*block)

    def reallocate(self) -> None:
        """realloc of a big block."""
        start, pages = block = self._pick(self._blocks)
        if len(self.space.within(start, start + pages)) != 1:
            raise NoRoom
        new = self.random.choice((pages // 2 or 1, pages + self._pages(), 2 * pages))
        there = self.space.remap(start, pages, new)
        self._blocks[self._blocks.index(block)] = (there, new)
        if new > pages:
            self._touched(there + pages, new - pages)

    def replace_all(self) -> None:
        """A stack of equal blocks is freed, and allocated anew."""
        if not self._blocks:
            raise NoRoom
        size = self.random.choice(self._blocks)[1]
        same = [block for block in self._blocks if block[1] == size]
        for block in same:
            self._blocks.remove(block)
            self.space.unmap(*block)
        for _ in same:
            start = self.space.map(size)
            self._blocks.append((start, size))
            self._touched(start, size)

    def heap(self) -> None:
        space = self.space
        by = self.random.choice((33, 66, 200, -33, -100))
        end = max(space.brk_start + 1, space.brk_end + by)
        old = space.brk_end
        space.brk(end)
        if end > old:
            self._touched(old, end - old)

    def arena(self) -> None:
        """new_heap: a reserve at a multiple of 64 MiB, of which a little is used."""
        space = self.space
        start = space.map(2 * ARENA, "---p", frozenset({"nr"}))
        aligned = start + -start % ARENA
        space.unmap(start, aligned - start)
        space.unmap(aligned + ARENA, start + ARENA - aligned)
        space.protect(aligned, 33, "rw-")
        space.touch(aligned, self.random.randint(1, 33))
        self._arenas.append((aligned, 33))

    def arena_grows(self) -> None:
        start, used = arena = self._pick(self._arenas)
        more = self.random.choice((1, 20, 200))
        self.space.protect(start + used, more, "rw-")
        self._touched(start + used, more)
        self._arenas[self._arenas.index(arena)] = (start, used + more)

    def arena_shrinks(self) -> None:
        """heap_trim, shrink_heap: the pages are given back and the rights taken."""
        start, used = arena = self._pick(self._arenas)
        less = self.random.randint(1, used) - 1
        if self.random.random() < 0.2:
            self._arenas.remove(arena)
            self.space.unmap(start, ARENA)
        elif less:
            self.space.drop(start + used - less, less)
            self.space.protect(start + used - less, less, "---")
            self._arenas[self._arenas.index(arena)] = (start, used - less)

    # What runtimes do.

    def thread(self) -> None:
        pages = self.random.choice(STACKS)
        start = self.space.map(pages + 1, "---p", frozenset({"nh"}) if self.random.random() < 0.5 else frozenset())
        self.space.protect(start + 1, pages, "rw-")
        self.space.touch(start + pages - 2, 2)
        self._stacks.append((start, pages + 1))

    def thread_ends(self) -> None:
        stack = self._pick(self._stacks)
        self._stacks.remove(stack)
        self.space.unmap(*stack)

    def reserve(self) -> None:
        """A large range without rights, to be committed piece by piece (JVM, Go, V8, jemalloc)."""
        pages = self.random.choice((4 * HUGE, 1000, 20 * HUGE))
        self._reserves.append((self.space.map(pages, "---p", frozenset({"nr"})), pages))

    def commit(self) -> None:
        start, pages = self._pick(self._reserves)
        some = self._part(start, min(pages, 400))
        self.space.protect(*some, "rw-")
        self._touched(*some)

    def uncommit(self) -> None:
        start, pages = self._pick(self._reserves)
        some = self._part(start, min(pages, 400))
        self.space.drop(*some)
        self.space.protect(*some, "---")

    def commit_anew(self) -> None:
        """As the JVM does it: mapped anew over the reserve, from its start on; what is not used any more is reserve again."""
        if not self._heaps:
            pages = self.random.choice((2 * HUGE + 5, 1000))
            self._heaps.append((self.space.map(pages, "---p", frozenset({"nr"})), pages, 0))
        heap = self.random.choice(self._heaps)
        start, pages, used = heap
        now = self.random.choice((0, self.random.randint(0, pages), self.random.randint(0, pages)))
        if now > used:
            self.space.map(now - used, fixed=start + used)
            self._touched(start + used, now - used)
        elif now < used:
            self.space.map(used - now, "---p", frozenset({"nr"}), fixed=start + now)
        self._heaps[self._heaps.index(heap)] = (start, pages, now)

    def carve(self) -> None:
        """munmap of a part: allocators that align give back head and tail."""
        vma = self._anonymous()
        start, pages = self._part(vma.start, vma.pages)
        self._forget(start, pages)
        self.space.unmap(start, pages)

    def _forget(self, start: int, pages: int) -> None:
        """What does not own these pages any more leaves them alone."""

        def free(low: int, number: int) -> bool:
            return low + number <= start or start + pages <= low

        for known in (self._blocks, self._stacks, self._arenas, self._reserves):
            known[:] = [owned for owned in known if free(*owned)]
        self._heaps[:] = [heap for heap in self._heaps if free(heap[0], heap[1])]

    def protect(self) -> None:
        vma = self._anonymous()
        self.space.protect(*self._part(vma.start, min(vma.pages, 500)), self.random.choice(("r--", "rw-", "---", "r-x", "rw-", "rw-")))

    def advise(self) -> None:
        vma = self._anonymous()
        self.space.advise(*self._part(vma.start, vma.pages), self.random.choice(("hg", "dd", "lo", "nh")), self.random.random() < 0.5)

    def purge(self) -> None:
        vma = self._anonymous()
        self.space.drop(*self._part(vma.start, min(vma.pages, 2000)))

    def use(self) -> None:
        vma = self._anonymous()
        self._touched(*self._part(vma.start, min(vma.pages, 500)))

    def move(self) -> None:
        """mremap of a whole mapping or a part, by a program that does so (a log, a ring)."""
        vma = self._anonymous()
        if vma.pages > 1000:
            raise NoRoom
        start, pages = self._part(vma.start, vma.pages)
        self._forget(start, pages)
        new = pages + self.random.choice((0, 0, 16))
        self.space.remap(start, pages, new, to=self.space.free_area(new, huge=True))

    # Files.

    def load(self) -> None:
        """dlopen: the whole object, and its segments over it."""
        library = self.random.choice(self._objects)
        pages = library.pages
        text, data = pages // 4, pages * 3 // 4
        bss = self.random.choice((0, 1, 5))
        start = self.space.map(pages + bss, "r--p", file=library)
        self.space.map(data - text, "r-xp", file=library, offset=text, fixed=start + text)
        self.space.map(pages - data, "rw-p", file=library, offset=data, fixed=start + data)
        if bss:
            self.space.map(bss, fixed=start + pages)
        self.space.touch(start + data, 1)
        self.space.protect(start + data, 1, "r--")
        self.space.touch(start, text, write=False)
        self._libraries.append((start, pages + bss))

    def unload(self) -> None:
        library = self._pick(self._libraries)
        self._libraries.remove(library)
        self.space.unmap(*library)

    def window(self) -> None:
        """Map a part of a file; the same one may be mapped twice."""
        file = self.random.choice(self._files)
        offset, pages = self._part(0, file.pages)
        start = self.space.map(pages, self.random.choice(("r--s", "rw-s", "r--p", "rw-p")), file=file, offset=offset)
        self._windows.append((start, pages, file))
        self._read(start, pages)

    def map_again(self) -> None:
        """The same part of a file, at another address as well."""
        if not self._windows:
            raise NoRoom
        start, pages, file = self.random.choice(self._windows)
        inside = self.space.within(start, start + pages)
        if not inside:
            raise NoRoom
        there = self.space.map(pages, inside[0].perms, file=file, offset=inside[0].offset)
        self._windows.append((there, pages, file))
        self._read(there, pages)

    def _read(self, start: int, pages: int) -> None:
        self.space.touch(start, self.random.randint(1, pages), write=self.random.random() < 0.3)

    def slide(self) -> None:
        """A window on a file goes on: unmapped, and mapped further on."""
        if not self._windows:
            raise NoRoom
        start, pages, file = window = self.random.choice(self._windows)
        inside = self.space.within(start, start + pages)
        if not inside:
            raise NoRoom
        self._windows.remove(window)
        offset, perms = inside[0].offset, inside[0].perms
        self.space.unmap(start, pages)
        there = self.space.map(pages, perms, file=file, offset=offset + self.random.choice((pages, pages // 2, 1)))
        self._windows.append((there, pages, file))
        self._read(there, pages)

    def close_window(self) -> None:
        if not self._windows:
            raise NoRoom
        window = self.random.choice(self._windows)
        self._windows.remove(window)
        self.space.unmap(window[0], window[1])

    def grow_window(self) -> None:
        """mremap of a mapped file."""
        if not self._windows:
            raise NoRoom
        start, pages, file = window = self.random.choice(self._windows)
        if len(self.space.within(start, start + pages)) != 1:
            raise NoRoom
        more = self.random.choice((pages // 2 or 1, pages + 16, 2 * pages))
        there = self.space.remap(start, pages, more)
        self._windows[self._windows.index(window)] = (there, more, file)

    def shared(self) -> None:
        """Shared anonymous memory: an object of its own each."""
        pages = self._pages()
        start = self.space.map(pages, "rw-s", file=self._file(b"/dev/zero (deleted)", pages, shared_memory=True))
        self._blocks.append((start, pages))
        self._touched(start, pages)

    def rename(self) -> None:
        file = self.random.choice(self._files)
        file.name = b"/var/data/renamed%d" % self.random.randint(0, 99)

    def remove(self) -> None:
        """Unlink a file; another of the same name takes its place."""
        for files in (self._files, self._objects):
            position = self.random.randrange(len(files))
            old = files[position]
            files[position] = self._file(old.name.removesuffix(b" (deleted)"), old.pages)
            old.name = files[position].name + b" (deleted)"

    # The system.

    def fork(self) -> None:
        self.space.reap() if self.space.forked else self.space.fork()

    def swap(self) -> None:
        vma = self._anonymous()
        some = self._part(vma.start, min(vma.pages, 2000))
        self.space.swap_out(*some) if self.random.random() < 0.5 else self.space.swap_in(*some)

    def stack(self) -> None:
        """The stack grows when it is written to below its end."""
        if next(v for v in self.space.vmas if v.name == b"[stack]").pages > 1000:
            raise NoRoom
        self.space.grow_stack(self.random.choice((1, 10, 100)))


# What a process may do, and how often it does so beside the others.
ACTIONS: dict[Action, int] = {
    History.allocate: 12,
    History.release: 10,
    History.reallocate: 4,
    History.replace_all: 1,
    History.heap: 4,
    History.arena: 1,
    History.arena_grows: 4,
    History.arena_shrinks: 2,
    History.thread: 5,
    History.thread_ends: 4,
    History.reserve: 1,
    History.commit: 5,
    History.uncommit: 3,
    History.commit_anew: 2,
    History.carve: 2,
    History.protect: 4,
    History.advise: 4,
    History.purge: 4,
    History.use: 8,
    History.move: 1,
    History.load: 2,
    History.unload: 2,
    History.window: 3,
    History.slide: 2,
    History.close_window: 2,
    History.grow_window: 1,
    History.shared: 2,
    History.rename: 1,
    History.remove: 1,
    History.fork: 1,
    History.swap: 2,
    History.stack: 1,
}

# What is hard to follow, each by itself.
PATTERNS: dict[str, tuple[Action, ...]] = {
    "big blocks are reallocated": (History.allocate, History.reallocate, History.reallocate, History.use),
    "equal blocks are freed and allocated anew": (History.allocate_equal, History.allocate_equal, History.replace_all, History.release),
    "a window slides over a file": (History.window, History.slide, History.slide, History.slide, History.close_window),
    "a file is mapped twice": (History.window, History.map_again, History.close_window, History.grow_window),
    "another library at the same address": (History.load, History.unload, History.remove),
    "threads come and go": (History.thread, History.thread, History.thread_ends, History.allocate, History.release),
    "a reserve is committed in pieces": (History.reserve, History.commit, History.commit, History.uncommit, History.purge),
    "a heap grows and shrinks within its reserve": (History.commit_anew, History.commit_anew, History.use, History.purge, History.allocate),
    "mappings are cut and protected": (History.allocate, History.carve, History.protect, History.advise, History.use),
}
