"""Law 4: a snapshot is in the store whole or not at all, whenever the recorder is killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from programs import Runner, Target
from programs.kept import made
from sqlalchemy import event
from sqlalchemy.pool import Pool

from pmapdiff.errors import PmapdiffError
from pmapdiff.formats.smaps import render_smaps
from pmapdiff.store import Store

# At any moment: what these are for is to hit SQLite within a statement. Between two of them, see `test_killed_before_each_statement`.
KILLS = 40


def contents(db: Path, known: Mapping[int, object]) -> dict[int, object]:
    """Everything that each snapshot holds, except for those that are known already."""
    store = Store.open(str(db))
    found: dict[int, object] = {}
    for summary in store.snapshots():
        assert summary.ref.id is not None
        if summary.ref.id in known:
            continue
        loaded = store.load(summary.ref)
        # Two processes, both with a table, or it is no whole snapshot.
        assert len(loaded.captures) == 2, summary
        for capture in loaded.captures:
            assert capture.table is not None, capture
            assert capture.totals == capture.table.totals
        found[summary.ref.id] = (
            summary.ref,
            [capture._replace(table=None) for capture in loaded.captures],
            [c.table.mappings for c in loaded.captures if c.table],
        )
    return found


def integrity(db: Path) -> None:
    with contextlib.closing(sqlite3.connect(db)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.fixture
def busy() -> Iterator[Target]:
    with Target("busy.py", 40) as program:
        yield program


def texts(db: Path) -> list[bytes]:
    """The smaps text of each snapshot of one process."""
    store = Store.open(str(db))
    captures = [capture for loaded in store.walk(store.refs()) for capture in loaded.captures]
    return [render_smaps(capture.table.mappings) for capture in captures if capture.table is not None]


def rows(db: Path) -> tuple[int, ...]:
    """How many rows there are of everything that belongs to a snapshot."""
    with contextlib.closing(sqlite3.connect(db)) as connection:
        names = ("snapshot", "capture", "totals", "mapping", "usage")
        return tuple(int(connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]) for name in names)


_PRAGMAS = ("application_id", "auto_vacuum", "incremental_vacuum", "journal_mode", "wal_checkpoint")
# Killed before a statement that only reads, a process leaves the file as before the next that does not.
_CHANGES = ("INSERT", "UPDATE", "DELETE", "COMMIT", "CREATE", "ALTER", "DROP", *(f"PRAGMA {name}" for name in _PRAGMAS))


@contextlib.contextmanager
def dying_before(number: int) -> Iterator[None]:
    """What is forked meanwhile kills itself before the statement of this number, of those that change something, COMMIT among them.

    A statement that is executed for many values counts once.
    """
    executed: list[str] = []

    def step(sql: str) -> None:
        begins = sql.strip().split("(")[0].split(" WHERE")[0]
        if begins.startswith(_CHANGES) and executed[-1:] != [begins]:
            executed.append(begins)
            if len(executed) == number:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(connection: sqlite3.Connection, _record: object) -> None:
        connection.set_trace_callback(step)

    event.listen(Pool, "connect", watch)
    try:
        yield
    finally:
        event.remove(Pool, "connect", watch)


@pytest.mark.parametrize("command", ["import", "prune"])
def test_killed_before_each_statement(run: Runner, tmp_path: Path, command: str) -> None:
    """Two files go into one transaction; a prune removes the oldest first."""
    before = list(made(run.db).values())
    more = list(made(tmp_path / "more.db", range(5, 7)).values())
    files = [tmp_path / f"{number}.smaps" for number in range(len(more))]
    for file, text in zip(files, more, strict=True):
        file.write_bytes(text)
    args, possible = {
        "import": (["import", *files, "--host", "h"], [before, before + more]),
        "prune": (["prune", "--keep-last", 1], [before[gone:] for gone in range(len(before))]),
    }[command]
    copy = shutil.copy(run.db, tmp_path / "before.db")
    left: set[tuple[int, ...]] = set()
    for number in itertools.count(1):
        for path in run.db.parent.iterdir():
            path.unlink()
        shutil.copy(copy, run.db)
        with dying_before(number), run.forked(*args) as victim:
            ended = victim.wait()
        integrity(run.db)
        assert texts(run.db) in possible, number
        assert Store.open(str(run.db)).check() == [], number
        if ended.code == 0:
            break
        assert (ended.code, ended.stdout, ended.stderr) == (-9, b"", b"")
        if texts(run.db) != possible[-1]:
            # Nothing is in the way of another try.
            run.here(*args).ok()
        left.add(rows(run.db))
    assert texts(run.db) == possible[-1]
    assert left == {rows(run.db)}
    assert number > 8, "it was killed before each"


def test_killed_at_any_moment(run: Runner, target: Target, busy: Target) -> None:
    """A series and, every fourth time, a prune: what was whole stays as it was, and what goes is what was to go."""
    chosen = random.Random(4)
    pids = ["--pid", target.pid, "--pid", busy.pid]
    # In this process, so that its forks find everything imported.
    run.here("record", *pids, "--label", "kept").ok()
    run.here("record", *pids).ok()
    run.here("prune", "--keep-last", 2).ok()
    known = contents(run.db, {})
    newest = 2
    at_work: Counter[str] = Counter()
    # How long until it gets to work depends on the machine: half of them are to be killed before, half after.
    spans = {"cold": 0.05, "prune": 0.05}
    for number in range(KILLS):
        pruning = number % 4 == 3
        args = ["prune", "--keep-last", 2] if pruning else ["record", *pids, "--every", "10ms", "--count", 100000]
        with run.forked(*args) as victim:
            # Every other recorder is at work, the others may still open the store.
            announced = victim.out.next() + b"\n" if number % 2 == 0 else b""
            kind = "prune" if pruning else "work" if announced else "cold"
            victim.signal_after(chosen.uniform(0, spans.get(kind, 0.03)))
            ended = victim.wait()
        assert ended.code == -9 or (pruning and ended.code == 0), ended
        assert ended.stderr == b"", ended
        integrity(run.db)
        if pruning:
            left = contents(run.db, {})
            gone = sorted(known.keys() - left.keys())
            assert left == {key: value for key, value in known.items() if key not in gone}
            # The oldest first, never the last two and never the one with a label.
            assert gone == sorted(known.keys() - {1})[: len(gone)]
            assert len(left) >= min(3, len(known))
            worked = bool(gone)
            known = left
        else:
            new = contents(run.db, known)
            # What it said it had stored is stored; one more may be, that it had no time to speak of.
            said = [int(match[1]) for match in re.finditer(rb"snapshot (\d+): 2 processes.*\n", announced + ended.stdout)]
            assert list(new)[: len(said)] == said
            assert len(new) - len(said) in (0, 1)
            assert list(new) == list(range(newest + 1, newest + 1 + len(new)))
            worked = bool(new)
            known |= new
        at_work[kind] += worked
        if kind in spans:
            spans[kind] = min(spans[kind] * (0.8 if worked else 1.25), 0.3)
        newest = max(newest, *known)
        if number % 10 == 9:
            assert Store.open(str(run.db)).check() == []
    assert at_work["work"] == KILLS // 2
    assert contents(run.db, {}) == known
    assert run("db", "check").ok().out == "the store is sound\n"


def test_killed_while_the_store_is_made(target: Target, tmp_path: Path) -> None:
    record = ["record", "--pid", target.pid]
    Runner(tmp_path / "warm.db").here(*record).ok()
    # Of the hundred statements that make the schema, and the snapshot.
    for number in itertools.count(1, 6):
        run = Runner(tmp_path / f"new {number}" / "fresh.db")
        with dying_before(number), run.forked(*record) as victim:
            ended = victim.wait()
        if run.db.stat().st_size:
            integrity(run.db)
        before = 0
        with contextlib.suppress(PmapdiffError):
            before = Store.open(str(run.db)).count_snapshots()
        assert before == (ended.code == 0)
        assert run.here(*record).ok().out.startswith(f"snapshot {before + 1}: 1 process")
        assert run.here("db", "check").ok().out == "the store is sound\n"
        if ended.code == 0:
            break
        assert (ended.code, ended.stdout, ended.stderr) == (-9, b"", b"")
    assert number > 36, "it was killed while the schema was made"


def test_two_recorders_and_a_reader_at_once(run: Runner, target: Target, busy: Target) -> None:
    """Writers wait for each other, readers for nobody."""
    series = ["--every", "10ms", "--count", "15"]
    run("record", "--pid", target.pid).ok()
    with run.forked("record", "--pid", target.pid, *series) as one, run.forked("record", "--pid", busy.pid, *series) as other:
        while one.is_running() or other.is_running():
            run.here("snapshots").ok()
            run.here("show", "latest", "--format", "json").ok()
        for recorder in (one, other):
            recorder.wait().ok()
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
        run.fresh("record", "--pid", large.pid, prefix=argv).refused(str(run.db))
    assert run("show", "latest", "--format", "smaps").ok().stdout == shown
    assert run("db", "check").ok().out == "the store is sound\n"
    run.here("record", "--pid", target.pid).ok()
    assert sorted(os.listdir(run.db.parent)) in (["test.db"], ["test.db", "test.db-shm", "test.db-wal"])
    assert tmp_path.exists()
