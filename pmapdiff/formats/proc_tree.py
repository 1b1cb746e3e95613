"""Files laid out like /proc: of a folder, of an archive, or of a text that holds many of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from pmapdiff.formats.base import SavedTable
from pmapdiff.model import Totals

_PATH = re.compile(r"(?:^|/)(?P<pid>[1-9]\d{0,9})/(?:task/\d{1,10}/)?(?P<name>\w+)$")
_STATUS_LINE = re.compile(rb"^(\w{1,30}):[ \t]*([^\n]*)$", re.MULTILINE)
_COMM_IN_STAT = re.compile(rb"\d+ \((.{0,64})\) [A-Za-z] ", re.DOTALL)
_CGROUP = re.compile(rb"^0::([^\n]*)$", re.MULTILINE)
_TABLES = ("smaps", "maps", "smaps_rollup")
KNOWN_FILES = (*_TABLES, "status", "stat", "comm", "cmdline", "cgroup")


class TreeFile(NamedTuple):
    """One file: its path, what is in it, and the line of the whole text that it begins in. `modified_us` is in µs since the epoch."""

    path: str
    data: bytes
    first_line: int = 1
    modified_us: int | None = None


Reader = Callable[[TreeFile, tuple[str, ...] | None], list[SavedTable]]
"""What reads the tables of a file: of the forms of these names, or of any."""


def place_of(path: str) -> tuple[int, str] | None:
    """The pid and the name of a file of /proc, by its path; None if it is no file of a process that anything is read from."""
    match = _PATH.search(path)
    return (int(match["pid"]), match["name"]) if match and match["name"] in KNOWN_FILES else None


def tables_of_tree(files: Iterable[TreeFile], read: Reader) -> list[SavedTable]:
    """The tables of these files, one a process; again one if a process comes a second time. Other files are read as texts of their own."""
    tables: list[SavedTable] = []
    # What was copied in one go is one moment, though its files are some milliseconds apart.
    looks: list[dict[int, dict[str, TreeFile]]] = []
    last_look: dict[int, int] = {}
    for file in files:
        place = place_of(file.path)
        if place is None:
            if file.data.strip():
                tables += read(file, None)
            continue
        pid, name = place
        number = last_look.get(pid, -1)
        if number < 0 or name in looks[number][pid]:
            # Another look at the same process, or the first one.
            number = last_look[pid] = number + 1
            if number == len(looks):
                looks.append({})
            looks[number][pid] = {}
        looks[number][pid][name] = file
    for look in looks:
        times = [file.modified_us for process in look.values() for name, file in process.items() if name in _TABLES and file.modified_us is not None]
        for pid, process in look.items():
            tables += _tables_of(pid, process, min(times, default=None), read)
    return tables


def _tables_of(pid: int, files: dict[str, TreeFile], moment_us: int | None, read: Reader) -> list[SavedTable]:
    """The table of one process, of the richest of its files: none of a kernel thread, which has only empty ones."""
    found = {name: read(files[name], (name,)) for name in _TABLES if name in files and files[name].data.strip()}
    smaps, maps, rollup = (found.get(name, []) for name in _TABLES)
    tables = smaps or maps or rollup
    totals = None
    if maps and rollup and not smaps:
        counted, rows = rollup[0].table.totals, maps[0].table.totals
        totals = Totals(rows.mappings, (rows.figures[0], *counted.figures[1:]))
    about = status_of(files["status"].data) if "status" in files else {}
    # In a container it says the pid that the process has in there.
    about["pid"] = pid
    if "cmdline" in files:
        about["command"] = files["cmdline"].data.removesuffix(b"\n")
    if "comm" in files:
        about["comm"] = files["comm"].data.strip(b"\n")
    elif "comm" not in about and "stat" in files and (match := _COMM_IN_STAT.match(files["stat"].data)):
        about["comm"] = match[1]
    if "cgroup" in files and (match := _CGROUP.search(files["cgroup"].data)):
        about["cgroup"] = match[1]
    return [replace(table, totals=totals, taken_at_us=table.taken_at_us or moment_us, **about) for table in tables]


def status_of(text: bytes) -> dict[str, Any]:
    """What /proc/PID/status says (Documentation/filesystems/proc.rst, table 1-2); nothing of what it does not have."""
    said = {match[1].decode(): match[2].strip() for match in _STATUS_LINE.finditer(text)}
    about: dict[str, Any] = {"comm": said["Name"]} if said.get("Name") else {}
    # Of the users the effective one, as the recorder has it: real, effective, saved, and that of file systems.
    for label, place, name in (("Pid", 0, "pid"), ("PPid", 0, "ppid"), ("Uid", 1, "uid"), ("Threads", 0, "threads"), ("VmHWM", 0, "vm_hwm_kib")):
        words = said.get(label, b"").split()[place : place + 1]
        if words and words[0].isdigit() and len(words[0]) < 16:
            about[name] = int(words[0])
    return about
