"""Which processes: the options of `record`, and what they match just now."""

from __future__ import annotations

import os
import pwd
import re
from dataclasses import dataclass
from typing import NamedTuple

from pmapdiff.capture.procfs import PROC, Stat, identify, list_pids, read_cgroup, read_exe, read_status
from pmapdiff.errors import NotFoundError, UsageError
from pmapdiff.text import decode, printable


@dataclass(frozen=True, slots=True)
class Selection:
    """What to record. All the given criteria must hold; `tree` adds the descendants of what matches.

    `name` is a regular expression searched in comm and in the program's path and basename; `uids` are
    effective; `cgroup` is a path (and all below it) or one component of a path, such as `nginx.service`.
    """

    everything: bool = False
    pids: frozenset[int] = frozenset()
    name: str | None = None
    uid: int | None = None
    cgroup: str | None = None
    tree: bool = False

    def __post_init__(self) -> None:
        if not (self.everything or self.pids or self.name is not None or self.uid is not None or self.cgroup is not None):
            raise UsageError("say what to record: --all, --pid, --name, --user, --cgroup, or -- COMMAND")
        if self.name is not None:
            try:
                re.compile(self.name)
            except re.error as error:
                raise UsageError(f"--name {self.name!r} is no regular expression: {error}") from None

    def describe(self) -> str:
        """What is looked for, for messages: `--name redis --user www-data`."""
        words = ["--all"] if self.everything else []
        words += [f"--pid {pid}" for pid in sorted(self.pids)]
        words += [f"--name {printable(self.name)}"] if self.name is not None else []
        words += [f"--user {self.uid}"] if self.uid is not None else []
        words += [f"--cgroup {printable(self.cgroup)}"] if self.cgroup is not None else []
        return " ".join(words + (["--tree"] if self.tree else []))


def uid_of(user: str) -> int:
    """The uid of a user given by name or number. Raises NotFoundError."""
    if user.isascii() and user.isdigit():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise NotFoundError(f"there is no user {printable(user)!r} on this host") from None


class Selected(NamedTuple):
    """The processes that match now (without kernel threads and zombies), and the pids asked for that do not exist."""

    processes: tuple[Stat, ...]
    absent: tuple[int, ...]


def select_processes(selection: Selection) -> Selected:
    """What a selection matches at this moment.

    Nothing read here can be made to block by the processes looked at. The recorder itself is left out unless
    its pid is asked for.
    """
    stats: dict[int, Stat] = {}
    # Without --tree, nobody else's parents matter.
    looked_at = sorted(selection.pids) if selection.pids and not selection.tree else list_pids()
    for pid in looked_at:
        try:
            stats[pid] = identify(pid)
        except OSError:
            continue
    # A thread group whose main thread has exited is a zombie with more than one thread, and still has memory.
    living = {pid: stat for pid, stat in stats.items() if stat.has_memory or stat.threads > 1}
    chosen = {pid for pid, stat in living.items() if _matches(selection, stat)}
    if selection.tree:
        children: dict[int, list[int]] = {}
        for pid, stat in stats.items():
            children.setdefault(stat.ppid, []).append(pid)
        waiting = sorted(chosen | (selection.pids & stats.keys()))
        seen: set[int] = set()
        while waiting:
            parent = waiting.pop()
            if parent not in seen:
                seen.add(parent)
                waiting.extend(children.get(parent, ()))
        chosen = seen & living.keys()
    if os.getpid() not in selection.pids:
        chosen.discard(os.getpid())
    return Selected(tuple(living[pid] for pid in sorted(chosen)), tuple(sorted(selection.pids - living.keys())))


def _matches(selection: Selection, stat: Stat) -> bool:
    directory = f"{PROC}/{stat.pid}"
    if selection.pids and stat.pid not in selection.pids:
        return False
    if selection.name is not None:
        exe = decode(read_exe(directory) or b"")
        names = (decode(stat.comm), exe, exe.rsplit("/", 1)[-1])
        if not any(re.search(selection.name, name) for name in names):
            return False
    if selection.uid is not None:
        try:
            if read_status(directory).uid != selection.uid:
                return False
        except OSError:
            return False
    return selection.cgroup is None or _in_cgroup(decode(read_cgroup(directory) or b""), selection.cgroup)


def _in_cgroup(path: str, wanted: str) -> bool:
    parts, looked_for = path.strip("/").split("/"), wanted.strip("/").split("/")
    if wanted.startswith("/"):
        return parts[: len(looked_for)] == looked_for or looked_for == [""]
    length = len(looked_for)
    return any(parts[i : i + length] == looked_for for i in range(len(parts) - length + 1))
