"""Processes that make it hard to be read: they come and go, are somebody else's, or are larger than anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import PROGRAMS, Result, Runner, Target, counters, header_names, isolated, unprivileged_prefix

from pmapdiff.capture.select import Selection, select_processes
from pmapdiff.store import Store

BASE = 0x100000000000
MIB = 1 << 20
PRIVATE_ANONYMOUS, HUGETLB = 0x22, 0x40000
SOUND = "the store is sound\n"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def ok(result: Result) -> Result:
    assert b"Traceback" not in result.stdout + result.stderr, result
    return result.ok()


def shown(run: Runner, when: object = "latest") -> dict[int, dict[str, Any]]:
    return {process["pid"]: process for process in run.here("show", when, "--format", "json").json["processes"]}


@pytest.fixture
def kept(run: Runner, target: Target) -> Iterator[None]:
    """What was in the store before is there afterwards, as it was."""
    run.here("record", "--pid", target.pid, "--label", "kept").ok()
    text = run.here("show", "kept", "--format", "smaps").ok().stdout
    yield
    assert run.here("show", "kept", "--format", "smaps").ok().stdout == text
    assert run.here("db", "check").ok().out == SOUND


@pytest.fixture
def before_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Have something happen just before the recorder reads a file, the first time that it does."""
    from pmapdiff.capture import procfs, read

    waiting: dict[str, Callable[[], object]] = {}

    def before(really: Callable[..., Any]) -> Callable[..., Any]:
        def reading(path: str, *limits: int | None) -> Any:
            if path in waiting:
                waiting.pop(path)()
            return really(path, *limits)

        return reading

    for name in ("read_bytes", "read_table"):
        monkeypatch.setattr(read, name, before(getattr(procfs, name)))
    return waiting.__setitem__


# They come and go.


def namespace() -> list[str]:
    """What starts a shell script as the first process of a pid namespace with a /proc of its own."""
    prefix = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]
    probe = subprocess.run([*prefix, "exit 0"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no pid namespace to be had: {probe.stderr.decode().strip()}")
    return prefix


@pytest.mark.usefixtures("kept")
def test_thousands_of_short_lived_processes(run: Runner) -> None:
    """Some only fork, some become another program; the recorder is the first process, and has all orphans for children."""
    script = (
        "(while :; do (:); done) & (while :; do (exec /bin/true) & /bin/true; done) &"
        ' while [ "$(cat /proc/sys/kernel/ns_last_pid)" -lt 2000 ]; do "$@" || exit; done; "$@" && echo last "$(cat /proc/sys/kernel/ns_last_pid)"'
    )
    recorder = [sys.executable, "-m", "pmapdiff", *run.arguments(["record", "--all", "--every", "1ms", "--count", 5])]
    done = subprocess.run([*namespace(), script, "sh", *recorder], capture_output=True, timeout=60, check=False)
    result = ok(Result(done.returncode, done.stdout, done.stderr))
    assert result.stderr == b""
    assert int(re.search(r"last (\d+)", result.out)[1]) > 2000  # type: ignore[index]
    store = Store.open(str(run.db))
    seen: Counter[str] = Counter()
    snapshots = [summary.ref for summary in store.snapshots()][1:]
    assert len(snapshots) == result.out.count("snapshot ") >= 5
    for ref in snapshots:
        captures = store.load(ref).captures
        assert all((capture.table is not None) == (capture.status in ("complete", "torn")) for capture in captures)
        # The two loops are always there.
        assert sum(capture.status == "complete" for capture in captures) >= 2, ref
        seen.update(capture.status for capture in captures)
    assert seen["vanished"] > 0, seen
    assert seen["denied"] == seen["timeout"] == 0, seen


@pytest.mark.usefixtures("kept")
def test_a_program_that_never_stops_becoming_another(run: Runner) -> None:
    script = 'exec sh -c "$0" "$0"'
    with subprocess.Popen(["sh", "-c", script, script], stdin=subprocess.DEVNULL) as program:
        try:
            result = ok(run.here("record", "--pid", program.pid, "--every", "1ms", "--count", 20))
        finally:
            program.kill()
    assert result.out.count("1 process") == 20
    store = Store.open(str(run.db))
    complete = 0
    for summary in store.snapshots()[1:]:
        (capture,) = store.load(summary.ref).captures
        if capture.status == "complete":
            assert capture.table is not None
            names = Counter(mapping.name for mapping in capture.table.mappings)
            # There is a moment when a program has a stack and nothing else yet.
            assert names[b"[stack]"] == 1, names
            assert names[b"[vdso]"] == (len(capture.table.mappings) > 3), names
            complete += 1
    assert complete > 1


@pytest.mark.usefixtures("kept")
def test_exec_in_the_middle_of_a_read(run: Runner, target: Target, before_reading: Callable[[str, Callable[[], object]], None]) -> None:
    """What is stored is the new program, as a process of its own; the old one is not mixed with it."""
    target.call("map", size=MIB, address=BASE)

    def become_another() -> None:
        assert target.line(b'["exec", {}]') == b"ready %d" % target.pid

    before_reading(f"/proc/{target.pid}/smaps", become_another)
    result = ok(run.here("record", "--pid", target.pid))
    assert "1 process, " in result.out
    process = shown(run)[target.pid]
    assert process["status"] == "complete"
    assert not any(mapping["start"] == f"{BASE:x}" for mapping in process["mappings"])
    (compared,) = run.here("compare", "kept", "latest", "--format", "json").json["processes"]
    assert compared["match"] == "exec"


def free_pid(target: Target) -> int:
    """The pid of a new child of the target: one that the kernel has handed out not long ago, and will not for a long time."""
    last, most = (int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("ns_last_pid", "pid_max"))
    for back in range(500, 1500):
        pid = (last - back - 300) % (most - 300) + 300
        if not Path(f"/proc/{pid}").exists():
            try:
                return int(target.call("fork", pid=pid))
            except AssertionError as error:
                pytest.skip(f"no pid can be chosen here: {error}")
    raise AssertionError("no free pid")


@pytest.mark.usefixtures("kept")
def test_a_pid_that_is_used_again(run: Runner, target: Target) -> None:
    """Forks of one process look the same in all but when they started."""
    pid = free_pid(target)
    ok(run.here("record", "--pid", pid, "--label", "one"))
    first = run.here("show", "one", "--format", "smaps").ok().stdout
    target.call("reap")
    target.call("map", size=MIB, address=BASE)
    assert target.call("fork", pid=pid) == pid
    ok(run.here("record", "--pid", pid))
    target.call("reap")
    # Another program of the same pid.
    assert target.call("fork", pid=pid, argv=[shutil.which("cat")]) == pid
    ok(run.here("record", "--pid", pid))
    target.call("reap")
    assert run.here("show", "one", "--format", "smaps").ok().stdout == first
    assert len(run.here("processes", "--pid", pid, "--format", "json").json["processes"]) == 3
    for before in ("latest~2", "latest~1"):
        processes = run.here("compare", before, "latest", "--pid", pid, "--format", "json").json["processes"]
        assert sorted(process["match"] for process in processes) == ["gone", "new"]
    (process,) = run.here("compare", "one", "latest~1", "--pid", pid, "--format", "json").json["processes"]
    assert process["match"] == "restarted"


@pytest.mark.usefixtures("kept")
def test_a_pid_that_is_used_again_while_it_is_read(run: Runner, target: Target, before_reading: Callable[[str, Callable[[], object]], None]) -> None:
    """The table is that of the later one, or of nobody; never that of the other under its name."""
    pid = free_pid(target)
    started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]

    def use_again() -> None:
        target.call("reap")
        # The clock of start times has ten milliseconds.
        while True:
            target.call("fork", pid=pid)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19] != started:
                break
            target.call("reap")
        target.call("map", size=MIB, address=BASE)

    before_reading(f"/proc/{pid}/smaps", use_again)
    ok(run.here("record", "--pid", pid))
    store = Store.open(str(run.db))
    (capture,) = store.load(store.resolve("latest")).captures
    if capture.status == "complete":
        assert str(capture.process.identity.start_ticks) != started
    else:
        assert capture.status == "vanished"
    ok(run.here("record", "--pid", pid))
    (later,) = store.load(store.resolve("latest")).captures
    assert (later.status, str(later.process.identity.start_ticks) != started) == ("complete", True)
    target.call("reap")


def test_no_kernel_thread_and_no_zombie_is_among_all(target: Target) -> None:
    zombie = target.call("zombie")
    found = {stat.pid for stat in select_processes(Selection(everything=True)).processes}
    assert target.pid in found
    assert zombie not in found
    if Path("/proc/2/comm").read_text() == "kthreadd\n":
        assert 2 not in found


# They are somebody else's.


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A folder that nobody can use; those of pytest are root's."""
    folder = Path(tempfile.mkdtemp(prefix="pmapdiff-nobody-"))
    os.chown(folder, 65534, 65534)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def private_proc(options: str) -> list[str]:
    """What starts a program with another /proc."""
    prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'mount -t proc -o {options} proc /proc && exec "$@"', "sh"]
    probe = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no /proc with {options} to be had: {probe.stderr.decode().strip()}")
    return prefix


@needs_root
@pytest.mark.parametrize("hidepid", [1, 2, 4])
def test_hidepid(anybodys: Path, target: Target, hidepid: int) -> None:
    """What is hidden is not there; our own processes are, and the message says why others may not be."""
    run = Runner(anybodys / "store" / "test.db")
    prefix = [*private_proc(f"hidepid={hidepid}"), *unprivileged_prefix()]
    home = {"HOME": str(anybodys)}
    with Target(prefix=unprivileged_prefix()) as own:
        ok(run.fresh("record", "--all", prefix=prefix, env=home))
        found = shown(run)
        assert found[own.pid]["status"] == "complete"
        assert {process["uid"] for process in found.values() if process["status"] == "complete"} == {65534}
        assert {1, target.pid}.isdisjoint(found)
        kept = run("show", "latest", "--pid", own.pid, "--format", "smaps").ok().stdout
        run.fresh("record", "--pid", target.pid, prefix=prefix, env=home).refused(f"--pid {target.pid}", "hidden", "nothing was recorded")
        assert run("show", "latest", "--pid", own.pid, "--format", "smaps").ok().stdout == kept
    assert run.here("db", "check").ok().out == SOUND


@needs_root
@pytest.mark.usefixtures("kept")
def test_a_proc_of_nothing_but_processes(run: Runner, target: Target) -> None:
    """ProcSubset=pid in a systemd unit: there is no /proc/sys and no /proc/stat."""
    result = run.fresh("record", "--pid", target.pid, prefix=private_proc("subset=pid"))
    assert "Traceback" not in result.err
    if result.code != 0:
        result.refused("/proc")


@needs_root
def test_a_process_of_our_own_that_keeps_its_secrets(anybodys: Path) -> None:
    run = Runner(anybodys / "store" / "test.db")
    home = {"HOME": str(anybodys)}
    with Target(prefix=unprivileged_prefix()) as open_, Target(prefix=unprivileged_prefix()) as secret:
        secret.call("undumpable")
        result = ok(run.fresh("record", "--pid", open_.pid, "--pid", secret.pid, prefix=unprivileged_prefix(), env=home))
        assert "1 denied" in result.out
        assert {pid: process["status"] for pid, process in shown(run).items()} == {open_.pid: "complete", secret.pid: "denied"}
        run.fresh("record", "--pid", secret.pid, prefix=unprivileged_prefix(), env=home).refused("permission", "CAP_SYS_PTRACE")
    assert run.here("db", "check").ok().out == SOUND


# They block.


@needs_root
@pytest.mark.usefixtures("kept")
def test_a_command_line_behind_a_userfaultfd(run: Runner) -> None:
    """Linux before 4.17 waited for it; now what cannot be had at once is left out. The table is there in any case."""
    with Target() as hostile, Target() as other:
        try:
            hostile.call("lose_command_line", address=BASE)
        except AssertionError as error:
            pytest.skip(f"no userfaultfd to be had: {error}")
        ok(run("record", "--pid", hostile.pid, "--pid", other.pid, "--timeout", "500ms"))
        found = shown(run)
        assert found[other.pid]["status"] == "complete"
        assert found[hostile.pid]["status"] in ("complete", "timeout")
        assert len(found[hostile.pid]["mappings"]) > 20
        assert found[hostile.pid]["command"]
        ok(run.here("processes"))
        ok(run.here("compare", "kept", "latest"))


@needs_root
@pytest.mark.usefixtures("kept")
def test_a_process_that_blocks_only_its_command_line(
    run: Runner, tmp_path: Path, before_reading: Callable[[str, Callable[[], object]], None]
) -> None:
    """It begins when the table has been read: that is kept, and the rest is given up."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs /dev/fuse to make a process that blocks its readers")
    (tmp_path / "mount").mkdir()
    with Target("blocking.py", tmp_path / "mount", "later") as hostile, Target() as other:

        def block() -> None:
            assert hostile.line() == b"blocked"

        before_reading(f"/proc/{hostile.pid}/cmdline", block)
        result = ok(run.here("record", "--pid", hostile.pid, "--pid", other.pid, "--timeout", "500ms"))
        assert "1 timed out" in result.out
        found = shown(run)
        assert found[other.pid]["status"] == "complete"
        assert (found[hostile.pid]["status"], found[hostile.pid]["command_line"]) == ("timeout", "[python]")
        assert len(found[hostile.pid]["mappings"]) > 20
        assert "command line" in ok(run.here("show", "latest", "--pid", hostile.pid)).out


# They are large.


@pytest.mark.usefixtures("kept")
def test_sixty_five_thousand_mappings(run: Runner, tmp_path: Path) -> None:
    """As many as the kernel lets a process have (vm.max_map_count), less the few that it began with."""
    most = int(Path("/proc/sys/vm/max_map_count").read_text())
    if most < 65_200:
        pytest.skip(f"vm.max_map_count is {most} here")
    argv, environment = isolated(tmp_path / "python")
    with Target(argv=[*argv, str(PROGRAMS / "many.py"), "65000"], env=environment) as program:
        with program.stopped():
            text = program.smaps()
            assert text.count(b"\nVmFlags:") > 65_000
            result = ok(run.here("record", "--pid", program.pid, "--label", "large"))
            assert program.smaps() == text, "the process was to stand still"
        assert "torn" not in result.out
    assert ok(run.here("show", "large", "--format", "smaps")).stdout == text
    assert ok(run.here("show", "large", "--top", 3)).out.count("\n") < 12


@pytest.mark.usefixtures("kept")
def test_a_name_of_six_kilobytes(run: Runner, target: Target, tmp_path: Path) -> None:
    """Longer than PATH_MAX: folder in folder, each entered by itself."""
    part = "deep in the\n" + "x" * 188
    with Target(argv=[sys.executable, "-I", "-S", str(PROGRAMS / "target.py"), "y" * 6000]) as deep:
        top = tmp_path / "top"
        deep.call("enter", folder=str(top))
        for _ in range(30):
            deep.call("enter", folder=part)
        fd = deep.call("open", path="file", create=4096)
        deep.call("map", size=4096, address=BASE, flags=1, fd=fd)
        with deep.stopped():
            ok(run.here("record", "--pid", deep.pid))
            names = header_names(deep.smaps())
        (name,) = (name for name in names if name.endswith(b"/file"))
        assert len(name) > 6000
        (process,) = run.here("show", "latest", "--format", "json").json["processes"]
        assert name.decode() in [mapping["name"] for mapping in process["mappings"]]
        assert process["command_line"].endswith("y" * 6000)
        assert name in header_names(ok(run.here("show", "latest", "--format", "smaps")).stdout)
        deep.call("write", address=BASE, pages=1)
        ok(run.here("record", "--pid", deep.pid))
        changes = run.here("compare", "latest~1", "latest", "--format", "json").json["processes"][0]["changes"]
        assert name.decode() in [change["name"] for change in changes]
        for args in (["show"], ["compare", "latest~1", "latest"], ["processes"]):
            for form in ("text", "csv"):
                assert "Traceback" not in ok(run.here(*args, "--format", form)).out
    subprocess.run(["rm", "-r", str(top)], check=True)
    assert target.pid != deep.pid


@needs_root
@pytest.mark.usefixtures("kept")
def test_huge_pages(run: Runner, target: Target) -> None:
    """hugetlb memory is in no Rss; it is in the footprint, and in what grew."""
    pool = Path("/proc/sys/vm/nr_hugepages")
    if not pool.exists():
        pytest.skip("this kernel has no huge pages")
    size_kib = int(re.search(r"Hugepagesize: +(\d+)", Path("/proc/meminfo").read_text())[1])  # type: ignore[index]
    before = int(pool.read_text())
    try:
        pool.write_text(str(before + 3))
        if int(pool.read_text()) < before + 3:
            pytest.skip("no huge pages to be had")
        ok(run.here("record", "--pid", target.pid))
        target.call("map", size=2 * size_kib << 10, address=BASE, flags=PRIVATE_ANONYMOUS | HUGETLB)
        target.call("write", address=BASE, pages=2 * size_kib // 4)
        ok(run.here("record", "--pid", target.pid))
        assert counters(target.smaps(), BASE, BASE + (2 * size_kib << 10))["Private_Hugetlb"] == 2 * size_kib
    finally:
        target.call("unmap", address=BASE, size=2 * size_kib << 10)
        pool.write_text(str(before))
    (process,) = run.here("compare", "latest~1", "latest", "--format", "json").json["processes"]
    (change,) = (change for change in process["changes"] if change["after"] and int(change["after"][0]["start"], 16) == BASE)
    assert change["change"][0] == "new"
    figures = {name: change["delta"][f"{name}_kib"] for name in ("size", "rss", "private_hugetlb", "footprint")}
    assert figures == {"size": 2 * size_kib, "rss": 0, "private_hugetlb": 2 * size_kib, "footprint": 2 * size_kib}
    assert process["totals"]["delta"]["footprint_kib"] >= 2 * size_kib
    ok(run.here("show"))
    ok(run.here("compare", "latest~1", "latest"))
