"""What stands where in a lake: partitions by day and host, and parts with names that say what is in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote, unquote

from pmapdiff.errors import StoreError
from pmapdiff.model import SnapshotRef
from pmapdiff.text import digest_of, printable
from pmapdiff.units import to_datetime

FORMAT = "pmapdiff.lake/1"
MARKER = "pmapdiff-lake.json"
SUFFIX = ".parquet"
# In the order in which the files of a part are written: the last one says that all of them are there.
DATASETS = ("processes", "captures", "mappings", "snapshots")
COMMITTED = DATASETS[-1]

_DAY = re.compile(r"day=(\d{4}-\d{2}-\d{2})", re.ASCII)
_STORE = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"([0-9a-f]{32})-(\d{10,19})-(\d{10,19})-(\d{1,9})-([0-9a-f]{16})\.parquet", re.ASCII)


class Partition(NamedTuple):
    """The snapshots of one host on one day, in UTC (`2026-11-22`)."""

    day: str
    host: str

    @property
    def folder(self) -> str:
        """Its folder in each dataset, as Hive has it."""
        return f"{day_folder(self.day)}/host={quote(self.host, safe='')}"


@dataclass(frozen=True, order=True, slots=True)
class Part:
    """Some snapshots of one partition that were stored first in one store, and from which number to which.

    The name is made of these and of a digest of the number and time of each, so what has the same name says the same.
    """

    partition: Partition
    store: str
    first: int
    last: int
    count: int
    digest: str

    @property
    def name(self) -> str:
        """What its files are called, without the suffix."""
        return f"{self.store}-{self.first:010d}-{self.last:010d}-{self.count}-{self.digest}"

    def path(self, dataset: str) -> str:
        """One of its files."""
        return f"{dataset}/{self.partition.folder}/{self.name}{SUFFIX}"


def partition_of(ref: SnapshotRef) -> Partition:
    """Where a snapshot belongs."""
    return Partition(day_of(ref.taken_at_us), ref.host)


def day_of(moment_us: int) -> str:
    """The day of a moment in UTC: `2026-11-22`."""
    return to_datetime(moment_us).strftime("%Y-%m-%d").zfill(10)


def part_of(refs: Sequence[SnapshotRef]) -> Part:
    """The part that these snapshots make: of one partition and one store, in the order of their numbers there."""
    partition, store = partition_of(refs[0]), store_of(refs[0])
    numbers = [number_of(ref) for ref in refs]
    lines = [f"{number} {ref.taken_at_us}" for number, ref in zip(numbers, refs, strict=True)]
    digest = digest_of("\n".join([FORMAT, partition.folder, *lines]).encode())[:8].hex()
    return Part(partition, store, numbers[0], numbers[-1], len(refs), digest)


def store_of(ref: SnapshotRef) -> str:
    """The store that a snapshot was stored in first."""
    if ref.origin is None or not _STORE.fullmatch(ref.origin.store):
        raise StoreError(f"nobody knows where the snapshot of {printable(ref.host)} at {to_datetime(ref.taken_at_us)} was stored first")
    return ref.origin.store


def number_of(ref: SnapshotRef) -> int:
    """Its number there."""
    assert ref.origin is not None
    return ref.origin.number


def part_named(partition: Partition, name: str) -> Part | None:
    """The part that a file of a partition is of; None for a file that is not ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    part = Part(partition, match[1], int(match[2]), int(match[3]), int(match[4]), match[5])
    return part if part.name + SUFFIX == name and part.count else None


def day_folder(day: str) -> str:
    """The folder of a day."""
    return f"day={day}"


def day_named(folder: str) -> str | None:
    """The day of such a folder; None for another."""
    match = _DAY.fullmatch(folder)
    return None if match is None else match[1]


def host_named(folder: str) -> str | None:
    """The host of a folder within a day; None for another."""
    prefix, equals, quoted = folder.partition("=")
    if (prefix, equals) != ("host", "="):
        return None
    try:
        host = unquote(quoted, errors="strict")
    except UnicodeDecodeError:
        return None
    # No host's name has a NUL, and PostgreSQL cannot keep it.
    return host if quote(host, safe="") == quoted and "\0" not in host else None
