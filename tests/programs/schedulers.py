"""A cron daemon and a systemd of the tests' own: real ones, in namespaces in which they see none of the host's schedules."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from programs.driver import Lines, Result, Runner, Target

_IN_CREATE_DELETE_MOVED = 0x100 | 0x200 | 0x80


def missing(*programs: str) -> str | None:
    """Why a daemon cannot be started here; None if it can."""
    if os.geteuid() != 0:
        return "needs root, for namespaces of its own"
    absent = [program for program in ("unshare", "nsenter", *programs) if shutil.which(program) is None and not os.path.exists(program)]
    if absent:
        return f"not installed: {', '.join(absent)} (.ci/run installs them)"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "this host allows no new mount namespaces"
    return None


def snapshots_in(store: Path) -> int:
    """How many snapshots there are, without making a store."""
    if not store.exists():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM snapshot").fetchone()[0])
    except sqlite3.OperationalError:
        # It is just being made.
        return 0


def wait_for_snapshots(stores: dict[Path, int], patience_s: float) -> None:
    """Wait until each store, in a folder that exists, has this many snapshots: woken by the files that come and go beside it."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    deadline = time.monotonic() + patience_s
    try:
        for store in stores:
            watch = libc.inotify_add_watch(fd, os.fsencode(store.parent), _IN_CREATE_DELETE_MOVED)
            assert watch >= 0, os.strerror(ctypes.get_errno())
        while any(snapshots_in(store) < number for store, number in stores.items()):
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            found = {str(store): (snapshots_in(store), sorted(os.listdir(store.parent))) for store in stores}
            assert ready, f"not enough snapshots after {patience_s} s: {found}"
            os.read(fd, 65536)
    finally:
        os.close(fd)


class CronDaemon:
    """Debian's cron in the foreground, with a crontab folder, a cron.d and a /run of its own, and a program to be recorded."""

    SETUP = """
set -e
mount --make-rprivate /
mount -t tmpfs none /run
mount -t tmpfs none /etc/cron.d
mount -t tmpfs none /var/spool/cron
mkdir /var/spool/cron/crontabs
chgrp crontab /var/spool/cron/crontabs
chmod 1730 /var/spool/cron/crontabs
: > /run/crontab
[ ! -e /etc/crontab ] || mount --bind /run/crontab /etc/crontab
echo ready
# It looks for changed crontabs by the second: what is put in just while it starts it might never see.
read -r go
exec cron -f
"""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pmapdiff-cron-"))
        self.own, self.system, self.shared = (Runner(self.folder / name / "test.db") for name in ("own", "system", "shared"))
        # A server that takes connections and never says anything.
        self.silent = socket.create_server(("127.0.0.1", 0))
        self.target = Target()
        self.daemon = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", self.SETUP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/"
        )
        try:
            assert self.daemon.stdin is not None
            assert self.daemon.stdout is not None
            line = Lines(self.daemon.stdout.fileno()).next()
            assert line == b"ready", line
            self.install()
            self.daemon.stdin.write(b"go\n")
            self.daemon.stdin.close()
        except BaseException:
            self.close()
            raise

    def install(self) -> None:
        """One entry in root's crontab and one in cron.d, every minute, each into a store of its own.

        The one is brought to a shared store, the other to the silent server.
        """
        # What the shell, cron and python-crontab would each take for their own, and a number: another run of the tests may go on beside this one.
        number = str(os.getpid())
        self.target.call("name", name=f"%d#$`'{number}")
        self.shared.db.parent.mkdir()
        silent = f"postgresql+psycopg://u@127.0.0.1:{self.silent.getsockname()[1]}/x?connect_timeout=600"
        for run, form, other in ((self.own, "--own", self.shared.db), (self.system, "--system", silent)):
            name = rf"^%d[#]\$`'{number}$"
            options = ("--every", "1m", "--name", name, "--keep-all", "24h", "--sync", other)
            self.inside(run, "schedule", "cron", *options, form, "--install").ok()

    def inside(self, run: Runner, *args: object) -> Result:
        """pmapdiff, where it sees the daemon's crontabs."""
        return run.fresh(*args, prefix=["nsenter", "--mount", f"--target={self.daemon.pid}", "--"])

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.daemon.terminate()
        self.daemon.wait(30)
        self._end_syncs()
        self.silent.close()
        for stream in (self.daemon.stdin, self.daemon.stdout):
            if stream is not None:
                stream.close()
        self.target.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_syncs(self) -> None:
        """What the daemon has started goes on without it."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                fd = os.pidfd_open(int(path.parent.name))
                try:
                    # Looked at while the number cannot become another's.
                    if os.fsencode(self.folder) in path.read_bytes():
                        signal.pidfd_send_signal(fd, signal.SIGKILL)
                finally:
                    os.close(fd)


SYSTEMD = "/usr/lib/systemd/systemd" if os.path.exists("/usr/lib/systemd/systemd") else "/lib/systemd/systemd"
_SYSTEMD_SETUP = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
# A manager of a host sets limits of the kernel; not of this one.
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs none /run
umount --recursive /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount --bind "$CONSOLE" /dev/console
mkdir /run/units /run/lock
cp "$UNITS"/* /run/units
export container=lxc SYSTEMD_UNIT_PATH=/run/units
exec "$SYSTEMD" --system --unit=test.target --log-target=console --log-level=info --show-status=no
"""
_TARGETS = ("sysinit", "basic", "shutdown", "timers", "local-fs", "umount")


@contextlib.contextmanager
def systemd_running(units: Path, wanted: str) -> Iterator[None]:
    """systemd as process 1 of namespaces of its own, with the units of this folder, starting those wanted."""
    for name in _TARGETS:
        (units / f"{name}.target").write_text(f"[Unit]\nDescription={name}\nDefaultDependencies=no\n")
    (units / "test.target").write_text(f"[Unit]\nDefaultDependencies=no\nWants={wanted}\n")
    root = next(line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2")
    cgroup = Path(root) / f"pmapdiff-test-{os.getpid()}"
    cgroup.mkdir()
    console, terminal = pty.openpty()
    log = b""
    try:
        environment = {**os.environ, "CONSOLE": os.ttyname(terminal), "UNITS": str(units), "SYSTEMD": SYSTEMD}
        # Into a cgroup of its own first: what systemd makes there is found, and removed, afterwards.
        enter = f'echo $$ > "{cgroup}/cgroup.procs"; exec "$@"'
        argv = ["sh", "-c", enter, "sh", "unshare", "-m", "-p", "-i", "-u", "--cgroup", "--fork", "--kill-child", "sh", "-c", _SYSTEMD_SETUP]
        with subprocess.Popen(argv, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True) as process:
            try:
                yield
            except BaseException:
                while select.select([console], [], [], 0)[0]:
                    log += os.read(console, 65536)
                print(log.decode(errors="replace"))
                raise
            finally:
                os.killpg(process.pid, signal.SIGKILL)
    finally:
        os.close(console)
        os.close(terminal)
        _remove_cgroup(cgroup)


def _remove_cgroup(cgroup: Path) -> None:
    """Remove it with all below, once the kernel has ended what is in there."""
    (cgroup / "cgroup.kill").write_text("1")
    with (cgroup / "cgroup.events").open() as events:
        poll = select.poll()
        poll.register(events, select.POLLPRI)
        while "populated 1" in events.read():
            poll.poll(10_000)
            events.seek(0)
    for folder, _, _ in os.walk(cgroup, topdown=False):
        os.rmdir(folder)
