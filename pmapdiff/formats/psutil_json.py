"""What psutil's `memory_maps()` gives, as JSON: alone, in what `Process.as_dict()` gives, or of many processes.

From psutil/_pslinux.py and psutil/__init__.py, memory_maps (7.2): all values are in bytes, memory without a name is called `[anon]`, and
` (deleted)` is taken off where no such file is there. Grouped rows are sums over the mappings of one name, the others have addresses and permissions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as Keyed
from dataclasses import replace
from typing import Any

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Form, Parse, SavedTable, register
from pmapdiff.formats.json_text import beginning_of_json, read_json
from pmapdiff.formats.lines import count_overlaps, overlap_warning
from pmapdiff.formats.sums import sum_table
from pmapdiff.model import COUNTER_INDEX, NO_COUNTERS, Counters, Mapping, MappingTable
from pmapdiff.model.mapping import ADDRESS_LIMIT

# The order in which psutil's named tuples have them, behind the path; JSON makes lists of those.
_FIELDS = ("rss", "size", "pss", "shared_clean", "shared_dirty", "private_clean", "private_dirty", "referenced", "anonymous", "swap")
_GROUPED = ("path", *_FIELDS)
_UNGROUPED = ("addr", "perms", "path", *_FIELDS)
_COUNTERS = {field: COUNTER_INDEX[field.title()] for field in _FIELDS if field != "size"}
_UNNAMED = "[anon]"
_ADDRESSES = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16})")
_PERMS = re.compile(r"[r-][w-][x-][sp]")
# A stack's guard page is in Size, but not in its addresses, of kernels before 4.13: it may have any size that pages have.
_GUARDS_KIB = (0, 4, 16, 64)
_MOST_BYTES = 1 << 64
_MOST_PID = 1 << 22

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_KEYS = re.compile(rb'"(?:memory_maps|memory_full_info|num_ctx_switches)"\s*:')
_ROW_KEYS = (re.compile(rb'"rss"\s*:'), re.compile(rb'"path"\s*:'))
_FIRST_OBJECT = re.compile(rb"\[\s*\{")
_FIRST_LIST = re.compile(
    rb"\[\s*\[\s*(?:" + _STRING + rb'\s*,\s*"[r-][w-][x-][sp]"\s*,\s*)?' + _STRING + rb"(?:\s*,\s*\d{1,20}){" + b"%d" % len(_FIELDS) + rb"}\s*\]"
)
_ROW_BYTES = 1 << 14


def _detect(head: bytes) -> bool:
    head = beginning_of_json(head)
    if not head:
        return False
    if _FIRST_LIST.match(head) or _KEYS.search(head):
        return True
    return _FIRST_OBJECT.match(head) is not None and all(key.search(head, 0, _ROW_BYTES) for key in _ROW_KEYS)


def _is_process(value: Any) -> bool:
    return isinstance(value, dict) and "memory_maps" in value


def _parse(given: Parse) -> list[SavedTable]:
    read = read_json(given)
    processes = [process for value, _ in read.values for process in _processes(value)]
    tables = []
    for number, process in enumerate(processes, start=1):
        whose = f"process {number}" if len(processes) > 1 else ""
        cut = read.cut if number == len(processes) else None
        table = _table(process, whose, cut, given)
        if table is not None:
            tables.append(table)
    if not tables:
        raise FormatError(
            "there is no process with memory_maps in this file, or none that psutil was allowed to look at", source=given.source, line=1
        )
    denied = sum(process["memory_maps"] is None for process in processes)
    if denied:
        said = f"psutil was not allowed to read the mappings of {denied:,} of {len(processes):,} processes"
        tables[0] = replace(tables[0], warnings=(*tables[0].warnings, said))
    return tables


def _processes(value: Any) -> Iterator[Keyed[str, Any]]:
    """The processes in a value: itself, those in a list, or one of which nothing is known but its rows."""
    if _is_process(value):
        yield value
    elif isinstance(value, list) and any(_is_process(each) for each in value):
        yield from (each for each in value if _is_process(each))
    elif isinstance(value, list) and value and not (isinstance(value[0], dict) and "rss" not in value[0]):
        yield {"memory_maps": value}


def _table(process: Keyed[str, Any], whose: str, cut: str | None, given: Parse) -> SavedTable | None:
    """The table of a process; None if psutil was not allowed to look at its mappings, or it has none."""
    rows = process["memory_maps"]
    if not rows:
        return None
    if not isinstance(rows, list):
        raise FormatError(f"{whose or 'memory_maps'}: not a list of mappings", source=given.source)
    mappings: list[Mapping] = []
    sums: list[tuple[bytes, int | None, Counters]] = []
    for number, row in enumerate(rows, start=1):
        try:
            _take_row(row, mappings, sums)
        except ValueError as error:
            where = f"{whose}, row {number}" if whose else f"row {number}"
            raise FormatError(f"{where}: {error}", source=given.source) from None
    if mappings and sums:
        raise FormatError(f"{whose or 'memory_maps'}: rows with addresses, and others without", source=given.source)
    # They may have been sorted by what the writer cared for.
    mappings.sort(key=lambda mapping: (mapping.start, mapping.end))
    overlaps = count_overlaps(mappings)
    warnings = [overlap_warning(overlaps)] if overlaps else []
    if cut is not None:
        warnings.append(f"this is only a part of the table: {cut}")
    table = MappingTable(tuple(mappings)) if mappings else sum_table(sums)
    return SavedTable(table, "psutil", given.source, warnings=tuple(warnings), partial=cut, **_about(process))


def _take_row(row: Any, mappings: list[Mapping], sums: list[tuple[bytes, int | None, Counters]]) -> None:
    """Add a row to the mappings, or to the sums if it has no addresses. Raises ValueError."""
    if isinstance(row, list):
        names = {len(_GROUPED): _GROUPED, len(_UNGROUPED): _UNGROUPED}.get(len(row))
        if names is None:
            raise ValueError(f"{len(row)} values, neither {len(_GROUPED)} nor {len(_UNGROUPED)}")
        row = dict(zip(names, row, strict=True))
    if not isinstance(row, dict) or not isinstance(row.get("path"), str) or "rss" not in row:
        raise ValueError("neither path and rss nor a list of them")
    path = row["path"]
    name = b"" if path == _UNNAMED else _bytes(path)
    counters = list(NO_COUNTERS)
    for field, index in _COUNTERS.items():
        counters[index] = _kib(row, field)
    size_kib = _kib(row, "size")
    if "addr" not in row:
        sums.append((name, size_kib, tuple(counters)))
        return
    addresses = _ADDRESSES.fullmatch(row["addr"]) if isinstance(row["addr"], str) else None
    perms = row.get("perms")
    if addresses is None or not isinstance(perms, str) or not _PERMS.fullmatch(perms):
        raise ValueError("addr and perms are not those of a mapping")
    start, end = int(addresses[1], 16), int(addresses[2], 16)
    if not start < end <= ADDRESS_LIMIT:
        raise ValueError("addresses that cannot be")
    if size_kib is not None and size_kib - ((end - start) >> 10) not in _GUARDS_KIB:
        raise ValueError(f"size is {size_kib} KiB, but the addresses span {(end - start) >> 10} KiB")
    mappings.append(Mapping(start, end, perms, None, None, None, name, counters=tuple(counters)))


def _kib(row: Keyed[str, Any], field: str) -> int | None:
    """A value in KiB, None if the row lacks it. Raises ValueError."""
    value = row.get(field)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST_BYTES or value % 1024:
        raise ValueError(f"{field} is no number of bytes in whole KiB")
    return value >> 10


def _bytes(text: str) -> bytes:
    """The bytes that psutil made this text of: those that are no UTF-8 became lone surrogates."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _about(process: Keyed[str, Any]) -> dict[str, Any]:
    """What as_dict() says of a process; nothing of what is not there or not what it should be."""
    about: dict[str, Any] = {}
    for field, name, most in (("pid", "pid", _MOST_PID), ("ppid", "ppid", _MOST_PID), ("num_threads", "threads", _MOST_PID)):
        value = process.get(field)
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most:
            about[name] = value
    for field, name in (("name", "comm"), ("exe", "exe")):
        value = process.get(field)
        if isinstance(value, str) and value:
            about[name] = _bytes(value)
    command = process.get("cmdline")
    if isinstance(command, list) and command and all(isinstance(word, str) for word in command):
        about["command"] = b"".join(_bytes(word) + b"\0" for word in command)
    uids = process.get("uids")
    # Real, effective, saved: the recorder has the effective one.
    uid = uids.get("effective") if isinstance(uids, dict) else uids[1] if isinstance(uids, list) and len(uids) > 1 else None
    if isinstance(uid, int) and not isinstance(uid, bool) and 0 <= uid < 1 << 32:
        about["uid"] = uid
    return about


register(Form("psutil", "psutil's memory_maps as JSON", _detect, _parse))
