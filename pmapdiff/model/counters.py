"""The counters of a mapping, in the kernel's words, and the figures derived from them.

A mapping's counters are a tuple in the order of `COUNTERS`; None where the source does not have one.
Kernel facts: fs/proc/task_mmu.c, `__show_smap` and `show_smap` (5.10 to 6.18).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple, TypeAlias

Counters: TypeAlias = tuple[int | None, ...]


class Counter(NamedTuple):
    """One smaps figure: the kernel's name, our attribute, and whether sums over mappings mean anything."""

    kernel: str
    attribute: str
    summable: bool = True


# Order matters: the store keeps the first `VOLATILE` of them in `usage` and the rest, which hardly ever
# change, interned in `detail`. `Dirty` is not the kernel's: pmap -x prints Shared_Dirty + Private_Dirty as one
# figure, and a saved table may have nothing else.
COUNTERS = (
    Counter("Rss", "rss_kib"),
    Counter("Pss", "pss_kib"),
    Counter("Pss_Dirty", "pss_dirty_kib"),
    Counter("Shared_Clean", "shared_clean_kib"),
    Counter("Shared_Dirty", "shared_dirty_kib"),
    Counter("Private_Clean", "private_clean_kib"),
    Counter("Private_Dirty", "private_dirty_kib"),
    Counter("Referenced", "referenced_kib"),
    Counter("Anonymous", "anonymous_kib"),
    Counter("AnonHugePages", "anon_huge_pages_kib"),
    Counter("Swap", "swap_kib"),
    Counter("SwapPss", "swap_pss_kib"),
    Counter("Dirty", "dirty_kib"),
    Counter("KernelPageSize", "kernel_page_size_kib", summable=False),
    Counter("MMUPageSize", "mmu_page_size_kib", summable=False),
    Counter("KSM", "ksm_kib"),
    Counter("LazyFree", "lazy_free_kib"),
    Counter("ShmemPmdMapped", "shmem_pmd_mapped_kib"),
    Counter("FilePmdMapped", "file_pmd_mapped_kib"),
    Counter("Shared_Hugetlb", "shared_hugetlb_kib"),
    Counter("Private_Hugetlb", "private_hugetlb_kib"),
    Counter("Locked", "locked_kib"),
    Counter("THPeligible", "thp_eligible", summable=False),
    Counter("ProtectionKey", "protection_key", summable=False),
)
VOLATILE = 13
COUNTER_INDEX = {counter.kernel: index for index, counter in enumerate(COUNTERS)}
NO_COUNTERS: Counters = (None,) * len(COUNTERS)

RSS = COUNTER_INDEX["Rss"]
PSS = COUNTER_INDEX["Pss"]
SHARED_DIRTY = COUNTER_INDEX["Shared_Dirty"]
PRIVATE_CLEAN = COUNTER_INDEX["Private_Clean"]
PRIVATE_DIRTY = COUNTER_INDEX["Private_Dirty"]
ANONYMOUS = COUNTER_INDEX["Anonymous"]
SWAP = COUNTER_INDEX["Swap"]
SWAP_PSS = COUNTER_INDEX["SwapPss"]
DIRTY = COUNTER_INDEX["Dirty"]
SHARED_HUGETLB = COUNTER_INDEX["Shared_Hugetlb"]
PRIVATE_HUGETLB = COUNTER_INDEX["Private_Hugetlb"]

SUMMABLE = tuple(index for index, counter in enumerate(COUNTERS) if counter.summable and index != DIRTY)
_DERIVED_FROM = (PSS, ANONYMOUS, SWAP, SHARED_DIRTY, PRIVATE_CLEAN, PRIVATE_DIRTY, PRIVATE_HUGETLB, SHARED_HUGETLB)
_pick_summable = itemgetter(*SUMMABLE)

# Every figure that adds up over mappings, in the order in which reports and `Figures` keep them.
FIGURES = ("size_kib", *(COUNTERS[i].attribute for i in SUMMABLE), "dirty_kib", "uss_kib", "footprint_kib")
FIGURE_INDEX = {name: index for index, name in enumerate(FIGURES)}

Figures: TypeAlias = tuple[int | None, ...]
"""One value in KiB for each name of `FIGURES`; None where the source does not have it."""


def dirty_kib(counters: Counters) -> int | None:
    """Shared_Dirty + Private_Dirty in KiB, as pmap's Dirty column; None if the source has neither form."""
    shared, private = counters[SHARED_DIRTY], counters[PRIVATE_DIRTY]
    if shared is None or private is None:
        return counters[DIRTY]
    return shared + private


def uss_kib(counters: Counters) -> int | None:
    """Private_Clean + Private_Dirty + Private_Hugetlb in KiB (kernels before 4.4 have no Hugetlb counters)."""
    clean, dirty = counters[PRIVATE_CLEAN], counters[PRIVATE_DIRTY]
    if clean is None or dirty is None:
        return None
    return clean + dirty + (counters[PRIVATE_HUGETLB] or 0)


def footprint_kib(counters: Counters, *, shared_memory: bool) -> int | None:
    """Memory in KiB that cannot be dropped for free.

    Anonymous + Swap + hugetlb for ordinary mappings. Pages of shared memory (`shared_memory`: shm, SysV,
    memfd) are not Anonymous: there it is Pss + Swap + hugetlb. A page that a private mapping of such an object
    copied is in Anonymous and in Pss, and SwapPss is a part of Swap, so each is counted once. Kernels without
    Swap (before 2.6.26) or the Hugetlb counters (before 4.4) had none to count; without Anonymous or Pss the figure
    is missing.
    """
    base = counters[PSS] if shared_memory else counters[ANONYMOUS]
    if base is None:
        return None
    return base + (counters[SWAP] or 0) + (counters[PRIVATE_HUGETLB] or 0) + (counters[SHARED_HUGETLB] or 0)


# The same few sets of counters stand in thousands of mappings, and come back.
@lru_cache(maxsize=2_000)
def figures_of(size_kib: int, counters: Counters, shared_memory: bool) -> Figures:
    """All figures of one mapping, in the order of `FIGURES`."""
    return (
        size_kib,
        *_pick_summable(counters),
        dirty_kib(counters),
        uss_kib(counters),
        footprint_kib(counters, shared_memory=shared_memory),
    )


def sum_figures(rows: Iterable[Figures]) -> Figures:
    """The sum of many mappings' figures; a figure that one of them lacks is missing in the sum.

    Of no rows every figure is 0: there is nothing that could be missing.
    """
    columns = tuple(zip(*rows, strict=True))
    if not columns:
        return (0,) * len(FIGURES)
    return tuple([None if None in column else sum(column) for column in columns])


def quick_sums(size_kib: int, rows: Sequence[Counters], shared_memory: Sequence[Counters]) -> Figures | None:
    """What `sum_figures` gives for mappings of these counters, column by column: four times as fast.

    `shared_memory` are the rows of shared memory among them. None if some row lacks a counter that the derived
    figures need; a counter that only some rows lack is missing all the same.
    """
    sums: list[int | None] = []
    for column in zip(*rows, strict=True):
        try:
            sums.append(sum(column))
        except TypeError:
            sums.append(None)
    if not sums or any(sums[index] is None for index in _DERIVED_FROM):
        return None
    known = [value or 0 for value in sums]
    dirty = known[SHARED_DIRTY] + known[PRIVATE_DIRTY]
    uss = known[PRIVATE_CLEAN] + known[PRIVATE_DIRTY] + known[PRIVATE_HUGETLB]
    pss_for_anonymous = sum((row[PSS] or 0) - (row[ANONYMOUS] or 0) for row in shared_memory)
    footprint = known[ANONYMOUS] + pss_for_anonymous + known[SWAP] + known[PRIVATE_HUGETLB] + known[SHARED_HUGETLB]
    return (size_kib, *_pick_summable(tuple(sums)), dirty, uss, footprint)


def subtract_figures(after: Figures, before: Figures) -> Figures:
    """After - before for each figure; missing where either is."""
    return tuple([None if a is None or b is None else a - b for a, b in zip(after, before, strict=True)])


def figures_dict(figures: Figures) -> dict[str, int | None]:
    """Figures by name, in the order of `FIGURES`."""
    return dict(zip(FIGURES, figures, strict=True))
