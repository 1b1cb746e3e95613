"""A disk that is full or may only be read: one clear line, nothing lost, and it goes on when there is room again."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Runner, Target
from programs.kept import SOUND, Kept, clean
from programs.mounts import fill, make_read_only, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "3m") as folder:
        yield folder


@pytest.fixture
def large() -> Iterator[Target]:
    with Target("many.py", 5000) as program:
        yield program


# 64 KiB are enough to open the store, not to write a snapshot.
@pytest.mark.parametrize("room", [0, 64 << 10])
def test_a_full_disk_while_recording(disk: Path, target: Target, large: Target, room: int) -> None:
    run = Runner(disk / "test.db")
    kept = Kept(run, target)
    filler = fill(disk, room)
    for _ in range(2):
        clean(run.here("record", "--pid", large.pid), 2).refused(str(run.db), "full")
    filler.unlink()
    kept.is_unharmed()
    assert kept.count() == 1
    run.here("record", "--pid", large.pid).ok()
    assert kept.count() == 2
    kept.is_unharmed()


def test_a_full_disk_before_the_first_snapshot(disk: Path, target: Target) -> None:
    run = Runner(disk / "test.db")
    filler = fill(disk)
    for _ in range(2):
        clean(run.here("record", "--pid", target.pid), 2).refused(str(run.db), "full")
    filler.unlink()
    Kept(run, target).is_unharmed()


def test_a_series_goes_on_when_there_is_room_again(disk: Path, target: Target, large: Target) -> None:
    run = Runner(disk / "test.db")
    kept = Kept(run, target)
    filler = fill(disk, 64 << 10)
    # The first one of a series must succeed: it has to open its store with room for it.
    clean(run("record", "--pid", target.pid, "--pid", large.pid, "--every", "20ms"), 2).refused("full")
    filler.unlink()
    with run.forked("record", "--pid", target.pid, "--pid", large.pid, "--every", "20ms") as recorder:
        recorder.out.next()
        filler = fill(disk)
        # An unchanged table costs no room: change much at once.
        target.call("map", size=2000 * 8192, address=0x100000000000)
        for i in range(0, 2000, 1):
            target.call("protect", address=0x100000000000 + i * 8192, size=4096, prot=1)
        assert b"going on" in recorder.err.until(b"full")
        filler.unlink()
        before = kept.count()
        while kept.count() < before + 3:
            assert recorder.out.next()
        recorder.kill(signal.SIGTERM)
        # It said so once, not once a snapshot.
        assert recorder.wait().ok().stderr == b""
    assert len(run.here("show", "latest", "--pid", target.pid, "--format", "json").json["processes"][0]["mappings"]) > 3000
    kept.is_unharmed()


@pytest.mark.parametrize("room", [0, 256 << 10])
def test_a_full_disk_while_pruning(disk: Path, target: Target, large: Target, room: int) -> None:
    """It works, or says in one line that it cannot; what it was to keep is there in any case."""
    run = Runner(disk / "test.db")
    kept = grown(run, target, large)
    filler = fill(disk, room)
    for _ in range(2):
        clean(run.here("prune", "--keep-last", 1), 0, 2)
    filler.unlink()
    kept.is_unharmed()
    assert run.here("show", "latest", "--pid", target.pid).ok()
    run.here("prune", "--keep-last", 1).ok()
    assert kept.count() == 2
    kept.is_unharmed()


def grown(run: Runner, target: Target, large: Target) -> Kept:
    """A store most of which is in snapshots that may go: the kept one, and seven of one series."""
    kept = Kept(run, target)
    for number in range(6):
        target.call("map", size=8192, address=0x200000000000 + number * 65536)
        run.here("record", "--pid", target.pid, "--pid", large.pid).ok()
    large.close()
    run.here("record", "--pid", target.pid, "--pid", large.pid).ok()
    assert kept.count() == 8
    return kept


def test_reading_from_a_full_disk(disk: Path, target: Target) -> None:
    run = Runner(disk / "test.db")
    kept = Kept(run, target)
    # Who writes takes the log and its index away at the end, who only reads leaves them behind.
    run.here("record", *kept.pids).ok()
    assert [path.name for path in disk.iterdir()] == ["test.db"]
    fill(disk)
    kept.is_unharmed()


@pytest.mark.parametrize("options", [["--keep-last", "1"], ["--max-size", "1K"]])
def test_pruning_makes_room_on_a_full_disk(disk: Path, target: Target, large: Target, options: list[str]) -> None:
    run = Runner(disk / "test.db")
    kept = grown(run, target, large)
    # Where there is no room at all, not even a transaction that removes something can be logged.
    filler = fill(disk)
    clean(run.here("prune", *options), 2).refused("full", "make")
    filler.unlink()
    filler = fill(disk, 768 << 10)
    clean(run.here("prune", *options), 0)
    run.here("record", "--pid", target.pid).ok()
    filler.unlink()
    kept.is_unharmed()


def test_a_read_only_disk(disk: Path, target: Target) -> None:
    run = Runner(disk / "test.db")
    kept = Kept(run, target)
    run.here("record", "--pid", target.pid).ok()
    make_read_only(disk)
    for args in (["record", *kept.pids], ["prune", "--keep-last", "1"], ["record", *kept.pids, "--every", "10ms"], ["db", "upgrade"]):
        clean(run.here(*args), 2).refused(str(run.db))
    for reading in (["snapshots"], ["processes"], ["show"], ["compare", 1, 2], ["db", "info"]):
        clean(run.here(*reading), 0)
    kept.is_unharmed()
    make_read_only(disk, False)
    run.here("record", *kept.pids).ok()
    assert kept.count() == 3
    kept.is_unharmed()


def test_a_read_only_disk_with_a_log_left_behind(disk: Path, target: Target) -> None:
    """What a killed recorder had stored is in the log: it is read, or refused, never left out."""
    run = Runner(disk / "test.db")
    kept = Kept(run, target)
    (disk / "saved").mkdir()
    with contextlib.closing(sqlite3.connect(run.db)) as connection:
        # As long as somebody has it open, the log stays.
        connection.execute("SELECT count(*) FROM snapshot").fetchone()
        run.here("record", *kept.pids, "--label", "in the log").ok()
        for path in (run.db, Path(f"{run.db}-wal")):
            shutil.copy(path, disk / "saved" / path.name)
    saved = Runner(disk / "saved" / "test.db")
    assert Path(f"{saved.db}-wal").stat().st_size > 0
    make_read_only(disk)
    result = clean(saved.here("show", "in the log", "--format", "smaps"), 0, 2)
    if result.code == 2:
        assert "no label" not in result.err
    clean(saved.here("record", *kept.pids), 2)
    make_read_only(disk, False)
    assert saved.here("db", "check").ok().out == SOUND
    assert saved.here("show", "in the log", "--format", "smaps").ok().stdout.count(b"VmFlags:") > 20
    assert saved.here("show", "kept", "--format", "smaps").ok().stdout == kept.text
