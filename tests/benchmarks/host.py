"""A host of 250 processes and 40,000 mappings: one shot from cron, and a recorder that stays."""

from __future__ import annotations

import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from programs import Lines, Target

from benchmarks.measure import PMAPDIFF, ROUNDS, Measured, Promise, print_times

PROCESSES, MAPPINGS = 250, 130
TICKS = 5
# "library failed pids statistics" is all that pmap (procps 4.0.2) says to more than a hundred.
_PMAP_TAKES = 90
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def large_host() -> Iterator[list[int]]:
    """Start the processes; gives the pids of all on this host that can be read, without the benchmark's own."""
    with ExitStack() as stack:
        for _ in range(PROCESSES):
            stack.enter_context(Target("many.py", MAPPINGS))
        pids = []
        for path in Path("/proc").iterdir():
            try:
                if path.name.isdigit() and path.name != str(os.getpid()) and (path / "smaps").read_bytes():
                    pids.append(int(path.name))
            except OSError:
                continue
        yield pids


def cpu_of(pid: int) -> float:
    """The CPU in seconds that all threads of a process have used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def run() -> list[Promise]:
    """`record --all` for the first time, in the middle of a series, and by a recorder that stays."""
    results: dict[str, Measured] = {}
    pmap = shutil.which("pmap")
    assert pmap is not None, "pmap (procps) is needed to compare with"

    def measure(name: str, *commands: list[str], may_fail: bool = False) -> None:
        results.setdefault(name, Measured()).run(*commands, may_fail=may_fail)

    with tempfile.TemporaryDirectory(prefix="pmapdiff-bench-") as folder, large_host() as pids:
        mappings = sum(Path(f"/proc/{pid}/smaps").read_bytes().count(b"\nSize:") for pid in pids)
        series = f"{folder}/series.db"
        for _ in range(2):
            subprocess.run([*PMAPDIFF, "--db", series, "record", "--all", "--quiet"], check=True)
        for number in range(ROUNDS):
            # A process that ends meanwhile makes cat and pmap fail, not wrong.
            measure("pmap -XX", *([pmap, "-XX", *map(str, pids[at : at + _PMAP_TAKES])] for at in range(0, len(pids), _PMAP_TAKES)), may_fail=True)
            measure("cat smaps", ["cat", *(f"/proc/{pid}/smaps" for pid in pids)], may_fail=True)
            measure("pmapdiff record --all, first of its store", [*PMAPDIFF, "--db", f"{folder}/{number}.db", "record", "--all", "--quiet"])
            measure("pmapdiff record --all, in a series", [*PMAPDIFF, "--db", series, "record", "--all", "--quiet"])
            measure("pmapdiff compare first latest", [*PMAPDIFF, "--db", series, "compare", "first", "latest"])
            measure("pmapdiff compare first 2 latest", [*PMAPDIFF, "--db", series, "compare", "first", "2", "latest"])
        results["pmapdiff record --all --every 1s, a tick"], rss_kib = _resident(series)
    print_times(f"A host of {len(pids)} processes and {mappings:,} mappings, {ROUNDS} rounds", results, "pmap -XX")
    print(f"resident recorder: VmRSS {rss_kib / 1024:.0f} MiB after {TICKS * (ROUNDS + 1)} ticks")
    against = results["pmap -XX"].cpu_s
    tick = results["pmapdiff record --all --every 1s, a tick"].cpu_s
    return [
        Promise("first snapshot of a host, CPU / pmap -XX", results["pmapdiff record --all, first of its store"].cpu_s / against, 2.5),
        Promise("snapshot in a series, CPU / pmap -XX", results["pmapdiff record --all, in a series"].cpu_s / against, 1.0),
        Promise("tick of a resident recorder, CPU / pmap -XX", tick / against, 0.3),
        Promise("tick of a resident recorder, CPU / cat smaps", tick / results["cat smaps"].cpu_s, 2.5),
        Promise("compare of two snapshots of a host, wall time", results["pmapdiff compare first latest"].wall_s, 1.5, "s"),
        Promise("Rss of a resident recorder", rss_kib / 1024, 120, "MiB"),
    ]


def _resident(db: str) -> tuple[Measured, int]:
    """The CPU of a tick, over groups of ticks after the first group, and VmRSS in KiB at the end."""
    argv = [*PMAPDIFF, "--db", db, "record", "--all", "--every", "1s"]
    measured = Measured()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as recorder:
        assert recorder.stdout is not None
        lines = Lines(recorder.stdout.fileno())
        before = 0.0
        for group in range(ROUNDS + 1):
            waits = []
            for _ in range(TICKS):
                found = re.search(rb"([\d.]+) s", lines.until(rb"^snapshot "))
                assert found is not None
                waits.append(float(found[1]))
            now = cpu_of(recorder.pid)
            if group:
                measured.cpu.append((now - before) / TICKS)
                measured.wall.append(statistics.median(waits))
            before = now
        status = Path(f"/proc/{recorder.pid}/status").read_text()
        recorder.send_signal(signal.SIGTERM)
        recorder.wait()
    rss = re.search(r"VmRSS:\s+(\d+)", status)
    assert rss is not None
    return measured, int(rss[1])
