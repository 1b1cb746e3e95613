"""What all screens have in common: a title, a list that can be searched and sorted, and the keys at the bottom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import events
from textual.screen import Screen
from textual.widget import Widget

from pmapdiff.browse.drawing import Pieces, fitted
from pmapdiff.browse.keys import EVERYWHERE, Key
from pmapdiff.browse.rows import Rows, bindings, strip
from pmapdiff.report.table import Cell, wrapped

if TYPE_CHECKING:
    from textual.strip import Strip
    from textual.widgets import Input

    from pmapdiff.browse.app import BrowseApp


class Lines(Widget):
    """Some lines of text, each cut where the screen ends; as high as there are lines."""

    DEFAULT_CSS = "Lines { height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Pieces] = []

    def show(self, lines: Sequence[Pieces]) -> None:
        """Show other lines."""
        if len(lines) != len(self.lines):
            self.styles.height = len(lines)
        self.lines = list(lines)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.size.width
        return strip(fitted(self.lines[y], width) if y < len(self.lines) else [], width)


def _path(crumbs: Sequence[str], room: int) -> str:
    """Where one is, without the beginning if there is no room for it."""
    shown = list(crumbs)
    while len(shown) > 1 and cell_len(" › ".join(shown)) > room:
        shown = ["…", *shown[2:]] if shown[0] == "…" and len(shown) > 2 else ["…", *shown[1:]] if shown[0] != "…" else shown[1:]
    return " › ".join(shown)


class Page(Screen[None], inherit_bindings=False):
    """A screen with one list."""

    BINDINGS = bindings(EVERYWHERE)
    CSS = """
    Page { layout: vertical; }
    #search { border: none; height: 1; padding: 0; background: ansi_default; }
    """
    keys: tuple[Key, ...] = ()
    sorts: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.sort = self.sorts[0] if self.sorts else ""
        self.backwards = False
        self.query_text = ""
        self.rows = Rows()
        self._title_line = Lines()
        self._key_line = Lines()

    @property
    def browser(self) -> BrowseApp:
        """The application."""
        app: BrowseApp = self.app  # type: ignore[assignment]
        return app

    def compose(self) -> Iterator[Widget]:
        """From top to bottom."""
        yield self._title_line
        yield from self.above()
        yield self.rows
        yield self._key_line

    def above(self) -> Iterator[Widget]:
        """What stands above the list."""
        yield from ()

    def crumbs(self) -> list[str]:
        """Where one is, from the store down; safe to print."""
        return [self.browser.place]

    def redraw(self, *, keep: bool = True) -> None:
        """Draw the list anew: as wide as the screen is now, searched and sorted. Without `keep` it is another list."""

    def updated(self) -> None:
        """There is more to be seen than before."""
        self.redraw()
        self.draw_title()

    def draw_title(self) -> None:
        """Draw the first line and the last one."""
        width = self.size.width
        right = "  ".join(part for part in (self.browser.doing, self.rows.position) if part)
        left = fitted([Cell(_path(self.crumbs(), room := max(width - cell_len(right) - 2, 10)), "bold")], room)
        gap = " " * max(2, width - sum(cell_len(piece.text) for piece in left) - cell_len(right))
        self._title_line.show([[*left, Cell(gap + right)]])
        trouble = [[Cell(line, "bold red")] for line in wrapped(self.browser.trouble, width)] if self.browser.trouble else []
        self._key_line.show(trouble or [self._hints(width)])

    def _hints(self, width: int) -> Pieces:
        hints = [key.hint for key in (*self.keys, *EVERYWHERE) if key.hint and (self.sorts or key.action not in ("sort", "search"))]
        searched = [f"/{self.query_text}"] if self.query_text else []
        # How to get help and out is said even where there is no room for anything else.
        while len(hints) > 2 and sum(cell_len(hint) + 2 for hint in (*searched, *hints)) - 2 > width:
            del hints[-3]
        pieces = [Cell(text, "bold yellow") for text in searched]
        for hint in hints:
            key, _, words = hint.partition(" ")
            pieces += [Cell("  " if pieces else ""), Cell(key, "bold"), Cell(f" {words}")]
        return pieces

    def on_mount(self) -> None:
        """The list has the keys."""
        self.rows.focus()
        self.updated()

    def on_resize(self, _event: events.Resize) -> None:
        """Columns are chosen by the width."""
        self.updated()

    def on_rows_moved(self) -> None:
        """Say where the cursor is."""
        self.draw_title()

    # Keys.

    def action_sort(self) -> None:
        """By the next column."""
        if self.sorts:
            self.sort = self.sorts[(self.sorts.index(self.sort) + 1) % len(self.sorts)]
            self.redraw()

    def action_reverse(self) -> None:
        """The other way round."""
        if self.sorts:
            self.backwards = not self.backwards
            self.redraw()

    def action_search(self) -> None:
        """Ask for a text."""
        if not self.sorts or self.query("#search"):
            return
        from textual.widgets import Input

        search = Input(self.query_text, id="search", placeholder="search; Enter keeps it, Esc ends it", select_on_focus=False)
        self.mount(search, before=self._key_line)
        search.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search while it is typed."""
        self.query_text = event.value
        self.redraw()
        self.draw_title()

    def on_input_submitted(self) -> None:
        """Keep what was found."""
        self._end_search()

    def _end_search(self) -> None:
        self.query("#search").remove()
        self.rows.focus()
        self.draw_title()

    def action_back(self) -> None:
        """Close the search, or take it away; else go back."""
        if self.query("#search") or self.query_text:
            self.query_text = ""
            self._end_search()
            self.redraw()
        else:
            self.go_back()

    def go_back(self) -> None:
        """To the screen before; from the first there is none."""
        if len(self.app.screen_stack) > 2:
            self.app.pop_screen()

    def action_help(self) -> None:
        """Every key."""
        from pmapdiff.browse.texts import help_page

        self.app.push_screen(help_page())

    def action_leave(self) -> None:
        """Quit."""
        self.app.exit()
