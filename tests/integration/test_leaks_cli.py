"""`leaks` and `check` on the command line: what they look at, what they hand on, and how they exit. What is found is made by hand."""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

import leak_results as made
import pytest
from jsonschema import Draft202012Validator
from programs import Runner
from strategies import make

import pmapdiff.analyse.leaks
from pmapdiff.align import History
from pmapdiff.analyse.result import Leaks, Verdict
from pmapdiff.model import Capture, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.store import Store
from pmapdiff.units import format_moment_utc

SINCE_US, MINUTE_US = made.SINCE_US, made.MINUTE_US


def capture(name: bytes, pid: int, kib: int) -> Capture:
    identity = ProcessIdentity("boot", pid, pid, "key")
    table = MappingTable((make(0x10000000, 0x20000000, name=b"[heap]", rss=kib, anonymous=kib, private_dirty=kib),))
    return Capture(ProcessInfo(identity, name, name + b"\0", b"/usr/bin/" + name), Status.COMPLETE, table)


@pytest.fixture
def recorded(run: Runner) -> Runner:
    """A worker that grows and a web server that does not, five minutes long."""
    store = Store.open(str(run.db), write=True)
    for n in range(5):
        captures = (capture(b"worker", 1100, 1024 * n), capture(b"web", 1200, 512))
        store.write(Snapshot(SnapshotRef(None, SINCE_US + n * MINUTE_US, "web1"), captures))
    return run


@dataclass
class Judge:
    """Stands for find_leaks: keeps what it is given, and returns what it is told to."""

    result: Leaks = field(default_factory=made.many)
    histories: list[History] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)

    def find_leaks(
        self, history: History, *, horizon_hours: float = 2160.0, family: str | None = None, kills: Sequence[Any] = (), pids: Collection[int] = ()
    ) -> Leaks:
        self.histories.append(history)
        self.given = {"horizon_hours": horizon_hours, "family": family, "kills": list(kills), "pids": sorted(pids)}
        return replace(self.result, horizon_hours=horizon_hours)

    @property
    def looked_at(self) -> tuple[list[str], int]:
        """Names of the services, and the number of snapshots."""
        return sorted(service.process.name for service in self.histories[-1].services), len(self.histories[-1].snapshots)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    found = Judge()
    signature = inspect.signature(pmapdiff.analyse.leaks.find_leaks)
    assert list(signature.parameters) == list(inspect.signature(found.find_leaks).parameters)
    monkeypatch.setattr(pmapdiff.analyse.leaks, "find_leaks", found.find_leaks)
    return found


@pytest.mark.parametrize(
    ("options", "names", "snapshots"),
    [
        ([], ["web", "worker"], 5),
        (["--all"], ["web", "worker"], 5),
        (["--pid", 1100], ["worker"], 5),
        (["--pid", 1100, "--pid", 1200], ["web", "worker"], 5),
        (["--name", "^we"], ["web"], 5),
        (["--since", 2, "--until", "#4"], ["web", "worker"], 3),
        (["--until", "first"], ["web", "worker"], 1),
    ],
)
@pytest.mark.parametrize("command", ["leaks", "check"])
def test_what_is_looked_at(recorded: Runner, judge: Judge, command: str, options: list[object], names: list[str], snapshots: int) -> None:
    # check looks at everything unless told otherwise, and has no word for it.
    assert recorded.here(command, *(option for option in options if command == "leaks" or option != "--all")).code in (0, 1)
    assert judge.looked_at == (names, snapshots)
    pids = [option for option in options if option in (1100, 1200)]
    assert judge.given == {"horizon_hours": 2160.0, "family": None, "kills": [], "pids": pids}


@pytest.mark.parametrize("command", ["leaks", "check"])
def test_what_is_handed_on(recorded: Runner, judge: Judge, command: str) -> None:
    recorded.here(command, "--family", "heap", "--within", "36h")
    assert judge.given == {"horizon_hours": 36.0, "family": "heap", "kills": [], "pids": []}
    recorded.here(command, "--family", "mapping-count")
    assert judge.given["family"] == "mapping-count"


@pytest.mark.parametrize("urgent", [True, False])
def test_exit_codes(recorded: Runner, judge: Judge, urgent: bool) -> None:
    judge.result = made.leaks(made.suspect(findings=[replace(made.heap(), urgent=urgent)]), made.suspect(b"idle", 2, Verdict.STABLE))
    assert recorded.here("leaks").code == 0
    done = recorded.here("leaks", "--exit-code")
    assert (done.code, done.stderr) == (int(urgent), b"")
    assert done.out == recorded.here("leaks").out
    for limit, code in ((None, int(urgent)), ("10M/h", 1), ("100M/h", 0)):
        done = recorded.here("check", *([] if limit is None else ["--max-growth", limit]))
        assert (done.code, done.stderr, done.out.count("\n")) == (code, b"", 1)
        assert done.out.startswith("PMAPDIFF WARNING: " if code else "PMAPDIFF OK: ")


@pytest.mark.parametrize(("form", "begins"), [("text", "148 services"), ("json", "{"), ("csv", "since,"), ("markdown", "**148 services")])
def test_forms(recorded: Runner, judge: Judge, form: str, begins: str) -> None:
    assert judge
    assert recorded.here("leaks", "--format", form).ok().out.startswith(begins)
    assert "leaks is written as text, csv, json, markdown" in recorded.here("leaks", "--format", "nagios").refused().err


def test_a_log_of_the_kernel_says_until_when(recorded: Runner, judge: Judge) -> None:
    log = recorded.db.parent / "kern.log"
    moment = format_moment_utc(SINCE_US + 2 * MINUTE_US + MINUTE_US // 2)[:-1]
    killed = "Out of memory: Killed process 1100 (worker) total-vm:2097152kB, anon-rss:1048576kB, file-rss:4kB, shmem-rss:0kB, UID:1000"
    log.write_text(f"{moment}+00:00 web1 kernel: [ 7200.1] {killed} pgtables:2136kB oom_score_adj:0\n")
    recorded.here("leaks", "--oom-log", log).ok()
    assert judge.looked_at == (["web", "worker"], 3), "not what came after"
    (kill,) = judge.given["kills"]
    assert (kill.pid, kill.anon_rss_kib) == (1100, 1048576)
    recorded.here("leaks", "--oom-log", log, "--until", "latest").ok()
    assert judge.looked_at[1] == 5, "as it is told"
    log.write_text(killed)
    recorded.here("leaks", "--oom-log", log).ok()
    assert judge.looked_at[1] == 5, "the log says no time"
    log.write_text("nothing\n")
    recorded.here("leaks", "--oom-log", log).refused("kern.log", "out-of-memory")
    recorded.here("leaks", "--oom-log", log.with_name("none")).refused("none", "No such file")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["leaks", "--all", "--pid", 1], "--all and --pid contradict each other"),
        (["leaks", "--all", "--name", "x"], "--all and --name contradict each other"),
        (["leaks", "--family", "haep"], "--family haep: one of heap, malloc-arena"),
        (["check", "--family", "haep"], "mapping-count"),
        (["leaks", "--name", "nothing-like-it"], "`pmapdiff processes` lists"),
        (["check", "--pid", 7], "--pid 7"),
        (["leaks", "--since", "2031-01-01"], "`pmapdiff snapshots` says which times"),
        (["check", "--name", "worker", "--until", "2001-01-01"], "`pmapdiff snapshots` says which times"),
        (["leaks", "--within", "soon"], "'soon' is no duration"),
        (["check", "--max-growth", "10M"], "write 10M/h"),
        (["check", "--max-mappings-growth", "10M/h"], "write 100/h"),
        (["leaks", "--name", "("], "no regular expression"),
        (["leaks", "--buckets", "/nowhere"], "--buckets /nowhere"),
    ],
)
def test_what_is_refused(recorded: Runner, judge: Judge, options: list[object], said: str) -> None:
    recorded.here(*options).refused(said)
    assert not judge.histories


@pytest.mark.parametrize("command", ["leaks", "check"])
def test_an_empty_store(run: Runner, command: str) -> None:
    run.here(command).refused("there is no snapshot in the store", "pmapdiff record")


@pytest.fixture
def growing(run: Runner) -> Runner:
    """A worker whose heap grows by 2 MiB every ten minutes, now more, now less, and a web server that stays as it is."""
    store = Store.open(str(run.db), write=True)
    for n in range(24):
        captures = (capture(b"worker", 1100, 4096 + 2048 * n + 4 * (7 * n % 5)), capture(b"web", 1200, 512))
        store.write(Snapshot(SnapshotRef(None, SINCE_US + 10 * n * MINUTE_US, "web1", mem_total_kib=made.GIB), captures))
    return run


def test_from_the_store_to_the_answer(growing: Runner) -> None:
    found = growing.here("leaks", "--format", "json").json
    Draft202012Validator(json.loads(resources.files("pmapdiff.report").joinpath("schemas", "leaks-1.json").read_text())).validate(found)
    worker, web = found["processes"]
    assert (worker["command"], worker["verdict"], web["command"], web["verdict"]) == ("worker", "growing", "web", "stable")
    (finding,) = worker["findings"]
    assert (finding["family"], finding["name"], finding["urgent"]) == ("heap", "[heap]", True)
    assert finding["slope_low"] <= finding["slope_kib_per_hour"] <= finding["slope_high"]
    assert finding["slope_kib_per_hour"] == pytest.approx(12 * 1024, rel=0.02)
    lines = growing.here("leaks").ok().out.splitlines()
    assert "1 growing (1 full within 90 d)" in " ".join(" ".join(lines).split())
    assert next(line for line in lines if line.startswith("growing")).endswith("[heap]  worker 1100")
    assert "growing: [heap] +12." in growing.here("leaks", "--name", "worker").ok().out
    shown = growing.here("history", finding["region_ids"][0]).ok().out
    assert "[heap]" in shown, "the id is one that history knows"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 1),
        (["--within", "1h"], 0),
        (["--max-growth", "10M/h"], 1),
        (["--max-growth", "10M/h", "--family", "heap"], 1),
        (["--max-growth", "10M/h", "--family", "anon"], 0),
        (["--max-growth", "10M/h", "--name", "web"], 0),
        (["--max-growth", "20M/h"], 0),
        (["--max-mappings-growth", "1/h"], 0),
        (["--max-growth", "10M/h", "--until", "2"], 0),
    ],
)
def test_check_by_itself(growing: Runner, options: list[str], code: int) -> None:
    done = growing.here("check", *options)
    assert (done.code, done.stderr) == (code, b"")
    assert done.out.startswith("PMAPDIFF WARNING: 1 of " if code else "PMAPDIFF OK: ")
    assert ("too few snapshots to tell" in done.out) == ("--until" in options)


def test_a_program_that_asks_gets_a_line_and_a_code(growing: Runner) -> None:
    done = growing("check", "--max-growth", "10M/h")
    assert (done.code, done.stderr, done.out.count("\n")) == (1, b"", 1)
    done = growing("check", "--max-growth", "10M/h", "--name", "nobody")
    assert done.refused("--name nobody").stdout == b""
