"""The diff engine: from two snapshots to changes that add up."""

from pmapdiff.compare.build import compare_captures, compare_snapshots, family_changes
from pmapdiff.compare.effects import Effect, Observed
from pmapdiff.compare.result import KINDS, Change, Comparison, FamilyChange, ProcessComparison

__all__ = [
    "KINDS",
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
