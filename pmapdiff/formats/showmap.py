"""What Android's showmap prints, and its columns, rows and TOTAL in whichever form.

By default it adds up the mappings of one name; -v gives each a row, and -a the addresses, too. Headings tell the columns, of which there are more
every few years: toolbox' showmap.c (Android up to 4.3), system/extras/showmap/showmap.c (4.4 to 8), libmeminfo's showmap.cpp (9 and later).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Keyed
from typing import NamedTuple

from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.dates import date_in
from pmapdiff.formats.lines import count_overlaps, overlap_warning, quote
from pmapdiff.formats.rows import perms_of_letters
from pmapdiff.formats.sums import sum_table
from pmapdiff.model import COUNTER_INDEX, NO_COUNTERS, Counters, Mapping, MappingTable
from pmapdiff.model.mapping import UNKNOWN_PERMS

SIZE, MAPPINGS = "virtual size", "#"
# Columns by the names that CSV and JSON give them, and the kernel's names of the counters.
COUNTERS = {
    "RSS": "Rss",
    "PSS": "Pss",
    "shared clean": "Shared_Clean",
    "shared dirty": "Shared_Dirty",
    "private clean": "Private_Clean",
    "private dirty": "Private_Dirty",
    "swap": "Swap",
    "swapPSS": "SwapPss",
    "Anon HugePages": "AnonHugePages",
    "Shmem PmdMapped": "ShmemPmdMapped",
    "File PmdMapped": "FilePmdMapped",
    "Shared Hugetlb": "Shared_Hugetlb",
    "Private Hugetlb": "Private_Hugetlb",
    "Locked": "Locked",
}
# Of Android up to 4.3 with -a: clean and dirty together.
_SHARED, _PRIVATE = "shared", "private"
# What showmap forgets to add up: TOTAL has none of it, and a row that of its first mapping (libmeminfo's showmap.cpp, Android 13 and later).
_NOT_ADDED_UP = "Locked"
_UNNAMED = b"[anon]"
_BSS = b" [bss]"
TOTAL = b"TOTAL"
# A stack's guard page is in Size, but not in its addresses, of kernels before 4.13: it may have any size that pages have.
_GUARDS_KIB = (0, 4, 16, 64)

_BASE = rb"size +RSS +PSS +clean +dirty +clean +dirty"
_TITLES = rb"[ \t]*(?P<where>start +end +)?virtual +shared +shared +private +private[^\n]*"
_HEADING = _TITLES + rb"\n[ \t]*(?:addr +addr +)?" + _BASE + rb"(?P<more>(?: +(?:[A-Za-z]{1,20}|#)){0,16}?) +object[ \t]*"
_OLD_HEADING = rb"[ \t]*start +end +shared +private +object[ \t]*"
_DASHES = rb"[ \t]*-{8}[- \t]*"
# dumpstate's title of a section: what it shows, and the command that it runs for it.
_SECTION = rb"------ SHOW MAP (?P<pid>[1-9]\d{0,9}) \((?P<command>[^\n]*)\) ------\n"
_BEGINS = re.compile(rb"^(?:" + _SECTION + rb")?(?:" + _HEADING + rb"|(?P<old>" + _OLD_HEADING + rb"))\n" + _DASHES + rb"$", re.MULTILINE)
# Between the rows and their TOTAL: dashes, and since Android 4.4 the heading once more.
_BELOW = re.compile(rb"(?:(?:" + _DASHES + rb"|" + _TITLES + rb"|[ \t]*(?:addr +addr +)?" + _BASE + rb"[^\n]*)\n){0,4}")
_DUMPSTATE = re.compile(rb"^== dumpstate: ([^\n]+)$", re.MULTILINE)
_NUMBERS = rb"(?:\d{1,15} +){7,20}"
_BELONGS = re.compile(
    rb"[ \t]*(?:[0-9a-f]{8,16} +[0-9a-f]{8,16} +)?" + _NUMBERS + rb"(?:[r-][w-][x-] )?[/\[]|[ \t]*" + _NUMBERS + rb" *TOTAL$", re.MULTILINE
)


class Entry(NamedTuple):
    """One row: its figures in KiB by their columns, its addresses and `rwx` where it has them, and the name."""

    figures: Keyed[str, int]
    name: bytes
    start: int | None = None
    end: int | None = None
    letters: bytes | None = None


def table_of(entries: Sequence[Entry], total: Entry | None) -> tuple[MappingTable, list[str]]:
    """The table that rows are, and what is wrong with it in sentences. Raises ValueError for rows that cannot be."""
    warnings = list(_disagreements(entries, total)) if total is not None else []
    if not entries or any(entry.start is None for entry in entries):
        return sum_table(_sums(entries)), warnings
    mappings = [_mapping(entry) for entry in entries]
    in_order = not count_overlaps(mappings)
    spans = [(entry.figures.get(SIZE, mapping.size_kib), mapping.size_kib) for entry, mapping in zip(entries, mappings, strict=True)]
    have_their_size = all(said_kib - size_kib in _GUARDS_KIB for said_kib, size_kib in spans)
    if not (in_order and have_their_size) and all((entry.end or 0) < 1 << 32 for entry in entries):
        # showmap.c has only 32 bits for addresses, even in 64-bit processes.
        return sum_table(_sums(entries)), [*warnings, "its addresses were cut to 32 bits: the rows are added up by their names"]
    if not have_their_size or any(mapping.end <= mapping.start for mapping in mappings):
        raise ValueError("addresses that do not span the virtual size")
    if not in_order:
        mappings.sort(key=lambda mapping: (mapping.start, mapping.end))
        overlaps = count_overlaps(mappings)
        warnings += [overlap_warning(overlaps)] if overlaps else []
    return MappingTable(tuple(mappings)), warnings


def _mapping(entry: Entry) -> Mapping:
    name = entry.name
    if name == _UNNAMED or name.endswith(_BSS):
        # showmap's words for memory that the kernel has no name for.
        name = b""
    perms = UNKNOWN_PERMS if entry.letters is None else perms_of_letters(entry.letters, name)
    start, end = entry.start or 0, entry.end or 0
    # Whoever looks at all of them tells what it means if the end is lower.
    return Mapping(start, max(start, end), perms, None, None, None, name, counters=_counters(entry))


def _counters(entry: Entry) -> Counters:
    counters = list(NO_COUNTERS)
    for column, kernel in COUNTERS.items():
        counters[COUNTER_INDEX[kernel]] = entry.figures.get(column)
    if entry.figures.get(MAPPINGS, 1) > 1:
        counters[COUNTER_INDEX[COUNTERS[_NOT_ADDED_UP]]] = None
    if _SHARED in entry.figures:
        # Each page is one of the two (fs/proc/task_mmu.c, smaps_page_accumulate).
        counters[COUNTER_INDEX["Rss"]] = entry.figures[_SHARED] + entry.figures[_PRIVATE]
    return tuple(counters)


def _sums(entries: Iterable[Entry]) -> list[tuple[bytes, int | None, Counters]]:
    """Rows added up by name, as showmap itself does without -v: memory behind a library is part of it."""
    sums: dict[bytes, list[Entry]] = {}
    for entry in entries:
        name = b"" if entry.name == _UNNAMED else entry.name.removesuffix(_BSS)
        sums.setdefault(name, []).append(entry)
    rows = []
    for name, parts in sums.items():
        columns = zip(*(_counters(part) for part in parts), strict=True)
        counters = tuple([None if None in column else sum(value or 0 for value in column) for column in columns])
        sizes = [part.figures[SIZE] for part in parts if SIZE in part.figures]
        rows.append((name, sum(sizes) if len(sizes) == len(parts) else None, counters))
    return rows


def _disagreements(entries: Sequence[Entry], total: Entry) -> Iterable[str]:
    for column, said in total.figures.items():
        summed = sum(entry.figures.get(column, 0) for entry in entries)
        if said != summed and column != _NOT_ADDED_UP:
            unit = "" if column == MAPPINGS else " KiB"
            what = "mappings" if column == MAPPINGS else column
            yield f"TOTAL says {said:,}{unit} of {what}, the rows add up to {summed:,}{unit}"


class _Columns(NamedTuple):
    """What a heading says: the columns of figures, and a row of them."""

    figures: tuple[str, ...]
    row: re.Pattern[bytes]
    total: re.Pattern[bytes]


def _columns(begins: re.Match[bytes]) -> _Columns:
    """The columns below a heading."""
    old = begins["old"] is not None
    figures = [_SHARED, _PRIVATE] if old else [SIZE, *list(COUNTERS)[:6]]
    more = (begins["more"] or b"").decode().split()
    flags = b"flags" in (begins["more"] or b"").split()
    # Their titles stand above each other: Anon HugePages, Shmem PmdMapped, File PmdMapped, Shared Hugetlb, Private Hugetlb.
    known = [*list(COUNTERS)[6:], MAPPINGS]
    for word in more:
        if word != "flags":
            column = next((name for name in known if name.split()[-1] == word), f"? {word}")
            known = [name for name in known if name != column]
            figures.append(column)
    where = rb"([0-9a-f]{8,16}) +([0-9a-f]{8,16}) +" if old or begins["where"] else rb"()()"
    numbers = rb" +".join([rb"(\d{1,15})"] * len(figures))
    row = rb"[ \t]*" + where + numbers + (rb" +([r-][w-][x-])" if flags else rb"()") + rb"(?: (.*)|)"
    return _Columns(tuple(figures), re.compile(row), re.compile(rb"[ \t]*" + numbers + rb" +TOTAL[ \t]*"))


def _entry(columns: _Columns, line: bytes) -> Entry | None:
    match = columns.row.fullmatch(line)
    if match is None:
        return None
    start, end, *numbers, letters, name = match.groups()
    figures = {column: int(number) for column, number in zip(columns.figures, numbers, strict=True) if not column.startswith("?")}
    name = name or b""
    return Entry(figures, name if name.strip() else b"", int(start, 16) if start else None, int(end, 16) if end else None, letters or None)


def _moment_us(text: Text, position: int) -> int | None:
    """When the bug report was made that a position is in, in µs since the epoch."""
    moment_us: int | None
    # Nothing is looked at twice: a report may hold very many tables.
    begun, moment_us = text.notes.get("dumpstate", (0, None))
    for match in _DUMPSTATE.finditer(text.data, begun, position):
        moment_us = date_in(match[1]) or moment_us
    text.notes["dumpstate"] = position, moment_us
    return moment_us


def _take(text: Text, position: int) -> Taken | None:
    begins = _BEGINS.match(text.data, position)
    assert begins is not None
    columns = _columns(begins)
    entries: list[Entry] = []
    end = text.line(begins.end())[1]
    while end < len(text.data):
        line, following = text.line(end)
        entry = _entry(columns, line)
        if entry is None:
            break
        entries.append(entry)
        end = following
    reason = f"not a row of showmap: {quote(text.line(end)[0])}" if end < len(text.data) else None
    total, cut = None, "the TOTAL below it is missing"
    below = _BELOW.match(text.data, end)
    end = below.end() if below is not None else end
    if end < len(text.data) and (match := columns.total.fullmatch(text.line(end)[0])):
        numbers = [int(number) for number in match.groups()]
        total = Entry({name: number for name, number in zip(columns.figures, numbers, strict=True) if not name.startswith("?")}, TOTAL)
        end = text.line(end)[1]
    if not entries:
        return None
    try:
        table, warnings = table_of(entries, total)
    except ValueError as error:
        raise text.error(position, str(error)) from None
    saved = SavedTable(
        table,
        "showmap",
        text.source,
        pid=int(begins["pid"]) if begins["pid"] else None,
        command=begins["command"].rpartition(b") (")[0] or begins["command"] if begins["command"] else None,
        warnings=tuple(warnings),
        taken_at_us=_moment_us(text, position),
    )
    return Taken(saved, end, begun=True, cut=cut if total is None else None, reason=reason)


register(LineForm("showmap", "Android's showmap, also in bug reports", _BEGINS, _take, _BELONGS, in_report=True))
