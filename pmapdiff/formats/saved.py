"""Saved files as snapshots: read, name, and give an identity to what has none."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pmapdiff.errors import FormatError, NotFoundError, UsageError
from pmapdiff.formats.base import Parse, SavedTable, all_forms, no_progress, parse_file, plausible
from pmapdiff.formats.lines import count_overlaps
from pmapdiff.formats.proc_tree import KNOWN_FILES, TreeFile, place_of, tables_of_tree
from pmapdiff.formats.texts import read_file
from pmapdiff.formats.unpack import copy_some, spooled, unpack
from pmapdiff.model import Capture, MappingTable, ProcessIdentity, ProcessInfo, Status
from pmapdiff.model.mapping import DELETED

STACK = b"[stack]"
STANDARD_INPUT = "-"
# What a shell's <(pmap -x 1) and the like are called: pipes that end. Others may never.
_ENDING_PIPES = ("/dev/fd/", "/dev/stdin", "/proc/")
_CHUNK = 1 << 20


def read_saved(path: str, form: str | None = None, *, partial: bool = False, progress: Callable[[float], None] = no_progress) -> list[SavedTable]:
    """The tables in a file, a folder laid out like /proc, or ("-") standard input.

    Each says when it was taken: what the file says, else when it was last modified. With `partial`, of what was cut off the part that is
    there. `progress` is told what share of the file is done. Raises FormatError if it is
    no table, NotFoundError if it cannot be read, UsageError for a form that does not exist.
    """
    if form is not None and form not in all_forms():
        raise UsageError(f"there is no form {form!r} of saved files: one of {', '.join(all_forms())}")
    try:
        if os.path.isdir(path):
            tables = _read_folder(Parse(spooled(), path, form, partial, progress))
        else:
            with opened(path) as stream:
                tables = parse_file(Parse(unpack(stream, path, partial=partial), path, form, partial, progress))
        modified_us = modified(path)
        return [replace(table, taken_at_us=modified_us) if table.taken_at_us is None else table for table in tables]
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror or error}") from None


def modified(path: str) -> int:
    """When a file was last modified, in µs since the epoch. What is read of a process that runs is of now, whatever the kernel says of its file."""
    is_live = path == STANDARD_INPUT or path.startswith(_ENDING_PIPES)
    return time.time_ns() // 1000 if is_live else Path(path).stat().st_mtime_ns // 1000


def opened(path: str) -> BinaryIO:
    """A file, or ("-") standard input, at its beginning, seekable. Raises NotFoundError for what is no file, OSError for what cannot be read."""
    if path != STANDARD_INPUT and os.path.isfile(path) and not path.startswith(_ENDING_PIPES):
        return open(path, "rb")
    if path != STANDARD_INPUT and os.path.exists(path) and not path.startswith(_ENDING_PIPES):
        raise NotFoundError(f"cannot read {path}: it is no file")
    # Files of /proc have no size, and pipes no second time.
    copy = spooled()
    with open(sys.stdin.fileno(), "rb", closefd=False) if path == STANDARD_INPUT else open(path, "rb") as stream:
        copy_some(iter(lambda: stream.read(_CHUNK), b""), copy)
    copy.seek(0)
    return copy


def _read_folder(given: Parse) -> list[SavedTable]:
    """The tables of a folder that holds PID/smaps and the like, or is such a PID, or holds a proc that does."""
    root = Path(given.source)
    if root.resolve() == Path("/proc"):
        raise UsageError("/proc is not saved: 'pmapdiff record --all' reads it with less harm, and notices what changes meanwhile")
    tables = tables_of_tree(_files_below(root), lambda file, names: read_file(file, names, given, file.path))
    if not tables:
        raise FormatError("there is no PID/smaps or PID/maps with a mapping in this folder", source=given.source)
    return [plausible(table) for table in tables]


def _files_below(root: Path) -> Iterator[TreeFile]:
    whose = root.resolve()
    folders = [whose] if whose.name.isdigit() else []
    for folder in (whose, whose / "proc"):
        if folder.is_dir():
            folders += sorted((child for child in folder.iterdir() if child.name.isdigit()), key=lambda child: int(child.name))
    for folder in folders:
        for name in KNOWN_FILES:
            file = folder / name
            if place_of(str(file)) is not None and file.is_file():
                yield TreeFile(str(file), file.read_bytes(), modified_us=file.stat().st_mtime_ns // 1000)


class Moment(NamedTuple):
    """What was saved of one moment (in µs since the epoch): a capture of each process, and the host if the files say it."""

    taken_at_us: int
    source: str
    host: str | None
    captures: tuple[Capture, ...]


def moments_of(tables: Sequence[SavedTable], pid: int | None = None) -> list[Moment]:
    """The moments that tables are of, in order: one a file, and another where a pid comes again or the file says another time.

    `pid` is for tables that do not say whose they are.
    """
    found: list[tuple[tuple[str, str | None, int], dict[Hashable, Capture]]] = []
    latest: dict[tuple[str, str | None, int], dict[Hashable, Capture]] = {}
    for table in tables:
        key = (table.source, table.host, table.taken_at_us or 0)
        capture = saved_capture(table, pid)
        # Whatever has become of its process, a pid is there once at any time.
        who: Hashable = capture.process.pid or capture.process.identity
        members = latest.get(key)
        if members is None or who in members:
            members = latest[key] = {}
            found.append((key, members))
        members[who] = capture
    return [Moment(taken_at_us, source, host, tuple(members.values())) for (source, host, taken_at_us), members in found]


def saved_capture(saved: SavedTable, pid: int | None = None) -> Capture:
    """A saved table as a capture of a process; `pid` is for files that do not say."""
    number = saved.pid if saved.pid is not None else pid or 0
    command = saved.command or b""
    words = command.replace(b"\0", b" ").split()
    comm = saved.comm or (words[0].rsplit(b"/", 1)[-1].rstrip(b":") if words else program_name(saved.table))
    info = ProcessInfo(
        ProcessIdentity("", number, 0, anchor_key(saved.table)),
        comm,
        command,
        saved.exe,
        saved.ppid,
        saved.uid,
        saved.cgroup,
        unit=saved.unit,
    )
    torn = count_overlaps(saved.table.mappings) > 0
    status, note = Status.COMPLETE, None
    if saved.partial is not None:
        status, note = Status.PARTIAL, saved.partial
    elif torn:
        status, note = Status.TORN, "its mappings overlap: it changed while it was read"
    elif saved.totals is not None:
        status = Status.MAPS_ONLY
    return Capture(info, status, saved.table, totals=saved.totals, threads=saved.threads, vm_hwm_kib=saved.vm_hwm_kib, note=note)


def anchor_key(table: MappingTable) -> str:
    """What stands in for the identity of a process whose table was saved: addresses that stay as long as it does.

    The start of its lowest file mapping (the program, or what was mapped below it) and the end of its stack: address layout
    randomisation moves both at every exec. Sums have no addresses, and no identity but what is said of them.
    """
    if table.has_sums:
        return "sums"
    files = next((m.start for m in table.mappings if m.is_file), 0)
    stack = next((m.end for m in table.mappings if m.name == STACK), 0)
    return f"{files:x}-{stack:x}"


def program_name(table: MappingTable) -> bytes:
    """The basename of the lowest executable file mapping: the program, unless the loader was started by hand."""
    for mapping in table.mappings:
        if mapping.is_file and "x" in mapping.perms:
            return mapping.name.removesuffix(DELETED).rsplit(b"/", 1)[-1]
    return b""
