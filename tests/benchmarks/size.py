"""How large the store becomes: a busy host for a minute, and a host on which nothing happens.

All sizes are of the file after a checkpoint, for each mapping in each snapshot (a sample).
"""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from programs import PROGRAMS, Target

from benchmarks.measure import PMAPDIFF, Promise
from pmapdiff.capture.select import Selection, select_processes
from pmapdiff.formats.smaps import render_smaps
from pmapdiff.store import Store

BUSY_SNAPSHOTS, BUSY_EVERY = 60, "1s"
IDLE_SNAPSHOTS, IDLE_EVERY = 1000, "100ms"
MOST_BUSY, MOST_IDLE = 4.0, 0.3
LEAST_PROCESSES = 50
LEAKS_KIB_A_SECOND = (8, 16, 64, 256, 1024, 2048)
REDIS_SERVERS, LOADED_REDIS_SERVERS = 4, 2
SHELLS = 4
SETTLE_S = 5.0

# A row for each mapping and snapshot, with strings interned as in the store: what it costs not to know what stayed.
_NAIVE = """
CREATE TABLE scratch.naive AS
SELECT capture.snapshot_id, capture.process_id, mapping.start_address, mapping.end_address, mapping.file_offset, mapping.protection_id,
       mapping.backing_id, rss_kib, pss_kib, pss_dirty_kib, shared_clean_kib, shared_dirty_kib, private_clean_kib, private_dirty_kib,
       referenced_kib, anonymous_kib, anon_huge_pages_kib, swap_kib, swap_pss_kib, kernel_page_size_kib, mmu_page_size_kib, ksm_kib,
       lazy_free_kib, shmem_pmd_mapped_kib, file_pmd_mapped_kib, shared_hugetlb_kib, private_hugetlb_kib, locked_kib, thp_eligible
FROM capture
JOIN usage ON usage.process_id = capture.process_id
    AND usage.last_snapshot >= capture.snapshot_id AND usage.first_snapshot <= capture.snapshot_id
JOIN state ON state.id = usage.state_id
JOIN mapping ON mapping.process_id = usage.process_id AND mapping.no = usage.no
JOIN detail ON detail.id = state.detail_id
ORDER BY capture.snapshot_id, capture.process_id
"""


@contextmanager
def services(folder: Path, *, busy: bool, prefix: Sequence[str] = ()) -> Iterator[int]:
    """Start the programs of a host, at work or not; gives the pid of the process that all descend from."""
    folder.mkdir()
    with Target("parent.py", prefix=prefix) as parent:
        started: list[int] = []

        def start(*argv: object) -> None:
            started.append(parent.call("start", argv=[str(word) for word in argv]))

        if redis := _found("redis-server"):
            for number in range(REDIS_SERVERS):
                socket = folder / f"{number}.sock"
                start(redis, "--port", 0, "--unixsocket", socket, "--save", "", "--dir", folder)
                if busy and number < LOADED_REDIS_SERVERS and (client := _found("redis-benchmark")):
                    load = f"{client} -s {socket} -q -n 20000 -r 200000 -d 200 -t set,get,lpush"
                    start("sh", "-c", f"while :; do {load}; sleep 0.5; done")
        if node := _found("node"):
            for _ in range(2):
                start(node, PROGRAMS / "service.js", "busy" if busy else "idle")
        if (java := _found("java")) and (javac := _found("javac")):
            subprocess.run([javac, "-d", str(folder), str(PROGRAMS / "Service.java")], check=True)
            for _ in range(2):
                start(java, "-Xmx256m", "-cp", folder, "Service", "busy" if busy else "idle")
        for number in range(SHELLS):
            start("sh", "-c", f"while :; do ls / >/dev/null; sleep 0.{number + 1}; done" if busy else "sleep 1d; :")
        for a_second in LEAKS_KIB_A_SECOND * 2:
            start(sys.executable, PROGRAMS / "leaker.py", 1024, a_second if busy else 0)
        # A host has many that wait; more of them where other programs are missing.
        for number in range(LEAST_PROCESSES - len(started)):
            start(sys.executable, PROGRAMS / "leaker.py", 256 * number, 0)
        time.sleep(SETTLE_S)
        yield parent.pid


def isolation(folder: Path) -> list[str]:
    """What starts a program so that it shares no file with the rest of the machine; empty where we may not.

    Otherwise every process that comes or goes elsewhere changes the Pss of all that have mapped the same libraries, and a host
    is as idle as its neighbours.
    """
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 or unshare is None:
        print("not isolated (needs root and unshare): processes that come and go elsewhere count")
        return []
    with services(folder / "model", busy=True) as pid:
        selected = select_processes(Selection(pids=frozenset([pid]), tree=True))
        paths = {path for process in selected.processes for path in _mapped_files(process.pid)}
    private = folder / "files"
    private.mkdir()
    script = []
    for number, path in enumerate(sorted(path for path in paths if path.is_file() and not path.is_relative_to(tempfile.gettempdir()))):
        shutil.copy(path, private / str(number))
        with (private / str(number)).open("rb") as file:
            os.fsync(file.fileno())
        script.append(f"mount --bind {shlex.quote(str(private / str(number)))} {shlex.quote(str(path))}")
    script.append('exec "$@"')
    (folder / "isolate.sh").write_text("\n".join(script))
    return [unshare, "--mount", "--propagation", "private", "sh", "-e", str(folder / "isolate.sh")]


def _mapped_files(pid: int) -> set[Path]:
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    return {Path(fields[5]) for line in lines if len(fields := line.split(None, 5)) == 6 and fields[5].startswith("/")}


def _found(program: str) -> str | None:
    path = shutil.which(program)
    if path is None:
        print(f"{program} is not installed: this host does without")
    return path


def _record(db: Path, pid: int, *options: str) -> float:
    """Record the descendants of a process; gives how long that took."""
    started = time.perf_counter()
    subprocess.run([*PMAPDIFF, "--db", str(db), "record", "--quiet", "--pid", str(pid), "--tree", *options], check=True)
    return time.perf_counter() - started


class Part(NamedTuple):
    """A table or an index: its bytes, how many of them are used, and its rows."""

    size: int
    used: int
    rows: int


class Sizes:
    """What is in a store after a checkpoint."""

    def __init__(self, db: Path) -> None:
        with closing(sqlite3.connect(db)) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            assert not busy
            self.parts = _parts(connection)
            self.processes = connection.execute("SELECT count(*) FROM capture GROUP BY snapshot_id ORDER BY 1 LIMIT 1").fetchone()[0]
            self.statuses = connection.execute("SELECT status, count(*) FROM process_table GROUP BY 1 ORDER BY 1").fetchall()
        facts = Store.open(str(db)).info()
        self.bytes: int = facts["bytes"]
        self.samples: int = facts["mapping_samples"]
        self.snapshots: int = facts["snapshots"]
        self.captures: int = facts["captures"]

    def print(self) -> None:
        print(f"{'part':<28} {'bytes':>12} {'rows':>10} {'a row':>8} {'filled':>7} {'a sample':>9}")
        others = 0
        for name, part in sorted(self.parts.items(), key=lambda item: -item[1].size):
            if part.size < self.bytes / 200:
                others += part.size
                continue
            each = f"{part.rows:10,} {part.size / max(part.rows, 1):8.1f} {part.used / part.size:7.0%}"
            print(f"{name:<28} {part.size:12,} {each} {part.size / self.samples:9.3f}")
        self.print_line("other parts", others)
        self.print_line("file", self.bytes)

    def print_line(self, name: str, size: int) -> None:
        print(f"{name:<28} {size:12,} {'':>10} {'':>8} {'':>7} {size / self.samples:9.3f}")


def _parts(connection: sqlite3.Connection) -> dict[str, Part]:
    """The parts of the file by table and index; nothing where SQLite cannot tell (dbstat)."""
    query = """
        SELECT coalesce(sqlite_master.name, dbstat.name), sum(pgsize), sum(pgsize - unused), max(tbl_name)
        FROM dbstat LEFT JOIN sqlite_master ON sqlite_master.name = dbstat.name GROUP BY 1
    """
    try:
        found = connection.execute(query).fetchall()
    except sqlite3.OperationalError:
        print("this SQLite has no dbstat: sizes of the parts are not known")
        return {}
    tables = {table for *_, table in found}
    rows = {table: connection.execute(f"SELECT count(*) FROM {table or 'sqlite_master'}").fetchone()[0] for table in tables}
    return {name: Part(size, used, rows[table]) for name, size, used, table in found}


_CHANGES = """
SELECT count(*), sum(later.rss_kib IS earlier.rss_kib AND later.referenced_kib IS earlier.referenced_kib AND later.private_dirty_kib IS
    earlier.private_dirty_kib AND later.shared_clean_kib IS earlier.shared_clean_kib AND later.pss_kib IS NOT earlier.pss_kib)
FROM usage AS after JOIN state AS later ON later.id = after.state_id
JOIN usage AS before ON before.process_id = after.process_id AND before.last_snapshot = after.first_snapshot - 1 AND before.no = after.no
JOIN state AS earlier ON earlier.id = before.state_id
"""


def _print_changes(db: Path, snapshots: int) -> None:
    with closing(sqlite3.connect(db)) as connection:
        changes, pss = connection.execute(_CHANGES).fetchone()
        rows = connection.execute("SELECT count(*) FROM usage").fetchone()[0]
        distinct = connection.execute("SELECT count(*) FROM state").fetchone()[0]
    print(f"{changes / snapshots:.1f} mappings change a snapshot, {(pss or 0) / max(changes, 1):.0%} of them only in Pss; ", end="")
    print(f"{rows:,} rows of usage have {distinct:,} different sets of counters")


def _naive_bytes(db: Path) -> int:
    scratch = db.with_suffix(".naive")
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("ATTACH ? AS scratch", (str(scratch),))
        connection.execute(_NAIVE)
        connection.commit()
    return scratch.stat().st_size


def _compressed_bytes(db: Path) -> dict[str, int]:
    """Each snapshot's text compressed by itself."""
    store = Store.open(str(db))
    zstd = shutil.which("zstd")
    total = {"zlib -6": 0, **({"zstd -3": 0} if zstd else {})}
    for summary in store.snapshots():
        tables = (item.table for item in store.load(summary.ref).captures)
        text = b"".join(render_smaps(table.mappings) for table in tables if table is not None)
        total["zlib -6"] += len(zlib.compress(text, 6))
        if zstd:
            total["zstd -3"] += len(subprocess.run([zstd, "-3", "-c"], input=text, capture_output=True, check=True).stdout)
    return total


def run() -> list[Promise]:
    """A minute of a busy host and its peers; then an idle one."""
    with tempfile.TemporaryDirectory(prefix="pmapdiff-bench-") as name:
        folder = Path(name)
        prefix = isolation(folder)
        return [_busy(folder, prefix), *_idle(folder, prefix)]


def _busy(folder: Path, prefix: Sequence[str]) -> Promise:
    db = folder / "busy.db"
    with services(folder / "busy", busy=True, prefix=prefix) as pid:
        wall = _record(db, pid, "--every", BUSY_EVERY, "--count", str(BUSY_SNAPSHOTS))
    sizes = Sizes(db)
    print(f"\nA busy host: {sizes.snapshots} snapshots in {wall:.0f} s, at least {sizes.processes} processes, {sizes.samples:,} mapping samples")
    print("captures: " + ", ".join(f"{count:,} {status}" for status, count in sizes.statuses))
    assert sizes.processes >= LEAST_PROCESSES, "too few programs to call it a host"
    _print_changes(db, sizes.snapshots)
    sizes.print()
    peers = {"naive rows": _naive_bytes(db), **{f"each snapshot in {name}": size for name, size in _compressed_bytes(db).items()}}
    for name, size in peers.items():
        sizes.print_line(name, size)
    return Promise("store of a busy host", sizes.bytes / sizes.samples, MOST_BUSY, "bytes a sample")


def _idle(folder: Path, prefix: Sequence[str]) -> list[Promise]:
    db = folder / "idle.db"
    with services(folder / "idle", busy=False, prefix=prefix) as pid:
        _record(db, pid)
        first = Sizes(db)
        wall = _record(db, pid, "--every", IDLE_EVERY, "--count", str(IDLE_SNAPSHOTS))
    sizes = Sizes(db)
    growth, samples = sizes.bytes - first.bytes, sizes.samples - first.samples
    print(f"\nAn idle host: {sizes.snapshots} snapshots in {wall:.0f} s, {sizes.processes} processes, {sizes.samples:,} mapping samples")
    a_capture = growth / (sizes.captures - first.captures)
    print(f"first snapshot {first.bytes:,} bytes; growth a snapshot {growth / IDLE_SNAPSHOTS:,.0f} bytes, a capture {a_capture:.1f} bytes")
    _print_changes(db, sizes.snapshots)
    sizes.print()
    return [
        Promise("store of an idle host", sizes.bytes / sizes.samples, MOST_IDLE, "bytes a sample"),
        Promise("growth of the store of an idle host", growth / samples, MOST_IDLE, "bytes a sample"),
    ]
