"""Which mappings of two tables of one process stand at the same addresses, and whether they hold the same memory.

Of a file that is sure. Anonymous memory that was unmapped and mapped anew may stand where other memory was, and nothing in the tables says so.
What speaks for the same memory is a boundary that was kept: a mapping grows or is cut at one end, and mprotect and madvise keep the outer
boundaries of what they split. New memory has a boundary of the old only by chance. All of this reads the same with the tables exchanged.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from pmapdiff.align.kinds import Side, is_anonymous
from pmapdiff.align.runs import Run, runs_by_kind
from pmapdiff.align.sets import DisjointSets

# How much of what two mappings have in common must have been filled or dropped, if only one boundary speaks for them, to be likely other memory.
_REFILLED = 0.25
# A process has one of each, which grows and shrinks: it is the same wherever it overlaps itself.
_ONLY_ONE = (b"[heap]", b"[stack]")


class Region(NamedTuple):
    """Mappings of both tables that are one region, as positions; one side may be empty. `sure` is False for a guess."""

    before: list[int]
    after: list[int]
    sure: bool


class _Overlap(NamedTuple):
    """Two runs that overlap, and where."""

    ours: int
    theirs: int
    start: int
    end: int


def regions(before: Side, after: Side) -> list[Region]:
    """The regions by address alone, each mapping in exactly one. O(n log n), whatever overlaps what in a torn table."""
    ours, theirs = runs_by_kind(before), runs_by_kind(after)
    found: list[Region] = []
    for kind in {**ours, **theirs}:
        found += _connect(ours.get(kind, []), theirs.get(kind, []), anonymous=is_anonymous(kind))
    return found


def _connect(ours: list[Run], theirs: list[Run], *, anonymous: bool) -> list[Region]:
    """The regions of one kind."""
    shift = len(ours)
    overlaps = _overlaps(ours, theirs)
    sure, doubtful = _judge(ours, theirs, overlaps) if anonymous else (overlaps, [])
    aligned = {number for overlap in sure for number in (overlap.ours, shift + overlap.theirs)}
    # What lies within a run that is surely there in both was cut out of it, or became part of it.
    cut = [overlap for overlap in doubtful if _container(ours, theirs, overlap) in aligned]
    aligned.update(number for overlap in cut for number in (overlap.ours, shift + overlap.theirs))
    # The rest may be the same memory, unless something else is.
    guesses = [overlap for overlap in doubtful if overlap.ours not in aligned and shift + overlap.theirs not in aligned]
    return _grouped(ours, theirs, [*sure, *cut], guesses)


def _grouped(ours: Sequence[Run], theirs: Sequence[Run], sure: Sequence[_Overlap], guesses: Sequence[_Overlap]) -> list[Region]:
    """What hangs together by these overlaps. Runs of `theirs` are numbered after those of `ours`."""
    shift = len(ours)
    runs = [*ours, *theirs]
    overlaps = [0] * len(runs)
    for overlap in (*sure, *guesses):
        overlaps[overlap.ours] += 1
        overlaps[shift + overlap.theirs] += 1
    found = [Region(*((run.rows, []) if number < shift else ([], run.rows)), sure=True) for number, run in enumerate(runs) if not overlaps[number]]
    sets = DisjointSets(len(runs))
    guessed: set[int] = set()
    for are_sure, chosen in ((True, sure), (False, guesses)):
        for overlap in chosen:
            one, other = overlap.ours, shift + overlap.theirs
            if overlaps[one] == 1 == overlaps[other]:
                # As most are.
                found.append(Region(runs[one].rows, runs[other].rows, are_sure))
                overlaps[one] = overlaps[other] = 0
            else:
                sets.join(one, other)
                if not are_sure:
                    guessed.add(one)
    roots = {sets.find(number) for number in guessed}
    members: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for number, run in enumerate(runs):
        if overlaps[number]:
            members[sets.find(number)][number >= shift].extend(run.rows)
    return found + [Region(positions[0], positions[1], root not in roots) for root, positions in members.items()]


def _overlaps(ours: Sequence[Run], theirs: Sequence[Run]) -> list[_Overlap]:
    """The pairs of overlapping runs, in the order of their addresses. Runs of one table do not overlap, so they are fewer than the runs."""
    found = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        start, end = max(ours[i].start, theirs[j].start), min(ours[i].end, theirs[j].end)
        if start < end:
            found.append(_Overlap(i, j, start, end))
        if ours[i].end <= theirs[j].end:
            i += 1
        else:
            j += 1
    return found


def _container(ours: Sequence[Run], theirs: Sequence[Run], overlap: _Overlap) -> int | None:
    """Which of two runs the other lies within, by its number in the sets."""
    one, other = ours[overlap.ours], theirs[overlap.theirs]
    if (overlap.start, overlap.end) == (other.start, other.end):
        return overlap.ours
    if (overlap.start, overlap.end) == (one.start, one.end):
        return len(ours) + overlap.theirs
    return None


def _judge(ours: Sequence[Run], theirs: Sequence[Run], overlaps: Sequence[_Overlap]) -> tuple[list[_Overlap], list[_Overlap]]:
    """The overlaps of anonymous memory of which the tables say that it is the same, and the others."""
    kept = {address for run in ours for address in run.boundaries()}
    kept.intersection_update(address for run in theirs for address in run.boundaries())
    keep_start, keep_end = [overlap.start in kept for overlap in overlaps], [overlap.end in kept for overlap in overlaps]
    refilled: dict[_Overlap, bool] = {}

    def is_refilled(overlap: _Overlap) -> bool:
        if overlap not in refilled:
            refilled[overlap] = _is_refilled(ours[overlap.ours], theirs[overlap.theirs], overlap)
        return refilled[overlap]

    def is_stack(overlap: _Overlap) -> bool:
        return ours[overlap.ours].has_guard or theirs[overlap.theirs].has_guard

    # A boundary farther out is kept if there is no gap before it, and the same memory: what was split or reprotected, but not unmapped.
    last = len(overlaps) - 1
    for keeps, numbers, step in ((keep_start, range(1, last + 1), -1), (keep_end, range(last - 1, -1, -1), 1)):
        for number in numbers:
            overlap, beside = overlaps[number], overlaps[number + step]
            if not keeps[number] and keeps[number + step] and overlap.start <= beside.end and beside.start <= overlap.end:
                keeps[number] = not (is_stack(overlap) or is_stack(beside) or is_refilled(beside))
    inner = sorted(kept) if any(len(run.rows) > 1 for side in (ours, theirs) for run in side) else []
    sure: list[_Overlap] = []
    doubtful: list[_Overlap] = []
    for overlap, keeps_start, keeps_end in zip(overlaps, keep_start, keep_end, strict=True):
        boundaries = keeps_start + keeps_end
        if boundaries < 2:
            boundaries += bisect_left(inner, overlap.end) - bisect_right(inner, overlap.start)
        if boundaries < 2:
            one, other = ours[overlap.ours], theirs[overlap.theirs]
            # A thread's stack neither grows nor shrinks: two that share one boundary are of two threads.
            enough = boundaries == 1 and not (one.has_guard and other.has_guard) and not is_refilled(overlap)
            if not enough and not (one.name == other.name and one.name in _ONLY_ONE):
                doubtful.append(overlap)
                continue
        sure.append(overlap)
    return sure, doubtful


_start, _end = attrgetter("start"), attrgetter("end")


def _is_refilled(ours: Run, theirs: Run, overlap: _Overlap) -> bool:
    """Whether much of what they have in common must have been filled or dropped, wherever in both the resident pages are.

    That says nothing of what is there to be filled: a reserve, or memory that was committed (its permissions changed, or the rest of the larger
    one is a reserve where the smaller one is).
    """
    if ours.perms != theirs.perms or ours.is_reserve or theirs.is_reserve:
        return False
    if ours.start == theirs.start and min(ours, theirs, key=_end).reserved_to(above=True) >= max(ours.end, theirs.end):
        return False
    if ours.end == theirs.end and max(ours, theirs, key=_start).reserved_to(above=False) <= min(ours.start, theirs.start):
        return False
    one, other = (run.resident_kib(overlap.start, overlap.end) for run in (ours, theirs))
    if one is None or other is None:
        return False
    return max(one[0] - other[1], other[0] - one[1]) > _REFILLED * ((overlap.end - overlap.start) >> 10)
