"""Which process of one snapshot is which of another, and whether two tables without identity are one process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from enum import StrEnum

from pmapdiff.align.labels import basename
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


def pair_processes(before: Sequence[ProcessInfo], after: Sequence[ProcessInfo]) -> list[ProcessPair]:
    """Positions of the processes that belong together, each process exactly once.

    First the same process, then exec, then the same service restarted: equal program, command line and unit, then
    equal program and unit (and script, if it is an interpreter without a unit).
    Several workers of one service are paired in the order of their start.
    """
    pairs: list[ProcessPair] = []
    ours, theirs = list(range(len(before))), list(range(len(after)))
    rules: tuple[tuple[Match, Callable[[ProcessInfo], Hashable]], ...] = (
        (Match.SAME, lambda p: p.identity),
        (Match.EXEC, lambda p: p.identity[:3] if p.identity.boot_id else None),
        (Match.RESTARTED, lambda p: (_program(p), p.unit, p.command) if _program(p) else None),
        (Match.RESTARTED, lambda p: (_program(p), p.unit, _script(p)) if _program(p) else None),
    )
    for match, key in rules:
        waiting: dict[Hashable, list[int]] = defaultdict(list)
        for j in sorted(theirs, key=lambda j: _age(after[j])):
            waiting[key(after[j])].append(j)
        waiting.pop(None, None)
        for i in sorted(ours, key=lambda i: _age(before[i])):
            candidates = waiting.get(key(before[i]))
            if candidates:
                j = candidates.pop(0)
                pairs.append((i, j, match))
                ours.remove(i)
                theirs.remove(j)
    pairs += [(i, None, Match.GONE) for i in ours] + [(None, j, Match.NEW) for j in theirs]
    return pairs


def _program(process: ProcessInfo) -> bytes:
    return process.exe.removesuffix(b" (deleted)") if process.exe else process.comm or process.command


def _script(process: ProcessInfo) -> bytes:
    """What an interpreter without a unit runs, which is what tells its processes apart: its first argument, after -c the second."""
    if process.unit or not process.is_interpreter:
        return b""
    arguments = process.command.split(b"\0")[1:3]
    return b"\0".join(arguments if arguments[:1] in ([b"-c"], [b"-m"], [b"-e"]) else arguments[:1])


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
