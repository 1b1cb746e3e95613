"""What reading a process's smaps will cost it, and whether that is within what the user allows.

Reading smaps holds the target's mmap_lock from the first to the last mapping of each read(), which is about five mappings:
meanwhile it cannot map, unmap or fault in a new area. The time grows with three things, measured on Linux 6.18
(docs/cost.md, tests/benchmarks/model.py): mappings, page-table pages (VmPTE), and resident or swapped 4 KiB pages. Huge pages
cost next to nothing, which /proc/PID/status does not tell; the last read does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from pmapdiff.capture.procfs import MemoryStatus
from pmapdiff.units import format_us, plural

_MAPPING_US = 1.5
_PAGE_TABLE_US = 0.8
# Between 0.015, where the pages lie in a row in physical memory, and 0.04, where they are scattered: that cannot be known.
_PAGE_US = 0.025
# One read() prints about five mappings of 700 bytes, and has begun the one that no longer fitted.
_MAPPINGS_A_READ = 6
# After a read that took too long, so many captures go without one. Then it is tried again: the machine may just have been busy.
RETRY_AFTER = 16


class LastRead(Protocol):
    """What is known of the last read of a process's smaps."""

    @property
    def mappings(self) -> int:
        """The number of mappings of its last table; 0 if there is none."""

    @property
    def rss_kib(self) -> int | None:
        """Rss in KiB of its last table."""

    @property
    def read_us(self) -> int | None:
        """How long the last read took in µs; None if there was none."""

    @property
    def reads_ago(self) -> int:
        """How many captures ago that was."""

    @property
    def read_given_up(self) -> bool:
        """Whether it was given up for taking too long."""


class Budget(NamedTuple):
    """The most that a read of smaps may take in all, and the most that one read() of it may hold up the process, in µs. None: no limit."""

    max_read_us: int | None = None
    max_stall_us: int | None = None

    @property
    def says_anything(self) -> bool:
        """Whether there is any limit."""
        return self.max_read_us is not None or self.max_stall_us is not None


NO_LIMIT = Budget()


def model_us(mappings: float, page_table_kib: float, resident_kib: float) -> float:
    """About how long a read of smaps takes, in µs, when all pages are of 4 KiB."""
    return _MAPPING_US * mappings + _PAGE_TABLE_US * page_table_kib / 4 + _PAGE_US * resident_kib / 4


class Forecast(NamedTuple):
    """How long a read of smaps will take in µs, and what part of the model's figure that is."""

    read_us: float
    factor: float


def forecast(status: MemoryStatus, mappings: int, last: LastRead | None) -> Forecast:
    """How long reading smaps will take: as long as last time, or longer by as much as the process has grown; else what the model says."""
    model = model_us(mappings, status.page_table_kib, status.resident_kib)
    if last is None or last.read_us is None or last.reads_ago >= RETRY_AFTER:
        return Forecast(model, 1.0)
    growth = max(1.0, mappings / max(last.mappings, 1), status.rss_kib / last.rss_kib if last.rss_kib else 1.0)
    read_us = last.read_us * growth
    return Forecast(read_us, min(1.0, read_us / model) if model else 1.0)


def longest_hold_us(sizes_kib: Iterable[int], status: MemoryStatus) -> float:
    """At most how long one read() of smaps can hold the lock, in µs, by the model.

    `sizes_kib` are the sizes of the mappings in the order of their addresses: what is resident may all be in the largest.
    """
    costs = [model_us(1, min(status.page_table_kib, size / 512 + 4), min(status.resident_kib, size)) for size in sizes_kib]
    if not costs:
        return 0.0
    span = min(_MAPPINGS_A_READ, len(costs))
    total = longest = sum(costs[:span])
    for entering, leaving in zip(costs[span:], costs, strict=False):
        total += entering - leaving
        longest = max(longest, total)
    # All that is resident can be in one of the mappings only.
    return min(longest, model_us(span, status.page_table_kib, status.resident_kib))


def refusal(budget: Budget, status: MemoryStatus, sizes_kib: Iterable[int] | None, mappings: int, last: LastRead | None) -> str | None:
    """Why smaps is not worth reading under this budget, for people; None if it is.

    `sizes_kib` of None stands for sizes that have not been looked up: then a hold that cannot be ruled out without them is
    given as a refusal too.
    """
    if last is not None and last.read_given_up and last.reads_ago < RETRY_AFTER:
        return f"reading its smaps was given up {plural(last.reads_ago, 'snapshot')} ago"
    expected = forecast(status, mappings, last)
    # A read that has not been made for long is worth a try, as it is given up in time: the memory may be in huge pages, which nothing else tells.
    trial = last is not None and last.reads_ago >= RETRY_AFTER
    if budget.max_read_us is not None and expected.read_us > budget.max_read_us and not trial:
        return f"reading its smaps would take about {format_us(expected.read_us)}, more than --max-read {format_us(budget.max_read_us)}"
    if budget.max_stall_us is not None and expected.read_us > budget.max_stall_us:
        hold = expected.read_us if sizes_kib is None else min(expected.read_us, longest_hold_us(sizes_kib, status) * expected.factor)
        if hold > budget.max_stall_us:
            return f"reading its smaps could hold it up for {format_us(hold)}, more than --max-stall {format_us(budget.max_stall_us)}"
    return None
