"""/proc/PID/maps: the rows without counters. Crash reports and heap profiles hold it, too."""

from __future__ import annotations

import re

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.lines import NO_END, NO_LAST_END, has_end, overlap_warning, quote
from pmapdiff.formats.smaps import BACKWARDS, HEADER_LINE, WHOLE_HEADER, parse_header
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
        mapping = _row(line)
        if mapping is None:
            raise FormatError(f"not a row of /proc/PID/maps: {quote(line)}", source=source, line=number)
        mappings.append(mapping)
    return MappingTable(tuple(sorted(mappings, key=lambda m: (m.start, m.end))))


def _row(line: bytes) -> Mapping | None:
    fields = parse_header(line)
    return None if fields is None else Mapping(*fields[:7], header=fields[7])


def _take(text: Text, position: int) -> Taken | None:
    """The rows from a position on, blank lines between them left out."""
    mappings: list[Mapping] = []
    end, overlaps, backwards, reason = position, 0, False, None
    while position < len(text.data):
        line, following = text.line(position)
        mapping = _row(line)
        if mapping is None:
            if line.strip():
                reason = f"not a row of /proc/PID/maps: {quote(line)}"
                break
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
    if not mappings:
        return None
    if backwards:
        mappings.sort(key=lambda m: (m.start, m.end))
    warnings = [overlap_warning(overlaps)] if overlaps else []
    if text.unfinished is not None and end == len(text.data):
        warnings.append(NO_LAST_END)
    elif not has_end(mappings):
        warnings.append(NO_END)
    return Taken(SavedTable(MappingTable(tuple(mappings)), "maps", text.source, warnings=tuple(warnings)), end, reason=reason)


register(LineForm("maps", "/proc/PID/maps", _BEGINS, _take, WHOLE_HEADER))
