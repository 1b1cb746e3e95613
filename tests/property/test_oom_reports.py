"""Out-of-memory reports as kernels print them, read again: whatever the names, and whatever of them is missing."""

from __future__ import annotations

import random
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import law

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import Parse
from pmapdiff.formats.oom_report import read_oom_stream
from pmapdiff.model.oom import OomKill, OomReport, OomTask

SAMPLES = sorted((Path(__file__).parents[1] / "data" / "oom").glob("*.log"))
LATER_US = 1_795_478_400_000_000


class Victim(NamedTuple):
    """A process as the kernel knows it, in pages."""

    pid: int
    name: bytes
    uid: int
    total_vm: int
    anon: int
    file: int
    shmem: int
    swap: int
    tables: int
    adj: int


def read(data: bytes) -> list[OomKill]:
    return read_oom_stream(Parse(BytesIO(data), "log"), LATER_US)


def read_if_any(data: bytes) -> list[OomKill]:
    try:
        kills = read(data)
    except FormatError:
        return []
    assert kills
    return kills


def printed_name(name: bytes) -> bytes:
    """As /dev/kmsg prints it (kernel/printk/printk.c, msg_add_ext_text: all but printable ASCII, and the backslash)."""
    return b"".join(b"%c" % byte if 32 <= byte < 127 and byte != 0x5C else b"\\x%02x" % byte for byte in name)


def table_6_8(task: Victim) -> bytes:
    rss = task.anon + task.file + task.shmem
    return b"[%7d] %5d %5d %8d %8d %8d %8d %9d %8d %8d         %5d %s" % (
        *(task.pid, task.uid, task.pid, task.total_vm, rss, task.anon, task.file, task.shmem),
        *(task.tables * 4096, task.swap, task.adj, printed_name(task.name)),
    )


def table_4_19(task: Victim) -> bytes:
    rss = task.anon + task.file + task.shmem
    numbers = (task.pid, task.uid, task.pid, task.total_vm, rss, task.tables * 4096, task.swap, task.adj)
    return b"[%7d] %5d %5d %8d %8d %8d %8d         %5d %s" % (*numbers, printed_name(task.name))


def table_3_7(task: Victim) -> bytes:
    rss = task.anon + task.file + task.shmem
    return b"[%5d] %5d %5d %8d %8d %7d %8d         %5d %s" % (
        *(task.pid, task.uid, task.pid, task.total_vm, rss, task.tables, task.swap, task.adj),
        printed_name(task.name),
    )


def killed_5_5(task: Victim, page: int, how: bytes) -> bytes:
    sizes = (task.total_vm * page, task.anon * page, task.file * page, task.shmem * page, task.uid, task.tables * 4, task.adj)
    line = b"%s: Killed process %d (%s) total-vm:%dkB, anon-rss:%dkB, file-rss:%dkB, shmem-rss:%dkB, UID:%d pgtables:%dkB oom_score_adj:%d"
    return line % (how, task.pid, printed_name(task.name), *sizes)


def killed_4_5(task: Victim, page: int, how: bytes) -> bytes:
    sizes = (task.total_vm * page, task.anon * page, task.file * page, task.shmem * page)
    line = (
        b"%s: Kill process %d (%s) score 900 or sacrifice child\n%sKilled process %d (%s) total-vm:%dkB, anon-rss:%dkB, file-rss:%dkB, shmem-rss:%dkB"
    )
    return line % (how, task.pid, printed_name(task.name), PREFIX, task.pid, printed_name(task.name), *sizes)


PREFIX = b"Nov 23 12:00:00 web1 kernel: [ 4711.000001] "
HEADINGS: dict[bytes, Callable[[Victim], bytes]] = {
    b"[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name": table_6_8,
    b"[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name": table_4_19,
    b"[ pid ]   uid  tgid total_vm      rss nr_ptes swapents oom_score_adj name": table_3_7,
}
PAGES = st.integers(0, 1 << 24)
# The end of a line is another matter: of syslog and dmesg, a name then has two.
NAMES = st.one_of(
    st.binary(min_size=1, max_size=15).map(lambda name: name.replace(b"\0", b"?").replace(b"\n", b"?")),
    st.sampled_from(
        [b"(sd-pam)", b"a, b) (c", b") total-vm:1kB,", b"x,pid=1,uid=0", b"123 456", b"7 8", b"npm start", b",task=z,pid=2", b"oom-kill:x", b")"]
    ),
).filter(lambda name: name.strip() == name)


@st.composite
def tasks(draw: st.DrawFn) -> list[Victim]:
    pids = draw(st.lists(st.integers(1, 4_194_303), min_size=1, max_size=8, unique=True))
    return [
        Victim(
            pid,
            draw(NAMES),
            draw(st.integers(0, 70000)),
            draw(st.integers(1000, 1 << 30)),
            draw(PAGES),
            draw(PAGES),
            draw(PAGES),
            draw(PAGES),
            # As many as the kernel could need.
            draw(st.integers(1, 500)),
            draw(st.integers(-1000, 1000)),
        )
        for pid in pids
    ]


@given(st.data(), tasks(), st.sampled_from([4, 16, 64]), st.sampled_from(sorted(HEADINGS)), st.booleans(), st.booleans())
@law(150)
def test_what_a_kernel_prints_is_what_is_read(
    data: st.DataObject, known: list[Victim], page: int, heading: bytes, is_memcg: bool, is_new: bool
) -> None:
    row = HEADINGS[heading]
    victim = data.draw(st.sampled_from(known))
    how = b"Memory cgroup out of memory" if is_memcg else b"Out of memory"
    where = b"oom_memcg=/a.slice,task_memcg=/a.slice/b.service" if is_memcg else b"global_oom,task_memcg=/a.slice/b.service"
    constraint = b"CONSTRAINT_MEMCG" if is_memcg else b"CONSTRAINT_NONE"
    context = b"oom-kill:constraint=%s,nodemask=(null),cpuset=/,mems_allowed=0,%s,task=%s,pid=%d,uid=%d"
    lines = [
        printed_name(victim.name) + b" invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        b"memory: usage 5120kB, limit 5120kB, failcnt 42" if is_memcg else b"131072 pages RAM",
        b"Tasks state (memory values in pages):",
        heading,
        *map(row, known),
        *([context % (constraint, where, printed_name(victim.name), victim.pid, victim.uid)] if is_new else []),
        (killed_5_5 if is_new else killed_4_5)(victim, page, how),
    ]
    (kill,) = read(b"".join(PREFIX + line + b"\n" for line in lines))
    sizes = [size * page for size in (victim.total_vm, victim.anon, victim.file, victim.shmem, victim.swap)]
    assert (kill.pid, kill.name, kill.uid, *kill[4:9]) == (victim.pid, victim.name, victim.uid, *sizes)
    assert kill.cgroup == (b"/a.slice/b.service" if is_new else None)
    has_parts = row is table_6_8
    expected = [
        OomTask(
            task.pid,
            task.name,
            task.total_vm * page,
            (task.anon + task.file + task.shmem) * page,
            task.uid,
            task.anon * page if has_parts else None,
            task.file * page if has_parts else None,
            task.shmem * page if has_parts else None,
            task.swap * page,
            task.tables * page if row is table_3_7 else task.tables * 4,
            task.adj,
        )
        for task in known
    ]
    ram = None if is_memcg else 131072 * page
    limit = 5120 if is_memcg else None
    limited = b"/a.slice" if is_memcg and is_new else None
    assert kill.report == OomReport("memcg" if is_memcg else "system", victim.name, limited, limit, limit, ram, tuple(expected))


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_whatever_is_missing_or_broken_nothing_else_is_raised(path: Path) -> None:
    data = path.read_bytes()
    chance = random.Random(path.name)
    for _ in range(60):
        changed = bytearray(data[: chance.randrange(len(data))] if chance.random() < 0.5 else data)
        for _ in range(chance.choice([0, 1, 5, 50]) if changed else 0):
            changed[chance.randrange(len(changed))] = chance.choice(b'0123456789()[]{}":,\\\n =x\xff\x00')
        for kill in read_if_any(bytes(changed)):
            assert all(value is None or value >= 0 for value in kill[4:10])


@given(st.lists(st.sampled_from(sorted({line for path in SAMPLES for line in path.read_bytes().splitlines()})), max_size=40))
@law(150)
def test_lines_in_any_order(lines: list[bytes]) -> None:
    text = b"\n".join(lines)
    assert all(kill.pid is None or str(kill.pid).encode() in text for kill in read_if_any(text))
