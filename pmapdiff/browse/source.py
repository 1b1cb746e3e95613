"""What is read of the store: lists, series and pairs. Each call is one short transaction that only reads; nothing here knows a screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from pmapdiff.align import BUILT_IN, Classifier, History, Match, ServiceHistory, trace
from pmapdiff.compare import Comparison, compare_captures, compare_snapshots
from pmapdiff.errors import NotFoundError
from pmapdiff.model import Capture, Snapshot, SnapshotRef
from pmapdiff.store import EVERYTHING, ProcessFilter, ProcessSummary, Store
from pmapdiff.text import printable

# As many of the latest snapshots as are looked at if nobody says since when: the list of a busy host stands in seconds.
MOST_SNAPSHOTS = 1000


class Stopped(Exception):
    """Nobody waits for it any more."""


@dataclass(frozen=True, slots=True)
class Source:
    """The wanted processes of a store from one moment to another, in µs since the epoch, both included."""

    store: Store
    wanted: ProcessFilter = EVERYTHING
    since_us: int | None = None
    until_us: int | None = None
    classifier: Classifier = BUILT_IN

    def stamp(self) -> tuple[int, int | None]:
        """What is another one when snapshots came or were pruned: how many there are, and the latest of them. Costs two small queries."""
        try:
            of_hosts = self.wanted.of_hosts
            return self.store.count_snapshots(of_hosts), self.store.resolve("latest", of_hosts).id
        except NotFoundError:
            return 0, None

    def summaries(self) -> list[ProcessSummary]:
        """The processes that have a table in that time, with their totals at both ends: a query whatever the tables hold."""
        return self.store.processes(self.wanted, self.since_us, self.until_us)

    def history(self, told: Callable[[int, int], None] = lambda _done, _of: None, stopped: Callable[[], bool] = lambda: False) -> History:
        """The services in that time, with what was captured of each in every snapshot and its totals, but without regions.

        `told` is called with how many snapshots of how many have been read. Raises Stopped as soon as `stopped` says so.
        """
        refs = self.store.refs(self.since_us, self.until_us, self.wanted)
        return trace(self._read(refs, told, stopped), self.store.last_seen(self.wanted), classifier=self.classifier)

    def _read(self, refs: Sequence[SnapshotRef], told: Callable[[int, int], None], stopped: Callable[[], bool]) -> Iterator[Snapshot]:
        for done, snapshot in enumerate(self.store.walk(refs, self.wanted, tables=False)):
            if stopped():
                raise Stopped
            told(done, len(refs))
            yield snapshot

    def compare(self, history: History, service: ServiceHistory, before: int, after: int) -> Comparison:
        """What changed in a service between two steps of its history, which has nothing else in it: what `compare` says of that process.

        Raises NotFoundError if a snapshot is no longer in the store.
        """
        refs = history.snapshots[before], history.snapshots[after]
        known = service.captures[before], service.captures[after]
        pids = frozenset(capture.process.pid for capture in known if capture is not None)
        loaded = self.store.load_all(refs, ProcessFilter(pids)) if pids else [Snapshot(ref, ()) for ref in refs]
        ours, theirs = (_of(snapshot, capture) for snapshot, capture in zip(loaded, known, strict=True))
        result = compare_snapshots(*(Snapshot(ref, side) for ref, side in zip(refs, (ours, theirs), strict=True)), classifier=self.classifier)
        if len(result.processes) > 1:
            # The series knows that it is one service by what lies between: these two alone have too little in common.
            limit = result.after.max_map_count
            whole = compare_captures(ours[0], theirs[0], Match.RESTARTED, self.classifier, limit)
            result = replace(result, processes=(whole,))
        return result


def _of(snapshot: Snapshot, known: Capture | None) -> tuple[Capture, ...]:
    """The capture of a service in a snapshot as it is loaded, if it has one there. Raises NotFoundError if it is gone from the store."""
    if known is None:
        return ()
    found = tuple(capture for capture in snapshot.captures if capture.process.identity == known.process.identity)
    if not found:
        raise NotFoundError(f"snapshot {snapshot.ref.id} of {printable(known.process.name)} is no longer in the store: it was pruned")
    return found
