"""Where a command's result goes: standard output, or a file that is there whole or not at all."""

from __future__ import annotations

import os
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

from pmapdiff.errors import UsageError
from pmapdiff.text import argument_text

STANDARD_OUTPUT = "-"


@contextmanager
def opened_output(path: str, mode: int | None = None) -> Iterator[TextIO]:
    """A stream for the result, with a `buffer` for bytes; `-` is standard output.

    A file is written beside its place, under a name that begins with a dot and ends with `.tmp`, and takes it with the end of the
    block; if that fails, or SIGTERM comes, all is as it was. It gets these permissions, or those that the umask leaves. A link, a
    pipe or a device is written as it is. Raises UsageError.
    """
    if path == STANDARD_OUTPUT:
        yield sys.stdout
        return
    try:
        with _replacing(path, mode) as out:
            yield out
    except OSError as error:
        raise UsageError(f"cannot write {argument_text(path)}: {error.strerror or error}") from None


@contextmanager
def _replacing(path: str, mode: int | None) -> Iterator[TextIO]:
    place = Path(path)
    _spare_databases(place, path)
    if os.path.lexists(place) and not stat.S_ISREG(place.lstat().st_mode):
        # A pipe, /dev/null, a link such as /dev/stdout: to rename a file to that would do away with it. A folder refuses to be opened.
        with open(place, "w", encoding="utf-8", newline="") as out:
            yield out
        return
    fd, name = tempfile.mkstemp(prefix=f".{place.name[:200]}.", suffix=".tmp", dir=place.parent)
    try:
        with _ended_by_sigterm(), open(fd, "w", encoding="utf-8", newline="") as out:
            yield out
            out.flush()
            os.fchmod(fd, 0o666 & ~_umask() if mode is None else mode)
            os.fsync(fd)
            os.replace(name, place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _spare_databases(place: Path, path: str) -> None:
    """Raise UsageError for a database: whoever names one here means another file, and what is in it is not to be had again."""
    if place.is_file() and place.stat().st_size:
        with place.open("rb") as known:
            if known.read(16) == b"SQLite format 3\0":
                raise UsageError(f"{argument_text(path)} is a database: it is not overwritten")


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """What SIGTERM ends, it ends as an exception does, with the code that a shell gives for it."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
