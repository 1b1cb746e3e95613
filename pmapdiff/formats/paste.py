"""Mapping tables in a text: saved as they were printed, or pasted into a ticket between prompts, fences and prose.

What stands around a table is left out, and said. What stands within one and is no part of it is an error: a table that goes on behind a line
that nothing explains is damaged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import LineForm, Parse, SavedTable, Taken, Text
from pmapdiff.formats.dates import date_in
from pmapdiff.formats.lines import NO_FOOTER, NO_LAST_END, behind_blank_lines, has_end, is_blank, part_warning, quote
from pmapdiff.formats.sections import LEFT_OUT_BY_GREP
from pmapdiff.formats.tidy import is_frame
from pmapdiff.model import MappingTable

# Tables are looked for piece by piece, so that a text with one form in it is not searched for all others to its end.
_SHORTEST_PIECE, _LONGEST_PIECE, _SLACK = 1 << 10, 1 << 16, 1 << 14
# Of ext4 and XFS with pages of 4 KiB: 16 TiB.
_LARGEST_FILE = 1 << 44
_PID_OF_COMMAND = re.compile(rb"/proc/([1-9]\d{0,9})/(?:task/\d+/)?(?:smaps|maps)\b")
# What is left of a row that was cut: it begins with an address, or has perms in it.
_PIECE_OF_ROW = re.compile(
    rb"(?:0x)?(?=[a-f]*[0-9])[0-9a-f]{5,16}(?:[-\s]|$)|.*(?:^|\s)[r-][w-][x-][sp-]-?(?:\s|$)|[ \t]+0x[0-9a-f]{5,16}(?:[-\s]|$)"
)


def tables_in(text: Text, forms: Iterable[LineForm], given: Parse) -> list[SavedTable]:
    """The tables in a text; none if there is none. Raises FormatError if one is damaged, or cut off and no `partial` ones are wanted.

    A pasted text may be cut anywhere: of one that shows other signs of having been pasted, the cut row is left out, and that is said.
    """
    reader = _Reader(text, list(forms), given)
    tables = list(reader.tables())
    if tables and (warning := reader.left_out()):
        tables[0] = replace(tables[0], warnings=(*tables[0].warnings, warning))
    return tables


@dataclass(slots=True)
class _Between:
    """What stands between two tables (or before the first, or behind the last)."""

    lines: int = 0
    first: int | None = None
    second: int | None = None
    """Where the first and the second line begin that are neither blank nor a frame nor a date, and how many of those there are."""
    stray: int | None = None
    """Where the first line begins that belongs into a table, without one."""
    separated: bool = False
    """Whether there is a blank line, a frame or a date before the stray one."""
    touches: bool = False
    """Whether the last line, next to the table that follows, is a stray one or a piece of a row."""
    hole: int | None = None
    """Where grep says that it has left out lines of the table before, and whose that is."""
    whose: int | None = None


class _Reader:
    def __init__(self, text: Text, forms: list[LineForm], given: Parse) -> None:
        self._text, self._forms, self._given = text, forms, given
        self._pasted = self._framed = False
        self._left_out = 0
        self._first_left_out: int | None = None
        self._moment_us: int | None = None
        self._pid: int | None = None
        # Where each form was last seen to begin, and up to where it was looked for.
        self._known = [(-1, 0)] * len(forms)

    def tables(self) -> Iterator[SavedTable]:
        text, position = self._text, 0
        previous: tuple[LineForm, Taken] | None = None
        pending: SavedTable | None = None
        while True:
            found = self._next(position)
            start = len(text.data) if found is None else found[0]
            between = self._look_between(position, start)
            if pending is not None and previous is not None:
                broken = self._damage(previous, between, found)
                if broken is not None:
                    if not self._given.partial:
                        raise broken
                    yield self._cut(pending, previous[1].end, broken.reason, say=True)
                    return
                yield self._ended(pending, previous, between)
                pending = None
            if found is None:
                break
            _, form, taken = found
            table = replace(taken.table, taken_at_us=taken.table.taken_at_us or self._moment_us, pid=taken.table.pid or self._pid)
            self._pid = None
            if not taken.begun and self._lost_digits(table):
                table = replace(table, table=MappingTable(table.table.mappings[1:]))
                table = self._cut(table, start, "the beginning of this row is missing")
            elif between.touches and not taken.begun:
                table = self._cut(table, start, "the beginning of the table is missing")
            previous, pending, position = (form, taken), table, taken.end
            self._given.progress(position / len(text.data))

    def _lost_digits(self, table: SavedTable) -> bool:
        """Whether the first digits of the first address are missing, so that the mapping seems to span the address space.

        No file is that large. Memory may be: the shadow of a sanitizer; so it has to be in a text that was pasted.
        """
        mappings = table.table.mappings
        if len(mappings) < 2 or mappings[0].is_sum or mappings[0].end - mappings[0].start < _LARGEST_FILE:
            return False
        return mappings[0].is_file or self._pasted

    def left_out(self) -> str | None:
        """A sentence about the lines that are no part of a table; None without any."""
        if self._first_left_out is None:
            return None
        line = quote(self._text.line(self._first_left_out)[0])
        number = self._text.number(self._first_left_out)
        if self._left_out == 1:
            return f"line {number} is no part of a table and was left out: {line}"
        return f"{self._left_out:,} lines that are no part of a table were left out, the first is line {number}: {line}"

    def _next(self, position: int) -> tuple[int, LineForm, Taken] | None:
        """Where the next table begins, and that table."""
        data, piece = self._text.data, _SHORTEST_PIECE
        while (position := behind_blank_lines(data, position)) < len(data):
            begins = self._begins(position, min(position + piece, len(data)))
            for start, number in begins:
                if start != begins[0][0]:
                    break
                # For another form the same line may begin a table where it does not for this one.
                taken = self._forms[number].take(self._text, start)
                if taken is not None:
                    return start, self._forms[number], taken
            if begins:
                position, piece = self._text.line(begins[0][0])[1], _SHORTEST_PIECE
            else:
                # To the start of a line: a pattern that begins with ^ matches nowhere else.
                position, piece = data.find(b"\n", position + piece - 1) + 1 or len(data), min(2 * piece, _LONGEST_PIECE)
        return None

    def _begins(self, position: int, limit: int) -> list[tuple[int, int]]:
        """Where in a piece of the text each form may begin, and its number, the first one first."""
        data = self._text.data
        here = [(position, number) for number, form in enumerate(self._forms) if form.begins.match(data, position)]
        if here:
            return here
        found = [(self._begin_of(number, position, limit), number) for number in range(len(self._forms))]
        return sorted((start, number) for start, number in found if start is not None)

    def _begin_of(self, number: int, position: int, limit: int) -> int | None:
        """Where a form may begin next, in a piece of the text. No part is searched twice: in some texts most lines look like beginnings."""
        begin, searched = self._known[number]
        searched = max(position, searched)
        if begin < position and searched < limit:
            ahead = max(limit, searched + _SLACK)
            match = self._forms[number].begins.search(self._text.data, searched, ahead + _SLACK)
            begin = match.start() if match is not None and match.start() < ahead else -1
            self._known[number] = begin, ahead if begin < 0 else begin + 1
        return begin if position <= begin < limit else None

    def _look_between(self, start: int, end: int) -> _Between:
        """Look at the lines from `start` to `end`, which are no part of a table."""
        between, position, text = _Between(), start, self._text
        while position < end:
            line, following = text.line(position)
            between.touches = False
            if not line.strip():
                between.separated = between.separated or between.stray is None
                following = behind_blank_lines(text.data, following)
            elif match := LEFT_OUT_BY_GREP.fullmatch(line):
                between.hole = position
                named = _PID_OF_COMMAND.search(match["path"] or match["old"])
                between.whose = int(named[1]) if named else None
            elif is_frame(line):
                self._pasted = self._framed = True
                between.separated = between.separated or between.stray is None
            elif (moment_us := date_in(line)) is not None:
                self._moment_us = moment_us
                between.separated = between.separated or between.stray is None
            else:
                if any(form.belongs.match(line) for form in self._forms):
                    between.stray = position if between.stray is None else between.stray
                    between.touches = True
                else:
                    between.touches = _PIECE_OF_ROW.match(line) is not None
                if between.first is None:
                    between.first = position
                elif between.second is None:
                    between.second = position
                between.lines += 1
                command = _PID_OF_COMMAND.search(line)
                self._pid = int(command[1]) if command else None
            position = following
        if between.first is not None:
            self._pasted = self._pasted or between.first != text.unfinished
            self._left_out += between.lines
            if self._first_left_out is None:
                self._first_left_out = between.first
        return between

    def _damage(self, previous: tuple[LineForm, Taken], between: _Between, found: tuple[int, LineForm, Taken] | None) -> FormatError | None:
        """What is wrong with the line behind a table if the table goes on behind it; None if it does not."""
        form, taken = previous
        if between.stray is not None and not between.separated:
            return self._text.error(taken.end, taken.reason or f"not a line of {form.name}: {quote(self._text.line(taken.end)[0])}")
        if found is None or found[1] is not form or found[2].begun:
            return None
        last, next_one = taken.table.table.mappings[-1:], found[2].table.table.mappings[:1]
        if not last or not next_one or (between.separated and between.first is None):
            return None
        if next_one[0].start >= last[0].end:
            goes_on = between.first == taken.end
        else:
            # What follows at lower addresses is of another process if this one was at its end.
            goes_on = taken.end == found[0] and not has_end(taken.table.table.mappings)
        return self._text.error(taken.end, taken.reason or f"not a line of {form.name}: {quote(self._text.line(taken.end)[0])}") if goes_on else None

    def _ended(self, table: SavedTable, previous: tuple[LineForm, Taken], between: _Between) -> SavedTable:
        """A table, and what is missing at its end."""
        form, taken = previous
        text, why, position = self._text, taken.cut, taken.end
        if between.hole is not None and between.whose in (None, table.pid or between.whose):
            self._pasted = True
            table = replace(table, pid=table.pid or between.whose)
            table = self._cut(table, between.hole, "grep has left out rows that are no text in its locale: use grep -a")
        if why is None and between.first == position:
            line = text.line(position)[0]
            if position == text.unfinished or _PIECE_OF_ROW.match(line):
                why = f"line {text.number(position)} is cut off: {quote(line)}"
                self._left_out -= 1
                self._first_left_out = between.second if self._first_left_out == position else self._first_left_out
        if why is None and self._breaks_off(table, position):
            why = "the last line does not end, nor does the table"
            # A name may be cut off without anything that shows it.
            table = replace(table, table=MappingTable(table.table.mappings[: len(table.table.mappings) - (form.name != "smaps")]))
        if why is None:
            return table
        at_end = position == text.unfinished or is_blank(text.data, position, len(text.data))
        pasted = self._framed if form.in_report else self._pasted
        if at_end and not pasted and not self._given.partial:
            number = text.number(max(0, min(position, len(text.data) - 1)))
            raise FormatError(f"the file was cut off here ({why}): --partial takes what is whole", source=text.source, line=number)
        if not table.table.mappings:
            raise FormatError(f"nothing of this table is whole: {why}", source=text.source, line=text.number(min(position, len(text.data) - 1)))
        return self._cut(table, position, why)

    def _breaks_off(self, table: SavedTable, end: int) -> bool:
        """Whether a table that ends with the text ends there because that was cut off: in a line, and without what such a table ends with."""
        if self._text.unfinished is None or end < len(self._text.data) or table.table.has_sums:
            return False
        return NO_FOOTER in table.warnings or (NO_LAST_END in table.warnings and not has_end(table.table.mappings))

    def _cut(self, table: SavedTable, position: int, why: str, *, say: bool = False) -> SavedTable:
        """A table that is not whole."""
        number = self._text.number(min(position, len(self._text.data) - 1))
        reason = f"line {number}: {why}" if say or not why.startswith("line ") else why
        partial = reason if table.partial is None else f"{table.partial}; {reason}"
        return replace(table, partial=partial, warnings=(*table.warnings, part_warning(reason)))
