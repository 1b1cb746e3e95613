"""Taking snapshots: once, or again and again until told to stop."""

from __future__ import annotations

import math
import os
import select
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import NamedTuple, Protocol

from pmapdiff.capture.budget import NO_LIMIT, Budget
from pmapdiff.capture.procfs import Stat, read_max_map_count, read_mem_total_kib
from pmapdiff.capture.read import KnownText, ProcessReader, identity_of
from pmapdiff.capture.select import Selection, select_processes
from pmapdiff.capture.watch import Checkpoint, run_watched
from pmapdiff.errors import CaptureError, NotFoundError
from pmapdiff.model import Capture, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.units import plural

DEFAULT_TIMEOUT_S = 5.0


class Known(KnownText, Protocol):
    """What the sink knows of a process it has seen before."""

    @property
    def mappings(self) -> int:
        """The number of mappings of its last table."""


class Sink(Protocol):
    """Where snapshots go. The command line binds it to the store."""

    def known(self, host: str, identities: Collection[ProcessIdentity], *, reads: bool) -> Mapping[ProcessIdentity, Known]:
        """Which of these processes the sink has, and the digest of the last text of each; with `reads`, how long it took to read, too."""

    def write(self, taken: Snapshot) -> SnapshotRef:
        """Keep a snapshot, whole or not at all."""


class Recorded(NamedTuple):
    """What one run of the recorder did: how many captures of each status, and the mappings of all together."""

    ref: SnapshotRef
    statuses: Mapping[Status, int]
    mappings: int
    absent: tuple[int, ...] = ()

    @property
    def processes(self) -> int:
        """The number of captures."""
        return sum(self.statuses.values())

    def summary(self) -> str:
        """`snapshot 12: 56 processes, 8,364 mappings, 1 torn, 3 denied, 0.21 s`."""
        words = [plural(self.processes, "process", "processes"), plural(self.mappings, "mapping")]
        shown = {status: status.value.replace("-", " ") for status in Status if status is not Status.COMPLETE} | {Status.TIMEOUT: "timed out"}
        words += [f"{self.statuses[status]:,} {word}" for status, word in shown.items() if self.statuses.get(status)]
        return f"snapshot {self.ref.id}: {', '.join(words)}, {(self.ref.duration_us or 0) / 1e6:.2f} s"


@dataclass(slots=True)
class Recorder:
    """Takes snapshots of what a selection matches and hands them to a sink."""

    selection: Selection
    sink: Sink
    label: str | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    budget: Budget = NO_LIMIT
    progress: Callable[[int, int], None] = lambda _done, _total: None

    def take(self) -> Recorded:
        """One snapshot. Raises NotFoundError if nothing matches, CaptureError if nothing at all may be read."""
        taken_at, started = time.time_ns() // 1000, time.monotonic_ns()
        selected = select_processes(self.selection)
        if not selected.processes:
            hint = "" if os.geteuid() == 0 else " (processes of other users may be hidden from this one)"
            raise NotFoundError(f"no process matches {self.selection.describe()}{hint}; nothing was recorded")
        host = os.uname().nodename
        known = self.sink.known(host, [identity_of(stat) for stat in selected.processes], reads=self.budget.says_anything)
        captures = list(self._captures(selected.processes, known))
        statuses = Counter(capture.status for capture in captures)
        if statuses[Status.DENIED] == len(captures):
            raise CaptureError(
                f"no permission to read {plural(len(captures), 'process', 'processes')} of {self.selection.describe()}: "
                f"{'' if os.geteuid() == 0 else 'run as their user or as root, or '}give the recorder CAP_SYS_PTRACE "
                "(CAP_PERFMON is enough since Linux 6.15)"
            )
        mappings = sum(_mappings(capture, known) for capture in captures)
        duration_us = (time.monotonic_ns() - started) // 1000
        taken = SnapshotRef(
            None, taken_at, host, self.label, "live", duration_us, self.selection.describe(), read_max_map_count(), read_mem_total_kib()
        )
        ref = self.sink.write(Snapshot(taken, tuple(captures)))
        return Recorded(ref._replace(duration_us=(time.monotonic_ns() - started) // 1000), statuses, mappings, selected.absent)

    def _captures(self, stats: tuple[Stat, ...], known: Mapping[ProcessIdentity, Known]) -> Iterator[Capture]:
        reader = ProcessReader(self.budget)

        def read(stat: Stat, checkpoint: Checkpoint[Capture]) -> Capture:
            return reader.read(stat, known.get(identity_of(stat)), checkpoint)

        def given_up(stat: Stat, partial: Capture | None) -> Capture:
            return partial or Capture(ProcessInfo(identity_of(stat), stat.comm), Status.TIMEOUT)

        for done, capture in enumerate(run_watched(stats, read, given_up, self.timeout_s), 1):
            self.progress(done, len(stats))
            yield capture


def _mappings(capture: Capture, known: Mapping[ProcessIdentity, Known]) -> int:
    if capture.table is not None:
        return len(capture.table.mappings)
    last = known.get(capture.process.identity)
    return last.mappings if capture.has_table and last is not None else 0


class StopRequest:
    """Whether SIGINT or SIGTERM asked us to stop: a running snapshot is finished, the next one not begun.

    Installs its handlers on entry and takes them back on exit.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.requests = 0
        self._previous: dict[int, object] = {}
        self._wakeup: tuple[int, int] | None = None

    def __enter__(self) -> StopRequest:
        self._wakeup = os.pipe()
        for fd in self._wakeup:
            os.set_blocking(fd, False)
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self._wakeup is not None:
            os.close(self._wakeup[0])
            os.close(self._wakeup[1])

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        self.requests += 1
        if self._wakeup is not None:
            with suppress(BlockingIOError):
                os.write(self._wakeup[1], b"!")

    def wait_for(self, other: int) -> None:
        """Sleep until the descriptor `other` is readable, or until the next request, even after one."""
        if self._wakeup is not None:
            ready, _, _ = select.select([self._wakeup[0], other], [], [])
            if self._wakeup[0] in ready:
                os.read(self._wakeup[0], 512)

    def wait(self, until: float, other: int | None = None) -> None:
        """Sleep until the monotonic time `until`, a stop request, or until the descriptor `other` is readable."""
        if self._wakeup is None or self.signal is not None:
            return
        watched = [self._wakeup[0], *([] if other is None else [other])]
        select.select(watched, [], [], max(0.0, until - time.monotonic()))


class Tick(NamedTuple):
    """The monotonic time of a snapshot, and how many before it were skipped because the last one took too long."""

    deadline: float
    skipped: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to take snapshots: one only, or one every `every_s` seconds, at most `count` of them and for at most `for_s`."""

    every_s: float | None = None
    count: int | None = None
    for_s: float | None = None

    def ticks(self) -> Iterator[Tick]:
        """When to take snapshots. A moment that has passed by when the next one is asked for is skipped, not made up for."""
        first = time.monotonic()
        yield Tick(first, 0)
        if self.every_s is None:
            return
        number, taken = 0, 1
        while self.count is None or taken < self.count:
            following = max(number + 1, math.ceil((time.monotonic() - first) / self.every_s))
            moment = first + following * self.every_s
            if self.for_s is not None and moment > first + self.for_s:
                return
            yield Tick(moment, following - number - 1)
            number = following
            taken += 1
