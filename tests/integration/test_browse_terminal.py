"""`browse` from the shell: in a real terminal, and where there is none."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import Runner
from programs.driver import PATIENCE_S

SAMPLES = Path(__file__).resolve().parents[2] / "sample_snapshots"


class Terminal:
    """A real terminal of 80 columns and 24 lines, in which one command runs."""

    def __init__(self, folder: Path, command: str) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", os.devnull]
        # The shell says how it ended, and stays until the terminal is closed.
        self._run("new-session", "-d", "-x", "80", "-y", "24", f"{command}; echo ended with $?; exec cat")

    def _run(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], check=True, text=True, stdout=subprocess.PIPE, timeout=PATIENCE_S).stdout

    def screen(self, *options: str) -> str:
        """What stands on it."""
        return self._run("capture-pane", "-p", *options)

    def until(self, holds: Callable[[str], object]) -> str:
        """Wait until something stands on the screen; each look at it takes a process, so this is no busy loop."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds(text := self.screen()):
            assert time.monotonic() < deadline, text
        return text

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._run("send-keys", *keys)

    def close(self) -> None:
        """End whatever runs in it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[[str], Terminal]]:
    """What opens a terminal."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    opened: list[Terminal] = []

    def start(command: str) -> Terminal:
        folder = tmp_path / f"t{len(opened)}"
        folder.mkdir()
        opened.append(Terminal(folder, command))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def command(db: Path, *arguments: str) -> str:
    return shlex.join([sys.executable, "-m", "pmapdiff", "--db", str(db), "browse", *arguments])


def test_a_walk_through_a_real_terminal(tmp_path: Path, terminal: Callable[[str], Terminal], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    db = tmp_path / "orders.db"
    shutil.copy(SAMPLES / "orders.db", db)
    opened = terminal(command(db))
    text = opened.until(lambda text: "growing" in text)
    assert "orders.db › shop1" in text.splitlines()[0]
    assert "q quit" in text.splitlines()[-1]
    assert "\x1b[31m" in opened.screen("-e")
    opened.press("Enter")
    opened.until(lambda text: "in all" in text)
    opened.press("Left")
    text = opened.until(lambda text: "after   #61" in text)
    assert "growing: [heap]" in text
    assert "▲" in text
    opened.press("m", "Left", "Left", "m")
    opened.until(lambda text: "before  #59" in text and "after   #61" in text)
    opened.press("Enter")
    opened.until(lambda text: "› family " in text)
    opened.press("q")
    assert "q quit" not in opened.until(lambda text: "ended with 0" in text)


@pytest.mark.parametrize("key", ["q", "C-c"])
def test_without_colour_nothing_is_coloured(key: str, tmp_path: Path, terminal: Callable[[str], Terminal]) -> None:
    db = tmp_path / "redis.db"
    shutil.copy(SAMPLES / "redis.db", db)
    opened = terminal(f"NO_COLOR=1 {command(db)}")
    opened.until(lambda text: "plateau" in text)
    opened.press("Enter")
    opened.until(lambda text: "in all" in text)
    drawn = opened.screen("-e")
    codes = {code for codes in re.findall(r"\x1b\[([0-9;]*)m", drawn) for code in codes.split(";")}
    # Bold, dim, reverse and back, and the terminal's own colours.
    assert codes <= {"", "0", "1", "2", "7", "22", "27", "39", "49"}, codes
    assert "7" in codes
    opened.press(key)
    opened.until(lambda text: "ended with 0" in text)


def test_without_a_terminal_it_says_what_to_do(run: Runner, tmp_path: Path, terminal: Callable[[str], Terminal]) -> None:
    run("browse").refused("browse needs a terminal", "`pmapdiff processes`")
    none = tmp_path / "none.db"
    opened = terminal(f"TERM=dumb {command(none)}; {command(none)}; {command(none, '--since', 'nonsense')}")
    text = "".join(opened.until(lambda text: "ended with 2" in text).split("\n"))
    assert "browse needs a terminal that can move its cursor, and TERM is dumb" in text
    assert text.count("there is no store at") == 2


def test_a_process_that_is_not_there(run: Runner, terminal: Callable[[str], Terminal]) -> None:
    run("record", "--pid", os.getpid()).ok()
    opened = terminal(f"{command(run.db, '--name', 'no-such')}; {command(run.db, '--name', '(')}")
    text = "".join(opened.until(lambda text: "ended with 2" in text).split("\n"))
    assert "there is no snapshot 'latest' of --name no-such" in text
    assert "--name '(' is no regular expression" in text


def test_without_textual_it_says_what_to_install(run: Runner, tmp_path: Path, terminal: Callable[[str], Terminal]) -> None:
    run("record", "--pid", os.getpid()).ok()
    (tmp_path / "textual").mkdir()
    (tmp_path / "textual" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'textual'\")\n")
    opened = terminal(f"PYTHONPATH={tmp_path} {command(run.db)}")
    text = "".join(opened.until(lambda text: "ended with 2" in text).split("\n"))
    assert "pmapdiff: browse needs Textual (No module named 'textual'): pip install 'pmapdiff[tui]'" in text
