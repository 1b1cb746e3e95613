"""`fleet`: sweeps over many hosts, in this process and on real workers of Dask, some of which die."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import fleets
import pytest
from fleet_tasks import StuckOnce
from jsonschema import Draft202012Validator
from programs import Lines, Runner
from programs.driver import PATIENCE_S

from pmapdiff.analyse.fleet import Gathering
from pmapdiff.analyse.fleet_result import FleetLeaks, HostLeaks
from pmapdiff.fleet.source import opened
from pmapdiff.fleet.sweep import remote_client, sweep, sweep_here
from pmapdiff.fleet.tasks import Asked, LeaksTask
from pmapdiff.model.fleet import Failure
from pmapdiff.report import View, write_report
from pmapdiff.store import Store

TESTS = Path(__file__).parents[1]
WITHIN_HOURS = 90 * 24.0
DASK = [sys.executable, "-m", "dask"]
ADDRESS = r"t[cl][ps]://127\.0\.0\.1:\d+"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with a day of twelve hosts."""
    location = str(tmp_path_factory.mktemp("fleet") / "shared.db")
    Store.open(location, write=True).write_all(fleets.fleet())
    return location


@pytest.fixture(scope="module")
def lake(shared: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as a lake."""
    location = tmp_path_factory.mktemp("fleet") / "lake"
    Runner(Path(shared)).here("lake", "write", location, "--quiet").ok()
    return str(location)


@pytest.fixture(params=["store", "lake"])
def source(request: pytest.FixtureRequest) -> str:
    """The day of twelve hosts, in either."""
    found: str = request.getfixturevalue("shared" if request.param == "store" else "lake")
    return found


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(resources.files("pmapdiff.report").joinpath("schemas", f"{name}-1.json").read_text()))


def json_of(found: FleetLeaks) -> str:
    out = io.StringIO()
    write_report("fleet-leaks", "json", found, View(), out)
    return out.getvalue()


def gathered(results: Iterator[HostLeaks | Failure] | list[HostLeaks | Failure]) -> FleetLeaks:
    together = Gathering(WITHIN_HOURS)
    for result in results:
        together.add(result)
    return together.result()


@pytest.fixture(scope="module")
def alone(shared: str) -> FleetLeaks:
    """What one process finds."""
    task = LeaksTask(Asked(shared), WITHIN_HOURS)
    return gathered(sweep_here(task, opened(shared).hosts()))


# What is found.


def test_a_deploy_is_found(alone: FleetLeaks) -> None:
    orders, *others = alone.services
    assert (orders.title, orders.hosts, orders.judged, orders.growing) == ("orders", fleets.HOSTS, fleets.HOSTS, fleets.DEPLOYED)
    assert {known.host for known in orders.growers} == {fleets.Host(n).name for n in range(fleets.DEPLOYED)}
    assert not any(service.growing for service in others)
    assert sorted((service.title, service.hosts) for service in others) == [("queue", fleets.HOSTS), ("web", fleets.HOSTS)]
    assert [(known.name, known.hosts, known.growing) for known in orders.releases] == [("1.10", 8, 8), ("1.9", 4, 0)]
    onset = orders.onset
    assert onset is not None
    assert (onset.hosts, onset.dated, orders.before) == (8, 8, 0)
    assert abs(onset.since_us - fleets.DEPLOY_US) <= onset.precision_us
    assert abs(onset.until_us - fleets.DEPLOY_US) <= onset.precision_us
    assert (orders.family, orders.what, orders.what_hosts) == ("heap", "[heap]", 8)
    # Host number n grows by 2000 KiB · (1 + n / 10) in 20 minutes.
    slopes = {known.host: known.trend.slope for known in orders.growers}
    assert slopes == pytest.approx({fleets.Host(n).name: 600 * (10 + n) for n in range(fleets.DEPLOYED)}, rel=0.01)
    assert orders.growers[0].host == orders.worst[0].host == "web07"
    assert (orders.median_slope, orders.worst_slope) == pytest.approx((600 * 13.5, 600 * 17), rel=0.01)
    assert {known.host for known in orders.healthy} == {fleets.Host(n).name for n in range(fleets.DEPLOYED, fleets.HOSTS)}
    assert all(known.release == "1.9" and abs(known.grown_kib) < 132 for known in orders.healthy)


def test_all_that_grow_were_started_after_all_that_do_not(alone: FleetLeaks) -> None:
    restarted = alone.services[0].restarted_us
    assert restarted is not None
    assert 0 <= fleets.DEPLOY_US + 90_000_000 - restarted <= 120_000_000


def test_the_order_of_the_hosts_does_not_matter(shared: str, alone: FleetLeaks) -> None:
    task = LeaksTask(Asked(shared), WITHIN_HOURS)
    results = [*sweep_here(task, opened(shared).hosts()), Failure("gone1", "no"), Failure("gone0", "no")]
    for seed in range(5):
        random.Random(seed).shuffle(results)
        found = json_of(gathered(results))
        assert json.loads(found)["services"] == json.loads(json_of(alone))["services"]
        assert found == json_of(gathered(results[::-1]))


def test_a_host_is_told_of_as_by_the_command_on_one_host(shared: str, source: str) -> None:
    """Same findings, same verdicts, same numbers."""
    since_us = fleets.DEPLOY_US - 3_600_000_000
    looks: list[tuple[str, Asked, list[str]]] = [
        ("web03", Asked(source), []),
        ("web11", Asked(source, name="orders|web"), ["--name", "orders|web"]),
        ("web00", Asked(source, since_us), ["--since", "2026-11-22T17:00"]),
    ]
    for host, asked, options in looks:
        task = LeaksTask(asked, WITHIN_HOURS)
        out = io.StringIO()
        write_report("leaks", "json", task.leaks(opened(source), host), View(), out)
        done = Runner(Path(shared)).here("leaks", "--host", host, "--format", "json", *options)
        assert done.ok().out == out.getvalue()
        assert done.json["processes"]


def test_a_store_that_hosts_share(store: Store, location: str) -> None:
    """On a server as in a file."""
    store.write_all(snapshot for number in (0, 3, 9) for snapshot in fleets.Host(number).snapshots(fleets.SERVICES))
    found = gathered(sweep_here(LeaksTask(Asked(location), WITHIN_HOURS), opened(location).hosts()))
    opened.cache_clear()
    orders = found.services[0]
    assert (found.failures, orders.title, orders.hosts, [known.host for known in orders.growers]) == ((), "orders", 3, ["web03", "web00"])


@pytest.mark.parametrize("options", [(), ("--name", "^orders$", "--since", "2026-11-22T15:00"), ("--host", "web0[0-3]")])
def test_a_lake_says_the_same_as_a_store(run: Runner, shared: str, lake: str, options: tuple[str, ...]) -> None:
    times = ("2026-11-22T17:00", "2026-11-23T09:00")
    compared = options[:2] if "--since" in options else options

    def told(*words: str) -> list[str]:
        return [run.here("fleet", words[0], where, *words[1:], "--workers", 0, "--format", "json", store=False).ok().out for where in (shared, lake)]

    for of_store, of_lake in (told("leaks", *options), told("compare", *times, *compared)):
        assert of_store == of_lake
        assert json.loads(of_lake)["services"]


# The command.


@pytest.mark.parametrize("form", ["text", "json", "csv"])
@pytest.mark.parametrize("command", [("leaks",), ("compare",)])
def test_forms(run: Runner, shared: str, command: tuple[str, ...], form: str) -> None:
    times = ["2026-11-22T17:00", "2026-11-23T09:00"] if command == ("compare",) else []
    done = run.here("fleet", *command, shared, *times, "--workers", 0, "--format", form, store=False).ok()
    assert done.stderr == b""
    if form == "json":
        schema(f"fleet-{command[0]}").validate(done.json)
    assert "orders" in done.out


def test_first_screen(run: Runner, shared: str) -> None:
    """The answer is on the first screen: which service, on how many hosts, since when, with which version, the worst hosts, and what to do."""
    out = run.here("fleet", "leaks", shared, "--workers", 0, store=False).ok().out
    lines = out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    joined = " ".join(out.split())
    for said in (
        "1 of 3 services grows, on 8 hosts",
        "orders: grows on 8 of 12 hosts",
        "began on 8 of 8 hosts between 2026-11-22 18:00",
        "grows with 1.10 on 8 of 8 hosts, 1.9 on 0 of 4 hosts",
        "web07",
        "next, on web07: ",
    ):
        assert said in joined


def test_some_hosts_and_times(run: Runner, shared: str) -> None:
    def services(*options: object) -> dict[str, Any]:
        found = run.here("fleet", "leaks", shared, "--workers", 0, "--format", "json", *options, store=False).json
        return {service["service"]: service for service in found["services"]}

    assert services("--host", "web00", "--host", "web1*")["orders"]["hosts"] == 3
    assert list(services("--name", "^que")) == ["queue"]
    before = services("--until", "2026-11-22T17:00")
    assert before["orders"]["hosts_growing"] == 0
    since = services("--since", "2026-11-22T18:05")
    assert (since["orders"]["hosts_growing"], since["orders"]["hosts_before"], since["orders"]["onset"]) == (8, 8, None)
    assert services("--family", "stack")["orders"]["hosts_growing"] == 0
    assert services("--within", "1h")["orders"]["hosts_urgent"] == 0


def test_exit_codes(run: Runner, shared: str) -> None:
    assert run.here("fleet", "leaks", shared, "--workers", 0, "--exit-code", store=False).code == 1
    assert run.here("fleet", "leaks", shared, "--workers", 0, "--exit-code", "--within", "1h", store=False).code == 0
    assert run.here("fleet", "leaks", shared, "--workers", 0, "--exit-code", "--name", "web", store=False).code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["leaks", "--host", "db*"], "there is no host 'db*'"),
        (["leaks", "--since", "first"], "--since first: of many hosts a time is asked for"),
        (["leaks", "--until", "12"], "--until 12: of many hosts a time is asked for"),
        (["leaks", "--family", "haep"], "--family haep: one of heap"),
        (["leaks", "--name", "("], "no regular expression"),
        (["leaks", "--format", "markdown"], "a fleet is written as text"),
        (["leaks", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "give one of them"),
        (["leaks", "--buckets", "/nowhere"], "--buckets /nowhere"),
        (["compare", "latest", "now"], "T1 latest: of many hosts a time is asked for"),
    ],
)
def test_what_is_refused(run: Runner, shared: str, options: list[str], said: str) -> None:
    command, *rest = options
    run.here("fleet", command, shared, *rest, store=False).refused(said)


def test_a_scheduler_that_is_not_there(run: Runner, shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmapdiff.fleet.sweep.PATIENCE_S", 0.2)
    run.here("fleet", "leaks", shared, "--scheduler", "tcp://127.0.0.1:1", store=False).refused("no scheduler that answers")
    run.here("fleet", "leaks", shared, "--scheduler", "nonsense://x", store=False).refused("--scheduler nonsense://x")


# Hosts that cannot be read.


@pytest.fixture
def damaged(shared: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The hosts that cannot be read."""
    source = opened(shared)
    hosts = set[str]()

    def failing(method: Any) -> Any:
        def read(self: Any, host: str, *rest: Any) -> Any:
            if host in hosts:
                raise ValueError("not a \x1b[31mtable")
            return method(self, host, *rest)

        return read

    for name in ("series", "load"):
        monkeypatch.setattr(type(source), name, failing(getattr(type(source), name)))
    return hosts


def test_a_host_that_cannot_be_read_is_told(run: Runner, shared: str, damaged: set[str]) -> None:
    damaged.update(("web02", "web11"))
    done = run.here("fleet", "leaks", shared, "--workers", 0, store=False).ok()
    assert "orders: grows on 7 of 10 hosts" in done.out
    assert "note: web02 could not be read: ValueError: not a \\x1b[31mtable" in " ".join(done.out.split())
    done = run.here("fleet", "leaks", shared, "--workers", 0, "--format", "json", store=False)
    assert [failure["host"] for failure in done.json["failures"]] == ["web02", "web11"]
    assert done.err.splitlines() == [f"pmapdiff: {host} could not be read: ValueError: not a \\x1b[31mtable" for host in ("web02", "web11")]
    done = run.here("fleet", "compare", shared, "2026-11-22T17:00", "2026-11-23T09:00", "--workers", 0, "--format", "json", store=False)
    assert [failure["host"] for failure in done.json["failures"]] == ["web02", "web11"]


def test_a_damaged_file_of_a_lake(run: Runner, lake: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(lake, tmp_path / "lake"))
    victim = min(path for path in copy.rglob("*web04*/**/*") if path.is_file() and "mappings" in str(path))
    victim.write_bytes(victim.read_bytes()[:-100])
    found = run.here("fleet", "leaks", copy, "--workers", 0, "--format", "json", store=False)
    (failure,) = found.json["failures"]
    assert failure["host"] == "web04"
    assert "is damaged" in failure["reason"]
    orders = found.json["services"][0]
    assert (orders["hosts"], orders["hosts_growing"]) == (11, 7)


def test_if_none_can_be_read_that_is_an_error(run: Runner, shared: str, damaged: set[str]) -> None:
    damaged.update(opened(shared).hosts())
    run.here("fleet", "leaks", shared, "--workers", 0, store=False).refused("none of 12 hosts could be read: web00: ValueError")


def test_a_host_is_tried_once_more() -> None:
    tried: list[str] = []

    def flaky(host: str) -> str:
        tried.append(host)
        if tried.count(host) == 1 and host == "b":
            raise OSError("the network was slow")
        return host

    assert list(sweep_here(flaky, ["a", "b", "c"])) == ["a", "b", "c"]
    assert tried == ["a", "b", "b", "c"]


# Compared.


def test_what_a_deploy_changed(run: Runner, shared: str) -> None:
    found = run.here("fleet", "compare", shared, "2026-11-22T17:00", "2026-11-23T09:00", "--workers", 0, "--format", "json", store=False).json
    orders = found["services"][0]
    assert (orders["service"], orders["hosts"], orders["hosts_released"], orders["hosts_restarted"]) == ("orders", 12, 8, 8)
    assert (orders["hosts_grew"], orders["processes_before"], orders["processes_after"]) == (8, 12, 12)
    assert [known["host"] for known in orders["worst"]] == ["web07", "web06", "web05", "web04", "web03"]
    assert (orders["worst"][0]["releases_before"], orders["worst"][0]["releases_after"]) == (["1.9"], ["1.10"])
    assert orders["families"][0]["family"] == "heap"
    for service in found["services"]:
        assert sum(row["delta_kib"] for row in service["families"]) == service["footprint_kib"]["total"]
    # To the last snapshots at or before the times, the same that `show` would take.
    steps = [max(s for s in range(fleets.STEPS) if fleets.Host(7).moment_us(s) <= at) for at in (_us(17), _us(33))]
    before, after = (fleets.ORDERS.course(fleets.Host(7), step) for step in steps)
    assert orders["worst"][0]["footprint_kib"]["delta"] == after - before


def _us(hour: int) -> int:
    return fleets.BEGIN_US + (hour - 10) * 3_600_000_000


def test_hosts_without_snapshots_at_these_times(run: Runner, shared: str) -> None:
    found = run.here("fleet", "compare", shared, "2026-11-20", "2026-11-23T09:00", "--workers", 0, "--format", "json", store=False).json
    assert (len(found["silent"]), found["services"]) == (12, [])
    found = run.here("fleet", "compare", shared, "2026-11-24T09:00", "2026-11-24T10:00", "--workers", 0, "--format", "json", store=False).json
    assert (len(found["stale"]), found["services"]) == (12, [])
    back = run.here("fleet", "compare", shared, "2026-11-23T09:00", "2026-11-22T17:00", "--workers", 0, "--format", "json", store=False).json
    there = run.here("fleet", "compare", shared, "2026-11-22T17:00", "2026-11-23T09:00", "--workers", 0, "--format", "json", store=False).json
    assert {s["service"]: -s["footprint_kib"]["total"] for s in back["services"]} == {
        s["service"]: s["footprint_kib"]["total"] for s in there["services"]
    }


# On workers.


def run_lines(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """A program whose standard error is read line by line; it finds what tests give to workers."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=folder, env=environment, start_new_session=True)


def address_in(program: subprocess.Popen[bytes], what: bytes) -> str:
    assert program.stderr is not None
    line = Lines(program.stderr.fileno()).until(what)
    return line.decode().split()[-1]


@contextlib.contextmanager
def cluster(folder: Path, workers: list[list[str]]) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and these workers, each a process of its own."""
    with contextlib.ExitStack() as stack:

        def start(command: list[str]) -> subprocess.Popen[bytes]:
            program = run_lines(command, folder)
            stack.callback(_end, program)
            return program

        scheduler = start([*DASK, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"])
        address = address_in(scheduler, rb"Scheduler at: +tcp")
        programs = [start([*worker, address, *WORKER]) for worker in workers]
        for program in programs:
            address_in(program, rb"Registered to: ")
        yield address, programs


WORKER = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", "."]


def _end(program: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.wait()
    assert program.stderr is not None
    program.stderr.close()


def test_a_worker_that_is_killed_changes_nothing(lake: str, alone: FleetLeaks, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "who")
    os.mkfifo(tmp_path / "never")
    task = StuckOnce(LeaksTask(Asked(lake), WITHIN_HOURS), "web05", str(tmp_path))
    with cluster(tmp_path, [[*DASK, "worker"], [*DASK, "worker"]]) as (address, workers), remote_client(address) as client:
        results = sweep(client, task, opened(lake).hosts())
        found = [next(results)]
        with open(tmp_path / "who") as who:
            stuck = int(who.read())
        (victim,) = [worker for worker in workers if worker.pid == stuck]
        os.kill(victim.pid, signal.SIGKILL)
        found += results
        assert len({result.host for result in found}) == fleets.HOSTS
        assert json_of(gathered(found)) == json_of(alone)
        assert victim.wait() == -signal.SIGKILL


def test_the_command_on_a_cluster(run: Runner, lake: str, alone: FleetLeaks, tmp_path: Path) -> None:
    with cluster(tmp_path, [[*DASK, "worker"], [*DASK, "worker"]]) as (address, _):
        done = run.fresh("fleet", "leaks", lake, "--scheduler", address, "--format", "json", store=False).ok()
        assert (done.out, done.stderr) == (json_of(alone), b"")
        times = ("2026-11-22T17:00", "2026-11-23T09:00")
        there = run.fresh("fleet", "compare", lake, *times, "--scheduler", address, "--format", "json", store=False).ok()
        assert there.out == run.here("fleet", "compare", lake, *times, "--workers", 0, "--format", "json", store=False).ok().out


OLD_WORKER = "import pmapdiff; pmapdiff.__version__ = '0.0.1'; import sys; from distributed.cli.dask_worker import main; main(sys.argv[1:])"


def test_workers_of_another_version_are_refused(run: Runner, shared: str, tmp_path: Path) -> None:
    with cluster(tmp_path, [[sys.executable, "-c", OLD_WORKER]]) as (address, _):
        done = run.fresh("fleet", "leaks", shared, "--scheduler", address, store=False)
        done.refused("a worker has pmapdiff 0.0.1, and this is ")


def test_local_workers(run: Runner, shared: str, alone: FleetLeaks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They find the same, say nothing, and leave nothing behind."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with socket.socket() as taken:
        # The port on which Dask shows what it does, if nobody has it yet.
        with contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        done = run.fresh("fleet", "leaks", shared, "--workers", 2, "--format", "json", store=False).ok()
    assert (done.out, done.stderr) == (json_of(alone), b"")
    assert list(temporary.iterdir()) == []


INTERRUPTED = """
import signal, sys
from fleet_tasks import StuckOnce
from pmapdiff.fleet.source import opened
from pmapdiff.fleet.sweep import local_client, sweep
from pmapdiff.fleet.tasks import Asked, LeaksTask
if __name__ == "__main__":
    location, folder = sys.argv[1:]
    # What a shell starts in the background ignores interrupts, and so would this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with local_client(2) as client:
            list(sweep(client, StuckOnce(LeaksTask(Asked(location), 1.0), "web05", folder), opened(location).hosts()))
    except KeyboardInterrupt:
        sys.exit(130)
"""


def wait_for_group(group: int) -> None:
    """Wait until all processes of a group have ended, as those that ended before them may just be about to (proc_pid_stat(5), field 5)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pgrp = int(stat.read_text().rpartition(")")[2].split()[2])
            if pgrp == group:
                ended = os.pidfd_open(int(stat.parent.name))
                try:
                    assert select.select([ended], [], [], PATIENCE_S)[0], stat.read_text()
                finally:
                    os.close(ended)


def test_an_interrupt_ends_the_local_workers(shared: str, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    os.mkfifo(tmp_path / "who")
    os.mkfifo(tmp_path / "never")
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED)
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "TMPDIR": str(temporary)}
    program = subprocess.Popen(
        [sys.executable, script, shared, tmp_path], env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        with open(tmp_path / "who") as who:
            who.read()
        os.killpg(program.pid, signal.SIGINT)
        out, _ = program.communicate(timeout=60)
        assert (program.returncode, out) == (130, b"")
        wait_for_group(program.pid)
        assert list(temporary.iterdir()) == []
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
