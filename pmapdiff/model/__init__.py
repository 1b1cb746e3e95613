"""The vocabulary of the project as small frozen types. No I/O, no third-party import."""

from pmapdiff.model.counters import COUNTER_INDEX, COUNTERS, FIGURE_INDEX, FIGURES, NO_COUNTERS, Counter, Counters, Figures
from pmapdiff.model.layout import Layout, layout_of
from pmapdiff.model.mapping import Mapping, MappingTable, Totals
from pmapdiff.model.process import IMPORTED, Capture, Origin, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status

__all__ = [
    "COUNTERS",
    "COUNTER_INDEX",
    "FIGURES",
    "FIGURE_INDEX",
    "IMPORTED",
    "NO_COUNTERS",
    "Capture",
    "Counter",
    "Counters",
    "Figures",
    "Layout",
    "Mapping",
    "MappingTable",
    "Origin",
    "ProcessIdentity",
    "ProcessInfo",
    "Snapshot",
    "SnapshotRef",
    "Status",
    "Totals",
    "layout_of",
]
