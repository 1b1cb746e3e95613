"""One process of 20,000 mappings, beside what a user would take instead, and how fast `--help` is."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from programs import PROGRAMS, Target, isolated

from benchmarks.measure import PMAPDIFF, ROUNDS, Measured, Promise, print_times

MAPPINGS = 20_000
MOST_TIMES_PMAP = 1.5
HELP_LIMIT_S = 0.15
PROGRAM = PROGRAMS / "many.py"
MEMORY_MAPS = "import sys, psutil; psutil.Process(int(sys.argv[1])).memory_maps(grouped=False)"


def run() -> list[Promise]:
    """Record it when it is new to the store, and again when nothing has changed."""
    pmap = shutil.which("pmap")
    results: dict[str, Measured] = {}

    def measure(name: str, argv: list[str]) -> None:
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
    print_times(f"One process, {MAPPINGS:,} mappings, {ROUNDS} rounds", results, "pmap -XX" if pmap else None)
    promises = [Promise("--help, wall time", results["pmapdiff --help"].wall_s, HELP_LIMIT_S, "s")]
    if pmap:
        ratio = results["pmapdiff record, new to the store"].cpu_s / results["pmap -XX"].cpu_s
        promises.append(Promise("record of a process new to the store, CPU / pmap -XX", ratio, MOST_TIMES_PMAP))
    return promises
