"""What a lake has, by the names of its folders and files alone."""

from __future__ import annotations

import json
from collections.abc import Collection

from pmapdiff.errors import NotFoundError, StoreError
from pmapdiff.lake.parts import COMMITTED, FORMAT, MARKER, Part, Partition, day_folder, day_named, day_of, host_named, part_named
from pmapdiff.lake.place import Place

_LONGEST_MARKER = 1 << 16


def check_format(place: Place, *, writing: bool = False) -> bool:
    """Whether there is a lake; to write, there may be none yet.

    Raises StoreError if it is one of another version or something else, NotFoundError if there is none and it is only to be read.
    """
    entries = place.entries("")
    if MARKER not in entries:
        if not writing:
            raise NotFoundError(f"there is no lake at {place.shown}: make one with `pmapdiff lake write`")
        if any(not name.startswith(".") for name in entries):
            raise StoreError(f"{place.shown} is no lake, and not empty; it was left as it is: name a folder of its own")
        return False
    size = entries[MARKER]
    found = None
    if size is not None and size <= _LONGEST_MARKER:
        try:
            marker = json.loads(place.read(MARKER, _LONGEST_MARKER))
            found = marker.get("format") if isinstance(marker, dict) else None
        except (ValueError, RecursionError):
            found = None
    if not isinstance(found, str) or not found.startswith("pmapdiff.lake/"):
        raise StoreError(f"{place.show(MARKER)} does not say that this is a lake of pmapdiff; it was left as it is")
    if found != FORMAT:
        raise StoreError(
            f"the lake at {place.shown} is {found[:40]}, made by another version of pmapdiff (this one knows {FORMAT}); it was left as it is: "
            "upgrade pmapdiff"
        )
    return True


def _days(place: Place, dataset: str, since_us: int | None, until_us: int | None) -> list[str]:
    """The days, in UTC, of which there is something between two moments."""
    first = "" if since_us is None else day_of(since_us)
    last = "9999-12-31" if until_us is None else day_of(until_us)
    found = (day_named(name) for name, size in place.entries(dataset).items() if size is None)
    return sorted(day for day in found if day is not None and first <= day <= last)


def _hosts(place: Place, dataset: str, day: str) -> list[str]:
    found = (host_named(name) for name, size in place.entries(f"{dataset}/{day_folder(day)}").items() if size is None)
    return sorted(host for host in found if host is not None)


def partitions(
    place: Place, since_us: int | None = None, until_us: int | None = None, only: Collection[str] = (), dataset: str = COMMITTED
) -> list[Partition]:
    """The partitions of every host, or of these alone, on the days between two moments (µs since the epoch, both included)."""
    days = _days(place, dataset, since_us, until_us)
    if only:
        return [Partition(day, host) for day in days for host in sorted(only)]
    found = place.each(lambda day: [Partition(day, host) for host in _hosts(place, dataset, day)], days)
    return [partition for each in found for partition in each]


def parts_in(place: Place, partition: Partition, dataset: str = COMMITTED) -> dict[Part, int]:
    """The parts of a partition that are there, with the bytes of this file of each; of another dataset also what was only begun."""
    entries = place.entries(f"{dataset}/{partition.folder}")
    found = {part: size for name, size in entries.items() if size is not None and (part := part_named(partition, name)) is not None}
    return dict(sorted(found.items()))


def all_parts(
    place: Place, since_us: int | None = None, until_us: int | None = None, only: Collection[str] = (), dataset: str = COMMITTED
) -> dict[Part, int]:
    """The parts in these partitions, likewise."""
    chosen = partitions(place, since_us, until_us, only, dataset)
    return {part: size for parts in place.each(lambda one: parts_in(place, one, dataset), chosen) for part, size in parts.items()}
