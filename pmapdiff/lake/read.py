"""Reading a lake as a store is read: hosts, snapshots, and tables one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

from pmapdiff.errors import NotFoundError, StoreError
from pmapdiff.lake.decode import StoredProcess, StoredSnapshot, read_captures, read_mappings, read_processes, read_snapshots
from pmapdiff.lake.listing import all_parts, check_format, partitions, parts_in
from pmapdiff.lake.parts import Part, number_of, partition_of, store_of
from pmapdiff.lake.place import Place
from pmapdiff.model import Capture, Mapping, MappingTable, Origin, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef
from pmapdiff.model.standing import Dated, Standing
from pmapdiff.text import printable

# How many mappings of processes that are in no part that is being read are kept, as they may come again in the next: some ten MB.
_KEPT_ROWS = 50_000

# The same snapshot anywhere.
_Key = tuple[str, Origin, int]


class Wanted(Protocol):
    """Says which processes to look at."""

    def accepts(self, info: ProcessInfo) -> bool:
        """Whether this one is wanted."""
        ...


class LakeReader:
    """The lake at a path or URL. Raises NotFoundError if there is none, StoreError for whatever is wrong with it or a file of it.

    A snapshot that two writers have written is there once.
    """

    def __init__(self, location: str) -> None:
        self.place = Place(location)
        check_format(self.place)
        self._found: dict[_Key, tuple[Part, int]] = {}
        self._snapshots: dict[Part, list[StoredSnapshot]] = {}

    def hosts(self, since_us: int | None = None, until_us: int | None = None) -> list[str]:
        """The hosts of which there is something on the days between two moments (µs since the epoch, both included)."""
        return sorted({partition.host for partition in partitions(self.place, since_us, until_us)})

    def refs(self, host: str, since_us: int | None = None, until_us: int | None = None) -> list[SnapshotRef]:
        """The snapshots of a host between two moments, the oldest first. `id` is their number in the store that had them first."""
        parts = list(all_parts(self.place, since_us, until_us, [host]))
        found = []
        for part, snapshots in zip(parts, self.place.each(lambda part: read_snapshots(self.place, part), parts), strict=True):
            found += self._learn(part, snapshots)
        low, high = (-math.inf if since_us is None else since_us), (math.inf if until_us is None else until_us)
        inside = [ref for ref in found if low <= ref.taken_at_us <= high]
        return sorted(inside, key=lambda ref: (ref.taken_at_us, store_of(ref), number_of(ref)))

    def _learn(self, part: Part, snapshots: list[StoredSnapshot]) -> list[SnapshotRef]:
        """Remember where these snapshots are; gives those that are nowhere else."""
        self._snapshots[part] = snapshots
        here = [(stored.ref, (part, position)) for position, stored in enumerate(snapshots)]
        return [ref for ref, where in here if self._found.setdefault(_key(ref), where) == where]

    def last_seen(self, host: str, since_us: int | None = None) -> dict[ProcessIdentity, int]:
        """When each process of a host was captured for the last time, in µs since the epoch; of what was captured from the day of a moment on."""
        parts = list(all_parts(self.place, since_us, only=[host]))
        seen: dict[ProcessIdentity, int] = {}
        for processes in self.place.each(lambda part: read_processes(self.place, part), parts):
            for info, _, last_us in processes:
                seen[info.identity] = max(last_us, seen.get(info.identity, last_us))
        return seen

    def walk(self, refs: Sequence[SnapshotRef], wanted: Wanted | None = None) -> Iterator[Snapshot]:
        """These snapshots with the captures of the wanted processes, or of all, one after the other.

        What is equal in two tables of a process is the same object. In memory are those parts alone of which more is to come.
        """
        places = [self._place_of(ref) for ref in refs]
        last_use = {part: number for number, (part, _) in enumerate(places)}
        memory = _Memory()
        loaded: dict[Part, _LoadedPart] = {}
        for number, (ref, (part, position)) in enumerate(zip(refs, places, strict=True)):
            if part not in loaded:
                loaded[part] = _LoadedPart(self.place, part, self._snapshots[part], wanted, memory)
            yield Snapshot(ref, loaded[part].captures_at(position))
            if last_use[part] == number:
                loaded.pop(part).leave(memory)

    def _place_of(self, ref: SnapshotRef) -> tuple[Part, int]:
        if _key(ref) not in self._found:
            for part in parts_in(self.place, partition_of(ref)):
                if part.store == store_of(ref) and part.first <= number_of(ref) <= part.last:
                    self._learn(part, read_snapshots(self.place, part))
        if _key(ref) not in self._found:
            raise NotFoundError(f"the lake at {self.place.shown} has no snapshot {number_of(ref)} of {printable(ref.host)}")
        return self._found[_key(ref)]


class _Memory:
    """The last tables of processes, so that the same mappings in another part become the same objects."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, ProcessIdentity], MappingTable] = {}
        self._rows = 0

    def take(self, host: str, identity: ProcessIdentity) -> MappingTable | None:
        """The last table of a process, if it is known."""
        table = self._tables.pop((host, identity), None)
        self._rows -= 0 if table is None else len(table.mappings)
        return table

    def keep(self, host: str, identity: ProcessIdentity, table: MappingTable) -> None:
        """Remember a table, and forget others if that becomes too much; but never those of the part that is being left."""
        self.take(host, identity)
        self._tables[host, identity] = table
        self._rows += len(table.mappings)

    def trim(self, newest: int) -> None:
        """Forget the oldest but so many."""
        while self._rows > _KEPT_ROWS and len(self._tables) > newest:
            self._rows -= len(self._tables.pop(next(iter(self._tables))).mappings)


class _LoadedPart:
    """What the wanted processes had in the snapshots of a part."""

    def __init__(self, place: Place, part: Part, snapshots: list[StoredSnapshot], wanted: Wanted | None, memory: _Memory) -> None:
        self._part, self._place = part, place
        self._processes: list[StoredProcess] = read_processes(place, part)
        chosen = {number for number, process in enumerate(self._processes) if wanted is None or wanted.accepts(process.info)}
        self._captures = read_captures(place, part, snapshots, self._processes, chosen)
        self._standing: dict[int, Standing] = {}
        for process, rows in read_mappings(place, part, len(self._processes), chosen).items():
            old = memory.take(part.partition.host, self._processes[process].info.identity)
            self._standing[process] = Standing(0, part.count - 1, _known(rows, old), old or MappingTable(()))

    def captures_at(self, position: int) -> tuple[Capture, ...]:
        """The captures of a snapshot, in their order."""
        found = []
        for process, item in self._captures[position]:
            if item.totals is not None:
                standing = self._standing.get(process)
                table = MappingTable(()) if standing is None else standing.at(position)
                if len(table.mappings) != item.totals.mappings:
                    name = self._place.show(self._part.path("mappings"))
                    raise StoreError(
                        f"{name} is damaged: a table of pid {item.process.pid} has {len(table.mappings)} of {item.totals.mappings} mappings"
                    )
                item = item._replace(table=table)
            found.append(item)
        return tuple(found)

    def leave(self, memory: _Memory) -> None:
        """Remember the last table of each process."""
        for process, standing in self._standing.items():
            memory.keep(self._part.partition.host, self._processes[process].info.identity, standing.table)
        memory.trim(len(self._standing))


def _known(rows: list[Dated], old: MappingTable | None) -> list[Dated]:
    """These rows, with those mappings that are known already as the same objects."""
    if old is None:
        return rows
    known: dict[Mapping, Mapping] = {mapping: mapping for mapping in old.mappings}
    # What comes later is hardly ever what was there before.
    return [(first, last, mapping if first else known.get(mapping, mapping)) for first, last, mapping in rows]


def _key(ref: SnapshotRef) -> _Key:
    return ref.host, Origin(store_of(ref), number_of(ref)), ref.taken_at_us
