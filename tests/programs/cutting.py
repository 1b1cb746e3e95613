"""What stands between a client and a PostgreSQL server, and lets it down: it cuts connections off, or passes nothing on any more."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

_PORT = 5432


@contextlib.contextmanager
def unreliable(folder: str, server: str, seed: int, cuts: int, *, silent: bool = False) -> Iterator[None]:
    """A socket in `folder` that leads to the server whose socket is in `server`, in a process of its own.

    The first so many connections are cut off after some 100 to 100,000 bytes, or nothing more is passed on if it is `silent`; the others work.
    """
    with _between(folder, server, random.Random(seed), cuts, silent):
        yield


@contextlib.contextmanager
def counted(folder: str, server: str) -> Iterator[Callable[[], int]]:
    """The same, but all connections work; gives what says how many bytes have passed until now, both ways."""
    with _between(folder, server, random.Random(0), 0, False) as passed:
        yield lambda: int.from_bytes(passed[:8], "little")


@contextlib.contextmanager
def _between(folder: str, server: str, chosen: random.Random, cuts: int, silent: bool) -> Iterator[mmap.mmap]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(Path(folder, f".s.PGSQL.{_PORT}")))
    listener.listen(128)
    passed = mmap.mmap(-1, 8)
    pid = os.fork()
    if not pid:
        try:
            _serve(listener, str(Path(server, f".s.PGSQL.{_PORT}")), chosen, cuts, silent, passed)
        finally:
            os._exit(1)
    listener.close()
    try:
        yield passed
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(listener: socket.socket, server: str, chosen: random.Random, cuts: int, silent: bool, passed: mmap.mmap) -> None:
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    # The other end of each, and how many bytes the connection has left, in all, in a list of one; None: all that come.
    others: dict[socket.socket, socket.socket] = {}
    left: dict[socket.socket, list[int] | None] = {}
    number = 0
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                client, _ = listener.accept()
                upstream = socket.socket(socket.AF_UNIX)
                upstream.connect(server)
                budget = [int(10 ** chosen.uniform(2, 5))] if number < cuts else None
                number += 1
                for one, other in ((client, upstream), (upstream, client)):
                    others[one], left[one] = other, budget
                    selector.register(one, selectors.EVENT_READ)
                continue
            end = key.fileobj
            assert isinstance(end, socket.socket)
            if end not in others:
                continue
            try:
                data = end.recv(65536)
            except OSError:
                data = b""
            budget = left[end]
            if budget is not None and budget[0] < len(data):
                if silent:
                    continue
                data = b""
            if budget is not None:
                budget[0] -= len(data)
            passed[:8] = (int.from_bytes(passed[:8], "little") + len(data)).to_bytes(8, "little")
            with contextlib.suppress(OSError):
                others[end].sendall(data)
            if not data:
                for closed in (end, others[end]):
                    selector.unregister(closed)
                    others.pop(closed, None)
                    closed.close()
