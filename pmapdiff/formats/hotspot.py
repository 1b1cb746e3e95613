"""HotSpot's reports: hs_err_pid*.log and `jcmd PID VM.info`, which have /proc/PID/maps as their "Dynamic libraries".

A report is taken as a whole, from its first line to `END.`: other things in it look like mappings (heap regions), or like counters (meminfo).
src/hotspot/share/utilities/vmError.cpp and os/linux/os_linux.cpp, JDK 8 to 25.
"""

from __future__ import annotations

import re

from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.dates import date_in
from pmapdiff.formats.lines import is_blank, quote
from pmapdiff.formats.maps import read_maps
from pmapdiff.formats.rows import Rows, end_warnings
from pmapdiff.model import Mapping, MappingTable
from pmapdiff.model.mapping import DELETED

_NAME = "hs_err"
_HEADING = b"Dynamic libraries:\n"
# jcmd says first of which process its answer is. The block of lines with # has more of the same first lines in it.
_REPORT = re.compile(
    rb"^(?:(?P<pid>[1-9]\d{0,9}):\n)?(?:#\n)?# (?:A fatal error has been detected by the Java Runtime Environment"
    rb"|There is insufficient memory for the Java Runtime Environment to continue|JRE version: )[^\n]*\n(?:#[^\n]*\n){0,40}",
    re.MULTILINE,
)
_BEGINS = re.compile(_REPORT.pattern + rb"|^" + _HEADING, re.MULTILINE)
# The last line of JDK 11 and later, and of JDK 8.
_END = re.compile(rb"^(?:END\.|elapsed time: [^\n]*)\n", re.MULTILINE)
_COUNT = re.compile(rb"Total number of mappings: (\d{1,10})")
_PID = re.compile(rb"\bpid=(\d{1,10})\b")
_COMMAND = re.compile(rb"^Command Line: ([^\n]*)$", re.MULTILINE)
# JDK 8 has no zone in this line, but may have one in the next.
_TIME = re.compile(
    rb"^[Tt]ime: (?P<day>[A-Z][a-z]{2} +[A-Z][a-z]{2} +\d{1,2} +[\d:]{7,8}) +(?P<year>\d{4})\b"
    rb"(?: (?P<zone>[A-Z+-]\S{1,5}) elapsed|\ntimezone: (?P<after>\S{1,6})$)?",
    re.MULTILINE,
)
_LIBRARIES = re.compile(rb".*\.(?:so|jsa)(?:\.[0-9.]+)?")


def _take(text: Text, position: int) -> Taken | None:
    data = text.data
    report = _REPORT.match(data, position)
    limit = len(data)
    if report is not None:
        following = _REPORT.search(data, report.end())
        limit = limit if following is None else following.start()
    heading = position if data.startswith(_HEADING, position) else data.find(b"\n" + _HEADING, position, limit) + 1
    begins = heading + len(_HEADING)
    # A blank line may be behind the heading of an excerpt, and anything behind that.
    rows = read_maps(text, begins) if data.startswith(_HEADING, heading) and data[begins : begins + 1].strip() else None
    if rows is None or not rows.mappings:
        if report is not None and is_blank(data, 0, position):
            # What else there is in such a file is no table.
            raise text.error(position, "this report of HotSpot has no memory map of Linux (Dynamic libraries): it may be cut off")
        return None
    end, mappings, cut = _end_of_rows(text, rows, is_report=report is not None)
    # Behind a section that somebody copied there may be the number of its mappings, and else nothing.
    warnings = (*rows.warnings, *end_warnings(text, rows)) if report is None and end == rows.end else rows.warnings
    table = SavedTable(MappingTable(mappings), _NAME, text.source, warnings=warnings)
    if report is None:
        return Taken(table, end, begun=True, cut=cut, reason=rows.reason)
    last = None if cut else _END.search(data, end, limit)
    stop = end if last is None else last.end()
    return Taken(_with_facts(table, report, data[report.end() : heading] + data[end:stop]), stop, begun=True, cut=cut, reason=rows.reason)


def _end_of_rows(text: Text, rows: Rows, *, is_report: bool) -> tuple[int, tuple[Mapping, ...], str | None]:
    """Where the memory map ends, its mappings, and why it is not whole (None if it is)."""
    data, end, mappings = text.data, rows.end, rows.mappings
    if end == len(data):
        if not is_report:
            return end, mappings, None
        # A row may be cut in its name without anything that shows it.
        return end, mappings[:-1] if text.unfinished is not None else mappings, "the report ends in its memory map"
    line, following = text.line(end)
    count = _COUNT.fullmatch(line)
    if count is not None and end != text.unfinished:
        missing = int(count[1]) - len(mappings)
        return following, mappings, f"it says that it had {count[1].decode()} mappings, here are {len(mappings)}" if missing else None
    if is_report and (line.strip() or end == text.unfinished):
        return end, mappings, f"the memory map breaks off: {quote(line)}"
    return end, mappings, None


def _with_facts(table: SavedTable, report: re.Match[bytes], rest: bytes) -> SavedTable:
    """The table with what its report says of the process."""
    pid = report["pid"] or (found[1] if (found := _PID.search(report[0])) else None)
    launcher = _launcher(table.table)
    arguments = found[1] if (found := _COMMAND.search(rest)) else b""
    moment_us = None
    if found := _TIME.search(rest):
        zone = found["zone"] or found["after"] or b""
        # strftime has +03 where a zone has no letters.
        zone += b"00" if re.fullmatch(rb"[+-]\d\d", zone) else b""
        moment_us = date_in(b" ".join(filter(None, (found["day"], zone, found["year"])))) or date_in(found["day"] + b" " + found["year"])
    return SavedTable(
        table.table,
        table.form,
        table.source,
        pid=int(pid) if pid else None,
        # HotSpot leaves out the name of the program, and what tells arguments from each other.
        command=b"\0".join([launcher, *arguments.split(), b""]) if arguments.strip() else None,
        comm=launcher,
        taken_at_us=moment_us,
        warnings=table.warnings,
    )


def _launcher(table: MappingTable) -> bytes:
    """The basename of the lowest program that is mapped: archives of classes may be mapped below it."""
    for mapping in table.mappings:
        name = mapping.name.removesuffix(DELETED)
        if "x" in mapping.perms and mapping.is_file and not mapping.is_shared_memory and not _LIBRARIES.fullmatch(name):
            return name.rsplit(b"/", 1)[-1]
    return b"java"


register(LineForm(_NAME, "HotSpot's hs_err_pid*.log, jcmd PID VM.info", _BEGINS, _take, _COUNT, in_report=True))
