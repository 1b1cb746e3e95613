"""A file that a command writes is there whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from pmapdiff.cli._output import opened_output
from pmapdiff.errors import UsageError


def test_the_file_is_as_it_was_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.prom"
    path.write_text("old")
    with opened_output(str(path)) as out:
        out.write("new\r\n")
        out.flush()
        assert path.read_text() == "old"
        (waiting,) = set(tmp_path.iterdir()) - {path}
        # node_exporter reads every *.prom in a folder.
        assert waiting.name.startswith(".x.prom.")
        assert waiting.suffix == ".tmp"
        assert stat.S_IMODE(waiting.stat().st_mode) == 0o600
    assert path.read_bytes() == b"new\r\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), ValueError("a bug"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("old", ["old", None])
def test_nothing_is_left_of_what_fails(tmp_path: Path, failure: BaseException, old: str | None) -> None:
    path = tmp_path / "x.csv"
    if old is not None:
        path.write_text(old)

    def fail() -> None:
        with opened_output(str(path)) as out:
            out.write("half")
            raise failure

    with pytest.raises(UsageError if isinstance(failure, OSError) else type(failure)) as caught:
        fail()
    if isinstance(failure, OSError):
        assert str(caught.value) == f"cannot write {path}: No space left on device"
    assert [each.read_text() for each in tmp_path.iterdir()] == ([] if old is None else [old])


def test_sigterm_leaves_nothing(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def be_ended() -> None:
        with opened_output(str(tmp_path / "x.csv")) as out:
            out.write("half")
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("it goes on")

    with pytest.raises(SystemExit) as caught:
        be_ended()
    assert caught.value.code == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("umask", "mode", "expected"), [(0o022, None, 0o644), (0o077, None, 0o600), (0o077, 0o644, 0o644)])
def test_permissions(tmp_path: Path, umask: int, mode: int | None, expected: int) -> None:
    before = os.umask(umask)
    try:
        with opened_output(str(tmp_path / "x"), mode) as out:
            out.write("text")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == expected


def test_a_link_is_written_through_and_stays(tmp_path: Path) -> None:
    """/dev/stdout is one, and to replace it would break every program of the host."""
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    with opened_output(str(tmp_path / "link")) as out:
        out.write("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none" / "x", Path("/proc/none")):
        with pytest.raises(UsageError, match=f"cannot write {path}: "), opened_output(str(path)) as out:
            out.write("never")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="cannot write /dev/full: No space left on device"), opened_output("/dev/full") as out:
        out.write("text")
    assert Path("/dev/full").is_char_device()
