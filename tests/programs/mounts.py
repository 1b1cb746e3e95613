"""File systems for one test: small ones, and ones that cannot be written to."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def _mount(*args: object) -> None:
    done = subprocess.run(["mount", *map(str, args)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"not permitted to mount: {done.stderr.decode().strip()}")


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """An empty tmpfs of this size at `folder`; skips the test where nothing may be mounted."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size},mode=755", "pmapdiff-test", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_read_only(folder: Path, read_only: bool = True) -> None:
    """Remount a disk."""
    _mount("-o", f"remount,{'ro' if read_only else 'rw'}", folder)


def fill(folder: Path, room: int = 0) -> Path:
    """Fill a disk but for so many bytes; returns the file that takes the place."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    with path.open("r+b") as file:
        file.truncate(max(0, path.stat().st_size - room))
    return path
