"""Services through a series of snapshots: which process is the next incarnation of which, and the figures of their regions over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pmapdiff import model
from pmapdiff.align.buckets import BUILT_IN, Classifier
from pmapdiff.align.families import explain
from pmapdiff.align.pairing import Match, looks_same, pair_processes
from pmapdiff.align.samples import NOT_THERE, Sample, Samples
from pmapdiff.align.series import Follower, Region
from pmapdiff.model import Capture, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Totals
from pmapdiff.model.counters import sum_figures


class Incarnation(NamedTuple):
    """From which snapshot on (its position in the series) a service was which process, and why it counts as the same service."""

    step: int
    process: ProcessInfo
    match: Match


@dataclass(frozen=True, slots=True)
class RegionHistory:
    """One region of a service through a series."""

    region: Region
    id: str
    samples: Samples


@dataclass(frozen=True, slots=True)
class ServiceHistory:
    """One service through a series: its incarnations, what was captured of it in each snapshot (None: nothing), and its regions.

    The captures are without their tables. At every snapshot that has one the samples of all regions add up to its totals.
    """

    incarnations: tuple[Incarnation, ...]
    captures: tuple[Capture | None, ...]
    totals: tuple[Totals | None, ...]
    regions: tuple[RegionHistory, ...]

    @property
    def process(self) -> ProcessInfo:
        """Who it is now."""
        return self.incarnations[-1].process

    @property
    def lifetime(self) -> range:
        """The steps from the first capture of the service to its last."""
        seen = [step for step, capture in enumerate(self.captures) if capture is not None]
        return range(seen[0], seen[-1] + 1)

    def restarts(self) -> dict[int, Incarnation]:
        """The incarnations but for the first, by the step at which they were first seen."""
        return {known.step: known for known in self.incarnations[1:]}


@dataclass(frozen=True, slots=True)
class History:
    """Snapshots in their order, and the services in them."""

    snapshots: tuple[SnapshotRef, ...]
    services: tuple[ServiceHistory, ...]


@dataclass(slots=True)
class _Service:
    process: ProcessInfo
    incarnations: list[Incarnation]
    seen_us: int = 0
    captures: dict[int, Capture] = field(default_factory=dict)
    totals: dict[int, Totals] = field(default_factory=dict)
    follower: Follower = field(default_factory=Follower)
    tables: list[int] = field(default_factory=list)
    table: MappingTable | None = None
    restarted: bool = False


def trace(
    snapshots: Iterable[Snapshot],
    last_seen: Mapping[ProcessIdentity, int] | None = None,
    *,
    same: bool | None = None,
    across_hosts: bool = False,
    classifier: Classifier = BUILT_IN,
) -> History:
    """Follow the processes of a series of snapshots, and their regions. Snapshots are taken one by one, in the order of their time.

    `last_seen` says when each process was captured for the last time, in µs since the epoch: one that will be seen again has not been restarted.
    A service belongs to one host, unless told that the same service of another host is what is asked for.

    `same` decides for tables without identity (saved files) as in `compare_snapshots`. Of tables that follow each other, what is equal
    is best the same object, as the store gives them: then it costs nothing.
    """
    if last_seen is None:
        snapshots = tuple(snapshots)
        last_seen = {capture.process.identity: snapshot.ref.taken_at_us for snapshot in snapshots for capture in snapshot.captures}
    refs: list[SnapshotRef] = []
    by_host: dict[str, list[_Service]] = defaultdict(list)
    for step, snapshot in enumerate(snapshots):
        refs.append(snapshot.ref)
        services = by_host["" if across_hosts else snapshot.ref.host]
        for service, capture, match in list(_assign(services, snapshot, last_seen, same)):
            if service is None:
                service = _Service(capture.process, [Incarnation(step, capture.process, match)])
                services.append(service)
            elif match is not Match.SAME:
                service.incarnations.append(Incarnation(step, capture.process, match))
                service.restarted = True
            _add(service, step, snapshot.ref, capture, classifier)
    return History(tuple(refs), tuple(_history(service, refs) for services in by_host.values() for service in services))


def _assign(
    services: Sequence[_Service], snapshot: Snapshot, last_seen: Mapping[ProcessIdentity, int], same: bool | None
) -> Iterator[tuple[_Service | None, Capture, Match]]:
    """To which service each capture belongs, and why; None for one that was not seen yet."""
    captures = snapshot.captures
    if len(services) == len(captures) == 1 and not (services[0].process.identity.boot_id and captures[0].process.identity.boot_id):
        # Tables without identity, one a snapshot: compared with each other whatever they are called.
        known, table = services[0].table, captures[0].table
        if same is None:
            same = looks_same(known.mappings if known else (), table.mappings if table else ())
        yield services[0], captures[0], Match.SAME if same else Match.RESTARTED
        return

    def coexisted(i: int, j: int) -> bool:
        known = services[i]
        return captures[j].process.had_started_by(known.seen_us) or last_seen.get(known.process.identity, 0) > snapshot.ref.taken_at_us

    for i, j, match in pair_processes([s.process for s in services], [c.process for c in captures], coexisted):
        if j is not None:
            yield (None if i is None else services[i]), captures[j], match


def _add(service: _Service, step: int, ref: SnapshotRef, capture: Capture, classifier: Classifier) -> None:
    service.process, service.seen_us = capture.process, ref.taken_at_us
    service.captures[step] = capture._replace(table=None)
    table, sums = capture.table, capture.sums
    if sums is not None:
        service.totals[step] = sums
    if table is None:
        return
    if table is not service.table or service.restarted:
        verdicts = explain(table.mappings, capture.threads)
        families = [verdict.family for verdict in verdicts]
        shown = [verdict.family for verdict in classifier.override(verdicts, table.mappings, capture.process)]
        service.follower.add(step, table.mappings, families, shown, same_process=not service.restarted)
    service.tables.append(step)
    service.table, service.restarted = table, False


def _history(service: _Service, refs: Sequence[SnapshotRef]) -> ServiceHistory:
    steps = range(len(refs))
    regions = []
    tables = tuple(service.tables)
    for region in service.follower.regions():
        ref = refs[region.first_step]
        identity = f"{region.first_start:x}@{region.first_step + 1 if ref.id is None else ref.id}"
        runs = tuple([(step, _sample(mappings)) for step, mappings in region.spans])
        regions.append(RegionHistory(region, identity, Samples(runs, tables, len(refs))))
    return ServiceHistory(
        tuple(service.incarnations),
        tuple(service.captures.get(step) for step in steps),
        tuple(service.totals.get(step) for step in steps),
        tuple(regions),
    )


def _sample(mappings: Sequence[model.Mapping]) -> Sample:
    if not mappings:
        return NOT_THERE
    figures = mappings[0].figures if len(mappings) == 1 else sum_figures(m.figures for m in mappings)
    return Sample(len(mappings), mappings[0].start, max(m.end for m in mappings), figures)
