"""The animals of the zoo that are written in Python: `serpents.py NAME RATE`. As animals.c: a line in, a step, a line out."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Callable

MIB = 1 << 20
KEPT: list[object] = []
CACHE: dict[int, str] = {}
NUMBERS = random.Random(7)


class Node:
    """Something that refers to itself, which only the collector finds."""

    def __init__(self) -> None:
        self.itself = self
        self.text = "x" * NUMBERS.randint(100, 400)


def about(mib: float, rate: float) -> int:
    """So many bytes, to a fifth."""
    return int(mib * rate * NUMBERS.uniform(0.8, 1.2) * MIB)


def cached(_tick: int, rate: float) -> None:
    """A cache from which nothing is ever removed, of entries of some 300 bytes."""
    for _ in range(about(1.5, rate) // 320):
        CACHE[len(CACHE)] = "x" * NUMBERS.randint(50, 350)


def buffered(_tick: int, rate: float) -> None:
    """Buffers that are kept, each of 20 to 100 KiB."""
    left = about(1.5, rate)
    while left > 0:
        KEPT.append(bytearray(b"x" * NUMBERS.randint(20_000, 100_000)))
        left -= 60_000


def cycled(tick: int, rate: float) -> None:
    """Cycles that are collected every fifth tick."""
    for _ in range(about(4, rate) // 600):
        Node()
    if tick % 5 == 4:
        gc.collect()


def cycled_and_kept(tick: int, rate: float) -> None:
    """The same, and a quarter of it is kept: of less, much goes into the holes that the collected ones leave."""
    KEPT.extend(Node() for _ in range(about(1.3, rate) // 600))
    cycled(tick, rate)


def nothing(_tick: int, _rate: float) -> None:
    """Wait for the next line."""


ANIMALS: dict[str, Callable[[int, float], None]] = {
    "python-cache": cached,
    "python-buffers": buffered,
    "python-cycles": cycled,
    "python-leak-under-cycles": cycled_and_kept,
    "python-idle": nothing,
}


def main() -> None:
    """Do a step for each line."""
    step, rate = ANIMALS[sys.argv[1]], float(sys.argv[2])
    gc.disable()
    print("ready", os.getpid(), flush=True)
    for tick, _ in enumerate(sys.stdin, 1):
        step(tick, rate)
        print("done", flush=True)


if __name__ == "__main__":
    main()
