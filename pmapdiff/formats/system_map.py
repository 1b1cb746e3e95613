"""`jcmd PID System.map` and System.dump_map, and what the JVM prints with -XX:+PrintMemoryMapAtExit: mappings and what HotSpot uses them for.

JDK 22 and 23 print the rows of /proc/PID/maps with their offsets; JDK 24 and later those of smaps, with Rss and page size
(src/hotspot/share/nmt/memMapPrinter.cpp, os/linux/memMapPrinter_linux.cpp). All of them read names up to the first blank.
"""

from __future__ import annotations

import re

from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.lines import quote
from pmapdiff.formats.rows import end_warnings, read_rows
from pmapdiff.model import COUNTER_INDEX, NO_COUNTERS, Mapping, MappingTable
from pmapdiff.model.counters import PRIVATE_HUGETLB, RSS, Counters
from pmapdiff.model.mapping import ADDRESS_LIMIT

_NAME = "system-map"
_WHAT = "HotSpot's map (its size must be that of its addresses)"
_PAGE_SIZE = COUNTER_INDEX["KernelPageSize"]
# No Linux has smaller pages.
_PAGE_BYTES = 4096
_ADDRESSES = rb"0x(?P<start>[0-9a-f]{8,16})(?: - |-)0x(?P<end>[0-9a-f]{8,16}) +"
# Columns that overflow have no blank between them in some of these JDKs. With `jcmd PID System.map -H` JDK 22 rounds sizes.
_WITH_RSS = re.compile(
    _ADDRESSES
    + rb"(?P<size>\d{1,20}) *(?P<perms>[r-][w-][x-][sp]) +(?P<rss>\d{1,20}) +(?P<hugetlb>\d{1,20})"
    + rb" +(?P<page>\d{1,4})(?P<unit>[BKMG])(?: +(?P<rest>.*))?"
)
_WITH_OFFSET = re.compile(
    _ADDRESSES + rb"(?:(?P<size>\d{1,20})|\d{1,8}[BKMGT]) *(?P<perms>[r-][w-][x-][sp]) (?P<offset>[0-9a-f]{8,16})(?: +(?P<rest>.*))?"
)
_UNITS = {b"B": 1, b"K": 1 << 10, b"M": 1 << 20, b"G": 1 << 30}
_ROW = re.compile(rb"0x[0-9a-f]{8,16}(?: - |-)0x[0-9a-f]{8,16} +\d{1,20}[BKMGT]? *[r-][w-][x-][sp] [^\n]*")
_COLUMNS = rb"(?:from +to +vsize prot +rss +hugetlb pgsz notes +info[^\n]*|size +prot offset  What)"
_TITLE = rb"(?:[1-9]\d{0,9}:\n)?Memory mappings:\n"
_BEGINS = re.compile(rb"^(?:" + _TITLE + rb"|(?:" + _COLUMNS + rb"|" + _ROW.pattern + rb")$)", re.MULTILINE)
_BEFORE_ROWS = re.compile(
    rb"(?:(?:(?P<pid>[1-9]\d{0,9}):\n)?Memory mappings:\n(?:(?!0x)[^\n]*\n){0,60}?)?(?:" + _COLUMNS + rb"\n(?:=+\n)?)?(?=0x[0-9a-f])"
)
_SUM = rb"(\d{1,20}) \(\d{1,10}[BKMGTPE]\)\n"
_FOOTER = re.compile(
    rb"\n*(?:Total: (\d{1,10}) mappings with a total vsize of " + _SUM + rb"|Number of mappings: (\d{1,10})\n"
    rb"(?: +vsize: " + _SUM + rb"(?: +rss: " + _SUM + rb"(?: +[a-z ]{1,20}: " + _SUM + rb"){0,8})?)?)"
)
# Builds of JDK 24 leave out the name of a file unless they have something to say before it.
_WITHOUT_NAMES = re.compile(rb"0x[0-9a-f]+ - 0x")
# Mappings whose names the kernel ends with " (deleted)".
_ALWAYS_DELETED = (b"/memfd:", b"/SYSV")


def _row(line: bytes) -> Mapping | None:
    match = _WITH_RSS.fullmatch(line) or _WITH_OFFSET.fullmatch(line)
    if match is None:
        return None
    fields = match.groupdict()
    start, end = int(fields["start"], 16), int(fields["end"], 16)
    if end <= start or (start | end) % _PAGE_BYTES or end > ADDRESS_LIMIT or fields["size"] not in (None, b"%d" % (end - start)):
        return None
    return Mapping(
        start,
        end,
        fields["perms"].decode(),
        int(fields["offset"], 16) if "offset" in fields else None,
        None,
        None,
        _name(fields["rest"] or b""),
        counters=_counters(fields) if "rss" in fields else NO_COUNTERS,
    )


def _name(rest: bytes) -> bytes:
    """The name at the end of a row, behind notes and what HotSpot uses the mapping for (STACK-123-main; in JDK 22 STACK(123 "main"))."""
    words = rest.split(b" ")
    last = next((word for word in reversed(words) if word), b"")
    # The kernel's names are paths or have brackets or colons; nothing else here has those, but for a thread's name in quotes.
    is_name = any(mark in last for mark in (b"/", b"[", b":")) and not rest.rstrip(b" ").endswith(b'")')
    return last if is_name else b""


def _counters(fields: dict[str, bytes]) -> Counters:
    counters = list(NO_COUNTERS)
    counters[RSS] = int(fields["rss"]) >> 10
    counters[PRIVATE_HUGETLB] = int(fields["hugetlb"]) >> 10
    counters[_PAGE_SIZE] = int(fields["page"]) * _UNITS[fields["unit"]] >> 10 or None
    return tuple(counters)


def _take(text: Text, position: int) -> Taken | None:
    before = _BEFORE_ROWS.match(text.data, position)
    if before is None:
        return None
    rows = read_rows(text, before.end(), _row, _WHAT)
    has_heading = before.end() > position
    if not rows.mappings:
        if has_heading:
            raise text.error(before.end(), f"not a row of {_WHAT}: {quote(text.line(before.end())[0])}")
        return None
    mappings, footer = rows.mappings, _FOOTER.match(text.data, rows.end)
    # Only the number of mappings could be cut without anything that shows it: what follows it in that line, or below, ends with a parenthesis.
    if footer is not None and footer[3] and not footer[4] and text.unfinished is not None:
        footer = None
    end, cut, warnings = rows.end if footer is None else footer.end(), None, rows.warnings
    if footer is not None:
        cut, wrong = _check(footer, mappings)
        warnings += wrong
    elif has_heading:
        cut = "its footer is missing"
        # A row may be cut in its name without anything that shows it.
        mappings = mappings[:-1] if end == len(text.data) and text.unfinished is not None else mappings
    else:
        warnings += end_warnings(text, rows)
    if not mappings:
        raise text.error(before.end(), "the file was cut off in the first row of this table")
    if any(mapping.name.startswith(_ALWAYS_DELETED) for mapping in mappings):
        warnings = (*warnings, "names are cut at their first blank, so (deleted) is missing, too")
    if mappings[0].counters is not NO_COUNTERS and _WITHOUT_NAMES.match(text.data, before.end()):
        warnings = (*warnings, "this JDK leaves out the names of files that it has nothing to say of: unnamed mappings may be files")
    table = SavedTable(MappingTable(mappings), _NAME, text.source, pid=int(before["pid"]) if before["pid"] else None, warnings=warnings)
    return Taken(table, end, begun=has_heading, cut=cut, reason=rows.reason)


def _check(footer: re.Match[bytes], mappings: tuple[Mapping, ...]) -> tuple[str | None, tuple[str, ...]]:
    """Why a table is not whole by its footer (None if it is), and in what else that disagrees."""
    said = int(footer[1] or footer[3])
    if said != len(mappings):
        return f"its footer says {said} mappings, here are {len(mappings)}", ()
    sums = (("vsize", footer[2] or footer[4], sum(m.size_kib for m in mappings)), ("rss", footer[5], sum(m.counters[RSS] or 0 for m in mappings)))
    wrong = [(name, int(figure) >> 10, ours) for name, figure, ours in sums if figure is not None and int(figure) >> 10 != ours]
    return None, tuple(f"the footer says {figure} KiB of {name}, the rows add up to {ours} KiB" for name, figure, ours in wrong)


register(LineForm(_NAME, "jcmd PID System.map, System.dump_map", _BEGINS, _take, _ROW, in_report=True))
