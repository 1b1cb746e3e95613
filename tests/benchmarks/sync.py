"""From a host's file into PostgreSQL, beside a plain COPY of the same rows into the same tables.

The host is the busy one of `size`, a snapshot a second (SYNC_SNAPSHOTS of them, or those of the store SYNC_STORE): more changes between two of its
snapshots than between most that are minutes apart.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from backends import Cluster, running_cluster
from programs.cutting import counted

from benchmarks.measure import PMAPDIFF, Measured, Promise, print_times
from benchmarks.size import _record, isolation, services
from pmapdiff.store import Store
from pmapdiff.store.schema import metadata

SNAPSHOTS = int(os.environ.get("SYNC_SNAPSHOTS", "120"))
ROUNDS = 3
ONE_BY_ONE = 20
MOST_TIMES_COPY = 8.0


def run() -> list[Promise]:
    """All of it at once, as after days offline; then as it comes."""
    with tempfile.TemporaryDirectory(prefix="pmapdiff-bench-") as name, running_cluster() as cluster:
        os.chmod(name, 0o755)
        db = Path(name, "host.db")
        _make(Path(name), db)
        facts = Store.open(str(db)).info()
        print(f"\n{facts['snapshots']} snapshots, {facts['captures']:,} captures, {facts['usage_rows']:,} usage rows, {facts['bytes']:,} bytes")
        synced, copied, to_file = Measured(), Measured(), Measured()
        rates = []
        for _ in range(ROUNDS):
            with cluster.fresh() as url, cluster.fresh() as other:
                synced.run([*PMAPDIFF, "--db", str(db), "sync", url])
                rows = _copy(cluster, url, other, copied)
                rates.append(copied.wall[-1])
                to_file.run([*PMAPDIFF, "--db", str(db), "sync", str(Path(name, f"copy{time.monotonic_ns()}.db"))])
                size = Store.open(url).info()["bytes"]
        print_times("All snapshots", {"COPY of the same rows": copied, "sync into PostgreSQL": synced, "sync into a file": to_file}, None)
        a_second = facts["snapshots"] / synced.wall_s
        print(f"{a_second:.1f} snapshots a second by sync, {facts['snapshots'] / copied.wall_s:.1f} by COPY; {rows:,} rows, {size:,} bytes there")
        _one_by_one(cluster, Path(name), db)
        return [Promise("sync, to a COPY of the same rows", synced.wall_s / copied.wall_s, MOST_TIMES_COPY)]


def _make(folder: Path, db: Path) -> None:
    if given := os.environ.get("SYNC_STORE"):
        shutil.copy(given, db)
        Store.open(str(db), write=True)
        return
    with services(folder / "busy", busy=True, prefix=isolation(folder)) as pid:
        _record(db, pid, "--every", "1s", "--count", str(SNAPSHOTS))


def _name(url: str) -> str:
    return re.sub(r".*/([^/?]+)\?.*", r"\1", url)


@contextmanager
def _connected(cluster: Cluster, url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(host=cluster.folder, user="pmapdiff", dbname=_name(url)) as connection:
        yield connection


def _copy(cluster: Cluster, url: str, other: str, measured: Measured) -> int:
    """The rows of one database into another that has the same empty tables, indexes and keys; only what the second one takes is measured."""
    tables = [table.name for table in metadata.sorted_tables if table.name != "numbering"]
    number = 0
    with _connected(cluster, url) as source, _connected(cluster, other) as target:
        contents = {}
        for table in tables:
            with source.cursor().copy(f"COPY {table} TO STDOUT".encode()) as copy:
                contents[table] = [bytes(piece) for piece in copy]
            number += len(contents[table])
        started, cpu = time.perf_counter(), time.process_time()
        for table in tables:
            with target.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                for piece in contents[table]:
                    copy.write(piece)
        target.commit()
        measured.wall.append(time.perf_counter() - started)
        measured.cpu.append(time.process_time() - cpu)
    return number


def _one_by_one(cluster: Cluster, folder: Path, db: Path) -> None:
    """The last snapshots as a crontab would bring them: bytes on the wire, and time."""
    store = Store.open(str(db))
    refs = store.refs()
    growing = Store.open(str(folder / "growing.db"), write=True)
    growing.write_all(store.load_all(refs[:-ONE_BY_ONE]))
    measured = Measured()
    with cluster.fresh() as url, tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as between, counted(between, cluster.folder) as passed:
        through = url.replace(cluster.folder, between)
        argv = [*PMAPDIFF, "--db", str(folder / "growing.db"), "sync", through]
        measured.run(argv)
        at_once = passed()
        measured = Measured()
        for ref in refs[-ONE_BY_ONE:]:
            growing.write(store.load(ref))
            measured.run(argv)
        print_times(f"One snapshot, {ONE_BY_ONE} times", {"sync": measured}, None)
        print(
            f"on the wire, both ways: {at_once / (len(refs) - ONE_BY_ONE):,.0f} bytes a snapshot for many at once, "
            f"{(passed() - at_once) / ONE_BY_ONE:,.0f} one by one"
        )
