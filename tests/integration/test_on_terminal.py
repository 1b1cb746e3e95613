"""The commands on a real terminal: as wide as it is, in colour unless somebody asked for none; plain and uncut in a pipe."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import odd_store
import pytest
from rich.cells import cell_len

COMMANDS = (
    ["snapshots"],
    ["processes"],
    ["show", "--pid", "4194303"],
    ["compare", "first", "latest"],
    ["compare", "1", "2", "3"],
    ["history"],
    ["leaks"],
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> str:
    return odd_store.write(tmp_path_factory.mktemp("odd") / "odd.db")


def on_terminal(odd: str, command: list[str], columns: int, **environment: str) -> str:
    """What a command writes to a terminal of so many columns."""
    ours, its = os.openpty()
    ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    surroundings = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen(
        [sys.executable, "-m", "pmapdiff", "--db", odd, *command],
        stdin=subprocess.DEVNULL,
        stdout=its,
        stderr=subprocess.PIPE,
        env={**surroundings, "TERM": "xterm", **environment},
    ) as running:
        os.close(its)
        parts = []
        with open(ours, "rb", buffering=0) as terminal:
            try:
                while part := terminal.read(1 << 16):
                    parts.append(part)
            except OSError:
                # That is how the end of a terminal is read on Linux: EIO.
                pass
        assert running.stderr is not None
        assert running.stderr.read() == b""
        assert running.wait() == 0
    return b"".join(parts).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_it_is_as_wide_as_the_terminal_and_in_colour(odd: str, command: list[str]) -> None:
    for columns in (80, 160):
        text = on_terminal(odd, command, columns)
        assert "\x1b[1m" in text
        plain = re.sub("\x1b\\[[0-9;]*m", "", text)
        assert "\x1b" not in plain
        widest = max(map(cell_len, plain.splitlines()))
        assert columns * 0.6 < widest <= columns
        assert on_terminal(odd, command, columns, NO_COLOR="1") == "".join(f"{line.rstrip()}\n" for line in plain.splitlines())


def test_a_dumb_terminal_has_no_colour(odd: str) -> None:
    assert "\x1b" not in on_terminal(odd, ["compare", "first", "latest"], 80, TERM="dumb")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_in_a_pipe_nothing_is_cut_and_nothing_is_painted(odd: str, command: list[str], tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    done = subprocess.run(
        [sys.executable, "-m", "pmapdiff", "--db", odd, *command], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    assert "\x1b" not in done.stdout
    if command[0] in ("show", "history", "processes"):
        assert odd_store.DEEP.decode() in done.stdout or "x" * 400 in done.stdout
