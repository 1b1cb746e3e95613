"""What the benchmarks share: running children, medians, the table, and what is promised."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

ROUNDS = 5
PMAPDIFF = [sys.executable, "-m", "pmapdiff"]


@dataclass
class Measured:
    """The rounds of one thing: CPU and wall time in seconds of each."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def run(self, *commands: Sequence[str], may_fail: bool = False) -> None:
        """Run commands one after the other, as one round. Their CPU is user + system time, with the helpers that they waited for."""
        started, cpu = time.perf_counter(), 0.0
        for argv in commands:
            child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL if may_fail else None, stdin=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode != 0 and not may_fail:
                raise SystemExit(f"{' '.join(argv)} ended with {child.returncode}")
            cpu += usage.ru_utime + usage.ru_stime
        self.wall.append(time.perf_counter() - started)
        self.cpu.append(cpu)

    @property
    def cpu_s(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.cpu)

    @property
    def wall_s(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.wall)


@dataclass(frozen=True)
class Promise:
    """A figure that the project promises to stay at or below."""

    what: str
    value: float
    most: float
    unit: str = "x"

    def __str__(self) -> str:
        kept = "kept" if self.value <= self.most else "BROKEN"
        return f"{self.what}: {self.value:.2f} {self.unit}, promised at most {self.most:g} {self.unit}: {kept}"

    @property
    def kept(self) -> bool:
        return self.value <= self.most


def print_times(title: str, results: dict[str, Measured], reference: str | None) -> None:
    """A table of CPU (median, least, most), wall time (median) and the ratio of the CPU to that of the reference."""
    print(f"\n{title}; seconds of CPU (median, least, most) and wall (median){f', times {reference}' if reference else ''}")
    print(f"{'':<52} {'CPU':>8} {'least':>8} {'most':>8} {'wall':>8} {'ratio':>8}")
    against = results[reference].cpu_s if reference in results else None
    for name, m in results.items():
        ratio = f"{m.cpu_s / against:8.2f}" if against else f"{'-':>8}"
        print(f"{name:<52} {m.cpu_s:8.3f} {min(m.cpu):8.3f} {max(m.cpu):8.3f} {m.wall_s:8.3f} {ratio}", flush=True)


Benchmark = Callable[[], list[Promise]]
"""Prints its table and returns what it promises."""
