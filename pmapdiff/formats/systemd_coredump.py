"""What systemd-coredump says of a crash in the journal (COREDUMP_PROC_MAPS and its like): one table for each crash, other entries are passed over."""

from __future__ import annotations

import re
from collections.abc import Mapping as Fields
from dataclasses import replace
from typing import Any

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import DETECT_BYTES, Form, Parse, SavedTable, register
from pmapdiff.formats.journal import Entry, entries, is_export, is_json
from pmapdiff.formats.lines import part_warning
from pmapdiff.formats.maps import maps_inside
from pmapdiff.formats.proc_tree import status_of
from pmapdiff.model import Mapping, MappingTable
from pmapdiff.text import decode, printable

NAME = "systemd-coredump"
MAPS = "COREDUMP_PROC_MAPS"
# `coredumpctl info` shows entries for people, and not this field.
_INFO = re.compile(rb"(?:\s*(?:Hint|--)[^\n]*\n)?\s*PID: [0-9]+ \([^\n]*\)\n\s*UID: ")
# The first page of the kernel's buffer, which has at most 64 KiB (arm64, ppc64).
_PAGE_BYTES = 65536
_AT_THE_END = (b"[stack]", b"[vdso]")
SAVE_IT = "save it with 'journalctl -o export COREDUMP_PID=PID', or with -a -o json"


def crash_table(fields: Fields[str, bytes | None], maps: bytes, source: str, where: str, form: str = NAME) -> SavedTable:
    """The table of an entry whose maps are these. Fields with one underscore in front are of systemd-coredump, not of what crashed."""
    rows = maps_inside(maps, source, where)
    about = status_of(fields.get("COREDUMP_PROC_STATUS") or b"")
    about.update(_said(fields))
    return SavedTable(MappingTable(rows.mappings), form, source, warnings=rows.warnings, **about)


def marked(table: SavedTable, maps: bytes) -> SavedTable:
    """The table of these maps, marked as a part if systemd has kept no more."""
    reason = _why_partial(table.table.mappings, maps)
    return table if reason is None else _as_part(table, reason)


def _as_part(table: SavedTable, reason: str) -> SavedTable:
    return replace(table, partial=reason, warnings=(*table.warnings, part_warning(reason)))


def _why_partial(mappings: tuple[Mapping, ...], maps: bytes) -> str | None:
    """Why a table may have more rows than are there; None if it is whole.

    Up to systemd 257, systemd-coredump reads /proc/PID/maps once, and the kernel gives a page at a time, up to the last whole row in it
    (systemd#36131). Where an address space ends, there are its stack and the kernel's own pages.
    """
    if not maps.endswith(b"\n"):
        return "its last row does not end"
    names = {mapping.name for mapping in mappings}
    if len(maps) > _PAGE_BYTES or names.issuperset(_AT_THE_END):
        return None
    return f"{MAPS} has {len(maps):,} bytes and no [stack] and [vdso]: systemd may keep only the first page of maps"


def _said(fields: Fields[str, bytes | None]) -> dict[str, Any]:
    about: dict[str, Any] = {}
    for name, key in (("COMM", "comm"), ("EXE", "exe"), ("CMDLINE", "command"), ("CGROUP", "cgroup")):
        if value := fields.get(f"COREDUMP_{name}"):
            about[key] = value
    for name, key in (("PID", "pid"), ("UID", "uid")):
        if (number := _number(fields.get(f"COREDUMP_{name}"))) is not None:
            about[key] = number
    # Text, and so safe to print wherever it is read: the views of the store give it as it is, and PostgreSQL takes no NUL.
    # A unit of a user's is one of the systemd that the unit of the system runs.
    if unit := fields.get("COREDUMP_USER_UNIT") or fields.get("COREDUMP_UNIT"):
        about["unit"] = printable(decode(unit))
    if host := fields.get("COREDUMP_HOSTNAME") or fields.get("_HOSTNAME"):
        about["host"] = printable(decode(host))
    times = (_number(fields.get(name)) for name in ("COREDUMP_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"))
    about["taken_at_us"] = next((time for time in times if time), None)
    return about


def _number(value: bytes | None) -> int | None:
    return int(value) if value is not None and value.isdigit() and len(value) < 18 else None


def _parse(given: Parse) -> list[SavedTable]:
    given.stream.seek(0)
    head = given.stream.read(DETECT_BYTES)
    if _INFO.match(head):
        raise FormatError(f"coredumpctl info does not show the maps of a process: {SAVE_IT}", source=given.source)
    tables: list[SavedTable] = []
    missing: Entry | None = None
    for entry in entries(given, head):
        if entry.cut is not None and not given.partial:
            raise FormatError(f"{entry.cut}: --partial takes what is whole", source=given.source)
        if MAPS in entry.fields:
            table = _table_of(entry, given)
            tables += [table] if table is not None else []
        elif "COREDUMP_PID" in entry.fields:
            missing = missing or entry
    if not tables:
        where = f"{missing.place} is of a crash and has no {MAPS}" if missing else f"no entry of this journal has a {MAPS}"
        raise FormatError(f"{where}: {SAVE_IT}", source=given.source)
    return tables


def _table_of(entry: Entry, given: Parse) -> SavedTable | None:
    """The table of an entry that has maps, or had some before they were left out."""
    maps = entry.fields[MAPS]
    if maps is None:
        if given.partial:
            return None
        raise FormatError(f"{entry.place}: JSON has null for {MAPS}, as for all fields of 4,096 bytes and more: {SAVE_IT}", source=given.source)
    if entry.cut is None:
        return marked(crash_table(entry.fields, maps, given.source, f"{entry.place}: {MAPS}"), maps)
    whole = maps[: maps.rfind(b"\n") + 1]
    return _as_part(crash_table(entry.fields, whole, given.source, f"{entry.place}: {MAPS}"), entry.cut) if whole else None


register(
    Form(
        NAME,
        "a crash in the journal: journalctl -o export, -a -o json",
        lambda head: is_export(head) or is_json(head) or _INFO.match(head) is not None,
        _parse,
    )
)
