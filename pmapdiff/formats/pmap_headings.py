"""Which columns a table of pmap -X, -XX or -C has.

Only Address, Perm, Offset, Device, Inode and Mapping are translated, so the columns are known by the kernel's names of the counters in the
heading, and those before them by their shape. With -q there are no names: then only what stands at the same place on every kernel is known.
Facts about the output are from src/pmap.c, `print_extended_maps` (procps-ng 3.3.3 to 4.0.4), about the order of the counters from
fs/proc/task_mmu.c, `show_smap` (2.6.25 to 6.18).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pmapdiff.formats.base import Text
from pmapdiff.formats.pmap_common import ADDRESS, PROCESS_LINE, Opening, opening
from pmapdiff.model import COUNTER_INDEX
from pmapdiff.text import decode

SIZE, _FLAGS = "Size", "VmFlags"
KNOWN = frozenset((SIZE, *COUNTER_INDEX)) - {"Dirty"}
# So many rows are looked at to learn which columns there are, and no more columns than that are taken for some: 6.18 has 25.
_LOOKED_AT, _MOST_COLUMNS = 64, 100

_PERMS, _OFFSET, _DEVICE = rb"[r-][w-][x-][sp]", rb"[0-9a-f]{8,16}", rb"[0-9a-f]{2,8}:[0-9a-f]{2,8}"
# The rows of -x have their mode behind the numbers (also behind those that are too long for one), and headings that look alike.
_MODE_BEHIND = rb"(?:[ \t]{1,99}(?:\d+K?|-))+[ \t]{1,99}[r-][w-][x-][sp-]-?[ \t\n]"
ANY_ROW = re.compile(rb"^[ \t]*" + ADDRESS + rb"(?!" + _MODE_BEHIND + rb")[ \t]{1,99}[^ \t\n][^\n]*", re.MULTILINE)
_FULL_ROW = rb"[ \t]*%b[ \t]{1,99}%b[ \t]{1,99}%b[ \t]{1,99}%b[ \t]{1,99}\d{1,20}[ \t]{1,99}\d{1,15}(?=[ \t\n])" % (ADDRESS, _PERMS, _OFFSET, _DEVICE)
# A row that needs no heading to be known.
FULL_ROW = re.compile(_FULL_ROW)
_NAMES = b"|".join(sorted((name.encode() for name in (*KNOWN, _FLAGS)), reverse=True))
_HEADING = rb"[^\d\n]{1,300}?[ \t](?:" + _NAMES + rb")[ \t\n]"
_HEADING_LINE = re.compile(_HEADING)
# Up to 3.3.12 nothing stands between the headings of the flags and of the names.
_GLUED = re.compile(rb"[ \t]" + _FLAGS.encode() + rb"(?=[^ \t])")
_NUMBER = re.compile(rb"\d{1,20}")
BEGINS = re.compile(
    rb"^(?:" + PROCESS_LINE + rb"|(?=" + _HEADING + rb")[^\n]*\n(?=[ \t]*" + ADDRESS + rb"[ \t])|" + _FULL_ROW + rb")",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Columns:
    """The columns of a table: what its rows look like, and which counters they have. An empty name is one that nobody knows."""

    row: re.Pattern[bytes]
    counters: tuple[str, ...]
    has_flags: bool
    has_names: bool
    guessed: bool


def opens(text: Text, position: int) -> Opening | None:
    """The opening of the table at a position, if one of this form begins there."""
    found = opening(text, position, lambda text, position: ANY_ROW.match(text.data, position) is not None)
    if found is None:
        return None
    if found.heading is None:
        return found if FULL_ROW.match(text.data, found.rows) else None
    return found if _HEADING_LINE.match(found.heading + b"\n") else None


def columns_of(heading: bytes | None, rows: Sequence[list[bytes]]) -> Columns | None:
    """The columns that the first rows of a table have under its heading; None if the two do not fit."""
    place, pattern = 1, rb"^[ \t]*(?P<start>" + ADDRESS + rb")"
    for name, shape in (("perms", _PERMS), ("offset", _OFFSET), ("device", _DEVICE)):
        if _most(len(row) > place and re.fullmatch(shape, row[place]) is not None for row in rows):
            place, pattern = place + 1, pattern + rb"[ \t]{1,99}(?P<%b>%b)" % (name.encode(), shape)
    # A name may begin with a number, and a row may be damaged: both are few.
    runs = Counter(next((i for i, cell in enumerate(row[place:]) if not _NUMBER.fullmatch(cell)), len(row) - place) for row in rows)
    numbers = min(runs.most_common(1)[0][0], _MOST_COLUMNS)
    has_device = b"?P<device>" in pattern
    if heading is None:
        has_inode, has_flags, has_names = True, _most(_is_flag(row[place + numbers :]) for row in rows), True
        names = _names_by_place([row[place + 1 : place + numbers] for row in rows], has_flags=has_flags)
    else:
        words = [decode(word) for word in _GLUED.sub(b" %b " % _FLAGS.encode(), heading).split()]
        known = [i for i, word in enumerate(words) if word in KNOWN or word == _FLAGS]
        first, has_flags = known[0], _FLAGS in words
        behind = words.index(_FLAGS) if has_flags else len(words)
        least = (behind if has_flags else known[-1] + 1) - first
        # What stands behind the last counter that is known is a new counter, or the heading of the names.
        most = least if has_flags or words[-1] in KNOWN else behind - first - 1
        has_inode = numbers > least if has_device else numbers > most
        names = words[first : first + min(numbers - has_inode, most)]
        if len(names) < least:
            return None
        has_names = len(words) > first + len(names) + has_flags
    if has_inode:
        pattern += rb"[ \t]{1,99}(?P<inode>\d{1,20})"
    pattern += rb"[ \t]{1,99}(\d{1,15})" * len(names) + rb"(?P<rest>(?:[ \t][^\n]*)?)$"
    return Columns(re.compile(pattern, re.MULTILINE), tuple(names), has_flags, has_names, heading is None)


def _is_flag(cells: Sequence[bytes]) -> bool:
    return bool(cells) and len(cells[0]) == 2 and re.fullmatch(rb"[a-z?][a-z0-9?]", cells[0]) is not None


def _most(answers: Iterable[bool]) -> bool:
    counts = Counter(answers)
    return counts[True] > counts[False]


def _names_by_place(rows: Sequence[Sequence[bytes]], *, has_flags: bool) -> list[str]:
    """The names of columns without a heading: the first three of -X are the same on every kernel, and of -XX, but for the sizes of pages."""
    names = [SIZE, "Rss", "Pss"]
    numbers = [[int(cell) for cell in row if _NUMBER.fullmatch(cell)] for row in rows]
    if has_flags and _most(len(row) > 2 and 0 < row[1] == row[2] for row in numbers):
        names[1:1] = ["KernelPageSize", "MMUPageSize"]
    rss, pss = names.index("Rss"), names.index("Pss")
    if not _most(len(row) > pss and row[0] >= row[rss] >= row[pss] for row in numbers):
        names = names[:1]
    count = max(len(row) for row in rows)
    return (names + [""] * count)[:count]


def first_rows(text: Text, position: int) -> list[list[bytes]]:
    """The cells of the first rows."""
    rows: list[list[bytes]] = []
    while len(rows) < _LOOKED_AT and (match := ANY_ROW.match(text.data, position)) is not None:
        # Of one that is cut off nothing can be learnt.
        if rows and match.end() + 1 == len(text.data) and text.unfinished is not None:
            break
        rows.append(match[0].split())
        position = match.end() + 1
    return rows
