"""The SQLite file: who may read it, whose it is, and what is left alone."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from backends import schema_differences
from sqlalchemy import text
from strategies import capture_of, make

from pmapdiff.errors import NotFoundError, StoreError
from pmapdiff.formats.smaps import render_smaps
from pmapdiff.formats.sums import sum_table
from pmapdiff.model import Capture, Snapshot, SnapshotRef
from pmapdiff.store import Store, default_location, sqlite_path
from pmapdiff.store.schema import APPLICATION_ID, REVISIONS

STORES = Path(__file__).resolve().parent.parent / "data/stores"
SOMETHING = Snapshot(SnapshotRef(None, 1, "h"), (capture_of([make(0x1000, 0x2000)]),))


def pragma(store: Store, name: str) -> object:
    with store.engine.connect() as connection:
        return connection.execute(text(f"PRAGMA {name}")).scalar_one()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_new_store_is_for_its_owner_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = tmp_path / "made" / "store.db"
        store = Store.open(str(path), write=True)
        store.write(SOMETHING)
        with store.engine.connect() as connection:
            connection.execute(text("SELECT 1 FROM host"))
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert modes["store.db"] == 0o600
    assert set(modes.values()) == {0o600}


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Store.open(str(tmp_path / "store.db"), write=True)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_how_sqlite_is_told_to_work(tmp_path: Path) -> None:
    Store.open(str(tmp_path / "s.db"), write=True)
    for write in (True, False):
        store = Store.open(str(tmp_path / "s.db"), write=write)
        assert pragma(store, "foreign_keys") == 1
        assert pragma(store, "journal_mode") == "wal"
        assert pragma(store, "synchronous") == 2
        assert pragma(store, "busy_timeout") == 10_000
        assert pragma(store, "application_id") == APPLICATION_ID


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="pmapdiff record"):
        Store.open(str(tmp_path / "none" / "s.db"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    with pytest.raises(NotFoundError):
        Store.open(str(tmp_path / "empty.db"))
    with pytest.raises(StoreError, match="folder"):
        Store.open(str(tmp_path))


@pytest.mark.parametrize("write", [False, True])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, write: bool) -> None:
    for number, data in enumerate((b"not a database\n", b"x", os.urandom(5000), b"SQLite format 3\0", b"SQLite format 3\0" + bytes(84))):
        (tmp_path / f"{number}.db").write_bytes(data)
    before = contents(tmp_path)
    for name in before:
        with pytest.raises(StoreError):
            Store.open(str(tmp_path / name), write=write)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("write", [False, True])
def test_somebody_elses_database_is_left_alone(tmp_path: Path, write: bool) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE snapshot (id INTEGER)")
        connection.commit()
    before = contents(tmp_path)
    with pytest.raises(StoreError, match="not one of pmapdiff"):
        Store.open(str(path), write=write)
    assert contents(tmp_path) == before


# What the version that made tests/data/stores/0001.db gave back of it: each capture with the start of the SHA-256 of its text.
NOTHING = ("init", "denied", hashlib.sha256().hexdigest()[:12])
FIRST, SECOND = ("redis-server", "complete", "3b1aff884056"), ("redis-server", "complete", "24efe2eb5a86")
SAVED = [("saved", "complete", "1180ddc00e70"), ("saved", "complete", "3b1aff884056")]
IN_STORES = {1: [NOTHING, FIRST], 2: [NOTHING, FIRST], 3: [NOTHING, SECOND], 4: SAVED, 6: [NOTHING, FIRST], 9: [NOTHING, FIRST]}


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_a_store_of_each_older_revision_is_upgraded_by_writing(tmp_path: Path, revision: str) -> None:
    """With two tables that look like one process in one snapshot, and with snapshots that were pruned."""
    path = tmp_path / "s.db"
    path.write_bytes((STORES / f"{revision}.db").read_bytes())
    store = Store.open(str(path), write=True)
    assert store.check(text_of=render_smaps) == []
    found = {row.ref.id: sorted(map(told, store.load(row.ref).captures)) for row in store.snapshots()}
    assert found == IN_STORES
    store.write(SOMETHING)
    with store.engine.connect() as connection:
        views = (connection.execute(text(f"SELECT count(*) FROM {view}")).scalar_one() for view in ("mapping_table", "process_table"))
        assert list(views) == [7 * 118 + 1, 5 * 2 + 2 + 1]
    assert schema_differences(store.engine) == []


def told(capture: Capture) -> tuple[str, str, str]:
    text = b"" if capture.table is None else render_smaps(capture.table.mappings)
    return capture.process.name, capture.status, hashlib.sha256(text).hexdigest()[:12]


def test_a_store_cut_off_is_damaged_not_a_bug(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    Store.open(str(path), write=True).write(SOMETHING)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(StoreError):
        Store.open(str(path)).load(Store.open(str(path)).resolve("latest"))


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    ref = Store.open(str(path), write=True).write(SOMETHING)
    before = path.read_bytes()
    for write in (True, False):
        assert Store.open(str(path), write=write).resolve("latest") == ref
    assert path.read_bytes() == before


@pytest.mark.parametrize("url", [False, True])
def test_a_path_with_odd_characters(tmp_path: Path, url: bool) -> None:
    path = tmp_path / "a b%20#?&é" / "s.db"
    location = f"sqlite:///{path}" if url else str(path)
    ref = Store.open(location, write=True).write(SOMETHING)
    assert Store.open(location).resolve("latest") == ref
    assert path.is_file()


def test_locations(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sqlite_path("a/b.db") == Path("a/b.db")
    assert sqlite_path("sqlite:///a/b.db") == Path("a/b.db")
    assert sqlite_path("sqlite:////a/b.db") == Path("/a/b.db")
    assert sqlite_path("postgresql://host/db") is None
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert default_location() == "/var/lib/pmapdiff/pmapdiff.db"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_location() == "/state/pmapdiff/pmapdiff.db"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/u")
    assert default_location() == "/home/u/.local/state/pmapdiff/pmapdiff.db"


@pytest.mark.parametrize("location", ["nonsense://x", "postgresql+nodriver://h/d", "mysql://h/d"])
def test_urls_that_cannot_be_used(location: str) -> None:
    with pytest.raises(StoreError):
        Store.open(location)


def test_a_sum_of_unknown_size_stays_one(tmp_path: Path) -> None:
    rows = sum_table([(b"[rollup]", None, make(0, 0x1000, rss=7).counters)])
    with_size = sum_table([(b"[heap]", 8, make(0, 0x1000, rss=7).counters), (b"/lib/libc.so.6", None, make(0, 0x1000, rss=1).counters)])
    store = Store.open(str(tmp_path / "s.db"), write=True)
    for table in (rows, with_size):
        ref = store.write(Snapshot(SnapshotRef(None, 1, "h"), (capture_of(table.mappings),)))
        assert store.load(ref).captures[0].table == table
    assert store.check() == []
