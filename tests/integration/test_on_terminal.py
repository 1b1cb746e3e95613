"""The commands on a real terminal: as wide as it is, in colour unless somebody asked for none; plain and uncut in a pipe."""

from __future__ import annotations

import re
from pathlib import Path

import odd_store
import pytest
from programs import Runner
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


# As a user has it, where the tests want no colour and a width of their own.
_USERS = {"COLUMNS": None, "NO_COLOR": None, "TERM": "xterm"}


def on_terminal(odd: str, command: list[str], columns: int, **environment: str) -> str:
    """What a command writes to a terminal of so many columns."""
    done = Runner(Path(odd)).on_terminal(*command, columns=columns, env={**_USERS, **environment}).ok()
    assert done.stderr == b""
    return done.out.replace("\r\n", "\n")


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
def test_in_a_pipe_nothing_is_cut_and_nothing_is_painted(odd: str, command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS")
    monkeypatch.delenv("NO_COLOR")
    out = Runner(Path(odd))(*command).ok().out
    assert "\x1b" not in out
    if command[0] in ("show", "history", "processes"):
        assert odd_store.DEEP.decode() in out or "x" * 400 in out
