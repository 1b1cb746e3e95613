"""What `leaks` costs on long series, from the shell, beside what a notebook would do: pandas on the view, and a line through each mapping's Rss."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks import months
from benchmarks.measure import PMAPDIFF, Measured, Promise, print_times

ROUNDS = 3
# It sees neither restarts nor growth that moves to another mapping, nor tells a leak from a warm-up.
NOTEBOOK = """
import sqlite3, sys
import numpy, pandas
rows = pandas.read_sql("SELECT snapshot_id, pid, start_hex, name, rss_kib FROM mapping_table", sqlite3.connect(sys.argv[1]))
table = rows.pivot_table(index="snapshot_id", columns=["pid", "start_hex", "name"], values="rss_kib").fillna(0)
slopes = numpy.polyfit(table.index, table.to_numpy(), 1)[0]
print(pandas.Series(slopes, table.columns).nlargest(20))
"""


def run() -> list[Promise]:
    promises = []
    with tempfile.TemporaryDirectory(prefix="pmapdiff-bench-") as folder:
        for what, make, seconds in (
            ("1,000 snapshots of a process of 1,000 mappings", months.one_process, 3.0),
            ("300 snapshots of 250 processes", months.host, 20.0),
        ):
            path = Path(folder) / f"{make.__name__}.db"
            make(path)
            results = {"leaks --all --format json": Measured(), "pandas.read_sql, pivot, polyfit": Measured()}
            for _ in range(ROUNDS):
                results["leaks --all --format json"].run([*PMAPDIFF, "--db", str(path), "leaks", "--all", "--format", "json"])
            # Once: of a host it takes minutes, and gigabytes.
            if make is months.one_process:
                results["pandas.read_sql, pivot, polyfit"].run([sys.executable, "-c", NOTEBOOK, str(path)])
            else:
                del results["pandas.read_sql, pivot, polyfit"]
            print_times(what, results, None)
            promises.append(Promise(f"leaks, {what}", results["leaks --all --format json"].wall_s, seconds, "s"))
    return promises
