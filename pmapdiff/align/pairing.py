"""Which process of one snapshot is which of another, and whether two tables without identity are one process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from enum import StrEnum

from pmapdiff.align.labels import basename
from pmapdiff.align.lineage import RULES
from pmapdiff.model import Mapping, ProcessInfo

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
    before: Sequence[ProcessInfo], after: Sequence[ProcessInfo], coexisted: Callable[[int, int], bool] | None = None
) -> list[ProcessPair]:
    """Positions of the processes that belong together, each process exactly once.

    First the same process, then exec, then the next incarnation by what `RULES` have in common, the strictest first. Several workers of one
    service are paired with those of the same parent first, and then in the order of their start. `coexisted` says of two positions that these
    processes are known to have run at the same time, so that neither is the next incarnation of the other.
    """
    pairs: list[ProcessPair] = []
    open_before, open_after = dict.fromkeys(range(len(before))), dict.fromkeys(range(len(after)))

    def take(match: Match, keys: tuple[Sequence[Hashable], Sequence[Hashable]]) -> bool:
        waiting: dict[Hashable, list[int]] = defaultdict(list)
        for j in sorted(open_after, key=lambda j: _age(after[j])):
            waiting[keys[1][j]].append(j)
        waiting.pop(None, None)
        found = False
        for i in sorted(open_before, key=lambda i: _age(before[i])):
            candidates = waiting.get(keys[0][i], ())
            partner = next((j for j in candidates if match is not Match.RESTARTED or coexisted is None or not coexisted(i, j)), None)
            if partner is not None:
                waiting[keys[0][i]].remove(partner)
                pairs.append((i, partner, match))
                del open_before[i], open_after[partner]
                found = True
        return found

    take(Match.SAME, ([p.identity for p in before], [p.identity for p in after]))
    incarnations = tuple([p.identity[:3] if p.identity.boot_id else None for p in side] for side in (before, after))
    take(Match.EXEC, (incarnations[0], incarnations[1]))
    if not open_before or not open_after:
        return pairs + [(i, None, Match.GONE) for i in open_before] + [(None, j, Match.NEW) for j in open_after]
    keys = [(list(map(rule, before)), list(map(rule, after))) for rule in RULES]
    for ours, theirs in keys:
        while take(Match.RESTARTED, _with_parents(before, after, ours, theirs, pairs)) or take(
            Match.RESTARTED, (_without_children(before, ours, open_before), _without_children(after, theirs, open_after))
        ):
            pass
    for ours, theirs in keys:
        take(Match.RESTARTED, (ours, theirs))
    return pairs + [(i, None, Match.GONE) for i in open_before] + [(None, j, Match.NEW) for j in open_after]


def _with_parents(
    before: Sequence[ProcessInfo], after: Sequence[ProcessInfo], ours: Sequence[Hashable], theirs: Sequence[Hashable], pairs: Sequence[ProcessPair]
) -> tuple[list[Hashable], list[Hashable]]:
    """The keys together with the pair that the parent is one of; None where the parent is in no pair."""
    families: list[Hashable] = list(range(len(pairs)))
    by_pid: tuple[dict[int, Hashable], dict[int, Hashable]] = ({}, {})
    for number, (i, j, _) in zip(families, pairs, strict=True):
        if i is not None and j is not None:
            by_pid[0][before[i].pid], by_pid[1][after[j].pid] = number, number
    keys: tuple[list[Hashable], list[Hashable]] = ([], [])
    for side, processes, plain in ((0, before, ours), (1, after, theirs)):
        for process, key in zip(processes, plain, strict=True):
            parent = by_pid[side].get(process.ppid or 0)
            keys[side].append(None if key is None or parent is None else (key, parent))
    return keys


def _without_children(processes: Sequence[ProcessInfo], keys: Sequence[Hashable], left: Collection[int]) -> list[Hashable]:
    """The keys but for children of processes that have no counterpart yet: they shall go where their parent goes."""
    pids = {processes[i].pid for i in left}
    return [None if process.ppid in pids else key for process, key in zip(processes, keys, strict=True)]


def _age(process: ProcessInfo) -> tuple[int, int]:
    return (process.identity.start_ticks, process.pid)


def looks_same(before: Sequence[Mapping], after: Sequence[Mapping]) -> bool:
    """Whether two tables are of one incarnation: most file mappings, [stack] and [vdso] stand where they stood.

    Address layout randomisation moves all of them at every exec. Tables that have none of these cannot be told apart and
    count as one process.
    """
    ours, theirs = _anchors(before), _anchors(after)
    fewer = min(len(ours), len(theirs))
    return fewer == 0 or 2 * len(ours & theirs) > fewer


def _anchors(mappings: Sequence[Mapping]) -> set[tuple[int, bytes]]:
    anchors = {(m.start, basename(m.name)) for m in mappings if m.is_file}
    # The stack grows downwards: its end is what stays.
    return anchors | {(m.end, m.name) for m in mappings if m.name in (b"[stack]", b"[vdso]")}
