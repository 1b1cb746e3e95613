"""Where the series of hosts are: a store that many hosts share, or a lake."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Protocol

from pmapdiff.errors import NotFoundError
from pmapdiff.model import ProcessIdentity, Snapshot, SnapshotRef
from pmapdiff.store import ProcessFilter, Store
from pmapdiff.text import printable

_NAMED = 8


class HostSource(Protocol):
    """What can be asked of the hosts of a fleet, one at a time."""

    def hosts(self) -> list[str]:
        """Their names, sorted."""
        ...

    def refs(self, host: str, since_us: int | None, until_us: int | None, wanted: ProcessFilter) -> list[SnapshotRef]:
        """The snapshots of a host between two moments (both included) that hold a wanted process, the oldest first."""
        ...

    def walk(self, host: str, refs: Sequence[SnapshotRef], wanted: ProcessFilter) -> Iterator[Snapshot]:
        """These snapshots with the tables of the wanted processes, one after the other."""
        ...

    def last_seen(self, host: str, wanted: ProcessFilter) -> Mapping[ProcessIdentity, int]:
        """When each process of a host was captured for the last time, in µs since the epoch."""
        ...


class StoreSource:
    """A store that many hosts have brought their snapshots to."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def hosts(self) -> list[str]:
        """See `HostSource`."""
        return sorted({ref.host for ref in self._store.refs()})

    def refs(self, host: str, since_us: int | None, until_us: int | None, wanted: ProcessFilter) -> list[SnapshotRef]:
        """See `HostSource`."""
        return [ref for ref in self._store.refs(since_us, until_us, wanted) if ref.host == host]

    def walk(self, host: str, refs: Sequence[SnapshotRef], wanted: ProcessFilter) -> Iterator[Snapshot]:  # noqa: ARG002 - its refs say it
        """See `HostSource`."""
        return self._store.walk(refs, wanted)

    def last_seen(self, host: str, wanted: ProcessFilter) -> Mapping[ProcessIdentity, int]:  # noqa: ARG002 - a process is of one host
        """See `HostSource`."""
        return self._store.last_seen(wanted)


@lru_cache(maxsize=1)
def opened(location: str) -> HostSource:
    """What is at this path or URL: kept open, because a worker asks for it again and again. Raises StoreError, NotFoundError."""
    return StoreSource(Store.open(location))


def same_everywhere(location: str) -> str:
    """A location as workers in other folders understand it: a path from the root on, a URL as it is."""
    return location if "://" in location else os.path.abspath(location)


def chosen_hosts(source: HostSource, patterns: Sequence[str]) -> list[str]:
    """The hosts that one of these names or patterns (`web*`) fits; all without any. Raises NotFoundError if there is none."""
    known = source.hosts()
    chosen = [host for host in known if not patterns or any(host == pattern or fnmatchcase(host, pattern) for pattern in patterns)]
    if not known:
        raise NotFoundError("there is no snapshot of any host: bring some there with `pmapdiff sync` or `pmapdiff lake write`")
    if not chosen:
        names = ", ".join(printable(host) for host in known[:_NAMED])
        more = f" and {len(known) - _NAMED:,} more" if len(known) > _NAMED else ""
        asked = " ".join(f"--host {printable(pattern)}" for pattern in patterns)
        raise NotFoundError(f"there is no host that fits {asked}: there {'is' if len(known) == 1 else 'are'} {names}{more}")
    return chosen
