"""/proc/PID/maps: the rows without counters."""

from __future__ import annotations

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Form, Parse, SavedTable, register
from pmapdiff.formats.lines import overlap_warning, quote, split_lines
from pmapdiff.formats.smaps import parse_header
from pmapdiff.model import Mapping, MappingTable


def _detect(head: bytes) -> bool:
    first, second = [*split_lines(head)[:2], b"", b""][:2]
    # In smaps and smaps_rollup the second line is a counter: its first word holds a colon, a row's first word is its addresses.
    return parse_header(first) is not None and b":" not in second.partition(b" ")[0]


def sizes_of_maps(text: bytes) -> list[int]:
    """The sizes in KiB of the rows of a maps text, without looking at the rest of them."""
    sizes = []
    for line in text.split(b"\n")[:-1]:
        start, _, end = line.partition(b" ")[0].partition(b"-")
        sizes.append((int(end, 16) - int(start, 16)) >> 10)
    return sizes


def parse_live_maps(text: bytes, source: str) -> MappingTable:
    """The table of a maps text that was read just now: a torn one, which may go backwards, is sorted. Raises FormatError with the line."""
    mappings = [_row(line, source, number) for number, line in enumerate(text.split(b"\n")[:-1], start=1)]
    return MappingTable(tuple(sorted(mappings, key=lambda m: (m.start, m.end))))


def _row(line: bytes, source: str, number: int) -> Mapping:
    fields = parse_header(line)
    if fields is None:
        raise FormatError(f"not a row of /proc/PID/maps: {quote(line)}", source=source, line=number)
    return Mapping(*fields[:7], header=fields[7])


def _parse(parse: Parse) -> list[SavedTable]:
    mappings: list[Mapping] = []
    overlaps = 0
    for number, line in enumerate(split_lines(parse.data), start=1):
        if not line.strip():
            continue
        mapping = _row(line, parse.source, number)
        if mappings and mapping.start <= mappings[-1].start:
            raise FormatError(f"address goes backwards: more than one table in this file? {quote(line)}", source=parse.source, line=number)
        overlaps += bool(mappings) and mapping.start < mappings[-1].end
        mappings.append(mapping)
    if not mappings:
        raise FormatError("there is no row of /proc/PID/maps in this file", source=parse.source)
    warnings = [overlap_warning(overlaps)] if overlaps else []
    if not parse.data.endswith(b"\n"):
        # Nothing else in this form would show it.
        warnings.append("the last line does not end: the end may be missing")
    return [SavedTable(MappingTable(tuple(mappings)), "maps", parse.source, warnings=tuple(warnings))]


register(Form("maps", "/proc/PID/maps", _detect, _parse))
