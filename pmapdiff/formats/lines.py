"""What the text forms share: how a line looks in an error message, and the words for what is odd about a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import lt

from pmapdiff.model import Mapping
from pmapdiff.text import decode, printable

_QUOTED_BYTES = 60
_BLANKS = re.compile(rb"\s*")
_NOT_BLANK = re.compile(rb"\S")


def behind_blank_lines(data: bytes, position: int) -> int:
    """Where the first line begins that is not blank, from the beginning of a line on. A small packed file may unpack to millions of them."""
    match = _BLANKS.match(data, position)
    return position if match is None else data.rfind(b"\n", position, match.end()) + 1 or position


def quote(line: bytes) -> str:
    """The beginning of a line for an error message, harmless on a terminal."""
    more = "…" if len(line) > _QUOTED_BYTES else ""
    return f"'{printable(decode(line[:_QUOTED_BYTES]))}{more}'"


def is_blank(data: bytes, start: int, end: int) -> bool:
    """Whether there is nothing but blanks from `start` to `end`; without a copy, because this is asked of every place where a table may begin."""
    return _NOT_BLANK.search(data, start, end) is None


def count_overlaps(mappings: Sequence[Mapping]) -> int:
    """How many of these mappings, in their order, begin before the one before them ends."""
    starts, ends = [mapping[0] for mapping in mappings], [mapping[1] for mapping in mappings]
    return sum(map(lt, starts[1:], ends))


def overlap_warning(rows: int) -> str:
    """The warning about `rows` that begin before the one before them ends: mappings of one instant never do."""
    return f"{rows} of the rows overlap the one before: the process changed while its table was read"


# With these an address space ends: every process has one of them.
_LAST_NAMES = frozenset((b"[stack]", b"[vdso]", b"[vvar]", b"[vvar_vclock]", b"[vsyscall]", b"[vectors]", b"[sigpage]"))
NO_FOOTER = "no footer: the end may be missing"
NO_END = "neither [stack] nor [vdso] is in it: the end may be missing"


def has_end(mappings: Iterable[Mapping]) -> bool:
    """Whether the end of an address space is among these mappings of a form that has the kernel's names."""
    return any(mapping.name in _LAST_NAMES for mapping in mappings)


# Where nothing else would show that a copy was cut at its end.
NO_LAST_END = "the last line does not end: the end may be missing"


def part_warning(reason: str) -> str:
    """The warning about a table that is not whole."""
    return f"this is only a part of the table: {reason}"
