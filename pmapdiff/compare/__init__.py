"""The diff engine: from two snapshots to changes that add up."""

from pmapdiff.compare.build import compare_captures, compare_snapshots, family_changes
from pmapdiff.compare.effects import MAX_MAP_COUNT, Effect, Observed
from pmapdiff.compare.result import KINDS, Change, Comparison, FamilyChange, ProcessComparison

__all__ = [
    "KINDS",
    "MAX_MAP_COUNT",
    "Change",
    "Comparison",
    "Effect",
    "FamilyChange",
    "Observed",
    "ProcessComparison",
    "compare_captures",
    "compare_snapshots",
    "family_changes",
]
