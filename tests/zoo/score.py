"""What `leaks` says of the animals, beside the truth: precision, recall and the right family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.animals import Animal, Kind
from zoo.keeper import Specimen


@dataclass(frozen=True)
class Judged:
    """An animal and what was said of it: the verdict, and of the finding that was ranked first its family and slope."""

    animal: Animal
    verdict: str
    family: str
    slope_kib_per_hour: float | None

    @property
    def is_reported(self) -> bool:
        """Whether it was called a leak."""
        return self.verdict == "growing"

    @property
    def is_family_right(self) -> bool:
        """Whether the finding that was ranked first names what it leaks."""
        return self.family in self.animal.families

    @property
    def is_right(self) -> bool:
        """Whether the verdict is right, and of a leak the family."""
        return self.verdict in self.animal.verdicts and (not self.animal.leaks or self.is_family_right)


@dataclass(frozen=True)
class Score:
    """How many of those that were called leaks are leaks, how many of the leaks were called so, and how many of these with the right family."""

    reported: int
    leaks: int
    found: int
    named: int

    @classmethod
    def of(cls, judged: Iterable[Judged]) -> Score:
        """The score of these."""
        known = list(judged)
        found = [one for one in known if one.animal.leaks and one.is_reported]
        return cls(
            sum(one.is_reported for one in known), sum(one.animal.leaks for one in known), len(found), sum(one.is_family_right for one in found)
        )

    @property
    def precision(self) -> float | None:
        """None if nothing was called a leak."""
        return self.found / self.reported if self.reported else None

    @property
    def recall(self) -> float | None:
        """None if there is no leak."""
        return self.found / self.leaks if self.leaks else None

    @property
    def right_family(self) -> float | None:
        """None if no leak was found."""
        return self.named / self.found if self.found else None

    def text(self) -> str:
        """`precision 100 %, recall 96 % (23 of 24), right family 100 %`."""
        shown = ["-" if share is None else f"{share:.0%}" for share in (self.precision, self.recall, self.right_family)]
        return (
            f"precision {shown[0]} ({self.found} of {self.reported}), recall {shown[1]} ({self.found} of {self.leaks}), "
            f"right family {shown[2]} ({self.named} of {self.found})"
        )


def judge(specimens: Sequence[Specimen], leaks: Any) -> list[Judged]:
    """What the JSON of `leaks --all` says of each: of several processes that it has had, the one that was called a leak, else the last."""
    by_pid = {process["pid"]: process for process in leaks["processes"]}
    judged = []
    for specimen in specimens:
        processes = [by_pid[pid] for pid in specimen.pids if pid in by_pid]
        process = next((process for process in processes if process["verdict"] == "growing"), processes[-1] if processes else None)
        findings = [] if process is None else process["findings"]
        of_verdict = [finding for finding in findings if process is not None and finding["verdict"] == process["verdict"]]
        first = min(of_verdict, key=lambda finding: int(finding["rank"]), default=None)
        judged.append(
            Judged(
                specimen.animal,
                "nothing" if process is None else process["verdict"],
                "-" if first is None else first["family"],
                None if first is None else first["slope_kib_per_hour"],
            )
        )
    return judged


def table(judged: Sequence[Judged]) -> str:
    """One line an animal, the wrong ones marked, and the scores."""
    lines = [f"{'':5} {'animal':<26}{'kind':<9}{'truth':<26}{'verdict':<11}{'family':<15}{'slope':>14}"]
    for one in judged:
        truth = ", ".join(sorted(one.animal.families)) if one.animal.leaks else " or ".join(sorted(one.animal.verdicts))
        slope = "" if one.slope_kib_per_hour is None else f"{one.slope_kib_per_hour / 1024:+.1f} MiB/h"
        lines.append(
            f"{'' if one.is_right else 'WRONG':5} {one.animal.name:<26}{one.animal.kind:<9}{truth:<26}{one.verdict:<11}{one.family:<15}{slope:>14}"
        )
    scores = [("in all", Score.of(judged)), *((kind.value, Score.of(one for one in judged if one.animal.kind is kind)) for kind in Kind)]
    return "\n".join([*lines, *(f"{what:<9}{score.text()}" for what, score in scores)])
