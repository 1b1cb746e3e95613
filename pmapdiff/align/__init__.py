"""Which mapping of one table is which of another, and what each is for."""

from pmapdiff.align.buckets import BUILT_IN, Bucket, Classifier, parse_buckets
from pmapdiff.align.by_name import align_by_name, hold_sums
from pmapdiff.align.component import Component, Relation
from pmapdiff.align.families import FAMILIES, Verdict, classify, explain
from pmapdiff.align.history import History, Incarnation, RegionHistory, ServiceHistory, trace
from pmapdiff.align.incarnation import align_incarnations
from pmapdiff.align.pairing import Match, are_saved_tables, judge_saved, looks_same, pair_processes
from pmapdiff.align.same_process import align_same_process, unequal_parts
from pmapdiff.align.samples import Sample, Samples, add_samples

__all__ = [
    "BUILT_IN",
    "FAMILIES",
    "Bucket",
    "Classifier",
    "Component",
    "History",
    "Incarnation",
    "Match",
    "RegionHistory",
    "Relation",
    "Sample",
    "Samples",
    "ServiceHistory",
    "Verdict",
    "add_samples",
    "align_by_name",
    "align_incarnations",
    "align_same_process",
    "are_saved_tables",
    "classify",
    "explain",
    "hold_sums",
    "judge_saved",
    "looks_same",
    "pair_processes",
    "parse_buckets",
    "trace",
    "unequal_parts",
]
