"""What there is in a lake, counted from the names and sizes of its files alone."""

from __future__ import annotations

from typing import NamedTuple

from pmapdiff.lake.listing import all_parts, check_format
from pmapdiff.lake.parts import DATASETS, FORMAT, Part
from pmapdiff.lake.place import Place


class HostInLake(NamedTuple):
    """What a lake has of a host: days in UTC (`2026-11-22`), snapshots (one that two writers wrote counts twice), parts, bytes."""

    host: str
    first_day: str
    last_day: str
    days: int
    snapshots: int
    parts: int
    bytes: int


class AboutLake(NamedTuple):
    """A lake; `unfinished` parts are what writers left behind that were killed: they count nowhere."""

    location: str
    format: str
    hosts: list[HostInLake]
    unfinished: int

    def total(self, figure: str) -> int:
        """The sum of a figure over all hosts."""
        return sum(getattr(row, figure) for row in self.hosts)


def about_lake(location: str) -> AboutLake:
    """What the lake at a path or URL has. Raises NotFoundError, StoreError."""
    place = Place(location)
    check_format(place)
    there = all_parts(place)
    sizes = dict.fromkeys(there, 0)
    begun = set()
    for dataset in DATASETS:
        found = all_parts(place, dataset=dataset)
        begun |= found.keys() - there.keys()
        for part in found.keys() & there.keys():
            sizes[part] += found[part]
    rows = []
    of_host: dict[str, list[Part]] = {}
    for part in there:
        of_host.setdefault(part.partition.host, []).append(part)
    for host, parts in sorted(of_host.items()):
        days = sorted({part.partition.day for part in parts})
        counted = (len(days), sum(part.count for part in parts), len(parts), sum(sizes[part] for part in parts))
        rows.append(HostInLake(host, days[0], days[-1], *counted))
    return AboutLake(place.shown, FORMAT, rows, len(begun))
