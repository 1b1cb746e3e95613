"""The text of the units: a service that records one snapshot and the timer that starts it; likewise those that sync."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pmapdiff.errors import UsageError
from pmapdiff.schedule.command import Job, folder_of, program_paths, splay_of
from pmapdiff.units import format_duration

SERVICE, TIMER = "pmapdiff.service", "pmapdiff.timer"
SYNC_SERVICE, SYNC_TIMER = "pmapdiff-sync.service", "pmapdiff-sync.timer"
MADE_BY = "# Made by `pmapdiff schedule systemd`"
STATE_FOLDER = Path("/var/lib/pmapdiff")
# What ProtectHome= hides.
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))
# A snapshot starts an interpreter: what comes more often is for one that stays.
_SHORTEST_S = 1.0
# A snapshot of a whole host takes some seconds.
_SYNC_AFTER_S = 10.0


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


def make_units(record: Job, every_s: float, *, system: bool, sync: Job | None = None) -> dict[str, str]:
    """The units, by their names, that record at this interval and sync after each snapshot.

    Raises UsageError for an interval that is too short.
    """
    if every_s < _SHORTEST_S:
        raise UsageError(f"a timer is not for every {format_duration(every_s)}, as each snapshot starts a program: use `pmapdiff record --every`")
    units = {SERVICE: _record_service(record, system=system, syncs=sync is not None), TIMER: _timer(every_s)}
    if sync is not None:
        units |= {SYNC_SERVICE: _sync_service(sync, system=system), SYNC_TIMER: _sync_timer(every_s)}
    return units


def _head(name: str) -> str:
    return f"{MADE_BY}, which makes it anew. To change it: systemctl edit {name}"


def _timer(every_s: float) -> str:
    return f"""\
{_head(TIMER)}
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


def _sync_timer(every_s: float) -> str:
    # Two intervals of its own would not do: that of a day drifts, and what was recorded just behind it waits for a day.
    return f"""\
{_head(SYNC_TIMER)}
[Unit]
Description=Bring recorded snapshots to another store, soon
# It is started with each snapshot.
StartLimitIntervalSec=0

[Timer]
# It waits until that should be there, and for a random time, so that hosts do not come all at once. Then it is over and can be
# started again; not before the service has ended.
OnActiveSec={_time_span(min(_SYNC_AFTER_S, every_s / 4))}
RandomizedDelaySec={_time_span(splay_of(every_s))}
AccuracySec={_time_span(min(1.0, every_s / 10))}
RemainAfterElapse=no
"""


def _time_span(seconds: float) -> str:
    return f"{seconds:.0f}s" if seconds == round(seconds) else f"{seconds * 1000:.0f}ms"


def _record_service(job: Job, *, system: bool, syncs: bool) -> str:
    network = any(map(_needs_network, job.stores))
    lines = [
        _head(SERVICE),
        "[Unit]",
        "Description=Record the memory mappings of processes",
        "# The timer starts it as often as it was told to.",
        "StartLimitIntervalSec=0",
        *_online(network=network, system=system),
        *(["# Started with it, and not waited for.", f"Wants={SYNC_TIMER}"] if syncs else []),
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={_command(job)}",
        "TimeoutStartSec=1h",
        "UMask=0077",
        "# No Nice=, CPUSchedulingPolicy= or IOSchedulingClass=: while its table is read, a process waits for the reader to map",
        "# memory (mmap_lock). A recorder that must let others go first keeps it waiting for longer.",
        "# When memory runs out, the recorder goes before what it records.",
        "OOMScoreAdjust=500",
        "",
        *(_recording_sandbox(job) if system else [_LITTLE_SANDBOX]),
        *_any_sandbox(network=network),
        "# Looking at processes, not touching them: ptrace is not among these to begin with.",
        *_SYSTEM_CALLS,
    ]
    return "\n".join(lines) + "\n"


def _sync_service(job: Job, *, system: bool) -> str:
    network = any(map(_needs_network, job.stores))
    lines = [
        _head(SYNC_SERVICE),
        "[Unit]",
        "Description=Bring recorded snapshots to another store",
        "# A server that is away for days is asked again and again.",
        "StartLimitIntervalSec=0",
        *_online(network=network, system=system),
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={_command(job)}",
        "# After days without the server there is much to bring. What is cut off goes on the next time.",
        "TimeoutStartSec=1d",
        "UMask=0077",
        "OOMScoreAdjust=500",
        "",
        *(_syncing_sandbox(job) if system else [_LITTLE_SANDBOX]),
        *_any_sandbox(network=network),
        *_SYSTEM_CALLS,
    ]
    return "\n".join(lines) + "\n"


def _command(job: Job) -> str:
    # The path of the program is no place for variables.
    return " ".join([quote(job.words[0], variables=False), *map(quote, job.words[1:])])


def _online(*, network: bool, system: bool) -> list[str]:
    return ["Wants=network-online.target", "After=network-online.target"] if network and system else []


_LITTLE_SANDBOX = "# A user's manager cannot do more: the rest needs privileges."
_SYSTEM_CALLS = (
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~process_vm_readv process_vm_writev",
    "SystemCallErrorNumber=EPERM",
    "SystemCallArchitectures=native",
)


def _any_sandbox(*, network: bool) -> list[str]:
    return [
        "NoNewPrivileges=yes",
        f"RestrictAddressFamilies=AF_UNIX{' AF_INET AF_INET6 AF_NETLINK' if network else ''}",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "MemoryDenyWriteExecute=yes",
    ]


def _recording_sandbox(job: Job) -> list[str]:
    return [
        "# To read the tables of other users' processes. ProtectProc=, ProcSubset=, PrivateUsers= and PrivatePIDs= stay as they",
        "# are: they would hide those processes, or make them somebody else's.",
        f"CapabilityBoundingSet={' '.join(['CAP_SYS_PTRACE', *_capabilities(job)])}",
        *_system_sandbox(job),
    ]


def _syncing_sandbox(job: Job) -> list[str]:
    return [
        "# It reads the store, whose log it also writes to, and has nothing to do with processes.",
        f"CapabilityBoundingSet={' '.join(_capabilities(job))}",
        "ProtectProc=invisible",
        *_system_sandbox(job),
    ]


def _system_sandbox(job: Job) -> list[str]:
    """What only the manager of the host can do for a service. It runs as root, with next to nothing of what root may do."""
    folders = _folders(job)
    places = [*program_paths(), *folders]
    # Seen through links as well as without: a unit's folders are those at the end of the links.
    places += [Path(os.path.realpath(place)) for place in places]
    if len(folders) < len(job.stores):
        # libpq looks for ~/.pgpass there.
        home = ["Environment=HOME=%h", "ProtectHome=read-only"]
    elif _below(places, _HOMES):
        home = ["# The store, or pmapdiff itself, is in a home folder.", "ProtectHome=read-only"]
    else:
        home = ["ProtectHome=yes"]
    return [
        "ProtectSystem=strict",
        *[line for folder in dict.fromkeys(folders) for line in _writable(folder)],
        *home,
        *([] if _below(places, _TEMPORARY) or any(map(_socket_is_in_tmp, job.stores)) else ["PrivateTmp=yes"]),
        "PrivateDevices=yes",
        *([] if any(map(_needs_network, job.stores)) else ["PrivateNetwork=yes"]),
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "KeyringMode=private",
    ]


def _folders(job: Job) -> list[Path]:
    """The folders of those stores that are files."""
    return [folder for store in job.stores if (folder := folder_of(store)) is not None]


def _writable(folder: Path) -> list[str]:
    if folder == STATE_FOLDER:
        return ["StateDirectory=pmapdiff", "StateDirectoryMode=0700"]
    return [f"ReadWritePaths={quote(str(folder), variables=False)}"]


def _below(places: Iterable[Path], folders: Iterable[Path]) -> bool:
    return any(place.is_relative_to(folder) for place in places for folder in folders)


def _capabilities(job: Job) -> list[str]:
    """What root needs to use the files of others, which it may not do without."""
    found = []
    if any(_foreign(place) for path in program_paths() for place in (path, *path.parents)):
        found.append("CAP_DAC_READ_SEARCH")
    if any(_foreign(place) for folder in _folders(job) for place in (folder, *folder.parents)):
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
