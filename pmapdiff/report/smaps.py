"""The kernel's own files: smaps and maps as they were recorded, and smaps_rollup from the recorded smaps."""

from __future__ import annotations

from typing import TextIO

from pmapdiff.formats.smaps import render_header, render_smaps
from pmapdiff.model import Snapshot
from pmapdiff.report.base import View, register
from pmapdiff.report.exact import one_table, write_exact
from pmapdiff.report.rollup import render_rollup


@register("show", "smaps")
def write_smaps(result: Snapshot, view: View, out: TextIO) -> None:
    """/proc/PID/smaps of one process. Raises UsageError if the snapshot holds several, or its table was not read from smaps."""
    write_exact(out, render_smaps(one_table(result, view, "smaps")))


@register("show", "maps")
def write_maps(result: Snapshot, view: View, out: TextIO) -> None:
    """/proc/PID/maps of one process. Raises UsageError if the snapshot holds several, or its table lacks offset, device or inode."""
    write_exact(out, b"".join([render_header(mapping) + b"\n" for mapping in one_table(result, view, "maps")]))


@register("show", "smaps_rollup")
def write_rollup(result: Snapshot, view: View, out: TextIO) -> None:
    """/proc/PID/smaps_rollup of one process. Raises UsageError if the snapshot holds several, or its table was not read from smaps."""
    write_exact(out, render_rollup(one_table(result, view, "smaps_rollup")))
