"""Which processes of a store to look at."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pmapdiff.errors import UsageError
from pmapdiff.model import ProcessInfo
from pmapdiff.text import decode, printable

# A pid_t; the kernel gives none above 2²² (include/linux/threads.h, PID_MAX_LIMIT).
_MOST_PID = (1 << 31) - 1


def check_name(name: str | None) -> None:
    """Raise UsageError if the value of --name is no regular expression."""
    if name is not None:
        try:
            re.compile(name)
        except re.error as error:
            raise UsageError(f"--name {name!r} is no regular expression: {error}") from None


@dataclass(frozen=True, slots=True)
class ProcessFilter:
    """Which processes to look at: any of these pids, and a name that this regular expression is found in.

    `name` is searched in comm and in the program's path and basename, as `record --name` does.
    """

    pids: frozenset[int] = frozenset()
    name: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        for pid in self.pids:
            if pid > _MOST_PID:
                raise UsageError(f"--pid {pid}: no process has such a number")

    @property
    def everything(self) -> bool:
        """Whether it lets every process through."""
        return not self.pids and self.name is None

    def accepts(self, info: ProcessInfo) -> bool:
        """Whether this process is wanted."""
        if self.pids and info.pid not in self.pids:
            return False
        return self.name is None or self.finds_comm(info.comm) or (info.exe is not None and self.finds_exe(info.exe))

    def finds_comm(self, comm: bytes) -> bool:
        """Whether the regular expression is found in the kernel's name of a process."""
        return re.search(self.name or "", decode(comm)) is not None

    def finds_exe(self, exe: bytes) -> bool:
        """Whether it is found in the path or the basename of a program."""
        path = decode(exe)
        return any(re.search(self.name or "", text) for text in (path, path.rsplit("/", 1)[-1]))

    def describe(self) -> str:
        """`--pid 12 --name redis`."""
        return " ".join([f"--pid {pid}" for pid in sorted(self.pids)] + ([f"--name {printable(self.name)}"] if self.name is not None else []))


EVERYTHING = ProcessFilter()
