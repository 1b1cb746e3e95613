"""Law 4: a snapshot is in the store whole or not at all, whenever the recorder is killed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Runner, Target

from pmapdiff.formats.smaps import render_smaps
from pmapdiff.store import Store

KILLS = 50
NEW_STORES = 6


def fingerprints(db: Path, known: dict[int, str]) -> dict[int, str]:
    """A digest of everything that each snapshot holds, except for those that are known already."""
    store = Store.open(str(db))
    found = {}
    for summary in store.snapshots():
        assert summary.ref.id is not None
        if summary.ref.id in known:
            continue
        digest = hashlib.sha256(repr(summary.ref).encode())
        loaded = store.load(summary.ref)
        # Two processes, both with a table, or it is no whole snapshot.
        assert len(loaded.captures) == 2, summary
        for capture in loaded.captures:
            assert capture.table is not None, capture
            assert capture.totals == capture.table.totals
            digest.update(repr((capture.process, capture.status, capture.threads, capture.totals)).encode())
            digest.update(render_smaps(capture.table.mappings))
        found[summary.ref.id] = digest.hexdigest()
    return found


def integrity(db: Path) -> None:
    with contextlib.closing(sqlite3.connect(db)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> None:
    """SIGKILL, unless it ends before by itself."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        raise AssertionError(f"the recorder ended by itself: {process.returncode}")
    process.kill()
    process.wait()


@pytest.fixture
def busy() -> Iterator[tuple[Target, Target]]:
    with Target("busy.py", 100) as one, Target("busy.py", 150) as other:
        yield one, other


def test_killed_fifty_times(run: Runner, busy: tuple[Target, Target]) -> None:
    chosen = random.Random(4)
    pids = [argument for target in busy for argument in ("--pid", target.pid)]
    run("record", *pids).ok()
    known = fingerprints(run.db, {})
    killed_at_work = 0
    for number in range(KILLS):
        with run.started("record", *pids, "--every", "10ms", "--count", 100000) as recorder:
            assert recorder.stdout is not None
            # A third of them while it opens the store and takes its first snapshot, the others at work.
            announced = [] if number % 3 == 0 else [recorder.stdout.readline()]
            kill_after(recorder, chosen.uniform(0.1, 0.35) if number % 3 == 0 else chosen.uniform(0, 0.03))
            announced += recorder.stdout.read().splitlines(keepends=True)
        integrity(run.db)
        new = fingerprints(run.db, known)
        # What it said it had stored is stored; one more may be, that it had no time to speak of.
        said = [int(match[1]) for line in announced if (match := re.match(rb"snapshot (\d+): 2 processes.*\n", line))]
        assert list(new)[: len(said)] == said
        assert len(new) - len(said) in (0, 1)
        killed_at_work += bool(new)
        known |= new
    assert killed_at_work >= KILLS // 2
    assert list(known) == list(range(1, len(known) + 1))
    assert fingerprints(run.db, {}) == known
    assert run("db", "check").ok().out == "the store is sound\n"


def test_killed_while_the_store_is_made(target: Target, tmp_path: Path) -> None:
    chosen = random.Random(5)
    made = 0
    for number in range(NEW_STORES):
        fresh = Runner(tmp_path / f"new {number}" / "fresh.db")
        with fresh.started("record", "--pid", target.pid) as recorder:
            while not fresh.db.exists() and recorder.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    recorder.wait(0.002)
            with contextlib.suppress(subprocess.TimeoutExpired):
                recorder.wait(chosen.uniform(0, 0.12))
            made += recorder.poll() is None
            recorder.kill()
            recorder.wait()
        before = 0
        if fresh.db.stat().st_size:
            integrity(fresh.db)
        with contextlib.suppress(Exception):
            before = Store.open(str(fresh.db)).count_snapshots()
        result = fresh.here("record", "--pid", target.pid).ok()
        assert result.out.startswith(f"snapshot {before + 1}: 1 process")
        assert fresh.here("db", "check").ok().out == "the store is sound\n"
    assert made >= NEW_STORES // 2


def test_two_recorders_and_a_reader_at_once(run: Runner, busy: tuple[Target, Target]) -> None:
    """Writers wait for each other, readers for nobody."""
    series = ["--every", "10ms", "--count", "15"]
    run("record", "--pid", busy[0].pid).ok()
    with run.started("record", "--pid", busy[0].pid, *series) as one, run.started("record", "--pid", busy[1].pid, *series) as other:
        while one.poll() is None or other.poll() is None:
            run.here("snapshots").ok()
            run.here("show", "latest", "--format", "json").ok()
        assert (one.returncode, other.returncode) == (0, 0), (one.communicate(), other.communicate())
    assert len(run.here("snapshots", "--format", "json").json["snapshots"]) == 31
    assert run("db", "check").ok().out == "the store is sound\n"


def test_a_full_disk(run: Runner, target: Target, tmp_path: Path) -> None:
    """A limit on the size of files stands in for it: the error is one line, and what was there is as it was."""
    run("record", "--pid", target.pid).ok()
    shown = run("show", "1", "--format", "smaps").ok().stdout
    limit = run.db.stat().st_size + 8192
    with Target("many.py", 5000) as large:
        argv = [sys.executable, "-c", f"import resource,os,sys,signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
                f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); os.execv(sys.argv[1], sys.argv[1:])"]  # fmt: skip
        run("record", "--pid", large.pid, prefix=argv).refused(str(run.db))
    assert run("show", "latest", "--format", "smaps").ok().stdout == shown
    assert run("db", "check").ok().out == "the store is sound\n"
    run.here("record", "--pid", target.pid).ok()
    assert sorted(os.listdir(run.db.parent)) in (["test.db"], ["test.db", "test.db-shm", "test.db-wal"])
    assert tmp_path.exists()
