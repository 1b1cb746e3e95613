"""A real cron daemon runs what `schedule cron --install` put in, twice, with a sync that works and with one that hangs.

It is started with the session (conftest.py), because its minutes cannot be made shorter.
"""

from __future__ import annotations

import pytest
from programs.schedulers import CronDaemon, wait_for_snapshots

pytestmark = pytest.mark.timeout(300)


def test_cron_daemon_captures_twice(cron_daemon: CronDaemon) -> None:
    own, system = cron_daemon.own, cron_daemon.system
    # At most two minutes from the start, one more if the daemon took its time. That of the system syncs with a server that says nothing.
    wait_for_snapshots({own.db: 2, system.db: 2}, 200)
    for run in (own, system):
        rows = run.here("snapshots", "--format", "json").json["snapshots"]
        assert all(row["processes"] == 1 for row in rows), rows
        (process,) = run.here("show", "--format", "json").json["processes"]
        assert (process["pid"], process["status"], process["uid"]) == (cron_daemon.target.pid, "complete", 0)
        run.here("compare", "latest~1", "latest").ok()


def test_cron_daemon_syncs(cron_daemon: CronDaemon) -> None:
    """After the first snapshot, or the second if the daemon was stopped in between; at the latest half a minute later."""
    own, shared = cron_daemon.own, cron_daemon.shared
    wait_for_snapshots({own.db: 1, shared.db: 1}, 200)
    first, brought = (run.here("snapshots", "--format", "json").json["snapshots"][0] for run in (own, shared))
    assert (brought["taken_at"], brought["host"]) == (first["taken_at"], first["host"])
    (process,) = shared.here("show", "--format", "json").json["processes"]
    assert (process["pid"], process["status"]) == (cron_daemon.target.pid, "complete")


def test_sync_that_hangs_was_started(cron_daemon: CronDaemon) -> None:
    """It has asked, and nobody answers; the snapshots that came all the same are counted above."""
    cron_daemon.silent.settimeout(200)
    with cron_daemon.silent.accept()[0] as connection:
        assert len(connection.recv(8)) == 8


def test_entries_are_shown_and_removed(cron_daemon: CronDaemon) -> None:
    for run, form in ((cron_daemon.own, "--own"), (cron_daemon.system, "--system")):
        shown = cron_daemon.inside(run, "schedule", "cron", form, "--show").ok()
        assert shown.out.count("\n") == 1
        assert str(run.db) in shown.out
    assert cron_daemon.inside(cron_daemon.own, "schedule", "cron", "--remove").ok().out == "removed from your crontab\n"
    cron_daemon.inside(cron_daemon.own, "schedule", "cron", "--show").refused("no entry")
    cron_daemon.inside(cron_daemon.system, "schedule", "cron", "--system", "--show").ok()
