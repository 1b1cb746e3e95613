"""smaps: the recorded text, byte for byte."""

from __future__ import annotations

from typing import TextIO

from pmapdiff.errors import UsageError
from pmapdiff.formats.smaps import render_smaps
from pmapdiff.model import Snapshot
from pmapdiff.report.base import View, register
from pmapdiff.report.words import process_title


@register("show", "smaps")
def write_snapshot(result: Snapshot, view: View, out: TextIO) -> None:
    """The smaps text of one process. Raises UsageError if the snapshot holds several, or its table was not read from smaps."""
    if view.sort is not None or view.top or view.explain or view.by == "family":
        raise UsageError("--format smaps gives the text as it was: leave out --sort, --top, --by and --explain")
    captures = [capture for capture in result.captures if capture.table is not None]
    if len(captures) != 1:
        raise UsageError(f"--format smaps prints one process, this snapshot has the tables of {len(captures)}: choose one with --pid")
    capture = captures[0]
    assert capture.table is not None
    if any(mapping.layout is None for mapping in capture.table.mappings):
        raise UsageError(f"the table of {process_title(capture.process)} was not read from smaps, so it has no smaps text: use text, json or csv")
    out.flush()
    out.buffer.write(render_smaps(capture.table.mappings))
    out.buffer.flush()
