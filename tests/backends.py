"""The two databases that a store can be in: an SQLite file, and PostgreSQL on a throw-away server of the tests' own."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine

from pmapdiff.store import Store
from pmapdiff.store.schema import metadata

NOBODY = 65534
# Nothing here outlives the tests: what makes a commit durable only costs time.
HASTE = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c autovacuum=off"


class Files:
    """SQLite: a copy of an empty store each, as making one takes longer than most of what a test does with it."""

    def __init__(self, folder: Path) -> None:
        self._empty = folder / "empty.db"
        Store.open(str(self._empty), write=True)

    def copy(self, path: Path) -> Path:
        """An empty store at `path`."""
        return Path(shutil.copy(self._empty, path))

    @contextlib.contextmanager
    def fresh(self) -> Iterator[str]:
        """The location of an empty store, for a while."""
        with tempfile.TemporaryDirectory() as folder:
            yield str(self.copy(Path(folder, "store.db")))


class Cluster:
    """PostgreSQL: a database each, on a server that listens on a socket in `folder` and nowhere else."""

    def __init__(self, folder: str, start: Callable[[], None]) -> None:
        self.folder = folder
        self._start = start
        self._numbers = itertools.count()
        self._execute("CREATE DATABASE empty_store")
        Store.open(self.url("empty_store"), write=True)

    def url(self, database: str, user: str = "pmapdiff") -> str:
        return f"postgresql+psycopg://{user}@/{database}?host={self.folder}"

    def kill(self) -> None:
        """End the server and all that it started as a power cut would, but for the disk."""
        lock = Path(self.folder, "data", "postmaster.pid")
        first = int(lock.read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for pid in (first, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                fd = os.pidfd_open(pid)
                try:
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                    select.select([fd], [], [])
                finally:
                    os.close(fd)
        # Where nobody collects what has ended, its number still looks taken.
        for left in (lock, Path(self.folder, ".s.PGSQL.5432.lock"), Path(self.folder, ".s.PGSQL.5432")):
            left.unlink()

    def start(self) -> None:
        """Start the server again after that."""
        self._start()

    def _execute(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(host=self.folder, user="pmapdiff", dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)

    @contextlib.contextmanager
    def fresh(self, template: str = "empty_store") -> Iterator[str]:
        """The URL of an empty store, for a while; of a database with nothing in it if `template` is PostgreSQL's own."""
        name = f"store_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")


Backend = Files | Cluster


@contextlib.contextmanager
def running_cluster(connections: int = 20) -> Iterator[Cluster]:
    """A server for so many clients that ends with the block. Skips the test if there is no server to start, and says why."""
    initdb, pg_ctl = _server_program("initdb"), _server_program("pg_ctl")
    if initdb is None or pg_ctl is None:
        pytest.skip("no PostgreSQL server: apt-get install postgresql")
    if find_spec("psycopg") is None:
        pytest.skip("no driver of PostgreSQL: pip install 'pmapdiff[postgres]'")
    # The server refuses to run as root. Not TMPDIR: a socket's path is short, and another user must get to it.
    user = NOBODY if os.geteuid() == 0 else None
    folder = tempfile.mkdtemp(prefix="pmapdiff-pg-", dir="/tmp")
    if user is not None:
        os.chown(folder, user, user)

    def run(*argv: str) -> None:
        done = subprocess.run(
            argv, check=False, stdout=log, stderr=log, cwd="/", user=user, group=user, extra_groups=[] if user else None, timeout=60
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(argv)} failed: {Path(log.name).read_text()}")

    data = f"{folder}/data"
    try:
        with open(f"{folder}/log", "w") as log:
            run(initdb, "-D", data, "-U", "pmapdiff", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
            options = f"-k {folder} -c listen_addresses='' -c max_connections={connections} {HASTE}"
            start = partial(run, pg_ctl, "-D", data, "-o", options, "-w", "start")
            start()
            try:
                yield Cluster(folder, start)
            finally:
                run(pg_ctl, "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _server_program(name: str) -> str | None:
    """Debian keeps the server's programs out of the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: path.parts[-3].zfill(4))
    return shutil.which(name) or (str(found[-1]) if found else None)


def schema_differences(engine: Engine) -> list[object]:
    """How the schema of a database differs from the one that the code expects."""
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)
    # Alembic does not know of indexes that are for one kind of database alone.
    conditions = {index.name: index._ddl_if for table in metadata.tables.values() for index in table.indexes}
    elsewhere = {name for name, only in conditions.items() if only is not None and only.dialect != engine.name}
    return [item for item in found if not (item[0] == "add_index" and item[1].name in elsewhere)]
