"""Work that must not hang the recorder, whatever the kernel or a hostile process does.

A read of smaps or cmdline waits for the target's mmap_lock, which another reader may hold for as long as it likes (one
that serves a page fault through FUSE, with a writer queued behind it). The wait cannot be interrupted, only left: so
it happens in a thread that is abandoned when its time is up. An abandoned thread holds one open file until its
read returns, and ends with the process (mmap_read_lock_killable, fs/proc/task_mmu.c and base.c, 6.18).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, Queue
from typing import Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")


class Checkpoint(Generic[Result]):
    """Where a worker leaves what it has so far, in case that it does not come back."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.partial: Result | None = None


class _Worker(Generic[Job, Result]):
    def __init__(self, jobs: Iterator[Job], work: Callable[[Job, Checkpoint[Result]], Result]) -> None:
        self.current: tuple[Job, Checkpoint[Result]] | None = None
        self.results: Queue[tuple[Result | None, BaseException | None] | None] = Queue(maxsize=8)
        self._jobs = jobs
        self._work = work
        self._abandoned = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="pmapdiff-reader", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for job in self._jobs:
            checkpoint: Checkpoint[Result] = Checkpoint()
            self.current = (job, checkpoint)
            try:
                outcome: tuple[Result | None, BaseException | None] = (self._work(job, checkpoint), None)
            except BaseException as error:
                outcome = (None, error)
            with self._lock:
                if self._abandoned:
                    return
                self.current = None
            self.results.put(outcome)
        self.results.put(None)

    def abandon(self, job: tuple[Job, Checkpoint[Result]] | None) -> bool:
        """Leave the worker to itself, unless it has finished `job` in the meantime."""
        with self._lock:
            if self.current is not job:
                return False
            self._abandoned = True
            return True


def run_watched(
    jobs: Sequence[Job],
    work: Callable[[Job, Checkpoint[Result]], Result],
    given_up: Callable[[Job, Result | None], Result],
    timeout_s: float,
) -> Iterator[Result]:
    """The results of `work` for each job, in order, one at a time in another thread.

    A job that takes longer than `timeout_s` seconds is given up: `given_up(job, partial)` stands in for its
    result, and the next job starts in a new thread. An exception of `work` is raised here.
    """
    remaining = iter(jobs)
    worker: _Worker[Job, Result] = _Worker(remaining, work)
    while True:
        current = worker.current
        wait = timeout_s if current is None else current[1].started + timeout_s - time.monotonic()
        try:
            outcome = worker.results.get(timeout=max(wait, 0.001))
        except Empty:
            stuck = worker.current
            if stuck is None or stuck[1].started + timeout_s > time.monotonic():
                continue
            if not worker.abandon(stuck):
                continue
            yield given_up(stuck[0], stuck[1].partial)
            worker = _Worker(remaining, work)
            continue
        if outcome is None:
            return
        result, error = outcome
        if error is not None:
            raise error
        assert result is not None
        yield result
