"""A list on the screen: a header, rows under a cursor, and no more of them drawn than there is room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from pmapdiff.browse.keys import ROWS, Key
from pmapdiff.report.table import Cell, Columns, Cut, Line, Sheet, cells_of, cut_end, shorten

_CURSOR = Style(reverse=True)
EMPTY = Sheet((), ())


def bindings(keys: Sequence[Key]) -> list[BindingType]:
    """What Textual is to bind. Names of strangers are never in it."""
    return [Binding(",".join(key.names), key.action, key.does, show=False) for key in keys]


def strip(pieces: Sequence[Cell], width: int, over: Style | None = None) -> Strip:
    """A line of text that is safe to print, cut and filled to the width; nothing in it is taken for markup."""
    segments = []
    for piece in pieces:
        # Colours would be those of the ground there.
        segments.append(Segment(piece.text, over or (Style.parse(piece.style) if piece.style else Style.null())))
    return Strip(segments, sum(cell_len(piece.text) for piece in pieces)).adjust_cell_length(width, over or Style.null())


class Rows(Widget, can_focus=True, inherit_bindings=False):
    """A sheet with a cursor, which stays on its row when the sheet is drawn anew. Without `cursor` it is a text to be read."""

    DEFAULT_CSS = "Rows { height: 1fr; }"
    BINDINGS = bindings(ROWS)

    class Opened(Message):
        """Enter was pressed on a row."""

        def __init__(self, line: Line) -> None:
            super().__init__()
            self.line = line

    class Moved(Message):
        """The cursor is elsewhere, or the rows are others."""

    def __init__(self, *, cursor: bool = True) -> None:
        super().__init__()
        self._has_cursor = cursor
        self._sheet = EMPTY
        self._columns = Columns()
        self._cut: Cut = shorten
        self._at = 0
        self._top = 0
        self.note = ""

    @property
    def lines(self) -> tuple[Line, ...]:
        """What it shows."""
        return self._sheet.lines

    @property
    def header(self) -> tuple[str, ...]:
        """The titles of the columns."""
        return self._sheet.header

    @property
    def line(self) -> Line | None:
        """The one under the cursor."""
        return self._sheet.lines[self._at] if self._sheet.lines else None

    @property
    def position(self) -> str:
        """`12/250`."""
        places = [place for place, line in enumerate(self._sheet.lines) if line.row]
        return f"{sum(place <= self._at for place in places):,}/{len(places):,}" if places else ""

    def show(
        self,
        sheet: Sheet,
        *,
        same: Callable[[object, object], bool] | None = None,
        note: str = "",
        cut: Cut = shorten,
    ) -> None:
        """Show another sheet. With `same`, which says of what two rows are of whether it is the same, the cursor stays on its row, if it is there."""
        old, offset = self.line, self._at - self._top
        self._sheet, self._cut, self.note = sheet, cut, note
        rows = [cells_of(line.row) for line in sheet.lines if not self._is_text(line)]
        self._columns = Columns.of(sheet.columns, rows, max(self.size.width, 1))
        if same is None:
            self._at, self._top = next((place for place, line in enumerate(sheet.lines) if line.of is not None), 0), 0
        elif old is not None and old.of is not None:
            found = (place for place, line in enumerate(sheet.lines) if line.of is not None and same(old.of, line.of))
            self._at = next(found, self._at)
        self._top = max(0, self._at - offset)
        self.action_move(0)

    def go_to(self, wanted: Callable[[object], bool]) -> None:
        """Move the cursor to the first row of which this holds."""
        self._at = next((place for place, line in enumerate(self._sheet.lines) if line.of is not None and wanted(line.of)), self._at)
        self.action_move(0)

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.size.width
        number = y - self._head
        if number < 0:
            return strip(self._columns.pieces([Cell(title, "bold") for title in self._sheet.header], self._cut), width)
        number += self._top
        if number >= len(self._sheet.lines):
            return strip([Cell(cut_end(self.note, width), "yellow")] if not self._sheet.lines and y <= self._head else [], width)
        line = self._sheet.lines[number]
        over = _CURSOR if self._has_cursor and number == self._at else None
        return strip(cells_of(line.row) if self._is_text(line) else self._columns.pieces(cells_of(line.row), self._cut), width, over)

    def _is_text(self, line: Line) -> bool:
        """Whether it is a sentence across all columns."""
        return len(line.row) == 1 < len(self._sheet.header)

    @property
    def _head(self) -> int:
        return 1 if any(self._sheet.header) else 0

    @property
    def _room(self) -> int:
        return max(1, self.size.height - self._head)

    def action_move(self, by: int) -> None:
        """Move the cursor, past rules; or the text."""
        lines = self._sheet.lines
        last = len(lines) - 1
        if not self._has_cursor:
            self._top = max(0, min(self._top + by, len(lines) - self._room))
            self._at = max(0, min(self._top + self._room - 1, last))
        else:
            at = max(0, min(last, self._at + by))
            way = -1 if by < 0 else 1
            while 0 <= at <= last and not lines[at].row:
                at += way
            self._at = at if 0 <= at <= last else self._at
            self._top = max(0, self._at - self._room + 1, min(self._top, self._at, len(lines) - self._room))
        self.refresh()
        self.post_message(self.Moved())

    def action_page(self, by: int) -> None:
        """Move by what fits on the screen."""
        self.action_move(by * max(1, self._room - 1))

    def action_open(self) -> None:
        """Open the row under the cursor."""
        line = self.line
        if self._has_cursor and line is not None and line.of is not None:
            self.post_message(self.Opened(line))

    def on_resize(self, _event: events.Resize) -> None:
        """Keep the cursor in sight."""
        self.action_move(0)
