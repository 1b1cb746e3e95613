"""What Android's showmap writes for programs, since Android 13: `-o csv` and `-o json`."""

from __future__ import annotations

import csv
import re
from typing import Any

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Form, LineForm, Parse, SavedTable, Taken, Text, register
from pmapdiff.formats.json_text import beginning_of_json, read_json
from pmapdiff.formats.lines import quote
from pmapdiff.formats.showmap import COUNTERS, MAPPINGS, SIZE, TOTAL, Entry, table_of

_START, _END, _LETTERS, _NAME = "start addr", "end addr", "flags", "object"
_FIGURES = (SIZE, *COUNTERS, MAPPINGS)
_NUMBER = re.compile(r"\d{1,15}")
_HEX = re.compile(r"[0-9a-f]{1,16}")
_PERMS = re.compile(r"[r-][w-][x-]")
_MOST_KIB = 10**15

_HEADING = rb'"virtual size","RSS","PSS",(?:"[^"\n]{1,40}",){4,40}"object"[ \t]*$'
_CSV_BEGINS = re.compile(rb"^" + _HEADING, re.MULTILINE)
_CSV_BELONGS = re.compile(_HEADING + rb'|(?:\d{1,15},){7}[^\n]{0,400}"[/\[]', re.MULTILINE)
_JSON_BEGINS = re.compile(rb'\[\s*\{\s*"virtual size"\s*:')


def _entry(row: dict[str, Any]) -> Entry:
    """A row by the names of its columns. Raises ValueError."""
    figures = {}
    for column in _FIGURES:
        if column in row:
            value = row[column]
            if isinstance(value, str) and _NUMBER.fullmatch(value):
                value = int(value)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST_KIB:
                raise ValueError(f"{column} is no number of KiB")
            figures[column] = value
    name, start, end, letters = (row.get(column) or "" for column in (_NAME, _START, _END, _LETTERS))
    if not all(isinstance(value, str) for value in (name, start, end, letters)) or SIZE not in figures or _NAME not in row:
        raise ValueError("not a row of showmap")
    if any(value and not _HEX.fullmatch(value) for value in (start, end)) or (letters and not _PERMS.fullmatch(letters)):
        raise ValueError("not a row of showmap")
    try:
        raw = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "surrogatepass")
    if not (start and end):
        return Entry(figures, raw)
    return Entry(figures, raw, int(start, 16), int(end, 16), letters.encode() or None)


def _take_csv(text: Text, position: int) -> Taken | None:
    heading, end = text.line(position)
    columns = [column.strip('"') for column in heading.strip().decode("latin-1").split(",")]
    entries: list[Entry] = []
    total: Entry | None = None
    while end < len(text.data) and total is None:
        line, following = text.line(end)
        entry = _csv_entry(columns, line)
        if entry is None:
            break
        if entry.name == TOTAL:
            total = entry
        else:
            entries.append(entry)
        end = following
    if not entries:
        return None
    try:
        table, warnings = table_of(entries, total)
    except ValueError as error:
        raise text.error(position, str(error)) from None
    saved = SavedTable(table, "showmap-csv", text.source, warnings=tuple(warnings))
    reason = f"not a row of showmap: {quote(text.line(end)[0])}" if end < len(text.data) else None
    return Taken(saved, end, begun=True, cut="the TOTAL below it is missing" if total is None else None, reason=reason)


def _csv_entry(columns: list[str], line: bytes) -> Entry | None:
    try:
        (cells,) = csv.reader([line.decode("utf-8", "surrogateescape")], strict=True)
        return _entry(dict(zip(columns, cells, strict=True)))
    except (ValueError, csv.Error):
        return None


def _detect_json(head: bytes) -> bool:
    return _JSON_BEGINS.match(beginning_of_json(head)) is not None


def _parse_json(given: Parse) -> list[SavedTable]:
    read = read_json(given)
    tables = []
    for value, line in read.values:
        entries = []
        for number, row in enumerate(value if isinstance(value, list) else [value], start=1):
            try:
                entries.append(_entry(row if isinstance(row, dict) else {}))
            except ValueError as error:
                raise FormatError(f"row {number}: {error}", source=given.source, line=line) from None
        total = entries.pop() if entries and entries[-1].name == TOTAL else None
        if not entries:
            continue
        cut = None if total is not None else read.cut or "the TOTAL below it is missing"
        if cut is not None and not given.partial:
            raise FormatError(f"the file was cut off ({cut}): --partial takes what is whole", source=given.source, line=line)
        try:
            table, warnings = table_of(entries, total)
        except ValueError as error:
            raise FormatError(str(error), source=given.source, line=line) from None
        warnings += [] if cut is None else [f"this is only a part of the table: {cut}"]
        tables.append(SavedTable(table, "showmap-json", given.source, warnings=tuple(warnings), partial=cut))
    if not tables:
        raise FormatError("showmap saw no mappings", source=given.source, line=1)
    return tables


register(LineForm("showmap-csv", "Android's showmap -o csv", _CSV_BEGINS, _take_csv, _CSV_BELONGS))
register(Form("showmap-json", "Android's showmap -o json", _detect_json, _parse_json))
