"""Aligned columns for terminals: numbers to the right, names last and cut in the middle, nothing wraps.

Not rich's Table: it takes 0.4 ms a row, and a process may have 65,000 mappings. Cell widths and styles are rich's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.color import ColorSystem
from rich.style import Style

from pmapdiff.report.base import View
from pmapdiff.units import format_delta_kib

GAP = "  "
_NARROWEST_NAME = 20
# A space where a line may end: not before a unit or the time of a date.
_SPACE = re.compile(r" (?!(?:[KMGTP]iB(?:/\w+)?|%|s|min|h|d|\d\d:\d\d:\d\d)(?:[\s,;:)]|$))")


@dataclass(frozen=True, slots=True)
class Cell:
    """Text that is safe to print, and how it looks where colour is wanted."""

    text: str
    style: str = ""


Row = Sequence[Cell | str]
# The indents of what is said of what stands above.
NOTE = ("  ", "    ")
# Brings a text down to so many columns.
Cut = Callable[[str, int], str]


@dataclass(frozen=True, slots=True)
class Under:
    """What is said of the row above, in as many lines as it takes."""

    text: str
    style: str = ""


def delta_cell(kib: int | None) -> Cell:
    """A difference in KiB: red is more, green is less."""
    return Cell(format_delta_kib(kib), "" if not kib else "red" if kib > 0 else "green")


def paint(text: str, style: str, view: View) -> str:
    """The text in a style, if the view has colour."""
    return Style.parse(style).render(text, color_system=ColorSystem.STANDARD) if view.colour and style and text else text


def shorten(text: str, width: int) -> str:
    """The text in at most `width` columns, cut in the middle: the end of a path tells more than its middle."""
    if cell_len(text) <= width:
        return text
    if width < 2:
        return set_cell_size(text, max(width, 0))
    tail_width = (width - 1) * 2 // 3
    head = set_cell_size(text, width - 1 - tail_width)
    tail = chop_cells(text[::-1], tail_width)[0][::-1]
    return f"{head}…{tail}"


def cut_end(text: str, width: int) -> str:
    """The text in at most `width` columns, cut at the end: of a command line the beginning tells most."""
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)) + "…"


def wrapped(text: str, width: int | None, first: str = "", rest: str = "") -> list[str]:
    """The text in lines of at most `width` columns, behind these indents: nothing is left out, a word that has no room goes on in the next line."""
    if width is None:
        return [first + text]
    lines, line, indent = [], "", first
    for word in _SPACE.split(text):
        joined = f"{line} {word}" if line else word
        if cell_len(indent + joined) <= width:
            line = joined
            continue
        if line:
            lines.append(indent + line)
            indent = rest
        *full, line = chop_cells(word, max(width - max(map(cell_len, (first, rest))), 2)) or [""]
        lines += [indent + part for part in full]
        indent = rest if full else indent
    return [*lines, indent + line]


def write_table(header: Sequence[str], left: frozenset[int], rows: Iterable[Row | Under], view: View, out: TextIO, cut: Cut | None) -> None:
    """Write rows under a header as `Page.table` has it."""
    body = [row if isinstance(row, Under) else [cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    cells = [row for row in body if row and not isinstance(row, Under)]
    widths = [max(cell_len(header[i]), *(cell_len(row[i].text) for row in cells), 0) for i in range(len(header))]
    last = len(header) - 1
    if view.width is not None:
        room = view.width - sum(widths[:-1]) - len(GAP) * last
        widths[last] = min(widths[last], max(room, _NARROWEST_NAME))
    for row in [[Cell(title, "bold") for title in header], *body]:
        if isinstance(row, Under):
            for line in wrapped(row.text, view.width, GAP, 2 * GAP):
                out.write(paint(line, row.style, view) + "\n")
            continue
        if not row:
            out.write(GAP.join((" " if i in left else "─") * widths[i] for i in range(len(header))).rstrip() + "\n")
            continue
        parts = []
        lines = [row[last].text] if cut is not None else wrapped(row[last].text, widths[last])
        for i, cell in enumerate(row):
            text = cell.text if i != last else lines[0] if cut is None else cut(cell.text, widths[i])
            padding = " " * (widths[i] - cell_len(text))
            painted = paint(text, cell.style, view)
            parts.append(painted + padding if i in left else padding + painted)
        out.write(GAP.join(parts).rstrip() + "\n")
        for line in lines[1:]:
            out.write(f"{' ' * (sum(widths[:-1]) + len(GAP) * last)}{paint(line, row[last].style, view)}\n")
