"""JSON Lines: an object a row, each with every column; a missing value is null."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TextIO

from pmapdiff.report.base import View, register
from pmapdiff.report.columns import Kind, kind_of
from pmapdiff.report.flat import Cells, Flat
from pmapdiff.units import format_moment_utc


def _objects(columns: Sequence[str], rows: Iterable[Cells]) -> list[str]:
    """Each of these rows as an object, in ASCII: names arrive exactly, and cannot drive a terminal that shows them."""
    moments = [index for index, name in enumerate(columns) if kind_of(name) is Kind.MOMENT]
    encode = json.JSONEncoder().encode
    lines = []
    for row in rows:
        cells = list(row)
        for index in moments:
            if cells[index] is not None:
                cells[index] = format_moment_utc(cells[index])
        lines.append(encode(dict(zip(columns, cells, strict=True))))
    return lines


@register("export", "jsonl")
def write_flat(result: Flat, view: View, out: TextIO) -> None:
    """The rows of any number of snapshots, as they come."""
    table = result.table
    tail = table.tail(view)
    for block in table.blocks(result.snapshots, view):
        rows = block.rows
        if rows.encoded is None:
            rows.encoded = [line[1:] for line in _objects(tail, rows.cells())]
        (head,) = _objects(table.head, [block.head])
        out.write("".join([f"{head[:-1]}, {line}\n" for line in rows.encoded]))
