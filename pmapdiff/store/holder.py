"""Who is writing: the process that holds a store's lock, for the message to whoever has to wait for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pmapdiff.store.schema import APPLICATION_ID
from pmapdiff.text import decode, printable

_LONGEST_COMMAND = 60


def sqlite_writer(path: Path) -> str | None:
    """`pid 1100 (pmapdiff)`: who has a write lock on an SQLite file, as /proc/locks tells; None if it does not.

    In WAL mode that lock is one byte of the -shm file (https://www.sqlite.org/walformat.html#wal_locks), else one of the
    file itself. To ask by fcntl would mean to open and close that file, which drops the locks that we have on it ourselves. /proc/locks has a line a
    lock, `1: POSIX  ADVISORY  WRITE 1100 fe:00:1234 120 120` (fs/locks.c, lock_get_status, 5.10 to 6.18), with the pid 0 or no line
    at all for a process of another pid namespace.
    """
    inodes = set()
    for file in (Path(f"{path}-shm"), path):
        try:
            status = file.stat()
        except OSError:
            continue
        inodes.add(f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}")
    try:
        lines = Path("/proc/locks").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    for line in lines:
        # A process that waits for a lock has an arrow before the kind.
        fields = line.split()
        if len(fields) >= 8 and "->" not in fields and fields[3] == "WRITE" and fields[5] in inodes and fields[4].isdigit():
            pid = int(fields[4])
            if pid not in (0, os.getpid()):
                return f"pid {pid}{_command(pid)}"
    return None


def _command(pid: int) -> str:
    """The name of a process in brackets, safe to print."""
    try:
        # comm and not cmdline, which a hostile process can make us wait for.
        comm = decode(Path(f"/proc/{pid}/comm").read_bytes().rstrip(b"\n"))
    except OSError:
        return ""
    return f" ({printable(comm)[:_LONGEST_COMMAND]})"


def postgresql_writer(cursor: Any) -> str | None:
    """`server process 4711 (pmapdiff of recorder from 10.0.0.7)`: who has a writer's lock; None if the server does not tell.

    Takes a cursor of the driver. A lock of one number has it in objid, one of two has the first in classid
    (https://www.postgresql.org/docs/current/view-pg-locks.html).
    """
    try:
        cursor.execute(
            "SELECT a.pid, a.application_name, a.usename, host(a.client_addr) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
            "WHERE l.locktype = 'advisory' AND l.granted AND %s IN (CASE l.objsubid WHEN 1 THEN l.objid ELSE l.classid END) "
            "AND l.pid <> pg_backend_pid() ORDER BY l.mode LIKE 'Exclusive%%' DESC",
            (APPLICATION_ID,),
        )
        row = cursor.fetchone()
    except Exception:
        # Whatever a driver's own errors are called.
        return None
    if row is None:
        return None
    who = f"{row[1] or 'a client'} of {row[2]}{f' from {row[3]}' if row[3] else ''}"
    return f"server process {row[0]} ({printable(who)[:_LONGEST_COMMAND]})"
