"""How the zoo is scored: a measure that is wrong would praise whatever it measures."""

from __future__ import annotations

from typing import Any

import pytest
from zoo.animals import ANIMALS, Animal, Kind
from zoo.keeper import Specimen
from zoo.score import Score, judge

LEAK = Animal("leak", "c", Kind.LEAK, frozenset(["growing"]), frozenset(["heap"]))
CALM = Animal("calm", "c", Kind.NO_LEAK, frozenset(["stable", "plateau"]))


def said(pid: int, verdict: str, *findings: tuple[str, str]) -> dict[str, Any]:
    """A process of `leaks`, and its findings from the first one on: family and verdict."""
    ranked = [{"rank": rank, "family": family, "verdict": of, "slope_kib_per_hour": 10.0 * rank} for rank, (family, of) in enumerate(findings, 1)]
    return {"pid": pid, "verdict": verdict, "findings": ranked}


def scored(*pairs: tuple[Animal, dict[str, Any]]) -> Score:
    specimens = [Specimen(animal, [process["pid"]]) for animal, process in pairs]
    return Score.of(judge(specimens, {"processes": [process for _, process in pairs]}))


def test_one_of_each_mistake() -> None:
    score = scored(
        (LEAK, said(1, "growing", ("heap", "growing"))),
        (LEAK, said(2, "growing", ("anon", "growing"), ("heap", "growing"))),
        (LEAK, said(3, "plateau", ("heap", "plateau"))),
        (CALM, said(4, "growing", ("heap", "growing"))),
        (CALM, said(5, "stable")),
    )
    assert (score.found, score.reported, score.leaks, score.named) == (2, 3, 3, 1)
    assert score.precision == score.recall == pytest.approx(2 / 3)
    assert score.right_family == 0.5


def test_nothing_said_is_no_praise() -> None:
    score = scored((LEAK, said(1, "stable")), (CALM, said(2, "stable")))
    assert (score.precision, score.recall, score.right_family) == (None, 0, None)


@pytest.mark.parametrize(
    ("animal", "process", "right"),
    [
        (LEAK, said(1, "growing", ("heap", "growing")), True),
        (LEAK, said(1, "growing", ("anon", "growing")), False),
        # The first finding of another verdict is not what the leak is.
        (LEAK, said(1, "growing", ("anon", "step"), ("heap", "growing")), True),
        (CALM, said(1, "plateau", ("heap", "plateau")), True),
        (CALM, said(1, "step"), False),
        (CALM, said(7, "stable"), False),
    ],
)
def test_right_or_wrong(animal: Animal, process: dict[str, Any], right: bool) -> None:
    (judged,) = judge([Specimen(animal, [1])], {"processes": [process]})
    assert judged.is_right is right


def test_of_several_incarnations_the_one_that_was_called_a_leak_counts() -> None:
    processes = {"processes": [said(1, "growing", ("heap", "growing")), said(2, "stable")]}
    (judged,) = judge([Specimen(CALM, [1, 2])], processes)
    assert judged.is_reported


def test_every_truth_can_be_told() -> None:
    assert len({animal.name for animal in ANIMALS}) == len(ANIMALS)
    for animal in ANIMALS:
        assert animal.leaks == bool(animal.families)
        assert not animal.leaks or animal.verdicts == {"growing"}
