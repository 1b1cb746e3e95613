"""What the recorded notices: the longest that a process which maps and unmaps has to wait, by who reads its smaps."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from programs import PROGRAMS, Lines, Target

from benchmarks.measure import PMAPDIFF, ROUNDS, Promise

RESIDENT_MIB = 2048
SECONDS = 5
# Far less than one read() takes of so much memory in 4 KiB pages.
MAX_STALL = "1ms"

Reader = Callable[[int, str], AbstractContextManager[None]]


@contextmanager
def _nobody(_pid: int, _db: str) -> Iterator[None]:
    yield


@contextmanager
def _cat(pid: int, _db: str) -> Iterator[None]:
    """`cat` of its smaps once a second."""
    ended = threading.Event()

    def read() -> None:
        following = time.monotonic()
        while not ended.wait(max(0.0, following - time.monotonic())):
            subprocess.run(["cat", f"/proc/{pid}/smaps"], stdout=subprocess.DEVNULL, check=True)
            following += 1.0

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _recorder(*options: str, prefix: tuple[str, ...] = ()) -> Reader:
    """A recorder that stays, from its second snapshot on."""

    @contextmanager
    def recorder(pid: int, db: str) -> Iterator[None]:
        argv = [*prefix, *PMAPDIFF, "--db", db, "record", "--pid", str(pid), "--every", "1s", *options]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            lines = Lines(process.stdout.fileno())
            for _ in range(2):
                lines.until(rb"^snapshot ")
            try:
                yield
            finally:
                process.terminate()

    return recorder


@contextmanager
def _busy_processors() -> Iterator[None]:
    """A process on every processor that never gives it up by itself."""
    with ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            hog = stack.enter_context(subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"], stdin=subprocess.DEVNULL))
            stack.callback(hog.kill)
        yield


def _among_others(reader: Reader) -> Reader:
    @contextmanager
    def among_others(pid: int, db: str) -> Iterator[None]:
        with reader(pid, db), _busy_processors():
            yield

    return among_others


READERS: dict[str, Reader] = {
    "nobody": _nobody,
    "cat smaps, once a second": _cat,
    "pmapdiff record --every 1s": _recorder(),
    f"pmapdiff record --every 1s --max-stall {MAX_STALL}": _recorder("--max-stall", MAX_STALL),
    "all processors busy: pmapdiff record --every 1s": _among_others(_recorder()),
    "all processors busy: nice -n 19 pmapdiff record": _among_others(_recorder(prefix=("nice", "-n", "19"))),
}
CAT, RECORD = list(READERS)[1:3]


def _program(folder: Path) -> list[str]:
    compiler = shutil.which("cc")
    if compiler is None:
        print("no C compiler (cc): the process that is read is a Python program, with stalls of its own")
        return [sys.executable, "-I", "-S", str(PROGRAMS / "stalled.py")]
    subprocess.run([compiler, "-O2", "-o", str(folder / "stalled"), str(PROGRAMS / "stalled.c")], check=True)
    return [str(folder / "stalled")]


def run() -> list[Promise]:
    """In turns; the largest of each second, and the median of those."""
    largest: dict[str, list[float]] = {name: [] for name in READERS}
    longer = dict.fromkeys(READERS, 0)
    with tempfile.TemporaryDirectory(prefix="pmapdiff-bench-") as name, Target(argv=[*_program(Path(name)), str(RESIDENT_MIB)]) as target:
        for number in range(ROUNDS):
            for reader, reading in READERS.items():
                with reading(target.pid, f"{name}/{number}.db"):
                    target.call("largest")
                    for _ in range(SECONDS):
                        time.sleep(1.0)
                        largest_us, count = target.call("largest")
                        largest[reader].append(largest_us / 1000)
                        longer[reader] += count
    load = os.getloadavg()[0]
    print(f"\nA process of {RESIDENT_MIB} MiB in 4 KiB pages that maps and unmaps; {os.cpu_count()} cores, load {load:.1f}")
    print(f"its longest wait in each of {ROUNDS} rounds of {SECONDS} seconds, in ms, and how many of more than 1 ms there are in one")
    print(f"{'read by':<52} {'median':>8} {'9 of 10':>8} {'most':>8} {'a second':>8}")
    for reader, values in largest.items():
        most = f"{statistics.quantiles(values, n=10)[-1]:8.2f} {max(values):8.2f}"
        print(f"{reader:<52} {statistics.median(values):8.2f} {most} {longer[reader] / len(values):8.1f}")
    record, cat = statistics.median(largest[RECORD]), statistics.median(largest[CAT])
    rounds = [statistics.median(largest[CAT][at : at + SECONDS]) for at in range(0, ROUNDS * SECONDS, SECONDS)]
    print(f"median under record / under cat: {record / cat:.2f}; cat by its own in each round: {', '.join(f'{value / cat:.2f}' for value in rounds)}")
    # The kernel does the same for both: what differs is chance, of which the rounds of cat tell how large it is.
    return [Promise("longest wait of a recorded process / under cat smaps in its worst round", record / max(rounds), 1.0)]
