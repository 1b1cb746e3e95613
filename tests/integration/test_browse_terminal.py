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

from pmapdiff.browse.app import BrowseApp
from pmapdiff.store import Store

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


def test_without_colour_nothing_is_coloured(tmp_path: Path, terminal: Callable[[str], Terminal]) -> None:
    db = tmp_path / "redis.db"
    shutil.copy(SAMPLES / "redis.db", db)
    opened = terminal(f"NO_COLOR=1 {command(db)}")
    opened.until(lambda text: "redis-server" in text)
    opened.press("Enter")
    opened.until(lambda text: "in all" in text)
    drawn = opened.screen("-e")
    codes = {code for codes in re.findall(r"\x1b\[([0-9;]*)m", drawn) for code in codes.split(";")}
    # Bold, dim, reverse and back, and the terminal's own colours.
    assert codes <= {"", "0", "1", "2", "7", "22", "27", "39", "49"}, codes
    assert "7" in codes
    opened.press("C-c")
    opened.until(lambda text: "ended with 0" in text)


def test_without_a_terminal_it_says_what_to_do(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    run.here("browse").refused("browse needs a terminal", "`pmapdiff processes`")
    monkeypatch.setattr("pmapdiff.cli.browse._is_terminal", lambda: True)
    for term in ("dumb", ""):
        monkeypatch.setenv("TERM", term)
        run.here("browse").refused("browse needs a terminal that can move its cursor")
    monkeypatch.delenv("TERM")
    run.here("browse").refused("browse needs a terminal that can move its cursor")


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is refused is refused for another reason than that there is none."""
    monkeypatch.setattr("pmapdiff.cli.browse._is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.usefixtures("at_terminal")
def test_what_there_is_nothing_of_is_one_line(run: Runner) -> None:
    run.db.unlink(missing_ok=True)
    run.here("browse").refused("there is no store at")
    Store.open(str(run.db), write=True)
    run.here("browse").refused("the store is empty: make a snapshot with `pmapdiff record`")
    run.here("record", "--pid", os.getpid()).ok()
    run.here("browse", "--name", "no-such").refused("there is no snapshot 'latest' of --name no-such")
    run.here("browse", "--name", "(").refused("--name '(' is no regular expression")
    run.here("browse", "--since", "nonsense").refused("nonsense")
    run.here("browse", "--buckets", "/no/such").refused("--buckets /no/such")


@pytest.mark.usefixtures("at_terminal")
def test_without_textual_it_says_what_to_install(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "textual.app", None)
    monkeypatch.delitem(sys.modules, "pmapdiff.browse.app", raising=False)
    said = run.here("browse").refused("pip install 'pmapdiff[tui]'").err
    assert said.startswith("pmapdiff: browse needs Textual (")


def test_only_the_last_thousand_snapshots_are_looked_at_unless_told_otherwise(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmapdiff.browse.source.MOST_SNAPSHOTS", 3)
    monkeypatch.setattr("pmapdiff.cli.browse._is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    looked: list[int] = []
    places: list[str] = []

    def look(app: BrowseApp, **_: object) -> None:
        looked.append(len(app.source.history().snapshots))
        places.append(app.place)

    monkeypatch.setattr(BrowseApp, "run", look)
    for _ in range(5):
        run.here("record", "--pid", os.getpid()).ok()
    for arguments in ([], ["--since", "first"], ["--until", "#4"], ["--since", "#2", "--until", "#3"], ["--follow"]):
        run.here("browse", *arguments).ok()
    assert looked == [3, 5, 2, 2, 3]
    # Who sees less than there is is told so.
    assert ["last 3 snapshots" in place for place in places] == [True, False, True, False, True]
    assert places[1] == run.db.name
