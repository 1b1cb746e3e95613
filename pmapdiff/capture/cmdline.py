"""Reading /proc/PID/cmdline, which a hostile process can make wait for ever.

The text lies in the target's memory; if the page is not there, the reader waits for the target's page fault
(fs/proc/base.c, get_mm_cmdline; mm/memory.c, access_remote_vm), which userfaultfd or FUSE may never serve. That
sleep cannot even be killed (seen on Linux 6.18), and a process with such a thread cannot exit. So a child does
the reading: if it gets stuck it is left behind, and only the child is.
"""

from __future__ import annotations

import os
import select
import signal
import struct
from types import TracebackType

from pmapdiff.capture.procfs import PROC, read_bytes

_REQUEST = struct.Struct("=q")
_LONGEST = 1 << 20


class CommandLines:
    """Reads command lines through a child that is made when it is first needed. A context manager."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._child: tuple[int, int, int] | None = None

    def __enter__(self) -> CommandLines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._child is not None:
            self._leave(wait=True)

    def start(self) -> None:
        """Make the child now: it is best made while there are no threads."""
        if self._child is None:
            self._child = _fork_reader()

    def read(self, pid: int) -> bytes:
        """The command line of a process with its NULs, at most 1 MiB of it.

        Raises TimeoutError if it does not come in time, OSError if it cannot be read.
        """
        self.start()
        assert self._child is not None
        _, requests, answers = self._child
        os.write(requests, _REQUEST.pack(pid))
        (length,) = _REQUEST.unpack(self._receive(answers, _REQUEST.size))
        if length < 0:
            raise OSError(-length, os.strerror(-length))
        return self._receive(answers, length)

    def _receive(self, answers: int, length: int) -> bytes:
        data = b""
        while len(data) < length:
            ready, _, _ = select.select([answers], [], [], self._timeout_s)
            part = os.read(answers, length - len(data)) if ready else b""
            if not part:
                self._leave(wait=False)
                raise TimeoutError
            data += part
        return data

    def _leave(self, *, wait: bool) -> None:
        assert self._child is not None
        pid, requests, answers = self._child
        self._child = None
        os.close(requests)
        os.close(answers)
        # Told by the closed pipe; a stuck one gets its signal when its sleep ends, and init reaps it.
        if not wait:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0 if wait else os.WNOHANG)


def _fork_reader() -> tuple[int, int, int]:
    """The child's pid, the pipe for requests to it and the one for its answers."""
    their_requests, requests = os.pipe()
    answers, their_answers = os.pipe()
    pid = os.fork()
    if pid:
        os.close(their_requests)
        os.close(their_answers)
        return pid, requests, answers
    try:
        _serve(their_requests, their_answers)
    finally:
        os._exit(0)


def _serve(requests: int, answers: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A stuck child must not keep anybody's pipe open, nor the store.
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    last = 2
    for fd in sorted((requests, answers)):
        os.closerange(last + 1, fd)
        last = fd
    os.closerange(last + 1, os.sysconf("SC_OPEN_MAX"))
    while request := os.read(requests, _REQUEST.size):
        (pid,) = _REQUEST.unpack(request)
        try:
            text = read_bytes(f"{PROC}/{pid}/cmdline")[:_LONGEST]
        except OSError as error:
            os.write(answers, _REQUEST.pack(-(error.errno or 5)))
            continue
        view = memoryview(_REQUEST.pack(len(text)) + text)
        while view:
            view = view[os.write(answers, view) :]
