"""Hundreds of hosts and one PostgreSQL: many at once, whatever breaks, and each with no more rights than it needs."""

from __future__ import annotations

import contextlib
import random
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import psycopg
import pytest
from backends import Cluster, running_cluster
from like_hosts import as_host, hosts_like, recorded, told
from programs import Runner
from programs.cutting import unreliable
from programs.driver import Forked
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from pmapdiff.errors import StoreError
from pmapdiff.formats.smaps import render_smaps
from pmapdiff.store import Store
from pmapdiff.store.engine import lock_hosts

ROOT = Path(__file__).parents[2]
HOSTS = 64
SNAPSHOTS = 8


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server that may be killed."""
    with running_cluster(connections=HOSTS + 20) as running:
        yield running


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The stores of many hosts, by their names."""
    folder = tmp_path_factory.mktemp("fleet")
    found = {}
    for name, snapshots in hosts_like(recorded(SNAPSHOTS), HOSTS):
        found[name] = folder / f"{name}.db"
        Store.open(str(found[name]), write=True).write_all(snapshots)
    return found


def wait_for_snapshots(url: str, number: int) -> None:
    store = Store.open(url)
    while store.count_snapshots() < number:
        # Asking is work, too, for the server that they wait for.
        time.sleep(0.02)


@contextlib.contextmanager
def syncing(fleet: dict[str, Path], url: str) -> Iterator[list[Forked]]:
    """All hosts at once, some snapshots in a batch."""
    with mock.patch("pmapdiff.store.sync._BATCH", 2):
        forks = [Forked(["--db", str(path), "sync", url, "--quiet"], None, None) for path in fleet.values()]
    try:
        yield forks
    finally:
        for fork in forks:
            fork.close()


def test_many_hosts_at_once_while_clients_and_the_server_are_killed(server: Cluster, fleet: dict[str, Path]) -> None:
    everything = HOSTS * SNAPSHOTS
    with server.fresh() as url:
        with syncing(fleet, url) as forks:
            wait_for_snapshots(url, everything // 4)
            for fork in random.Random(8).sample(forks, HOSTS // 4):
                fork.kill()
            wait_for_snapshots(url, everything // 2)
            server.kill()
            codes = [fork.wait().code for fork in forks]
        server.start()
        assert set(codes) == {0, 2, -9}, "some were done, some found no server any more, some were killed"
        shared = Store.open(url)
        assert shared.count_snapshots() < everything
        assert shared.check(text_of=render_smaps) == []
        with syncing(fleet, url) as forks:
            for fork in forks:
                fork.wait().ok()
        assert shared.count_snapshots() == everything
        found = told(shared)
        for name, path in fleet.items():
            assert {key: what for key, what in found.items() if key[0] == name} == told(Store.open(str(path))), name
        assert shared.check(text_of=render_smaps) == []


def test_a_network_that_breaks(server: Cluster, fleet: dict[str, Path]) -> None:
    few = dict(list(fleet.items())[:6])
    with server.fresh() as url, tempfile.TemporaryDirectory(prefix="cut", dir="/tmp") as folder:
        through = url.replace(server.folder, folder)
        failed = 0
        with unreliable(folder, server.folder, seed=1, cuts=60):
            for path in few.values():
                for _ in range(30):
                    done = Runner(path).here("sync", through, "--quiet")
                    if done.code == 0:
                        break
                    failed += 1
                    done.refused("postgresql+psycopg://")
                else:
                    raise AssertionError(done)
        assert failed > 5
        assert {key: what for path in few.values() for key, what in told(Store.open(str(path))).items()} == told(Store.open(url))
        assert Store.open(url).check(text_of=render_smaps) == []


def test_a_network_that_says_nothing_any_more(server: Cluster, fleet: dict[str, Path]) -> None:
    with server.fresh() as url, tempfile.TemporaryDirectory(prefix="cut", dir="/tmp") as folder:
        through = url.replace(server.folder, folder)
        with unreliable(folder, server.folder, seed=2, cuts=99, silent=True):
            Runner(fleet["web1"]).here("sync", through, "--timeout", "500ms").refused("said nothing for")
        Runner(fleet["web1"]).here("sync", url).ok()
        assert told(Store.open(url)) == told(Store.open(str(fleet["web1"])))


@pytest.fixture
def guarded(server: Cluster) -> Iterator[str]:
    """A shared store with the roles of docs/shared.md, whose SQL is run as it stands there."""
    statements = re.findall(r"```postgresql\n(.*?)```", (ROOT / "docs" / "shared.md").read_text(), re.DOTALL)
    assert len(statements) == 2
    with server.fresh() as url, psycopg.connect(host=server.folder, user="pmapdiff", dbname=name_of(url), autocommit=True) as owner:
        try:
            for statement in statements:
                owner.execute(statement.encode())
            for number in (1, 2):
                owner.execute(f"CREATE ROLE login{number} LOGIN IN ROLE pmapdiff_hosts".encode())
                owner.execute("INSERT INTO pmapdiff_login VALUES (%s, %s)", [f"login{number}", f"web{number}"])
            yield url
        finally:
            owner.execute("DROP OWNED BY pmapdiff_hosts, pmapdiff_readers, web3, alice, login1, login2")
            owner.execute("DROP ROLE IF EXISTS web3, alice, login1, login2, pmapdiff_hosts, pmapdiff_readers")


def name_of(url: str) -> str:
    return re.sub(r".*/([^/?]+)\?.*", r"\1", url)


def as_login(url: str, login: str) -> str:
    return url.replace("pmapdiff@", f"{login}@")


def test_a_host_may_append_its_own_rows(guarded: str, fleet: dict[str, Path]) -> None:
    for number in (1, 2):
        path = fleet[f"web{number}"]
        Runner(path).here("sync", as_login(guarded, f"login{number}")).ok()
        # A process that could not be read is named later, and a series goes on.
        store = Store.open(str(path))
        assert told(Store.open(as_login(guarded, f"login{number}"))) == told(store)
    shared = Store.open(guarded)
    assert {ref.host for ref in shared.refs()} == {"web1", "web2"}
    assert shared.check(text_of=render_smaps) == []
    with shared.reading() as connection:
        for table in ("string", "layout", "protection", "backing", "detail", "state"):
            whose = set(connection.execute(text(f"SELECT DISTINCT host_id FROM {table}")).scalars())
            assert whose == set(connection.execute(text("SELECT id FROM host")).scalars()), table
    reader = as_login(guarded, "alice")
    assert told(Store.open(reader)) == told(shared)
    with pytest.raises(Exception, match="may not be read or written"):
        Store.open(reader, write=True).write_all(as_host(recorded(1), 1))


def test_a_host_may_go_on_where_it_was(guarded: str, tmp_path: Path) -> None:
    series = as_host(recorded(), 1)
    path = tmp_path / "s.db"
    store = Store.open(str(path), write=True)
    for begin in range(0, 60, 20):
        store.write_all(series[begin : begin + 20])
        Runner(path).here("sync", as_login(guarded, "login1")).ok()
    assert told(Store.open(guarded)) == told(store)


def test_a_host_may_do_nothing_else(guarded: str, fleet: dict[str, Path], tmp_path: Path) -> None:
    for number in (1, 2):
        Runner(fleet[f"web{number}"]).here("sync", as_login(guarded, f"login{number}")).ok()
    # In the name of another.
    Runner(fleet["web3"]).here("sync", as_login(guarded, "login1")).refused("may not be read or written by this user")
    Runner(tmp_path / "x.db").here("--db", as_login(guarded, "login1"), "prune", "--keep-last", 1, store=False).refused("may not be read or written")
    before = told(Store.open(guarded))
    with Store.open(guarded).reading() as connection:
        ours, theirs = (connection.execute(text(f"SELECT id FROM host WHERE name = 'web{n}'")).scalar_one() for n in (1, 2))
        snapshot, other_snapshot = (
            connection.execute(text(f"SELECT max(id) FROM snapshot WHERE host_id = {h}")).scalar_one() for h in (ours, theirs)
        )
        process, other_process = (connection.execute(text(f"SELECT min(id) FROM process WHERE host_id = {h}")).scalar_one() for h in (ours, theirs))
        other_string = connection.execute(text(f"SELECT min(id) FROM string WHERE host_id = {theirs}")).scalar_one()
    forbidden = [
        "DELETE FROM snapshot",
        "TRUNCATE usage",
        "UPDATE snapshot SET taken_at = 0",
        "UPDATE string SET text = 'x'",
        "UPDATE usage SET first_snapshot = 0",
        "UPDATE usage SET state_id = 1",
        "UPDATE numbering SET removed = 2000000000",
        "INSERT INTO host (id, name) VALUES (999, 'web9')",
        f"INSERT INTO string (id, raw, text, host_id) VALUES (999999, 'x', 'x', {theirs})",
        "INSERT INTO string (id, raw, text, host_id) VALUES (999999, 'x', 'x', NULL)",
        f"INSERT INTO snapshot (id, host_id, taken_at, source) VALUES (999999, {theirs}, 0, 'live')",
        f"INSERT INTO snapshot (id, host_id, taken_at, source) VALUES ({snapshot - 1000}, {ours}, 0, 'live')",
        # What others are going to be given.
        f"INSERT INTO snapshot (id, host_id, taken_at, source) VALUES ({snapshot + other_snapshot + 1000}, {ours}, 0, 'live')",
        f"INSERT INTO string (id, raw, text, host_id) VALUES (999999, 'x', 'x', {ours})",
        f"INSERT INTO delivery (id, host_id, source_store, through, snapshots, taken_at, arrived_at) VALUES (9999, {ours}, 'x', 9, 0, 0, 0)",
        f"INSERT INTO capture (snapshot_id, process_id, status) VALUES ({snapshot}, {process}, 2)",
        f"INSERT INTO capture (snapshot_id, process_id, status) VALUES ({other_snapshot}, {other_process}, 2)",
        f"INSERT INTO delivery (host_id, source_store, through, snapshots, taken_at, arrived_at) VALUES ({theirs}, 'x', 9, 0, 0, 0)",
        f"INSERT INTO mapping (process_id, no, start_address, end_address, protection_id, backing_id) VALUES ({other_process}, 9999, 0, 1, 1, 1)",
        f"INSERT INTO usage (process_id, last_snapshot, no, first_snapshot, state_id) VALUES ({process}, 2147483647, 1, {snapshot}, 1)",
        f"INSERT INTO totals (process_id, last_snapshot, first_snapshot, mappings) VALUES ({process}, {snapshot}, {snapshot}, 0)",
        # What arrived would no longer be there.
        f"UPDATE usage SET last_snapshot = {snapshot - 1} WHERE last_snapshot = 2147483647",
        f"UPDATE totals SET last_snapshot = {snapshot - 1} WHERE last_snapshot = 2147483647",
    ]
    engine = Store.open(as_login(guarded, "login1"), write=True).engine
    for statement in forbidden:
        with engine.connect() as connection, pytest.raises(DBAPIError, match=r"permission denied|row-level security"):
            connection.execute(text(statement))
    # What is another's is not there at all.
    with engine.connect() as connection:
        for table in ("snapshot", "process", "string", "state", "backing"):
            assert set(connection.execute(text(f"SELECT host_id FROM {table}")).scalars()) == {ours}, table
        assert connection.execute(text(f"SELECT count(*) FROM usage WHERE process_id = {other_process}")).scalar_one() == 0
        assert connection.execute(text(f"SELECT count(*) FROM string WHERE id = {other_string}")).scalar_one() == 0
        assert connection.execute(text("UPDATE process SET started_at = 0 WHERE started_at IS NOT NULL")).rowcount == 0
        connection.rollback()
    assert told(Store.open(guarded)) == before


def test_what_came_without_a_note_is_protected_too(guarded: str, fleet: dict[str, Path]) -> None:
    """A part of what there is, and what was written without `sync`."""
    login = as_login(guarded, "login1")
    Runner(fleet["web1"]).here("sync", login, "--since", "2000-01-01").ok()
    Store.open(login, write=True).write_all(as_host(recorded(SNAPSHOTS + 2), 1)[SNAPSHOTS:])
    before = told(Store.open(guarded))
    assert len(before) == SNAPSHOTS + 2
    engine = Store.open(login, write=True).engine
    with engine.connect() as connection, pytest.raises(DBAPIError, match="row-level security"):
        connection.execute(text("UPDATE usage SET last_snapshot = first_snapshot WHERE last_snapshot = 2147483647"))
    assert told(Store.open(guarded)) == before


def test_what_is_not_of_this_host_does_not_hold_up_what_is(guarded: str, tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "s.db"), write=True)
    store.write_all([*as_host(recorded(2), 2), *as_host(recorded(3), 1)])
    store.write_all([taken._replace(ref=taken.ref._replace(host="imported")) for taken in as_host(recorded(1), 3)])
    login = as_login(guarded, "login1")
    Runner(tmp_path / "s.db").here("sync", login).refused("snapshots of imported and 1 more were not brought", "--host")
    assert set(told(Store.open(guarded))) == {key for key in told(store) if key[0] == "web1"}
    Runner(tmp_path / "s.db").here("sync", login, "--host", "web1").ok()


def test_hosts_do_not_wait_for_each_other(server: Cluster) -> None:
    """One that stopped in the middle of a batch holds up neither another host nor a reader."""
    with server.fresh() as url:
        one, other = Store.open(url, write=True), Store.open(url, write=True)
        with one.engine.connect() as stuck, stuck.begin():
            lock_hosts(stuck, ["web1"])
            other.write_all(as_host(recorded(2), 2))
            assert other.count_snapshots() == 2
            with mock.patch("pmapdiff.store.engine.BUSY_TIMEOUT_S", 0.2), pytest.raises(StoreError, match="is being written by server process"):
                other.write_all(as_host(recorded(2), 1))
