"""Services through a series of snapshots: which process is the next incarnation of which, and the figures of their regions over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pmapdiff import model
from pmapdiff.align.buckets import BUILT_IN, Classifier
from pmapdiff.align.families import Explainer
from pmapdiff.align.lineage import RULES, in_any_service
from pmapdiff.align.pairing import Match, are_saved_tables, judge_saved, pair_processes
from pmapdiff.align.samples import NOT_THERE, Sample, Samples
from pmapdiff.align.series import Follower, Region
from pmapdiff.model import Capture, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status, Totals
from pmapdiff.model.mapping import figures_together


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

    `host` is where it runs, as of its last capture; `lifetime` are the steps from its first capture to its last, without those of other hosts.
    The captures are without their tables. At every snapshot that has one the samples of all regions add up to its totals.
    """

    host: str
    incarnations: tuple[Incarnation, ...]
    lifetime: tuple[int, ...]
    captures: tuple[Capture | None, ...]
    totals: tuple[Totals | None, ...]
    regions: tuple[RegionHistory, ...]

    @property
    def process(self) -> ProcessInfo:
        """Who it is now."""
        return self.incarnations[-1].process

    def restarts(self) -> dict[int, Incarnation]:
        """The incarnations but for the first, by the step at which they were first seen."""
        return {known.step: known for known in self.incarnations[1:]}


@dataclass(frozen=True, slots=True)
class History:
    """Snapshots in their order, and the services in them."""

    snapshots: tuple[SnapshotRef, ...]
    services: tuple[ServiceHistory, ...]


# The tables of so many snapshots are followed together, each process by itself: more would only cost memory. What is known of one is at hand then;
# of all processes of a host it is more than the caches of a processor hold.
_TOGETHER = 16


class _Waiting(NamedTuple):
    """A capture whose table is still to be followed: in which step, and whether it is of another incarnation than the one before."""

    step: int
    capture: Capture
    mappings: Sequence[model.Mapping]
    restarted: bool


@dataclass(slots=True)
class _Service:
    process: ProcessInfo
    # The snapshot that it was last seen in.
    ref: SnapshotRef
    incarnations: list[Incarnation]
    captures: dict[int, Capture] = field(default_factory=dict)
    totals: dict[int, Totals] = field(default_factory=dict)
    follower: Follower = field(default_factory=Follower)
    explainer: Explainer = field(default_factory=Explainer)
    tables: list[int] = field(default_factory=list)
    table: MappingTable | None = None
    # What the families of its last table depend on besides the places of its mappings, and they themselves, as found and as shown.
    judged_by: tuple[int | None, ProcessInfo] | None = None
    families: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    restarted: bool = False
    waiting: list[_Waiting] = field(default_factory=list)

    @property
    def last(self) -> Capture:
        """Its process, with the last table that it had."""
        return Capture(self.process, Status.COMPLETE, self.table)


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
    by_host: dict[str, _Services] = defaultdict(lambda: _Services(across_hosts))
    waiting: list[_Service] = []
    for step, snapshot in enumerate(snapshots):
        refs.append(snapshot.ref)
        services = by_host["" if across_hosts else snapshot.ref.host]
        for number, capture, match in services.assign(snapshot, last_seen, same):
            service = services.note(number, step, capture.process, match, snapshot.ref)
            if _add(service, step, snapshot.ref, capture) and len(service.waiting) == 1:
                waiting.append(service)
        if step % _TOGETHER == _TOGETHER - 1:
            _follow(waiting, classifier)
    _follow(waiting, classifier)
    return History(tuple(refs), tuple(_history(service, refs) for services in by_host.values() for service in services.known))


class _Services:
    """The services of a host: found by process, or by what another incarnation has in common, without looking at all that ever were."""

    def __init__(self, across_hosts: bool) -> None:
        self._rules = (*RULES, in_any_service) if across_hosts else RULES
        self.known: list[_Service] = []
        self._by_process: dict[Hashable, int] = {}
        self._by_rule: dict[Hashable, dict[int, None]] = defaultdict(dict)

    def note(self, number: int | None, step: int, process: ProcessInfo, match: Match, ref: SnapshotRef) -> _Service:
        """The service of this number (None: a new one), which is this process now."""
        if number is None:
            number = len(self.known)
            self.known.append(_Service(process, ref, [Incarnation(step, process, match)]))
        elif match is not Match.SAME:
            self._forget(number)
            service = self.known[number]
            service.process, service.restarted = process, True
            service.incarnations.append(Incarnation(step, process, match))
        else:
            return self.known[number]
        for name in _names_of(process.identity):
            self._by_process[name] = number
        for key in self._keys_of(process):
            self._by_rule[key][number] = None
        return self.known[number]

    def _forget(self, number: int) -> None:
        process = self.known[number].process
        for name in _names_of(process.identity):
            if self._by_process.get(name) == number:
                del self._by_process[name]
        for key in self._keys_of(process):
            del self._by_rule[key][number]

    def assign(self, snapshot: Snapshot, last_seen: Mapping[ProcessIdentity, int], same: bool | None) -> list[tuple[int | None, Capture, Match]]:
        """To which service each capture belongs, by its number, and why; None for one that was not seen yet."""
        captures = snapshot.captures
        if are_saved_tables([service.last for service in self.known[:2]], captures):
            apart = self.known[0].ref.is_elsewhere(snapshot.ref)
            return [(0, captures[0], judge_saved(Match.RESTARTED, self.known[0].last, captures[0], False if apart and same is None else same))]
        now_us = snapshot.ref.taken_at_us
        numbers = self._candidates(snapshot, last_seen)
        services = [self.known[number] for number in numbers]
        host = snapshot.ref.host
        until_us = [s.ref.taken_at_us if s.ref.taken_at_us <= now_us and s.ref.host == host else 0 for s in services]
        elsewhere = [service.ref.is_elsewhere(snapshot.ref) for service in services]
        pairs = pair_processes([s.process for s in services], [c.process for c in captures], until_us, elsewhere)
        found: list[tuple[int | None, Capture, Match]] = []
        for i, j, match in pairs:
            if j is None:
                continue
            if i is not None:
                # Of two hosts addresses say nothing.
                match = judge_saved(match, services[i].last, captures[j], False if elsewhere[i] and same is None else same)
            found.append((None if i is None else numbers[i], captures[j], match))
        return found

    def _keys_of(self, process: ProcessInfo) -> list[Hashable]:
        """What a process has in common with other incarnations of the same service."""
        return [(number, key) for number, rule in enumerate(self._rules) if (key := rule(process)) is not None]

    def _candidates(self, snapshot: Snapshot, last_seen: Mapping[ProcessIdentity, int]) -> list[int]:
        """The numbers of the services that some capture may belong to."""
        found: dict[int, None] = {}
        for capture in snapshot.captures:
            process = capture.process
            numbers = [self._by_process[name] for name in _names_of(process.identity) if name in self._by_process]
            # Copies of a virtual machine may have one boot id and equal pids.
            numbers = [number for number in numbers if not self.known[number].ref.is_elsewhere(snapshot.ref)]
            found.update(dict.fromkeys(numbers))
            if not numbers:
                for key in self._keys_of(process):
                    others = self._by_rule.get(key, ())
                    found.update(dict.fromkeys(n for n in others if self._may_be_over(self.known[n], snapshot.ref, last_seen)))
        return sorted(found)

    @staticmethod
    def _may_be_over(service: _Service, ref: SnapshotRef, last_seen: Mapping[ProcessIdentity, int]) -> bool:
        """Whether its process may have ended by then, or, where the snapshots are not in the order of time, not have begun."""
        if service.ref.host != ref.host:
            return True
        if service.ref.taken_at_us > ref.taken_at_us:
            return not service.process.had_started_by(ref.taken_at_us)
        return last_seen.get(service.process.identity, 0) <= ref.taken_at_us


def _names_of(identity: ProcessIdentity) -> list[Hashable]:
    """What a process is found by: itself, and whatever program runs in it."""
    return [identity, identity[:3]] if identity.boot_id else [identity]


def _add(service: _Service, step: int, ref: SnapshotRef, capture: Capture) -> bool:
    """Note a capture; gives whether its table is still to be followed."""
    service.process, service.ref = capture.process, ref
    service.captures[step] = capture._replace(table=None)
    table, sums = capture.table, capture.sums
    if sums is not None:
        service.totals[step] = sums
    if table is None:
        return False
    differs = table is not service.table or service.restarted
    if differs:
        service.waiting.append(_Waiting(step, capture, table.mappings, service.restarted))
    service.tables.append(step)
    service.table, service.restarted = table, False
    return differs


def _follow(services: list[_Service], classifier: Classifier) -> None:
    """Follow the tables that wait, and wait for no more."""
    for service in services:
        for item in service.waiting:
            _follow_table(service, item, classifier)
        service.waiting.clear()
    services.clear()


def _follow_table(service: _Service, item: _Waiting, classifier: Classifier) -> None:
    step, capture, mappings, restarted = item
    changed = None if restarted else service.follower.changes(mappings)
    judged_by = (capture.threads, capture.process)
    stays = changed is not None and not changed.gone and not changed.new
    if not stays or judged_by != service.judged_by:
        verdicts = service.explainer.explain(mappings, capture.threads)
        families = [verdict.family for verdict in verdicts]
        overridden = classifier.override(verdicts, mappings, capture.process)
        shown = families if overridden is verdicts else [verdict.family for verdict in overridden]
        stays = stays and (families, shown) == (service.families, service.shown)
        service.judged_by, service.families, service.shown = judged_by, families, shown
    if stays and changed is not None:
        service.follower.recount(step, mappings, changed.counted, service.shown)
    else:
        service.follower.add(step, mappings, service.families, service.shown, changed, same_process=not restarted)


def _history(service: _Service, refs: Sequence[SnapshotRef]) -> ServiceHistory:
    steps = range(len(refs))
    regions = []
    tables = tuple(service.tables)
    for region in service.follower.regions():
        ref = refs[region.first_step]
        identity = f"{region.first_start:x}@{region.first_step + 1 if ref.id is None else ref.id}"
        runs = tuple([(step, _sample(mappings)) for step, mappings in region.spans])
        regions.append(RegionHistory(region, identity, Samples(runs, tables, len(refs))))
    seen = sorted(service.captures)
    hosts = {refs[step].host for step in seen}
    return ServiceHistory(
        service.ref.host,
        tuple(service.incarnations),
        tuple(step for step in range(seen[0], seen[-1] + 1) if refs[step].host in hosts),
        tuple(service.captures.get(step) for step in steps),
        tuple(service.totals.get(step) for step in steps),
        tuple(regions),
    )


def _sample(mappings: Sequence[model.Mapping]) -> Sample:
    if not mappings:
        return NOT_THERE
    if len(mappings) == 1:
        (mapping,) = mappings
        # What Sample(…) does, without the call: this line runs for everything that ever changed.
        return tuple.__new__(Sample, (1, mapping.start, mapping.end, mapping.figures))
    return Sample(len(mappings), mappings[0].start, max([m.end for m in mappings]), figures_together(mappings))
