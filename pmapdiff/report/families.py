"""The families of a snapshot: one table over all of its processes, as `vmmap` of macOS sums them up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pmapdiff.align import Verdict
from pmapdiff.model import FIGURE_INDEX, Capture, Mapping, MappingTable, Snapshot, Totals
from pmapdiff.model.counters import sum_figures
from pmapdiff.report.base import View


@dataclass(frozen=True, slots=True)
class FamilyPart:
    """The mappings that one rule has put into a family; of a `FamilyTotal`, all of its mappings."""

    family: str
    reason: str
    totals: Totals


@dataclass(frozen=True, slots=True)
class FamilyTotal(FamilyPart):
    """One family: what it adds up to, and its parts by rule, the one with most mappings first. `reason` is empty."""

    rules: tuple[FamilyPart, ...]


@dataclass(frozen=True, slots=True)
class FamilySummary:
    """Families over the tables of several processes: how many they are, and how many could not be added up with them."""

    families: tuple[FamilyTotal, ...]
    totals: Totals
    processes: int
    left_out: int


def summarise(snapshot: Snapshot, view: View) -> FamilySummary:
    """The families of all processes of a snapshot together.

    A table without counters would make every sum unknown: if others have some, it is left out, and counted.
    """
    captures = [capture for capture in snapshot.captures if capture.table is not None]
    counted = [capture for capture in captures if capture.table is not None and capture.table.totals.get("rss_kib") is not None]
    families = family_totals(counted or captures, view)
    totals = _add(row.totals for row in families)
    return FamilySummary(tuple(families), totals, len(counted or captures), len(captures) - len(counted or captures))


def family_totals(captures: Iterable[Capture], view: View) -> list[FamilyTotal]:
    """The families that these captures have, in the classifier's order, or the largest first as the view says."""
    ruled: dict[Verdict, list[Mapping]] = defaultdict(list)
    for capture in captures:
        if capture.table is not None:
            for mapping, verdict in zip(capture.table.mappings, view.classifier.explain(capture), strict=True):
                ruled[verdict].append(mapping)
    parts: dict[str, list[FamilyPart]] = defaultdict(list)
    for (family, reason), mappings in ruled.items():
        parts[family].append(FamilyPart(family, reason, MappingTable(tuple(mappings)).totals))
    found = [_family(family, parts[family]) for family in view.classifier.families if family in parts]
    if view.sort == "name":
        found.sort(key=lambda row: row.family)
    elif view.sort not in (None, "address"):
        index = FIGURE_INDEX[f"{view.sort}_kib"]
        found.sort(key=lambda row: -(row.totals.figures[index] or 0))
    return found


def _family(family: str, parts: Sequence[FamilyPart]) -> FamilyTotal:
    rules = sorted(parts, key=lambda part: (-part.totals.mappings, part.reason))
    return FamilyTotal(family, "", _add(part.totals for part in parts), tuple(rules))


def _add(totals: Iterable[Totals]) -> Totals:
    every = list(totals)
    return Totals(sum(part.mappings for part in every), sum_figures(part.figures for part in every))
