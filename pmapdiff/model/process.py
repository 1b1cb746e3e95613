"""Processes, their captures, and the snapshot that holds them."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from pmapdiff.model.mapping import MappingTable, Totals
from pmapdiff.text import decode

# The kernel gives the time of boot in whole seconds, and a process's start in ticks since.
_CLOCK_SLACK_US = 2_000_000


class Status(StrEnum):
    """How the capture of one process went."""

    COMPLETE = "complete"
    TORN = "torn"
    """A table was read, but the address space changed under the reader each time it tried."""
    MAPS_ONLY = "maps-only"
    """Reading smaps would have cost the process more than the recorder was allowed: the table is of maps, without counters, and
    the totals are what the kernel counts anyway (VmRSS, RssAnon, VmSwap)."""
    VANISHED = "vanished"
    """The process ended, or became another program, while it was read."""
    DENIED = "denied"
    """The kernel did not let us read it (needs CAP_SYS_PTRACE)."""
    PARTIAL = "partial"
    """Of a saved table only a part was there: a copy that was cut off."""
    TIMEOUT = "timeout"
    """A read took longer than the limit and was given up; what had been read until then is kept."""


class ProcessIdentity(NamedTuple):
    """What makes a process this one: one image in one incarnation.

    `boot_id` and `start_ticks` (clock ticks since boot) say which incarnation of the pid it is; `exec_key`
    changes with every exec (start_stack, start_brk and arg_start, fields 28, 47 and 48 of /proc/PID/stat,
    fs/proc/array.c, 5.10 to 6.18). A saved table has no boot id and no start: its `exec_key` is made of addresses that
    stay as long as the process does.
    """

    boot_id: str
    pid: int
    start_ticks: int
    exec_key: str

    @property
    def is_known(self) -> bool:
        """Whether it was recorded, so that two that differ are two processes."""
        return bool(self.boot_id)


class ProcessInfo(NamedTuple):
    """Who a process is, as it was when it was first seen.

    Byte strings are the kernel's, verbatim; `command` is the cmdline with its NULs. The soft limits are
    bytes, None for no limit or where we could not look.
    """

    identity: ProcessIdentity
    comm: bytes = b""
    command: bytes = b""
    exe: bytes | None = None
    ppid: int | None = None
    uid: int | None = None
    cgroup: bytes | None = None
    container: str | None = None
    unit: str | None = None
    started_at_us: int | None = None
    rlimit_as_bytes: int | None = None
    rlimit_data_bytes: int | None = None
    rlimit_stack_bytes: int | None = None

    @property
    def pid(self) -> int:
        """The process id, in the namespace of the recorder; 0 where a saved table does not say."""
        return self.identity.pid

    @property
    def name(self) -> str:
        """What people call it: the program's basename, or the kernel's comm."""
        if self.comm:
            return decode(self.comm)
        words = self.command.replace(b"\0", b" ").split()
        return decode(words[0].rsplit(b"/", 1)[-1]) if words else f"pid {self.pid}"

    @property
    def is_named(self) -> bool:
        """Whether anything is known of what it is called: a saved table may not say."""
        return bool(self.comm or self.command.strip(b"\0 "))

    def had_started_by(self, moment_us: int) -> bool:
        """Whether it is known to have run at a moment, in µs since the epoch, at which it had not ended yet."""
        return self.started_at_us is not None and self.started_at_us < moment_us - _CLOCK_SLACK_US

    @property
    def command_line(self) -> str:
        """The command line as one text, arguments joined by spaces; `[comm]` if the process has none, nothing if that is unknown, too."""
        joined = decode(self.command.rstrip(b"\0").replace(b"\0", b" "))
        return joined or (f"[{decode(self.comm)}]" if self.comm else "")


class Capture(NamedTuple):
    """One process in one snapshot.

    `table` is None where the status has none, and also where the text equals the process's last recorded one:
    then `digest` (of the text) says so and the store knows the rest. `totals` are only given by a recorder where they are not
    the sums of the table: of a table without counters. `threads` is the number of threads, `vm_hwm_kib`
    the peak Rss, the cgroup's `memory.max` (None: no limit) and `memory.current` are bytes, `read_us` is the
    time the kernel took to print smaps, up to the end or to where it was given up (None: it was not read).
    """

    process: ProcessInfo
    status: Status
    table: MappingTable | None = None
    digest: bytes | None = None
    totals: Totals | None = None
    threads: int | None = None
    vm_hwm_kib: int | None = None
    cgroup_limit_bytes: int | None = None
    cgroup_usage_bytes: int | None = None
    read_us: int | None = None
    note: str | None = None

    @property
    def sums(self) -> Totals | None:
        """What its table adds up to, or, for one without counters, what the kernel has counted; None without a table."""
        return self.table.totals if self.totals is None and self.table is not None else self.totals

    @property
    def has_table(self) -> bool:
        """Whether a mapping table was read, here or (same digest) in the store."""
        return self.table is not None or self.digest is not None or self.totals is not None


class Origin(NamedTuple):
    """Where a snapshot was stored first: which store that was, and its number there. Wherever it is copied to, this stays.

    `store` is the identity that each store gave itself when it was made, 32 hexadecimal digits.
    """

    store: str
    number: int


IMPORTED = "imported"
"""The host of saved tables that do not say where they were taken."""


class SnapshotRef(NamedTuple):
    """Which snapshot: what every report says of it.

    `id` is None for a saved file that is in no store. `selection` is what the recorder was told to look for (`--all`,
    `--name redis`), None for tables that were not recorded: several recorders may feed one store. `max_map_count` is the host's
    vm.max_map_count at that time, and `mem_total_kib` its MemTotal; None where nobody looked. `origin` is None for what is in no store yet.
    """

    id: int | None
    taken_at_us: int
    host: str
    label: str | None = None
    source: str = "live"
    duration_us: int | None = None
    selection: str | None = None
    max_map_count: int | None = None
    mem_total_kib: int | None = None
    origin: Origin | None = None

    @property
    def known_host(self) -> str | None:
        """Where it was taken; None for saved tables that do not say."""
        return self.host if self.host not in ("", IMPORTED) else None

    def is_elsewhere(self, other: SnapshotRef) -> bool:
        """Whether the other one is known to be of another host."""
        return None not in (self.known_host, other.known_host) and self.host != other.host


class Snapshot(NamedTuple):
    """The captures of the chosen processes of one host at one time."""

    ref: SnapshotRef
    captures: tuple[Capture, ...]
