"""Which processes of which hosts of a store to look at."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.model import ProcessInfo
from pmapdiff.text import decode, printable

# A pid_t; the kernel gives none above 2²² (include/linux/threads.h, PID_MAX_LIMIT).
_MOST_PID = (1 << 31) - 1
# So many hosts are named in a message.
_TOLD = 5


def check_name(name: str | None) -> None:
    """Raise UsageError if the value of --name is no regular expression."""
    if name is not None:
        try:
            re.compile(name)
        except re.error as error:
            raise UsageError(f"--name {name!r} is no regular expression: {error}") from None


def hosts_words(known: Collection[str]) -> str:
    """`the store has web1, web2 and 3 more (`pmapdiff hosts` lists them)`."""
    if not known:
        return "the store has none yet"
    names = ", ".join(printable(name) or "one without a name" for name in sorted(known)[:_TOLD])
    more = f" and {len(known) - _TOLD:,} more" if len(known) > _TOLD else ""
    return f"the store has {names}{more} (`pmapdiff hosts` lists them)"


@dataclass(frozen=True, slots=True)
class ProcessFilter:
    """Which processes to look at: any of these pids, a name that this regular expression is found in, on any of these hosts.

    `name` is searched in comm and in the program's path and basename, as `record --name` does. `hosts` are names of hosts, or shell patterns
    (`web*`) for several.
    """

    pids: frozenset[int] = frozenset()
    name: str | None = None
    hosts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        check_name(self.name)
        for pid in self.pids:
            if pid > _MOST_PID:
                raise UsageError(f"--pid {pid}: no process has such a number")

    @property
    def everything(self) -> bool:
        """Whether it lets every process of every host through."""
        return self.every_process and not self.hosts

    @property
    def every_process(self) -> bool:
        """Whether it lets every process of these hosts through."""
        return not self.pids and self.name is None

    @property
    def of_hosts(self) -> ProcessFilter:
        """Every process of the same hosts."""
        return ProcessFilter(hosts=self.hosts)

    def choose_hosts(self, known: Collection[str]) -> set[str]:
        """Those of the known hosts that are wanted. Raises NotFoundError, which names some that there are, for one that is not there."""
        if not self.hosts:
            return set(known)
        found: set[str] = set()
        for text in sorted(self.hosts):
            # What a host is called comes first: a name may look like a pattern.
            chosen = {text} if text in known else {name for name in known if any(c in text for c in "*?[") and fnmatchcase(name, text)}
            if not chosen:
                raise NotFoundError(f"there is no host '{printable(text)}': {hosts_words(known)}")
            found |= chosen
        return found

    def accepts(self, info: ProcessInfo) -> bool:
        """Whether this process of a wanted host is wanted."""
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
        """`--host web1 --pid 12 --name redis`."""
        words = [f"--host {printable(host)}" for host in sorted(self.hosts)] + [f"--pid {pid}" for pid in sorted(self.pids)]
        return " ".join(words + ([f"--name {printable(self.name)}"] if self.name is not None else []))


EVERYTHING = ProcessFilter()
