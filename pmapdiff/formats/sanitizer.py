"""What AddressSanitizer and its like print when they cannot go on: `Process memory map follows:` and the names of all mappings.

From sanitizer_common.cpp, DumpProcessMap (seen of GCC 12): start, end and name, with tabs. Logs and tickets make blanks of those.
"""

from __future__ import annotations

import re

from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.rows import read_rows
from pmapdiff.model import Mapping, MappingTable
from pmapdiff.model.mapping import UNKNOWN_PERMS

# With log_exe_name=1 the name of the program stands before the pid.
_WHOSE = rb"[ \t]*==(?:(?P<exe>[^\n]{1,255})==)?(?P<pid>[1-9]\d{0,9})=="
_BEGINS = re.compile(rb"^" + _WHOSE + rb"Process memory map follows:[ \t]*$", re.MULTILINE)
_END = re.compile(rb"[ \t]*==(?:[^\n]{1,255}==)?[1-9]\d{0,9}==End of process memory map\.[ \t]*$", re.MULTILINE)
_ROW = re.compile(rb"[ \t]*0x([0-9a-f]{8,16})-0x([0-9a-f]{8,16})(?:\t(.*)|[ ]+(.*))?")
# Others print two addresses like this, too, but not a name or nothing behind them.
_BELONGS = re.compile(rb"(?:[ \t]+0x[0-9a-f]{8,16}-0x[0-9a-f]{8,16}[ \t]*(?:[/\[][^\n]*)?$)|" + _END.pattern, re.MULTILINE)
# TASK_COMM_LEN without its NUL.
_COMM_BYTES = 15


def _row(line: bytes) -> Mapping | None:
    match = _ROW.fullmatch(line)
    if match is None or int(match[2], 16) <= int(match[1], 16):
        return None
    name = match[3] or match[4] or b""
    return Mapping(int(match[1], 16), int(match[2], 16), UNKNOWN_PERMS, None, None, None, name if name.strip() else b"")


def _take(text: Text, position: int) -> Taken | None:
    begins = _BEGINS.match(text.data, position)
    assert begins is not None
    rows = read_rows(text, text.line(position)[1], _row, "a sanitizer's memory map")
    if not rows.mappings:
        return None
    comm = begins["exe"][:_COMM_BYTES] if begins["exe"] else None
    table = SavedTable(MappingTable(rows.mappings), "sanitizer", text.source, pid=int(begins["pid"]), comm=comm, warnings=rows.warnings)
    end = _END.match(text.data, rows.end)
    if end is None:
        return Taken(table, rows.end, begun=True, cut="the end of the memory map is missing", reason=rows.reason)
    return Taken(table, text.line(rows.end)[1], begun=True)


register(LineForm("sanitizer", "the memory map in a report of AddressSanitizer and its like", _BEGINS, _take, _BELONGS, in_report=True))
