"""Lakes for tests: in memory or in a folder, of whatever a store has."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import fsspec

from pmapdiff.lake import LakeReader, LakeWriter
from pmapdiff.model import Snapshot, SnapshotRef
from pmapdiff.store import Store

_NUMBERS = itertools.count()


@contextlib.contextmanager
def lake_in_memory() -> Iterator[str]:
    """The URL of a place for a lake, for a while."""
    name = f"/lake-{next(_NUMBERS)}"
    try:
        yield f"memory:/{name}"
    finally:
        files = fsspec.filesystem("memory")
        if files.exists(name):
            files.rm(name, recursive=True)


def write_lake(store: Store, lake: str, refs: Sequence[SnapshotRef] | None = None) -> int:
    """Write what the store has, or these of it. Gives how many snapshots were new."""
    writer = LakeWriter(lake)
    missing = writer.missing(store.refs() if refs is None else refs)
    for _ in writer.write(missing, store.walk):
        pass
    return sum(map(len, missing))


def in_store(store: Store) -> list[Snapshot]:
    """Everything that a store has, host by host, without the numbers that it gave them."""
    refs = sorted(store.refs(), key=lambda ref: (ref.host, ref.taken_at_us, ref.origin))
    return [taken._replace(ref=taken.ref._replace(id=None)) for taken in store.walk(refs)]


def in_lake(lake: str) -> list[Snapshot]:
    """Everything that a lake has, likewise."""
    reader = LakeReader(lake)
    found = [taken for host in reader.hosts() for taken in reader.walk(reader.refs(host))]
    return [taken._replace(ref=taken.ref._replace(id=None)) for taken in found]


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
