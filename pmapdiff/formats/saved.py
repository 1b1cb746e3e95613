"""Saved files as snapshots: read, name, and give an identity to what has none."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.formats.base import SavedTable, all_forms, parse_saved
from pmapdiff.model import Capture, MappingTable, ProcessIdentity, ProcessInfo, Status
from pmapdiff.model.mapping import DELETED

STACK = b"[stack]"


def read_saved(path: str, form: str | None = None) -> list[SavedTable]:
    """The tables in a file. Raises FormatError if it is no table, NotFoundError if it cannot be read."""
    if form is not None and form not in all_forms():
        raise UsageError(f"--format {form}: one of {', '.join(all_forms())}")
    try:
        if Path(path).exists() and not Path(path).is_file() and not path.startswith(("/dev/fd/", "/dev/stdin", "/proc/")):
            # A shell's <(pmap -x 1) is a pipe that ends; one that nobody writes to never would.
            raise NotFoundError(f"cannot read {path}: it is no file")
        data = Path(path).read_bytes()
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from None
    return parse_saved(data, path, form)


def modified_us(path: str) -> int:
    """When a file was last modified, in µs since the epoch: the best guess at when its table was taken."""
    return Path(path).stat().st_mtime_ns // 1000


def saved_capture(saved: SavedTable, pid: int | None = None) -> Capture:
    """A saved table as a capture of a process; `pid` is for files that do not say."""
    number = saved.pid if saved.pid is not None else pid or 0
    command = saved.command or b""
    words = command.split()
    comm = words[0].rsplit(b"/", 1)[-1].rstrip(b":") if words else program_name(saved.table)
    info = ProcessInfo(ProcessIdentity("", number, 0, anchor_key(saved.table)), comm, command)
    torn = any(following.start < previous.end for previous, following in pairwise(saved.table.mappings))
    if torn:
        return Capture(info, Status.TORN, saved.table, note="its mappings overlap: it changed while it was read")
    return Capture(info, Status.COMPLETE, saved.table)


def anchor_key(table: MappingTable) -> str:
    """What stands in for the identity of a process whose table was saved: addresses that stay as long as it does.

    The start of its lowest file mapping (the program, or what was mapped below it) and the end of its stack: address layout
    randomisation moves both at every exec. Every form of saved table has them.
    """
    files = next((m.start for m in table.mappings if m.is_file), 0)
    stack = next((m.end for m in table.mappings if m.name == STACK), 0)
    return f"{files:x}-{stack:x}"


def program_name(table: MappingTable) -> bytes:
    """The basename of the lowest executable file mapping: the program, unless the loader was started by hand."""
    for mapping in table.mappings:
        if mapping.is_file and "x" in mapping.perms:
            return mapping.name.removesuffix(DELETED).rsplit(b"/", 1)[-1]
    return b""
