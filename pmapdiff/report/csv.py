"""CSV: one header line, one row a mapping, change, family, process or finding; an empty cell is a missing value."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TextIO

from pmapdiff.model import Snapshot
from pmapdiff.report.base import View, Writer, register
from pmapdiff.report.columns import Kind, kind_of
from pmapdiff.report.flat import MAPPINGS, Cells, Flat
from pmapdiff.report.frames import frame_of
from pmapdiff.text import csv_cell
from pmapdiff.units import format_moment_utc

if TYPE_CHECKING:
    import pandas as pd

# A host has a few thousand names, each of them in very many rows.
_safe = lru_cache(maxsize=1 << 14)(csv_cell)
_TEXT_OF: dict[Kind, Callable[[Any], str]] = {Kind.TEXT: _safe, Kind.MOMENT: format_moment_utc, Kind.FLAG: lambda flag: "true" if flag else "false"}


def _write(frame: pd.DataFrame, out: TextIO) -> None:
    for name in frame.columns:
        kind = kind_of(name)
        if kind is Kind.MOMENT:
            frame[name] = frame[name].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        elif kind in _TEXT_OF:
            frame[name] = frame[name].map(_TEXT_OF[kind], na_action="ignore")
    frame.to_csv(out, index=False, lineterminator="\n")


def _lines(columns: Sequence[str], rows: Iterable[Cells]) -> list[str]:
    """A line for each of these rows, without its end: no cell has a line break once it is safe."""
    changed = [(index, _TEXT_OF[kind]) for index, kind in enumerate(map(kind_of, columns)) if kind in _TEXT_OF]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        cells = list(row)
        for index, text_of in changed:
            if cells[index] is not None:
                cells[index] = text_of(cells[index])
        writer.writerow(cells)
    return buffer.getvalue().split("\n")[:-1]


@register("export", "csv")
def write_flat(result: Flat, view: View, out: TextIO) -> None:
    """The rows of any number of snapshots, as they come."""
    table = result.table
    tail = table.tail(view)
    header = ",".join(table.columns(view)) + "\n"
    for block in table.blocks(result.snapshots, view):
        rows = block.rows
        if rows.encoded is None:
            rows.encoded = _lines(tail, rows.cells())
        (head,) = _lines(table.head, [block.head])
        out.write(header + "".join([f"{head},{line}\n" for line in rows.encoded]))
        header = ""
    out.write(header)


@register("show", "csv")
def write_snapshot(result: Snapshot, view: View, out: TextIO) -> None:
    """One row a mapping with every counter, or one a family."""
    if view.by == "family":
        _write(frame_of("show", result, view), out)
    else:
        write_flat(Flat(MAPPINGS, (result,)), view, out)


def _writer(subject: str) -> Writer:
    def write(result: Any, view: View, out: TextIO) -> None:
        _write(frame_of(subject, result, view), out)

    return write


# A row a change, family or process; a region and snapshot; a finding; a snapshot; a process; a host; of a fleet a process that grows, or a service.
for _subject in ("compare", "history", "series", "leaks", "snapshots", "processes", "hosts", "fleet-leaks", "fleet-compare"):
    register(_subject, "csv")(_writer(_subject))
