"""`pmapdiff lake` as a user has it: from a live process into a lake, and into another store."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from unittest import mock

import pytest
from laking import files_of
from programs import Runner, Target
from strategies import capture_of, make

from pmapdiff.model import Snapshot, SnapshotRef
from pmapdiff.store import Store

SAMPLES = Path(__file__).parents[2] / "sample_snapshots"
# 2026-11-22, 22:00 UTC.
EVENING_US = 1_795_384_800_000_000
HOSTILE = "web\x1b[31m/../=1"


@pytest.fixture
def two_hosts(run: Runner) -> Runner:
    """A store of two hosts and two days."""
    store = Store.open(str(run.db), write=True)
    for number in range(4):
        for host in ("web1", HOSTILE):
            ref = SnapshotRef(None, EVENING_US + number * 3_600_000_000, host)
            store.write(Snapshot(ref, (capture_of([make(0x1000, 0x2000 + number * 0x1000)]),)))
    return run


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def another(run: Runner, name: str = "another.db") -> Runner:
    return Runner(run.db.parent / name)


def test_a_live_process_comes_back_byte_for_byte(run: Runner, lake: Path, target: Target) -> None:
    for number in range(3):
        target.call("map", size=1 << 20, address=0x100000000000 + (number << 24))
        run.here("record", "--pid", target.pid, "--label", f"step {number}").ok()
    assert "3 snapshots written to" in run.here("lake", "write", lake).ok().out
    other = another(run)
    assert "3 new snapshots of 1 host taken into" in other.here("lake", "read", lake).ok().out
    for number in range(3):
        shown = ["show", f"step {number}", "--format", "smaps"]
        assert other.here(*shown).ok().stdout == run.here(*shown).ok().stdout
    other.here("db", "check").ok()
    before = files_of(lake)
    assert other.here("lake", "write", lake).ok().out.startswith("nothing new: all 3 snapshots are in")
    assert "0 new snapshots of 1 host" in other.here("lake", "read", lake).ok().out
    assert other.here("compare", "step 0", "step 2", "--format", "json").json["processes"]
    assert files_of(lake) == before


def test_a_part_of_it(two_hosts: Runner, lake: Path) -> None:
    two_hosts.here("lake", "write", lake, "--host", "web1", "--since", "2026-11-22T23:00Z", "--until", "2026-11-23T00:30Z", "--quiet").ok()
    assert [row["host"] for row in two_hosts.here("lake", "info", lake, "--json").json["hosts"]] == ["web1"]
    done = two_hosts.here("lake", "write", lake).ok().out
    assert "6 snapshots written to" in done
    assert "2 more were there already" in done
    other = another(two_hosts)
    other.here("lake", "read", lake, "--host", "web*", "--since", "2026-11-23").ok()
    assert len(other.snapshots()) == 4
    assert "8 snapshots" not in other.here("lake", "read", lake, "--host", "web1", "--quiet").ok().out
    assert sorted((row["host"], row["taken_at"]) for row in other.snapshots())[-1] == ("web1", "2026-11-23T01:00:00.000000Z")


def test_what_is_said_of_a_lake(two_hosts: Runner, lake: Path) -> None:
    two_hosts.here("lake", "write", lake).ok()
    out = two_hosts.here("lake", "info", lake).ok().out
    assert "snapshots  8, 2026-11-22 to 2026-11-23 (UTC)" in out
    assert "web1: 4 snapshots on 2 days" in out
    assert "web\\x1b[31m/../=1: 4 snapshots on 2 days" in out
    facts = two_hosts.here("lake", "info", lake, "--host", HOSTILE, "--json").json
    assert facts["format"] == "pmapdiff.lake/1"
    (row,) = facts["hosts"]
    size = sum(len(content) for path, content in files_of(lake).items() if "host=web%1B" in path)
    assert row == {"host": HOSTILE, "first_day": "2026-11-22", "last_day": "2026-11-23", "days": 2, "snapshots": 4, "parts": 2, "bytes": size}
    terminal = two_hosts.on_terminal("lake", "info", lake)
    assert b"\x1b[31m" not in terminal.stdout


def test_what_cannot_be_done(two_hosts: Runner, lake: Path) -> None:
    two_hosts.here("lake", "info", lake).refused(f"there is no lake at {lake}: make one with `pmapdiff lake write`")
    other = another(two_hosts)
    other.here("lake", "read", lake).refused("there is no lake at")
    assert not other.db.exists(), "no store is made for nothing"
    two_hosts.here("lake", "write", lake.parent).refused("is no lake, and not empty")
    two_hosts.here("lake", "write", "").refused("name a folder or URL")
    two_hosts.here("lake", "write", lake, "--host", "web9").refused("there is no host 'web9'")
    assert not lake.exists()
    two_hosts.here("lake", "write", lake).ok()
    other.here("lake", "read", lake, "--host", "web\x1b9").refused("the lake has nothing of web\\x1b9 in this time")
    other.here("lake", "read", lake, "--since", "latest").refused("--since latest is no time")
    other.here("lake", "write", lake / "file" / "in").refused("there is no store at")
    (lake.parent / "file").write_bytes(b"")
    two_hosts.here("lake", "write", lake.parent / "file").refused("cannot write to", "File exists")
    two_hosts.here("lake", "write", "nope://x").refused("nope://x is no place for a lake", "nope")
    message = two_hosts.here("lake", "write", "nope://user:secret@x/y").refused().err
    assert "secret" not in message


def test_an_empty_store(run: Runner, lake: Path) -> None:
    assert run.here("lake", "write", lake).ok().out == "nothing new: the store has no snapshot of that time\n"
    assert not lake.exists()


def test_what_is_not_installed_is_named(two_hosts: Runner, lake: Path) -> None:
    with mock.patch.dict(sys.modules, {"s3fs": None}):
        two_hosts.here("lake", "write", "s3://bucket/lake").refused("s3:// needs its driver: pip install s3fs")
    ours = {name: module for name, module in sys.modules.items() if not name.startswith("pmapdiff.lake")}
    with mock.patch.dict(sys.modules, {**ours, "pyarrow": None}, clear=True):
        two_hosts.here("lake", "write", lake).refused("pip install 'pmapdiff[lake]'")


def test_in_memory_as_in_an_object_store(two_hosts: Runner) -> None:
    two_hosts.here("lake", "write", "memory://lake-of-the-command-line").ok()
    assert "8 new snapshots of 2 hosts" in another(two_hosts).here("lake", "read", "memory://lake-of-the-command-line").ok().out


def test_a_full_disk(two_hosts: Runner, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        two_hosts.here("lake", "write", lake).refused("the disk is full")
    assert not [path for path in files_of(lake) if path.endswith(".tmp")]
    two_hosts.here("lake", "write", lake).ok()
    assert "8 new snapshots" in another(two_hosts).here("lake", "read", lake).ok().out


def test_a_sample_that_only_is_read(bare: Runner, lake: Path, tmp_path: Path) -> None:
    """A store in a folder that may not be written, as any other that is only read."""
    folder = tmp_path / "samples"
    folder.mkdir()
    shutil.copy(SAMPLES / "redis.db", folder)
    before = files_of(folder)
    sample = Runner(folder / "redis.db")
    sample.here("lake", "write", lake).ok()
    assert files_of(folder) == before
    bare.here("lake", "read", lake).ok()
    assert [row["label"] for row in bare.snapshots()] == [row["label"] for row in sample.snapshots()]
