"""What the forms share that give the output of another program: the kernel's files and pmap's tables, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TextIO

from pmapdiff.errors import UsageError
from pmapdiff.model import COUNTER_INDEX, Capture, Mapping, MappingTable, ProcessInfo, Snapshot
from pmapdiff.model.counters import dirty_kib
from pmapdiff.report.base import View
from pmapdiff.report.words import process_title
from pmapdiff.text import decode, printable


class Shown(NamedTuple):
    """A process with its table; `table` is None where none could be read."""

    process: ProcessInfo
    table: MappingTable | None


class _Need(NamedTuple):
    """Something that a form prints of every mapping: what it is called, and whether a mapping has it."""

    name: str
    known: Callable[[Mapping], bool]


def _counter(kernel: str) -> _Need:
    index = COUNTER_INDEX[kernel]
    return _Need(kernel, lambda mapping: mapping.counters[index] is not None)


_PLACE = (_Need("offset", lambda mapping: mapping.offset is not None), _Need("device", lambda mapping: mapping.device is not None))
_INODE = _Need("inode", lambda mapping: mapping.inode is not None)
_LINES = _Need("smaps text", lambda mapping: mapping.layout is not None)
_SHARED = tuple(map(_counter, ("Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty")))
_ROW = (_Need("addresses", lambda mapping: not mapping.is_sum), _Need("permissions", lambda mapping: "?" not in mapping.perms))
# Which counters -X prints is up to the kernel: these every kernel has that has Pss.
_NEEDS: dict[str, tuple[_Need, ...]] = {
    "pmap": (),
    "pmap-x": (_counter("Rss"), _Need("dirty", lambda mapping: dirty_kib(mapping.counters) is not None)),
    "pmap-d": _PLACE,
    "pmap-X": (*_PLACE, _INODE, _counter("Rss"), _counter("Pss")),
    "pmap-XX": (*_PLACE, _INODE, _counter("Rss"), _counter("Pss"), *_SHARED),
    "maps": (*_PLACE, _INODE),
    "smaps": (_LINES,),
    "smaps_rollup": (_LINES,),
}
_ALWAYS = ("text", "json", "csv")


def _missing(form: str, table: MappingTable) -> list[str]:
    return [need.name for need in (*_ROW, *_NEEDS[form]) if not all(map(need.known, table.mappings))]


def tables(result: Snapshot, view: View, form: str) -> list[Shown]:
    """The processes of a snapshot, with all their tables have to have in this form.

    Raises UsageError if one of them lacks something (nothing is made up for it), if there is no table at all, and for options that are not
    of this form.
    """
    if view.sort is not None or view.top or view.explain or view.by == "family":
        raise UsageError(f"--format {form} gives the table as it was: leave out --sort, --top, --by and --explain")
    if not any(capture.table is not None for capture in result.captures):
        raise UsageError(f"--format {form} prints mapping tables, and this snapshot has none{_why(result.captures)}")
    for capture in result.captures:
        if capture.table is not None and (missing := _missing(form, capture.table)):
            possible = [other for other in _NEEDS if not _missing(other, capture.table)]
            raise UsageError(
                f"the table of {process_title(capture.process)} has no {', '.join(missing)}, which --format {form} prints: "
                f"it can be shown as {', '.join((*possible, *_ALWAYS))}"
            )
    return [Shown(capture.process, capture.table) for capture in result.captures]


def one_table(result: Snapshot, view: View, form: str) -> tuple[Mapping, ...]:
    """The mappings of the only process of a snapshot: these forms do not say whose they are. Raises UsageError."""
    found = [shown.table for shown in tables(result, view, form) if shown.table is not None]
    if len(found) != 1:
        raise UsageError(f"--format {form} prints one process, this snapshot has the tables of {len(found)}: choose one with --pid")
    return found[0].mappings


def _why(captures: Sequence[Capture]) -> str:
    statuses = sorted({capture.status.value for capture in captures})
    return f" ({', '.join(statuses)})" if statuses else ""


def write_exact(out: TextIO, data: bytes) -> None:
    """Write bytes as they are; on a terminal, lines with whatever could drive it escaped.

    Programs that read a pipe get what they would get of pmap or the kernel, and both leave much of what strangers chose as it is: all of a
    name in `-X` and in smaps, C1 controls and what follows a lone leading byte of UTF-8 in a command line. Somebody who looks at a screen
    wants to see it, not to be driven by it.
    """
    out.flush()
    if out.isatty():
        out.write("\n".join([printable(decode(line)) for line in data.split(b"\n")]))
    else:
        out.buffer.write(data)
        out.buffer.flush()
