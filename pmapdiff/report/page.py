"""What a report for people is written on: lines and tables, as text for a terminal, or as HTML for a notebook.

A report says what stands on the page; how wide it is and what colours look like is the page's business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any, TextIO

from pmapdiff.report.base import View, load_forms, register
from pmapdiff.report.table import Cell, Column, Cut, Row, Under, cut_end, paint, shorten, wrapped, write_table


class Page(ABC):
    """Where a report goes. All text must be safe to print; `view` says how wide the page is."""

    def __init__(self, view: View) -> None:
        self.view = view

    @abstractmethod
    def line(self, text: str = "", style: str = "") -> None:
        """One line, cut where the page ends; without a text an empty one."""

    @abstractmethod
    def wrapped(self, text: str, style: str = "", first: str = "", rest: str = "") -> None:
        """A text that nobody shall have to guess the end of, in as many lines as it takes, behind these indents."""

    @abstractmethod
    def fixed(self, text: str) -> None:
        """One line in which every character stands above or below another one."""

    @abstractmethod
    def table(self, columns: Sequence[Column], rows: Iterable[Row | Under], cut: Cut | None = shorten) -> None:
        """Rows of a cell for each column; the last column, of names, takes what is left of the width.

        What has no room there is cut by `cut`, or, without it, goes on below. A row that is empty becomes a rule under the numbers above it.
        """


class TextPage(Page):
    """A terminal, or a pipe."""

    def __init__(self, view: View, out: TextIO) -> None:
        super().__init__(view)
        self._out = out

    def line(self, text: str = "", style: str = "") -> None:
        """See `Page`."""
        width = self.view.width
        self._out.write(paint((text if width is None else cut_end(text, width)).rstrip(), style, self.view) + "\n")

    def wrapped(self, text: str, style: str = "", first: str = "", rest: str = "") -> None:
        """See `Page`."""
        for part in wrapped(text, self.view.width, first, rest):
            self.line(part, style)

    def fixed(self, text: str) -> None:
        """See `Page`."""
        self.line(text)

    def table(self, columns: Sequence[Column], rows: Iterable[Row | Under], cut: Cut | None = shorten) -> None:
        """See `Page`."""
        write_table(columns, rows, self.view, self._out, cut)


# Hues that can be read on white and on black.
_COLOURS = {"red": "#d1403f", "green": "#2a9a50", "yellow": "#a88200", "magenta": "#b04fc4", "cyan": "#1c8fb5", "dim": "#888"}
_CELL = "padding:0 .8em 0 0;border:0;vertical-align:top"
_NUMBER = f"{_CELL};text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums"
_TEXT = f"{_CELL};text-align:left;white-space:nowrap"
_NAME = f"{_CELL};text-align:left;overflow-wrap:anywhere;min-width:16em"
_RULE = "border:0;border-top:1px solid #888;padding:0;height:0"


class HtmlPage(Page):
    """A part of an HTML document: every text escaped, nothing loaded, no script, the styles on the elements themselves."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._parts: list[str] = []

    def line(self, text: str = "", style: str = "") -> None:
        """See `Page`."""
        self._add(text or "\N{NO-BREAK SPACE}", _css(style))

    def wrapped(self, text: str, style: str = "", first: str = "", rest: str = "") -> None:
        """See `Page`."""
        # The indent of the first line alone may hold a dash.
        hanging = f"padding-left:{len(rest)}ch;text-indent:{-len(rest)}ch" if rest else ""
        self._add(first + text, _css(style), hanging, "white-space:pre-wrap" if first else "")

    def fixed(self, text: str) -> None:
        """See `Page`."""
        self._add(text, "font-family:monospace", "white-space:pre")

    def table(self, columns: Sequence[Column], rows: Iterable[Row | Under], cut: Cut | None = shorten) -> None:  # noqa: ARG002 - nothing is cut
        """See `Page`."""
        last = len(columns) - 1
        looks = [_NUMBER if not column.left else _NAME if i == last else _TEXT for i, column in enumerate(columns)]
        head = "".join(f'<th style="{look}">{escape(column.title)}</th>' for column, look in zip(columns, looks, strict=True))
        body = "".join(f"<tr>{_row(row, looks)}</tr>" for row in rows)
        self._parts.append(f'<table style="border-collapse:collapse;margin:0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')

    def html(self) -> str:
        """All of it in one element."""
        return f'<div class="pmapdiff" style="overflow-x:auto">{"".join(self._parts)}</div>'

    def _add(self, text: str, *css: str) -> None:
        self._parts.append(f"<div{_attribute(*css)}>{escape(text)}</div>")


def _row(row: Row | Under, looks: Sequence[str]) -> str:
    if isinstance(row, Under):
        return f'<td colspan="{len(looks)}"{_attribute("padding:0 0 0 2ch;border:0;text-align:left", _css(row.style))}>{escape(row.text)}</td>'
    if not row:
        return "".join('<td style="border:0;padding:0"></td>' if look != _NUMBER else f'<td style="{_RULE}"></td>' for look in looks)
    cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
    return "".join(f"<td{_attribute(look, _css(cell.style))}>{escape(cell.text)}</td>" for cell, look in zip(cells, looks, strict=True))


def _css(style: str) -> str:
    """What a style of `Cell` is in CSS."""
    return ";".join("font-weight:bold" if word == "bold" else f"color:{_COLOURS[word]}" for word in style.split())


def _attribute(*css: str) -> str:
    known = ";".join(filter(None, css))
    return f' style="{known}"' if known else ""


PageWriter = Callable[[Any, Page], None]
_PAGES: dict[str, PageWriter] = {}


def register_page(subject: str) -> Callable[[PageWriter], PageWriter]:
    """Add a report for people of `subject` to the registry: its text, and the same for notebooks."""

    def add(writer: PageWriter) -> PageWriter:
        def write_text(result: Any, view: View, out: TextIO) -> None:
            writer(result, TextPage(view, out))

        register(subject, "text")(write_text)
        _PAGES[subject] = writer
        return writer

    return add


def html_of(subject: str, result: Any, view: View) -> str:
    """What `--format text` says of a result, as a part of an HTML document."""
    load_forms()
    page = HtmlPage(view)
    _PAGES[subject](result, page)
    return page.html()
