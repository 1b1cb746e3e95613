"""HotSpot's reports of errors, and what jcmd prints of a JVM that runs."""

from __future__ import annotations

import time
from typing import Any

import pytest
from damaged import check_cut, outcome
from hypothesis import given
from hypothesis import strategies as st
from saved_samples import sample
from strategies import law

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.formats.dates import date_in

COMMAND = b"java\0-XX:+UseSerialGC\0-Xmx48m\0-Xss512k\0-XX:TieredStopAtLevel=1\0Demo\0"
HS_ERR, VM_INFO = sample("hotspot/hs_err_pid8421.log"), sample("hotspot/jdk17.VM.info")
ROWS = (
    b"00400000-00401000 r-xp 00000000 fe:00 7 /opt/jre/lib/server/classes.jsa\n"
    b"55a000000000-55a000001000 r-xp 00000000 fe:00 8 /opt/jre/bin/javac (deleted)\n"
)
SMALL = (
    b"#\n# A fatal error has been detected by the Java Runtime Environment:\n#\n#  SIGSEGV (0xb) at pc=0x00007f68ca37bf14, pid=7, tid=9\n#\n"
    b"# JRE version: 21\n#\n\nCommand Line: -Xmx1m A b\n\nTime: Mon Nov 23 10:14:36 2026 UTC elapsed time: 2 seconds (0d)\n\n"
    b"Heap:\n00500000-00502000 rw-p 00000000 00:00 0 \n\nDynamic libraries:\n" + ROWS + b"Total number of mappings: 2\n\n/proc/meminfo:\n"
    b"MemTotal:       24684092 kB\nMemFree:        22410104 kB\n\nEND.\n"
)


def parsed(data: bytes, **options: Any) -> SavedTable:
    (table,) = parse_saved(data, "f", **options)
    return table


def rows_of(data: bytes) -> SavedTable:
    """The rows between the heading and the next blank line, as maps."""
    text = data[data.index(b"Dynamic libraries:\n") + 19 :]
    lines = [line for line in text[: text.index(b"\n\n")].split(b"\n") if not line.startswith(b"Total")]
    return parsed(b"\n".join([*lines, b""]), form_name="maps")


@pytest.mark.parametrize(("name", "pid", "at_s", "mappings"), [("7311.log", 7311, 1795428873, 181), ("8421.log", 8421, 1795428876, 167)])
def test_the_table_and_its_process(name: str, pid: int, at_s: int, mappings: int) -> None:
    data = sample(f"hotspot/hs_err_pid{name}")
    found = parsed(data)
    assert found == SavedTable(rows_of(data).table, "hs_err", "f", pid=pid, command=COMMAND, comm=b"java", taken_at_us=at_s * 1_000_000)
    assert len(found.table.mappings) == mappings
    assert b"/srv/demo/data/week 47 \xe2\x80\x93 notes.txt" in {mapping.name for mapping in found.table.mappings}


def test_vm_info() -> None:
    found = parsed(VM_INFO)
    assert found == SavedTable(rows_of(VM_INFO).table, "hs_err", "f", pid=7311, command=COMMAND, comm=b"java", taken_at_us=1795428873 * 1_000_000)
    assert parsed(VM_INFO.partition(b"\n")[2]) == SavedTable(
        found.table, "hs_err", "f", command=COMMAND, comm=b"java", taken_at_us=1795428873 * 1_000_000
    )


def test_several_reports_with_other_things_between() -> None:
    found = parse_saved(
        b"It crashed:\n```\n" + HS_ERR + b"```\nand before, jcmd 0 VM.info said\n" + VM_INFO + VM_INFO.replace(b"7311:", b"7312:", 1), "f"
    )
    assert [table.pid for table in found] == [8421, 7311, 7312]
    assert found[0].table == parsed(HS_ERR).table
    assert all(table.partial is None for table in found)


def test_the_small_report() -> None:
    found = parsed(SMALL)
    assert (found.pid, found.comm, found.command, found.warnings) == (7, b"javac", b"javac\0-Xmx1m\0A\0b\0", ())
    assert found.taken_at_us == date_in(b"Mon Nov 23 10:14:36 UTC 2026")
    assert [mapping.start for mapping in found.table.mappings] == [0x400000, 0x55A000000000]


@pytest.mark.parametrize(
    ("shown", "moment"),
    [
        (b"Time: Mon Nov  2 10:14:36 2026 CET elapsed time: 2 s", b"Mon Nov  2 10:14:36 2026"),
        (b"Time: Mon Nov 23 10:14:36 2026 -03 elapsed time: 2 s", b"2026-11-23 10:14:36-0300"),
        (b"time: Mon Nov 23 10:14:36 2026\ntimezone: UTC\nelapsed time: 2 s", b"2026-11-23 10:14:36Z"),
        (b"time: Mon Nov 23 10:14:36 2026\nelapsed time: 2 s", b"2026-11-23 10:14:36"),
        (b"Time: Mon Nov 99 10:14:36 2026 UTC elapsed time: 2 s", None),
        (b"Time: now", None),
    ],
)
def test_times(shown: bytes, moment: bytes | None) -> None:
    data = SMALL.replace(b"Time: Mon Nov 23 10:14:36 2026 UTC elapsed time: 2 seconds (0d)", shown if shown.startswith(b"T") else b"")
    # JDK 8 has it at the end, and no other.
    data = data if shown.startswith(b"T") else data.replace(b"END.", shown)
    found = parsed(data)
    assert found.taken_at_us == (None if moment is None else date_in(moment))
    assert found.warnings == ()


def test_too_little_memory_is_a_report_too() -> None:
    found = parsed(
        SMALL.replace(
            b"A fatal error has been detected by the Java Runtime Environment:",
            b"There is insufficient memory for the Java Runtime Environment to continue.",
        )
    )
    assert (found.form, found.pid) == ("hs_err", 7)


def test_the_section_alone() -> None:
    section = SMALL[SMALL.index(b"Dynamic") : SMALL.index(b"/proc/meminfo")]
    found = parsed(section)
    assert found == SavedTable(parsed(SMALL).table, "hs_err", "f")
    assert parsed(b"Dynamic libraries:\n" + ROWS).warnings == ("neither [stack] nor [vdso] is in it: the end may be missing",)
    assert isinstance(outcome(b"Dynamic libraries:\n" + ROWS[:-1]), FormatError), "it ends in a line, and before the stack"


def test_the_number_of_mappings_is_checked() -> None:
    for data in (SMALL.replace(b"mappings: 2", b"mappings: 3"), SMALL.replace(ROWS[: ROWS.index(b"\n") + 1], b"")):
        found = parsed(data)
        assert found.partial is not None
        assert "it says that it had" in found.partial
        assert "only a part" in found.warnings[0]


@pytest.mark.parametrize("damage", [b"\x1b[31m-", b"\x1b[31m\n55a000000000-"])
def test_rows_that_are_none(damage: bytes) -> None:
    found = outcome(SMALL.replace(b"55a000000000-", damage))
    assert isinstance(found, FormatError)
    assert "not a row of /proc/PID/maps" in found.reason
    assert found.line is not None
    assert found.line >= SMALL[: SMALL.index(b"55a000000000-")].count(b"\n") + 1


@pytest.mark.parametrize("data", [HS_ERR, sample("hotspot/hs_err_pid7311.log"), VM_INFO, SMALL], ids=["25", "17", "VM.info", "small"])
def test_cut_anywhere(data: bytes) -> None:
    refused, parts = check_cut(data, range(0, len(data), max(1, len(data) // 200)))
    assert refused > 80
    assert parts > 10


@pytest.mark.parametrize("length", [SMALL.index(b"Heap"), SMALL.index(b"Dynamic"), SMALL.index(b"Dynamic") + 19, SMALL.index(b"Dynamic") + 30])
def test_a_report_without_rows(length: int) -> None:
    for partial in (False, True):
        found = outcome(SMALL[:length], partial=partial)
        assert isinstance(found, FormatError)
        assert found.reason.startswith("this report of HotSpot has no memory map of Linux")
        assert found.line == 1
    # Of what else is in a ticket nothing is lost.
    *_, last = parse_saved(b"It said\n" + SMALL[:length] + b"\n```\n" + ROWS + b"```\n", "f")
    assert (last.form, last.table) == ("maps", parsed(SMALL).table)


@given(st.integers(0, len(SMALL)), st.integers(0, 60), st.binary(max_size=40), st.booleans())
@law(300)
def test_mutations_raise_nothing_else(position: int, removed: int, inserted: bytes, partial: bool) -> None:
    outcome(SMALL[:position] + inserted + SMALL[position + removed :], partial=partial)


@pytest.mark.parametrize(
    "data",
    [
        b"# JRE version: \n" * 60_000,
        b"#\n" * 300_000,
        b"Dynamic libraries:\n" * 50_000,
        SMALL[: SMALL.index(b"Dynamic")] * 2_000,
        b"1:\n#\n# JRE version: \n\n" * 40_000,
    ],
    ids=range(5),
)
def test_linear_time(data: bytes) -> None:
    began = time.process_time()
    outcome(data)
    assert time.process_time() - began < 5
