"""Writing what a store has and a lake does not have yet."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from pmapdiff.lake.decode import read_snapshots
from pmapdiff.lake.encode import PartBuilder
from pmapdiff.lake.listing import check_format, parts_in
from pmapdiff.lake.parts import DATASETS, FORMAT, MARKER, Part, Partition, number_of, part_named, part_of, partition_of, store_of
from pmapdiff.lake.place import Place
from pmapdiff.model import Snapshot, SnapshotRef

# Gives the snapshots of these, in this order.
Load = Callable[[Sequence[SnapshotRef]], Iterable[Snapshot]]


class Written(NamedTuple):
    """A part that is in the lake now, and how many bytes its files have."""

    part: Part
    bytes: int


class LakeWriter:
    """Adds snapshots to the lake at a path or URL, which is made if there is none. What is there is never changed.

    A part is there as soon as its file in `snapshots` is, which is written last. What was left behind by a writer that was killed
    is finished by the next one, which writes the same snapshots into files of the same names, and counts nowhere until then.
    """

    def __init__(self, location: str) -> None:
        self.place = Place(location)
        self._exists = check_format(self.place, writing=True)

    def missing(self, refs: Iterable[SnapshotRef]) -> list[list[SnapshotRef]]:
        """Those of these snapshots that the lake does not have, by partition and store, each in the order of their numbers.

        What is there already is told by the names in the partitions that these snapshots belong to, and where a name does not say enough,
        by the file.
        """
        groups: dict[tuple[Partition, str], list[SnapshotRef]] = {}
        for ref in refs:
            groups.setdefault((partition_of(ref), store_of(ref)), []).append(ref)
        partitions = sorted({partition for partition, _ in groups}) if self._exists else []
        there = dict(zip(partitions, self.place.each(lambda one: parts_in(self.place, one), partitions), strict=True))
        missing = []
        for (partition, store), group in sorted(groups.items()):
            parts = [part for part in there.get(partition, ()) if part.store == store]
            left = self._without(sorted(group, key=number_of), parts)
            if left:
                missing.append(left)
        return missing

    def _without(self, refs: list[SnapshotRef], parts: Sequence[Part]) -> list[SnapshotRef]:
        for part in parts:
            inside = [ref for ref in refs if part.first <= number_of(ref) <= part.last]
            if not inside:
                continue
            if part_of(inside) == part:
                known = {_key(ref) for ref in inside}
            else:
                known = {_key(stored.ref) for stored in read_snapshots(self.place, part)}
            refs = [ref for ref in refs if _key(ref) not in known]
        return refs

    def write(self, missing: Sequence[list[SnapshotRef]], load: Load) -> Iterator[Written]:
        """Write these, as `missing` gives them, and say so of each part that is in the lake from now on."""
        if missing and not self._exists:
            self.place.write(MARKER, f"{json.dumps({'format': FORMAT})}\n".encode())
            self._exists = True
        for refs in missing:
            cuts = self._begun(refs)
            builder = PartBuilder()
            for taken in load(refs):
                builder.add(taken)
                if builder.is_full or number_of(taken.ref) in cuts:
                    yield self._commit(builder)
                    builder = PartBuilder()
            if builder.refs:
                yield self._commit(builder)

    def _begun(self, refs: Sequence[SnapshotRef]) -> set[int]:
        """The last numbers of parts of these snapshots that a writer began and did not finish."""
        partition = partition_of(refs[0])
        names = self.place.entries(f"{DATASETS[0]}/{partition.folder}")
        parts = [part for name in names if (part := part_named(partition, name)) is not None and part.store == store_of(refs[0])]
        cuts = set()
        for part in parts:
            inside = [ref for ref in refs if part.first <= number_of(ref) <= part.last]
            if inside and part_of(inside) == part:
                before = [number_of(ref) for ref in refs if number_of(ref) < part.first]
                cuts |= {part.last, *before[-1:]}
        return cuts

    def _commit(self, builder: PartBuilder) -> Written:
        part, files = builder.finish()
        for dataset in DATASETS:
            self.place.write(part.path(dataset), files[dataset])
        return Written(part, sum(map(len, files.values())))


def _key(ref: SnapshotRef) -> tuple[int, int]:
    return number_of(ref), ref.taken_at_us
