"""What a comparison found: all that any report knows."""

from __future__ import annotations

from dataclasses import dataclass

from pmapdiff.align import FAMILIES, Match
from pmapdiff.compare.effects import Observed
from pmapdiff.model import FIGURE_INDEX, Capture, Figures, Mapping, ProcessInfo, SnapshotRef, Totals

# In the order of importance: the first that holds is a change's headline.
KINDS = ("new", "gone", "grew", "shrank", "moved", "split", "merged", "reprotected", "replaced", "dirtied", "cleaned", "changed")


@dataclass(frozen=True, slots=True)
class Change:
    """One region that is not what it was.

    `kinds` are of `KINDS`, in their order. `possibly` marks an alignment that is a guess (anonymous memory that moved, or that may as
    well be other memory at the same addresses). `name` is for people and not yet printable; `path` is None for memory without a
    file. `delta` is after - before in KiB, in the order of `FIGURES`, None where either table lacks the figure. `family_reason` is the rule that
    says which family it is.
    """

    kinds: tuple[str, ...]
    possibly: bool
    family: str
    name: str
    path: str | None
    offset: int | None
    perms: str
    before: tuple[Mapping, ...]
    after: tuple[Mapping, ...]
    delta: Figures
    family_reason: str = ""

    def get(self, figure: str) -> int | None:
        """One figure of the delta in KiB."""
        return self.delta[FIGURE_INDEX[figure]]


@dataclass(frozen=True, slots=True)
class FamilyChange:
    """All mappings of one family together: how many, their figures, and the difference, in KiB.

    `reasons` are the rules that put them there, with the number of mappings before and after.
    """

    family: str
    mappings_before: int
    mappings_after: int
    before: Figures
    after: Figures
    delta: Figures
    reasons: tuple[tuple[str, int, int], ...] = ()

    def get(self, figure: str) -> int | None:
        """One figure of the delta in KiB."""
        return self.delta[FIGURE_INDEX[figure]]


@dataclass(frozen=True, slots=True)
class ProcessComparison:
    """One process then and now.

    `before` or `after` is None for a process that is new or gone. `totals_before` or `totals_after` is None if that
    capture has no table (denied, vanished, timed out): then there is nothing to compare, and `changes` is empty.
    `missing` names the figures that one of the tables lacks. `unchanged` counts mappings (of the later table) that no
    change holds. `effects` are what the kernel did besides, as far as the counters show it. `unrecorded_before` marks a process that is
    not in the earlier snapshot although it ran by then: another selection was recorded, so it is `new` to the snapshot only.
    `unrecorded_after` marks one that may only be `gone` because the later snapshot is of another selection.
    """

    before: Capture | None
    after: Capture | None
    match: Match
    missing: tuple[str, ...]
    totals_before: Totals | None
    totals_after: Totals | None
    delta: Figures
    families: tuple[FamilyChange, ...]
    changes: tuple[Change, ...]
    unchanged: int
    effects: tuple[Observed, ...] = ()
    unrecorded_before: bool = False
    unrecorded_after: bool = False

    @property
    def process(self) -> ProcessInfo:
        """Who it is, as of the later snapshot that has it; of saved tables as of the one that says it."""
        captures = [capture for capture in (self.after, self.before) if capture is not None]
        return next((capture.process for capture in captures if capture.process.is_named), captures[0].process)

    @property
    def complete(self) -> bool:
        """Whether both tables are there and whole: recorded, not torn, and nothing given up."""
        return not (self.unrecorded_before or self.unrecorded_after) and all(
            capture is None or capture.status == "complete" for capture in (self.before, self.after)
        )

    @property
    def comparable(self) -> bool:
        """Whether there is a table on each side, or the process was not there."""
        return self.totals_before is not None and self.totals_after is not None

    def get(self, figure: str) -> int | None:
        """One figure of the delta of the totals in KiB."""
        return self.delta[FIGURE_INDEX[figure]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two snapshots, process by process: the largest change first. `families` are those that there can be, in the order of reports."""

    before: SnapshotRef
    after: SnapshotRef
    processes: tuple[ProcessComparison, ...]
    families: tuple[str, ...] = FAMILIES
