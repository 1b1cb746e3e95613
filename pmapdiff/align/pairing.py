"""Which process of one snapshot is which of another, and whether two tables without identity are one process."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from enum import StrEnum

from pmapdiff.align.labels import pmap_name
from pmapdiff.align.lineage import RULES, in_any_service
from pmapdiff.model import Capture, Mapping, ProcessInfo

ProcessPair = tuple[int | None, int | None, "Match"]


class Match(StrEnum):
    """Why two processes are compared with each other."""

    SAME = "same"
    EXEC = "exec"
    """The same pid and start, but another program runs in it now."""
    RESTARTED = "restarted"
    """The same service in another incarnation."""
    NEW = "new"
    GONE = "gone"


def pair_processes(
    before: Sequence[ProcessInfo],
    after: Sequence[ProcessInfo],
    until_us: Sequence[int] | None = None,
    elsewhere: Sequence[bool] | None = None,
) -> list[ProcessPair]:
    """Positions of the processes that belong together, each process exactly once. O(n log n) in the processes.

    First the same process, then exec, then the next incarnation by what `RULES` have in common, the strictest first. Several workers of one
    service are paired with those of the same parent first, and then in the order of their start. `until_us` says until when, in µs since the epoch,
    each process of `before` is known to have run, where that is known: what had started by then is not its next incarnation. `elsewhere` marks those
    of `before` that ran on another host than `after`: none of them is the same process, though copies of a virtual machine have one boot id and
    equal pids. Such a one is at last paired with the same program and role in whatever service, which need not be called the same there.
    """
    pairing = _Pairing(before, after, until_us)
    here = [not apart for apart in elsewhere or [False] * len(before)]
    pairing.take(Match.SAME, ([p.identity if known else None for p, known in zip(before, here, strict=True)], [p.identity for p in after]))
    ours = [p.identity[:3] if p.identity.boot_id and known else None for p, known in zip(before, here, strict=True)]
    pairing.take(Match.EXEC, (ours, [p.identity[:3] if p.identity.boot_id else None for p in after]))
    if all(pairing.open):
        pairing.take_restarted()
    if all(pairing.open) and not all(here):
        of_others = [None if known else in_any_service(p) for p, known in zip(before, here, strict=True)]
        pairing.take(Match.RESTARTED, (of_others, [in_any_service(p) for p in after]))
    return pairing.pairs + [(i, None, Match.GONE) for i in pairing.open[0]] + [(None, j, Match.NEW) for j in pairing.open[1]]


_Keys = tuple[Sequence[Hashable], Sequence[Hashable]]
_Paired = list[tuple[int, int]]


class _Pairing:
    """What is paired so far, and on each side what is still open, the oldest first."""

    def __init__(self, before: Sequence[ProcessInfo], after: Sequence[ProcessInfo], until_us: Sequence[int] | None) -> None:
        self._sides = (before, after)
        self._until_us = until_us
        self.open = (_by_age(before), _by_age(after))
        self.pairs: list[ProcessPair] = []

    def take(self, match: Match, keys: _Keys, among: tuple[Iterable[int], Iterable[int]] | None = None) -> _Paired:
        """Pair what has equal keys, the oldest with the oldest; a key of None pairs with nothing. `among` limits it to some, in the order of age."""
        ours, theirs = among or self.open
        waiting: dict[Hashable, list[int]] = defaultdict(list)
        for j in theirs:
            if keys[1][j] is not None:
                waiting[keys[1][j]].append(j)
        found: _Paired = []
        for i in ours:
            candidates = waiting.get(keys[0][i], [])
            place = self._first_after(i, candidates) if match is Match.RESTARTED else 0
            if place < len(candidates):
                found.append((i, candidates.pop(place)))
        for i, j in found:
            self.pairs.append((i, j, match))
            del self.open[0][i], self.open[1][j]
        return found

    def _first_after(self, i: int, candidates: Sequence[int]) -> int:
        """The place of the oldest candidate that may be the next incarnation: within one boot, the order of age is that of the start."""
        if self._until_us is None:
            return 0
        until_us, after = self._until_us[i], self._sides[1]
        return bisect_left(candidates, True, key=lambda j: not after[j].had_started_by(until_us))

    def take_restarted(self) -> None:
        """Pair what is open with its next incarnation: what has no open parent first, then its children, theirs, and at last what is left."""
        keys: list[_Keys] = [
            (
                [rule(p) if i in self.open[0] else None for i, p in enumerate(self._sides[0])],
                [rule(p) if j in self.open[1] else None for j, p in enumerate(self._sides[1])],
            )
            for rule in RULES
        ]
        children = (self._open_children(0), self._open_children(1))
        for known in keys:
            parents = [(i, j) for i, j, _ in self.pairs if i is not None and j is not None]
            self._take_children(known, children, parents)
            while parents := self.take(Match.RESTARTED, (self._without_children(0, known[0]), self._without_children(1, known[1]))):
                self._take_children(known, children, parents)
        for known in keys:
            self.take(Match.RESTARTED, known)

    def _open_children(self, side: int) -> dict[int, list[int]]:
        children: dict[int, list[int]] = defaultdict(list)
        for i in self.open[side]:
            children[self._sides[side][i].ppid or 0].append(i)
        return children

    def _take_children(self, keys: _Keys, children: tuple[dict[int, list[int]], dict[int, list[int]]], parents: _Paired) -> None:
        """Pair the children of these parents, and theirs."""
        queue = list(parents)
        for i, j in queue:
            ours = [child for child in children[0].get(self._sides[0][i].pid, ()) if child in self.open[0]]
            theirs = [child for child in children[1].get(self._sides[1][j].pid, ()) if child in self.open[1]]
            if ours and theirs:
                queue += self.take(Match.RESTARTED, keys, (ours, theirs))

    def _without_children(self, side: int, keys: Sequence[Hashable]) -> list[Hashable]:
        """The keys but for children of processes that have no counterpart yet: they shall go where their parent goes."""
        processes = self._sides[side]
        pids = {processes[i].pid for i in self.open[side]}
        return [None if process.ppid in pids else key for process, key in zip(processes, keys, strict=True)]


def _by_age(processes: Sequence[ProcessInfo]) -> dict[int, None]:
    return dict.fromkeys(sorted(range(len(processes)), key=lambda i: (processes[i].identity.start_ticks, processes[i].pid)))


def judge_saved(match: Match, one: Capture, other: Capture, same: bool | None) -> Match:
    """What two captures that were paired are to each other, where one of them says nothing of its process: a saved table.

    `same` decides; with None their addresses do. Of two that were recorded it stays what it is.
    """
    if one.process.identity.is_known and other.process.identity.is_known:
        return match
    if same is None and any(capture.table is not None and capture.table.has_sums for capture in (one, other)):
        # Sums have no addresses that could tell.
        same = one.process.pid == other.process.pid or 0 in (one.process.pid, other.process.pid)
    if same is None:
        same = looks_same(*(() if capture.table is None else capture.table.mappings for capture in (one, other)))
    return Match.SAME if same else Match.RESTARTED


def are_saved_tables(before: Sequence[Capture], after: Sequence[Capture]) -> bool:
    """Whether these are one table a side, of which one says nothing of its process: compared with each other whatever they are called."""
    return len(before) == len(after) == 1 and not (before[0].process.identity.is_known and after[0].process.identity.is_known)


def looks_same(before: Sequence[Mapping], after: Sequence[Mapping]) -> bool:
    """Whether two tables are of one incarnation: most file mappings, [stack] and [vdso] stand where they stood.

    Address layout randomisation moves all of them at every exec. Tables that have none of these cannot be told apart and
    count as one process.
    """
    ours, theirs = _anchors(before), _anchors(after)
    fewer = min(len(ours), len(theirs))
    return fewer == 0 or 2 * len(ours & theirs) > fewer


def _anchors(mappings: Sequence[Mapping]) -> set[tuple[int, bytes]]:
    anchors = {(m.start, pmap_name(m.name)) for m in mappings if m.is_file}
    # The stack grows downwards: its end is what stays.
    return anchors | {(m.end, m.name) for m in mappings if m.name in (b"[stack]", b"[vdso]")}
