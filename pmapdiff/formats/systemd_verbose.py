"""The same entries of the journal as people read and paste them: `journalctl -o verbose`."""

from __future__ import annotations

import re

from pmapdiff.formats.base import LineForm, Taken, Text, register
from pmapdiff.formats.smaps import HEADER_LINE
from pmapdiff.formats.systemd_coredump import MAPS, SAVE_IT, crash_table, marked

_NAME = "systemd-coredump-verbose"
# The time, and the cursor of the entry.
_BEGINS = re.compile(rb"^[^\n\[]{0,80}\[s=[0-9a-f]{32};i=[0-9a-f]{1,16};b=[^\n]{0,200}\]$", re.MULTILINE)
# Further lines of a value stand below its beginning.
_FIELD = re.compile(rb" {4}([A-Z_][A-Z0-9_]{0,63})=(.*)")
_MARGIN = 5
_BLOB = re.compile(rb"\[[0-9.]+[A-Z]? blob data\]")


def _take(text: Text, position: int) -> Taken | None:
    fields: dict[str, list[bytes]] = {}
    key, margin, maps_at = "", b" " * _MARGIN, position
    end = position = text.line(position)[1]
    while position < len(text.data):
        line, following = text.line(position)
        if match := _FIELD.fullmatch(line):
            # The first one of several.
            name = match[1].decode()
            key = "" if name in fields else name
            fields.setdefault(name, [match[2]])
            margin = b" " * (_MARGIN + len(name))
            maps_at = position if key == MAPS else maps_at
        elif key == MAPS and position == text.unfinished:
            # Whatever it was to become; other fields always follow.
            end = following
            break
        elif line.startswith((margin, b" " * _MARGIN)) or (key == MAPS and HEADER_LINE.match(line)):
            # The margin of rows may have been taken off already.
            if key:
                fields[key].append(line.removeprefix(margin) if line.startswith(margin) else line.lstrip(b" "))
        elif line.strip():
            break
        if line.strip():
            end = following
        position = following
    if MAPS not in fields:
        return None
    if _BLOB.fullmatch(fields[MAPS][0]):
        raise text.error(maps_at, f"{MAPS} is not shown, because it is not printable: {SAVE_IT}")
    reason = None
    if key == MAPS and end == len(text.data):
        reason = f"the file was cut off in {MAPS}"
    rows = b"".join(row + b"\n" for row in fields[MAPS] if row.strip())
    if not rows:
        return None
    values: dict[str, bytes | None] = {name: b"\n".join(lines) for name, lines in fields.items()}
    table = crash_table(values, rows, text.source, f"line {text.number(maps_at)}: {MAPS}", _NAME)
    return Taken(marked(table, rows) if reason is None else table, end, begun=True, cut=reason)


register(LineForm(_NAME, "a crash in the journal: journalctl -o verbose", _BEGINS, _take, re.compile(rb"[ \t]*COREDUMP_PROC_MAPS="), in_report=True))
