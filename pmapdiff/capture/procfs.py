"""Reading /proc: bytes in, small values out. Nothing here retries, judges or stores.

None of these files but cmdline and smaps touches the target's memory or waits for its locks
(fs/proc/array.c, fs/proc/base.c, 5.10 to 6.18), so only those two can be made to block by a hostile process.
"""

from __future__ import annotations

import os
import re
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pmapdiff.errors import CaptureError
from pmapdiff.units import format_us

PROC = "/proc"
# More than any of these files but the tables has; of those the kernel gives a page at a time whatever is asked for.
_MOST_SMALL = 4096
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") >> 10
_UNLIMITED = re.compile(rb"^Max (address space|data size|stack size) +(\d+|unlimited)", re.MULTILINE)
_MEM_TOTAL = re.compile(rb"^MemTotal: +(\d+) kB$", re.MULTILINE)
_STATUS_FIELDS = re.compile(rb"^(VmHWM|VmRSS|RssAnon|RssShmem|VmPTE|VmSwap|HugetlbPages|Threads|Uid):\s+(\d+)(?:\s+(\d+))?", re.MULTILINE)


class Stat(NamedTuple):
    """What identifies a process, from /proc/PID/stat (fs/proc/array.c, do_task_stat).

    `exec_key` changes with every exec. It is made of fields 28, 47 and 48, which read as zero where we may not look.
    """

    pid: int
    comm: bytes
    ppid: int
    threads: int
    start_ticks: int
    exec_key: str
    has_memory: bool
    """Whether its main thread has an address space: a zombie, a kernel thread and whoever is just exiting have none."""


def read_bytes(path: str) -> bytes:
    """A /proc file, whole, in one pass. Raises OSError."""
    # Not open(): for files as small as these, its object costs more than the reading.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(fd, _MOST_SMALL)
        # Only the end of the file says that this was all of it.
        while piece := os.read(fd, _MOST_SMALL):
            data += piece
    finally:
        os.close(fd)
    return data


def read_max_map_count() -> int | None:
    """vm.max_map_count: how many mappings a process may have; None where /proc/sys is not to be read."""
    try:
        return int(read_bytes("/proc/sys/vm/max_map_count"))
    except (OSError, ValueError):
        return None


def read_mem_total_kib() -> int | None:
    """MemTotal: the memory that the kernel manages, in KiB; None where it is not to be read.

    Memory plugged in or given back by a balloon changes it (fs/proc/meminfo.c, 5.10 to 6.18); in a container it may be a limit (lxcfs).
    """
    try:
        found = _MEM_TOTAL.search(read_piece("/proc/meminfo"))
    except OSError:
        return None
    return int(found[1]) if found else None


def read_piece(path: str) -> bytes:
    """The beginning of a /proc file, at most 512 bytes. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 512)
    finally:
        os.close(fd)


class Text(NamedTuple):
    """What reading a table gave: the text, how long it took in µs, and why it was not read to its end."""

    data: bytes
    read_us: int
    given_up: str | None = None


def read_table(path: str, most_us: int | None = None, most_hold_us: int | None = None) -> Text:
    """A table of mappings, whole, in one pass. Raises OSError.

    Given up when it has taken more than `most_us` in all, or more than `most_hold_us` in one read(): the kernel
    holds the target's mmap_lock during each (fs/proc/task_mmu.c, m_start to m_stop; fs/seq_file.c, seq_read_iter, 5.10 to 6.18).
    """
    started = time.monotonic_ns()
    if most_us is None and most_hold_us is None:
        with open(path, "rb", buffering=0) as file:
            data = file.readall()
        return Text(data, (time.monotonic_ns() - started) // 1000)
    pieces: list[bytes] = []
    given_up = None
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        now = started
        while given_up is None:
            before = now
            piece = os.read(fd, _MOST_SMALL)
            now = time.monotonic_ns()
            if not piece:
                break
            pieces.append(piece)
            if most_us is not None and now - started > most_us * 1000:
                given_up = f"it took more than {format_us(most_us)}"
            elif most_hold_us is not None and now - before > most_hold_us * 1000:
                given_up = f"one read of it took {format_us((now - before) / 1000)}"
    finally:
        os.close(fd)
    return Text(b"".join(pieces), (now - started) // 1000, given_up)


def read_stat(directory: str) -> Stat:
    """The identity of the process (or thread) whose /proc folder this is. Raises OSError if it is gone."""
    raw = read_bytes(f"{directory}/stat")
    # comm is what its owner likes, brackets and spaces too: it ends at the last one.
    opening, closing = raw.index(b"("), raw.rindex(b")")
    fields = raw[closing + 2 :].split()
    return Stat(
        pid=int(raw[:opening]),
        comm=raw[opening + 1 : closing],
        ppid=int(fields[1]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        exec_key=b"-".join((fields[25], fields[44], fields[45])).decode("ascii"),
        has_memory=fields[20] != b"0",
    )


def list_pids() -> list[int]:
    """The processes that we can see, in ascending order."""
    return sorted(int(name) for name in os.listdir(PROC) if name.isdigit())


def list_threads(pid: int) -> list[int]:
    """The threads of a process. Raises OSError if it is gone."""
    return sorted(int(name) for name in os.listdir(f"{PROC}/{pid}/task") if name.isdigit())


def memory_directory(stat: Stat) -> str | None:
    """Where in /proc a process's address space is; None if it is gone.

    That of a process whose main thread has exited while others live on is only seen through one of those
    (/proc/PID/smaps reads as empty, fs/proc/task_mmu.c, 6.18).
    """
    directory = f"{PROC}/{stat.pid}"
    if stat.has_memory:
        return directory
    for thread in list_threads(stat.pid) if stat.threads > 1 else ():
        try:
            if thread != stat.pid and read_stat(f"{directory}/task/{thread}").has_memory:
                return f"{directory}/task/{thread}"
        except OSError:
            continue
    return None


def identify(pid: int) -> Stat:
    """Who a process is at this moment; the exec key is that of a living thread if the main one has exited.

    Raises OSError if it is gone.
    """
    directory = f"{PROC}/{pid}"
    stat = read_stat(directory)
    memory = memory_directory(stat)
    return stat if memory in (None, directory) else stat._replace(exec_key=read_stat(str(memory)).exec_key)


def statm_size_kib(directory: str) -> int:
    """The size of the address space in KiB, first field of statm; 0 if it has none any more."""
    return int(read_bytes(f"{directory}/statm").split(b" ", 1)[0]) * PAGE_KIB


class MemoryStatus(NamedTuple):
    """What the kernel has counted, in KiB, without looking at a page table (fs/proc/task_mmu.c, task_mem, 5.10 to 6.18).

    `anonymous_kib` and `shmem_kib` are None before Linux 4.5. From 6.2 on the counts of Rss may be off by some pages a processor.
    """

    rss_kib: int
    swap_kib: int
    page_table_kib: int
    anonymous_kib: int | None = None
    shmem_kib: int | None = None
    hugetlb_kib: int | None = None

    @property
    def resident_kib(self) -> int:
        """What a page table has entries for: resident, or paged out."""
        return self.rss_kib + self.swap_kib


class StatusFields(NamedTuple):
    """What /proc/PID/status adds: peak Rss in KiB, number of threads, effective uid, and what the kernel has counted."""

    vm_hwm_kib: int | None
    threads: int | None
    uid: int | None
    memory: MemoryStatus | None


def read_status(directory: str) -> StatusFields:
    """VmHWM, Threads, the effective Uid and the counts of memory. Raises OSError if it is gone."""
    found = {match[1]: match for match in _STATUS_FIELDS.finditer(read_bytes(f"{directory}/status"))}

    def number(name: bytes) -> int | None:
        return int(found[name][2]) if name in found else None

    rss, page_tables = number(b"VmRSS"), number(b"VmPTE")
    memory = None
    if rss is not None and page_tables is not None:
        memory = MemoryStatus(rss, number(b"VmSwap") or 0, page_tables, number(b"RssAnon"), number(b"RssShmem"), number(b"HugetlbPages"))
    uid = found.get(b"Uid")
    return StatusFields(number(b"VmHWM"), number(b"Threads"), int(uid[3]) if uid and uid[3] else None, memory)


class Limits(NamedTuple):
    """Soft resource limits in bytes; None for no limit, or where we may not look."""

    address_space: int | None = None
    data: int | None = None
    stack: int | None = None


def read_limits(directory: str) -> Limits:
    """The limits that bound memory, from /proc/PID/limits."""
    try:
        raw = read_bytes(f"{directory}/limits")
    except OSError:
        return Limits()
    found = {match[1]: None if match[2] == b"unlimited" else int(match[2]) for match in _UNLIMITED.finditer(raw)}
    return Limits(found.get(b"address space"), found.get(b"data size"), found.get(b"stack size"))


def read_exe(directory: str) -> bytes | None:
    """The path of the program; None where it has none or we may not look."""
    try:
        return os.readlink(f"{directory}/exe".encode())
    except OSError:
        return None


def read_cgroup(directory: str) -> bytes | None:
    """The process's cgroup (v2, else that of the v1 memory controller); None where it is not to be seen."""
    try:
        lines = read_bytes(f"{directory}/cgroup").splitlines()
    except OSError:
        return None
    unified = None
    for line in lines:
        _, _, rest = line.partition(b":")
        controllers, _, path = rest.partition(b":")
        if b"memory" in controllers.split(b","):
            return path
        if not controllers:
            unified = path
    return unified


_CONTAINER = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?:/|$)")


def container_of(cgroup: str) -> str | None:
    """The container id in a cgroup path (64 hex digits, as Docker, containerd, CRI-O and podman write it), its first 12."""
    match = _CONTAINER.search(cgroup)
    return match[1][:12] if match else None


def unit_of(cgroup: str) -> str | None:
    """The systemd unit in a cgroup path: its last component that is a service or a scope."""
    units = [part for part in cgroup.split("/") if part.endswith((".service", ".scope"))]
    return units[-1] if units else None


class CgroupMemory(NamedTuple):
    """The tightest memory limit above a cgroup (None: no limit) and what is used of it, in bytes."""

    limit_bytes: int | None
    usage_bytes: int | None


def read_cgroup_memory(cgroup: bytes) -> CgroupMemory:
    """memory.max and memory.current (v2; v1: limit_in_bytes, usage_in_bytes) of the ancestor that limits most.

    Nothing is known of a cgroup outside the reader's cgroup namespace, whose path begins with `/..` (kernel/cgroup/cgroup.c,
    cgroup_path_ns_locked, 5.10 to 6.18): what stands in /sys/fs/cgroup of a container are the limits of that container.
    """
    tightest = CgroupMemory(None, None)
    parts = [part for part in cgroup.split(b"/") if part]
    if b".." in parts:
        return tightest
    for root, limit_name, usage_name in _CGROUP_FILES:
        if not os.path.isdir(root):
            continue
        for depth in range(len(parts), -1, -1):
            folder = b"/".join([root, *parts[:depth]])
            usage = _read_number(folder + b"/" + usage_name)
            limit = _read_number(folder + b"/" + limit_name)
            # cgroup v1 writes "no limit" as the largest number of pages that fits.
            if limit is not None and limit < 1 << 62 and (tightest.limit_bytes is None or limit < tightest.limit_bytes):
                tightest = CgroupMemory(limit, usage)
            elif tightest == (None, None) and usage is not None:
                tightest = CgroupMemory(None, usage)
        if tightest != (None, None):
            break
    return tightest


_CGROUP_FILES = (
    (b"/sys/fs/cgroup", b"memory.max", b"memory.current"),
    (b"/sys/fs/cgroup/memory", b"memory.limit_in_bytes", b"memory.usage_in_bytes"),
)


def _read_number(path: bytes) -> int | None:
    try:
        text = Path(os.fsdecode(path)).read_bytes().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


@cache
def boot_id() -> str:
    """The kernel's id of this boot. Raises CaptureError where /proc does not show it."""
    try:
        return read_bytes(f"{PROC}/sys/kernel/random/boot_id").decode("ascii").strip()
    except OSError as error:
        raise CaptureError(
            f"cannot read {PROC}/sys/kernel/random/boot_id ({error.strerror}): pmapdiff needs the whole of /proc, "
            "which subset=pid (ProcSubset=pid of systemd) hides"
        ) from None


@cache
def boot_time_us() -> int:
    """The moment of boot in µs since the epoch (the kernel gives whole seconds)."""
    match = re.search(rb"^btime (\d+)", read_bytes(f"{PROC}/stat"), re.MULTILINE)
    return int(match[1]) * 1_000_000 if match else 0


@cache
def has_vsyscall() -> bool:
    """Whether a 64-bit process of this host ends in [vsyscall] (x86-64, unless booted with vsyscall=none)."""
    return b"[vsyscall]" in read_bytes(f"{PROC}/self/maps")


def started_at_us(start_ticks: int) -> int:
    """The moment in µs since the epoch at which a process of this boot started."""
    return boot_time_us() + start_ticks * 1_000_000 // os.sysconf("SC_CLK_TCK")
