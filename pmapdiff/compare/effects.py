"""What the kernel did with the memory, where the counters show it: paging, page cache, huge pages, copy-on-write.

Each of these moves one figure and not the account: paging looks like a fix and page cache like a leak to whoever watches Rss alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from pmapdiff.model import FIGURE_INDEX, Mapping
from pmapdiff.model.mapping import DELETED

if TYPE_CHECKING:
    from pmapdiff.compare.result import Change

DEFAULT_MAX_MAP_COUNT = 65_530
"""vm.max_map_count unless the host was told otherwise (include/linux/mm.h, DEFAULT_MAX_MAP_COUNT, 2.6 to 6.18)."""
_NEAR = 0.8
_LEAST_KIB = 256
_RSS, _SWAP, _SIZE, _HUGE, _ANONYMOUS, _PD, _SD, _PC, _SC = (
    FIGURE_INDEX[f"{name}_kib"]
    for name in ("rss", "swap", "size", "anon_huge_pages", "anonymous", "private_dirty", "shared_dirty", "private_clean", "shared_clean")
)


class Effect(StrEnum):
    """What happened to memory besides growing and shrinking."""

    PAGING = "paging"
    """KiB that went to swap; negative for what came back. Neither is a change of what the process needs."""
    PAGE_CACHE = "page-cache"
    """KiB of clean pages of files that became resident; negative for what was dropped. No leak: the kernel takes it when it needs it."""
    HUGE_PAGES = "huge-pages"
    """KiB of AnonHugePages more in mappings that are as large as before, and hold more for it."""
    SHARED_BY_FORK = "shared-by-fork"
    """KiB of Private_Dirty that became Shared_Dirty: another process has these pages, too; negative for the opposite. Nothing was freed."""
    COPIED_ON_WRITE = "copied-on-write"
    """KiB of private mappings of files that became Anonymous, because they were written to."""
    MAPPING_COUNT = "mapping-count"
    """The number of mappings, where it comes near vm.max_map_count (what the host had, or else the kernel's default)."""
    FILES_DELETED = "files-deleted"
    """The number of programs and libraries that were removed or replaced on disk since, while the process goes on using them."""


class Observed(NamedTuple):
    """An effect and how much of it: KiB, or a number for the last two. `limit` is what the number of mappings may not reach."""

    effect: Effect
    amount: int
    limit: int | None = None


def observe(
    changes: Sequence[Change], before: Sequence[Mapping], after: Sequence[Mapping], *, same_process: bool, limit: int | None = None
) -> tuple[Observed, ...]:
    """The effects that the counters of one process show, of 256 KiB and more each. Turned round, those in KiB change their signs.

    `limit` is the host's vm.max_map_count; None if that is not known.
    """
    found: list[Observed] = []
    if same_process and before and after:
        in_kib = {
            Effect.PAGING: (_paged(c) for c in changes),
            Effect.PAGE_CACHE: (_cached(c) for c in changes),
            Effect.HUGE_PAGES: (_huge(c) for c in changes),
            Effect.SHARED_BY_FORK: (_shared(c) for c in changes),
            Effect.COPIED_ON_WRITE: (_copied(c) for c in changes),
        }
        for effect, amounts in in_kib.items():
            total = sum(amounts)
            if abs(total) >= _LEAST_KIB:
                found.append(Observed(effect, total))
        gone = _deleted(after) - _deleted(before)
        if gone:
            found.append(Observed(Effect.FILES_DELETED, len(gone)))
    limit = limit or DEFAULT_MAX_MAP_COUNT
    if len(after) >= _NEAR * limit:
        found.append(Observed(Effect.MAPPING_COUNT, len(after), limit))
    return tuple(found)


def _paged(change: Change) -> int:
    """What left Rss for swap, or came back: no more than either changed."""
    return _exchanged(change.delta[_SWAP], change.delta[_RSS])


def _shared(change: Change) -> int:
    return _exchanged(change.delta[_SD], change.delta[_PD])


def _exchanged(up: int | None, down: int | None) -> int:
    """How much went from one figure to another; negative for the way back."""
    if up is None or down is None or up * down >= 0:
        return 0
    return min(up, -down) if up > 0 else -min(-up, down)


def _cached(change: Change) -> int:
    if not _is_file(change):
        return 0
    rss, clean = change.delta[_RSS], _sum(change.delta[_PC], change.delta[_SC])
    if rss is None or clean is None or rss * clean <= 0:
        return 0
    return min(rss, clean) if rss > 0 else max(rss, clean)


def _huge(change: Change) -> int:
    huge, rss = change.delta[_HUGE], change.delta[_RSS]
    if not huge or rss is None or change.delta[_SIZE] != 0 or huge * rss <= 0:
        return 0
    # Where resident pages were only collapsed into huge ones, nothing was added.
    return min(huge, rss) if huge > 0 else max(huge, rss)


def _copied(change: Change) -> int:
    if not _is_file(change) or change.delta[_SIZE] != 0:
        return 0
    return change.delta[_ANONYMOUS] or 0


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _is_file(change: Change) -> bool:
    sides: Iterable[Mapping] = change.after or change.before
    return all(m.is_file and not m.is_shared_memory for m in sides)


def _deleted(mappings: Sequence[Mapping]) -> set[tuple[str | None, int | None]]:
    """The programs and libraries of a table that have no name any more."""
    return {(m.device, m.inode) for m in mappings if m.inode and "x" in m.perms and m.name.endswith(DELETED) and not m.is_shared_memory}
