"""A course as lines of text: bars, what happened below them, where one is and which pair is compared."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.cells import cell_len

from pmapdiff.browse.course import NO_TABLE, NOT_RECORDED, NOT_WHOLE, PAUSE, RESTART, Column, Course, Place, columns_of, title_of, value_words
from pmapdiff.report.sparkline import chart, scale
from pmapdiff.report.table import Cell, cut_end
from pmapdiff.units import format_moment_short

Pieces = list[Cell]

_LABEL = 9
_MARK, _HERE, _FROM, _TO = "◆", "▲", "├", "┤"
SIGNS = (
    (RESTART, "restarted, or became another program by exec"),
    (NO_TABLE, "no table: denied, vanished or timed out"),
    (NOT_WHOLE, "torn, in part, or maps only"),
    (NOT_RECORDED, "not recorded in this snapshot"),
    (PAUSE, "a gap: no snapshot for much longer than usual"),
    (_MARK, "marked"),
    (_HERE, "where you are"),
    (f"{_FROM}─{_TO}", "from the first of the pair that is compared to the second"),
)
# Where one is stands out; what is not within the pair steps back.
_HERE_STYLE = "bold cyan"
_STYLES = {RESTART: "magenta", NO_TABLE: "red", NOT_WHOLE: "yellow", NOT_RECORDED: "yellow", PAUSE: "dim"}


def figure_line(figures: Sequence[str], chosen: str) -> Pieces:
    """`1 Footprint  2 Rss  …`, the one that is shown standing out."""
    pieces: Pieces = []
    for number, figure in enumerate(figures, 1):
        pieces += [Cell(f"[{number} {title_of(figure)}]", "bold") if figure == chosen else Cell(f" {number} {title_of(figure)} "), Cell(" ")]
    return pieces


def timeline(course: Course, place: Place, figure: str, width: int, height: int) -> list[Pieces]:
    """So many lines of bars, a line of what happened, a line of marks, and one of times. Lines are at most `width` columns."""
    window = place.window(course)
    columns = columns_of(course, window, max(width - _LABEL - 1, 8))
    here, (first, last) = place.index(course), place.pair(course)
    values = [column.value(course, figure) for column in columns]
    least, most = scale(values)
    known = any(value is not None for value in values)
    labels = [""] * height
    if known:
        labels[-1] = value_words(least, figure)
        labels[0] = value_words(max(value for value in values if value is not None), figure) if least != most else ""
    styles = [_HERE_STYLE if here in column.places else "" if _holds(column, first, last) else "dim" for column in columns]
    lines = [[Cell(f"{label:>{_LABEL}} "), *_runs(text, styles)] for label, text in zip(labels, chart(values, height), strict=True)]
    if not known:
        lines[-1] = [Cell(" " * (_LABEL + 1)), Cell(f"{title_of(figure)} is not known of any of these snapshots", "yellow")]
    # Of a snapshot that has several columns, below the first.
    signs = [" " if column == before else column.sign(course) or " " for before, column in zip([None, *columns], columns, strict=False)]
    lines.append([Cell(" " * (_LABEL + 1)), *_runs("".join(signs), [_STYLES.get(sign, "") for sign in signs])])
    lines.append([Cell(" " * (_LABEL + 1) + _marks(course, place, columns, here, first, last))])
    refs = [course.moments[window[0]].ref, course.moments[window[-1]].ref]
    left, right = (format_moment_short(ref.taken_at_us) for ref in refs)
    room = len(columns) - len(left) - len(right)
    lines.append([Cell(cut_end(" " * (_LABEL + 1) + (f"{left}{' ' * room}{right}" if room > 1 else f"{left} to {right}"), width), "dim")])
    return lines


def _holds(column: Column, first: int, last: int) -> bool:
    return any(first <= place <= last for place in column.places)


def _runs(text: str, styles: Sequence[str]) -> Pieces:
    """A line whose characters have each a style, as pieces of one style."""
    pieces = []
    for style, group in groupby(zip(text, styles, strict=True), key=lambda item: item[1]):
        pieces.append(Cell("".join(character for character, _ in group), style))
    return pieces


def _marks(course: Course, place: Place, columns: Sequence[Column], here: int, first: int, last: int) -> str:
    marked = {index for mark in place.marks if (index := course.place(mark)) is not None}
    line = []
    before, after, at = (_middle(columns, index) for index in (first, last, here))
    marks = {_middle(columns, index) for index in marked}
    for number in range(len(columns)):
        if number in marks:
            line.append(_MARK)
        elif number == at:
            line.append(_HERE)
        elif number == before:
            line.append(_FROM)
        elif number == after:
            line.append(_TO)
        else:
            line.append("─" if before is not None and after is not None and before < number < after else " ")
    return "".join(line).rstrip()


def _middle(columns: Sequence[Column], place: int) -> int | None:
    """The column in the middle of those of a place; None if it is not shown."""
    found = [number for number, column in enumerate(columns) if place in column.places]
    return found[len(found) // 2] if found else None


def fitted(pieces: Pieces, width: int) -> Pieces:
    """Pieces of one line in at most so many columns."""
    found, room = [], width
    for piece in pieces:
        text = cut_end(piece.text, room)
        found.append(Cell(text, piece.style))
        room -= cell_len(text)
        if room <= 0:
            break
    return found
