"""Aligned columns for terminals: numbers to the right, names last and cut in the middle, nothing wraps, what has no room is left out.

Not rich's Table: it takes 0.4 ms a row, and a process may have 65,000 mappings. Cell widths and styles are rich's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TextIO

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.color import ColorSystem
from rich.style import Style

from pmapdiff.report.base import View
from pmapdiff.units import format_delta_kib, format_kib

_GAP = "  "
# What the last column keeps before it gives room to what can be done without.
_COMFORTABLE_NAME = 42
# And before other words are cut.
_NARROWEST_NAME = 20
_NARROWEST_WORDS = 6
# A space where a line may end: not before a unit or the time of a date.
_SPACE = re.compile(r" (?!(?:[KMGTP]iB(?:/\w+)?|%|s|min|h|d|\d\d:\d\d:\d\d)(?:[\s,;:)]|$))")


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column. Numbers stand on the right, words (`left`) on the left.

    Where there is no room, columns that can be spared are left out, the one with the largest number first (0: it stays). An `extra` one is shown
    only where there is room to waste: on a terminal whose last column is not cramped by it. `room` is what the last column asks for before others
    are spared.
    """

    title: str
    left: bool = False
    spare: int = 0
    extra: bool = False
    room: int = 20


def worded(title: str, *, spare: int = 0, extra: bool = False, room: int = 20) -> Column:
    """A column of words."""
    return Column(title, True, spare, extra, room)


@dataclass(frozen=True, slots=True)
class Cell:
    """Text that is safe to print, and how it looks where colour is wanted."""

    text: str
    style: str = ""


Row = Sequence[Cell | str]
# The indents of what is said of what stands above.
NOTE = ("  ", "    ")
HANGING = ("", "  ")
# How to see what is left out.
ALL = "--top 0 shows all"
IN_FULL = "each in full: --top 0; one of them: --pid or --name"
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
    """A table before it is written."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]

    @property
    def header(self) -> tuple[str, ...]:
        """The titles of its columns."""
        return tuple(column.title for column in self.columns)


def delta_cell(kib: int | None, style: str = "") -> Cell:
    """A difference in KiB: red is more, green is less."""
    colour = "" if not kib else "red" if kib > 0 else "green"
    return Cell(format_delta_kib(kib), f"{style} {colour}".strip())


def size_cell(kib: int | None, style: str = "") -> Cell:
    """A size; nothing at all is a bare 0, so that what is there stands out."""
    return Cell(format_kib(kib) if kib else "-" if kib is None else "0", style)


def paint(text: str, style: str, view: View) -> str:
    """The text in a style, if the view has colour."""
    return Style.parse(style).render(text, color_system=ColorSystem.STANDARD) if view.colour and style and text else text


def shorten(text: str, width: int) -> str:
    """The text in at most `width` columns, cut in the middle: the end of a path tells more than its middle."""
    if _length(text) <= width:
        return text
    if width < 2:
        return set_cell_size(text, max(width, 0))
    tail_width = (width - 1) * 2 // 3
    head = set_cell_size(text, width - 1 - tail_width)
    tail = chop_cells(text[::-1], tail_width)[0][::-1]
    return f"{head}…{tail}"


def cut_end(text: str, width: int) -> str:
    """The text in at most `width` columns, cut at the end: of a command line the beginning tells most."""
    return text if _length(text) <= width else set_cell_size(text, max(width - 1, 0)) + "…"


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
    """How the columns of a table are laid out: which of them there is room for, and how wide each is."""

    columns: Sequence[Column] = ()
    widths: Sequence[int] = ()
    kept: Sequence[int] = ()

    @classmethod
    def of(cls, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], width: int | None) -> Columns:
        """As wide as their cells; the last one takes what is left of the width."""
        cells = [row for row in rows if row]
        widths = [max([len(column.title), *[_length(row[i].text) for row in cells]]) for i, column in enumerate(columns)]
        return cls(columns, widths, _fit(columns, widths, width) if columns else ())

    @property
    def before_last(self) -> int:
        """Where the last column begins."""
        return sum(self.widths[i] + len(_GAP) for i in self.kept[:-1])

    @property
    def last_width(self) -> int:
        """How wide the last column is."""
        return self.widths[self.kept[-1]]

    def pieces(self, row: Sequence[Cell], cut: Cut) -> list[Cell]:
        """A row as pieces of text, each with its style, which are one line when put together; one that is empty is a rule under the numbers."""
        if not row:
            return [Cell(_GAP.join((" " if self.columns[i].left else "─") * self.widths[i] for i in self.kept).rstrip())]
        pieces: list[Cell] = []
        for place, (cell, text, padding, left) in enumerate(self._placed(row, cut)):
            before, after = ("", padding) if left else (padding, "")
            pieces += [Cell((_GAP if place else "") + before), Cell(text, cell.style), Cell(after)]
        return pieces

    def text(self, row: Sequence[Cell], cut: Cut, view: View) -> str:
        """The same as one text; a table may have 65,000 rows."""
        if not row:
            return self.pieces(row, cut)[0].text
        parts = []
        for cell, text, padding, left in self._placed(row, cut):
            painted = paint(text, cell.style, view) if cell.style else text
            parts.append(painted + padding if left else padding + painted)
        return _GAP.join(parts).rstrip()

    def _placed(self, row: Sequence[Cell], cut: Cut) -> Iterator[tuple[Cell, str, str, bool]]:
        """The cells that are shown: each with its text as far as there is room, what fills it up, and whether that stands on the right."""
        for i in self.kept:
            cell, width = row[i], self.widths[i]
            text = cell.text
            length = _length(text)
            if i == self.kept[-1]:
                text = cut(text, width)
                length = _length(text)
            elif length > width:
                text = cut_end(text, width)
                length = _length(text)
            yield cell, text, " " * (width - length), self.columns[i].left


def _length(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)


def write_table(columns: Sequence[Column], rows: Iterable[Row | Under], view: View, out: TextIO, cut: Cut | None) -> None:
    """Write rows under their heads as `Page.table` has it."""
    body = [row if isinstance(row, Under) else cells_of(row) for row in rows]
    laid = Columns.of(columns, [row for row in body if not isinstance(row, Under)], view.width)
    for row in [[Cell(column.title, "bold") for column in columns], *body]:
        if isinstance(row, Under):
            for line in wrapped(row.text, view.width, _GAP, 2 * _GAP):
                out.write(paint(line, row.style, view) + "\n")
            continue
        lines = wrapped(row[-1].text, laid.last_width) if cut is None and row else [""]
        out.write(laid.text(row, cut or (lambda _text, _width, first=lines[0]: first), view) + "\n")  # type: ignore[misc]
        for line in lines[1:]:
            out.write(f"{' ' * laid.before_last}{paint(line, row[-1].style, view)}\n")


def cells_of(row: Row) -> list[Cell]:
    """The cells of a row, those too that have no style."""
    return [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]


def _fit(columns: Sequence[Column], widths: list[int], width: int | None) -> list[int]:
    """The columns that there is room for; their widths are cut down to it, that of the last one first."""
    last = len(columns) - 1
    kept = [i for i, column in enumerate(columns) if width is not None or not column.extra]
    if width is None:
        return kept

    def needed(name: int) -> int:
        return sum(widths[i] + len(_GAP) for i in kept[:-1]) + min(widths[last], name)

    for victim in sorted(kept[:-1], key=lambda i: (columns[i].extra, columns[i].spare), reverse=True):
        spared = columns[victim].spare > 0 or columns[victim].extra
        if not spared or needed(_COMFORTABLE_NAME if columns[victim].extra else columns[last].room) <= width:
            break
        kept.remove(victim)
    # Only what strangers named has no bounds.
    for i in sorted((i for i in kept[:-1] if columns[i].left), key=lambda i: -widths[i]):
        widths[i] -= max(0, min(widths[i] - _NARROWEST_WORDS, needed(_NARROWEST_NAME) - width))
    widths[last] = min(widths[last], max(width - sum(widths[i] + len(_GAP) for i in kept[:-1]), 1))
    return kept
