"""apport's crash files."""

from __future__ import annotations

import io
from typing import Any
from unittest import mock

import pytest
from damaged import check_cut, maps_of, outcome
from hypothesis import given
from hypothesis import strategies as st
from saved_samples import sample
from strategies import law

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.formats.base import Parse, parse_file
from pmapdiff.formats.dates import date_in

CRASH = sample("apport/_srv_demo_bin_worker.0.crash")
ROWS = b" 00400000-00401000 r-xp 00000000 fe:00 7 /a\n 00600000-00601000 rw-p 00000000 00:00 0 \n"
SMALL = (
    b"ProblemType: Crash\nDate: Mon Nov 23 10:19:59 2026\nProcCmdline: /a b\nProcMaps:\n"
    + ROWS
    + b"ProcStatus:\n Name:\ta\n Pid:\t7\nSignal: 11\nCoreDump: base64\n H4sI\n"
)


def parsed(data: bytes, **options: Any) -> SavedTable:
    (table,) = parse_saved(data, "f", **options)
    return table


def test_the_table_and_its_process() -> None:
    found = parsed(CRASH)
    assert found.table == maps_of("worker").table
    assert found == SavedTable(
        found.table,
        "apport",
        "f",
        pid=4111,
        command=b"/srv/demo/bin/worker\0--threads\x002\0/etc/demo worker.conf\0",
        comm=b"worker",
        exe=b"/srv/demo/bin/worker",
        ppid=1,
        uid=0,
        taken_at_us=date_in(b"Mon Nov 23 10:19:59 2026"),
        threads=2,
        vm_hwm_kib=10688,
    )
    assert parsed(CRASH, form_name="apport") == found
    assert parsed(CRASH.replace(b"\n", b"\r\n")).table == found.table


@pytest.mark.parametrize(
    ("shown", "command"),
    [
        (b"/a\\ b c", b"/a b\0c\0"),
        (b"/a\\\\ b", b"/a\\\0b\0"),
        (b"/a  b", b"/a\0\0b\0"),
        (b"/a\\", b"/a\\\0"),
        (b"\n /a\n b", b"/a\nb\0"),
        (b"", None),
    ],
)
def test_command_lines(shown: bytes, command: bytes | None) -> None:
    assert (
        parsed(SMALL.replace(b"ProcCmdline: /a b", b"ProcCmdline: " + shown if not shown.startswith(b"\n") else b"ProcCmdline:" + shown)).command
        == command
    )


def test_of_a_script_the_interpreter_runs() -> None:
    script = b"ProblemType: Crash\nExecutablePath: /usr/bin/script\nInterpreterPath: /usr/bin/python3.12\n" + SMALL.partition(b"\n")[2]
    assert parsed(script).exe == b"/usr/bin/python3.12"


def test_the_core_is_not_kept_in_memory() -> None:
    # A core in one line, and in many.
    core = b"A" * (12 << 20) + b"\n " + b"B" * (3 << 20) + b"\n"
    stream = io.BytesIO(SMALL + b" " + core)
    with mock.patch.object(Parse, "data", property(lambda _: pytest.fail("the whole file was read"))):
        (found,) = parse_file(Parse(stream, "f"))
    assert found.pid == 7
    assert len(found.table.mappings) == 2
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (SMALL.replace(b"ProcMaps:\n" + ROWS, b"ProcMaps: Error: [Errno 13] Permission denied: 'maps'\n"), 4, "apport could not read the maps"),
        (SMALL.replace(b"ProcMaps:\n" + ROWS, b""), None, "no ProcMaps"),
        (b"ProblemType: Bug\nDate: Mon Nov 23 10:19:59 2026\n", None, "ProblemType is 'Bug'"),
        (SMALL.replace(b"ProcMaps:\n" + ROWS, b"ProcMaps:\n"), 5, "there is none"),
        (SMALL.replace(b" 00600000-00601000 rw-p", b" nothing"), 6, "not a row"),
        (SMALL.replace(b" 00600000-00601", b" 00300000-00301"), 6, "goes backwards"),
        (SMALL.replace(b"Signal: 11", b"\x1b[2J: 11"), 10, "neither a key"),
        (SMALL.replace(b"\n 00", b"\n00"), 5, "neither a key"),
    ],
)
def test_errors(data: bytes, line: int | None, said: str) -> None:
    found = outcome(data)
    assert isinstance(found, FormatError)
    assert said in found.reason
    assert found.line == line


def test_a_part() -> None:
    begin, end = SMALL.index(ROWS), SMALL.index(ROWS) + len(ROWS)
    for length in (begin + ROWS.index(b"\n") + 1, end - 1, end):
        refused = outcome(SMALL[:length])
        assert isinstance(refused, FormatError)
        assert "cut off in ProcMaps" in refused.reason
        found = parsed(SMALL[:length], partial=True)
        assert len(found.table.mappings) == (2 if length == end else 1)
        assert found.partial == "the file was cut off in ProcMaps"
    # Behind the maps other things may be missing, and the core always may.
    assert parsed(SMALL[:-3]).partial is None
    assert parsed(SMALL[:-3]).warnings == ("the last line does not end: the end may be missing",)


def test_cut_anywhere() -> None:
    refused, parts = check_cut(CRASH, range(0, len(CRASH), 37))
    assert refused > 80
    assert parts > 50


@given(st.integers(0, len(SMALL)), st.integers(0, 60), st.binary(max_size=40))
@law(300)
def test_mutations_raise_nothing_else(position: int, removed: int, inserted: bytes) -> None:
    outcome(SMALL[:position] + inserted + SMALL[position + removed :], "apport")
