"""100 MB of smaps text: finding, reading and checking its tables beside the recorder's own parser, and `import` beside what others do."""

from __future__ import annotations

import gc
import importlib.util
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from programs import PROGRAMS, Target

from benchmarks.measure import PMAPDIFF, ROUNDS, Measured, Promise, print_times
from pmapdiff.formats import all_forms, parse_saved
from pmapdiff.formats.smaps import SmapsParser

SIZE = 100_000_000
MAPPINGS = 30_000
MOST_TIMES_PARSER = 2.0


def run() -> list[Promise]:
    """One text of all processes of this host, again and again, and one of a process with many mappings."""
    promises: list[Promise] = []
    all_forms()
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="pmapdiff-bench-") as folder:
        target = stack.enter_context(Target(argv=[sys.executable, str(PROGRAMS / "many.py"), str(MAPPINGS)]))
        for name, tables in (("processes of this host", _host()), (f"a process of {MAPPINGS:,} mappings", [target.smaps()])):
            texts: list[bytes] = []
            while sum(map(len, texts)) < SIZE:
                texts += tables
            head = b"\n".join(b"==> /proc/%d/smaps <==\n%s" % (pid, text) for pid, text in enumerate(texts, 1))
            results = {title: Measured() for title in ("recorder's parser", "finding and reading the tables")}
            for _ in range(ROUNDS):
                _measure(results["recorder's parser"], lambda texts=texts: _parse(texts))  # type: ignore[misc]
                _measure(results["finding and reading the tables"], lambda head=head: parse_saved(head, "head"))  # type: ignore[misc]
            file = Path(folder) / "head.smaps"
            file.write_bytes(head)
            for number in range(ROUNDS):
                whole = [*PMAPDIFF, "--db", f"{folder}/{number}.db", "import", str(file)]
                results.setdefault("pmapdiff import, stored", Measured()).run(whole)
                results.setdefault("cat", Measured()).run(["cat", str(file)])
                if awk := shutil.which("awk"):
                    results.setdefault("awk: the sum of Rss", Measured()).run([awk, "/^Rss:/ {sum += $2} END {print sum}", str(file)])
                if importlib.util.find_spec("psutil"):
                    results.setdefault("a plain Python loop over the lines", Measured()).run([sys.executable, "-c", _LOOP, str(file)])
                Path(f"{folder}/{number}.db").unlink()
            print_times(f"{len(head) / 1e6:.0f} MB of smaps, {name}, {ROUNDS} rounds", results, "recorder's parser")
            ratio = results["finding and reading the tables"].cpu_s / results["recorder's parser"].cpu_s
            promises.append(Promise(f"reading 100 MB of saved smaps ({name}) / recorder's parser", ratio, MOST_TIMES_PARSER))
    return promises


_LOOP = """
import sys
rows = []
for line in open(sys.argv[1], "rb"):
    name, _, value = line.partition(b":")
    if value.endswith(b"kB\\n"):
        rows[-1][name] = int(value.split()[0])
    else:
        rows.append({})
"""


def _host() -> list[bytes]:
    texts = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            texts.append((folder / "smaps").read_bytes())
        except OSError:
            continue
    return [text for text in texts if text]


def _parse(texts: list[bytes]) -> None:
    parser = SmapsParser()
    for text in texts:
        parser.parse(text)


def _measure(measured: Measured, action: Callable[[], object]) -> None:
    gc.collect()
    started, cpu = time.perf_counter(), time.process_time()
    action()
    measured.cpu.append(time.process_time() - cpu)
    measured.wall.append(time.perf_counter() - started)
