"""Law 1: what was read can be given back, byte for byte."""

from __future__ import annotations

import os
import re
from pathlib import Path

from programs import PROGRAMS, Runner, Target, isolated

_PSS = re.compile(rb"^Pss(_Dirty)?: .*\n", re.MULTILINE)
# Even of a process that stands still and shares nothing the kernel ages pages (Referenced) and writes them back.
_TRIES = 200
FROZEN = Path(__file__).parents[1] / "data" / "redis-frozen"


def test_a_stopped_process_with_twenty_thousand_mappings(run: Runner, tmp_path: Path) -> None:
    argv, environment = isolated(tmp_path / "python")
    with Target(argv=[*argv, str(PROGRAMS / "many.py"), "20000"], env=environment) as program, program.stopped():
        before = program.smaps()
        assert before.count(b"\nVmFlags:") > 20000
        run("record", "--pid", program.pid).ok()
        assert program.smaps() == before, "the process was to stand still"
        # The second time nothing is read again but the text, which is known.
        run("record", "--pid", program.pid).ok()
    assert run("show", "latest", "--format", "smaps").ok().stdout == before
    assert run("show", "first", "--pid", program.pid, "--format", "smaps").ok().stdout == before
    assert run("db", "check").ok().out == "the store is sound\n"


def test_a_process_through_many_changes(run: Runner, tmp_path: Path) -> None:
    """Each of the texts can be had again from what the store keeps of the differences."""
    argv, environment = isolated(tmp_path / "python")
    with Target(argv=[*argv, str(PROGRAMS / "target.py")], env=environment) as target:
        texts = _recorded_texts(run, target)
    for number, text in enumerate(texts):
        assert run.here("show", f"step {number}.", "--format", "smaps").stdout == text, number


def _recorded_texts(run: Runner, target: Target) -> list[bytes]:
    texts = []
    for number in range(12):
        target.call("map", size=(number + 1) << 20, address=0x100000000000 + (number << 32))
        target.call("write", address=0x100000000000 + (number << 32), pages=number + 1)
        if number % 3 == 2:
            target.call("unmap", address=0x100000000000 + (number - 1 << 32), size=1 << 19)
            target.call("protect", address=0x100000000000 + (number - 2 << 32), size=8192, prot=1)
        with target.stopped():
            for _ in range(_TRIES):
                text = target.smaps()
                run.here("record", "--pid", target.pid, "--label", f"step {number}.").ok()
                if target.smaps() == text and not _only_shared_otherwise(run, target, text):
                    break
            texts.append(text)
    return texts


def _only_shared_otherwise(run: Runner, target: Target, text: bytes) -> bool:
    """Whether what was recorded last differs from a text in Pss alone, and so has to be recorded again.

    The vdso is shared even by a process that shares no file: whoever comes and goes while it is read changes its Pss, and may have gone afterwards.
    """
    shown = run.here("show", "latest", "--pid", target.pid, "--format", "smaps").ok().stdout
    return shown != text and _PSS.sub(b"", shown) == _PSS.sub(b"", text)


def test_imported_smaps(run: Runner) -> None:
    saved = (FROZEN / "smaps.txt").read_bytes()
    run("import", FROZEN / "smaps.txt").ok()
    assert run("show", "latest", "--format", "smaps").ok().stdout == saved
    assert run("show", FROZEN / "smaps.txt", "--format", "smaps", store=False).ok().stdout == saved
    assert run.fresh("import", "/dev/stdin", stdin=saved).code == 0
    assert run("show", "latest", "--format", "smaps").ok().stdout == saved


def test_a_file_of_no_smaps_has_no_smaps_text(run: Runner) -> None:
    run("show", FROZEN / "pmap-x.txt", "--format", "smaps", store=False).refused("has no smaps text", "shown as pmap, pmap-x, text")


def test_our_own_process(run: Runner) -> None:
    """The recorder can be recorded, if asked for by its pid; with --all it is left out."""
    with run.forked("record", "--all") as recorder:
        assert "1 process," not in recorder.wait().ok().out
    pids = run.shown().keys()
    assert os.getpid() in pids
    assert recorder.pid not in pids
