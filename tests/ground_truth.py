"""What a program did to its memory, as `compare` says it, for the tests that know what it did."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from programs import Runner, Target, counters

# Far from everything that a process has by itself, so that the kernel merges nothing of its own with ours.
BASE = 0x100000000000
KIB, MIB, PAGE = 1 << 10, 1 << 20, os.sysconf("SC_PAGE_SIZE")
PAGE_KIB = PAGE >> 10
READ, READ_WRITE = 1, 3
SHARED, PRIVATE, SHARED_ANONYMOUS = 0x01, 0x02, 0x21
DONTNEED = 4
FIGURES = ("size_kib", "rss_kib", "dirty_kib", "private_dirty_kib", "shared_dirty_kib", "anonymous_kib", "swap_kib")
# What no other process can change (Pss, and what is clean, depends on who else has mapped the same libraries).
OWN_COUNTERS = {"rss_kib": "Rss", "size_kib": "Size", "anonymous_kib": "Anonymous", "swap_kib": "Swap", "private_dirty_kib": "Private_Dirty"}


@dataclass
class Moment:
    """What `compare` said of the target's memory around what it did."""

    process: dict[str, Any]
    here: list[dict[str, Any]] = field(default_factory=list)

    @property
    def only(self) -> dict[str, Any]:
        assert len(self.here) == 1, self.here
        return self.here[0]


def compared(run: Runner, target: Target, do: Callable[[], object], start: int = BASE, end: int = BASE + (1 << 40)) -> Moment:
    """Record, do it, record again, compare; what holds of every comparison is checked on the way."""
    with target.stopped():
        run.here("record", "--pid", target.pid, "--quiet").ok()
        before = counters(target.smaps())
    do()
    with target.stopped():
        run.here("record", "--pid", target.pid, "--quiet").ok()
        after = counters(target.smaps())
    (process,) = run.here("compare", "latest~1", "latest", "--format", "json").json["processes"]
    assert (process["match"], process["complete"], process["missing"]) == ("same", True, [])
    totals = process["totals"]
    for name, counter in OWN_COUNTERS.items():
        # [vsyscall] is no memory of the process, but a row of its table.
        assert totals["delta"][name] == after[counter] - before[counter], name
    for name, delta in totals["delta"].items():
        assert totals["after"][name] - totals["before"][name] == delta
        if name != "mappings":
            assert sum(change["delta"][name] for change in process["changes"]) == delta
            assert sum(family["delta"][name] for family in process["families"]) == delta
    for when, unchanged in (("before", process["unchanged"]), ("after", process["unchanged"])):
        assert sum(len(change[when]) for change in process["changes"]) + unchanged == totals[when]["mappings"]
    return Moment(
        process, [change for change in process["changes"] if any(start <= int(m["start"], 16) < end for m in change["before"] + change["after"])]
    )


def delta(**figures: int) -> dict[str, int]:
    return {**dict.fromkeys(FIGURES, 0), **{f"{name}_kib": value for name, value in figures.items()}}


def of(change: dict[str, Any]) -> dict[str, int]:
    return {name: change["delta"][name] for name in FIGURES}


def dirtied(pages: int) -> dict[str, int]:
    kib = pages * PAGE_KIB
    return {"rss": kib, "dirty": kib, "private_dirty": kib, "anonymous": kib}


def shape(change: dict[str, Any]) -> tuple[int, int]:
    return len(change["before"]), len(change["after"])
