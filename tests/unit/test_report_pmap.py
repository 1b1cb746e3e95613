"""pmap's forms: what no running process shows on every machine, and what is refused."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from programs import Runner
from strategies import in_form, law, make, tables

from pmapdiff.errors import UsageError
from pmapdiff.formats.base import parse_saved
from pmapdiff.model import Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status, layout_of
from pmapdiff.model.counters import DIRTY, RSS, dirty_kib
from pmapdiff.report import View, write_report
from pmapdiff.units import parse_address_range

FROZEN = Path(__file__).resolve().parents[1] / "data" / "redis-frozen"
START_OF_STACK = 0x7FFC00001000
PROCESS = ProcessInfo(ProcessIdentity("boot", 1100, 5, f"{START_OF_STACK}-7-8"), b"prog", b"/usr/bin/prog\0-v\0")
_PMAP = ("pmap", "pmap-x", "pmap-d", "pmap-X", "pmap-XX")


def shown(mappings: Sequence[Mapping], form: str = "pmap", process: ProcessInfo = PROCESS, **options: Any) -> bytes:
    return shown_all([Capture(process, Status.COMPLETE, MappingTable(tuple(mappings)))], form, **options)


def shown_all(captures: Sequence[Capture], form: str, **options: Any) -> bytes:
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    write_report("show", form, Snapshot(SnapshotRef(1, 0, "host"), tuple(captures)), View(**options), out)
    return out.buffer.getvalue()


def name_of(mapping: Mapping, *others: Mapping, **options: Any) -> bytes:
    """What the plain form calls a mapping, the first one of its table."""
    return shown([mapping, *others], "pmap", quiet=True, **options).split(b"\n")[1].split(b" rw", 1)[1][4:]


SEGMENT = make(0x1000, 0x2000, "rw-s", b"/SYSV00000000 (deleted)", device="00:01", inode=0x8001)
HUGE = SEGMENT._replace(device="00:0f", flags=b" rd wr ht ")
FILE = SEGMENT._replace(device="00:2b", name=b"/SYSV00000000")
ZERO = make(0x9000, 0xA000, "rw-s", b"/dev/zero (deleted)", device="00:01", inode=9)


@pytest.mark.parametrize(
    ("mapping", "name", "path"),
    [
        (SEGMENT, b"  [ shmid=0x8001 ]", b"  [ shmid=0x8001 ]"),
        (SEGMENT._replace(device="fe:01"), b"SYSV00000000 (deleted)", b"/SYSV00000000 (deleted)"),
        (make(0x1000, 0x2000, name=b"/dev/zero (deleted)", device="00:01", inode=3), b"zero (deleted)", b"/dev/zero (deleted)"),
        (make(0x1000, 0x2000, name=b"/a b/c\td\xc3\xa9\xff\x1b", device="fe:00", inode=3), b"c?d????", b"/a b/c?d????"),
        (make(0x1000, 0x2000, name=b"/a/", device="fe:00", inode=3), b"/", b"/a/"),
        (make(0x1000, 0x2000, name=b"[anon:a/b/c]"), b"c]", b"/b/c]"),
        (make(0x1000, 0x2000, name=b"[anon:plain]"), b"  [ anon ]", b"  [ anon ]"),
        (make(0x1000, 0x2000, name=b"[heap]"), b"  [ anon ]", b"  [ anon ]"),
        (make(0x1000, 0x2000, name=b"socket:[4711]", device="00:08", inode=4711), b"  [ anon ]", b"  [ anon ]"),
        (make(0x1000, 0x2000, name=b"anon_inode:[io_uring]", device="00:0e", inode=12), b"  [ anon ]", b"  [ anon ]"),
        (make(0x1000, 0x2000, name=b"anon_inode:kvm-vcpu:0", device="00:0e", inode=12), b"  [ anon ]", b"  [ anon ]"),
        (make(0x1000, START_OF_STACK), b"  [ stack ]", b"  [ stack ]"),
        (make(START_OF_STACK, START_OF_STACK + 4096), b"  [ stack ]", b"  [ stack ]"),
        (make(START_OF_STACK + 4096, START_OF_STACK + 8192, name=b"[stack]"), b"  [ anon ]", b"  [ anon ]"),
        (make(0x1000, START_OF_STACK, name=b"socket:[4711]", inode=4711), b"  [ stack ]", b"  [ stack ]"),
        # What a saved table of pmap's has.
        (make(0x1000, 0x2000, name=b"[shmid=0x2a]", device=None, inode=None), b"  [ shmid=0x2a ]", b"  [ shmid=0x2a ]"),
        (make(0x1000, 0x2000, name=b"libc.so.6", device=None, inode=None), b"libc.so.6", b"libc.so.6"),
        (make(0x1000, 0x2000, name=b"odd: name", device=None, inode=None), b"odd: name", b"odd: name"),
    ],
)
def test_names(mapping: Mapping, name: bytes, path: bytes) -> None:
    assert name_of(mapping) == name
    assert name_of(mapping, show_path=True) == path


def test_only_the_device_of_shared_memory_makes_a_segment() -> None:
    """pmap compares with the device of a segment of its own; files called like one, and huge pages, are on others."""
    assert name_of(HUGE) == b"SYSV00000000 (deleted)"
    assert name_of(FILE, ZERO) == b"SYSV00000000"
    assert name_of(SEGMENT._replace(name=b"/memfd:a/SYSV1 (deleted)")) == b"  [ shmid=0x8001 ]"
    assert name_of(HUGE._replace(name=b"/memfd:a/SYSV1 (deleted)"), ZERO) == b"SYSV1 (deleted)"


def test_the_stack_of_a_process_whose_start_is_hidden_is_what_the_kernel_calls_so() -> None:
    stack = make(START_OF_STACK, START_OF_STACK + 4096, name=b"[stack]")
    for identity in (PROCESS.identity._replace(exec_key="0-0-0"), ProcessIdentity("", 1, 0, "400000-7ffc00002000")):
        rows = shown([make(0x1000, 0x2000), stack], process=PROCESS._replace(identity=identity), quiet=True).splitlines()
        assert [row.rpartition(b"[")[2] for row in rows[1:]] == [b" anon ]", b" stack ]"]


@pytest.mark.parametrize(
    ("comm", "command", "line"),
    [
        (b"prog", b"/usr/bin/prog\0-v\0", b"/usr/bin/prog -v"),
        (b"kworker/0:1", b"", b"[kworker/0:1]"),
        (b"a\nb\x7f", b"", b"[a?b?]"),
        (b"cut \xe2\x82", b"", b"[cut ??]"),
        (b"prog", b"\0\0", b"?"),
        (b"prog", b"set by the process itself ", b"set by the process itself"),
        (b"prog", b"set by the process itself \0\0\0", b"set by the process itself "),
    ],
)
def test_the_first_line(comm: bytes, command: bytes, line: bytes) -> None:
    process = PROCESS._replace(comm=comm, command=command)
    assert shown([make(0x1000, 0x2000)], process=process).split(b"\n")[0] == b"1100:   " + line


def test_a_process_without_a_table_is_its_first_line() -> None:
    table = MappingTable((make(0x1000, 0x2000),))
    captures = [Capture(PROCESS, Status.DENIED), Capture(PROCESS._replace(command=b"other\0"), Status.COMPLETE, table)]
    for form in _PMAP:
        assert shown_all(captures, form).startswith(b"1100:   /usr/bin/prog -v\n1100:   other\n")
    with pytest.raises(UsageError, match=r"this snapshot has none \(denied\)"):
        shown_all(captures[:1], "pmap")


def test_no_mapping_at_all() -> None:
    assert shown([], "pmap") == b"1100:   /usr/bin/prog -v\n total                0K\n"
    assert shown([], "pmap-d").endswith(b"Mapping\nmapped: 0K    writeable/private: 0K    shared: 0K\n")
    assert shown([], "pmap-X") == b"1100:   /usr/bin/prog -v\n"
    assert shown([], "smaps_rollup") == b""


def test_a_counter_that_some_rows_lack_is_missing_in_them_and_in_the_total() -> None:
    """As Nonlinear was, of Linux 2.6.26 to 3.19: only mappings that were so had the line."""
    template = b"Size:           %8d kB\nRss:            %8d kB\nPss:            %8d kB\n"
    plain, more = layout_of(template), layout_of(template + b"Nonlinear:      %8d kB\n")
    first = make(0x1000, 0x2000, rss=4, pss=2)._replace(layout=plain, flags=None)
    second = make(0x2000, 0x4000, rss=8, pss=8)._replace(layout=more, extra=(123,), flags=None)
    _, headings, one, other, _, totals = shown([first, second], "pmap-XX").splitlines()
    assert headings.split()[5:] == [b"Size", b"Rss", b"Pss", b"Nonlinear", b"Mapping"]
    assert [line.split()[-4:] for line in (one, other)] == [[b"4", b"4", b"2", b"-"], [b"8", b"8", b"8", b"123"]]
    assert totals.split() == [b"12", b"12", b"10", b"-", b"KB"]


def test_columns_of_a_table_that_was_not_read_from_smaps() -> None:
    """In the kernel's order, and only those that are known."""
    every = shown([make(0x1000, 0x2000, rss=4, pss=2)], "pmap-XX").splitlines()
    frozen = (FROZEN / "pmap-XX.txt").read_bytes().splitlines()
    assert every[1].split() == frozen[1].split()


REFUSED = {
    "pmap.txt": "pmap, text, json, csv",
    "pmap-x.txt": "pmap, pmap-x, text, json, csv",
    "pmap-d.txt": "pmap, pmap-d, text, json, csv",
    "maps.txt": "pmap, pmap-d, maps, text, json, csv",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_missing_is_not_made_up(run: Runner, name: str) -> None:
    possible = REFUSED[name].split(", ")
    for form in (*_PMAP, "maps", "smaps", "smaps_rollup"):
        result = run.here("show", FROZEN / name, "--format", form, store=False)
        if form in possible:
            result.ok()
        else:
            result.refused(f"which --format {form} prints: it can be shown as {REFUSED[name]}\n")


def test_what_is_missing_is_said(run: Runner) -> None:
    run.here("show", FROZEN / "maps.txt", "--format", "pmap-x", store=False).refused("has no Rss, dirty, which")
    run.here("show", FROZEN / "pmap-d.txt", "--format", "maps", store=False).refused("has no inode, which")
    run.here("show", FROZEN / "pmap-x.txt", "--format", "pmap-X", store=False).refused("has no offset, device, inode, Pss, which")


def test_options_that_do_not_fit_are_refused(run: Runner) -> None:
    for option in (["-p"], ["-q"], ["-A", "1000"]):
        for form in ("text", "json", "smaps", "maps", "smaps_rollup"):
            run.here("show", FROZEN / "smaps.txt", "--format", form, *option, store=False).refused("are for pmap's forms", "--pid")
    for option in (["--top", "3"], ["--sort", "rss"], ["--by", "family"], ["--explain"]):
        run.here("show", FROZEN / "smaps.txt", "--format", "pmap-x", *option, store=False).refused("leave out --sort")
    run.here("show", FROZEN / "smaps.txt", "--format", "pmap", "-A", "10-20", store=False).refused("no range of addresses")


def test_the_files_of_the_kernel_are_of_one_process(run: Runner) -> None:
    table = MappingTable((make(0x1000, 0x2000),))
    with pytest.raises(UsageError, match="the tables of 2: choose one with --pid"):
        shown_all([Capture(PROCESS, Status.COMPLETE, table)] * 2, "maps")
    run.here("show", FROZEN / "smaps.txt", "--format", "maps", store=False).ok()


def test_a_capture_that_is_not_whole_is_said_beside_the_table(run: Runner, tmp_path: Path) -> None:
    torn = tmp_path / "torn.maps"
    torn.write_bytes(b"00001000-00003000 rw-p 00000000 00:00 0 \n00002000-00004000 r--p 00000000 00:00 0 \n")
    result = run.here("show", torn, "--format", "pmap", store=False).ok()
    assert result.stdout.count(b"\n") == 4
    assert "this capture is marked torn: its mappings overlap" in result.err


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("7f00,7fff", 0x7F00, 0x7FFF),
        ("0x7F00,0X7fff", 0x7F00, 0x7FFF),
        ("7f00", 0x7F00, 0x7F00),
        ("7f00,", 0x7F00, (1 << 64) - 1),
        (",7f00", 0, 0x7F00),
        (" 5,3 ", 5, 3),
    ],
)
def test_ranges(text: str, low: int, high: int) -> None:
    assert parse_address_range(text) == (low, high)


@pytest.mark.parametrize("text", ["", ",", "x", "1,2,3", "1-2", "-1", "1" * 17, "1,g", "0x", "１"])
def test_no_ranges(text: str) -> None:
    with pytest.raises(UsageError, match="is no range of addresses"):
        parse_address_range(text)


def _as_pmap_names_it(mapping: Mapping) -> bytes:
    """What the parser makes of what pmap prints."""
    if mapping.name.startswith(b"/SYSV"):
        return b"[shmid=0x%x]" % (mapping.inode or 0)
    if mapping.is_file:
        return mapping.name.rpartition(b"/")[2]
    return b"[stack]" if mapping.name == b"[stack]" else b""


@law(100)
@given(tables())
def test_what_pmap_would_print_can_be_read_again(mappings: tuple[Mapping, ...]) -> None:
    saved = PROCESS._replace(identity=ProcessIdentity("", 1100, 0, ""))
    for form in ("pmap", "pmap-x", "pmap-d"):
        (read,) = parse_saved(shown(mappings, form, process=saved), form, form)
        assert (read.pid, read.command, read.warnings) == (1100, b"/usr/bin/prog -v", ())
        expected = [mapping._replace(name=_as_pmap_names_it(mapping), inode=None, flags=None) for mapping in mappings]
        assert [m[:3] for m in read.table.mappings] == [m[:3] for m in expected]
        assert [m.name for m in read.table.mappings] == [m.name for m in expected]
        if form == "pmap-d":
            assert [m[3:5] for m in read.table.mappings] == [m[3:5] for m in expected]
        if form == "pmap-x":
            assert [(m.counters[RSS], m.counters[DIRTY]) for m in read.table.mappings] == [(m.counters[RSS], dirty_kib(m.counters)) for m in mappings]
        # The table that was read knows no more than was printed, and that it can print again.
        assert read.command is not None
        again = saved._replace(command=read.command)
        assert shown(read.table.mappings, form, process=again) == shown(mappings, form, process=saved)


@law(100)
@given(tables().filter(bool))
def test_maps_can_be_read_again(mappings: tuple[Mapping, ...]) -> None:
    (read,) = parse_saved(shown(mappings, "maps"), "maps")
    assert read.form == "maps"
    assert list(read.table.mappings) == list(in_form(mappings, "maps"))


@law(50)
@given(tables().filter(bool))
def test_quiet_leaves_out_the_headings_and_nothing_else(mappings: tuple[Mapping, ...]) -> None:
    for form in _PMAP:
        loud = shown(mappings, form).splitlines()
        quiet = shown(mappings, form, quiet=True).splitlines()
        body = loud[1:] if form == "pmap" else loud[2:]
        assert quiet[0] == loud[0]
        assert [re.split(rb" +", row.strip()) for row in quiet[1:]] == [re.split(rb" +", row.strip()) for row in body[: len(mappings)]]
