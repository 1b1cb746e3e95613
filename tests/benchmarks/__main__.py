"""Prints a table: the CPU of recording a process with 20,000 mappings beside that of its peers, and how fast `--help` is.

CPU is user + system time of the child, from wait4; every figure is a median of 5, taken in turns. Exits 1 if a promise is not kept.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from programs import PROGRAMS, Target, isolated

MAPPINGS = 20_000
ROUNDS = 5
MOST_TIMES_PMAP = 1.5
HELP_LIMIT_S = 0.15
PROGRAM = PROGRAMS / "many.py"
PMAPDIFF = [sys.executable, "-m", "pmapdiff"]
MEMORY_MAPS = "import sys, psutil; psutil.Process(int(sys.argv[1])).memory_maps(grouped=False)"


@dataclass
class Measured:
    """The runs of one command: CPU and wall time in seconds."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def run(self, argv: Sequence[str]) -> None:
        started = time.perf_counter()
        child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        self.wall.append(time.perf_counter() - started)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise SystemExit(f"{' '.join(argv)} ended with {child.returncode}")
        # With the helpers that it waited for.
        self.cpu.append(usage.ru_utime + usage.ru_stime)


def row(name: str, measured: Measured, reference: float | None) -> None:
    cpu, wall = statistics.median(measured.cpu), statistics.median(measured.wall)
    ratio = f"{cpu / reference:8.2f}" if reference else f"{'-':>8}"
    print(f"{name:<52} {cpu:8.3f} {min(measured.cpu):8.3f} {max(measured.cpu):8.3f} {wall:8.3f} {ratio}")


def main() -> int:
    # Bytecode is kept, as in any installation.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    pmap = shutil.which("pmap")
    results: dict[str, Measured] = {}

    def measure(name: str, argv: Sequence[str]) -> None:
        results.setdefault(name, Measured()).run(argv)

    with tempfile.TemporaryDirectory(prefix="pmapdiff-bench-") as folder, ExitStack() as stack:
        db = f"{folder}/bench.db"

        def record(pid: int) -> list[str]:
            return [*PMAPDIFF, "--db", db, "record", "--quiet", "--pid", str(pid)]

        subprocess.run(record(os.getpid()), check=True)
        # Each round has a process of its own, that the store has never seen: everything is parsed and stored.
        # It shares no file with others, so that its text stays the same while they come and go.
        python, environment = isolated(Path(folder) / "python")
        for _ in range(ROUNDS):
            pid = stack.enter_context(Target(argv=[*python, str(PROGRAM), str(MAPPINGS)], env=environment)).pid
            subprocess.run([*PMAPDIFF, "--help"], check=True, stdout=subprocess.DEVNULL)
            if pmap:
                measure("pmap -XX", [pmap, "-XX", str(pid)])
            measure("cat smaps", ["cat", f"/proc/{pid}/smaps"])
            if importlib.util.find_spec("psutil"):
                measure("psutil memory_maps", [sys.executable, "-c", MEMORY_MAPS, str(pid)])
            measure("pmapdiff record, new to the store", record(pid))
            measure("pmapdiff record, unchanged", record(pid))
            measure("python -c pass", [sys.executable, "-c", "pass"])
            measure("pmapdiff record of a small process, unchanged", record(os.getpid()))
            measure("pmapdiff --help", [*PMAPDIFF, "--help"])
    reference = statistics.median(results["pmap -XX"].cpu) if pmap else None
    print(f"{MAPPINGS:,} mappings, {ROUNDS} rounds; seconds of CPU (median, least, most), wall (median), times pmap -XX")
    print(f"{'':<52} {'CPU':>8} {'least':>8} {'most':>8} {'wall':>8} {'ratio':>8}")
    for name, measured in results.items():
        row(name, measured, reference)
    kept = True
    if reference:
        ratio = statistics.median(results["pmapdiff record, new to the store"].cpu) / reference
        kept &= ratio <= MOST_TIMES_PMAP
        print(f"record / pmap -XX: {ratio:.2f}, promised at most {MOST_TIMES_PMAP}: {'kept' if ratio <= MOST_TIMES_PMAP else 'BROKEN'}")
    wall = statistics.median(results["pmapdiff --help"].wall)
    kept &= wall < HELP_LIMIT_S
    print(f"--help: {wall:.3f} s, promised under {HELP_LIMIT_S}: {'kept' if wall < HELP_LIMIT_S else 'BROKEN'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
