"""Real core dumps, of gdb's gcore and of the kernel, beside what /proc says of the same process."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from programs import Runner, Target

from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.formats.saved import read_saved
from pmapdiff.model import Mapping

KIB, MIB = 1 << 10, 1 << 20
READ, WRITE, EXECUTE = 1, 2, 4
SHARED, ANONYMOUS_SHARED = 0x01, 0x21
DONTDUMP = 16
BY_KERNEL = (b"[vvar]", b"[vvar_vclock]")


@pytest.fixture
def varied(target: Target, tmp_path: Path) -> Target:
    """A process with memory of every sort."""
    guarded = target.call("map", size=MIB)
    target.call("write", address=guarded, pages=256)
    target.call("protect", address=guarded + 64 * KIB, size=4 * KIB, prot=0)
    target.call("protect", address=guarded + 128 * KIB, size=4 * KIB, prot=READ)
    target.call("protect", address=guarded + 192 * KIB, size=8 * KIB, prot=READ | EXECUTE)
    target.call("map", size=MIB, prot=0)
    target.call("map", size=MIB, flags=ANONYMOUS_SHARED)
    target.call("shm", size=MIB)
    for name in ("data file", "two\nlines", "gone"):
        fd = target.call("open", path=str(tmp_path / name), create=MIB)
        target.call("write", address=target.call("map", size=256 * KIB, flags=SHARED, fd=fd, offset=64 * KIB), pages=3)
        target.call("write", address=target.call("map", size=128 * KIB, flags=2, fd=fd), pages=2)
        target.call("map", size=64 * KIB, prot=READ, flags=2, fd=fd, offset=512 * KIB)
    (tmp_path / "gone").unlink()
    target.call("map", size=64 * KIB, flags=SHARED, fd=target.call("memfd", name="memory", size=64 * KIB))
    target.call("advise", address=target.call("map", size=2 * MIB), size=2 * MIB, advice=DONTDUMP)
    target.call("thread")
    return target


def gcore(pid: int, folder: Path) -> Path:
    """What gdb dumps of a process that stands still."""
    program = shutil.which("gcore")
    if program is None:
        pytest.skip("gcore is not installed: apt-get install gdb")
    done = subprocess.run([program, "-o", str(folder / "core"), str(pid)], capture_output=True, check=False, timeout=100)
    path = folder / f"core.{pid}"
    if not path.exists() and b"ptrace" in done.stderr:
        pytest.skip("gdb may not trace processes here")
    assert path.exists(), done
    return path


def kernel_core(target: Target, folder: Path) -> Path:
    """What the kernel dumps of a process that stands still and then aborts."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_bytes().strip()
    if b"/" in pattern or b"|" in pattern or not pattern:
        pytest.skip(f"kernel.core_pattern is {pattern!r}: the kernel does not write core dumps into the working directory")
    limit = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if limit == 0:
        pytest.skip("the hard limit of core dumps (ulimit -Hc) is 0")
    resource.prlimit(target.pid, resource.RLIMIT_CORE, (limit, limit))
    os.kill(target.pid, signal.SIGABRT)
    os.kill(target.pid, signal.SIGCONT)
    # It stays a zombie, which still can be sent signals.
    ended = os.waitid(os.P_PID, target.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    if ended.si_code != os.CLD_DUMPED:
        pytest.skip("the kernel wrote no core dump")
    (path,) = folder.iterdir()
    return path


def of_proc(pid: int) -> dict[tuple[int, int], Mapping]:
    (table,) = parse_saved(Path(f"/proc/{pid}/maps").read_bytes(), "maps")
    return {(row.start, row.end): row for row in table.table.mappings}


def agree(dumped: SavedTable, expected: dict[tuple[int, int], Mapping]) -> None:
    """Every row of a dump is one of maps, with that offset and name, and with those permissions as far as the dump says them."""
    for row in dumped.table.mappings:
        known = expected[row.start, row.end]
        assert row.offset == known.offset
        assert row.name == (b"" if known.name == b"[heap]" else known.name)
        assert all(a in ("?", b) for a, b in zip(row.perms, known.perms, strict=True)), (row, known)


def test_gcore(varied: Target, tmp_path: Path, run: Runner) -> None:
    with varied.stopped():
        expected = of_proc(varied.pid)
        smaps = tmp_path / "smaps"
        smaps.write_bytes(varied.smaps())
        core = gcore(varied.pid, tmp_path)
    (dumped,) = read_saved(str(core))
    agree(dumped, expected)
    assert (dumped.pid, dumped.ppid, dumped.uid, dumped.threads) == (varied.pid, os.getpid(), os.geteuid(), 2)
    assert dumped.exe == os.fsencode(Path(f"/proc/{varied.pid}/exe").readlink())
    rows = {(row.start, row.end): row for row in dumped.table.mappings}
    left_out = [known for place, known in expected.items() if place not in rows]
    # What the kernel has for itself, and what was not to be dumped; nothing that is of a file.
    assert [row.size_kib for row in left_out if row.name not in BY_KERNEL] == [2048]
    assert any("came without permissions" in warning for warning in dumped.warnings)
    unsure = [row for row in rows.values() if row.perms == "????"]
    assert unsure
    assert all(row.is_file for row in unsure)
    # Beside the smaps of the same moment nothing else has changed.
    (compared,) = run("compare", core, smaps, "--format", "json").json["processes"]
    assert {tuple(change["change"]) for change in compared["changes"]} == {("new",)}
    assert sum(len(change["after"]) for change in compared["changes"]) == len(left_out)


def test_the_kernels(varied: Target, tmp_path: Path, run: Runner) -> None:
    folder = tmp_path / "cwd"
    varied.call("enter", folder=str(folder))
    with varied.stopped():
        expected = of_proc(varied.pid)
        smaps = tmp_path / "smaps"
        smaps.write_bytes(varied.smaps())
        command = Path(f"/proc/{varied.pid}/cmdline").read_bytes().replace(b"\0", b" ")
        core = kernel_core(varied, folder)
    (dumped,) = read_saved(str(core))
    agree(dumped, expected)
    assert [(row.start, row.end) for row in dumped.table.mappings] == list(expected)
    assert (dumped.pid, dumped.ppid, dumped.uid, dumped.threads) == (varied.pid, os.getpid(), os.geteuid(), 2)
    assert dumped.command == command[:79].removesuffix(b" ")
    assert [warning for warning in dumped.warnings if "command line" not in warning] == []
    # Only the shared or private of files that are no programs is open.
    unsure = {row.name for row in dumped.table.mappings if "?" in row.perms}
    assert {name.rpartition(b"/")[2] for name in unsure} >= {b"data file", b"two\\012lines", b"gone (deleted)"}
    assert {row.perms[:3] for row in dumped.table.mappings} >= {"rw-", "r--", "r-x", "---"}
    assert {row.perms for row in dumped.table.mappings if row.is_shared_memory} == {"rw-s"}
    (compared,) = run("compare", core, smaps, "--format", "json").json["processes"]
    assert (compared["match"], compared["changes"]) == ("same", [])


def test_as_a_user(target: Target, tmp_path: Path, run: Runner) -> None:
    with target.stopped():
        core = gcore(target.pid, tmp_path)
    address = target.call("map", size=8 * MIB)
    target.call("write", address=address, pages=10)
    smaps = tmp_path / "today.smaps"
    smaps.write_bytes(target.smaps())
    result = run("compare", core, smaps).ok()
    assert "+8.0 MiB" in result.out
    assert "only sizes are compared" in result.out
    shown = run.fresh("show", "-", stdin=core.read_bytes()).ok()
    assert f"{target.pid}" in shown.out
    imported = run("import", core, smaps, "--pid", target.pid).ok()
    assert imported.out.count("snapshot") == 2
    first, second = (process for number in (1, 2) for process in run.here("show", number, "--format", "json").json["processes"])
    assert (first["pid"], first["totals"]["rss_kib"]) == (target.pid, None)
    assert second["totals"]["rss_kib"] > 0
    assert run.here("compare", 1, 2, "--format", "json").json["processes"][0]["match"] == "same"


def test_programs_are_no_core_dumps(run: Runner) -> None:
    run("show", Path("/proc/self/exe").resolve(), store=False).refused("this is a program", "not a core dump")
