"""Builds the animals, lets them live in lockstep, and records them with pmapdiff's own recorder, in time that runs faster than the clock.

A tick is over when each has answered, so that nothing depends on how long it takes; the store is told that ten minutes have passed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from programs import Target

from pmapdiff.capture.record import Known, Recorder
from pmapdiff.capture.select import Selection
from pmapdiff.model import ProcessIdentity, Snapshot, SnapshotRef
from pmapdiff.store import Store
from zoo.animals import ANIMALS, Animal

PROGRAMS = Path(__file__).parent / "programs"
TICKS = 30
# A recorder in a crontab misses one now and then, and is never quite on time.
MISSED = frozenset((13, 24))
TICK_US, LATE_US = 600_000_000, 40_000_000
# 2026-02-02 00:00 UTC.
BEGIN_US = 1_769_990_400_000_000

# A small nursery, so that what is kept soon shows, and a heap that is given back as soon as it is empty.
_JAVA = """
-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xms8m -Xmn4m -Xmx256m
-XX:MinHeapFreeRatio=5 -XX:MaxHeapFreeRatio=15 -XX:-ShrinkHeapInSteps
"""
_NODE = "--expose-gc --max-semi-space-size=1"


@dataclass
class Specimen:
    """An animal that was recorded, and all pids that it has had."""

    animal: Animal
    pids: list[int] = field(default_factory=list)


@dataclass
class _Accelerated:
    """A store that is told another time than the clock's, and the sink of the recorder."""

    store: Store
    started_us: dict[int, int] = field(default_factory=dict)
    now_us: int = BEGIN_US

    def known(self, host: str, identities: Collection[ProcessIdentity], *, reads: bool) -> Mapping[ProcessIdentity, Known]:
        return self.store.known(host, identities, reads=reads)

    def write(self, taken: Snapshot) -> SnapshotRef:
        captures = (c._replace(process=c.process._replace(started_at_us=self.started_us[c.process.pid])) for c in taken.captures)
        return self.store.write(Snapshot(taken.ref._replace(taken_at_us=self.now_us), tuple(captures)))


def build(folder: Path) -> dict[str, str]:
    """Build what must be built; the languages that cannot be used here, and why."""
    missing = {}
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        missing["c"] = "no C compiler is installed"
    if shutil.which("node") is None:
        missing["node"] = "node is not installed"
    if shutil.which("java") is None or shutil.which("javac") is None:
        missing["java"] = "java and javac are not installed"
    builds = {
        "c": [compiler or "cc", "-O1", "-Wall", "-Wextra", "-pthread", "-o", "animals", str(PROGRAMS / "animals.c")],
        "java": ["javac", "-d", ".", str(PROGRAMS / "Beans.java")],
    }
    running = [subprocess.Popen(command, cwd=folder) for language, command in builds.items() if language not in missing]
    codes = [process.wait() for process in running]
    assert not any(codes), "an animal does not build"
    return missing


def kept_out(folder: Path, missing: Mapping[str, str]) -> dict[str, str]:
    """The animals that cannot live here, and why."""
    out = {animal.name: missing[animal.language] for animal in ANIMALS if animal.language in missing}
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    if max((mount for mount in mounts if folder.resolve().is_relative_to(mount[1])), key=lambda mount: len(mount[1]))[2] == "tmpfs":
        out["page-cache"] = f"{folder} is a tmpfs, whose pages are no cache"
    huge = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not huge.exists() or "[never]" in huge.read_text():
        out["huge-pages"] = "transparent huge pages are off"
    if len(Path("/proc/swaps").read_text().splitlines()) < 2:
        out["paging"] = "there is no swap"
    return out


def _command(animal: Animal, folder: Path, rate: float) -> list[str]:
    if animal.language == "c":
        # Each with a name of its own, as services have.
        (folder / animal.name).unlink(missing_ok=True)
        os.link(folder / "animals", folder / animal.name)
        program = [str(folder / animal.name)]
    else:
        program = {
            "python": [sys.executable, "-I", "-S", str(PROGRAMS / "serpents.py")],
            "node": ["node", *_NODE.split(), str(PROGRAMS / "nodes.js")],
            "java": ["java", *_JAVA.split(), "-cp", str(folder), "Beans"],
        }[animal.language]
    return [*program, animal.name, f"{rate:g}"]


def record(location: Path, folder: Path, rate: float, animals: Collection[Animal]) -> list[Specimen]:
    """Let these animals live in `folder` for all ticks, and record them into a new store."""
    sink = _Accelerated(Store.open(str(location), write=True))
    specimens = {animal.name: Specimen(animal) for animal in animals}
    living: dict[str, Target] = {}
    random = Random(6)

    def start(animal: Animal) -> None:
        living[animal.name] = Target(argv=_command(animal, folder, rate), env={"TMPDIR": str(folder)})

    def step(animal: Animal) -> list[int]:
        """One step of an animal, and the pids that it has now."""
        target = living[animal.name]
        said, *others = target.line().split() or [b"nothing"]
        assert said == b"done", f"{animal.name} has ended"
        return [target.pid, *map(int, others)]

    try:
        with ThreadPoolExecutor(len(animals)) as pool, sink.store.recording():
            list(pool.map(start, animals))
            for tick in range(1, TICKS + 1):
                for animal in animals:
                    if tick in animal.restarts:
                        living.pop(animal.name).close()
                        start(animal)
                now: set[int] = set()
                for animal, pids in zip(animals, pool.map(step, animals), strict=True):
                    now.update(pids)
                    for pid in pids:
                        sink.started_us.setdefault(pid, BEGIN_US + tick * TICK_US - TICK_US // 2)
                        if pid not in specimens[animal.name].pids:
                            specimens[animal.name].pids.append(pid)
                if tick not in MISSED:
                    sink.now_us = BEGIN_US + tick * TICK_US + random.randint(0, LATE_US)
                    Recorder(Selection(pids=frozenset(now)), sink).take()
    finally:
        for target in living.values():
            target.close()
    return list(specimens.values())
