"""What pmap -X and -XX print, and -C with columns of one's choice: the kernel's counters under the kernel's names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.lines import count_overlaps, overlap_warning, quote
from pmapdiff.formats.pmap_common import OPENS, Memory, trouble_with, what_may_be_missing
from pmapdiff.formats.pmap_headings import ANY_ROW, BEGINS, FULL_ROW, KNOWN, SIZE, Columns, columns_of, first_rows, opens
from pmapdiff.formats.smaps import BACKWARDS
from pmapdiff.formats.sums import sum_table
from pmapdiff.model import COUNTER_INDEX, NO_COUNTERS, Counters, Mapping, MappingTable
from pmapdiff.model.mapping import UNKNOWN_PERMS
from pmapdiff.text import printable
from pmapdiff.units import plural

_FORM = "pmap-X"
# The text of a mapping's name that pmap keeps: 127 bytes of the path, of which it prints the basename unless told -p.
_MOST_OF_A_NAME = 127
# Of each flag two letters and a blank. Some versions print the last blank, too.
_FLAG_TEXT = re.compile(rb"[ \t]*((?:[a-z?][a-z0-9?](?:[ \t]|(?=\n)))*)")
_PIECE_OF_ROW = re.compile(rb"[ \t]*[0-9a-f]{5,64}[ \t\n]")
_RULE = re.compile(rb"[ \t]*=[= \t]*")
_TOTALS = re.compile(rb"[ \t]*(\d{1,20}(?:[ \t]{1,99}\d{1,20})*)[ \t]{1,99}[^\d\s]{1,8}[ \t]*")


@dataclass
class _Draft:
    """One table while its lines are read. `totals` are the footer's, None without one."""

    columns: Columns
    rows: list[re.Match[bytes]] = field(default_factory=list)
    totals: list[int] | None = None
    backwards: bool = False

    @property
    def size_at(self) -> int | None:
        """Which of the counters is the size."""
        return self.columns.counters.index(SIZE) if SIZE in self.columns.counters else None

    def values(self, row: re.Match[bytes]) -> list[int]:
        """A row's counters in the order of the columns."""
        count = len(self.columns.counters)
        return [int(cell) for cell in row.groups()[-1 - count : -1]]


def _take(text: Text, position: int) -> Taken | None:
    """The table that begins at a position, with or without the lines that say whose it is and what its columns are."""
    memory = Memory.of(text)
    head = opens(text, position)
    if head is None:
        return memory.take_unreadable(text, position, _FORM)
    if not head.begun and (memory.misfits.get(_FORM) == position or _is_cut(text, position)):
        return None
    columns = columns_of(head.heading, first_rows(text, head.rows))
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
    saved = SavedTable(
        table,
        _FORM,
        text.source,
        head.pid,
        head.command,
        (*what_may_be_missing(text, end, head, has_footer=draft.totals is not None), *_warnings(draft, table, memory.totals)),
    )
    memory.totals = dict(zip(columns.counters, draft.totals or (), strict=False))
    memory.last_end[_FORM] = end
    return Taken(saved, end, begun=head.begun, cut=cut, reason=reason)


def _is_cut(text: Text, position: int) -> bool:
    """Whether a row without anything before it has lost the first digits of its address: those are flush right.

    A copy that begins with the first digit has lost the blanks before it, and nothing else.
    """
    first, following = text.line(position)
    second = text.line(following)[0] if ANY_ROW.match(text.data, following) else first
    ends = [len(line) - len(line.lstrip(b" ")) + len(line.split()[0]) for line in (first, second)]
    return ends[0] != ends[1] and len(first.split()[0]) < len(second.split()[0])


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
            if position == text.unfinished and list(_disagreement(draft, totals, Memory.of(text).totals)):
                return following, None, f"the last line is not whole: {quote(line.strip())}"
            draft.totals = totals
            return following, None, None
        if _RULE.fullmatch(line):
            end = following
        elif line.strip():
            if _PIECE_OF_ROW.match(text.data, position) and not _goes_on(draft, text, following):
                return following, None, f"the last row is not whole: {quote(line.strip())}"
            Memory.of(text).misfits[_FORM] = position
            return end, f"neither a row nor any other line of {_FORM}: {quote(line)}", None
        position = following
    return end, None, None


def _goes_on(draft: _Draft, text: Text, position: int) -> bool:
    """Whether a line that is no row is within the table: another one, or its footer, follows."""
    while position < len(text.data):
        line, following = text.line(position)
        if line.strip():
            return any(pattern.fullmatch(line) for pattern in (_RULE, _TOTALS)) or draft.columns.row.match(text.data, position) is not None
        position = following
    return False


def _flags_and_names(draft: _Draft) -> list[tuple[bytes | None, bytes]]:
    """Of each row the flags, as the kernel writes them, and the name."""
    rests = [row["rest"] for row in draft.rows]
    ends = [0] * len(rests)
    if draft.columns.has_flags:
        ends = _ends_of_flags(draft.rows)
    names = [rest[end:] for rest, end in zip(rests, ends, strict=True)]
    margin = min((len(name) - len(name.lstrip(b" \t")) for name in names if name.strip(b" \t")), default=0)
    return [
        (
            b" " + b"".join(b"%b " % flag for flag in rest[:end].split()) if draft.columns.has_flags else None,
            name[margin:] if name.strip(b" \t") else b"",
        )
        for rest, end, name in zip(rests, ends, names, strict=True)
    ]


def _ends_of_flags(rows: Sequence[re.Match[bytes]]) -> list[int]:
    """Where the flags of each row end in what stands behind its numbers.

    They are flush right, so they end at one place in all rows, even where a name looks like more of them. Where that was lost, all that looks like
    flags is taken for some.
    """
    matches = [_FLAG_TEXT.match(row["rest"] + b"\n") for row in rows]
    ends = [len(match[0].rstrip(b" \t\n")) if match is not None and match[1] else 0 for match in matches]
    begins = [row.start("rest") - row.start() for row in rows]
    edges = Counter(begin + end for begin, end in zip(begins, ends, strict=True) if end)
    edge, rows_with_edge = edges.most_common(1)[0] if edges else (0, 0)
    if 2 * rows_with_edge < edges.total():
        return ends
    found: list[int] = []
    for row, begin, end in zip(rows, begins, ends, strict=True):
        flush = edge - begin
        is_flush = 0 <= flush < end and (end - flush) % 3 == 0 if end else flush > 0 and not row["rest"][:flush].strip(b" \t")
        found.append(flush if is_flush else end)
    return found


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


def _warnings(draft: _Draft, table: MappingTable, earlier: dict[str, int]) -> Iterator[str]:
    columns = draft.columns
    overlaps = count_overlaps(table.mappings)
    if overlaps:
        yield overlap_warning(overlaps)
    if draft.totals is not None:
        yield from _disagreement(draft, draft.totals, earlier)
    unknown = [name for name in columns.counters if name and name not in KNOWN]
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


OPENS[_FORM] = opens
register(LineForm(_FORM, "pmap -X, -XX and -C, with or without -p and -q", BEGINS, _take, FULL_ROW))
