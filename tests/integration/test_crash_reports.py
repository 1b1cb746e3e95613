"""Reports of real programs that crashed, or were asked, while their maps are known."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import PROGRAMS, Runner, Target

from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.model import Mapping


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    subprocess.run([tool("javac"), "-d", str(folder), str(PROGRAMS / "Zoo.java")], check=True)
    return folder


@pytest.fixture
def jvm(classes: Path, tmp_path: Path) -> Iterator[Target]:
    """A JVM that waits for its end; if it crashes, it says so in a file."""
    options = ["-Xmx32m", "-XX:TieredStopAtLevel=1", f"-XX:ErrorFile={tmp_path}/hs_err.log", "-XX:-CreateCoredumpOnCrash"]
    with Target(argv=[tool("java"), *options, "-cp", str(classes), "Zoo"]) as target:
        yield target


def maps(pid: int) -> tuple[Mapping, ...]:
    (table,) = parse_saved(Path(f"/proc/{pid}/maps").read_bytes(), "maps", "maps")
    return table.table.mappings


def jcmd(pid: int, command: str) -> bytes:
    return subprocess.run([tool("jcmd"), str(pid), command], capture_output=True, check=True, timeout=60).stdout


def check(found: SavedTable, before: tuple[Mapping, ...], after: tuple[Mapping, ...], grown: int = 0) -> None:
    """Judge a table made while the process went on: what was there before and after must be in it (but for `grown` rows), and not much else."""
    rows = {mapping[:7] for mapping in found.table.mappings}
    lasting = {mapping[:7] for mapping in before} & {mapping[:7] for mapping in after}
    assert len(lasting) > 50
    assert len(lasting - rows) <= grown
    assert len(rows - lasting) < 20
    assert (found.comm, found.partial) == (b"java", None)
    assert found.command is not None
    assert found.command.startswith(b"java\0")
    assert found.command.endswith(b"\0Zoo\0")
    assert not [warning for warning in found.warnings if "left out" in warning]


def test_vm_info_of_a_jvm(jvm: Target) -> None:
    jcmd(jvm.pid, "VM.version")
    before = maps(jvm.pid)
    report = jcmd(jvm.pid, "VM.info")
    (found,) = parse_saved(report, "f")
    assert found.pid == jvm.pid
    check(found, before, maps(jvm.pid))


def test_system_map_of_a_jvm(jvm: Target) -> None:
    if b"System.map" not in jcmd(jvm.pid, "help"):
        pytest.skip("this java has no System.map")
    before = maps(jvm.pid)
    (found,) = parse_saved(jcmd(jvm.pid, "System.map"), "f")
    lasting = {mapping[:3] for mapping in before} & {mapping[:3] for mapping in maps(jvm.pid)}
    # JDK 24 and 25 leave out the last one.
    assert len(lasting - {mapping[:3] for mapping in found.table.mappings}) <= 1


def test_a_jvm_that_crashes(run: Runner, jvm: Target, tmp_path: Path) -> None:
    with jvm.stopped():
        before = maps(jvm.pid)
        os.kill(jvm.pid, signal.SIGSEGV)
    assert jvm.process.wait(timeout=60) != 0
    report = tmp_path / "hs_err.log"
    (found,) = parse_saved(report.read_bytes(), "f")
    assert found.pid == jvm.pid
    # Whatever writes the report needs memory, too.
    check(found, before, before, grown=5)
    assert found.taken_at_us is not None
    assert abs(found.taken_at_us - report.stat().st_mtime_ns // 1000) < 60_000_000
    (shown,) = run("show", report, "--format", "json", store=False).json["processes"]
    assert (shown["pid"], len(shown["mappings"])) == (jvm.pid, len(found.table.mappings))
