"""A service that records one snapshot, and the timer that starts it: the text of the units, and where they go."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pmapdiff.errors import NotFoundError, PmapdiffError, UsageError
from pmapdiff.schedule.command import folder_of, program_paths
from pmapdiff.text import printable
from pmapdiff.units import format_duration

SERVICE, TIMER = "pmapdiff.service", "pmapdiff.timer"
SYSTEM_FOLDER = Path("/etc/systemd/system")
STATE_FOLDER = Path("/var/lib/pmapdiff")
_MADE_BY = "# Made by `pmapdiff schedule systemd`"
# What ProtectHome= hides.
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
# A snapshot starts an interpreter: what comes more often is for one that stays.
_SHORTEST_S = 1.0


@dataclass(frozen=True, slots=True)
class Units:
    """The text of both units."""

    service: str
    timer: str


def quote(word: str, *, variables: bool = True) -> str:
    r"""A word of a unit file: specifiers (`%`), escapes and, in commands, variables (`$`) taken literally.

    systemd.syntax(7), systemd.service(5) "Command lines". Quoted even where it need not be, if it holds anything unusual.
    """
    text = word.replace("%", "%%")
    if variables:
        text = text.replace("$", "$$")
    if text and re.fullmatch(r"[\w@%+=:,./$-]+", text, re.ASCII):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{text}"'


def make_units(words: list[str], every_s: float, location: str, *, system: bool) -> Units:
    """The units that run this command at this interval. Raises UsageError for an interval that is too short."""
    if every_s < _SHORTEST_S:
        raise UsageError(f"a timer is not for every {format_duration(every_s)}, as each snapshot starts a program: use `pmapdiff record --every`")
    return Units(_service(words, location, system=system), _timer(every_s))


def _timer(every_s: float) -> str:
    return f"""\
{_MADE_BY}, which makes it anew. To change it: systemctl edit {TIMER}
[Unit]
Description=Record the memory mappings of processes, again and again

[Timer]
# Right after boot, and then from start to start. While a snapshot is being taken no other one begins.
OnActiveSec=1s
OnUnitActiveSec={_time_span(every_s)}
AccuracySec={_time_span(min(1.0, every_s / 10))}

[Install]
WantedBy=timers.target
"""


def _time_span(seconds: float) -> str:
    return f"{seconds:.0f}s" if seconds == round(seconds) else f"{seconds * 1000:.0f}ms"


def _service(words: list[str], location: str, *, system: bool) -> str:
    # The path of the program is no place for variables.
    command = " ".join([quote(words[0], variables=False), *map(quote, words[1:])])
    network = _needs_network(location)
    lines = [
        f"{_MADE_BY}, which makes it anew. To change it: systemctl edit {SERVICE}",
        "[Unit]",
        "Description=Record the memory mappings of processes",
        "# The timer starts it as often as it was told to.",
        "StartLimitIntervalSec=0",
        *(["Wants=network-online.target", "After=network-online.target"] if network and system else []),
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={command}",
        "TimeoutStartSec=1h",
        "UMask=0077",
        "# No Nice=, CPUSchedulingPolicy= or IOSchedulingClass=: while its table is read, a process waits for the reader to map",
        "# memory (mmap_lock). A recorder that must let others go first keeps it waiting for longer.",
        "# When memory runs out, the recorder goes before what it records.",
        "OOMScoreAdjust=500",
        "",
        *(_system_sandbox(location, network=network) if system else ["# A user's manager cannot do more: the rest needs privileges."]),
        "NoNewPrivileges=yes",
        f"RestrictAddressFamilies=AF_UNIX{' AF_INET AF_INET6 AF_NETLINK' if network else ''}",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "MemoryDenyWriteExecute=yes",
        "# Looking at processes, not touching them: ptrace is not among these to begin with.",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~process_vm_readv process_vm_writev",
        "SystemCallErrorNumber=EPERM",
        "SystemCallArchitectures=native",
    ]
    return "\n".join(lines) + "\n"


def _system_sandbox(location: str, *, network: bool) -> list[str]:
    """What only the manager of the host can do for a service. It runs as root, with next to nothing of what root may do."""
    folder = folder_of(location)
    programs = program_paths()
    places = [*programs, *([] if folder is None else [folder])]
    # Seen through links as well as without: a unit's folders are those at the end of the links.
    places += [Path(os.path.realpath(place)) for place in places]
    if folder is None:
        # libpq looks for ~/.pgpass there.
        home = ["Environment=HOME=%h", "ProtectHome=read-only"]
    elif _below(places, _HOMES):
        home = ["# The store, or pmapdiff itself, is in a home folder.", "ProtectHome=read-only"]
    else:
        home = ["ProtectHome=yes"]
    return [
        "# To read the tables of other users' processes. ProtectProc=, ProcSubset=, PrivateUsers= and PrivatePIDs= stay as they",
        "# are: they would hide those processes, or make them somebody else's.",
        f"CapabilityBoundingSet={' '.join(_capabilities(programs, folder))}",
        "ProtectSystem=strict",
        *_writable(folder),
        *home,
        *([] if _below(places, _TEMPORARY) or _socket_is_in_tmp(location) else ["PrivateTmp=yes"]),
        "PrivateDevices=yes",
        *([] if network else ["PrivateNetwork=yes"]),
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "KeyringMode=private",
    ]


def _writable(folder: Path | None) -> list[str]:
    if folder is None:
        return []
    if folder == STATE_FOLDER:
        return ["StateDirectory=pmapdiff", "StateDirectoryMode=0700"]
    return [f"ReadWritePaths={quote(str(folder), variables=False)}"]


def _below(places: Iterable[Path], folders: Iterable[Path]) -> bool:
    return any(place.is_relative_to(folder) for place in places for folder in folders)


def _capabilities(programs: list[Path], folder: Path | None) -> list[str]:
    """CAP_SYS_PTRACE, and what root needs to use the files of others, which it may not do without."""
    found = ["CAP_SYS_PTRACE"]
    if any(_foreign(place) for path in programs for place in (path, *path.parents)):
        found.append("CAP_DAC_READ_SEARCH")
    if folder is not None and any(_foreign(place) for place in (folder, *folder.parents)):
        # To write there.
        found.append("CAP_DAC_OVERRIDE")
    return found


def _foreign(path: Path) -> bool:
    try:
        return path.stat().st_uid != 0
    except OSError:
        return False


def _needs_network(location: str) -> bool:
    """Whether the store is a server reached by TCP, as far as its URL says."""
    if "://" not in location:
        return False
    host = _host(location)
    return bool(host) and not host.startswith("/")


def _host(location: str) -> str:
    parts = urlsplit(location)
    given = parse_qs(parts.query)
    return parts.hostname or (given.get("hostaddr") or given.get("host") or [""])[0]


def _socket_is_in_tmp(location: str) -> bool:
    # Without a host libpq takes the folder that it was built with, which is /tmp unless a distribution changed it.
    return "://" in location and not _needs_network(location) and (not (host := _host(location)) or _below([Path(host)], _TEMPORARY))


def unit_folder(*, system: bool) -> Path:
    """Where the units of an administrator, or of a user, are."""
    if system:
        return SYSTEM_FOLDER
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"


@dataclass(frozen=True, slots=True)
class Manager:
    """The systemd that is to run the units, and the folder that it reads them from.

    It is told of a change if it is at work: not in a container, nor while an image is being made.
    """

    folder: Path
    system: bool
    runs: bool

    @classmethod
    def of(cls, folder: Path | None, *, system: bool) -> Manager:
        """The host's or the user's own; one that is given another folder is not told."""
        runs = folder is None and Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None
        return cls(folder or unit_folder(system=system), system, runs)

    def command(self, *words: str) -> list[str]:
        """A command line of systemctl."""
        return ["systemctl", *([] if self.system else ["--user"]), *words]

    def installed(self) -> str:
        """Both units as they are. Raises NotFoundError."""
        text = [(name, self._read(name)) for name in (SERVICE, TIMER)]
        if all(content is None for _, content in text):
            raise NotFoundError(f"there are no units of `pmapdiff schedule` in {self.folder}")
        return "\n".join(f"# {self.folder / name}\n{content}" for name, content in text if content is not None)

    def install(self, units: Units) -> bool:
        """Write both, enable and start the timer; whether anything has changed. Raises PmapdiffError."""
        wanted = {SERVICE: units.service, TIMER: units.timer}
        changed = [name for name, text in wanted.items() if self._ours(name) != text]
        for name in changed:
            self._write(name, wanted[name])
        if self.runs:
            self._tell("daemon-reload")
            self._tell("enable", TIMER)
            # A timer that runs already would keep to its old interval.
            self._tell("restart" if changed else "start", TIMER)
        return bool(changed)

    def remove(self) -> bool:
        """Stop the timer and remove both; whether there was anything. A snapshot that is being taken is finished."""
        there = [name for name in (TIMER, SERVICE) if self._ours(name) is not None]
        if there and self.runs:
            self._tell("disable", "--now", TIMER)
        try:
            for name in there:
                (self.folder / name).unlink(missing_ok=True)
            if there:
                (self.folder / "timers.target.wants" / TIMER).unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from None
        if there and self.runs:
            self._tell("daemon-reload")
        return bool(there)

    def _read(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text(errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PmapdiffError(f"cannot read {self.folder / name}: {error.strerror}") from None

    def _ours(self, name: str) -> str | None:
        """The text of a unit of ours, None if there is none. Raises PmapdiffError if it is somebody else's."""
        text = self._read(name)
        if text is not None and not text.startswith(_MADE_BY):
            raise PmapdiffError(f"{self.folder / name} was not made by `pmapdiff schedule`; it was left as it is: rename it")
        return text

    def _write(self, name: str, text: str) -> None:
        new = self.folder / f".{name}.{os.getpid()}.new"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                with new.open("x") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                new.chmod(0o644)
                new.replace(self.folder / name)
            finally:
                with suppress(OSError):
                    new.unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> PmapdiffError:
        hint = ": become root, or use --own" if isinstance(error, PermissionError) and self.system else ""
        return PmapdiffError(f"cannot write to {self.folder}: {error.strerror}{hint}")

    def _tell(self, *words: str) -> None:
        argv = self.command(*words)
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PmapdiffError(f"{' '.join(argv)}: {error}") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise PmapdiffError(f"{' '.join(argv)} failed: {printable(said[-1]) if said else f'exit code {done.returncode}'}")
