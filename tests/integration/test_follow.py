"""`record -- CMD`: the program is its own, whatever happens to the recorder; and what a series does when something fails."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from programs import Runner, Target


def test_the_program_goes_on_when_the_store_is_gone(run: Runner, tmp_path: Path) -> None:
    fifo, proof = tmp_path / "fifo", tmp_path / "proof"
    os.mkfifo(fifo)
    with run.forked("record", "--every", "20ms", "--", "sh", "-c", f"read line < {fifo}; echo done > {proof}; exit 5") as recorder:
        recorder.err.until(b"snapshot 1")
        shutil.rmtree(run.db.parent)
        recorder.err.until(b"going on")
        fifo.write_text("end\n")
        assert recorder.wait().code == 5
    assert proof.read_text() == "done\n"


@pytest.mark.parametrize(("signals", "code"), [((signal.SIGTERM,), 143), ((signal.SIGINT, signal.SIGTERM), 143), ((signal.SIGINT,) * 3, 137)])
def test_a_second_request_reaches_the_program(run: Runner, signals: tuple[signal.Signals, ...], code: int) -> None:
    # What ignores SIGINT goes on ignoring it after exec.
    trap = "trap '' INT; " if code == 137 else ""
    script = f"{trap}echo ready; exec sleep 60"
    with run.forked("record", "--every", "20ms", "--", "sh", "-c", script) as recorder:
        recorder.out.until(b"ready")
        recorder.err.until(b"snapshot 1")
        for number, request in enumerate(signals):
            recorder.kill(request)
            if number + 1 < len(signals):
                _settle(recorder.pid)
        assert recorder.wait().code == code


def _settle(pid: int) -> None:
    """Return once the process sleeps again, its signal handled: two signals at once would count as one."""
    while True:
        fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        if int(fields["SigPnd"], 16) == int(fields["ShdPnd"], 16) == 0 and fields["State"][0] in "SZ":
            return
        os.sched_yield()


def test_a_name_without_dashes_starts_nothing(run: Runner) -> None:
    run("record", "touch", "started").refused("--name touch", "-- touch started")
    assert not Path("started").exists()


def test_a_process_that_ended_is_gone_also_by_pid(run: Runner, target: Target) -> None:
    run("record", "--pid", target.pid, "--pid", os.getpid()).ok()
    run("record", "--pid", os.getpid()).ok()
    (process,) = run("compare", 1, 2, "--pid", target.pid, "--format", "json").json["processes"]
    assert (process["match"], process["pid"], process["unrecorded_after"]) == ("gone", target.pid, True)
    run("compare", 1, 2, "--pid", 999999).refused("neither snapshot 1 nor snapshot 2")


def test_what_could_not_be_read_at_first_is_named_later(run: Runner, target: Target) -> None:
    run("record", "--pid", target.pid, "--timeout", "1us").ok()
    run("record", "--pid", target.pid).ok()
    (process,) = run("show", "latest", "--format", "json").json["processes"]
    assert process["exe"] == os.readlink(f"/proc/{target.pid}/exe")
    assert str(target.pid) in run("processes").ok().out


def test_a_series_of_a_pid_ends_with_it(run: Runner) -> None:
    with Target() as program, run.forked("record", "--pid", program.pid, "--every", "20ms") as recorder:
        recorder.out.until(b"snapshot 1")
        os.kill(program.pid, signal.SIGKILL)
        recorder.err.until(b"has ended")
        recorder.wait().ok()
