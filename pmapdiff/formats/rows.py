"""Tables of one row a mapping, in the order of their addresses: what /proc/PID/maps is, and what others print after it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pmapdiff.formats.base import Text
from pmapdiff.formats.lines import NO_END, NO_LAST_END, behind_blank_lines, has_end, overlap_warning, quote
from pmapdiff.formats.smaps import BACKWARDS
from pmapdiff.model import Mapping

Row = Callable[[bytes], Mapping | None]
"""What makes a mapping of a line (without its end), or None if it is no row."""


class Rows(NamedTuple):
    """The rows from a position on, what is odd about them, where the first line begins that is none, and what to say of it (None: the text ends)."""

    mappings: tuple[Mapping, ...]
    warnings: tuple[str, ...]
    end: int
    reason: str | None


def read_rows(text: Text, position: int, row: Row, called: str, skip: re.Pattern[bytes] | None = None) -> Rows:
    """The rows from a position on; `called` says what they are rows of. Between them blank lines and those that are all `skip` are left out."""
    mappings: list[Mapping] = []
    end, overlaps, backwards, reason = position, 0, False, None
    while position < len(text.data):
        line, following = text.line(position)
        mapping = row(line)
        if mapping is None:
            if skip is not None and skip.fullmatch(line):
                end = following
            elif line.strip():
                reason = f"not a row of {called}: {quote(line)}"
                break
            else:
                following = behind_blank_lines(text.data, following)
        else:
            if mappings and mapping.start <= mappings[-1].start:
                # As of smaps, a torn copy goes back by what was merged with its neighbour meanwhile.
                if mapping.end <= mappings[-1].start or mapping.start == mappings[-1].start:
                    reason = BACKWARDS
                    break
                backwards = True
            overlaps += bool(mappings) and mapping.start < mappings[-1].end
            mappings.append(mapping)
            end = following
        position = following
    if backwards:
        mappings.sort(key=lambda m: (m.start, m.end))
    return Rows(tuple(mappings), (overlap_warning(overlaps),) if overlaps else (), end, reason)


def perms_of_letters(letters: bytes, name: bytes) -> str:
    """The permissions where a source has only `rwx`, a `?` for what it does not tell: whether a file is mapped shared.

    Memory without a name and what has one in brackets is private: shared memory has the name of its object (mm/shmem.c), and
    `[anon_shmem:…]` where the program gave it one.
    """
    private = not name or (name.startswith(b"[") and not name.startswith(b"[anon_shmem:"))
    return letters.decode() + ("p" if private else "?")


def end_warnings(text: Text, rows: Rows) -> tuple[str, ...]:
    """What to say of the end of rows behind which nothing shows that they are all."""
    if text.unfinished is not None and rows.end == len(text.data):
        return (NO_LAST_END,)
    return () if has_end(rows.mappings) else (NO_END,)
