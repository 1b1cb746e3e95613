"""What reading smaps costs by the shape of the memory, beside what `capture.budget` foresees. Its constants come from here."""

from __future__ import annotations

import gc
import time
from pathlib import Path

from programs import Target

from benchmarks.measure import Promise
from pmapdiff.capture.budget import model_us
from pmapdiff.capture.procfs import read_status, read_table

SHAPES = (("many", 20_000), ("dense", 1), ("dense", 4), ("sparse", 64), ("huge", 4), ("paged-out", 1))
# A processor that is shared with others makes the same work cost up to twice as much: the least of so many tries is near the truth.
TRIES = 15
# How far the model may be from what is measured where all pages are of 4 KiB: how they lie in physical memory is twice as
# much or half, and nothing tells.
MOST_OFF = 2.0


def run() -> list[Promise]:
    """The processor's time for a read of each shape, the least of several."""
    print(f"\nReading smaps; ms of CPU and wall (least of {TRIES}), of a read of maps, and what the model says")
    print(f"{'':<20} {'mappings':>9} {'page tables':>12} {'4 KiB pages':>12} {'CPU':>9} {'wall':>9} {'maps':>9} {'model':>9} {'off':>6}")
    off = 1.0
    for shape, number in SHAPES:
        if shape == "paged-out" and not _swap_kib():
            print(f"{shape:<20} no swap here")
            continue
        with Target("shaped.py", shape, number) as target:
            directory = f"/proc/{target.pid}"
            status = read_status(directory).memory
            assert status is not None
            smaps, wall, mappings = _cost_us(f"{directory}/smaps")
            maps, _, _ = _cost_us(f"{directory}/maps")
        model = model_us(mappings, status.page_table_kib, status.resident_kib)
        ratio = model / smaps
        name = f"{shape} {number:,}{'' if shape == 'many' else ' GiB'}"
        size = f"{mappings:9,} {status.page_table_kib // 4:12,} {status.resident_kib // 4:12,}"
        print(f"{name:<20} {size} {smaps / 1e3:9.2f} {wall / 1e3:9.2f} {maps / 1e3:9.3f} {model / 1e3:9.2f} {ratio:6.2f}", flush=True)
        if shape != "huge":
            off = max(off, ratio, 1 / ratio)
    return [Promise("model of a read of smaps, times too much or too little", off, MOST_OFF)]


def _swap_kib() -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["SwapTotal"].split()[0])


def _cost_us(path: str) -> tuple[float, float, int]:
    """CPU and wall (least of several) of reading a table in µs, and the number of mappings."""
    cpu, wall, text = [], [], b""
    gc.collect()
    for _ in range(TRIES):
        started = time.thread_time_ns()
        read = read_table(path)
        cpu.append((time.thread_time_ns() - started) / 1e3)
        wall.append(read.read_us)
        text = read.data
    return min(cpu), min(wall), text.count(b"\nSize:")
