"""What aligning two tables of one process costs, by how many mappings they have and how hard they make it: near n log n whatever they are."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

from strategies import PAGE, make

from benchmarks.measure import Promise
from pmapdiff.align import align_same_process
from pmapdiff.model import Mapping

SIZES = (1_000, 10_000, 60_000)
# A processor that is shared with others makes the same work cost more: the least of so many tries is near the truth.
TRIES = 3
# n log n costs 1.6 times as much a mapping for 60,000 as for 1,000, and what no longer fits the processor's caches costs more.
MOST_TIMES = 2.5

BASE = 0x7F0000000000
STEP = 64 * PAGE
Tables = tuple[list[Mapping], list[Mapping]]


def small_blocks(number: int) -> Tables:
    """Many small anonymous mappings, of which all have grown."""
    before = [make(BASE + i * STEP, BASE + i * STEP + 4 * PAGE, rss=8) for i in range(number)]
    return before, [make(m.start, m.end + PAGE, rss=12) for m in before]


def committed(number: int) -> Tables:
    """A JVM: reserves of which pieces are committed, and stacks with their guards; everything is used more, and cut elsewhere."""

    def table(shift: int) -> list[Mapping]:
        mappings = []
        for i in range(number // 4):
            start = BASE + i * 4 * STEP
            cut = start + (shift + i % 7) * PAGE
            mappings.append(make(start, cut, rss=shift))
            mappings.append(make(cut, start + STEP, "---p"))
            mappings.append(make(start + 2 * STEP, start + 2 * STEP + 4 * PAGE, "---p"))
            mappings.append(make(start + 2 * STEP + 4 * PAGE, start + 3 * STEP, rss=8 + shift))
        return mappings

    return table(9), table(12)


def elsewhere(number: int) -> Tables:
    """Nothing is where it was: as many gone as new, all of one kind and of other sizes."""
    before = [make(BASE + i * STEP, BASE + i * STEP + (1 + i % 20) * PAGE, rss=4 + i % 999) for i in range(number)]
    above = BASE + number * STEP
    return before, [make(above + i * STEP, above + i * STEP + (1 + i % 23) * PAGE, rss=4 + i % 997) for i in range(number)]


def named(number: int) -> Tables:
    """Nothing is where it was, and what is of one name is all alike."""
    before = [make(BASE + i * STEP, BASE + i * STEP + (32 + i % 32) * PAGE, name=b"[anon:%d]" % (i // 64), rss=100 + i % 9) for i in range(number)]
    above = number * STEP
    return before, [m._replace(start=m.start + above, end=m.end + above + PAGE) for m in before]


def neighbours(number: int) -> Tables:
    """One unbroken row of mappings, each cut at another place."""
    perms = ("rw-p", "r--p")
    before = [make(BASE + i * STEP, BASE + (i + 1) * STEP, perms[i % 2]) for i in range(number)]
    return before, [make(m.start + PAGE, m.end + PAGE, m.perms) for m in before]


def torn(number: int) -> Tables:
    """Rows that all overlap each other."""
    before = [make(BASE + i * PAGE, BASE + (number + i) * PAGE, rss=4) for i in range(number)]
    return before, [m._replace(end=m.end + PAGE, perms="r--p" if i % 2 else "rw-p") for i, m in enumerate(before)]


def one_over_all(number: int) -> Tables:
    """A torn table in which a row overlaps all others."""
    small = [make(BASE + i * STEP, BASE + i * STEP + PAGE, rss=4) for i in range(1, number)]
    large = make(BASE, BASE + number * STEP, rss=4)
    return [large, *small], [large, *(m._replace(end=m.end + PAGE) for m in small)]


def cut_up(number: int) -> Tables:
    """One mapping, of which every second page was protected."""
    after = [make(BASE + i * PAGE, BASE + (i + 1) * PAGE, "r--p" if i % 2 else "rw-p") for i in range(number)]
    return [make(BASE, BASE + number * PAGE, rss=4)], after


SHAPES: tuple[Callable[[int], Tables], ...] = (small_blocks, committed, elsewhere, named, neighbours, torn, one_over_all, cut_up)


def run() -> list[Promise]:
    """CPU time for each shape and size, the least of several."""
    sizes = "".join(f"{size:>12,}" for size in SIZES)
    print(f"\nAligning two tables of so many mappings each; µs of CPU a mapping (least of {TRIES}), and the last times the first")
    print(f"{'':<20}{sizes}{'ratio':>10}")
    most = 0.0
    for shape in SHAPES:
        costs = [_cost_us(*shape(size)) for size in SIZES]
        ratio = costs[-1] / costs[0]
        most = max(most, ratio)
        print(f"{shape.__name__.replace('_', ' '):<20}{''.join(f'{cost:12.2f}' for cost in costs)}{ratio:10.2f}", flush=True)
    return [Promise(f"aligning, cost a mapping for {SIZES[-1]:,} / for {SIZES[0]:,}", most, MOST_TIMES)]


def _cost_us(before: list[Mapping], after: list[Mapping]) -> float:
    """CPU time of aligning in µs a mapping, the least of several."""
    costs = []
    for _ in range(TRIES):
        gc.collect()
        started = time.process_time_ns()
        align_same_process(before, after)
        costs.append((time.process_time_ns() - started) / 1e3)
    return min(costs) / (len(before) + len(after))
