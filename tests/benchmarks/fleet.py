"""What a sweep over a lake costs: a day of up to a thousand hosts, with one worker and with two, and how much memory a worker needs.

`python -m tests.benchmarks fleet`; PMAPDIFF_FLEET_HOSTS=100,300 for fewer, PMAPDIFF_FLEET_PROCESSES=6 for smaller ones.

Each host is the day of one host of `months` with a name, clock, boot and pids of its own: the columns of its Parquet files are rewritten, which takes
a hundredth of the time that recording would.
"""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import months
from benchmarks.measure import PMAPDIFF, Promise

PROCESSES, SNAPSHOTS = int(os.environ.get("PMAPDIFF_FLEET_PROCESSES", "16")), 288
HOSTS = (100, 300, 1000)
# A tick of `months` is at 58 minutes and 20 seconds past an hour: so much later it is still the same day.
_MOST_SHIFT_US = 95_000_000


def make_lake(folder: Path, hosts: int, processes: int = PROCESSES) -> Path:
    """A lake of so many hosts, each with a day of snapshots every five minutes."""
    from pmapdiff.lake.parts import MARKER

    template = folder / "template"
    if not template.exists():
        months.host(folder / "one.db", processes, SNAPSHOTS)
        subprocess.run([*PMAPDIFF, "--db", str(folder / "one.db"), "lake", "write", str(template), "--quiet"], check=True)
    lake = folder / "lake"
    lake.mkdir(exist_ok=True)
    (lake / MARKER).write_bytes((template / MARKER).read_bytes())
    files = _tables(template)
    for number in range(hosts):
        name = f"host{number:05}"
        if not any((lake / "snapshots").glob(f"day=*/host={name}")):
            _write_host(lake, files, name, Random(number))
    return lake


def _tables(template: Path) -> dict[str, dict[str, Any]]:
    """The tables of each part of a lake of one host: part -> data set -> table."""
    import pyarrow.parquet as pq

    found: dict[str, dict[str, Any]] = {}
    for path in sorted(template.rglob("*.parquet")):
        found.setdefault(path.stem, {})[path.relative_to(template).parts[0]] = pq.ParquetFile(path).read()
    return found


def _write_host(lake: Path, parts: dict[str, dict[str, Any]], host: str, random: Random) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from pmapdiff.lake.parts import DATASETS, part_of
    from pmapdiff.model import Origin, SnapshotRef

    shift = pa.scalar(random.randrange(_MOST_SHIFT_US), pa.duration("us"))
    pids, store, boot = random.randrange(1, 4_000_000), f"{random.getrandbits(128):032x}", f"boot-{host}"
    for tables in parts.values():
        taken = pc.add(tables["snapshots"].column("taken_at"), shift).cast(pa.int64()).to_pylist()
        numbers = tables["snapshots"].column("origin_number").to_pylist()
        refs = [SnapshotRef(number, moment, host, origin=Origin(store, number)) for number, moment in zip(numbers, taken, strict=True)]
        part = part_of(refs)
        for dataset in DATASETS:
            table = tables[dataset]
            rewritten = {"part": part.name, "origin_store": store, "boot_id": boot}
            for place, field in enumerate(table.schema):
                column = table.column(place)
                if field.name in rewritten:
                    column = pa.repeat(pa.scalar(rewritten[field.name], field.type), table.num_rows)
                elif pa.types.is_timestamp(field.type):
                    column = pc.add(column, shift)
                elif field.name == "pid":
                    column = pc.add(column, pa.scalar(pids, field.type))
                else:
                    continue
                table = table.set_column(place, field, column)
            path = lake / part.path(dataset)
            path.parent.mkdir(parents=True, exist_ok=True)
            out = io.BytesIO()
            pq.write_table(table, out, compression="zstd", write_page_checksum=True, store_schema=False)
            path.write_bytes(out.getvalue())


class Swept:
    """One run of `fleet leaks`: seconds on the clock and of CPU, and the largest Rss of any process of it but the first, in KiB."""

    def __init__(self, lake: Path, workers: int, hosts: int) -> None:
        begun = time.perf_counter()
        patterns = [word for prefix in _prefixes(hosts) for word in ("--host", f"host{prefix}*")]
        command = [*PMAPDIFF, "fleet", "leaks", str(lake), "--workers", str(workers), "--format", "json", *patterns]
        program = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert program.stdout is not None
        out = io.BytesIO()
        peaks: dict[int, int] = {}
        while piece := _read(program, peaks):
            out.write(piece)
        _, status, usage = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = time.perf_counter() - begun
        # With that of its workers, which it waited for.
        self.cpu_s = usage.ru_utime + usage.ru_stime
        self.out = out.getvalue()
        self.client_kib = peaks.pop(program.pid, 0)
        self.worker_kib = max(peaks.values(), default=0)


def _prefixes(hosts: int) -> list[str]:
    """Patterns of the first so many of 100,000 hosts: 100 are 000.., 300 are 000.. to 002.., 1,000 are 00..."""
    return [f"{number:03}" for number in range(hosts // 100)] if hosts % 1000 else [f"{number:02}" for number in range(hosts // 1000)]


def _read(program: subprocess.Popen[bytes], peaks: dict[int, int]) -> bytes:
    """What it prints; while it does not, look at what its processes need."""
    import select

    assert program.stdout is not None
    while not select.select([program.stdout], [], [], 0.5)[0]:
        for pid in _family(program.pid):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            peak = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
            peaks[pid] = max(peaks.get(pid, 0), peak)
    return os.read(program.stdout.fileno(), 1 << 20)


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [each for child in task.read_text().split() for each in _family(int(child))]
        except OSError:
            continue
    return found


def run() -> list[Promise]:
    counts = [int(text) for text in os.environ.get("PMAPDIFF_FLEET_HOSTS", ",".join(map(str, HOSTS))).split(",")]
    with tempfile.TemporaryDirectory(prefix="pmapdiff-bench-") as temporary:
        folder = Path(os.environ.get("PMAPDIFF_FLEET_FOLDER", temporary))
        begun = time.perf_counter()
        lake = make_lake(folder, max(counts))
        size = sum(path.stat().st_size for path in lake.rglob("*.parquet"))
        print(f"\na lake of {max(counts):,} hosts, {PROCESSES} processes each, {SNAPSHOTS} snapshots of a day: {size / 1e6:,.0f} MB", end="")
        print(f", {size / max(counts) / 1e3:,.0f} kB a host; made in {time.perf_counter() - begun:.0f} s")
        print(f"{'hosts':>6} {'workers':>8} {'wall s':>8} {'CPU s/host':>11} {'largest worker MB':>18} {'client MB':>10}", flush=True)
        sweeps: dict[tuple[int, int], Swept] = {}
        for hosts in counts:
            for workers in (2, 1) if hosts == min(counts) else (2,):
                found = sweeps[hosts, workers] = Swept(lake, workers, hosts)
                times = f"{found.seconds:>8.1f} {found.cpu_s / hosts:>11.2f}"
                memory = f"{found.worker_kib / 1024:>18.0f} {found.client_kib / 1024:>10.0f}"
                print(f"{hosts:>6} {workers:>8} {times} {memory}", flush=True)
        few, many = min(counts), max(counts)
        promises = [Promise("memory of a worker, most hosts against fewest", sweeps[many, 2].worker_kib / sweeps[few, 2].worker_kib, 1.15)]
        both = [hosts for hosts in counts if (hosts, 1) in sweeps]
        if both:
            assert all(sweeps[hosts, 1].out == sweeps[hosts, 2].out for hosts in both), "workers change the result"
            hosts = max(both)
            promises.append(Promise(f"{hosts} hosts, two workers against one", sweeps[hosts, 2].seconds / sweeps[hosts, 1].seconds, 0.65))
        return promises
