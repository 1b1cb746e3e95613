"""CSV: one header line, one row a mapping, change, family or process; an empty cell is a missing value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from pmapdiff.align import History
from pmapdiff.compare import Comparison
from pmapdiff.model import Snapshot
from pmapdiff.report.base import View, register
from pmapdiff.report.frames import (
    change_frame,
    family_frame,
    family_total_frame,
    history_frame,
    mapping_frame,
    process_frame,
    process_summary_frame,
    snapshot_frame,
)
from pmapdiff.store import ProcessSummary, SnapshotSummary
from pmapdiff.text import csv_cell

if TYPE_CHECKING:
    import pandas as pd

# Columns whose text strangers chose; the others (perms may be "---p") are of known shape and stay as they are.
_STRANGERS = ("command", "command_line", "name", "path", "vm_flags", "host", "label", "source")


def _write(frame: pd.DataFrame, out: TextIO) -> None:
    for name in frame.columns:
        if name in _STRANGERS:
            frame[name] = frame[name].map(csv_cell, na_action="ignore")
        elif name.startswith("taken_at"):
            frame[name] = frame[name].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        elif name == "possibly":
            frame[name] = frame[name].map({True: "true", False: "false"})
    frame.to_csv(out, index=False, lineterminator="\n")


@register("compare", "csv")
def write_comparison(result: Comparison, view: View, out: TextIO) -> None:
    """One row a change, family or process; figures are differences in KiB."""
    frames = {"region": change_frame, "family": family_frame, "process": process_frame}
    _write(frames[view.by](result, view), out)


@register("show", "csv")
def write_snapshot(result: Snapshot, view: View, out: TextIO) -> None:
    """One row a mapping with every counter, or one a family."""
    _write(family_total_frame(result, view) if view.by == "family" else mapping_frame(result, view), out)


def _write_history(result: History, view: View, out: TextIO) -> None:
    """One row a region and snapshot; empty cells where there is no table."""
    _write(history_frame(result, view), out)


for _subject in ("history", "series"):
    register(_subject, "csv")(_write_history)


@register("snapshots", "csv")
def write_snapshots(result: Sequence[SnapshotSummary], _view: View, out: TextIO) -> None:
    """One row a snapshot."""
    _write(snapshot_frame(result), out)


@register("processes", "csv")
def write_processes(result: Sequence[ProcessSummary], _view: View, out: TextIO) -> None:
    """One row a process, its figures when first and when last seen."""
    _write(process_summary_frame(result), out)
