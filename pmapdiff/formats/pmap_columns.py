"""What pmap -X and -XX print, and -C with columns of one's choice: the kernel's counters under the kernel's names.

Only Address, Perm, Offset, Device, Inode and Mapping are translated, so the columns are known by the counters' names in the heading, and those
before them by their shape. With -q there are no names: then only what stands at the same place on every kernel is known.
Facts about the output are from src/pmap.c, `print_extended_maps` (procps-ng 3.3.3 to 4.0.4), about the order of the counters from
fs/proc/task_mmu.c, `show_smap` (2.6.25 to 6.18).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.lines import overlap_warning, quote
from pmapdiff.formats.pmap_common import (
    ADDRESS,
    NO_FOOTER,
    PROCESS_LINE,
    UNFINISHED,
    Opening,
    Unreadable,
    is_basename_only,
    is_unfinished,
    opening,
    trouble_with,
)
from pmapdiff.formats.smaps import BACKWARDS
from pmapdiff.formats.sums import sum_table
from pmapdiff.model import COUNTER_INDEX, NO_COUNTERS, Counters, Mapping, MappingTable
from pmapdiff.model.mapping import UNKNOWN_PERMS
from pmapdiff.text import decode, printable
from pmapdiff.units import plural

_FORM = "pmap-X"
_SIZE, _FLAGS = "Size", "VmFlags"
_KNOWN = frozenset((_SIZE, *COUNTER_INDEX)) - {"Dirty"}
# The text of a mapping's name that pmap keeps: 127 bytes of the path, of which it prints the basename unless told -p.
_MOST_OF_A_NAME = 127
# So many rows are looked at to learn which columns there are, and no more columns than that are taken for some: 6.18 has 25.
_LOOKED_AT, _MOST_COLUMNS = 64, 100

_PERMS, _OFFSET, _DEVICE = rb"[r-][w-][x-][sp]", rb"[0-9a-f]{8,16}", rb"[0-9a-f]{2,8}:[0-9a-f]{2,8}"
# The rows of -x have their mode behind the numbers, and headings that look alike.
_MODE_BEHIND = rb"(?:[ \t]{1,99}(?:\d{1,20}K?|-))+[ \t]{1,99}[r-][w-][x-][sp-]-?[ \t\n]"
_ANY_ROW = re.compile(rb"^[ \t]*" + ADDRESS + rb"(?!" + _MODE_BEHIND + rb")[ \t]{1,99}[^ \t\n][^\n]*", re.MULTILINE)
# A row that needs no heading to be known.
_FULL_ROW = rb"[ \t]*%b[ \t]{1,99}%b[ \t]{1,99}%b[ \t]{1,99}%b[ \t]{1,99}\d{1,20}[ \t]{1,99}\d{1,15}(?=[ \t\n])" % (ADDRESS, _PERMS, _OFFSET, _DEVICE)
_FULL_ROW_AT = re.compile(_FULL_ROW)
_NAMES = b"|".join(sorted((name.encode() for name in (*_KNOWN, _FLAGS)), reverse=True))
_HEADING = rb"[^\d\n]{1,300}?[ \t](?:" + _NAMES + rb")[ \t\n]"
_HEADING_LINE = re.compile(_HEADING)
_GLUED = re.compile(rb"[ \t]" + _FLAGS.encode() + rb"(?=[^ \t])")
_NUMBER = re.compile(rb"\d{1,20}")
# Of each flag two letters and a blank. Some versions print the last blank, too.
_FLAG_TEXT = re.compile(rb"[ \t]*((?:[a-z?][a-z0-9?](?:[ \t]|(?=\n)))*)")
_RULE = re.compile(rb"[ \t]*=[= \t]*")
_TOTALS = re.compile(rb"[ \t]*(\d{1,20}(?:[ \t]{1,99}\d{1,20})*)[ \t]{1,99}[^\d\s]{1,8}[ \t]*")
_BEGINS = re.compile(
    rb"^(?:" + PROCESS_LINE + rb"|(?=" + _HEADING + rb")[^\n]*\n(?=[ \t]*" + ADDRESS + rb"[ \t])|" + _FULL_ROW + rb")",
    re.MULTILINE,
)


@dataclass(frozen=True)
class _Columns:
    """The columns of a table: what its rows look like, and which counters they have. An empty name is one that nobody knows."""

    row: re.Pattern[bytes]
    counters: tuple[str, ...]
    has_flags: bool
    has_names: bool
    guessed: bool


@dataclass
class _Draft:
    """One table while its lines are read. `totals` are the footer's, None without one."""

    columns: _Columns
    rows: list[re.Match[bytes]] = field(default_factory=list)
    totals: list[int] | None = None
    backwards: bool = False

    @property
    def size_at(self) -> int | None:
        """Which of the counters is the size."""
        return self.columns.counters.index(_SIZE) if _SIZE in self.columns.counters else None

    def values(self, row: re.Match[bytes]) -> list[int]:
        """A row's counters in the order of the columns."""
        count = len(self.columns.counters)
        return [int(cell) for cell in row.groups()[-1 - count : -1]]


def _opens(text: Text, position: int) -> Opening | None:
    """The opening of the table at a position, if one of this form begins there."""
    found = opening(text, position, lambda text, position: _ANY_ROW.match(text.data, position) is not None)
    if found is None:
        return None
    if found.heading is None:
        return found if _FULL_ROW_AT.match(text.data, found.rows) else None
    return found if _HEADING_LINE.match(found.heading + b"\n") else None


def _columns(heading: bytes | None, rows: Sequence[list[bytes]]) -> _Columns | None:
    """The columns that the first rows of a table have under its heading; None if the two do not fit."""
    place, pattern = 1, rb"^[ \t]*(?P<start>" + ADDRESS + rb")"
    for name, shape in (("perms", _PERMS), ("offset", _OFFSET), ("device", _DEVICE)):
        if all(len(row) > place and re.fullmatch(shape, row[place]) for row in rows):
            place, pattern = place + 1, pattern + rb"[ \t]{1,99}(?P<%b>%b)" % (name.encode(), shape)
    numbers = min(next((i for i, cell in enumerate(row[place:]) if not _NUMBER.fullmatch(cell)), len(row) - place) for row in rows)
    has_device = b"?P<device>" in pattern
    numbers = min(numbers, _MOST_COLUMNS)
    if heading is None:
        has_inode, has_flags, has_names = True, all(_is_flag(row[place + numbers :]) for row in rows), True
        names = _names_by_place([[int(cell) for cell in row[place + 1 : place + numbers]] for row in rows], has_flags=has_flags)
    else:
        words = [decode(word) for word in _GLUED.sub(b" %b " % _FLAGS.encode(), heading).split()]
        known = [i for i, word in enumerate(words) if word in _KNOWN or word == _FLAGS]
        first, has_flags = known[0], _FLAGS in words
        behind = words.index(_FLAGS) if has_flags else len(words)
        least = (behind if has_flags else known[-1] + 1) - first
        # What stands behind the last counter that is known is a new counter, or the heading of the names.
        most = least if has_flags or words[-1] in _KNOWN else behind - first - 1
        has_inode = numbers > least if has_device else numbers > most
        names = words[first : first + min(numbers - has_inode, most)]
        if len(names) < least:
            return None
        has_names = len(words) > first + len(names) + has_flags
    if has_inode:
        pattern += rb"[ \t]{1,99}(?P<inode>\d{1,20})"
    pattern += rb"[ \t]{1,99}(\d{1,15})" * len(names) + rb"(?P<rest>(?:[ \t][^\n]*)?)$"
    return _Columns(re.compile(pattern, re.MULTILINE), tuple(names), has_flags, has_names, heading is None)


def _is_flag(cells: Sequence[bytes]) -> bool:
    return bool(cells) and len(cells[0]) == 2 and re.fullmatch(rb"[a-z?][a-z0-9?]", cells[0]) is not None


def _names_by_place(rows: Sequence[Sequence[int]], *, has_flags: bool) -> list[str]:
    """The names of columns without a heading: the first three of -X are the same on every kernel, and of -XX, but for the sizes of pages."""
    names = [_SIZE, "Rss", "Pss"]
    if has_flags and all(len(row) > 2 and 0 < row[1] == row[2] for row in rows):
        names[1:1] = ["KernelPageSize", "MMUPageSize"]
    count = min(len(row) for row in rows)
    rss, pss = names.index("Rss"), names.index("Pss")
    if not all(len(row) > pss and row[0] >= row[rss] >= row[pss] for row in rows):
        names = names[:1]
    return (names + [""] * count)[:count]


def _take(text: Text, position: int) -> Taken | None:
    """The table that begins at a position, with or without the lines that say whose it is and what its columns are."""
    unreadable = Unreadable.of(text)
    head = _opens(text, position)
    if head is None:
        return unreadable.take(text, position, _FORM, lambda text, position: _opens(text, position) is not None)
    columns = _columns(head.heading, _first_rows(text, head.rows))
    if columns is None or columns.row.match(text.data, head.rows) is None:
        raise text.error(head.rows, f"the columns do not fit their headings: {quote(text.line(head.rows)[0])}")
    draft = _Draft(columns)
    end, reason, cut = _read_rows(draft, text, head.rows)
    texts = _flags_and_names(draft)
    if draft.size_at is None:
        table = _sums_by_name(draft, [name for _, name in texts])
    else:
        mappings = [_mapping(draft, row, flags, name) for row, (flags, name) in zip(draft.rows, texts, strict=True)]
        table = MappingTable(tuple(sorted(mappings, key=lambda m: (m.start, m.end)) if draft.backwards else mappings))
    earlier: dict[str, int] = text.memory.setdefault(_FORM, {})
    saved = SavedTable(
        table,
        _FORM,
        text.source,
        head.pid,
        head.command,
        tuple(_warnings(draft, table, earlier, has_heading=head.heading is not None, unfinished=is_unfinished(text, end))),
        basenames=is_basename_only(table.mappings),
    )
    earlier.clear()
    earlier.update(zip(columns.counters, draft.totals or (), strict=False))
    unreadable.last_end[_FORM] = end
    return Taken(saved, end, begun=head.begun, cut=cut, reason=reason)


def _first_rows(text: Text, position: int) -> list[list[bytes]]:
    """The cells of the first rows."""
    rows: list[list[bytes]] = []
    while len(rows) < _LOOKED_AT and (match := _ANY_ROW.match(text.data, position)) is not None:
        # Of one that is cut off nothing can be learnt.
        if rows and match.end() + 1 == len(text.data) and text.unfinished is not None:
            break
        rows.append(match[0].split())
        position = match.end() + 1
    return rows


def _read_rows(draft: _Draft, text: Text, position: int) -> tuple[int, str | None, str | None]:
    """Read the rows from a position on, and the totals below them. Gives the place of the first line that is no part of the table, what to say
    of that line, and what is cut off.
    """
    end, previous = position, None
    while position < len(text.data):
        if match := draft.columns.row.match(text.data, position):
            if draft.size_at is not None:
                start = int(match["start"], 16)
                place = start, start + (draft.values(match)[draft.size_at] << 10)
                trouble = trouble_with(*place, previous)
                if trouble == BACKWARDS:
                    return end, f"{trouble} {quote(match[0].strip())}", None
                if trouble is not None:
                    raise text.error(position, f"{trouble}: {quote(match[0].strip())}")
                draft.backwards = draft.backwards or (previous is not None and start < previous[0])
                previous = place
            draft.rows.append(match)
            position = end = match.end() + 1
            continue
        line, following = text.line(position)
        if draft.rows and (match := _TOTALS.fullmatch(line)) is not None:
            totals = [int(total) for total in match[1].split()]
            if position == text.unfinished and list(_disagreement(draft, totals, text.memory.get(_FORM, {}))):
                return following, None, f"the last line is not whole: {quote(line.strip())}"
            draft.totals = totals
            return following, None, None
        if line.strip() and not _RULE.fullmatch(line):
            return end, f"neither a row nor any other line of {_FORM}: {quote(line)}", None
        position = following
    return end, None, None


def _flags_and_names(draft: _Draft) -> list[tuple[bytes | None, bytes]]:
    """Of each row the flags, as the kernel writes them, and the name."""
    rests = [row["rest"] for row in draft.rows]
    ends = [0] * len(rests)
    if draft.columns.has_flags:
        # The flags are flush right, so they end at one place in all rows, even where a name looks like more of them.
        found = [(row, _FLAG_TEXT.match(row["rest"] + b"\n")) for row in draft.rows]
        ends = [len(match[0].rstrip(b" \t")) if match is not None and match[1] else 0 for _, match in found]
        places = [row.start("rest") - row.start() + end for row, end in zip(draft.rows, ends, strict=True)]
        edge = min((place for place, end in zip(places, ends, strict=True) if end), default=0)
        ends = [end - (place - edge) if 0 < place - edge < end and (place - edge) % 3 == 0 else end for place, end in zip(places, ends, strict=True)]
    names = [rest[end:] for rest, end in zip(rests, ends, strict=True)]
    margin = min((len(name) - len(name.lstrip(b" \t")) for name in names if name.strip(b" \t")), default=0)
    return [
        (b" %b " % b" ".join(rest[:end].split()) if draft.columns.has_flags else None, name[margin:] if name.strip(b" \t") else b"")
        for rest, end, name in zip(rests, ends, names, strict=True)
    ]


def _mapping(draft: _Draft, row: re.Match[bytes], flags: bytes | None, name: bytes) -> Mapping:
    fields = row.groupdict()
    start = int(fields["start"], 16)
    return Mapping(
        start=start,
        end=start + (draft.values(row)[draft.size_at or 0] << 10),
        perms=fields["perms"].decode() if "perms" in fields else UNKNOWN_PERMS,
        offset=int(fields["offset"], 16) if "offset" in fields else None,
        device=fields["device"].decode() if "device" in fields else None,
        inode=int(fields["inode"]) if "inode" in fields else None,
        name=name,
        flags=flags,
        counters=_counters(draft, row),
    )


def _counters(draft: _Draft, row: re.Match[bytes]) -> Counters:
    counters = list(NO_COUNTERS)
    for name, value in zip(draft.columns.counters, draft.values(row), strict=True):
        if name in COUNTER_INDEX:
            counters[COUNTER_INDEX[name]] = value
    return tuple(counters)


def _sums_by_name(draft: _Draft, names: Sequence[bytes]) -> MappingTable:
    """The table of rows without a size: nobody knows where they end, so they can only be added up."""
    sums: dict[bytes, Counters] = {}
    for row, name in zip(draft.rows, names, strict=True):
        one, other = sums.get(name), _counters(draft, row)
        sums[name] = other if one is None else tuple([None if a is None or b is None else a + b for a, b in zip(one, other, strict=True)])
    return sum_table([(name, None, counters) for name, counters in sums.items()])


def _warnings(draft: _Draft, table: MappingTable, earlier: dict[str, int], *, has_heading: bool, unfinished: bool) -> Iterator[str]:
    columns = draft.columns
    overlaps = sum(following.start < previous.end for previous, following in pairwise(table.mappings))
    if overlaps:
        yield overlap_warning(overlaps)
    if draft.totals is not None:
        yield from _disagreement(draft, draft.totals, earlier)
    elif has_heading:
        yield NO_FOOTER
    elif unfinished:
        yield UNFINISHED
    unknown = [name for name in columns.counters if name and name not in _KNOWN]
    if unknown:
        yield f"left out, because this version does not know what they are: {', '.join(printable(name) for name in unknown)}"
    if columns.guessed:
        named = [name for name in columns.counters if name]
        left_out = plural(len(columns.counters) - len(named), "column")
        yield f"without headings (-q), only {', '.join(named)} are known by their place; {left_out} without a name left out"
    if draft.size_at is None:
        yield "there is no column Size, so nobody knows where the mappings end: only their sums are read"
    if not columns.has_names:
        yield "there is no column Mapping: nothing has a name"
    cut = sum(len(mapping.name) == _MOST_OF_A_NAME and b"/" in mapping.name for mapping in table.mappings)
    if cut:
        yield f"{plural(cut, 'name')} of {_MOST_OF_A_NAME} bytes may be cut off: pmap -X keeps no more of a path"


def _disagreement(draft: _Draft, totals: Sequence[int], earlier: dict[str, int]) -> Iterator[str]:
    """A sentence about totals that are neither the sums of the rows nor (up to 4.0.3) those of the processes before it as well."""
    names = draft.columns.counters
    if len(totals) != len(names):
        yield f"the footer has {len(totals)} figures for {len(names)} columns"
        return
    sums = map(sum, zip(*(draft.values(row) for row in draft.rows), strict=True))
    wrong = [(name, said, added) for name, said, added in zip(names, totals, sums, strict=True) if said not in (added, added + earlier.get(name, 0))]
    if wrong:
        name, said, added = wrong[0]
        more = f" (and {plural(len(wrong) - 1, 'more column')})" if len(wrong) > 1 else ""
        why = "pmap -X reads twice, and the process changed in between"
        yield f"the footer says {said} KiB of {printable(name)}, the rows add up to {added} KiB{more}: {why}"


register(LineForm(_FORM, "pmap -X, -XX and -C, with or without -p and -q", _BEGINS, _take, _FULL_ROW_AT))
