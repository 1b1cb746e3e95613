"""What `report` costs beside `leaks`, which it contains; how large its page is, and how soon it is seen in Chromium."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from browsing import opened_browser
from busy import REGIONS, SNAPSHOTS, busy_store

from benchmarks.measure import PMAPDIFF, Measured, Promise, print_times

ROUNDS = 3
SEEN = """() => [performance.getEntriesByName("first-contentful-paint")[0].startTime, performance.getEntriesByName("ready")[0].startTime]"""


def run() -> list[Promise]:
    with tempfile.TemporaryDirectory(prefix="pmapdiff-bench-") as folder:
        store, page = Path(folder) / "busy.db", Path(folder) / "page.html"
        busy_store(str(store))
        results = {"leaks": Measured(), "report": Measured()}
        for _ in range(ROUNDS):
            results["leaks"].run([*PMAPDIFF, "--db", str(store), "leaks"])
            results["report"].run([*PMAPDIFF, "--db", str(store), "report", "-o", str(page)])
        print_times(f"{SNAPSHOTS} snapshots of {REGIONS} regions, of which each is another every time", results, "leaks")
        megabytes = page.stat().st_size / 1e6
        seen = []
        with opened_browser() as browser:
            for _ in range(ROUNDS):
                visit = browser.new_page()
                visit.goto(page.as_uri())
                visit.wait_for_selector("html[data-ready]", state="attached")
                seen.append(visit.evaluate(SEEN))
                visit.close()
    first, ready = (statistics.median(times) / 1000 for times in zip(*seen, strict=True))
    print(f"in Chromium: seen after {first:.2f} s, answers after {ready:.2f} s")
    return [
        Promise("report, the file", megabytes, 2.0, "MB"),
        Promise("report, the first drawing in Chromium", first, 1.0, "s"),
    ]
