"""The aligner against a model of Linux that knows which memory is which: see `address_space` and `histories`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise, product

import pytest
from address_space import Row
from histories import PATTERNS, Action, History
from laws import check_conserved, check_kinds, check_mirrored, compared
from strategies import MANY

from pmapdiff.align import Component, Match, align_same_process
from pmapdiff.model import COUNTER_INDEX, Mapping

HISTORIES = 40 * MANY
# Of each kind of history that is hard to follow.
PATTERN_HISTORIES = 6 * MANY
# How much of what is the same must be aligned as the same.
LEAST = 0.95
_RSS, _SWAP = COUNTER_INDEX["Rss"], COUNTER_INDEX["Swap"]
# Of what two mappings have in common, for one of them to be more than filled or emptied a little.
_REFILLED = 0.25


class Score:
    """How well the tables of many histories were aligned, as counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, before: Sequence[Row], after: Sequence[Row]) -> None:
        """Align two tables and judge what comes out by what is known of them; nothing may be wrong that could be known."""
        ours, theirs = [row.mapping for row in before], [row.mapping for row in after]
        components = align_same_process(ours, theirs)
        same = set(_sharing(before, after))
        of_ours = {i: number for number, component in enumerate(components) for i in component.before}
        of_theirs = {j: number for number, component in enumerate(components) for j in component.after}
        for i, j in same:
            aligned = of_ours[i] == of_theirs[j]
            guessed = aligned and components[of_ours[i]].possibly
            for name in ("all", *_what_changed(ours[i], theirs[j])):
                self.counts[f"{name}: are the same"] += 1
                self.counts[f"{name}: aligned"] += aligned
                self.counts[f"{name}: as a guess"] += guessed
        for component in components:
            if component.before and component.after:
                self._judge(component, before, after, same)

    def _judge(self, component: Component, before: Sequence[Row], after: Sequence[Row], same: set[tuple[int, int]]) -> None:
        self.counts["regions in both"] += 1
        right = any((i, j) in same for i in component.before for j in component.after)
        ours, theirs = [before[i] for i in component.before], [after[j] for j in component.after]
        if component.possibly:
            self.counts[f"guesses: {component.relation}, {'right' if right else 'wrong'}"] += 1
        elif component.replaced:
            # Which says by itself that it is another file.
            assert all(row.mapping.is_file for row in (*ours, *theirs))
            self.counts["another version of a file"] += 1
        elif not right and any(_same_part_of_file(a, b) for a in ours for b in theirs):
            # Mapped anew, but what is behind it is the same.
            self.counts["the same part of a file, mapped anew"] += 1
        elif not right:
            one, other = [row.mapping for row in ours], [row.mapping for row in theirs]
            # That the kernel did not merge neighbours says nothing, either.
            pairs = [*product(one, other), *product(_joined(one), _joined(other))]
            reasons = [reason for a, b in pairs if (reason := _could_be_the_same(a, b)) is not None]
            if any(_is_committed(a, [row.mapping for row in after], b) or _is_committed(b, [row.mapping for row in before], a) for a, b in pairs):
                reasons.append("5 more or less of a reserve was committed")
            assert reasons, (component, one, other)
            self.counts[f"cannot be known: {min(reasons)}"] += 1

    def share(self, name: str) -> float:
        """How much of what is the same was aligned as the same."""
        same = self.counts[f"{name}: are the same"]
        return self.counts[f"{name}: aligned"] / same if same else 1.0

    def __str__(self) -> str:
        lines = [f"  {name}: {count:,}" for name, count in sorted(self.counts.items())]
        lines += [f"  {name}: {self.share(name):.2%}" for name in ("all", "in place", "changed in place", "moved files", "moved memory")]
        unknown = sum(count for name, count in self.counts.items() if name.startswith("cannot"))
        lines.append(f"  cannot be known, of the regions in both: {unknown / self.counts['regions in both']:.2%}")
        return "\n".join(lines)


def _sharing(before: Sequence[Row], after: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """The mappings of both tables that hold some of the same memory."""
    ours, theirs = (sorted((low, high, i) for i, row in enumerate(rows) for low, high in row.memory) for rows in (before, after))
    i = j = 0
    while i < len(ours) and j < len(theirs):
        if ours[i][0] < theirs[j][1] and theirs[j][0] < ours[i][1]:
            yield ours[i][2], theirs[j][2]
        if ours[i][1] <= theirs[j][1]:
            i += 1
        else:
            j += 1


def _what_changed(ours: Mapping, theirs: Mapping) -> tuple[str, ...]:
    """Memory that moved can at most be guessed: a block freed and a larger one allocated elsewhere look the same. What has stayed cannot hide."""
    if ours.start >= theirs.end or theirs.start >= ours.end:
        return ("moved files" if ours.is_file else "moved memory",)
    return ("in place",) if (ours.start, ours.end) == (theirs.start, theirs.end) else ("in place", "changed in place")


def _same_part_of_file(ours: Row, theirs: Row) -> bool:
    return ours.file is not None and theirs.file is not None and ours.file[0] == theirs.file[0] and _overlap(ours.file[1:], theirs.file[1:]) > 0


def _joined(mappings: Sequence[Mapping]) -> list[Mapping]:
    """The mappings with neighbours of equal permissions joined."""
    joined: list[Mapping] = []
    for mapping in mappings:
        last = joined[-1] if joined else None
        if last is not None and (last.end, last.perms) == (mapping.start, mapping.perms):
            kib = [(a or 0) + (b or 0) for a, b in zip(last.counters, mapping.counters, strict=True)]
            joined[-1] = last._replace(end=mapping.end, counters=tuple(kib))
        else:
            joined.append(mapping)
    return joined


def _could_be_the_same(ours: Mapping, theirs: Mapping) -> str | None:
    """Why nobody who has only the tables can tell memory that was mapped anew from memory that stayed: the one thing that may have happened to it.

    Both are anonymous. None if no single thing explains it.
    """
    if ours.is_file or theirs.is_file or {b"nr"} & (set((ours.flags or b"").split()) ^ set((theirs.flags or b"").split())):
        return None
    kib, other_kib = ((m.counters[_RSS] or 0) + (m.counters[_SWAP] or 0) for m in (ours, theirs))
    if (ours.start, ours.end) == (theirs.start, theirs.end):
        return "1 it stayed as it was" if kib == other_kib and ours.perms == theirs.perms else "2 it was filled, emptied or reprotected"
    if ours.start != theirs.start and ours.end != theirs.end:
        return None
    if ours.perms != theirs.perms:
        return "3 a part of it was reprotected"
    if b"nr" in (ours.flags or b"").split():
        return "4 it grew or was cut at one end"
    common = _overlap((ours.start, ours.end), (theirs.start, theirs.end)) >> 10
    least = max(0, kib - (ours.size_kib - common)) - min(other_kib, common)
    other_least = max(0, other_kib - (theirs.size_kib - common)) - min(kib, common)
    return "4 it grew or was cut at one end" if max(least, other_least) <= _REFILLED * common else None


def _is_committed(larger: Mapping, table: Sequence[Mapping], smaller: Mapping) -> bool:
    """Whether two mappings begin together, and the rest of the larger one is a reserve in the table of the smaller one."""
    above = [m for m in table if m.start == smaller.end and m.perms == "---p" and not m.is_file]
    return larger.start == smaller.start and any(m.end >= larger.end for m in above)


def _overlap(one: Sequence[int], other: Sequence[int]) -> int:
    return min(one[1], other[1]) - max(one[0], other[0])


def _follow(seed: int, actions: Sequence[Action] | None, consecutive: Score, apart: Score) -> None:
    """Judge the snapshots of one history: those that follow each other, and the first and the last."""
    history = History(seed, actions)
    history.run(history.random.randint(20, 200))
    snapshots = [history.space.snapshot()]
    for _ in range(4):
        history.run(history.random.choice((1, 3, 10, 30, 100)))
        snapshots.append(history.space.snapshot())
    for score, pairs in ((consecutive, [*pairwise(snapshots)]), (apart, [(snapshots[0], snapshots[-1])])):
        for before, after in pairs:
            try:
                score.add(before, after)
                _check_laws([row.mapping for row in before], [row.mapping for row in after])
            except AssertionError as error:
                error.add_note(f"history {seed}")
                raise


def _check_laws(before: Sequence[Mapping], after: Sequence[Mapping]) -> None:
    ours, theirs = tuple(before), tuple(after)
    there = compared(ours, theirs, Match.SAME)
    check_conserved(there, ours, theirs)
    check_kinds(there)
    check_mirrored(there, compared(theirs, ours, Match.SAME))
    assert compared(theirs, theirs, Match.SAME).changes == ()
    # What is left out because it is equal has no part in what is found.
    aligned = {(tuple(before[i] for i in c.before), tuple(after[j] for j in c.after), c.possibly) for c in align_same_process(before, after)}
    assert {(change.before, change.after, change.possibly) for change in there.changes} <= aligned


def _check(consecutive: Score, apart: Score) -> None:
    print(f"\nfollowing each other:\n{consecutive}\nthe first and the last:\n{apart}")
    for score in (consecutive, apart):
        assert score.share("all") >= LEAST
        assert score.share("changed in place") >= LEAST


def test_what_is_the_same_is_aligned_and_nothing_else() -> None:
    """95 % of the mappings that hold the same memory are one region; a region whose sides share no memory says that it is a guess.

    But for what the tables cannot tell, which is counted: memory that was mapped anew where the old was, so that it looks as if that had stayed.
    """
    consecutive, apart = Score(), Score()
    for seed in range(HISTORIES):
        _follow(seed, None, consecutive, apart)
    _check(consecutive, apart)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_is_hard_to_follow(pattern: str) -> None:
    consecutive, apart = Score(), Score()
    for seed in range(PATTERN_HISTORIES):
        _follow(seed, PATTERNS[pattern], consecutive, apart)
    print(f"\n{pattern}\nfollowing each other:\n{consecutive}\nthe first and the last:\n{apart}")
    assert min(consecutive.share("in place"), apart.share("in place")) >= LEAST
