"""The units at work: a real systemd runs the hardened service, which reads other users' processes and nothing more is needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from programs import Runner
from programs.schedulers import SYSTEMD, missing, systemd_running, wait_for_snapshots

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
