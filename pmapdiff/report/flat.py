"""Flat tables of any number of snapshots: their columns, and their rows as they come.

Here is the one list of columns that `show --format csv`, `export` in all its forms and the frames share. Memory is in KiB,
moments are µs since the epoch, addresses "0x…" strings; None is a missing value, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from pmapdiff.model import COUNTERS, FIGURES, Capture, ProcessIdentity, Snapshot, Totals
from pmapdiff.model.counters import sum_figures
from pmapdiff.model.mapping import known_perms
from pmapdiff.report.base import View
from pmapdiff.report.rows import chosen_rows
from pmapdiff.text import decode

Cells: TypeAlias = tuple[Any, ...]

# Page sizes and the like, which no table can add up.
_OTHER_COUNTERS = tuple((i, c.attribute) for i, c in enumerate(COUNTERS) if c.attribute not in FIGURES)
_SNAPSHOT = ("snapshot_id", "taken_at", "host", "label")
_CAPTURE = (*_SNAPSHOT, "pid", "started_at", "command", "status")


class Rows:
    """The rows of one capture without the columns that they have in common.

    A table that did not change from one snapshot to the next gives the same object again: `encoded` is a writer's own, to keep what
    these rows look like in its form.
    """

    __slots__ = ("_capture", "_make", "encoded")

    def __init__(self, make: Callable[[], Iterator[Cells]], capture: Capture | None = None) -> None:
        self._make = make
        self._capture = capture
        self.encoded: Any = None

    def cells(self) -> Iterator[Cells]:
        """One tuple a row."""
        return self._make()

    def are_of(self, capture: Capture) -> bool:
        """Whether they would be those of this later capture of the same process, too."""
        old = self._capture
        # How many threads there are has a say in which mappings are stacks.
        return old is not None and old.table is capture.table and old.threads == capture.threads


class Block(NamedTuple):
    """Some rows of one snapshot: the cells that all of them begin with, and the rest of each."""

    head: Cells
    rows: Rows


@dataclass(frozen=True, slots=True)
class FlatTable:
    """A kind of flat table: the columns that the rows of a block share, those that differ, and where the rows come from."""

    name: str
    a_row_is: str
    head: tuple[str, ...]
    tail: Callable[[View], tuple[str, ...]]
    blocks: Callable[[Iterable[Snapshot], View], Iterator[Block]]

    def columns(self, view: View) -> tuple[str, ...]:
        """The names of all columns."""
        return (*self.head, *self.tail(view))


class Flat(NamedTuple):
    """The rows of a table in these snapshots, which are taken as they come and not kept: to be written once."""

    table: FlatTable
    snapshots: Iterable[Snapshot]


def _of_snapshot(snapshot: Snapshot) -> Cells:
    ref = snapshot.ref
    return (ref.id, ref.taken_at_us, ref.host, ref.label)


def _of_capture(capture: Capture) -> Cells:
    process = capture.process
    return (process.pid, process.started_at_us, process.name, capture.status.value)


def _totals(totals: Totals | None) -> Cells:
    return (None,) * (1 + len(FIGURES)) if totals is None else (totals.mappings, *totals.figures)


def _mapping_columns(view: View) -> tuple[str, ...]:
    return (
        *("start", "end", "perms", "offset", "device", "inode", "name", "family"),
        *(("family_reason",) if view.explain else ()),
        "vm_flags",
        *FIGURES,
        *(name for _, name in _OTHER_COUNTERS),
    )


def _mapping_cells(capture: Capture, view: View) -> Iterator[Cells]:
    verdict_length = 1 + view.explain
    others = [index for index, _ in _OTHER_COUNTERS]
    for m, verdict in chosen_rows(capture, view):
        counters = m.counters
        yield (
            *((None, None) if m.is_sum else (hex(m.start), hex(m.end))),
            *(known_perms(m.perms), None if m.offset is None else hex(m.offset), m.device, m.inode, decode(m.name)),
            *verdict[:verdict_length],
            None if m.flags is None else decode(m.flags).strip(),
            *m.figures,
            *[counters[index] for index in others],
        )


def _mapping_blocks(snapshots: Iterable[Snapshot], view: View) -> Iterator[Block]:
    known: dict[ProcessIdentity, Rows] = {}
    for snapshot in snapshots:
        before, known = known, {}
        start = _of_snapshot(snapshot)
        for capture in snapshot.captures:
            rows = before.get(capture.process.identity)
            if rows is None or not rows.are_of(capture):
                rows = Rows(partial(_mapping_cells, capture, view), capture)
            known[capture.process.identity] = rows
            yield Block((*start, *_of_capture(capture)), rows)


_PROCESS = (
    *("command_line", "exe", "ppid", "uid", "unit", "container", "cgroup"),
    *("threads", "vm_hwm_kib", "cgroup_limit_bytes", "cgroup_usage_bytes", "read_us", "mappings"),
    *FIGURES,
)


def _process_cells(capture: Capture) -> Iterator[Cells]:
    process = capture.process
    yield (
        *(process.command_line, _text(process.exe), process.ppid, process.uid, process.unit, process.container, _text(process.cgroup)),
        *(capture.threads, capture.vm_hwm_kib, capture.cgroup_limit_bytes, capture.cgroup_usage_bytes, capture.read_us),
        *_totals(capture.sums),
    )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else decode(raw)


def _process_blocks(snapshots: Iterable[Snapshot], _view: View) -> Iterator[Block]:
    for snapshot in snapshots:
        start = _of_snapshot(snapshot)
        for capture in snapshot.captures:
            yield Block((*start, *_of_capture(capture)), Rows(partial(_process_cells, capture)))


_SUMS = ("source", "selection", "duration_us", "max_map_count", "mem_total_kib", "processes", "mappings", *FIGURES)


def _snapshot_cells(snapshot: Snapshot) -> Iterator[Cells]:
    ref = snapshot.ref
    sums = [capture.sums for capture in snapshot.captures if capture.sums is not None]
    # Of processes that could not be read nothing is known, which is not 0.
    totals = Totals(sum(part.mappings for part in sums), sum_figures(part.figures for part in sums)) if sums else None
    yield (ref.source, ref.selection, ref.duration_us, ref.max_map_count, ref.mem_total_kib, len(snapshot.captures), *_totals(totals))


def _snapshot_blocks(snapshots: Iterable[Snapshot], _view: View) -> Iterator[Block]:
    for snapshot in snapshots:
        yield Block(_of_snapshot(snapshot), Rows(partial(_snapshot_cells, snapshot)))


MAPPINGS = FlatTable("mappings", "one mapping in one snapshot", _CAPTURE, _mapping_columns, _mapping_blocks)
PROCESSES = FlatTable("processes", "one process in one snapshot, with the sums of its table", _CAPTURE, lambda _: _PROCESS, _process_blocks)
SNAPSHOTS = FlatTable("snapshots", "one snapshot, with the sums over its processes", _SNAPSHOT, lambda _: _SUMS, _snapshot_blocks)
TABLES = {table.name: table for table in (MAPPINGS, PROCESSES, SNAPSHOTS)}
