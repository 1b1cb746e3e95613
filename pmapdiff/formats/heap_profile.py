"""Heap profiles of gperftools and jemalloc, and gperftools' CPU profiles: maps stand at their end, behind up to millions of stacks.

jemalloc copies /proc/self/maps (src/prof_sys.c, prof_dump_maps, 5.3). gperftools prints it anew, without the device, for which it puts 00:00
(src/base/proc_maps_iterator.cc and sysinfo.cc, FormatLine). `-` is its word for shared, and in newer versions nothing separates a name from an inode
of 11 digits.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from os.path import basename
from struct import calcsize, unpack_from

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Form, Parse, SavedTable, Text, register
from pmapdiff.formats.lines import quote
from pmapdiff.formats.maps import maps_row
from pmapdiff.formats.rows import Row, end_warnings, read_rows
from pmapdiff.formats.tidy import tidy
from pmapdiff.model import Mapping, MappingTable

_HEADS = (b"heap profile:", b"heap_v2/")
_SECTION = re.compile(rb"^MAPPED_LIBRARIES:[ \t]*\r?\n", re.MULTILINE)
_ROW = re.compile(rb"([0-9a-f]{8,16})-([0-9a-f]{8,16}) ([r-][w-][x-])([p-]) ([0-9a-f]{8,16}) 00:00 ([0-9a-f]{1,20}(?=[ /\[]|$)|\d{11,20}) *(\S.*)?")
# jemalloc's own name for a profile, whatever opt.prof_prefix is: PREFIX.PID.NUMBER.WHY.heap.
_NAMED_BY_JEMALLOC = re.compile(r"\.([1-9]\d{0,9})\.\d{1,10}\.[fimu]\d{0,10}\.heap(?:\.\w{1,5})?")
# The words of a CPU profile: header (0, 3, version, period, padding), then of each stack how often, how deep and the addresses, then (0, 1, 0).
_WORDS = ("<Q", "<I", ">Q", ">I")
_HEADER_WORDS = 5
_MOST_US = 1_000_000_000


def _word_of_cpu_profile(head: bytes) -> str | None:
    """How the words of a CPU profile are packed; None if it is none."""
    for word in _WORDS:
        form = f"{word[0]}{_HEADER_WORDS}{word[1]}"
        if len(head) >= calcsize(form):
            zero, header, version, period_us, padding = unpack_from(form, head)
            if (zero, header, version, padding) == (0, 3, 0, 0) and 0 < period_us <= _MOST_US:
                return word
    return None


def _detect(head: bytes) -> bool:
    return head.startswith(_HEADS) or _word_of_cpu_profile(head) is not None


def _end_of_samples(data: bytes, word: str, source: str) -> int:
    """Where the text begins in a CPU profile."""
    size = calcsize(word)
    position = _HEADER_WORDS * size
    while position + 3 * size <= len(data):
        count, depth, first = unpack_from(f"{word[0]}3{word[1]}", data, position)
        position += (2 + depth) * size
        if (count, depth, first) == (0, 1, 0):
            return int(position)
    raise FormatError("the profile was cut off among its samples: there are no mappings in it", source=source)


def _row(line: bytes, base: int) -> Mapping | None:
    """A row as gperftools prints it, with inodes in this base."""
    match = _ROW.fullmatch(line)
    if match is None or int(match[2], 16) <= int(match[1], 16):
        return None
    try:
        inode = int(match[6], base)
    except ValueError:
        return None
    name = match[7] or b""
    is_memory = not inode and (not name or name.startswith(b"["))
    perms = match[3].decode() + ("p" if match[4] == b"p" else "s")
    device = "00:00" if is_memory else None
    return Mapping(int(match[1], 16), int(match[2], 16), perms, int(match[5], 16), device, inode, name) if inode < 1 << 64 else None


# The kernel's own rows have devices. Some versions print inodes in hex, which shows as soon as one of them has a letter.
_ROWS: tuple[Row, ...] = (partial(_row, base=10), partial(_row, base=16), maps_row)


def _parse(given: Parse) -> list[SavedTable]:
    data = given.data
    word = _word_of_cpu_profile(data)
    if word is not None:
        begun = _end_of_samples(data, word, given.source)
    else:
        section = _SECTION.search(data)
        if section is None:
            raise FormatError("there are no MAPPED_LIBRARIES in this profile: was it cut off?", source=given.source)
        begun = section.end()
    first_line = data.count(b"\n", 0, begun) + 1
    rest = tidy(data[begun:])
    whole = not rest or rest.endswith(b"\n")
    text = Text(rest if whole else rest + b"\n", given.source, first_line, None if whole else rest.rfind(b"\n") + 1)
    rows = max((read_rows(text, 0, row, "the mapped libraries") for row in _ROWS), key=lambda rows: rows.end)
    if rows.reason is not None and rows.end != text.unfinished:
        raise text.error(rows.end, rows.reason)
    mappings, cut = rows.mappings, None
    if text.unfinished is not None:
        # Programs end every line: this one may be whole, and its name may not.
        mappings = mappings[: len(mappings) - (rows.reason is None)]
        cut = f"line {text.number(text.unfinished)} is cut off: {quote(text.line(text.unfinished)[0])}"
        if not given.partial:
            raise text.error(text.unfinished, f"the file was cut off here ({cut}): --partial takes what is whole")
    if not mappings:
        raise FormatError("the profile has no mapped libraries", source=given.source, line=first_line)
    warnings = (*rows.warnings, *end_warnings(text, rows)) if cut is None else (*rows.warnings, f"this is only a part of the table: {cut}")
    table = SavedTable(MappingTable(mappings), "heap-profile", given.source, warnings=warnings, partial=cut)
    named = _NAMED_BY_JEMALLOC.search(basename(given.source)) if data.startswith(_HEADS) else None
    return [replace(table, pid=int(named[1])) if named else table]


register(Form("heap-profile", "a heap profile of gperftools or jemalloc, or a CPU profile of gperftools", _detect, _parse))
