"""Where the series of hosts are: a store that many hosts share, or a lake."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from pmapdiff.errors import NotFoundError
from pmapdiff.model import ProcessIdentity, Snapshot, SnapshotRef
from pmapdiff.store import ProcessFilter, Store

if TYPE_CHECKING:
    from pmapdiff.lake import LakeReader

# Most hosts have a snapshot of the day before a moment: then the years before need not be looked at.
_RECENT_US = 86_400_000_000
# How URLs of databases begin (https://docs.sqlalchemy.org/en/20/core/engines.html#database-urls).
_DATABASES = ("postgresql", "sqlite")


class HostSource(Protocol):
    """What can be asked of the hosts of a fleet, one at a time. Moments are µs since the epoch, both ends included, None for no end."""

    def hosts(self, since_us: int | None = None, until_us: int | None = None) -> list[str]:
        """The names of those of which there may be something in this time, sorted."""
        ...

    def series(self, host: str, since_us: int | None, until_us: int | None, wanted: ProcessFilter) -> Iterator[Snapshot]:
        """The snapshots of a host that hold a wanted process, with the tables of these, the oldest first."""
        ...

    def last_seen(self, host: str, since_us: int | None) -> Mapping[ProcessIdentity, int]:
        """When each process of a host that was captured since a moment was captured for the last time."""
        ...

    def last_at(self, host: str, moment_us: int, wanted: ProcessFilter) -> SnapshotRef | None:
        """The last snapshot of a host at or before a moment that holds a wanted process."""
        ...

    def load(self, host: str, refs: Sequence[SnapshotRef], wanted: ProcessFilter) -> list[Snapshot]:
        """These snapshots, with the tables of the wanted processes."""
        ...


class StoreSource:
    """A store that many hosts have brought their snapshots to."""

    def __init__(self, location: str) -> None:
        self._store = Store.open(location)

    def hosts(self, since_us: int | None = None, until_us: int | None = None) -> list[str]:
        """See `HostSource`."""
        return self._store.host_names(since_us, until_us)

    def series(self, host: str, since_us: int | None, until_us: int | None, wanted: ProcessFilter) -> Iterator[Snapshot]:
        """See `HostSource`."""
        ours = _on(host, wanted)
        return self._store.walk(self._store.refs(since_us, until_us, ours), ours)

    def last_seen(self, host: str, since_us: int | None) -> Mapping[ProcessIdentity, int]:  # noqa: ARG002 - the others cost it nothing
        """See `HostSource`."""
        return self._store.last_seen(ProcessFilter(hosts=frozenset({host})))

    def last_at(self, host: str, moment_us: int, wanted: ProcessFilter) -> SnapshotRef | None:
        """See `HostSource`."""
        ours = _on(host, wanted)
        found = self._store.refs(moment_us - _RECENT_US, moment_us, ours) or self._store.refs(None, moment_us, ours)
        return found[-1] if found else None

    def load(self, host: str, refs: Sequence[SnapshotRef], wanted: ProcessFilter) -> list[Snapshot]:
        """See `HostSource`."""
        return self._store.load_all(refs, _on(host, wanted))


def _on(host: str, wanted: ProcessFilter) -> ProcessFilter:
    return ProcessFilter(wanted.pids, wanted.name, frozenset({host}))


class LakeSource:
    """A lake that many hosts have written to."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._reader = self._opened()
        self._host: str | None = None

    def _opened(self) -> LakeReader:
        from pmapdiff.lake import LakeReader

        return LakeReader(self._location)

    def hosts(self, since_us: int | None = None, until_us: int | None = None) -> list[str]:
        """See `HostSource`."""
        return self._reader.hosts(since_us, until_us)

    def _of(self, host: str) -> LakeReader:
        """What reads a host: it remembers where the snapshots of that one are, and not those of all before it."""
        if host != self._host:
            self._reader, self._host = self._opened(), host
        return self._reader

    def series(self, host: str, since_us: int | None, until_us: int | None, wanted: ProcessFilter) -> Iterator[Snapshot]:
        """See `HostSource`."""
        reader = self._of(host)
        walked = reader.walk(reader.refs(host, since_us, until_us), None if wanted.everything else wanted)
        # What another recorder took, which none of these processes is in, is no gap in their series.
        return (snapshot for snapshot in walked if snapshot.captures or wanted.everything)

    def last_seen(self, host: str, since_us: int | None) -> Mapping[ProcessIdentity, int]:
        """See `HostSource`."""
        return self._of(host).last_seen(host, since_us)

    def last_at(self, host: str, moment_us: int, wanted: ProcessFilter) -> SnapshotRef | None:
        """See `HostSource`."""
        reader = self._of(host)
        for since_us in (moment_us - _RECENT_US, None):
            for ref in reversed(reader.refs(host, since_us, moment_us)):
                if wanted.everything or next(reader.walk([ref], wanted)).captures:
                    return ref
        return None

    def load(self, host: str, refs: Sequence[SnapshotRef], wanted: ProcessFilter) -> list[Snapshot]:
        """See `HostSource`."""
        return list(self._of(host).walk(refs, None if wanted.everything else wanted))


@lru_cache(maxsize=1)
def opened(location: str) -> HostSource:
    """What is at this path or URL: kept open, because a worker asks for it again and again. Raises StoreError, NotFoundError, UsageError.

    A file and the URL of a database are a store, a folder and any other URL a lake.
    """
    scheme, separator, _ = location.partition("://")
    is_store = scheme.partition("+")[0] in _DATABASES if separator else os.path.isfile(location)
    if not is_store and not separator and not os.path.isdir(location):
        raise NotFoundError(f"there is neither a lake nor a store at {location}: write a lake with `pmapdiff lake write`")
    return StoreSource(location) if is_store else LakeSource(location)


def same_everywhere(location: str) -> str:
    """A location as workers in other folders understand it: a path from the root on, a URL as it is."""
    return location if "://" in location else os.path.abspath(location)


def chosen_hosts(source: HostSource, wanted: ProcessFilter, since_us: int | None, until_us: int | None) -> list[str]:
    """The hosts of the filter of which there may be something in this time. Raises NotFoundError if there is none."""
    known = source.hosts(since_us, until_us)
    if not known:
        when = "in this time" if since_us is not None or until_us is not None else "here: bring some with `pmapdiff sync` or `pmapdiff lake write`"
        raise NotFoundError(f"there is no snapshot of any host {when}")
    return sorted(wanted.choose_hosts(known))
