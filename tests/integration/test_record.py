"""`record` on real processes: which ones, how often, until when, and what it says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import PROGRAMS, Lines, Runner, Target, unprivileged_prefix

SUMMARY = re.compile(r"snapshot \d+: [\d,]+ process(es)?, [\d,]+ mappings?(, \d+ (torn|denied|vanished|timed out))*, \d+\.\d\d s\n")


# Which processes.


def test_all(run: Runner, target: Target) -> None:
    result = run("record", "--all").ok()
    assert SUMMARY.fullmatch(result.out)
    assert result.stderr == b""
    found = run.shown()
    assert {target.pid, os.getpid()} <= found.keys()
    assert all(process["totals"]["mappings"] == len(process["mappings"]) for process in found.values() if process["status"] == "complete")


def test_pid_may_be_repeated(run: Runner, target: Target, other: Target) -> None:
    result = run.here("record", "--pid", target.pid, "-p", other.pid).ok()
    assert result.out.startswith("snapshot 1: 2 processes, ")
    assert run.shown().keys() == {target.pid, other.pid}


def test_a_pid_that_is_not_there_beside_one_that_is(run: Runner, target: Target) -> None:
    missing = 2**22 - 7
    result = run.here("record", "--pid", target.pid, "--pid", missing).ok()
    assert result.err == f"pmapdiff: no process {missing}\n"
    assert run.shown().keys() == {target.pid}


def test_name_is_searched_in_comm_and_in_the_program(run: Runner, target: Target, other: Target) -> None:
    target.call("name", name="pd-int-test")
    run.here("record", "--name", "^pd-int-").ok()
    found = run.shown()
    assert found.keys() == {target.pid}
    assert found[target.pid]["command"] == "pd-int-test"
    run.here("record", "--name", Path(sys.executable).resolve().name).ok()
    assert {target.pid, other.pid} <= run.shown().keys()


def test_user(run: Runner, target: Target) -> None:
    prefix = unprivileged_prefix()
    with Target(prefix=prefix) as theirs:
        run.here("record", "--user", str(65534 if prefix else os.getuid())).ok()
        found = run.shown()
        assert theirs.pid in found
        # Others of this user may run here too, and end while they are read.
        assert {process["uid"] for process in found.values() if process["status"] != "vanished"} == {65534 if prefix else os.getuid()}
        if prefix:
            assert target.pid not in found
            run.here("record", "--user", "nobody", "--pid", target.pid).refused(f"--pid {target.pid}", "--user")
    run.here("record", "--user", "nobody-of-that-name").refused("nobody-of-that-name")


def test_cgroup(run: Runner, target: Target) -> None:
    run.here("record", "--pid", target.pid).ok()
    cgroup = run.shown()[target.pid]["cgroup"]
    assert cgroup.startswith("/")
    run.here("record", "--cgroup", cgroup).ok()
    assert target.pid in run.shown()
    if cgroup != "/":
        run.here("record", "--cgroup", cgroup.rsplit("/", 1)[-1]).ok()
        assert target.pid in run.shown()
    run.here("record", "--cgroup", "no-such.service").refused("--cgroup no-such.service")


def test_tree(run: Runner, target: Target) -> None:
    child = target.call("fork")
    run.here("record", "--pid", target.pid).ok()
    assert run.shown().keys() == {target.pid}
    run.here("record", "--pid", target.pid, "--tree").ok()
    found = run.shown()
    assert found.keys() == {target.pid, child}
    assert found[child]["ppid"] == target.pid
    target.call("reap")


@pytest.mark.parametrize("criteria", [["--pid", "4194299"], ["--name", "no such name at all"], ["--cgroup", "no-such"], ["--user", "4294900000"]])
def test_nothing_matches(run: Runner, criteria: list[str]) -> None:
    run.here("record", *criteria).refused(" ".join(criteria), "nothing was recorded")
    assert run.snapshots() == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "--all, --pid, --name"),
        (["--name", "("], "regular expression"),
        (["--pid", "1", "--count", "3"], "--every"),
        (["--pid", "1", "--for", "3s"], "--every"),
        (["--pid", "1", "--every", "often"], "'often'"),
        (["--pid", "1", "--every", "0s"], "longer than zero"),
        (["--pid", "1", "--every", "10"], "'10'"),
        (["--pid", "1", "--every", "-1s"], "'-1s'"),
        (["--pid", "1", "--every", "1s", "--for", "9999999999w"], "too long"),
        (["--pid", "1", "--timeout", "soon"], "'soon'"),
        (["--pid", "1", "--label", "12"], "--label"),
        (["--pid", "1", "--label", "latest"], "--label"),
        (["--pid", "1", "--label", "2h ago"], "--label"),
        (["--pid", "1", "--label", " "], "--label"),
        (["--all", "--", "true"], "--all"),
    ],
)
def test_options_that_make_no_sense(bare: Runner, options: list[str], said: str) -> None:
    bare.here("record", *options).refused(said)
    assert not bare.db.exists()


@pytest.mark.parametrize("options", [["--pid", "x"], ["--pid"], ["--no-such"], ["--pid", "1", "--every", "1s", "--count", "0"]])
def test_options_that_cannot_be_read(bare: Runner, options: list[str]) -> None:
    result = bare.here("record", *options)
    assert result.code == 2
    assert "Traceback" not in result.err
    assert not bare.db.exists()


# How often.


def test_a_series_by_count(run: Runner, target: Target) -> None:
    result = run.here("record", "--pid", target.pid, "--every", "20ms", "--count", 4, "--label", "a series").ok()
    said = [line.split(":")[0] for line in result.out.splitlines()]
    # On a slow machine some come too late.
    assert [line for line in said if "skipped in all" not in line] == [f"snapshot {number}" for number in range(1, 5)]
    rows = run.snapshots()
    assert [row["label"] for row in rows] == ["a series"] * 4
    moments = [row["taken_at"] for row in rows]
    assert moments == sorted(moments)


def test_a_series_by_time(run: Runner, target: Target) -> None:
    run("record", "--pid", target.pid, "--every", "50ms", "--for", "0.3s", "--quiet").ok()
    # At 0, 50, … 300 ms, unless the machine is slow.
    assert 1 <= len(run.snapshots()) <= 7
    run("record", "--pid", target.pid, "--every", "1h30m", "--count", 1).ok()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop(run: Runner, target: Target, number: signal.Signals) -> None:
    """The snapshot that is being taken is finished, the wait for the next one is not."""
    for every in ("10ms", "1h"):
        before = len(run.snapshots())
        with run.forked("record", "--pid", target.pid, "--every", every) as recorder:
            lines = [recorder.out.next() for _ in range(3 if every == "10ms" else 1)]
            recorder.kill(number)
            ended = recorder.wait().ok()
        assert ended.stderr == b""
        assert len(run.snapshots()) - before == len(lines) + ended.stdout.count(b"snapshot ")
    assert run.here("db", "check").ok().out == "the store is sound\n"


def test_a_reader_of_its_output_that_has_seen_enough(run: Runner, target: Target) -> None:
    with run.started("record", "--pid", target.pid, "--every", "10ms", "--count", 1000) as recorder:
        assert recorder.stdout is not None
        assert recorder.stderr is not None
        recorder.stdout.readline()
        recorder.stdout.close()
        assert recorder.wait(30) == 0
        assert recorder.stderr.read() == b""


def test_a_service_that_comes_back(run: Runner) -> None:
    """A series goes on while what it looks for is away."""
    name = "pd-comes-back"
    with Target() as first:
        first.call("name", name=name)
        with run.forked("record", "--name", f"^{name}$", "--every", "10ms") as recorder:
            recorder.out.next()
            first.close()
            assert b"still looking" in recorder.err.until(b"no process matches")
            with Target() as second:
                second.call("name", name=name)
                # Some of the first may still wait in the pipe.
                while second.pid not in run.shown():
                    assert recorder.out.next()
                recorder.kill(signal.SIGTERM)
                recorder.wait().ok()
    (process,) = run.here("compare", "first", "latest", "--format", "json").json["processes"]
    assert (process["match"], process["pid_before"], process["pid"]) == ("restarted", first.pid, second.pid)


# A program of its own.


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)])
def test_the_exit_code_of_a_program(run: Runner, script: str, code: int) -> None:
    assert run("record", "--every", "10ms", "--", "sh", "-c", script).code == code
    assert run.here("db", "check").ok().out == "the store is sound\n"


def test_a_program_that_is_not_there(run: Runner, tmp_path: Path) -> None:
    run("record", "--", "no-such-program-at-all").refused("no-such-program-at-all", "No such file")
    folder = tmp_path / "not a program"
    folder.write_text("nothing")
    run("record", "--", folder).refused(str(folder), "Permission denied")


def test_a_program_is_recorded_with_its_children(run: Runner) -> None:
    recorder = [sys.executable, "-m", "pmapdiff", *run.arguments(["record", "--every", "20ms", "--"])]
    with Target(prefix=recorder, stderr=subprocess.PIPE) as program:
        assert program.process.stderr is not None
        lines = Lines(program.process.stderr.fileno())
        lines.until(rb"^snapshot \d+: 1 process,")
        child = program.call("fork")
        lines.until(rb"^snapshot \d+: 2 processes,")
        program.call("reap")
        lines.until(rb"^snapshot \d+: 1 process,")
        assert program.end() == 0
        program.process.stderr.close()
    assert any(run.shown(row["id"]).keys() == {program.pid, child} for row in run.snapshots())


def test_a_program_is_told_to_stop_too(run: Runner) -> None:
    recorder = [sys.executable, "-m", "pmapdiff", *run.arguments(["record", "--every", "20ms", "--"])]
    with Target(prefix=recorder, stderr=subprocess.PIPE) as program:
        assert program.process.stderr is not None
        Lines(program.process.stderr.fileno()).until(rb"^snapshot \d+: 1 process,")
        program.process.terminate()
        assert program.process.wait(30) == 143
        assert not Path(f"/proc/{program.pid}").exists()
        program.process.stderr.close()


def test_the_output_of_a_program_is_its_own(run: Runner) -> None:
    result = run.fresh("record", "--", "sh", "-c", "cat; echo said >&2; exit 3", stdin=b"from standard input\n")
    assert (result.code, result.stdout) == (3, b"from standard input\n")
    assert b"said\n" in result.stderr


# Permissions.


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A folder that nobody can use; those of pytest are root's."""
    folder = Path(tempfile.mkdtemp(prefix="pmapdiff-nobody-"))
    if unprivileged_prefix():
        os.chown(folder, 65534, 65534)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def test_without_permission_for_anything(anybodys: Path) -> None:
    theirs = Runner(anybodys / "store" / "test.db")
    theirs.fresh("record", "--pid", 1, prefix=unprivileged_prefix(), env={"HOME": str(anybodys)}).refused("permission", "--pid 1", "CAP_SYS_PTRACE")
    assert not theirs.db.exists() or theirs.snapshots() == []


def test_without_permission_for_most(anybodys: Path) -> None:
    prefix = unprivileged_prefix()
    theirs = Runner(anybodys / "store" / "test.db")
    with Target(prefix=prefix) as readable:
        result = theirs.fresh("record", "--all", prefix=prefix, env={"HOME": str(anybodys)}).ok()
        assert SUMMARY.fullmatch(result.out)
        denied = int(re.search(r"(\d+) denied", result.out)[1])  # type: ignore[index]
        found = theirs.shown()
        assert found[readable.pid]["status"] == "complete"
        assert found[1]["status"] == "denied"
        assert found[1]["mappings"] == []
        assert set(found[1]["totals"].values()) == {None}
        assert sum(process["status"] == "denied" for process in found.values()) == denied
        # What could not be read has no figures, and is said to be so.
        theirs.fresh("record", "--all", prefix=prefix, env={"HOME": str(anybodys)}).ok()
        (process,) = theirs("compare", 1, 2, "--pid", 1, "--format", "json").json["processes"]
        assert (process["complete"], process["changes"], process["totals"]["delta"]["rss_kib"]) == (False, [], None)
        assert "denied" in theirs("compare", 1, 2, "--pid", 1).ok().out
    if prefix:
        stat = theirs.db.stat()
        assert (stat.st_uid, stat.st_mode & 0o777, theirs.db.parent.stat().st_mode & 0o777) == (65534, 0o600, 0o700)


def test_the_store_is_its_owners_alone(run: Runner, target: Target) -> None:
    old = os.umask(0)
    try:
        run.here("record", "--pid", target.pid).ok()
    finally:
        os.umask(old)
    assert {path.name: path.stat().st_mode & 0o777 for path in run.db.parent.iterdir()} == dict.fromkeys(
        (p.name for p in run.db.parent.iterdir()), 0o600
    )
    assert run.db.parent.stat().st_mode & 0o777 == 0o700


def test_a_store_that_cannot_be_written(run: Runner, target: Target, anybodys: Path) -> None:
    if not unprivileged_prefix():
        pytest.skip("only root can be somebody else")
    theirs = Runner(Path("/proc/store.db"))
    theirs("record", "--pid", target.pid).refused("/proc/store.db")
    run.here("record", "--pid", target.pid).ok()
    shutil.copy(run.db, anybodys / "roots.db")
    os.chmod(anybodys / "roots.db", 0o644)
    roots = Runner(anybodys / "roots.db")
    with Target(prefix=unprivileged_prefix()) as readable:
        roots.fresh("record", "--pid", readable.pid, prefix=unprivileged_prefix(), env={"HOME": str(anybodys)}).refused("roots.db")


def test_programs_are_documented() -> None:
    for program in PROGRAMS.glob("*.py"):
        assert program.read_text().startswith('"""'), program


def test_one_line_records_and_prunes(run: Runner, target: Target) -> None:
    """For a crontab: the snapshot is taken, and what is too old by then goes."""
    for _ in range(3):
        run("record", "--pid", target.pid, "--keep-last", 2).ok()
    run("record", "--pid", target.pid, "--label", "kept").ok()
    assert [row["id"] for row in run("snapshots", "--format", "json").json["snapshots"]] == [2, 3, 4]
    run("record", "--pid", target.pid, "--keep-all", "soon").refused("'soon'")
