"""What each mapping is for, and why: from the table alone.

Rules are tried in order (docs/families.md lists them): first what the mapping says itself, then what stands around it. The
fingerprints are those of the kernel, glibc, musl and the common runtimes; what no rule knows is `other`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pmapdiff.align.families.hints import mark_hints
from pmapdiff.align.families.objects import KERNEL, Files, by_itself
from pmapdiff.align.families.runtimes import is_jvm, mark_code_reserves, mark_go, mark_jvm_low, mark_jvm_reserves, mark_v8
from pmapdiff.align.families.stacks import is_guard, mark_arenas, mark_thread_stacks
from pmapdiff.align.families.verdict import FAMILIES, Run, Table, Verdict
from pmapdiff.model import Mapping

__all__ = ["FAMILIES", "Explainer", "Verdict", "classify", "explain", "is_guard"]


def classify(mappings: Sequence[Mapping], threads: int | None = None) -> list[str]:
    """The family of each mapping of a table (in the order of its addresses)."""
    return [verdict.family for verdict in explain(mappings, threads)]


def explain(mappings: Sequence[Mapping], threads: int | None = None) -> list[Verdict]:
    """The family of each mapping with the rule that says so. O(n) in the mappings.

    `threads` is the number of threads, where it was recorded: there are not many more stacks than that.
    """
    return Explainer().explain(mappings, threads)


class Explainer:
    """Explains the tables of a process one after the other: what the same files say together is found once."""

    def __init__(self) -> None:
        self._files: Files | None = None

    def explain(self, mappings: Sequence[Mapping], threads: int | None = None) -> list[Verdict]:
        """As the function `explain`."""
        verdicts, runs, self._files, flags = by_itself(mappings, self._files)
        _mark_neighbours(mappings, verdicts, runs, self._files.libraries, flags, threads)
        return verdicts


def _mark_neighbours(
    mappings: Sequence[Mapping],
    verdicts: list[Verdict],
    runs: Sequence[Run],
    libraries: frozenset[bytes],
    flags: frozenset[bytes | None],
    threads: int | None,
) -> None:
    """Change the verdicts of what neighbours and the rest of the table tell more about."""
    if not runs:
        return
    top = next((m.end for m, verdict in zip(reversed(mappings), reversed(verdicts), strict=True) if verdict is not KERNEL), 0)
    table = Table(mappings, verdicts, runs, libraries, flags, top)
    # The order matters: what comes first is the more certain. A guard is taken for a thread's before it is taken for a code cache's.
    if is_jvm(table):
        mark_jvm_low(table)
    else:
        mark_go(table)
    mark_arenas(table)
    mark_thread_stacks(table, threads)
    mark_code_reserves(table)
    mark_v8(table)
    if is_jvm(table):
        mark_jvm_reserves(table)
    mark_hints(table)
