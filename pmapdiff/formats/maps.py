"""/proc/PID/maps: the rows without counters. Crash reports and heap profiles hold it, too."""

from __future__ import annotations

import re

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.lines import quote
from pmapdiff.formats.rows import Rows, end_warnings, read_rows
from pmapdiff.formats.smaps import HEADER_LINE, WHOLE_HEADER, parse_header
from pmapdiff.model import Mapping, MappingTable

# In smaps and smaps_rollup a counter follows.
_BEGINS = re.compile(HEADER_LINE.pattern + rb"$(?<!\[rollup\])(?!\n[A-Z]\w+:)", re.MULTILINE)


def sizes_of_maps(text: bytes) -> list[int]:
    """The sizes in KiB of the rows of a maps text, without looking at the rest of them."""
    sizes = []
    for line in text.split(b"\n")[:-1]:
        start, _, end = line.partition(b" ")[0].partition(b"-")
        sizes.append((int(end, 16) - int(start, 16)) >> 10)
    return sizes


def parse_live_maps(text: bytes, source: str) -> MappingTable:
    """The table of a maps text that was read just now: a torn one, which may go backwards, is sorted. Raises FormatError with the line."""
    mappings = []
    for number, line in enumerate(text.split(b"\n")[:-1], start=1):
        mapping = maps_row(line)
        if mapping is None:
            raise FormatError(f"not a row of /proc/PID/maps: {quote(line)}", source=source, line=number)
        mappings.append(mapping)
    return MappingTable(tuple(sorted(mappings, key=lambda m: (m.start, m.end))))


def maps_row(line: bytes) -> Mapping | None:
    """The mapping of a row of maps (without its end); None if it is none."""
    fields = parse_header(line)
    return None if fields is None else Mapping(*fields[:7], header=fields[7])


def read_maps(text: Text, position: int) -> Rows:
    """The rows of maps from a position on."""
    return read_rows(text, position, maps_row, "/proc/PID/maps")


def maps_inside(value: bytes, source: str, where: str, line: int | None = None) -> Rows:
    """The rows of a maps text that another file has as the value of something; `where` names that, `line` is the one of the file in which it begins.

    Raises FormatError if it is anything else.
    """
    text = Text(value if value.endswith(b"\n") else value + b"\n", source)
    rows = read_maps(text, 0)
    if not rows.mappings or text.data[rows.end :].strip():
        number = text.number(rows.end)
        raise FormatError(f"{where}, row {number}: {rows.reason or 'there is none'}", source=source, line=None if line is None else line + number - 1)
    return rows


def _take(text: Text, position: int) -> Taken | None:
    rows = read_maps(text, position)
    if not rows.mappings:
        return None
    warnings = (*rows.warnings, *end_warnings(text, rows))
    return Taken(SavedTable(MappingTable(rows.mappings), "maps", text.source, warnings=warnings), rows.end, reason=rows.reason)


register(LineForm("maps", "/proc/PID/maps", _BEGINS, _take, WHOLE_HEADER))
