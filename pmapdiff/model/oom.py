"""What the kernel said when it ran out of memory: the report, the tasks in it, and what it killed.

Whatever a log did not say is None, never 0. Sizes are KiB. Names are the kernel's (`comm`, at most 15 bytes) and paths of cgroups are bytes,
both chosen by others.
"""

from __future__ import annotations

from typing import NamedTuple


class OomTask(NamedTuple):
    """A process in the table of tasks, which lists those that could have been killed: of one cgroup, or of the whole system."""

    pid: int
    name: bytes
    total_vm_kib: int
    rss_kib: int
    uid: int | None = None
    anon_rss_kib: int | None = None
    file_rss_kib: int | None = None
    shmem_rss_kib: int | None = None
    """These three since Linux 6.8, where `rss` is their sum."""
    swap_kib: int | None = None
    pgtables_kib: int | None = None
    oom_score_adj: int | None = None


class OomReport(NamedTuple):
    """Why something had to be killed. `constraint` is `memcg`, `system`, `cpuset` or `memory-policy`: whose memory had run out."""

    constraint: str | None = None
    invoked_by: bytes | None = None
    """Whose request could not be met: often, but not always, what is killed."""
    cgroup: bytes | None = None
    """The cgroup whose limit was reached, which may be above the one of what was killed."""
    usage_kib: int | None = None
    limit_kib: int | None = None
    """Of the cgroup; None also if it has no limit."""
    ram_kib: int | None = None
    tasks: tuple[OomTask, ...] = ()


class OomKill(NamedTuple):
    """One process that was killed (by systemd-oomd: one cgroup, without a process).

    `time_us` is in µs since the epoch, None where the log has only the seconds since boot, or neither. The three parts of Rss are those of the line
    "Killed process", exact; `swap_kib` is of the table of tasks.
    """

    pid: int | None
    name: bytes | None
    time_us: int | None = None
    since_boot_s: float | None = None
    total_vm_kib: int | None = None
    anon_rss_kib: int | None = None
    file_rss_kib: int | None = None
    shmem_rss_kib: int | None = None
    swap_kib: int | None = None
    pgtables_kib: int | None = None
    uid: int | None = None
    oom_score_adj: int | None = None
    cgroup: bytes | None = None
    killer: str = "kernel"
    report: OomReport = OomReport()
