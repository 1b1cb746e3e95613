"""Screens to be read: help, and what `leaks` says of one process."""

from __future__ import annotations

import io
from collections.abc import Callable

from pmapdiff.analyse.result import Leaks
from pmapdiff.browse.drawing import SIGNS
from pmapdiff.browse.keys import SECTIONS
from pmapdiff.browse.page import Page
from pmapdiff.browse.rows import Rows
from pmapdiff.report.base import View, write_report
from pmapdiff.report.table import Cell, Line, Sheet, worded, wrapped

_INDENT = 17


class TextPage(Page):
    """A text, made for the width of the screen."""

    def __init__(self, title: str, write: Callable[[int], list[Cell]]) -> None:
        super().__init__()
        self.rows = Rows(cursor=False)
        self._about = title
        self._write = write

    def crumbs(self) -> list[str]:
        """The name of the text."""
        return [self._about]

    def redraw(self, *, keep: bool = True) -> None:
        """Write it anew."""
        lines = self._write(max(self.size.width, 20))
        self.rows.show(Sheet((worded(""),), tuple(Line([cell]) for cell in lines)), same=(lambda _a, _b: False) if keep else None)


def help_lines(width: int) -> list[Cell]:
    """Every key, and every sign of the timeline."""
    lines: list[Cell] = []
    for title, keys in SECTIONS:
        lines += [Cell(title, "bold"), *_named([(key.shown, key.does) for key in keys], width), Cell(" ")]
    lines += [Cell("Below a timeline", "bold"), *_named(SIGNS, width)]
    return lines


def _named(items: list[tuple[str, str]] | tuple[tuple[str, str], ...], width: int) -> list[Cell]:
    lines = []
    for name, words in items:
        first, *rest = wrapped(words, width, f"  {name:<{_INDENT - 2}}", " " * _INDENT)
        lines += [Cell(first), *map(Cell, rest)]
    return lines


def help_page() -> TextPage:
    """The page of keys."""
    return TextPage("keys", help_lines)


def verdict_page(title: str, leaks: Leaks) -> TextPage:
    """What `leaks` prints of one process."""

    def write(width: int) -> list[Cell]:
        out = io.StringIO()
        write_report("leaks", "text", leaks, View(width=width), out)
        return [Cell(line or " ") for line in out.getvalue().splitlines()]

    return TextPage(title, write)
