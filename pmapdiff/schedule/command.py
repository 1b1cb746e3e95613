"""The command line that a scheduler runs: complete in itself, because a scheduler has no login shell.

No PATH, no working directory and no PMAPDIFF_DB lead to what was meant when the schedule was made, so
everything is absolute. And no secrets: crontabs, units and command lines are read by others.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pmapdiff.errors import PmapdiffError, UsageError
from pmapdiff.text import printable

_PASSWORD = re.compile(r"(://[^\s:/@'\"]*):[^\s/@'\"]+@|([?&][a-z]*password=)[^\s&'\"]+", re.IGNORECASE)
# Long enough for hundreds of hosts that bring what they have in a second each.
_LONGEST_SPLAY_S = 120.0


@dataclass(frozen=True, slots=True)
class Job:
    """The words of a command line, and the stores that it uses (absolute paths, or URLs)."""

    words: list[str]
    stores: tuple[str, ...]


def record_job(location: str, options: Iterable[tuple[str, str | int | bool | None]]) -> Job:
    """Record one snapshot into the store at `location`, with these options: `("--name", "redis")`.

    Raises UsageError for what cannot stand in any schedule.
    """
    store = checked_location(location)
    words = ["record", "--quiet"]
    for option, value in options:
        if value is True:
            words.append(option)
        elif value is not None and value is not False:
            words += [option, str(value)]
    return Job(_pmapdiff(store, words), (store,))


def sync_job(location: str, other: str, *, splay_s: float | None = None) -> Job:
    """Bring what is new in the store at `location` to the other one, after a random part of `splay_s`.

    Raises UsageError for what cannot stand in any schedule.
    """
    store, target = checked_location(location), checked_location(other, "--sync")
    if store == target:
        raise UsageError(f"{printable(target)} is the store itself: name another one with --sync")
    splay = [] if splay_s is None else ["--splay", f"{splay_s:g}s"]
    return Job(_pmapdiff(store, ["sync", target, "--quiet", *splay]), (store, target))


def splay_of(every_s: float) -> float:
    """Over how many seconds the hosts that sync at this interval spread: a part of it, so that each is ready for the next time."""
    return min(every_s / 2, _LONGEST_SPLAY_S)


def _pmapdiff(store: str, words: list[str]) -> list[str]:
    """A command of pmapdiff, for this store, run by the interpreter that runs now.

    -P: the working directory of a scheduler (a home folder, /) is no place to import from.
    """
    found = [sys.executable, "-P", "-m", "pmapdiff", "--db", store, *words]
    for word in found:
        if re.search("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", word):
            raise UsageError(f"{printable(word)!r} holds a control character or bytes that are no UTF-8: write it as \\n, \\x1b or a dot")
    return found


def checked_location(location: str, given: str = "--db and PMAPDIFF_DB") -> str:
    """The store as it may stand in a schedule: an absolute path, or a URL. Raises UsageError for one with a password in it."""
    if "://" not in location:
        return os.path.abspath(location)
    try:
        parts = urlsplit(location)
        secret = parts.password is not None or any("password" in key.lower() for key, _ in parse_qsl(parts.query))
    except ValueError:
        raise UsageError("the URL of the store cannot be read: write postgresql+psycopg://USER@HOST/NAME") from None
    if secret:
        raise UsageError(
            "the URL of the store holds a password, which the schedule and every list of processes would show: "
            f"leave it out of {given}, and put it into ~/.pgpass (mode 0600) of the user who records"
        )
    return location


def folder_of(location: str) -> Path | None:
    """The folder of a store that is a file; None for a database server."""
    return None if "://" in location else Path(os.path.abspath(location)).parent


def make_folder(folder: Path) -> None:
    """What `record` would make anyway, but the scheduler needs before it starts it. Raises UsageError."""
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise UsageError(f"cannot make {folder}, where the store is to be: {error.strerror}: choose another place with --db") from None


def program_paths() -> list[Path]:
    """Where the interpreter and its modules are: what a sandbox must leave in sight."""
    named = [sys.executable, os.path.realpath(sys.executable), sys.prefix, sys.base_prefix, __file__]
    # What an editable installation refers to stands in the path of modules.
    return sorted({Path(os.path.abspath(path)) for path in [*named, *filter(os.path.isdir, sys.path[1:])]})


def check_runs(words: list[str]) -> None:
    """Start this pmapdiff as a scheduler will: in /, with an almost empty environment. Raises PmapdiffError if it does not start."""
    argv = [*words[: words.index("--db")], "--version"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "SHELL": "/bin/sh"}
    try:
        done = subprocess.run(argv, cwd="/", env=environment, capture_output=True, check=False, timeout=60)
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PmapdiffError(f"{argv[0]} does not start: {error}") from None
    if done.returncode:
        raise PmapdiffError(f"pmapdiff only runs in this shell ({printable(said)}): install it (pip install .) and try again")


def outsiders(paths: Iterable[Path]) -> list[Path]:
    """The paths that somebody other than root may change; root would run what they put there."""
    found = []
    for path in paths:
        for place in (path, *path.parents):
            try:
                status = os.stat(place)
            except OSError:
                continue
            others = 0o022 if status.st_gid else 0o002
            # In a sticky folder like /tmp nobody can replace what belongs to another.
            if status.st_uid != 0 or (status.st_mode & others and not status.st_mode & 0o1000):
                found.append(place)
                break
    return sorted(set(found))


def without_password(text: str) -> str:
    """A schedule as it may be printed: somebody may have written a password into it by hand."""
    return _PASSWORD.sub(lambda match: f"{match[1]}:***@" if match[1] is not None else f"{match[2]}***", text)
