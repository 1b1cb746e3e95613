"""A recorder that stays: new processes are picked up, ended ones forgotten, and it does not grow by them."""

from __future__ import annotations

import gc
import re
import signal
import tracemalloc

from programs import Runner, Target

from pmapdiff.capture.record import Recorder
from pmapdiff.capture.select import Selection
from pmapdiff.store import Store


def test_processes_come_and_go_and_memory_stays(run: Runner, target: Target) -> None:
    """What SQLite keeps of the file is bounded by its cache; this is what Python keeps."""
    children = 0
    store = Store.open(str(run.db), write=True)
    recorder = Recorder(Selection(pids=frozenset([target.pid]), tree=True), store)
    sizes = []
    with store.recording():
        for group in range(4):
            for number in range(20):
                target.call("fork")
                children += 1
                assert recorder.take().processes == 2
                target.call("reap")
                # And what is there changes.
                target.call("map", size=4096 * (1 + number % 3), address=0x100000000000 + number * 65536)
                assert recorder.take().processes == 1
            for number in range(20):
                target.call("unmap", address=0x100000000000 + number * 65536, size=4096 * (1 + number % 3))
            recorder.take()
            gc.collect()
            if group == 1:
                # Before that, caches fill: SQLAlchemy's statements, names of files. What was there is replaced by the end of the next.
                tracemalloc.start()
            if group > 1:
                sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[-1] - sizes[-2] < 50_000, sizes
    processes = run.here("processes", "--top", 0, "--format", "json").json["processes"]
    assert len(processes) == 1 + children
    assert run.here("db", "check").ok().out == "the store is sound\n"


def test_ticks_that_come_too_early_are_skipped_and_counted(run: Runner, target: Target) -> None:
    out = run("record", "--pid", target.pid, "--every", "100us", "--count", 20).ok().out
    said = [int(number.replace(",", "")) for number in re.findall(r"^snapshot .*, ([\d,]+) ticks? skipped$", out, re.MULTILINE)]
    assert len(said) > 10, "none is as fast as that"
    assert out.splitlines()[-1].startswith(f"{sum(said):,} ticks skipped in all")
    assert len(run.here("snapshots", "--format", "json").json["snapshots"]) == 20


def test_a_series_of_a_store_that_others_read_write_and_prune(run: Runner, target: Target) -> None:
    with run.forked("record", "--pid", target.pid, "--every", "20ms", "--quiet") as recorder:
        for number in range(10):
            target.call("map", size=4096, address=0x100000000000 + number * 65536)
            run.here("record", "--pid", target.pid, "--label", f"other {number}").ok()
            run.here("prune", "--keep-last", 3).ok()
            run.here("compare", f"other {number}", "latest").ok()
        recorder.kill(signal.SIGTERM)
        recorder.wait().ok()
    labels = [row["label"] for row in run.here("snapshots", "--format", "json").json["snapshots"] if row["label"]]
    assert labels == [f"other {number}" for number in range(10)]
    assert run.here("db", "check").ok().out == "the store is sound\n"
