"""Real tables of runtimes that need not be installed here, and what each mapping of them is for.

tests/data/families/NAME.smaps.gz is the smaps of a program as Linux 6.18 printed it (of the counters only Size and Rss are kept);
NAME.txt says how many threads it had, and the family of each range of addresses, as a person has judged it.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from pmapdiff.align import FAMILIES, classify, explain
from pmapdiff.formats.base import parse_saved
from pmapdiff.model import Mapping

FOLDER = Path(__file__).resolve().parent.parent / "data" / "families"
NAMES = sorted(path.name.removesuffix(".txt") for path in FOLDER.glob("*.txt"))
# What is told without VmFlags, too: by maps, or pmap.
CERTAIN = {"heap", "stack", "image", "file", "kernel", "malloc-arena", "shm", "sysv-shm", "memfd", "device"}


@cache
def table(name: str) -> tuple[Mapping, ...]:
    data = gzip.decompress((FOLDER / f"{name}.smaps.gz").read_bytes())
    (saved,) = parse_saved(data, name)
    return saved.table.mappings


def expected(name: str) -> tuple[int, list[str]]:
    """The number of threads, and the family of each mapping."""
    head, *lines = (FOLDER / f"{name}.txt").read_text().splitlines()
    ranges = []
    for line in lines:
        span, family = line.split()
        low, high = (int(end, 16) for end in span.split("-"))
        ranges.append((low, high, family))
    families = []
    for mapping in table(name):
        (family,) = (family for low, high, family in ranges if low <= mapping.start and mapping.end <= high)
        families.append(family)
    return int(head.split()[1]), families


def differing(name: str, found: list[str], families: list[str], only: set[str]) -> list[str]:
    rows = zip(table(name), found, families, strict=True)
    return [f"{m.start:x} {m.size_kib} {m.perms} {m.name!r}: {one}, not {other}" for m, one, other in rows if one != other and {one, other} & only]


@pytest.mark.parametrize("name", NAMES)
def test_every_mapping_is_of_the_family_that_it_is(name: str) -> None:
    threads, families = expected(name)
    assert not differing(name, classify(table(name), threads), families, set(FAMILIES))


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_need_flags(name: str) -> None:
    threads, families = expected(name)
    without = [mapping._replace(flags=None) for mapping in table(name)]
    assert not differing(name, classify(without, threads), families, CERTAIN)


def test_all_there_is_to_see() -> None:
    assert len(NAMES) >= 20
    seen = {family for name in NAMES for family in expected(name)[1]}
    assert seen == set(FAMILIES) - {"other"}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 200_000


def test_nothing_depends_on_the_order_of_a_set() -> None:
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from test_families_frozen import NAMES, table
from pmapdiff.align import explain
print([explain(table(name)) for name in NAMES])
"""
    printed = set()
    for seed in ("1", "2", "3"):
        argv = [sys.executable, "-c", code, str(Path(__file__).parent)]
        done = subprocess.run(argv, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True)
        printed.add(done.stdout)
    assert printed == {f"{[explain(table(name)) for name in NAMES]}\n".encode()}
