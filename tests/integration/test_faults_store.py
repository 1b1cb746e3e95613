"""What can happen to a store at work: others that write to it, requests to stop, a clock set back."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import Result, Runner, Target
from programs.kept import SOUND, Kept, clean
from strategies import capture_of, make

from pmapdiff.model import Snapshot, SnapshotRef
from pmapdiff.store import Store

HOUR_US = 3_600_000_000


# Other writers.


@contextlib.contextmanager
def writing(db: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else, in the middle of a transaction."""
    with contextlib.closing(sqlite3.connect(db, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def waits(pid: int) -> bool:
    """Whether a process sleeps between two tries for a lock."""
    return "nanosleep" in Path(f"/proc/{pid}/wchan").read_text()


COMMANDS = [["record", "--pid", "PID"], ["prune", "--keep-last", "1"]]


@pytest.mark.parametrize("args", COMMANDS, ids=lambda args: args[0])
def test_a_lock_that_is_soon_released(run: Runner, kept: Kept, args: list[str]) -> None:
    for _ in range(2):
        run.here("record", *kept.pids).ok()
    # In a process of its own: SQLite does not know about forks, and the lock would be the fork's too.
    with writing(run.db) as connection, run.started(*(kept.pid if word == "PID" else word for word in args)) as command:
        wait_until(lambda: waits(command.pid), command.pid)
        connection.execute("ROLLBACK")
        out, err = command.communicate(timeout=30)
        clean(Result(command.returncode, out, err), 0)
    assert kept.count() == (4 if args[0] == "record" else 2)
    kept.is_unharmed()


@pytest.mark.parametrize("args", [*COMMANDS, ["db", "upgrade"], ["record", "--pid", "PID", "--every", "10ms"]], ids=" ".join)
def test_a_lock_that_is_not_released(run: Runner, kept: Kept, args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        run.here("record", *kept.pids).ok()
    monkeypatch.setattr("pmapdiff.store.engine.BUSY_TIMEOUT_S", 0.2)
    with writing(run.db):
        clean(run.here(*(str(kept.pid) if word == "PID" else word for word in args)), 2).refused(str(run.db), "being written")
        # Who only reads is not in anybody's way.
        kept.is_unharmed()
    assert kept.count() == 3
    kept.is_unharmed()


def test_a_lock_in_the_middle_of_a_series(run: Runner, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A series says once that it cannot write, and goes on afterwards."""
    monkeypatch.setattr("pmapdiff.store.engine.BUSY_TIMEOUT_S", 0.1)
    with run.forked("record", *kept.pids, "--every", "10ms") as series:
        series.out.next()
        with writing(run.db):
            assert b"going on" in series.err.until(b"being written")
            before = kept.count()
        while kept.count() < before + 3:
            assert series.out.next()
        series.kill(signal.SIGTERM)
        ended = clean(series.wait(), 0)
    assert ended.stderr == b""
    kept.is_unharmed()


def test_pruning_beside_a_reader_that_takes_its_time(run: Runner, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmapdiff.store.engine.BUSY_TIMEOUT_S", 0.2)
    for _ in range(3):
        run.here("record", *kept.pids).ok()
    with contextlib.closing(sqlite3.connect(run.db, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM snapshot").fetchone() == (4,)
        clean(run.here("prune", "--keep-last", 1), 0)
        assert reader.execute("SELECT count(*) FROM snapshot").fetchone() == (4,)
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM snapshot").fetchone() == (2,)
    kept.is_unharmed()


def wait_until(condition: Callable[[], bool], pid: int) -> None:
    """Look again and again, as long as the process runs."""
    while not condition():
        assert ") Z" not in Path(f"/proc/{pid}/stat").read_text()
        os.sched_yield()


def test_eight_recorders_at_once(run: Runner) -> None:
    """All of them on a store that is not there yet: one makes it, and none of their snapshots is lost."""
    recorders, each = 8, 6
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(Target("many.py", 10 * number)) for number in range(recorders)]
        warm = Runner(run.db.parent.parent / "warm.db")
        warm.here("record", "--pid", targets[0].pid).ok()
        series = [stack.enter_context(run.forked("record", "--pid", t.pid, "--every", "10ms", "--count", each)) for t in targets]
        ended = [clean(one.wait(), 0) for one in series]
        for target, result in zip(targets, ended, strict=True):
            assert result.stderr == b""
            assert result.out.count("snapshot ") == each
            assert result.out.count("1 process,") == each, (target.pid, result)
        rows = run.here("snapshots", "--format", "json", "--top", 0).json["snapshots"]
        assert sorted(row["id"] for row in rows) == list(range(1, recorders * each + 1))
        assert len(run.here("processes", "--format", "json").json["processes"]) == recorders
        for target in targets:
            shown = run.here("show", "latest", "--pid", target.pid, "--format", "smaps").ok().stdout
            assert shown.count(b"VmFlags:") == target.smaps().count(b"VmFlags:")
    assert run.here("db", "check").ok().out == SOUND


# Told to stop.


def test_terminated_in_the_middle_of_one_snapshot(run: Runner, kept: Kept) -> None:
    """It is finished: a table that cannot be had keeps the recorder busy meanwhile."""
    with Target("many.py", 20000) as large, run.forked("record", "--pid", large.pid, *kept.pids) as recorder:
        # From its second thread on it reads.
        wait_until(lambda: len(list(Path(f"/proc/{recorder.pid}/task").iterdir())) > 1, recorder.pid)
        recorder.kill(signal.SIGTERM)
        ended = clean(recorder.wait(), 0)
    assert ended.out.startswith("snapshot 2: 2 processes")
    assert kept.count() == 2
    kept.is_unharmed()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_terminated_at_any_moment(run: Runner, kept: Kept, number: signal.Signals) -> None:
    """Either there is a whole snapshot, and the exit code says so, or none."""
    chosen = random.Random(number)
    count = kept.count()
    for round_ in range(12):
        args = ["prune", "--keep-last", "2"] if round_ % 4 == 3 else ["record", *kept.pids]
        with run.forked(*args) as command:
            command.signal_after(chosen.uniform(0, 0.08), number)
            ended = clean(command.wait(), 0, 130 if number == signal.SIGINT else -number)
        before, count = count, kept.count()
        if args[0] == "record":
            # What is stored is said, and is a success. (The other way round, see the next test.)
            assert count == before + ended.out.startswith("snapshot "), ended
        kept.is_unharmed()


def test_told_to_stop_before_it_began(run: Runner, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0 is for a snapshot that was taken."""
    from pmapdiff.capture.record import StopRequest

    really = StopRequest.__enter__

    def enter(stop: StopRequest) -> StopRequest:
        entered = really(stop)
        signal.raise_signal(signal.SIGTERM)
        return entered

    monkeypatch.setattr(StopRequest, "__enter__", enter)
    result = clean(run.here("record", *kept.pids), 0, 130, 143)
    assert kept.count() == 1 + (result.code == 0), result
    kept.is_unharmed()


# The clock.


class Clock:
    """What the recorder and prune take for the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_us = time.time_ns() // 1000
        monkeypatch.setattr(time, "time_ns", lambda: self.now_us * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def set_back(run: Runner, kept: Kept, target: Target, clock: Clock) -> dict[int, int]:
    """Five more snapshots, of which the last two were taken after the clock was set back by a day; the time of each."""
    moments = {1: clock.now_us}
    for number, hours in ((2, 1), (3, 2), (4, 3), (5, -21), (6, -20)):
        clock.now_us = moments[1] + hours * HOUR_US
        moments[number] = clock.now_us
        target.call("map", size=number * 4096, address=0x100000000000 + number * 65536)
        run.here("record", *kept.pids).ok()
    return moments


def test_a_clock_set_back_loses_nothing(run: Runner, kept: Kept, set_back: dict[int, int]) -> None:
    rows: list[dict[str, Any]] = run.here("snapshots", "--format", "json").json["snapshots"]
    # By time, as everything that names a snapshot by its time must have it.
    assert [row["id"] for row in rows] == sorted(set_back, key=lambda number: set_back[number])
    for back, row in enumerate(reversed(rows)):
        assert run.here("show", f"latest~{back}", "--format", "json").json["snapshot"]["id"] == row["id"]
    for number in range(2, 7):
        text = run.here("show", number, "--format", "smaps").ok().stdout
        assert [text.count(b"%x-" % (0x100000000000 + other * 65536)) for other in range(2, 7)] == [other <= number for other in range(2, 7)]
    for first, second in ((4, 5), (5, 4), (1, 6), (6, 6)):
        (process,) = run.here("compare", first, second, "--format", "json").json["processes"] or [None]
        if first != second:
            assert process["match"] == "same"
            assert process["totals"]["delta"]["size_kib"] == sum(change["delta"]["size_kib"] for change in process["changes"])
        clean(run.here("compare", first, second), 0)
    clean(run.here("processes"), 0)
    kept.is_unharmed()


@pytest.mark.usefixtures("set_back")
def test_a_clock_set_back_and_what_stays(run: Runner, kept: Kept) -> None:
    """What has just been recorded is the last of its series, whatever its time."""
    run.here("prune", "--keep-last", 2).ok()
    assert {row["id"] for row in run.here("snapshots", "--format", "json").json["snapshots"]} == {1, 5, 6}
    run.here("record", *kept.pids, "--keep-last", 1).ok()
    assert {row["id"] for row in run.here("snapshots", "--format", "json").json["snapshots"]} == {1, 7}
    kept.is_unharmed()


@pytest.mark.usefixtures("set_back")
def test_a_clock_set_back_and_a_size(run: Runner, kept: Kept) -> None:
    """`--max-size` keeps the newest of each series, which is the one that was recorded last."""
    run.here("prune", "--max-size", "1K").ok()
    assert {row["id"] for row in run.here("snapshots", "--format", "json").json["snapshots"]} == {1, 6}
    kept.is_unharmed()


@pytest.mark.usefixtures("set_back")
def test_a_clock_set_back_and_an_age(run: Runner, kept: Kept) -> None:
    """Rules about age go by the time that was noted: from the future, everything is young."""
    run.here("prune", "--keep-all", "30m").ok()
    assert {row["id"] for row in run.here("snapshots", "--format", "json").json["snapshots"]} == {1, 2, 3, 4, 6}
    kept.is_unharmed()


def test_decreasing_times_through_the_api(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "s.db"), write=True)
    for number in range(20):
        store.write(Snapshot(SnapshotRef(None, 1000 - number, "h"), (capture_of([make(0x1000, 0x2000 + number * 0x1000)]),)))
    assert [row.ref.id for row in store.snapshots()] == list(range(20, 0, -1))
    for number in range(1, 21):
        (capture,) = store.load(store.resolve(str(number))).captures
        assert capture.table is not None
        assert capture.table.mappings[0].end == 0x2000 + (number - 1) * 0x1000
    assert store.check() == []
