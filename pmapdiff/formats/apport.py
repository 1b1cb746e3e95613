"""The crash files of apport (Ubuntu, /var/crash): the maps of the process, and most of what /proc said of it, in one file with its core.

A file of `Key: value` lines; what goes on in further lines begins with a blank there (problem_report.py of apport 2.28).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Form, Parse, SavedTable, register
from pmapdiff.formats.dates import date_in
from pmapdiff.formats.lines import NO_LAST_END, part_warning, quote
from pmapdiff.formats.maps import maps_inside
from pmapdiff.formats.proc_tree import status_of
from pmapdiff.formats.rows import Rows
from pmapdiff.model import MappingTable

_MAPS = b"ProcMaps"
# The core, in Base64, is nearly all of the file: it is read past, a piece at a time.
_WANTED = frozenset((_MAPS, b"ProblemType", b"Date", b"ExecutablePath", b"InterpreterPath", b"ProcCmdline", b"ProcStatus"))
_LINE_BYTES = 1 << 20
# apport writes ProblemType first; what else may stand before it was put there by other tools.
_BEGINS = re.compile(rb"(?:[A-Za-z_][\w.-]{0,60}:(?: [^\n]*)?\r?\n){0,20}ProblemType: ")
_KEY = re.compile(rb"([A-Za-z_][\w.-]{0,200}):(?: (.*)|)", re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)| ", re.DOTALL)


class _Value(NamedTuple):
    """What stands under a key: its text, the line of the file in which it begins, and whether the file goes on behind it."""

    text: bytes
    line: int
    is_whole: bool


def _parse(given: Parse) -> list[SavedTable]:
    report, is_ended = _read(given)
    maps = report.get(_MAPS)
    if maps is None:
        kind = quote(report[b"ProblemType"].text) if b"ProblemType" in report else "missing"
        raise FormatError(
            f"there is no ProcMaps in this report of apport (its ProblemType is {kind}): it is of no crash, or was cut off before",
            source=given.source,
        )
    if maps.text.startswith(b"Error: "):
        raise FormatError(f"apport could not read the maps of the process: {quote(maps.text)}", source=given.source, line=maps.line)
    text, reason = maps.text, None
    if not maps.is_whole:
        reason = "the file was cut off in ProcMaps"
        text = text[: text.rfind(b"\n") + 1]
        if not given.partial or not text.strip():
            raise FormatError(f"{reason}: --partial takes what is whole", source=given.source, line=maps.line + maps.text.count(b"\n"))
    rows = maps_inside(text, given.source, "ProcMaps", maps.line)
    return [_table(report, rows, given.source, reason, is_ended)]


def _table(report: dict[bytes, _Value], rows: Rows, source: str, reason: str | None, is_ended: bool) -> SavedTable:
    about = status_of(report[b"ProcStatus"].text) if b"ProcStatus" in report else {}
    said = {key: value.text for key, value in report.items()}
    command = said.get(b"ProcCmdline")
    warnings = (*rows.warnings, part_warning(reason)) if reason else rows.warnings
    return SavedTable(
        MappingTable(rows.mappings),
        "apport",
        source,
        # The words have a blank between them, and a backslash before their own blanks and backslashes (Report.add_proc_info).
        command=_ESCAPED.sub(lambda match: match[1] or b"\0", command) + b"\0" if command else None,
        # Of a script it is the interpreter that runs.
        exe=said.get(b"InterpreterPath") or said.get(b"ExecutablePath"),
        taken_at_us=date_in(said.get(b"Date", b"")),
        warnings=warnings if is_ended or reason else (*warnings, NO_LAST_END),
        partial=reason,
        **about,
    )


def _read(given: Parse) -> tuple[dict[bytes, _Value], bool]:
    """The wanted values of a report, and whether its last line ends."""
    report: dict[bytes, _Value] = {}
    key, begun, parts, is_ended = b"", 1, [b""], True
    for number, line in _lines(given):
        is_ended = line.endswith(b"\n")
        if line.startswith(b" "):
            if key in _WANTED:
                parts.append(line[1:])
            continue
        if key in _WANTED:
            report.setdefault(key, _Value(b"".join(parts).strip(b"\n"), begun, True))
        match = _KEY.fullmatch(line.removesuffix(b"\n"))
        if match is None and line.strip() and is_ended:
            raise FormatError(f"neither a key nor the continuation of one: {quote(line.rstrip())}", source=given.source, line=number)
        key, parts = (match[1], [(match[2] or b"") + b"\n"]) if match else (b"", [])
        # What begins in the line of the key is a value of one line.
        begun = number if match is not None and match[2] else number + 1
    if key in _WANTED:
        report.setdefault(key, _Value(b"".join(parts).lstrip(b"\n"), begun, False))
    return report, is_ended


def _lines(given: Parse) -> Iterator[tuple[int, bytes]]:
    r"""The lines of a file by their numbers, with their ends; never more of one than `_LINE_BYTES` at a time unless it is wanted."""
    size = max(1, given.stream.seek(0, 2))
    given.stream.seek(0)
    number, goes_on = 1, False
    while line := given.stream.readline(_LINE_BYTES):
        # The rest of a long line is a continuation, too.
        is_end = line.endswith(b"\n")
        line = line[:-2] + b"\n" if line.endswith(b"\r\n") else line
        yield number, b" " + line if goes_on else line
        goes_on = not is_end
        number += is_end
        given.progress(given.stream.tell() / size)


register(Form("apport", "apport's crash file", lambda head: _BEGINS.match(head) is not None, _parse))
