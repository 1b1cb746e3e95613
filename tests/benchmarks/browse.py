"""`browse` in a terminal: how long until the first list stands, and how long the screen is held up while verdicts are worked out."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

from benchmarks import months
from benchmarks.measure import PMAPDIFF, ROUNDS, Promise

START_LIMIT_S = 0.7
KEY_LIMIT_S = 0.15
_KEYS = 30
_PATIENCE_S = 60.0


class Screen:
    """A terminal of 80 columns and 24 lines with `browse` in it."""

    def __init__(self, db: Path) -> None:
        self._began = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if not self.pid:
            os.environ["TERM"] = "xterm-256color"
            os.execv(sys.executable, [*PMAPDIFF, "--db", str(db), "browse"])
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def until(self, words: bytes) -> float:
        """Wait for something to be drawn; gives the seconds since the beginning."""
        drawn = b""
        while words not in drawn:
            ready, _, _ = select.select([self._fd], [], [], _PATIENCE_S)
            if not ready:
                raise SystemExit(f"browse did not draw {words!r}: {drawn[-500:]!r}")
            drawn += os.read(self._fd, 1 << 16)
        return time.perf_counter() - self._began

    def pressed(self, key: bytes) -> float:
        """The seconds from a key to the first thing that is drawn of it."""
        while select.select([self._fd], [], [], 0.05)[0]:
            os.read(self._fd, 1 << 16)
        began = time.perf_counter()
        os.write(self._fd, key)
        if not select.select([self._fd], [], [], _PATIENCE_S)[0]:
            raise SystemExit("browse drew nothing after a key")
        return time.perf_counter() - began

    def close(self) -> float:
        """End it; gives the seconds of CPU that it took, without those of its child."""
        os.kill(self.pid, signal.SIGTERM)
        _, _, usage = os.wait4(self.pid, 0)
        os.close(self._fd)
        return usage.ru_utime + usage.ru_stime


def run() -> list[Promise]:
    """Start it on a long series of one process, and on a host; then press keys while the verdicts on the host are worked out."""
    promises: list[Promise] = []
    with tempfile.TemporaryDirectory(prefix="pmapdiff-bench-") as folder:
        for what, make in (("1,000 snapshots of a process of 1,000 mappings", months.one_process), ("300 snapshots of 250 processes", months.host)):
            path = Path(folder) / f"{make.__name__}.db"
            make(path)
            walls, cpus = [], []
            for _ in range(ROUNDS + 1):
                screen = Screen(path)
                walls.append(screen.until(b"Footprint"))
                cpus.append(screen.close())
            # The first round has to read the file, and to write bytecode.
            wall, cpu = statistics.median(walls[1:]), statistics.median(cpus[1:])
            print(f"\nbrowse, {what}: first list after {wall:.3f} s (CPU {cpu:.3f} s)", flush=True)
            if make is months.one_process:
                promises.append(Promise(f"browse, first list, {what}", wall, START_LIMIT_S, "s"))
        screen = Screen(path)
        screen.until(b"judging")
        held = sorted(screen.pressed(b"jk"[number % 2 :][:1]) for number in range(_KEYS))
        screen.close()
        print(f"browse, a key while verdicts are worked out: {held[len(held) // 2] * 1000:.0f} ms, at most {held[-1] * 1000:.0f} ms")
        promises.append(Promise("browse, a key while the verdicts on a host are worked out, median", held[len(held) // 2], KEY_LIMIT_S, "s"))
    return promises
