"""The model of the address space that the aligner is judged by does what this kernel does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from address_space import AddressSpace, File, NoRoom, Row
from histories import History
from programs import Target
from strategies import MANY, PAGE

# Far from everything that a process has by itself.
BASE = 0x100000000000 // PAGE
PAGES = 1 << 26
PROTECTIONS = {"r": 1, "w": 2, "x": 4, "-": 0}
NORESERVE, PRIVATE_ANONYMOUS, DONTNEED, DONTDUMP, DODUMP = 0x4000, 0x22, 4, 16, 17
ACTIONS = (
    *(History.allocate, History.allocate, History.allocate_equal, History.release, History.reallocate, History.replace_all, History.arena),
    *(History.arena_grows, History.arena_shrinks, History.thread, History.thread_ends, History.reserve, History.commit, History.uncommit),
    *(History.carve, History.protect, History.protect, History.advise, History.advise, History.purge, History.use, History.use, History.move),
)


class Real(AddressSpace):
    """A model that has a process do the same, at the addresses that it says."""

    def __init__(self, target: Target) -> None:
        super().__init__(BASE, BASE + PAGES)
        self._target = target

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
        assert file is None
        flags &= {"nr"}
        start = super().map(pages, perms, flags, offset=offset, fixed=fixed, name=name)
        self._target.call(
            "map", size=pages * PAGE, address=start * PAGE, prot=_protection(perms), flags=PRIVATE_ANONYMOUS | (NORESERVE if flags else 0)
        )
        return start

    def unmap(self, start: int, pages: int) -> None:
        super().unmap(start, pages)
        if pages:
            self._target.call("unmap", address=start * PAGE, size=pages * PAGE)

    def protect(self, start: int, pages: int, perms: str) -> None:
        super().protect(start, pages, perms)
        self._target.call("protect", address=start * PAGE, size=pages * PAGE, prot=_protection(perms))

    def advise(self, start: int, pages: int, flag: str, on: bool) -> None:
        if flag != "dd":
            # Not every kernel has huge pages, and not everybody may lock.
            raise NoRoom
        super().advise(start, pages, flag, on)
        self._target.call("advise", address=start * PAGE, size=pages * PAGE, advice=DONTDUMP if on else DODUMP)

    def drop(self, start: int, pages: int) -> None:
        super().drop(start, pages)
        for vma in self.within(start, start + pages):
            first, last = max(vma.start, start), min(vma.end, start + pages)
            self._target.call("advise", address=first * PAGE, size=(last - first) * PAGE, advice=DONTNEED)

    def remap(self, start: int, pages: int, new_pages: int, *, to: int | None = None) -> int:
        there = super().remap(start, pages, new_pages, to=to)
        if to is not None or new_pages > pages:
            address = None if there == start else there * PAGE
            self._target.call("remap", address=start * PAGE, size=pages * PAGE, new_size=new_pages * PAGE, to=address)
        return there

    def touch(self, start: int, pages: int, *, write: bool = True) -> None:
        super().touch(start, pages, write=write)
        for vma in self.within(start, start + pages):
            if vma.perms[1] == "w":
                first, last = max(vma.start, start), min(vma.end, start + pages)
                self._target.call("write", address=first * PAGE, pages=last - first)


def _protection(perms: str) -> int:
    return sum(PROTECTIONS[letter] for letter in perms[:3])


Place = tuple[int, int, str]


def _real(target: Target) -> list[Place]:
    places = []
    for line in Path(f"/proc/{target.pid}/maps").read_text().splitlines():
        addresses, perms, *_ = line.split()
        start, end = (int(address, 16) for address in addresses.split("-"))
        if BASE * PAGE <= start < (BASE + PAGES) * PAGE:
            places.append((start, end, perms))
    return places


def _modelled(rows: Iterable[Row]) -> list[Place]:
    return [(row.mapping.start, row.mapping.end, row.mapping.perms) for row in rows]


def _joined(places: list[Place]) -> list[Place]:
    """Without the boundaries between neighbours of equal permissions, which kernels merge more or less."""
    joined: list[Place] = []
    for start, end, perms in places:
        if joined and joined[-1][1:] == (start, perms):
            joined[-1] = (joined[-1][0], end, perms)
        else:
            joined.append((start, end, perms))
    return joined


@pytest.mark.parametrize("seed", range(6 * MANY))
def test_the_kernel_splits_and_merges_as_the_model_does(target: Target, seed: int) -> None:
    space = Real(target)
    history = History(seed, ACTIONS, space)
    for step in range(200):
        history.run(1)
        real, modelled = _real(target), _modelled(space.snapshot())
        if not os.uname().release.startswith("6.18."):
            real, modelled = _joined(real), _joined(modelled)
        assert real == modelled, f"after step {step}"
    assert len(real) > 10
