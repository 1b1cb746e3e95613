"""How far something is that takes long: one line on a terminal, and nothing anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pmapdiff.model import Snapshot

_T = TypeVar("_T")

# A line is worth drawing when something takes longer than this.
_AFTER_S = 1.0


class ProgressLine:
    """A line on standard error that is drawn over again and again, and cleared at the end."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._drawn = False

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_error: object) -> None:
        self.clear()

    def restart(self) -> None:
        """Something new begins: it, too, has a second before there is a line."""
        self._started = time.monotonic()

    def draw(self, text: str) -> None:
        """Show a text, which must be safe to print, if anybody looks and it has taken long."""
        if not sys.stderr.isatty() or time.monotonic() - self._started < _AFTER_S:
            return
        self._drawn = True
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._drawn = False


def counted(items: Iterable[_T], number: int, what: str) -> Iterator[_T]:
    """The same items; on a terminal one can see how many of so many have been taken already."""
    line = ProgressLine()
    try:
        for done, item in enumerate(items):
            line.draw(f"{done:,} of {number:,} {what}")
            yield item
    finally:
        line.clear()


def counted_snapshots(snapshots: Iterable[Snapshot], number: int) -> Iterator[Snapshot]:
    """The same for snapshots."""
    return counted(snapshots, number, "snapshots")
