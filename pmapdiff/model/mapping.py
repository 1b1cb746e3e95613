"""A mapping (one row of /proc/PID/maps) and a mapping table (all of them at one instant)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from pmapdiff.model.counters import FIGURE_INDEX, FIGURES, NO_COUNTERS, Counters, Figures, figures_of, quick_sums, sum_figures
from pmapdiff.model.layout import Layout

ADDRESS_LIMIT = 1 << 64
VSYSCALL = b"[vsyscall]"
DELETED = b" (deleted)"
# fs/proc/task_mmu.c, arch_vma_name and special mappings of x86, arm64, s390, arm and uml, 5.10 to 6.18.
_KERNEL_NAMES = frozenset((b"[vdso]", b"[vvar]", b"[vvar_vclock]", b"[vsyscall]", b"[vectors]", b"[sigpage]", b"[uprobes]", b"[timens]", b"[vdso32]"))
_SHM_PREFIXES = (b"/dev/shm/", b"/SYSV", b"/memfd:", b"[anon_shmem:", b"[shmid=", b"SYSV", b"memfd:")
# Perms that no mapping has: what a source without perms gives, and of a row that is a sum over several mappings.
UNKNOWN_PERMS = "????"
SUM_PERMS = "----"
_SHARED_ANONYMOUS = (b"/dev/zero (deleted)", b"/dev/zero", b"zero (deleted)", b"zero")


class Mapping(NamedTuple):
    """One VMA at one instant.

    Addresses and offset are bytes (unsigned 64 bit, `end` exclusive); `perms` is the kernel's four
    letters; `device` is `major:minor` in hex as the kernel prints it. What the source does not have is None: pmap
    -x has no offset, device or inode, and without -p the name is only a basename. `name` is the kernel's bytes,
    verbatim, empty for unnamed memory. `perms` have a `?` for each letter that the source does not tell, are `UNKNOWN_PERMS` where it tells
    none, and `SUM_PERMS` of a row that is a sum over several mappings: it stands at no address, its `start` and `end` only say how large it is
    (nothing if they are equal). `flags` is the text after `VmFlags:`, verbatim. `layout` and `extra` (values of counters that this version does not
    know) and `header` (the header line, only where it is not in the kernel's usual form) are what it takes to give the text back.
    """

    start: int
    end: int
    perms: str
    offset: int | None
    device: str | None
    inode: int | None
    name: bytes
    flags: bytes | None = None
    counters: Counters = NO_COUNTERS
    layout: Layout | None = None
    extra: tuple[int | bytes, ...] = ()
    header: bytes | None = None

    @property
    def is_sum(self) -> bool:
        """Whether this is a sum over several mappings, of which nobody knows where they are."""
        return self.perms == SUM_PERMS

    @property
    def has_perms(self) -> bool:
        """Whether the source says what its permissions are."""
        return known_perms(self.perms) is not None

    @property
    def size_kib(self) -> int:
        """The length of the address range in KiB."""
        return (self.end - self.start) >> 10

    @property
    def is_file(self) -> bool:
        """Whether an object stands behind it (file, shared memory, device), not just memory.

        Without an inode (saved pmap output) the name decides: anonymous and special names are in brackets.
        """
        return bool(self.inode) or (self.name != b"" and self.name[:1] != b"[") or self.name.startswith(b"[shmid=")

    @property
    def is_kernel(self) -> bool:
        """Whether the kernel put it there: [vdso], [vvar], [vsyscall] and their like."""
        return self.name in _KERNEL_NAMES and not self.inode

    @property
    def is_shared_memory(self) -> bool:
        """Whether its pages belong to a shared-memory object (POSIX shm, SysV, memfd, shared anonymous)."""
        # Mapped privately, /dev/zero is plain memory and keeps its inode.
        return is_shared_memory_name(self.name, self.perms[3] == "s" or (bool(self.inode) and self.perms[3] != "p"))

    @property
    def may_be_shared_memory(self) -> bool:
        """Whether it is mapped shared, and its name does not say if its object is memory or a file: pmap without -p leaves out /dev/shm/."""
        name = self.name
        if not name or self.perms[3] != "s" or b"/" in name or name.startswith(b"["):
            return False
        return (self.device or "00:").startswith("00:") and not self.is_shared_memory

    @property
    def path(self) -> bytes | None:
        """The file's path without ` (deleted)`; None for memory without one. A basename if that is all there is."""
        return self.name.removesuffix(DELETED) if self.is_file else None

    @property
    def figures(self) -> Figures:
        """All figures that add up over mappings, in KiB, in the order of `FIGURES`."""
        figures = figures_of(self.size_kib, self.counters, self.name != b"" and self.is_shared_memory)
        if self.end > self.start and not (self.perms[3] == "s" and self.may_be_shared_memory):
            return figures
        # Of a sum over everything neither the size is known, nor how much of it is shared memory.
        unknown = ("footprint_kib",) if self.end > self.start else ("size_kib", "footprint_kib")
        return tuple([None if name in unknown else value for name, value in zip(FIGURES, figures, strict=True)])

    def get(self, figure: str) -> int | None:
        """One figure by its name in `FIGURES`, in KiB."""
        return self.figures[FIGURE_INDEX[figure]]


# The fields of a mapping before its counters.
PLACE = slice(Mapping._fields.index("counters"))


def same_place(one: Mapping, other: Mapping) -> bool:
    """Whether two mappings have everything but their counters in common."""
    return one[PLACE] == other[PLACE]


def known_perms(perms: str) -> str | None:
    """The permissions; None for the marks of those that nobody knows."""
    return None if perms in (UNKNOWN_PERMS, SUM_PERMS) else perms


def perms_agree(one: str, other: str) -> bool:
    """Whether two permissions may be the same, as far as the sources of both tell them."""
    if one == other or known_perms(one) is None or known_perms(other) is None:
        return True
    return all(a == b or "?" in (a, b) for a, b in zip(one, other, strict=True))


def is_shared_memory_name(name: bytes, shared: bool) -> bool:
    """Whether a mapping of this name holds pages of a shared-memory object; `shared` is whether it is mapped so, which tells of /dev/zero."""
    # /dev/zero itself is mapped privately as plain anonymous memory; the kernel's shared anonymous object has
    # the same name but is always deleted (mm/shmem.c, shmem_zero_setup).
    return name.startswith(_SHM_PREFIXES) or (shared and name in _SHARED_ANONYMOUS)


def figures_together(mappings: Sequence[Mapping]) -> Figures:
    """What mappings add up to, in the order of `FIGURES`: the sums of their `figures`."""
    sizes = [(m.end - m.start) >> 10 for m in mappings]
    quick = None
    named = [m for m in mappings if m.name]
    if 0 not in sizes and not any(m.perms[3] == "s" and m.may_be_shared_memory for m in named):
        quick = quick_sums(sum(sizes), [m.counters for m in mappings], [m.counters for m in named if m.is_shared_memory])
    return quick or sum_figures(m.figures for m in mappings)


@dataclass(frozen=True)
class MappingTable:
    """All mappings of one process at one instant, in the order of their addresses."""

    mappings: tuple[Mapping, ...]

    @cached_property
    def totals(self) -> Totals:
        """The table's sums."""
        return Totals(len(self.mappings), figures_together(self.mappings))

    @property
    def has_sums(self) -> bool:
        """Whether its rows are sums over mappings that nobody has shown, so that they stand at no address."""
        return any(mapping.is_sum for mapping in self.mappings[:1])

    @property
    def has_basenames(self) -> bool:
        """Whether its files are called by the last component of their path alone, as pmap prints it without -p."""
        files = [m.name for m in self.mappings if m.name and m.is_file]
        return bool(files) and not any(b"/" in name for name in files)

    @property
    def missing(self) -> tuple[str, ...]:
        """The figures that some mapping of this table lacks."""
        return tuple(name for name, value in zip(FIGURES, self.totals.figures, strict=True) if value is None)


class Totals(NamedTuple):
    """What a table adds up to: the number of mappings, and each figure in KiB."""

    mappings: int
    figures: Figures

    def get(self, figure: str) -> int | None:
        """One figure by its name in `FIGURES`."""
        return self.figures[FIGURE_INDEX[figure]]
