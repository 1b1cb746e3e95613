"""The same store behind a PostgreSQL URL, on a real server: a throw-away cluster on a socket, as an unprivileged user."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import Runner, Target

from pmapdiff.store import Store

NOBODY = 65534


def _server_program(name: str) -> str | None:
    """Debian keeps the server's programs out of the PATH."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None)
    return None if found is None else str(Path(found))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The socket folder of a running server."""
    initdb, pg_ctl = _server_program("initdb"), _server_program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("no PostgreSQL server: apt-get install postgresql")
    pytest.importorskip("psycopg", reason="no driver: pip install pmapdiff[postgres]")
    folder = Path(tempfile.mkdtemp(prefix="pmapdiff-pg-"))
    user = NOBODY if os.geteuid() == 0 else None
    if user is not None:
        os.chown(folder, user, user)

    def run(*argv: str) -> None:
        subprocess.run(argv, check=True, capture_output=True, cwd="/", user=user, group=user, extra_groups=[] if user else None, timeout=60)

    try:
        run(initdb, "-D", str(folder / "data"), "-U", "pmapdiff", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=20"
        run(pg_ctl, "-D", str(folder / "data"), "-l", str(folder / "log"), "-o", options, "-w", "start")
        yield str(folder)
    finally:
        subprocess.run(
            [pg_ctl, "-D", str(folder / "data"), "-m", "immediate", "stop"], check=False, capture_output=True, cwd="/", user=user, group=user
        )
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """The URL of a database of this test alone."""
    import psycopg

    name = f"t_{abs(hash(request.node.name)):x}"
    with psycopg.connect(f"host={server} user=pmapdiff dbname=postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql+psycopg://pmapdiff@/{name}?host={server}"


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


def test_the_views_say_what_the_store_says(run: Runner, target: Target, url: str) -> None:
    import psycopg

    on(run, url, "record", "--pid", target.pid)
    store = Store.open(url)
    (capture,) = store.load(store.resolve("latest")).captures
    assert capture.table is not None
    name, _, server = url.partition("@/")[2].partition("?host=")
    with psycopg.connect(f"host={server} user=pmapdiff dbname={name}") as connection:
        rows = connection.execute("SELECT start_hex, end_hex, perms, rss_kib, dirty_kib FROM mapping_table").fetchall()
        (taken_at, rss) = connection.execute("SELECT taken_at, rss_kib FROM process_table").fetchone() or ("", 0)
    wanted = [(hex(m.start), hex(m.end), m.perms, m.figures[1], m.figures[-3]) for m in capture.table.mappings]
    assert sorted(rows) == sorted(wanted)
    assert taken_at.endswith("Z")
    assert rss == capture.table.totals.get("rss_kib")


def test_recorders_wait_for_each_other(run: Runner, target: Target, url: str) -> None:
    on(run, url, "db", "upgrade")
    with (
        run.started("--db", url, "record", "--pid", target.pid, "--every", "10ms", "--count", "8") as one,
        run.started("--db", url, "record", "--pid", target.pid, "--every", "10ms", "--count", "8") as other,
    ):
        assert (one.wait(60), other.wait(60)) == (0, 0)
    assert Store.open(url).count_snapshots() == 16
    assert on(run, url, "db", "check") == b"the store is sound\n"
