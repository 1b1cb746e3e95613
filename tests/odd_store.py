"""A store of all that is hard to show: names that are long, wide, or drive terminals and browsers, and numbers as large as they get."""

from __future__ import annotations

from pathlib import Path

from strategies import PAGE, file, make

from pmapdiff.model import Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.store import Store

MINUTE_US = 60_000_000
# 2026-11-22 10:00:00 UTC.
FIRST_US = 1_795_341_600_000_000
A = 0x7F00_0000_0000
TIB = 1 << 30
HOSTILE = b"=\x1b]0;x\x07\x1b[31m\n<script>alert(1)</script><img src=x onerror=alert(2)>&amp;\"'|`a` [a](b) \xff\xfe \xe2\x80\xae"
WIDE = "数据库服务器进程🦊🦊🦊".encode() * 9
COMBINED = "e\u0301\u0301👩‍👩‍👧‍👦ａｂ".encode() * 9
DEEP = b"/" + b"/".join(b"a-folder-of-some-length" for _ in range(60)) + b"/lib.so.1"
LONG = b"x" * 400
NAMES = (HOSTILE, WIDE, COMBINED, DEEP, LONG, b"/a/" + WIDE + b"/" + LONG)
LABEL = "=1+1|<b>\x1b[31m数据" + "l" * 90
HOST = "hôst.<i>.数据" + ".long" * 30
SNAPSHOTS = 8


def _table(step: int, huge: int, pid: int) -> tuple[Mapping, ...]:
    rows = [
        make(
            A, A + (200 + step) * PAGE, "rw-p", b"[heap]", rss=400 + 8 * step, private_dirty=300 + 8 * step, anonymous=400 + 8 * step, pss=300, swap=8
        ),
        make(A + (1 << 41), A + (1 << 41) + (huge << 10) + step * PAGE, "rw-p", b"", rss=huge + 4 * step, anonymous=huge, pss=huge, swap=huge // 2),
        make(A + (1 << 43), A + (1 << 43) + (64 << 10) * (8 if step % 2 else 4), "rw-p", b"", rss=64, anonymous=64, pss=64),
    ]
    for number, name in enumerate(NAMES, start=10):
        start = A + (number << 44)
        kib = number * 100 + (step * number * 13 if (pid + number) % 3 else -step * number)
        rows.append(
            file(start, start + (8 << 20), "r--s" if number % 2 else "rw-p", number << 12, name, 50 + number, rss=kib, pss=kib, private_dirty=kib)
        )
    if step > 2:
        rows.append(file(A + (90 << 40), A + (90 << 40) + PAGE, "r-xp", 0, b"/new/" + DEEP, 99, rss=4, pss=4))
    return tuple(sorted(rows))


def _capture(step: int, number: int, comm: bytes, status: Status) -> Capture:
    pid = 4_194_304 - number
    info = ProcessInfo(
        ProcessIdentity("boot", pid, 5, "exec"),
        comm,
        b"/opt/" + comm + b"\0--config\0" + DEEP + b"\0",
        b"/opt/" + comm,
        1,
        1000,
        b"/system.slice/" + comm,
        None,
        None,
        FIRST_US,
    )
    has_table = status in (Status.COMPLETE, Status.TORN)
    table = MappingTable(_table(step, TIB * 900 if number == 1 else 1 << 16, number)) if has_table else None
    note = "a note that is as long as " + "the reason for it " * 9 if status is not Status.COMPLETE else None
    return Capture(info, status, table, threads=number + step, read_us=10 ** (number + 2), note=note, cgroup_limit_bytes=1 << 50)


def snapshots() -> list[Snapshot]:
    """A series of six processes: one is torn, one denied, one new and one gone."""
    found = []
    for step in range(SNAPSHOTS):
        names = (b"plain", HOSTILE[:15], *NAMES[1:])
        statuses = (Status.COMPLETE, Status.COMPLETE, Status.TORN, Status.COMPLETE, Status.DENIED, Status.COMPLETE)
        captures = [_capture(step, number, comm, status) for number, (comm, status) in enumerate(zip(names, statuses, strict=False))]
        captures = [c for place, c in enumerate(captures) if (place != 3 or step > 1) and (place != 5 or step < SNAPSHOTS - 1)]
        label = LABEL if step in (0, SNAPSHOTS - 1) else None
        ref = SnapshotRef(None, FIRST_US + step * 10 * MINUTE_US, HOST, label, "live", 10**9, None, 65530, TIB * 1000)
        found.append(Snapshot(ref, tuple(captures)))
    return found


def write(path: Path) -> str:
    """The store at this path; gives its location."""
    store = Store.open(str(path), write=True)
    store.write_all(snapshots())
    store.engine.dispose()
    return str(path)
