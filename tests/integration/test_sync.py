"""`sync`: from one store to another, whatever comes between."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from backends import Backend, Cluster
from like_hosts import SAMPLE, as_host, recorded, told
from programs import Runner
from sqlalchemy import text

from pmapdiff.errors import UsageError
from pmapdiff.formats.smaps import render_smaps
from pmapdiff.store import Store
from pmapdiff.store.prune import Retention
from pmapdiff.store.sync import sync

SNAPSHOTS = 12


def store_at(path: Path, host: int = 1, snapshots: int = SNAPSHOTS) -> Store:
    store = Store.open(str(path), write=True)
    store.write_all(as_host(recorded(snapshots), host))
    return store


@pytest.fixture
def other(backend: Backend) -> object:
    with backend.fresh() as location:
        yield Store.open(location, write=True)


def brought(source: Store, target: Store, **options: object) -> list[tuple[str, int, int]]:
    return [tuple(found) for found in sync(source, target, **options)]  # type: ignore[arg-type, misc]


def test_all_of_it_arrives_and_nothing_twice(tmp_path: Path, other: Store) -> None:
    store = store_at(tmp_path / "s.db", snapshots=40)
    assert brought(store, other) == [("web1", 40, 0)]
    assert told(other) == told(store)
    assert other.check(text_of=render_smaps) == []
    assert brought(store, other) == [("web1", 0, 0)]
    more = as_host(recorded(), 1)[40:]
    store.write_all(more)
    assert brought(store, other) == [("web1", len(more), 0)]
    assert told(other) == told(store)
    assert other.check(text_of=render_smaps) == []


def test_what_arrived_stays_as_it_was(tmp_path: Path, other: Store) -> None:
    """No row changes but by its end, and that only once."""
    store = store_at(tmp_path / "s.db", snapshots=10)
    seen: dict[str, set[tuple[object, ...]]] = {}
    series = as_host(recorded(), 1)
    for begin in range(10, 40, 10):
        brought(store, other)
        with other.reading() as connection:
            for table in ("host", "string", "layout", "protection", "backing", "detail", "state", "snapshot", "process", "capture", "mapping"):
                rows = {tuple(row) for row in connection.execute(text(f"SELECT * FROM {table}"))}
                assert seen.get(table, set()) <= rows, table
                seen[table] = rows
            for table, key in (("usage", "process_id, no, first_snapshot, state_id"), ("totals", "process_id, first_snapshot, rss_kib")):
                ends = {tuple(row[:-1]): row[-1] for row in connection.execute(text(f"SELECT {key}, last_snapshot FROM {table}"))}
                for known in seen.get(table, set()):
                    assert ends[known[:-1]] == known[-1] or known[-1] == 2**31 - 1, (table, known)
                seen[table] = {(*known, end) for known, end in ends.items()}
        store.write_all(series[begin : begin + 10])


def test_a_snapshot_that_came_another_way_does_not_come_again(tmp_path: Path, other: Store) -> None:
    first = store_at(tmp_path / "first.db")
    second = Store.open(str(tmp_path / "second.db"), write=True)
    assert brought(first, second) == [("web1", SNAPSHOTS, 0)]
    assert brought(second, other) == [("web1", SNAPSHOTS, 0)]
    assert brought(first, other) == [("web1", 0, SNAPSHOTS)]
    # Nor back to where it is from.
    assert brought(other, first) == [("web1", 0, SNAPSHOTS)]
    assert told(other) == told(first) == told(second)


def test_a_part_first_and_the_rest_later(tmp_path: Path, other: Store) -> None:
    store = store_at(tmp_path / "s.db")
    store.write_all(as_host(recorded(5), 2))
    moments = [ref.taken_at_us for ref in store.refs() if ref.host == "web1"]
    assert brought(store, other, hosts=["web1"], since_us=moments[3], until_us=moments[6]) == [("web1", 4, 0)]
    assert brought(store, other, hosts=["web1"], since_us=moments[5]) == [("web1", SNAPSHOTS - 7, 2)]
    assert brought(store, other, hosts=["web1"]) == [("web1", 3, SNAPSHOTS - 3)]
    assert {key: what for key, what in told(store).items() if key[0] == "web1"} == told(other)
    assert brought(store, other) == [("web1", 0, 0), ("web2", 5, 0)]
    assert told(other) == told(store)


def test_what_was_pruned_from_the_shared_store_does_not_come_back(tmp_path: Path, other: Store) -> None:
    store = store_at(tmp_path / "s.db")
    brought(store, other)
    other.prune(Retention(last=2), label=None)
    left = [ref.taken_at_us for ref in other.refs()]
    store.write_all(as_host(recorded(SNAPSHOTS + 1), 1)[SNAPSHOTS:])
    assert brought(store, other) == [("web1", 1, 0)]
    assert [ref.taken_at_us for ref in other.refs()][:-1] == left
    assert other.check(text_of=render_smaps) == []


def test_what_was_pruned_here_before_it_was_brought_is_not_waited_for(tmp_path: Path, other: Store) -> None:
    store = store_at(tmp_path / "s.db")
    brought(store, other)
    store.prune(Retention(last=1))
    store.write_all(as_host(recorded(SNAPSHOTS + 4), 1)[SNAPSHOTS:])
    store.prune(Retention(last=2))
    assert brought(store, other) == [("web1", 2, 0)]


@pytest.mark.parametrize("behind", [3, 6, 9])
def test_a_store_put_back_from_a_backup_gives_its_numbers_again(tmp_path: Path, other: Store, behind: int) -> None:
    series = as_host(recorded(), 1)
    path, backup = tmp_path / "s.db", tmp_path / "backup.db"
    store = store_at(path)
    shutil.copy(path, backup)
    store.write_all(series[SNAPSHOTS : SNAPSHOTS + 6])
    brought(store, other)
    # Other snapshots under the same numbers.
    restored = Store.open(str(backup), write=True)
    restored.write_all(series[30 : 30 + behind])
    assert brought(restored, other) == [("web1", behind, SNAPSHOTS)]
    assert {key[2] for key in told(other)} == {taken.ref.taken_at_us for taken in [*series[:18], *series[30 : 30 + behind]]}
    restored.write_all(series[40:45])
    assert brought(restored, other) == [("web1", 5, 0)]


def test_two_at_once(backend: Backend, run: Runner) -> None:
    with backend.fresh() as location:
        store = store_at(run.db, snapshots=40)
        with run.forked("sync", location) as one, run.forked("sync", location) as two:
            for fork in (one, two):
                fork.wait().ok()
        assert told(Store.open(location)) == told(store)


def test_a_command_line_of_many_kib_on_postgresql(cluster: Cluster) -> None:
    """PostgreSQL has no index for a text of more than 2,704 bytes."""
    words = bytes(range(1, 256)) * 400
    taken = as_host(recorded(1), 1)[0]
    captures = tuple(known._replace(process=known.process._replace(command=words)) for known in taken.captures)
    with cluster.fresh() as location:
        store = Store.open(location, write=True)
        store.write(taken._replace(captures=captures))
        assert {known.process.command for known in store.load(store.resolve("latest")).captures} == {words}


def test_the_command(tmp_path: Path, run: Runner, backend: Backend) -> None:
    store = store_at(run.db)
    laptop = tmp_path / "laptop.db"
    with backend.fresh() as location:
        assert f"{SNAPSHOTS} new snapshots of 1 host brought to " in run.here("sync", location).ok().out
        assert "0 new snapshots of 1 host" in run.here("sync", location).ok().out
        assert run.here("sync", location, "--quiet").ok().out == ""
        pulled = Runner(laptop).here("sync", location, "--pull", "--host", "web1", "--since", "2000-01-01").ok().out
        assert f"{SNAPSHOTS} new snapshots of 1 host brought to {laptop}" in pulled
        run.here("sync", location, "--host", "web9").refused("no snapshot of web9", "pmapdiff hosts")
    assert told(Store.open(str(laptop))) == told(store)
    run.here("sync", run.db).refused("is the store itself")
    run.here("sync", tmp_path / "no.db", "--pull").refused("there is no store")
    Runner(tmp_path / "none.db").here("sync", tmp_path / "x.db").refused("there is no store")
    assert not (tmp_path / "x.db").exists(), "nothing is made for nothing"


def test_again_and_again_whatever_the_server_does(run: Runner, tmp_path: Path) -> None:
    store_at(run.db)
    target = tmp_path / "shared.db"
    target.write_bytes(b"no database")
    with run.forked("sync", target, "--every", "20ms") as series:
        assert b"going on" in series.err.until(b"not a database")
        target.unlink()
        series.out.until(b"12 new snapshots")
        series.kill(signal.SIGTERM)
        assert series.wait().code == 0
    assert told(Store.open(str(target))) == told(Store.open(str(run.db)))


def test_a_store_is_not_its_own_copy(tmp_path: Path) -> None:
    store = store_at(tmp_path / "s.db")
    with pytest.raises(UsageError):
        brought(store, Store.open(str(tmp_path / "." / "s.db"), write=True))
    shutil.copy(tmp_path / "s.db", tmp_path / "copy.db")
    copy = Store.open(str(tmp_path / "copy.db"), write=True)
    assert brought(store, copy) == [("web1", 0, SNAPSHOTS)], "what was copied as a file is there, too"


def test_an_older_store_says_what_to_do(run: Runner, tmp_path: Path) -> None:
    older = SAMPLE.parent.parent / "tests" / "data" / "stores" / "0005.db"
    shutil.copy(older, run.db)
    run.here("sync", tmp_path / "t.db").refused("pmapdiff db upgrade")
