"""Aligned columns for terminals: numbers to the right, names last and cut in the middle, nothing wraps.

Not rich's Table: it takes 0.4 ms a row, and a process may have 65,000 mappings. Cell widths and styles are rich's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TextIO

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


class Line(NamedTuple):
    """A row of a table (an empty one is a rule), and what it is of: None for sums."""

    row: Row
    of: object = None


class Sheet(NamedTuple):
    """A table before it is written: the header, which columns are aligned to the left, and the lines."""

    header: tuple[str, ...]
    left: frozenset[int]
    lines: tuple[Line, ...]


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


@dataclass(frozen=True, slots=True)
class Columns:
    """How the columns of a table are laid out: how wide each is, and which are aligned to the left."""

    widths: tuple[int, ...]
    left: frozenset[int]

    @classmethod
    def of(cls, header: Sequence[str], left: frozenset[int], rows: Iterable[Sequence[Cell]], width: int | None) -> Columns:
        """As wide as their cells; the last one takes what is left of the width."""
        cells = [row for row in rows if row]
        widths = [max(cell_len(header[i]), *(cell_len(row[i].text) for row in cells), 0) for i in range(len(header))]
        if width is not None and widths:
            room = width - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
            widths[-1] = min(widths[-1], max(room, _NARROWEST_NAME))
        return cls(tuple(widths), left)

    @property
    def before_last(self) -> int:
        """Where the last column begins."""
        return sum(self.widths[:-1]) + len(GAP) * (len(self.widths) - 1)

    def pieces(self, row: Sequence[Cell], cut: Cut) -> list[Cell]:
        """A row as pieces of text, each with its style, which are one line when put together; one that is empty is a rule under the numbers."""
        if not row:
            return [Cell(GAP.join((" " if i in self.left else "─") * width for i, width in enumerate(self.widths)).rstrip())]
        pieces: list[Cell] = []
        for i, (cell, width) in enumerate(zip(row, self.widths, strict=True)):
            text = cut(cell.text, width) if i == len(row) - 1 else cell.text
            padding = " " * (width - cell_len(text))
            before, after = ("", padding) if i in self.left else (padding, "")
            pieces += [Cell((GAP if i else "") + before), Cell(text, cell.style), Cell(after)]
        return pieces


def write_table(header: Sequence[str], left: frozenset[int], rows: Iterable[Row | Under], view: View, out: TextIO, cut: Cut | None) -> None:
    """Write rows under a header as `Page.table` has it."""
    body = [row if isinstance(row, Under) else cells_of(row) for row in rows]
    columns = Columns.of(header, left, [row for row in body if not isinstance(row, Under)], view.width)
    for row in [[Cell(title, "bold") for title in header], *body]:
        if isinstance(row, Under):
            for line in wrapped(row.text, view.width, GAP, 2 * GAP):
                out.write(paint(line, row.style, view) + "\n")
            continue
        lines = wrapped(row[-1].text, columns.widths[-1]) if cut is None and row else [""]
        pieces = columns.pieces(row, cut or (lambda _text, _width, first=lines[0]: first))  # type: ignore[misc]
        out.write("".join([paint(piece.text, piece.style, view) for piece in pieces]).rstrip() + "\n")
        for line in lines[1:]:
            out.write(f"{' ' * columns.before_last}{paint(line, row[-1].style, view)}\n")


def cells_of(row: Row) -> list[Cell]:
    """The cells of a row, those too that have no style."""
    return [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
