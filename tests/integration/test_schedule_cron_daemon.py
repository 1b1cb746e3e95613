"""A real cron daemon runs what `schedule cron --install` put in, twice.

It is started with the session (conftest.py), because its minutes cannot be made shorter.
"""

from __future__ import annotations

import pytest
from programs.schedulers import CronDaemon, wait_for_snapshots

pytestmark = pytest.mark.timeout(300)


def test_cron_daemon_captures_twice(cron_daemon: CronDaemon) -> None:
    own, system = cron_daemon.own, cron_daemon.system
    # At most two minutes from the start, one more if the daemon took its time.
    wait_for_snapshots({own.db: 2, system.db: 2}, 200)
    for run in (own, system):
        rows = run.here("snapshots", "--format", "json").json["snapshots"]
        assert all(row["processes"] == 1 for row in rows), rows
        (process,) = run.here("show", "--format", "json").json["processes"]
        assert (process["pid"], process["status"], process["uid"]) == (cron_daemon.target.pid, "complete", 0)
        run.here("compare", "latest~1", "latest").ok()


def test_entries_are_shown_and_removed(cron_daemon: CronDaemon) -> None:
    for run, form in ((cron_daemon.own, "--own"), (cron_daemon.system, "--system")):
        shown = cron_daemon.inside(run, "schedule", "cron", form, "--show").ok()
        assert shown.out.count("\n") == 1
        assert str(run.db) in shown.out
    assert cron_daemon.inside(cron_daemon.own, "schedule", "cron", "--remove").ok().out == "removed from your crontab\n"
    cron_daemon.inside(cron_daemon.own, "schedule", "cron", "--show").refused("no entry")
    cron_daemon.inside(cron_daemon.system, "schedule", "cron", "--system", "--show").ok()
