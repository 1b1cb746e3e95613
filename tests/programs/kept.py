"""A store with a snapshot that must stay as it is, whatever happens to it."""

from __future__ import annotations

from programs.driver import Result, Runner, Target

SOUND = "the store is sound\n"


def clean(result: Result, *codes: int) -> Result:
    """This result, which has one of these exit codes, and an error is one line."""
    assert b"Traceback" not in result.stdout + result.stderr, result
    assert result.code in codes, result
    if result.code == 2:
        assert result.err.startswith("pmapdiff: "), result
        assert result.err.count("\n") == 1, result
    return result


class Kept:
    """A store with one labelled snapshot of a process, which must stay as it is whatever happens."""

    def __init__(self, run: Runner, *targets: Target) -> None:
        self.run = run
        self.pids = [word for target in targets for word in ("--pid", str(target.pid))]
        run.here("record", *self.pids, "--label", "kept").ok()
        self.pid = targets[0].pid
        self.text = self.shown().ok().stdout
        assert self.text.count(b"VmFlags:") > 20

    def shown(self) -> Result:
        return self.run.here("show", "kept", "--pid", self.pid, "--format", "smaps")

    def count(self) -> int:
        return len(self.run.here("snapshots", "--format", "json").json["snapshots"])

    def is_unharmed(self) -> None:
        assert self.shown().ok().stdout == self.text
        assert self.run.here("db", "check").ok().out == SOUND
