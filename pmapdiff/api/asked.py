"""What programs ask with, in the words of the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, TypeAlias

from pmapdiff.api.look import Span
from pmapdiff.errors import UsageError
from pmapdiff.model import SnapshotRef
from pmapdiff.store import ProcessFilter
from pmapdiff.text import printable

if TYPE_CHECKING:
    from pmapdiff.model.oom import OomKill

When: TypeAlias = "str | int | datetime | PurePath | SnapshotRef"
"""A snapshot, in the words of the command line (`"latest"`, `"2h ago"`, a label, the path of a saved file), by its number, by a time (the last
snapshot at or before it), as a path, or as what `snapshots` gave."""
Pids: TypeAlias = "int | Iterable[int] | None"
HostNames: TypeAlias = "str | Iterable[str] | None"


def words_of(when: When) -> str:
    """A WHEN as the command line has it."""
    if isinstance(when, SnapshotRef):
        if when.id is None:
            raise UsageError(f"{printable(when.source)} is in no store: give its path")
        return str(when.id)
    if isinstance(when, datetime):
        return when.isoformat()
    if isinstance(when, PurePath):
        # A file may be called "latest".
        return os.path.join(os.curdir, when)
    return str(when)


def span_of(since: When | None, until: When | None) -> Span:
    """From one WHEN to another, None for no end."""
    return Span(*(None if when is None else words_of(when) for when in (since, until)))


def kills_of(oom_log: str | os.PathLike[str] | None) -> list[OomKill]:
    """The kills that a log of the kernel tells of."""
    if oom_log is None:
        return []
    from pmapdiff.formats.oom_report import read_oom_log

    return read_oom_log(os.fspath(oom_log))


def filter_of(pid: Pids, name: str | None, host: HostNames) -> ProcessFilter:
    """Which processes of which hosts."""
    pids = () if pid is None else (pid,) if isinstance(pid, int) else pid
    return ProcessFilter(frozenset(pids), name, frozenset(() if host is None else (host,) if isinstance(host, str) else host))
