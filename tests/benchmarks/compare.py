"""Comparing any two of 1,000 snapshots of a host, from the shell: it must not matter how many lie between them."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import ExitStack

from programs import Target

from benchmarks.host import MAPPINGS, large_host
from benchmarks.measure import PMAPDIFF, ROUNDS, Measured, Promise, print_times

SNAPSHOTS = 1000
DISTANCES = (10, 100, SNAPSHOTS)
# Some whose tables are others at each snapshot, among many that rest.
BUSY = 5


def run() -> list[Promise]:
    """One process and the whole host, over ten, a hundred and all snapshots."""
    results: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="pmapdiff-bench-") as folder, ExitStack() as stack:
        db = f"{folder}/host.db"
        targets = [stack.enter_context(Target("busy.py", MAPPINGS)) for _ in range(BUSY)]
        pids = stack.enter_context(large_host())
        print(f"\nrecording {SNAPSHOTS:,} snapshots of {len(pids)} processes; this takes some minutes", flush=True)
        subprocess.run([*PMAPDIFF, "--db", db, "record", "--all", "--quiet", "--every", "50ms", "--count", str(SNAPSHOTS)], check=True)
        pid = str(targets[0].pid)
        for _ in range(ROUNDS):
            for distance in DISTANCES:
                # Ends at the newest, in the middle, and at the oldest.
                for first, last in {(1, distance), (SNAPSHOTS - distance + 1, SNAPSHOTS)}:
                    where = "oldest" if first == 1 else "newest"
                    measure = [*PMAPDIFF, "--db", db, "compare", str(first), str(last)]
                    results.setdefault(f"one process, {distance} snapshots, the {where}", Measured()).run([*measure, "--pid", pid])
                    results.setdefault(f"whole host, {distance} snapshots, the {where}", Measured()).run(measure)
    print_times(f"Comparing two of {SNAPSHOTS:,} snapshots of a host of {len(pids)} processes", results, None)
    one = [m.wall_s for name, m in results.items() if name.startswith("one")]
    host = [m.wall_s for name, m in results.items() if name.startswith("whole")]
    far = [m.cpu_s for name, m in results.items() if f" {SNAPSHOTS} snapshots" in name]
    near = [m.cpu_s for name, m in results.items() if f" {DISTANCES[0]} snapshots, the newest" in name]
    return [
        Promise("compare of one process, wall time", max(one), 0.4, "s"),
        Promise("compare of a whole host, wall time", max(host), 1.5, "s"),
        Promise(f"compare over {SNAPSHOTS:,} snapshots / over {DISTANCES[0]}, CPU", max(f / n for f, n in zip(far, near, strict=True)), 1.25),
    ]
