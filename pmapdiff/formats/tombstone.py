"""The memory map in a tombstone, the crash report of Android.

From libdebuggerd's tombstone.cpp, dump_all_maps (Android 12; older ones do not count the entries): the last address of each mapping instead of its
end, with a quote in the middle of 64 bits, `rwx`, offset and size, and what the unwinder knows of a library behind its name.
"""

from __future__ import annotations

import re
from typing import Any

from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.dates import date_in
from pmapdiff.formats.rows import perms_of_letters, read_rows
from pmapdiff.model import Mapping, MappingTable

_BEGINS = re.compile(rb"^[ \t]*memory map(?: \((?P<count>\d{1,7}) entr(?:y|ies)\))?:(?: \(fault address prefixed with --->\))?[ \t]*$", re.MULTILINE)
_ADDRESS = rb"([0-9a-f]{8}(?:'?[0-9a-f]{8})?)"
_ROW = re.compile(rb"[ \t]*(?:--->)?" + _ADDRESS + rb"-" + _ADDRESS + rb" ([r-][w-][x-]) +([0-9a-f]{1,16}) +([0-9a-f]{1,16})(?: +(\S.*)|[ \t]*)")
# Where the address that could not be read is in none of them.
_FAULT = re.compile(rb"[ \t]*--->Fault address falls at \S{1,20} (?:before|between|after) (?:any )?mapped regions[ \t]*")
_BELONGS = re.compile(_ROW.pattern + rb"$|" + _FAULT.pattern + rb"$", re.MULTILINE)
_KNOWN_OF_LIBRARY = re.compile(rb"(?:^| )\((?:BuildId: [0-9a-f]{2,128}|load bias 0x[0-9a-f]{1,16})\)$")
_LOOK_BACK_BYTES = 1 << 18
_TOMBSTONE = b"\n*** *** ***"
_ABOUT = re.compile(
    rb"^(?:Timestamp: (?P<moment>\S+ \S+)|Cmdline: (?P<command>[^\n]+)"
    rb"|pid: (?P<pid>[1-9]\d{0,9}), tid: \d+, name: [^\n]*?  >>> (?P<name>[^\n]*) <<<|uid: (?P<uid>\d{1,10}))$",
    re.MULTILINE,
)


def _row(line: bytes) -> Mapping | None:
    match = _ROW.fullmatch(line)
    if match is None:
        return None
    start, last = (int(match[number].replace(b"'", b""), 16) for number in (1, 2))
    if last < start or last + 1 - start != int(match[5], 16):
        return None
    name = match[6] or b""
    while known := _KNOWN_OF_LIBRARY.search(name):
        name = name[: known.start()]
    return Mapping(start, last + 1, perms_of_letters(match[3], name), int(match[4], 16), None, None, name)


def _about(text: Text, position: int) -> dict[str, Any]:
    """Whose map it is, and of when: the tombstone says so above it, and above what it says of the thread that crashed."""
    # What was looked at for one map is not looked at again for the next: there may be very many of them.
    begun = max(text.notes.get("tombstone", 0), position - _LOOK_BACK_BYTES)
    text.notes["tombstone"] = position
    begun = max(begun, text.data.rfind(_TOMBSTONE, begun, position))
    about: dict[str, Any] = {}
    for match in _ABOUT.finditer(text.data, begun, position):
        if match["pid"]:
            # A thread of the same process has a line like this, too.
            about["pid"] = int(match["pid"])
            about.setdefault("command", match["name"])
        elif match["command"]:
            about["command"] = match["command"]
        elif match["uid"]:
            about["uid"] = int(match["uid"])
        elif (moment_us := date_in(match["moment"])) is not None:
            about["taken_at_us"] = moment_us
    return about


def _take(text: Text, position: int) -> Taken | None:
    begins = _BEGINS.match(text.data, position)
    assert begins is not None
    rows = read_rows(text, text.line(position)[1], _row, "a tombstone's memory map", skip=_FAULT)
    if not rows.mappings:
        return None
    found = len(rows.mappings)
    claimed = int(begins["count"]) if begins["count"] else found
    warnings = rows.warnings if found <= claimed else (*rows.warnings, f"the heading says {claimed:,} entries, there are {found:,}")
    cut = f"the memory map has {found:,} of {claimed:,} entries" if found < claimed else None
    table = SavedTable(MappingTable(rows.mappings), "tombstone", text.source, warnings=warnings, **_about(text, position))
    return Taken(table, rows.end, begun=True, cut=cut, reason=rows.reason)


register(LineForm("tombstone", "the memory map in a tombstone of Android", _BEGINS, _take, _BELONGS, in_report=True))
