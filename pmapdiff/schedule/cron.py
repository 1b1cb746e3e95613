"""One crontab entry: when, what, and how it is put into a crontab and taken out again.

python-crontab reads, renders and writes. What it would do to the lines of others (spaces, comments, the order of
variables, lines that it does not understand) is kept from them: they stay byte for byte.
"""

from __future__ import annotations

import os
import shlex
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import crontab

from pmapdiff.errors import NotFoundError, PmapdiffError, UsageError
from pmapdiff.units import format_duration

MARKER = "pmapdiff schedule"
SYSTEM_FILE = Path("/etc/cron.d/pmapdiff")
# cron.h of Vixie cron: MAX_COMMAND is 1000. Debian's crontab refuses a command of 999 bytes; others cut it off.
_LONGEST_COMMAND = 998
_MINUTES = tuple(n for n in range(1, 60) if 60 % n == 0)
_HOURS = tuple(n for n in range(1, 24) if 24 % n == 0)
_LOG_TAG = "pmapdiff-sync"
_DAEMONS = {"cron", "crond", "fcron", "busybox-crond"}

# Five fields are understood everywhere, @hourly is not.
crontab.SPECIALS_CONVERSION = False


def cron_fields(seconds: float) -> str:
    """The five fields of a crontab for an interval. Raises UsageError for one that they cannot express.

    They name minutes of the hour and hours of the day: only what divides those comes at even distances.
    """
    possible = {
        **{n * 60: f"*/{n} * * * *" if n > 1 else "* * * * *" for n in _MINUTES},
        **{n * 3600: f"0 */{n} * * *" if n > 1 else "0 * * * *" for n in _HOURS},
        86400: "0 0 * * *",
    }
    exact = round(seconds)
    if abs(seconds - exact) < 1e-6 and exact in possible:
        return possible[exact]
    below, above = ([n for n in possible if n < seconds], [n for n in possible if n > seconds])
    near = " and ".join(_short(n) for n in (*below[-1:], *above[:1]))
    raise UsageError(
        f"a crontab cannot say every {format_duration(seconds)} (the nearest that it can: {near}): "
        "`pmapdiff schedule systemd` and `pmapdiff record --every` can"
    )


def _short(seconds: int) -> str:
    return next(f"{seconds // length}{unit}" for length, unit in ((86400, "d"), (3600, "h"), (60, "m")) if seconds % length == 0)


def quote(word: str) -> str:
    r"""A word for /bin/sh that survives a crontab, too.

    cron ends the command at a bare `%` and takes the backslash off `\%`, which python-crontab writes for each `%`; Debian's
    (3.0pl1-162) also makes one of two backslashes, others do not, and python-crontab takes ` #` for the start of the comment. So no backslash is
    followed by another or by `%`, and no `#` by a space before it: between them the quotes are closed and opened again.
    """
    return shlex.quote(word).replace("\\", "\\''").replace("#", "''#")


def command_line(words: list[str], lock: Path, sync: list[str] | None = None) -> str:
    """The command of the entry. Two at once would only slow each other and the host down: the later one gives way.

    cron starts the next one whether or not the last has ended; a host on which a snapshot takes longer than the interval
    would fill up with recorders.

    `sync` comes after the recorder, whatever became of that, in the background and with a lock of its own: some daemons (those of busybox and
    Alpine) leave out an entry that still runs, and no snapshot may wait for the network. What it says goes to the system's log: cron would mail it
    again every few minutes for as long as the server is away.
    """
    record = _locked(words, lock)
    if sync is None:
        return record
    logger = shutil.which("logger")
    # logger complains where nothing listens at /dev/log. Its output stays cron's: some daemons end the session when nobody has that open any more.
    said = ">/dev/null 2>&1" if logger is None else f"2>&1 | {quote(logger)} -t {_LOG_TAG} 2>/dev/null"
    return f"{record}; s=$?; {_locked(sync, lock.with_suffix('.sync.lock'))} {said} & exit $s"


def _locked(words: list[str], lock: Path) -> str:
    flock = shutil.which("flock")
    return " ".join(map(quote, words if flock is None else [flock, "-n", str(lock), *words]))


def lock_file(location: str, default_store: str, *, system: bool) -> Path:
    """What keeps the entry from running twice at once: a file beside the store, or where the store would be by default."""
    store = Path(default_store if "://" in location else os.path.abspath(location))
    return store.with_name(f"{store.name}.{'cron.d' if system else 'cron'}.lock")


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a crontab: where it is, whether there was an entry before, whether anything is different now."""

    where: str
    existed: bool
    changed: bool


class _Tab(crontab.CronTab):  # type: ignore[misc] # python-crontab has no types
    """A crontab in which only our own entry is taken apart; all other lines are kept as they are."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "lines" and value:
            if value[-1] == "":
                value = value[:-1]
            self.lines.extend(map(self._kept, value))
            self.crons.extend(line for line in self.lines if not isinstance(line, str))
        else:
            super().__setattr__(name, value)

    def _kept(self, line: str) -> Any:
        if line.rstrip().endswith(f"# {MARKER}"):
            item = crontab.CronItem.from_line(line, cron=self)
            if item.is_valid() and item.comment == MARKER:
                return item
        return line

    def render(self, errors: bool = False) -> str:  # noqa: ARG002 - the base class has it
        """The whole text."""
        return "".join(f"{line if isinstance(line, str) else line.render()}\n" for line in self.lines)

    def replace(self, fields: str, command: str, user: str | None) -> None:
        """Put the entry where the previous one is, or at the end; there is never more than one."""
        places = [number for number, line in enumerate(self.lines) if not isinstance(line, str)]
        item = self.new(command, comment=MARKER, user=user)
        item.setall(fields)
        self.lines.pop()
        if places:
            self.lines[places[0]] = item
            for number in reversed(places[1:]):
                del self.lines[number]
        else:
            self.lines.append(item)
        self.crons[:] = [item]

    def clear(self) -> None:
        """Take the entry out."""
        self.lines[:] = [line for line in self.lines if isinstance(line, str)]
        self.crons.clear()


class UserCrontab:
    """The crontab of the user who asks, as the program `crontab` keeps it."""

    user: str | None = None

    def __init__(self) -> None:
        self.where = "your crontab"

    def read(self) -> _Tab:
        """The crontab as it is now. Raises PmapdiffError."""
        program = shutil.which("crontab")
        if program is None:
            raise PmapdiffError("there is no program `crontab` on this host: install cron, or use `pmapdiff schedule systemd`")
        crontab.CRON_COMMAND = shlex.quote(program)
        try:
            return _Tab(user=True)
        except UnicodeDecodeError:
            raise PmapdiffError("your crontab is not UTF-8; it was left as it is: add the line with `crontab -e`") from None
        except (OSError, KeyError) as error:
            raise PmapdiffError(f"cannot read your crontab: {_one_line(error)}") from None

    def write(self, tab: _Tab) -> None:
        """Hand it to `crontab`. Raises PmapdiffError."""
        try:
            tab.write()
        except OSError as error:
            raise PmapdiffError(f"cannot write your crontab: {_one_line(error)}") from None


class SystemCrontab:
    """A file of our own in /etc/cron.d, whose lines name the user after the time."""

    user = "root"

    def __init__(self, path: Path = SYSTEM_FILE) -> None:
        self.path = path
        self.where = str(path)

    def read(self) -> _Tab:
        """The file as it is now. Raises PmapdiffError."""
        try:
            text = self.path.read_bytes().decode()
        except FileNotFoundError:
            text = ""
        except UnicodeDecodeError:
            raise PmapdiffError(f"{self.path} is not UTF-8; it was left as it is") from None
        except OSError as error:
            raise PmapdiffError(f"cannot read {self.path}: {error.strerror}") from None
        return _Tab(user=False, tab=text)

    def write(self, tab: _Tab) -> None:
        """Write it in one step: cron looks every minute. A file with nothing in it goes. Raises PmapdiffError."""
        # cron reads no file whose name has a dot in it.
        new = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        try:
            if not tab.lines:
                self.path.unlink(missing_ok=True)
                return
            try:
                os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
                tab.write(filename=str(new))
                # cron ignores a file that others may write to.
                new.chmod(0o644)
                new.replace(self.path)
            finally:
                with suppress(OSError):
                    new.unlink(missing_ok=True)
        except OSError as error:
            hint = ": become root, or leave out --system" if isinstance(error, PermissionError) else ""
            raise PmapdiffError(f"cannot write {self.path}: {error.strerror}{hint}") from None


Crontab = UserCrontab | SystemCrontab


def _one_line(error: Exception) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__
    return " ".join(text.replace("\\n", " ").split())


def entry(target: Crontab, fields: str, command: str) -> str:
    """The line as it will stand in the crontab. Raises UsageError if cron would cut it off."""
    tab = _Tab(user=False if target.user else None, tab="")
    tab.replace(fields, command, target.user)
    (line,) = tab.render().splitlines()
    # Shell and cron see the marker as a comment of the shell: it counts.
    words = 5 + (target.user is not None)
    length = len(line.split(" ", words)[words].encode())
    if length > _LONGEST_COMMAND:
        raise UsageError(f"the command has {length:,} bytes, and cron cuts it off after {_LONGEST_COMMAND}: use `pmapdiff schedule systemd`")
    return str(line)


def install(target: Crontab, fields: str, command: str) -> Change:
    """Put the entry in, instead of the one that is there. Raises PmapdiffError."""
    tab = target.read()
    before, existed = tab.render(), bool(tab.crons)
    tab.replace(fields, command, target.user)
    changed = tab.render() != before
    if changed:
        target.write(tab)
    return Change(target.where, existed, changed)


def remove(target: Crontab) -> Change:
    """Take the entry out. Raises PmapdiffError."""
    tab = target.read()
    existed = bool(tab.crons)
    tab.clear()
    if existed:
        target.write(tab)
    return Change(target.where, existed, existed)


def installed(target: Crontab) -> str:
    """The entry that is there. Raises NotFoundError."""
    tab = target.read()
    if not tab.crons:
        raise NotFoundError(f"there is no entry of `pmapdiff schedule` in {target.where}")
    return "".join(f"{item.render()}\n" for item in tab.crons)


def daemon_runs(proc: Path = Path("/proc")) -> bool:
    """Whether a cron daemon is at work on this host, or in this container."""
    for path in proc.glob("[0-9]*/comm"):
        with suppress(OSError):
            if path.read_text(errors="replace").strip() in _DAEMONS:
                return True
    return False
