"""From snapshots to the files of a part: what held from when to when, in columns."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pmapdiff.lake.parts import DATASETS, Part, part_of
from pmapdiff.lake.schema import SCHEMAS
from pmapdiff.model import Capture, Mapping, MappingTable, ProcessInfo, Snapshot, SnapshotRef
from pmapdiff.text import decode, printable

# A part is cut when it has so many rows more than its largest snapshot has mappings, and at least twice as many: what lasts is written
# once more in the next part.
MOST_ROWS_MORE = 100_000
MOST_CAPTURES = 100_000
# Small groups can be left out by who looks for one process; each costs some KB of its own.
GROUP_ROWS = 1 << 15
# Minima and maxima of what nobody looks for by its range would be most of a small file.
_RANGED = ("snapshot", "process", "taken_at", "first", "last", "first_taken_at", "last_taken_at", "start_address", "pid", "origin_number")

# A row of `mappings`: process, first, last, place in its first table, mapping.
_Row = tuple[int, int, int, int, Mapping]


class _Process:
    """What a process had in the snapshot that was added last, and since when."""

    __slots__ = ("first", "last", "rows", "table", "table_last")

    def __init__(self, snapshot: int) -> None:
        self.first = self.last = snapshot
        self.table: MappingTable | None = None
        self.table_last = snapshot
        # Each mapping of the table by its identity as an object, with its first snapshot and its place then.
        self.rows: dict[int, tuple[Mapping, int, int]] = {}


class PartBuilder:
    """Takes the snapshots of one partition and store, in the order of their numbers."""

    def __init__(self) -> None:
        self.refs: list[SnapshotRef] = []
        self._processes: dict[ProcessInfo, int] = {}
        self._followed: list[_Process] = []
        self._captures: list[tuple[int, int, int, Capture]] = []
        self._ended: list[_Row] = []
        # Rows of processes that are gone last, too: they may have been left out by another recorder.
        self._lasting = 0
        self._largest = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time for another part."""
        more = len(self._ended) + self._lasting - self._largest
        return more >= max(MOST_ROWS_MORE, self._largest) or len(self._captures) >= MOST_CAPTURES

    def add(self, taken: Snapshot) -> None:
        """Take one more snapshot; what is the same in two tables of a process is best the same object, as a store gives it."""
        number, mappings = len(self.refs), 0
        self.refs.append(taken.ref)
        for place, item in enumerate(taken.captures):
            process = self._processes.setdefault(item.process, len(self._followed))
            if process == len(self._followed):
                self._followed.append(_Process(number))
            followed = self._followed[process]
            followed.last = number
            self._captures.append((number, process, place, item._replace(table=None, totals=item.sums)))
            if item.has_table:
                assert item.table is not None, "it says that it has a table, and has none"
                self._follow(process, followed, number, item.table)
                mappings += len(item.table.mappings)
        self._largest = max(self._largest, mappings)

    def _follow(self, process: int, followed: _Process, number: int, table: MappingTable) -> None:
        if table is not followed.table:
            rows = followed.rows
            before = len(rows)
            # By identity first: most of a table is the same objects, and to compare them would take longer than all the rest.
            found = list(map(id, table.mappings))
            if len(set(found)) < len(found):
                table = _told_apart(table)
                found = list(map(id, table.mappings))
            gone, came = rows.keys() - found, set(found) - rows.keys()
            left: dict[Mapping, list[int]] = {}
            for row in sorted(gone, key=lambda row: rows[row][1:]) if came else ():
                left.setdefault(rows[row][0], []).append(row)
            for place in [place for place, row in enumerate(found) if row in came] if came else ():
                mapping = table.mappings[place]
                equal = left.get(mapping)
                if equal:
                    gone.discard(equal[0])
                    _, first, first_place = rows.pop(equal.pop(0))
                    rows[id(mapping)] = (mapping, first, first_place)
                else:
                    rows[id(mapping)] = (mapping, number, place)
            self._end(process, followed, gone)
            followed.table = table
            self._lasting += len(rows) - before
        followed.table_last = number

    def _end(self, process: int, followed: _Process, rows: Iterable[int]) -> None:
        """These rows hold no longer: they did in the last snapshot in which the process had a table."""
        for row in rows:
            mapping, first, place = followed.rows.pop(row)
            self._ended.append((process, first, followed.table_last, place, mapping))

    def finish(self) -> tuple[Part, dict[str, bytes]]:
        """The part, and the content of its file in each dataset."""
        for process, followed in enumerate(self._followed):
            self._end(process, followed, list(followed.rows))
        part = part_of(self.refs)
        columns = {
            "snapshots": self._snapshot_columns(),
            "processes": self._process_columns(),
            "captures": self._capture_columns(),
            "mappings": self._mapping_columns(),
        }
        return part, {name: _file(name, part, columns[name]) for name in DATASETS}

    def _snapshot_columns(self) -> list[Any]:
        refs = self.refs
        counts = Counter(row[0] for row in self._captures)
        origins = [ref.origin for ref in refs if ref.origin is not None]
        return [
            range(len(refs)),
            [ref.taken_at_us for ref in refs],
            [ref.duration_us for ref in refs],
            [ref.label for ref in refs],
            [ref.source for ref in refs],
            [ref.selection for ref in refs],
            [ref.max_map_count for ref in refs],
            [ref.mem_total_kib for ref in refs],
            [origin.store for origin in origins],
            [origin.number for origin in origins],
            [counts[number] for number in range(len(refs))],
        ]

    def _process_columns(self) -> list[Any]:
        infos = list(self._processes)
        moments = [ref.taken_at_us for ref in self.refs]
        return (
            [
                range(len(infos)),
                *zip(*(info.identity for info in infos), strict=True),
                *_texts([info.comm for info in infos]),
                [printable(info.command_line) for info in infos],
                [info.command for info in infos],
                *_texts([info.exe for info in infos]),
                [info.ppid for info in infos],
                [info.uid for info in infos],
                *_texts([info.cgroup for info in infos]),
                [info.container for info in infos],
                [info.unit for info in infos],
                [info.started_at_us for info in infos],
                [info.rlimit_as_bytes for info in infos],
                [info.rlimit_data_bytes for info in infos],
                [info.rlimit_stack_bytes for info in infos],
                # A clock may have been set back meanwhile.
                [min(moments[followed.first : followed.last + 1]) for followed in self._followed],
                [max(moments[followed.first : followed.last + 1]) for followed in self._followed],
            ]
            if infos
            else []
        )

    def _capture_columns(self) -> list[Any]:
        # By process, so that what stays the same stands together.
        rows = sorted(self._captures, key=lambda row: (row[1], row[0], row[2]))
        items = [row[3] for row in rows]
        totals = [item.totals for item in items]
        figures = _columns_of([None if each is None else each.figures for each in totals], len(SCHEMAS["captures"]) - 14, pa.int64())
        return [
            [row[0] for row in rows],
            [row[1] for row in rows],
            [row[2] for row in rows],
            [self.refs[row[0]].taken_at_us for row in rows],
            [item.status.value for item in items],
            [item.threads for item in items],
            [item.vm_hwm_kib for item in items],
            [item.cgroup_limit_bytes for item in items],
            [item.cgroup_usage_bytes for item in items],
            [item.read_us for item in items],
            [item.note for item in items],
            [item.digest for item in items],
            [None if each is None else each.mappings for each in totals],
            *figures,
        ]

    def _mapping_columns(self) -> list[Any]:
        self._ended.sort(key=_by_address)
        moments = [ref.taken_at_us for ref in self.refs]
        found = [row[4] for row in self._ended]
        names, raw_names = _texts([mapping.name for mapping in found])
        counters = _columns_of([mapping.counters for mapping in found], len(found[0].counters) if found else 0, pa.int64())
        return (
            [
                [row[0] for row in self._ended],
                [row[1] for row in self._ended],
                [row[2] for row in self._ended],
                [moments[row[1]] for row in self._ended],
                [moments[row[2]] for row in self._ended],
                [mapping.start for mapping in found],
                [mapping.end - mapping.start for mapping in found],
                [mapping.perms for mapping in found],
                [mapping.offset for mapping in found],
                [mapping.device for mapping in found],
                [mapping.inode for mapping in found],
                names,
                raw_names,
                [None if mapping.flags is None else mapping.flags.decode("latin-1") for mapping in found],
                *counters,
                [None if mapping.layout is None else mapping.layout.template for mapping in found],
                [_extra(mapping.extra) for mapping in found],
                [mapping.header for mapping in found],
            ]
            if found
            else []
        )


def _told_apart(table: MappingTable) -> MappingTable:
    """The same table with an object for each row: a torn one may have the same row twice."""
    seen: set[int] = set()
    mappings = []
    for mapping in table.mappings:
        mappings.append(mapping._replace() if id(mapping) in seen else mapping)
        seen.add(id(mapping))
    return MappingTable(tuple(mappings))


def _by_address(row: _Row) -> tuple[int, int, int, int, int]:
    process, first, _, place, mapping = row
    return process, mapping.start, mapping.end, first, place


def _extra(values: tuple[int | bytes, ...]) -> str | None:
    """Latin-1 gives every byte a character of its own, so this comes back exactly."""
    return json.dumps([value.decode("latin-1") if isinstance(value, bytes) else value for value in values]) if values else None


def _texts(values: Sequence[bytes | None]) -> tuple[list[str | None], list[bytes | None]]:
    """Byte strings as text that is safe to print, and as they are where that is not the same."""
    made: dict[bytes | None, tuple[str | None, bytes | None]] = {None: (None, None)}
    pairs = []
    for value in values:
        pair = made.get(value)
        if pair is None and value is not None:
            text = printable(decode(value))
            pair = made[value] = (text, None if text.encode() == value else value)
        assert pair is not None
        pairs.append(pair)
    return [text for text, _ in pairs], [raw for _, raw in pairs]


def _columns_of(rows: Sequence[tuple[int | None, ...] | None], width: int, kind: pa.DataType) -> list[Any]:
    """The columns of rows, of which many are the same object."""
    places: dict[int, int] = {}
    distinct: list[tuple[int | None, ...]] = []
    indices = []
    for row in rows:
        place = places.setdefault(id(row), len(distinct))
        if place == len(distinct):
            distinct.append((None,) * width if row is None else row)
        indices.append(place)
    if not distinct:
        return [[] for _ in range(width)]
    taken = pa.array(indices, pa.int32())
    return [pa.array(column, kind).take(taken) for column in zip(*distinct, strict=True)]


def _file(dataset: str, part: Part, columns: Sequence[Any]) -> bytes:
    schema = SCHEMAS[dataset]
    columns = columns or [[] for _ in schema.names[1:]]
    columns = [[part.name] * len(columns[0]), *columns]
    table = pa.table([_array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema.names)
    nullable = [field.with_type(kind) for field, kind in zip(schema, table.schema.types, strict=True)]
    out = io.BytesIO()
    pq.write_table(
        table.cast(pa.schema(nullable)),
        out,
        row_group_size=GROUP_ROWS,
        compression="zstd",
        write_statistics=[name for name in schema.names if name in _RANGED],
        write_page_checksum=True,
        # Types of Arrow's own would be most of a small file; without them everybody sees the same columns.
        store_schema=False,
    )
    return out.getvalue()


def _array(column: Any, kind: pa.DataType) -> pa.Array:
    """A column; texts as numbers of those that there are, as most of them stand in thousands of rows."""
    if isinstance(column, pa.Array):
        return column
    if not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        return pa.array(column, kind)
    numbers: dict[Any, int] = {}
    indices = [None if value is None else numbers.setdefault(value, len(numbers)) for value in column]
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(numbers, kind))
