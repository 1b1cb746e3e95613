"""`record` and processes in strange states: zombies, kernel threads, an exec or an end while they are read, and those that block whoever looks."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import PROGRAMS, Runner, Target, isolated
from programs.moving import HIGH, LOW

from pmapdiff.store import Store


def test_a_zombie(run: Runner, target: Target) -> None:
    zombie = target.call("zombie")
    run.here("record", "--pid", zombie).refused(f"--pid {zombie}")
    run.here("record", "--pid", target.pid, "--tree").ok()
    assert run.shown().keys() == {target.pid}


def test_a_kernel_thread(run: Runner) -> None:
    if Path("/proc/2/comm").exists() and Path("/proc/2/comm").read_text() == "kthreadd\n":
        run.here("record", "--pid", 2).refused("--pid 2")
    else:
        pytest.skip("no kernel threads are to be seen here")


def test_a_process_whose_main_thread_has_exited(run: Runner, tmp_path: Path) -> None:
    # What other processes have mapped too changes its Pss as they come and go.
    argv, environment = isolated(tmp_path / "python")
    with Target(argv=[*argv, str(PROGRAMS / "target.py")], env=environment) as target:
        _main_thread_has_exited(run, target)


def _main_thread_has_exited(run: Runner, target: Target) -> None:
    thread = target.call("leave_main")
    assert Path(f"/proc/{target.pid}/smaps").read_bytes() == b""
    run.here("record", "--pid", target.pid).ok()
    process = run.shown()[target.pid]
    assert process["status"] == "complete"
    target.call("map", size=1 << 20, address=LOW)
    while True:
        text = target.smaps(f"/task/{thread}")
        run.here("record", "--pid", target.pid).ok()
        if text == target.smaps(f"/task/{thread}"):
            break
    assert run.here("show", "latest", "--format", "smaps").stdout == text
    (process,) = run.here("compare", "first", "latest", "--format", "json").json["processes"]
    assert process["match"] == "same"
    assert {"new"} == {change["change"][0] for change in process["changes"] if change["delta"]["size_kib"] == 1024}


def test_exec_in_a_series(run: Runner, target: Target) -> None:
    with run.forked("record", "--pid", target.pid, "--every", "10ms") as recorder:
        recorder.out.next()
        assert target.process.stdin is not None
        target.process.stdin.write(b'["exec", {}]\n')
        target.ready_again()
        target.call("map", size=3 << 20, address=LOW)
        # Two more: the first of them may have been under way.
        for _ in range(2):
            recorder.out.next()
        last = recorder.out.next()
        recorder.kill(signal.SIGTERM)
        recorder.wait().ok()
    assert b"1 process" in last
    (process,) = run.here("compare", "first", "latest", "--format", "json").json["processes"]
    assert (process["match"], process["pid"], process["pid_before"]) == ("exec", target.pid, target.pid)
    assert process["totals"]["delta"]["size_kib"] == sum(change["delta"]["size_kib"] for change in process["changes"])
    assert len(run.here("processes", "--pid", target.pid, "--format", "json").json["processes"]) == 2
    assert run.here("db", "check").ok().out == "the store is sound\n"


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "zombie"])
def test_a_process_that_ends_while_it_is_read(run: Runner, target: Target, other: Target, monkeypatch: pytest.MonkeyPatch, reaped: bool) -> None:
    """The end of the file is silent if it is a zombie, and an error once that is reaped."""
    from pmapdiff.capture import procfs, read

    really = procfs.read_table

    def read_table(path: str) -> procfs.Text:
        if path == f"/proc/{target.pid}/smaps" and target.process.returncode is None:
            os.kill(target.pid, signal.SIGKILL)
            os.waitid(os.P_PID, target.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
            if reaped:
                target.process.returncode = -9
        return really(path)

    monkeypatch.setattr(read, "read_table", read_table)
    result = run.here("record", "--pid", target.pid, "--pid", other.pid).ok()
    assert re.fullmatch(r"snapshot 1: 2 processes, \d+ mappings, 1 vanished, .*\n", result.out)
    found = run.shown()
    assert (found[target.pid]["status"], found[target.pid]["mappings"], found[other.pid]["status"]) == ("vanished", [], "complete")
    target.process.returncode = None


def test_a_process_that_never_stands_still(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapping that moves all the time is missing or there twice in a torn table; a table called complete has it once."""
    from pmapdiff.capture import read

    with Target("moving.py", 1000, 16 << 20) as program:
        run("record", "--pid", program.pid, "--every", "1ms", "--count", 40, "--quiet").ok()
        # Most are whole at the second or third try; with one try only, half of them are torn.
        monkeypatch.setattr(read, "ATTEMPTS", 1)
        for _ in range(10):
            run.here("record", "--pid", program.pid).ok()
        while " 1 torn" not in run.here("record", "--pid", program.pid).ok().out:
            pass
        with program.stopped():
            run("record", "--pid", program.pid).ok()
            statm_kib = int(Path(f"/proc/{program.pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") >> 10
    store = Store.open(str(run.db))
    seen: Counter[tuple[str, int]] = Counter()
    for summary in store.snapshots():
        (capture,) = store.load(summary.ref).captures
        assert capture.table is not None
        seen[capture.status, sum(m.start in (LOW, HIGH) for m in capture.table.mappings)] += 1
        assert (capture.status == "torn") == (capture.note is not None)
        if capture.status == "torn":
            torn = summary.ref.id
    assert {status for status, _ in seen} == {"complete", "torn"}, seen
    assert {places for status, places in seen if status == "complete"} == {1}, seen
    process = run.shown()[program.pid]
    assert process["status"] == "complete"
    assert sum(m["size_kib"] for m in process["mappings"] if m["name"] != "[vsyscall]") == statm_kib
    assert "marked torn" in run.here("show", torn).ok().out
    assert "1 torn" in run.here("snapshots", "--top", 0).ok().out
    (compared,) = run.here("compare", torn, "latest", "--format", "json").json["processes"]
    assert compared["complete"] is False


# A process that blocks whoever looks at it.


@pytest.fixture
def blocking(tmp_path: Path) -> Iterator[Target]:
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs root and /dev/fuse to make a process that blocks its readers")
    (tmp_path / "mount").mkdir()
    with Target("blocking.py", tmp_path / "mount") as program:
        yield program


def test_a_process_that_blocks_its_readers(run: Runner, target: Target, other: Target, blocking: Target) -> None:
    """It is given up; the others are recorded, and the recorder ends."""
    pids = [target.pid, blocking.pid, other.pid]
    result = run("record", *(word for pid in pids for word in ("--pid", pid)), "--timeout", "300ms").ok()
    assert re.fullmatch(r"snapshot 1: 3 processes, \d+ mappings, 1 timed out, \d\.\d\d s\n", result.out)
    found = run.shown()
    assert {pid: found[pid]["status"] for pid in pids} == {target.pid: "complete", blocking.pid: "timeout", other.pid: "complete"}
    assert found[blocking.pid]["mappings"] == []
    for option in (["--all"], ["--name", "python"], ["--user", "root"]):
        run.here("record", *option, "--timeout", "200ms").ok()
        found = run.shown()
        assert {found[pid]["status"] for pid in (target.pid, other.pid)} == {"complete"}
        assert found[blocking.pid]["status"] == "timeout"
    result = run("record", "--pid", blocking.pid, "--pid", target.pid, "--every", "10ms", "--count", 3, "--timeout", "100ms").ok()
    assert result.out.count("1 timed out") == 3


def test_nothing_but_a_process_that_blocks(run: Runner, blocking: Target) -> None:
    result = run("record", "--pid", blocking.pid, "--timeout", "200ms").ok()
    assert re.fullmatch(r"snapshot 1: 1 process, 0 mappings, 1 timed out, \d\.\d\d s\n", result.out)
    assert "timeout" in run("show", "latest").ok().out
