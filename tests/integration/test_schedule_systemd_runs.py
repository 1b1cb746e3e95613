"""The units at work: a real systemd runs the hardened service, which reads other users' processes and nothing more is needed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from backends import Cluster
from programs import Runner
from programs.schedulers import SYSTEMD, missing, snapshots_in, systemd_running, wait_for_snapshots

from pmapdiff.store import Store

TARGET = """
[Unit]
DefaultDependencies=no
[Service]
{}
ExecStart=/usr/bin/sleep 1000
"""
WANTED = "theirs.service harmless.service pmapdiff.timer"


@pytest.fixture
def units(tmp_path: Path) -> Path:
    reason = missing(SYSTEMD)
    if reason is None and not any(" cgroup2 " in line for line in Path("/proc/mounts").read_text().splitlines()):
        reason = "this host has no cgroup v2"
    if reason is not None:
        pytest.skip(reason)
    folder = tmp_path / "units"
    folder.mkdir()
    (folder / "theirs.service").write_text(TARGET.format("User=65534"))
    # Root may read a process of root's that may do no more than itself.
    (folder / "harmless.service").write_text(TARGET.format("CapabilityBoundingSet="))
    return folder


def test_timer_records_processes_of_others(run: Runner, units: Path) -> None:
    run("schedule", "systemd", "--every", "1s", "--name", "^(sleep|systemd)$", "--install", "--folder", units).ok()
    with systemd_running(units, WANTED):
        wait_for_snapshots({run.db: 3}, 60)
    found = run.here("show", "--format", "json").json["processes"]
    # systemd itself has capabilities that the recorder has not: without CAP_SYS_PTRACE even root may not look.
    assert {(process["command"], process["status"]) for process in found} == {("sleep", "complete"), ("systemd", "complete")}
    assert {process["exe"] for process in found} == {os.path.realpath("/usr/bin/sleep"), os.path.realpath(SYSTEMD)}
    assert {process["uid"] for process in found} == {0, 65534}
    assert run.db.stat().st_mode & 0o777 == 0o600


def test_capability_is_needed(run: Runner, units: Path) -> None:
    run("schedule", "systemd", "--every", "1s", "--all", "--install", "--folder", units).ok()
    service = units / "pmapdiff.service"
    text = service.read_text()
    assert "CAP_SYS_PTRACE" in text
    service.write_text(text.replace("CAP_SYS_PTRACE", "CAP_SYSLOG"))
    with systemd_running(units, WANTED):
        wait_for_snapshots({run.db: 1}, 60)
    found = run.here("show", "--format", "json").json["processes"]
    assert {(process["uid"], process["status"]) for process in found if process["command"] == "sleep"} == {(65534, "denied"), (0, "complete")}


def test_sync_follows_the_recorder(run: Runner, units: Path, tmp_path: Path) -> None:
    """Again and again, though only the recorder's timer is started."""
    other = tmp_path / "shared" / "all.db"
    run("schedule", "systemd", "--every", "1s", "--name", "^sleep$", "--sync", other, "--install", "--folder", units).ok()
    with systemd_running(units, WANTED):
        for _ in range(3):
            wait_for_snapshots({other: snapshots_in(other) + 1}, 60)
    recorded, brought = (run.here("--db", db, "snapshots", "--format", "json", store=False).json["snapshots"] for db in (run.db, other))
    moments = [row["taken_at"] for row in brought]
    assert moments == [row["taken_at"] for row in recorded][: len(moments)]
    found = run.here("--db", other, "show", "--format", "json", store=False).json["processes"]
    assert {(process["uid"], process["status"]) for process in found} == {(0, "complete"), (65534, "complete")}
    assert other.stat().st_mode & 0o777 == 0o600


def test_sync_with_a_server(run: Runner, units: Path, cluster: Cluster) -> None:
    """psycopg has what it needs in the sandbox."""
    # Where distributions have the socket all may go; root without its capabilities is one of them.
    Path(cluster.folder).chmod(0o755)
    with cluster.fresh() as url:
        run("schedule", "systemd", "--every", "1s", "--name", "^sleep$", "--sync", url, "--install", "--folder", units).ok()
        import psycopg

        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as watching:
            watching.execute("CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY arrived; RETURN NULL; END $$")
            watching.execute("CREATE TRIGGER tell AFTER INSERT ON delivery EXECUTE FUNCTION tell()")
            watching.execute("LISTEN arrived")
            with systemd_running(units, WANTED):
                assert [told.channel for told in watching.notifies(timeout=60, stop_after=1)] == ["arrived"]
        shared = Store.open(url)
        assert shared.refs()
        assert {(known.process.uid, known.table is not None) for known in shared.load(shared.refs()[0]).captures} == {(0, True), (65534, True)}


def test_sync_that_hangs_holds_no_snapshot_up(run: Runner, units: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://u@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=600"
        run("schedule", "systemd", "--every", "1s", "--name", "^sleep$", "--sync", url, "--install", "--folder", units).ok()
        with systemd_running(units, WANTED):
            silent.settimeout(60)
            with silent.accept()[0] as connection:
                # The recorder has no network; the sync has.
                assert len(connection.recv(8)) == 8
                wait_for_snapshots({run.db: snapshots_in(run.db) + 3}, 60)
                # It is still the same one.
                silent.settimeout(0)
                with pytest.raises(BlockingIOError):
                    silent.accept()
