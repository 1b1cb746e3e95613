"""The lines of the kernel's out-of-memory report, one by one: which there are, and what is in them.

mm/oom_kill.c and mm/memcontrol.c (dump_header, dump_tasks, mem_cgroup_print_oom_info, __oom_kill_process) from 2.6.9 to 6.18, and those
of RHEL, which moved the uid: `Killed process 12, UID 0, (name) total-vm:…` (6), `Killed process 12 (name), UID 0, total-vm:…` (7). Names and paths
are whatever somebody chose, so what the kernel prints behind them is looked for from the right, where they cannot reach.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# TASK_COMM_LEN is 16; /dev/kmsg writes a byte that is no ASCII, or is a backslash, as \xNN. Some vendors keep longer names.
_NAME = rb"(?s:.{0,64})"
INVOKED = re.compile(rb" invoked oom-killer: ")
CONTEXT = re.compile(rb"oom-kill:constraint=")
LIMITS = re.compile(rb"(?<![+\w])memory: usage (\d{1,19})kB, limit (\d{1,19})kB")
OLD_LIMIT = re.compile(rb"Task in (/[^\n]{0,4096}?) killed as a result of limit of (/[^\n]{0,4096})")
HEADING = re.compile(rb"\[ *pid *\] +((?:[a-z_]{2,20} +){4,20})name\b")
ROW = re.compile(rb"\[ *(\d{1,10})\]((?: +-?\d{1,19}){4,20}) ")
RAM = re.compile(rb"(?<!\d)(\d{1,15}) pages (?:of )?RAM\b")
_HOW = rb"(?P<how>Memory cgroup out of memory|Out of [Mm]emory)[^:\n]{0,40}: "
CHOSEN = re.compile(_HOW + rb"[Kk]ill process (?P<pid>\d{1,10}) \((?P<name>" + _NAME + rb")\) score ")
KILLED = re.compile(
    rb"(?:" + _HOW + rb")?Killed process (?P<pid>\d{1,10})(?:, UID (?P<uid>\d{1,10}),)? "
    rb"(?:\((?P<name>" + _NAME + rb")\)(?=,? (?:UID \d{1,10}, )?(?:total-vm|vsz):)|\((?P<bare>" + _NAME + rb")\))"
)
KILLED_ALONE = re.compile(rb"Killed process \d{1,10}(?:, UID \d{1,10},)? \(")
REST_OF_KILLED = re.compile(rb"\)(?:, UID \d{1,10})?,? (?:total-vm|vsz):")
GROUP = re.compile(rb"Tasks in (/[^\n]{0,4096}) are going to be killed due to memory\.oom\.group set")
VICTIM = re.compile(rb"(?P<how>System|Cgroup) OOM encountered, victim process: (?P<name>" + _NAME + rb"), pid: (?P<pid>\d{1,10})")
"""What the kubelet makes of it."""
OOMD = re.compile(rb"(?:Killed|Marked) (?P<path>/[^\n]{1,4096}?)(?: for killing)? due to memory (?:pressure for|used) ")
"""Of systemd-oomd (oomd-manager.c, 248 to 258); `Marked` since 257."""
INTERESTING = re.compile(
    rb"oom-kill|emory: usage |killed as a result of limit|pages (?:of )?RAM|[Kk]ill(?:ed)? process|\[ *pid *\] |\) total-vm:"
    rb"|\] +\d{1,10} +\d{1,10} +\d{1,19} +\d{1,19} |memory\.oom\.group| OOM encountered|due to memory (?:pressure|used)"
)
"""What any of these lines has in it, so that all others need no closer look."""
KINDS = re.compile(
    rb"(?P<killed>Killed process \d)|(?P<invoked> invoked oom-killer: )|(?P<context>oom-kill:constraint=)|(?P<limits>memory: usage \d)"
    rb"|(?P<chosen>emory[^:\n]{0,40}: [Kk]ill process \d)|(?P<old_limit>Task in /)|(?P<heading>\[ *pid *\] )|(?P<ram>\d pages (?:of )?RAM)"
    rb"|(?P<group>Tasks in /)|(?P<victim>(?:System|Cgroup) OOM enc)|(?P<oomd>(?:Killed|Marked) /)"
)
"""Which of these a line is. The names are those of the patterns above."""
_FIGURE = re.compile(rb"([A-Za-z][A-Za-z_-]{1,19})(?::| )(-?\d{1,19})(?:kB)?(?!\w)")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")
_CONSTRAINTS = {
    b"CONSTRAINT_MEMCG": "memcg",
    b"CONSTRAINT_NONE": "system",
    b"CONSTRAINT_CPUSET": "cpuset",
    b"CONSTRAINT_MEMORY_POLICY": "memory-policy",
}
# A cgroup without a limit has the most pages that there can be (PAGE_COUNTER_MAX), rounded down in some versions.
_NO_LIMIT_KIB = 1 << 52
# Since 5.3 the line has page tables; up to 5.4 it says kB and means bytes (mainline 941f762bcb27).
_LEAST_SHARE_OF_PGTABLES = 16
_PAGE_BYTES = 4096


class Context(NamedTuple):
    """The line `oom-kill:` (Linux 5.0)."""

    constraint: str | None
    limited: bytes | None
    cgroup: bytes | None
    name: bytes | None
    pid: int | None
    uid: int | None


class Figures(NamedTuple):
    """The figures in the line "Killed process"; whatever it does not have is None."""

    total_vm_kib: int | None
    anon_rss_kib: int | None
    file_rss_kib: int | None
    shmem_rss_kib: int | None
    pgtables_kib: int | None
    uid: int | None
    oom_score_adj: int | None


class Row(NamedTuple):
    """A row of the table of tasks: its figures by the names of its columns (pages, unless the name says bytes), and a name."""

    figures: dict[str, int]
    name: bytes
    begin: int
    """Where in its line it begins."""


def name_of(raw: bytes) -> bytes:
    """A name as the process has it."""
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), raw)


def context_of(text: bytes) -> Context:
    """What a line behind `oom-kill:constraint=` says. It may be cut: the kernel ends its lines after about 1,000 bytes."""
    # Nothing that a process chose stands before its cgroup, and nothing behind its uid.
    before, _, after = text.partition(b",task_memcg=")
    constraint, limited = before.partition(b",")[0], before.rpartition(b",oom_memcg=")[2] if b",oom_memcg=" in before else None
    cgroup, has_name, task = after.partition(b",task=")
    rest, has_pid, ids = task.rpartition(b",pid=")
    pid, _, uid = ids.partition(b",uid=")
    return Context(
        # Up to 5.0 a cgroup's was called CONSTRAINT_NONE.
        "memcg" if limited is not None else _CONSTRAINTS.get(constraint),
        limited,
        cgroup if cgroup and has_name else None,
        name_of(rest) if has_pid else None,
        number(pid.strip()) if has_pid else None,
        number(re.split(rb"[^\d ]", uid.strip(), maxsplit=1)[0].strip()) if has_pid else None,
    )


def figures_of(text: bytes, uid: bytes | None) -> Figures:
    """What stands behind the name in a line "Killed process"."""
    found = {match[1]: int(match[2]) for match in _FIGURE.finditer(text)}
    total_vm = found.get(b"total-vm", found.get(b"vsz"))
    pgtables = found.get(b"pgtables")
    if pgtables and pgtables % _PAGE_BYTES == 0 and (total_vm or 0) < pgtables * _LEAST_SHARE_OF_PGTABLES:
        pgtables //= 1024
    return Figures(
        total_vm,
        found.get(b"anon-rss"),
        found.get(b"file-rss"),
        found.get(b"shmem-rss"),
        pgtables,
        int(uid) if uid else found.get(b"UID"),
        found.get(b"oom_score_adj"),
    )


def limit_of(kib: int) -> int | None:
    """A limit, None for one that limits nothing."""
    return kib if kib < _NO_LIMIT_KIB else None


def columns_of(heading: re.Match[bytes]) -> tuple[str, ...] | None:
    """The columns of a table of tasks between `pid` and `name`, None if the ones that every version has are not among them."""
    columns = tuple(word.decode() for word in heading[1].split())
    return columns if {"tgid", "total_vm", "rss"} <= set(columns) else None


def row_of(text: bytes, columns: tuple[str, ...]) -> Row | None:
    """A row of a table with these columns, None for any other line."""
    match = ROW.search(text)
    if match is None:
        return None
    # What is too much was the beginning of a name.
    words = match[2].split()
    if len(words) < len(columns):
        return None
    figures = dict(zip(columns, map(int, words), strict=False))
    name = text[match.end() :] if len(words) == len(columns) else b" ".join(words[len(columns) :]) + b" " + text[match.end() :]
    return Row({"pid": int(match[1]), **figures}, name_of(name), match.start())


def number(text: bytes | None) -> int | None:
    """A number of a process or user, or a time in µs; None for what is none."""
    return int(text) if text is not None and text.isdigit() and len(text) < 18 else None
