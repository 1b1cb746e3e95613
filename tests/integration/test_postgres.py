"""The command line on PostgreSQL: what the store's own tests, which run there too, do not see."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from backends import Cluster
from programs import Runner, Target
from sqlalchemy import create_engine

from pmapdiff.store import Store
from pmapdiff.store.schema import APPLICATION_ID


@pytest.fixture
def url(cluster: Cluster) -> Iterator[str]:
    """A database of this test alone, with nothing in it yet."""
    with cluster.fresh("template1") as fresh:
        yield fresh


def on(run: Runner, url: str, *args: object) -> bytes:
    return run("--db", url, *args, store=False).ok().stdout


def test_recorded_compared_and_pruned(run: Runner, target: Target, url: str) -> None:
    pid = target.pid
    postgres = url
    for label in ("one", "two"):
        on(run, postgres, "record", "--pid", pid, "--label", label)
    on(run, postgres, "record", "--pid", pid)
    on(run, postgres, "record", "--pid", pid)
    text = on(run, postgres, "show", "one", "--format", "smaps")
    assert text.count(b"VmFlags:") > 10
    assert on(run, postgres, "db", "check") == b"the store is sound\n"
    assert b"no change" in on(run, postgres, "compare", "two", "two")
    assert b"removed 1 snapshot" in on(run, postgres, "prune", "--keep-last", 1)
    assert on(run, postgres, "show", "one", "--format", "smaps") == text
    assert on(run, postgres, "db", "check") == b"the store is sound\n"


def test_recorders_wait_for_each_other(run: Runner, target: Target, url: str) -> None:
    on(run, url, "db", "upgrade")
    with (
        run.forked("--db", url, "record", "--pid", target.pid, "--every", "10ms", "--count", "8", store=False) as one,
        run.forked("--db", url, "record", "--pid", target.pid, "--every", "10ms", "--count", "8", store=False) as other,
    ):
        for recorder in (one, other):
            recorder.wait().ok()
    assert Store.open(url).count_snapshots() == 16
    assert on(run, url, "db", "check") == b"the store is sound\n"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("?host=", "?host=/nowhere"), "No such file or directory"),
        (("pmapdiff@", "stranger@"), 'role "stranger" does not exist'),
        (("@/", "@/no_"), "does not exist"),
        (("?host=", "?host=no.such.host.invalid&hostaddr=&ignored="), "cannot connect"),
        (("", ""), "run `pmapdiff db upgrade`"),
    ],
    ids=["no server", "no user", "no database", "no host", "no store"],
)
def test_what_a_server_refuses_is_one_line(run: Runner, url: str, wrong: tuple[str, str], said: str) -> None:
    run.here("--db", url.replace(*wrong), "snapshots", store=False).refused(said)


def test_a_size_is_refused_before_anything_is_removed(run: Runner, target: Target, url: str) -> None:
    run.here("--db", url, "record", "--pid", target.pid, "--max-size", "1M", store=False).refused("--max-size is for SQLite")
    on(run, url, "record", "--pid", target.pid)
    run.here("--db", url, "prune", "--keep-last", 1, "--max-size", "1M", store=False).refused("--max-size is for SQLite")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("REVOKE ALL ON SCHEMA public FROM PUBLIC, CURRENT_USER; REVOKE CREATE ON SCHEMA public FROM CURRENT_USER", None),
        ("ALTER DATABASE {name} SET default_transaction_read_only = on", "read-only"),
        ("CREATE TABLE snapshot (id int)", "tables of somebody else"),
        ("CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('abc123')", "not one of pmapdiff"),
    ],
    ids=["no right", "read-only", "a table in the way", "another program's"],
)
def test_what_a_database_refuses_is_one_line(run: Runner, target: Target, url: str, statement: str, said: str | None) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(statement.format(name=f'"{name}"'))
    engine.dispose()
    result = run.here("--db", url, "record", "--pid", target.pid, store=False)
    if said is None:
        # Who owns the server may do it all the same.
        assert "Traceback" not in result.err
    else:
        result.refused(said)


def test_a_writer_that_has_to_wait_is_told_for_whom(run: Runner, target: Target, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    on(run, url, "record", "--pid", target.pid)
    monkeypatch.setattr("pmapdiff.store.engine.BUSY_TIMEOUT_S", 0.2)
    engine = create_engine(url, connect_args={"application_name": "some\x1bbody"})
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({APPLICATION_ID})")
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        run.here("--db", url, "record", "--pid", target.pid, store=False).refused("is being written", f"server process {backend} (some")
        # Who only reads has nothing to wait for.
        on(run, url, "show", "latest")
    engine.dispose()
    on(run, url, "record", "--pid", target.pid)
    assert Store.open(url).count_snapshots() == 2
