"""What all forms of pmap's output share: what stands before the rows, and where those can be.

First comes whose they are, then the columns' headings in any language.
Facts about the output are from src/pmap.c (procps 3.2.0 to procps-ng 4.0.4, SUSE's patches to it), procps/pmap.c of busybox and
toys/other/pmap.c of toybox.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pmapdiff.formats.base import SavedTable, Taken, Text
from pmapdiff.formats.lines import NO_FOOTER, NO_LAST_END, behind_blank_lines, is_blank, quote
from pmapdiff.formats.smaps import BACKWARDS
from pmapdiff.model import MappingTable
from pmapdiff.model.mapping import ADDRESS_LIMIT

# Numbers are bounded, because int() of very many digits is slow or refused. Addresses are padded to the width of their column, which is as many
# bytes as its heading has: 27 in Georgian.
ADDRESS = rb"[0-9a-f]{8,64}"
_PROCESS = re.compile(rb"([1-9]\d{0,9}):(?:[ \t]+(.*))?")
_PROCESS_AT = re.compile(rb"[1-9]\d{0,9}:")
# As procps prints it, and nobody's prose.
_PROCPS_PROCESS = re.compile(rb"([1-9]\d{0,9}):   (\S.*)")
# The beginnings of tables, to be searched for: the line of a process, or columns' headings right above a row. No other line consists of
# three words and more without a digit or a prompt, and is aligned.
PROCESS_LINE = rb"[1-9]\d{0,9}:(?:[ \t][^\n]*)?\n"
HEADING_LINE = rb"(?=[^ \t\n][^\n]{0,200}(?:  |\t))(?:[^\d\s$#%>:=/.,;]{1,60}[ \t]{1,60}){3,12}[^\d\s$#%>:=/.,;]{0,60}\n"
_DIGIT = re.compile(rb"\d")
_PIECE_OF_ROW = re.compile(rb"[ \t]*[0-9a-f]{5}")
DASHES = re.compile(rb"[ \t]*-[- \t]*")
# No Linux has smaller pages.
_PAGE_BYTES = 4096


class Opening(NamedTuple):
    """The lines of a table before its rows, and where those begin."""

    pid: int | None
    command: bytes | None
    heading: bytes | None
    rows: int

    @property
    def begun(self) -> bool:
        """Whether the table begins here, and not before."""
        return self.pid is not None or self.heading is not None


# Of each form that is called pmap, what finds the opening of the table at a position of a text, if there is one.
OPENS: dict[str, Callable[[Text, int], Opening | None]] = {}


def opening(text: Text, position: int, begins: Callable[[Text, int], bool], called: str | None = None) -> Opening | None:
    """The opening of the table at a position; `begins` says whether its rows begin at one. None if no table does.

    Raises FormatError if the first row is damaged: a piece of one between the opening and the second. What it is a row of is `called`, None
    if `begins` takes nearly everything for a row.
    """
    pid = command = heading = None
    match = _PROCESS.fullmatch(text.line(position)[0])
    if match is not None:
        pid, command = int(match[1]), match[2] or b""
        position = next_line(text, position)
        if _PROCESS_AT.match(text.data, position):
            return None
    if position < len(text.data) and not begins(text, position) and not _DIGIT.search(line := text.line(position)[0]):
        heading = line
        position = next_line(text, position)
    if position < len(text.data) and begins(text, position):
        return Opening(pid, command, heading, position)
    is_damaged = called is not None and pid is not None and position < len(text.data) and _PIECE_OF_ROW.match(text.data, position) is not None
    if is_damaged and (second := next_line(text, position)) < len(text.data) and begins(text, second):
        # No paste is cut between its opening and its rows.
        raise text.error(position, f"not a row of {called}: {quote(text.line(position)[0])}")
    return None


def next_line(text: Text, position: int) -> int:
    """Where the next line begins that is not blank."""
    return behind_blank_lines(text.data, text.line(position)[1])


@dataclass
class Memory:
    """What is remembered of a text: the processes of which pmap has printed no more than their line, and where a table of each form ended.

    procps since 3.3.11 prints it of a process that it may not read, -X and -XX of kernel threads, too. Alone it is no table, next to a table it
    says something.
    """

    last_end: dict[str, int] = field(default_factory=dict)
    misfits: dict[str, int] = field(default_factory=dict)
    """Where the line begins that the last table did not go on with. It is damaged, and begins no other."""
    totals: dict[str, int] = field(default_factory=dict)
    """Those of the last table of -X, by its columns: some versions add them to those of the next."""
    _followed: dict[str, range] = field(default_factory=dict)

    @staticmethod
    def of(text: Text) -> Memory:
        """What is remembered of this text."""
        memory: Memory = text.notes.setdefault("pmap", Memory())
        return memory

    def take_unreadable(self, text: Text, position: int, form: str) -> Taken | None:
        """The process at a position if it has no table, but stands behind or before one of this form."""
        line, end = text.line(position)
        match = _PROCPS_PROCESS.fullmatch(line)
        if match is None or not (self._stands_behind(text, position, form) or self._stands_before(text, position, form)):
            return None
        if any(opens(text, position) is not None for opens in OPENS.values()):
            return None
        self.last_end[form] = end
        pid = int(match[1])
        warning = f"pid {pid}: there is no mapping below it; pmap could not read it, or it is a kernel thread"
        table = SavedTable(MappingTable(()), form, text.source, pid, match[2], (warning,), partial="pmap could not read its mappings")
        return Taken(table, end, begun=True)

    def _stands_behind(self, text: Text, position: int, form: str) -> bool:
        end = self.last_end.get(form)
        return end is not None and end <= position and is_blank(text.data, end, position)

    def _stands_before(self, text: Text, position: int, form: str) -> bool:
        """Whether nothing but the lines of other processes is between this one and a table."""
        seen = self._followed.get(form)
        if seen is None or position >= seen.stop:
            last = position
            while (end := text.line(last)[1]) < len(text.data) and _PROCPS_PROCESS.fullmatch(text.line(end)[0]):
                last = end
            # Empty if no table follows; where it stops is how far was looked.
            seen = self._followed[form] = range(last + 1 if OPENS[form](text, last) is None else position, last + 1)
        return position in seen


def trouble_with(start: int, end: int, previous: tuple[int, int] | None) -> str | None:
    """What is wrong with the place of a row behind the previous one; None if a table can have it.

    As of maps, a torn copy goes back by what was merged with its neighbour meanwhile.
    """
    if start == end or (start | end) % _PAGE_BYTES:
        return "an address or size that is no whole number of pages"
    if end > ADDRESS_LIMIT:
        return "address and size go beyond 64 bits"
    return BACKWARDS if previous is not None and (start == previous[0] or (start < previous[0] and end <= previous[0])) else None


def what_may_be_missing(text: Text, end: int, head: Opening, *, has_footer: bool) -> Iterator[str]:
    """Sentences about a table with this opening that ends here. pmap always prints the first line, and with headings a footer."""
    if not head.begun:
        yield "no first line: the beginning may be missing" if has_footer else "neither a first line nor a footer: beginning and end may be missing"
    elif not has_footer and head.heading is not None:
        yield NO_FOOTER
    elif not has_footer and text.unfinished is not None and end == len(text.data):
        yield NO_LAST_END
