"""What tests use to run pmapdiff and the programs that it records. No sleeps: everything waits for a pipe or a process."""

from __future__ import annotations

import contextlib
import errno
import functools
import gc
import io
import json
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

PROGRAMS = Path(__file__).parent
PATIENCE_S = 60.0

_HEADER = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (....) ([0-9a-f]+) (\S+) (\d+) *(.*)")
_COUNTER = re.compile(rb"(\w+): +(\d+)(?: kB)?")


@dataclass(frozen=True)
class Result:
    """How one run of the command line ended."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        return self.stdout.decode()

    @property
    def err(self) -> str:
        return self.stderr.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.ok().stdout)

    def ok(self) -> Result:
        """This result, which must be a success."""
        assert self.code == 0, self
        return self

    def refused(self, *said: str) -> Result:
        """This result, which must be one line of error with these texts in it, and nothing else."""
        assert self.code == 2, self
        assert self.stdout == b"", self
        assert self.err.startswith("pmapdiff: "), self
        assert self.err.endswith("\n"), self
        assert self.err.count("\n") == 1, self
        assert "Traceback" not in self.err
        for text in said:
            assert text in self.err, self
        return self


class Lines:
    """The lines that come out of a pipe, each waited for."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._buffer = b""

    def next(self) -> bytes:
        """The next line without its newline; what is left, or nothing at all, at the end of the file."""
        deadline = time.monotonic() + PATIENCE_S
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"nothing more than {self._buffer!r} for {PATIENCE_S} s"
            piece = os.read(self._fd, 65536)
            if not piece:
                line, self._buffer = self._buffer, b""
                return line
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def until(self, pattern: bytes) -> bytes:
        """The next line that this regular expression is found in."""
        while line := self.next():
            if re.search(pattern, line):
                return line
        raise AssertionError(f"the pipe ended before a line with {pattern!r}")

    def rest(self) -> list[bytes]:
        """All lines until the end of the file."""
        return list(iter(self.next, b""))

    @staticmethod
    def drain(*pipes: Lines) -> list[bytes]:
        """What else comes out of each of some pipes, whichever of them is written to first."""
        pieces = {pipe._fd: [pipe._buffer] for pipe in pipes}
        opened = list(pieces)
        deadline = time.monotonic() + PATIENCE_S
        while opened:
            ready, _, _ = select.select(opened, [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no end of {pieces!r:.500} after {PATIENCE_S} s"
            for fd in ready:
                try:
                    pieces[fd].append(os.read(fd, 1 << 20))
                except OSError as error:
                    # How the end of a terminal is read (Linux, drivers/tty/pty.c).
                    if error.errno != errno.EIO:
                        raise
                    pieces[fd].append(b"")
                if not pieces[fd][-1]:
                    opened.remove(fd)
        return [b"".join(found) for found in pieces.values()]


class Runner:
    """The command line as users have it: `run.fresh(...)` in a Python of its own, `run(...)` in a fork of this one, `run.here(...)` in this process.

    All work on the store `db` unless told otherwise. To start a Python and import everything costs half a second: `fresh` is for what is about
    the start (the environment, limits, another user, standard input), a fork for what must not happen to the process of the tests, or shall
    see a process of its own.
    """

    def __init__(self, db: Path) -> None:
        self.db = db

    def arguments(self, args: Sequence[object], store: bool = True) -> list[str]:
        return [*(["--db", str(self.db)] if store else []), *map(str, args)]

    def __call__(self, *args: object, store: bool = True) -> Result:
        with self.forked(*args, store=store) as fork:
            return fork.wait()

    def on_terminal(self, *args: object, columns: int = 80, env: Mapping[str, str | None] | None = None, store: bool = True) -> Result:
        """A run in a fork, that writes to a terminal."""
        fork = Forked(self.arguments(args, store), columns, env)
        try:
            return fork.wait()
        finally:
            fork.close()

    def fresh(self, *args: object, store: bool = True, prefix: Sequence[str] = (), env: dict[str, str] | None = None, stdin: bytes = b"") -> Result:
        argv = [*prefix, sys.executable, "-m", "pmapdiff", *self.arguments(args, store)]
        done = subprocess.run(argv, input=stdin, capture_output=True, env={**os.environ, **(env or {})}, timeout=PATIENCE_S, check=False)
        return Result(done.returncode, done.stdout, done.stderr)

    def shown(self, when: object = "latest") -> dict[int, dict[str, Any]]:
        """The processes of a snapshot by their pids."""
        return {process["pid"]: process for process in self.here("show", when, "--format", "json").json["processes"]}

    def snapshots(self) -> list[dict[str, Any]]:
        """The snapshots of the store."""
        rows: list[dict[str, Any]] = self.here("snapshots", "--format", "json").json["snapshots"]
        return rows

    @contextlib.contextmanager
    def started(self, *args: object) -> Iterator[subprocess.Popen[bytes]]:
        """A run that goes on in the background; it is killed if the test leaves it behind."""
        argv = [sys.executable, "-m", "pmapdiff", *self.arguments(args)]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                yield process
            finally:
                process.kill()

    @contextlib.contextmanager
    def forked(self, *args: object, store: bool = True) -> Iterator[Forked]:
        """A run in a fork of this process, where everything is imported already."""
        fork = Forked(self.arguments(args, store))
        try:
            yield fork
        finally:
            fork.close()

    def here(self, *args: object, store: bool = True, env: dict[str, str] | None = None) -> Result:
        """The same, in this process, through `main`."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        code = 0
        with (
            mock.patch.dict(os.environ, env or {}),
            mock.patch.object(sys, "argv", ["pmapdiff", *self.arguments(args, store)]),
            mock.patch.object(os, "_exit", _exit_of(os.getpid(), os._exit)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                _main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            finally:
                # The recorder turns it off, for a process that ends soon.
                gc.enable()
        return Result(code, *(stream.buffer.getvalue() for stream in (out, err)))


class Forked:
    """A run of the command line in a fork of this process: the same code, without the start of another Python.

    With `columns` its output is a terminal that is so wide. In `env` None takes a variable away.
    """

    def __init__(self, arguments: Sequence[str], columns: int | None = None, env: Mapping[str, str | None] | None = None) -> None:
        # Before the fork, so that no two of them build it.
        _commands()
        # SQLite does not know about forks: the new process would take our locks for its own.
        held = [link for link in _open_files() if link.endswith("-shm")]
        assert not held, f"close {held}, or run it fresh"
        if columns is None:
            out, out_end = os.pipe()
        else:
            out, out_end = os.openpty()
            ioctl(out_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        err, err_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
                for end, fd in ((os.open(os.devnull, os.O_RDONLY), 0), (out_end, 1), (err_end, 2)):
                    os.dup2(end, fd)
                sys.stdout, sys.stderr = (open(fd, "w", buffering=fd == 2 or -1, encoding="utf-8", closefd=False) for fd in (1, 2))  # noqa: SIM115
                sys.argv = ["pmapdiff", *arguments]
                for name, value in (env or {}).items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value
                _main()
            except KeyboardInterrupt:
                # Only before `main` has begun: it answers for what comes then.
                os._exit(130)
            finally:
                os._exit(99)
        os.close(out_end)
        os.close(err_end)
        self._pipes = [out, err]
        self.out = Lines(out)
        self.err = Lines(err)
        self._code: int | None = None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal; it is still a child of ours, so that its pid is nobody else's."""
        if self._code is None:
            os.kill(self.pid, number)

    def signal_after(self, seconds: float, number: int = signal.SIGKILL) -> None:
        """Send it a signal, unless it ends before by itself."""
        fd = os.pidfd_open(self.pid)
        try:
            select.select([fd], [], [], seconds)
        finally:
            os.close(fd)
        self.kill(number)

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None

    def wait(self) -> Result:
        """How it ended; the code is negative for a signal. Its output is what nobody has read yet."""
        stdout, stderr = Lines.drain(self.out, self.err)
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return Result(self._code, stdout, stderr)

    def close(self) -> None:
        self.kill()
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        for fd in self._pipes:
            os.close(fd)


def _open_files() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(f"/proc/self/fd/{name}")


@functools.cache
def _commands() -> Any:
    """What Typer makes of all commands: it takes longer than most of them do, and is the same each time."""
    import typer

    from pmapdiff.cli import load_app

    return typer.main.get_command(load_app())


def _main() -> None:
    """`main`, with the commands as they were made before."""
    import typer

    from pmapdiff.cli import main

    commands = _commands()
    with mock.patch.object(typer.main, "get_command", return_value=commands):
        main()


def _exit_of(pid: int, really: Callable[[int], NoReturn]) -> Callable[[int], NoReturn]:
    """`os._exit`, but for the process of the tests itself, which goes on; what it has forked ends as usual."""

    def end(code: int) -> NoReturn:
        if os.getpid() == pid:
            raise SystemExit(code)
        really(code)

    return end


class Target:
    """A program to be recorded. It says `ready PID`, and then answers each line of JSON with one.

    `prefix` is what starts it: `setpriv ...`, or a recorder.
    """

    def __init__(
        self,
        program: str = "target.py",
        *args: object,
        prefix: Sequence[str | bytes] = (),
        env: dict[str, str] | None = None,
        argv: Sequence[str | bytes] | None = None,
        stderr: int | None = None,
    ) -> None:
        command = argv if argv is not None else [sys.executable, "-I", "-S", str(PROGRAMS / program), *map(str, args)]
        self.process = subprocess.Popen(
            [*prefix, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env={**os.environ, **(env or {})}, bufsize=0
        )
        assert self.process.stdout is not None
        self._lines = Lines(self.process.stdout.fileno())
        try:
            word, pid = self._lines.next().split()
            assert word == b"ready"
        except BaseException:
            self.close()
            raise
        self.pid = int(pid)

    def call(self, command: str, **arguments: object) -> Any:
        """Have the program do something, and wait until it is done."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([command, arguments]).encode() + b"\n")
        reply = self._lines.next()
        assert reply, f"{command}: the program has ended"
        value = json.loads(reply)
        assert not (isinstance(value, dict) and "error" in value), f"{command}: {value}"
        return value

    def line(self, said: bytes = b"") -> bytes:
        """Give the program a line, and wait for one."""
        assert self.process.stdin is not None
        self.process.stdin.write(said + b"\n")
        return self._lines.next()

    def until(self, pattern: bytes) -> bytes:
        """Wait for a line of the program that this regular expression is found in."""
        return self._lines.until(pattern)

    def ready_again(self) -> None:
        """Wait for the program's greeting after it has executed itself."""
        assert self._lines.next() == b"ready %d" % self.pid

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The program stands still: after its answer it would go on for a moment, and with that its memory."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def smaps(self, directory: str = "") -> bytes:
        return Path(f"/proc/{self.pid}{directory}/smaps").read_bytes()

    def end(self) -> int:
        """Close its standard input, which ends it, and wait."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.wait(PATIENCE_S)

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def header_names(smaps: bytes) -> list[bytes]:
    """The names in a smaps text, as the kernel wrote them."""
    return [match[7] for line in smaps.split(b"\n") if (match := _HEADER.fullmatch(line))]


def counters(smaps: bytes, start: int = 0, end: int = 1 << 64) -> dict[str, int]:
    """The sums of the counters of all mappings within these addresses: a second opinion, as simple as can be."""
    sums: dict[str, int] = {}
    inside = False
    for line in smaps.split(b"\n"):
        if header := _HEADER.fullmatch(line):
            inside = start <= int(header[1], 16) and int(header[2], 16) <= end
        elif inside and (counter := _COUNTER.fullmatch(line)):
            name = counter[1].decode()
            sums[name] = sums.get(name, 0) + int(counter[2])
    return sums


def unprivileged_prefix() -> list[str]:
    """What starts a program as nobody; empty if we are somebody without privileges ourselves."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    assert setpriv is not None, "setpriv (util-linux) is needed to test as another user"
    return [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups"]


def isolated(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Argv and environment of a Python that shares no file with any other process.

    Every process that comes or goes changes the Pss of all that have mapped the same C library; a text that is to be read
    twice, and be the same, must come from a process with copies of its own.
    """
    folder.mkdir()
    with Target("many.py", 0) as model:
        maps = Path(f"/proc/{model.pid}/maps").read_text()
        program = Path(f"/proc/{model.pid}/exe").readlink()
    files = {Path(fields[5]) for line in maps.splitlines() if len(fields := line.split(None, 5)) == 6 and fields[5].startswith("/")}
    for path in files:
        copy = folder / path.name
        shutil.copy(path, copy)
        # Until it is written back, a page of a file is dirty.
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        # The loader asks for libffi.so.8, and finds libffi.so.8.1.2 behind it.
        while re.search(r"\.so\..*\.\d+$", copy.name):
            shorter = copy.with_suffix("")
            shorter.symlink_to(path.name)
            copy = shorter
    (loader,) = (path.name for path in files if re.match(r"ld(-|\.)", path.name))
    argv = [str(folder / loader), "--library-path", str(folder), str(folder / program.name), "-S", "-s"]
    return argv, {"PYTHONHOME": sys.base_prefix, "PYTHONPATH": str(folder), "LC_ALL": "C", "PYTHONDONTWRITEBYTECODE": "1"}
