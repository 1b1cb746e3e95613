"""From the files of a part to snapshots. Nothing in a file is believed before it was looked at: anybody may have written it.

Whatever is wrong with a file is one StoreError with its name.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from pmapdiff.errors import NotFoundError, PmapdiffError, StoreError
from pmapdiff.lake.columns import MOST_BYTES, Column, DamageError, ParquetColumns, demand, distinct
from pmapdiff.lake.parts import Part, part_of, partition_of
from pmapdiff.lake.place import Place
from pmapdiff.lake.schema import COUNTER_COLUMNS, SCHEMAS
from pmapdiff.model import Capture, Layout, Mapping, Origin, ProcessIdentity, ProcessInfo, SnapshotRef, Status, Totals, layout_of
from pmapdiff.model.mapping import ADDRESS_LIMIT
from pmapdiff.model.standing import Dated

_STATUSES = {status.value: status for status in Status}
# A counter's value that needs more digits than that is none.
_LONGEST_EXTRA = 1 << 16


# Counters, layout, and the values of counters that this version does not know.
_State = tuple[tuple[int | None, ...], Layout | None, tuple[int | bytes, ...]]


class StoredSnapshot(NamedTuple):
    """A snapshot, and how many captures it has."""

    ref: SnapshotRef
    captures: int


class StoredProcess(NamedTuple):
    """A process of a part, and when it was captured first and last there."""

    info: ProcessInfo
    first_us: int
    last_us: int


def read_snapshots(place: Place, part: Part) -> list[StoredSnapshot]:
    """The snapshots of a part, in their order. As in the store that they come from, their number is `id`."""
    with _reading(place, part, "snapshots") as file:
        found = []
        for number, row in enumerate(_rows(file, "snapshots")):
            position, taken_at, duration, label, source, selection, max_map_count, mem_total, store, origin, captures = row
            demand(position == number, "its snapshots are not in their order")
            demand(store == part.store and origin >= 0, "it has other snapshots than its name says")
            about = (part.partition.host, label, source, duration, selection, max_map_count, mem_total)
            found.append(StoredSnapshot(SnapshotRef(origin, taken_at, *about, Origin(store, origin)), captures))
        refs = [stored.ref for stored in found]
        demand(len(refs) == part.count, f"it has {len(refs):,} snapshots, its name says {part.count:,}")
        demand({partition_of(ref) for ref in refs} == {part.partition}, "it has snapshots of another day")
        # The name has a digest of numbers and times, so they are those that it was made of.
        demand(part_of(refs) == part, "it has other snapshots than its name says")
        return found


def read_processes(place: Place, part: Part) -> list[StoredProcess]:
    """The processes of a part, by their numbers."""
    with _reading(place, part, "processes") as file:
        found = []
        for number, row in enumerate(_rows(file, "processes")):
            process, boot, pid, ticks, key, comm, comm_raw, _, command, exe, exe_raw, ppid, uid, cgroup, cgroup_raw, *rest, first, last = row
            demand(process == number, "its processes are not in their order")
            identity = ProcessIdentity(boot, pid, ticks, key)
            about = (_raw(comm, comm_raw) or b"", command, _raw(exe, exe_raw), ppid, uid, _raw(cgroup, cgroup_raw))
            found.append(StoredProcess(ProcessInfo(identity, *about, *rest), first, last))
        demand(len({process.info for process in found}) == len(found), "it has a process twice")
        return found


def read_captures(
    place: Place, part: Part, snapshots: Sequence[StoredSnapshot], processes: Sequence[StoredProcess], wanted: Container[int]
) -> list[list[tuple[int, Capture]]]:
    """The captures of the wanted processes by snapshot, in their order: the number of the process, and the capture without its table."""
    with _reading(place, part, "captures") as file:
        demand(file.rows == sum(stored.captures for stored in snapshots), "it has not as many captures as its snapshots")
        found: list[list[tuple[int, int, Capture]]] = [[] for _ in range(part.count)]
        last: dict[int, tuple[tuple[Any, ...], Totals | None]] = {}
        for row in _rows(file, "captures", wanted, len(processes)):
            snapshot, process, order, _, status, threads, hwm, limit, usage, read_us, note, digest, *counted = row
            sums = tuple(counted)
            demand(0 <= snapshot < part.count, "it has captures of a snapshot that is not there")
            demand(status in _STATUSES, "it has captures of a status that there is not")
            demand(digest is None or sums[0] is not None, "it has a digest of no table")
            known = last.get(process)
            if known is None or known[0] != sums:
                # From one capture of a process to the next, this is mostly the same.
                known = last[process] = (sums, None if sums[0] is None else Totals(sums[0], tuple(sums[1:])))
            about = (None, digest, known[1], threads, hwm, limit, usage, read_us, note)
            found[snapshot].append((order, process, Capture(processes[process].info, _STATUSES[status], *about)))
        for captures, stored in zip(found, snapshots, strict=True):
            captures.sort(key=_by_order)
            demand(len(captures) <= stored.captures, "it has other captures than its snapshots")
            demand(len({process for _, process, _ in captures}) == len(captures), "it has two captures of a process in a snapshot")
        return [[(process, item) for _, process, item in captures] for captures in found]


def read_mappings(place: Place, part: Part, processes: int, wanted: Container[int]) -> dict[int, list[Dated]]:
    """The mappings of the wanted ones of so many processes, with the first and the last snapshot of the part that they stood in, by address."""
    with _reading(place, part, "mappings") as file:
        found: dict[int, list[Dated]] = {}
        for group in file.groups(SCHEMAS["mappings"].names[1:], wanted, processes):
            _take_mappings(group, part.count, found)
        for rows in found.values():
            rows.sort(key=_by_address)
        return found


def _take_mappings(group: list[Column], snapshots: int, found: dict[int, list[Dated]]) -> None:
    process, first, last, _, _, start, size, perms, offset, device, inode, name, raw, flags, *rest = group
    header = rest.pop()
    demand(all(len(text) == 4 and text.isascii() and text.isprintable() for text in perms.values), "it has permissions that there are not")
    flag_texts = [None if text is None else text.encode("latin-1") for text in flags.values]
    names, name_codes = distinct([name, raw])
    raw_names = Column([_raw(*pair) for pair in names], name_codes).rows
    states, codes = distinct(rest)
    values = [(row[: len(COUNTER_COLUMNS)], _layout(row[-2]), _extra(row[-1])) for row in states]
    _check_layouts(distinct([Column(values, codes), Column([text is None for text in flag_texts], flags.codes)])[0])
    new = tuple.__new__
    columns = (process.rows, first.rows, last.rows, start.rows, size.rows, perms.rows, offset.rows, device.rows, inode.rows, raw_names)
    for owner, begin, end, low, length, perm, off, dev, ino, name, flag, state, head in zip(
        *columns, Column(flag_texts, flags.codes).rows, Column(values, codes).rows, header.rows, strict=True
    ):
        high = low + length
        if not 0 <= begin <= end < snapshots or high > ADDRESS_LIMIT:
            raise DamageError("it has intervals or addresses that there are not")
        # What Mapping(…) does, without the call: this line runs for every mapping of a host.
        mapping = new(Mapping, (low, high, perm, off, dev, ino, name, flag, *state, head))
        found.setdefault(owner, []).append((begin, end, mapping))


def _raw(text: str | None, raw: bytes | None) -> bytes | None:
    """The bytes behind a text, which are kept beside it where they are not the same."""
    return raw if raw is not None or text is None else text.encode()


def _layout(template: bytes | None) -> Layout | None:
    """The layout of a template that has a hole for each of its labels and no other: any other may fill the memory when it is filled in."""
    if template is None:
        return None
    layout = layout_of(template)
    demand(template.replace(b"%%", b"").count(b"%") == len(layout.labels), "it has a layout that is none")
    return layout


def _extra(text: str | None) -> tuple[int | bytes, ...]:
    if text is None:
        return ()
    demand(len(text) <= _LONGEST_EXTRA, "it has counters that are none")
    values = json.loads(text)
    demand(isinstance(values, list) and all(type(value) in (int, str) for value in values), "it has counters that are none")
    return tuple([value.encode("latin-1") if isinstance(value, str) else value for value in values])


def _check_layouts(states: Sequence[tuple[_State, bool]]) -> None:
    """Whether each layout can be filled in with the values that it stands with: one of each kind is tried."""
    kinds = {}
    for state, no_flags in states:
        counters, layout, extra = state
        if layout is not None:
            kinds[layout, tuple([value is None for value in counters]), tuple(map(type, extra)), no_flags] = state
    for (layout, _, kinds_of_extra, no_flags), (counters, _, extra) in kinds.items():
        demand(len(kinds_of_extra) == len(layout.extra_labels), "it has other counters than its layouts")
        try:
            layout.render(4, counters, None if no_flags else b"", extra)
        except (TypeError, ValueError):
            raise DamageError("it has other counters than its layouts") from None


def _by_order(row: tuple[int, int, Capture]) -> int:
    return row[0]


def _by_address(row: Dated) -> tuple[int, int]:
    return row[2].start, row[2].end


def _rows(file: ParquetColumns, dataset: str, wanted: Container[int] | None = None, of: int = 0) -> Iterator[tuple[Any, ...]]:
    """The rows of a file, without the name of the part, which is the same in each."""
    for group in file.groups(SCHEMAS[dataset].names[1:], wanted, of):
        yield from zip(*(column.rows for column in group), strict=True)


@contextmanager
def _reading(place: Place, part: Part, dataset: str) -> Iterator[ParquetColumns]:
    """A file of a part; whatever is wrong with it is one StoreError."""
    path = part.path(dataset)
    try:
        yield ParquetColumns(place.read(path, MOST_BYTES), SCHEMAS[dataset])
    except NotFoundError:
        raise StoreError(f"{place.show(path)} is missing, so what the lake has of {part.partition.host} on {part.partition.day} is damaged") from None
    except PmapdiffError:
        raise
    except DamageError as error:
        raise StoreError(f"{place.show(path)} is damaged: {error}") from None
    except (OSError, LookupError, TypeError, ValueError, ArithmeticError, MemoryError, RecursionError, NotImplementedError) as error:
        said = str(error).strip().splitlines()
        raise StoreError(f"{place.show(path)} is damaged: {said[0][:200] if said else type(error).__name__}") from error
