"""Every key, once: what the screens bind, what help lists and what the documents must name."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """A key: its names as Textual has them, as people write it, the action, and what it does. `hint` is for the last line of the screen."""

    names: tuple[str, ...]
    shown: str
    action: str
    does: str
    hint: str = ""


ROWS = (
    Key(("up", "k"), "↑ k", "move(-1)", "one row up"),
    Key(("down", "j"), "↓ j", "move(1)", "one row down"),
    Key(("pageup",), "PgUp", "page(-1)", "one page up"),
    Key(("pagedown", "space"), "PgDn Space", "page(1)", "one page down"),
    Key(("home", "g"), "Home g", "move(-1000000000)", "the first row"),
    Key(("end", "G"), "End G", "move(1000000000)", "the last row"),
    Key(("enter",), "Enter", "open", "open the row: a host, a process, a family, a region", "Enter open"),
)

EVERYWHERE = (
    Key(("escape", "backspace"), "Esc Backspace", "back", "close the search; else one step back"),
    Key(("slash",), "/", "search", "show only rows that hold a text; Enter keeps them so, Esc shows all again", "/ search"),
    Key(("s",), "s", "sort", "sort by the next column; the mark in the header says by which", "s sort"),
    Key(("S",), "S", "reverse", "turn the order round"),
    Key(("question_mark",), "?", "help", "this list of keys", "? help"),
    Key(("q", "ctrl+c"), "q Ctrl-C", "leave", "quit", "q quit"),
)

PROCESS = (
    Key(("left", "h"), "← h", "step(-1)", "the snapshot before"),
    Key(("right", "l"), "→ l", "step(1)", "the next snapshot", "←→ time"),
    Key(("left_square_bracket",), "[", "stride(-1)", "a tenth of what is shown back"),
    Key(("right_square_bracket",), "]", "stride(1)", "a tenth of what is shown on"),
    Key(("less_than_sign",), "<", "step(-1000000000)", "the first snapshot"),
    Key(("greater_than_sign",), ">", "step(1000000000)", "the last snapshot"),
    Key(("m",), "m", "mark", "mark this snapshot: two marks are the pair that is compared; a third begins anew", "m mark"),
    Key(("u",), "u", "unmark", "take the marks away: compared is the first snapshot with this one"),
    Key(("1",), "1", "figure(0)", "timeline of the footprint"),
    Key(("2",), "2", "figure(1)", "timeline of Rss"),
    Key(("3",), "3", "figure(2)", "timeline of dirty memory"),
    Key(("4",), "4", "figure(3)", "timeline of swap"),
    Key(("5",), "5", "figure(4)", "timeline of the size"),
    Key(("6",), "6", "figure(5)", "timeline of the number of mappings"),
    Key(("plus", "equals_sign"), "+", "zoom(1)", "look closer at the snapshots around this one"),
    Key(("minus",), "-", "zoom(-1)", "show twice as many snapshots"),
    Key(("b",), "b", "by", "the ledger by family, or by region", "b by"),
    Key(("v",), "v", "verdict", "what `leaks` says of this process: evidence, and what to do next", "v verdict"),
)

SECTIONS = (("In every list", ROWS), ("Everywhere", EVERYWHERE), ("One process", PROCESS))
