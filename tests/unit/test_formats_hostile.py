"""Files that somebody changed, cut off or made up: an error in one line or a table, quickly, and nothing else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_samples import sample

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, parse_saved

# One of each form, and another where a form has several faces.
FILES = [
    "sanitizer/asan-shadow.txt",
    "gdb/live.txt",
    "gdb/core.txt",
    "android/tombstone-64.txt",
    "android/android-32-kernel-3.10.smaps",
    "heap-profile/gperftools.heap",
    "heap-profile/gperftools-cpu.prof",
    "heap-profile/jeprof.10411.2.i2.heap",
    "showmap/android-2.3.showmap-a.txt",
    "showmap/android-5.showmap-a.txt",
    "showmap/android-10.bugreport.txt",
    "showmap/worker.showmap-av.txt",
    "showmap/worker.showmap-av.csv",
    "showmap/worker.showmap.json",
    "psutil/as_dict-ungrouped.json",
    "psutil/processes.jsonl",
    "psutil/grouped-lists.json",
    "smemcap/smem.tar",
    "proc/grep-h-not-a.maps",
    "proc/grep-r.smaps_rollup",
    "proc/worker.numa_maps",
    "apport/_srv_demo_bin_worker.0.crash",
    "systemd-coredump/worker.json",
    "systemd-coredump/odd-cut.json",
    "systemd-coredump/worker.json-pretty",
    "systemd-coredump/journal.export",
    "systemd-coredump/worker.verbose",
    "hotspot/hs_err_pid8421.log",
    "hotspot/jdk17.VM.info",
    "hotspot/jdk22.System.map",
    "hotspot/vm_memory_map_9531.txt",
]
SAMPLES = {path: sample(path) for path in FILES}
# What this takes is for the machine to say, but not that ten times as much takes a hundred times as long.
SECONDS = 3


def parsed(data: bytes, *, partial: bool = False) -> list[SavedTable] | FormatError:
    try:
        return parse_saved(data, "f", partial=partial)
    except FormatError as error:
        return error


def outcome(data: bytes, *, partial: bool = False) -> list[SavedTable] | FormatError:
    """What comes of a file, after a look at whether it can be."""
    found = parsed(data, partial=partial)
    if isinstance(found, FormatError):
        assert str(found).isprintable()
        assert len(str(found)) < 500
        assert found.line is None or 1 <= found.line <= data.count(b"\n") + 1
        return found
    for saved in found:
        assert saved.table.mappings
        assert all(0 <= m.start <= m.end <= 1 << 64 and len(m.perms) == 4 for m in saved.table.mappings)
        assert all(warning.isprintable() for warning in saved.warnings)
        assert list(saved.table.mappings) == sorted(saved.table.mappings, key=lambda m: m.start)
    return found


@settings(deadline=None)
@given(st.sampled_from(FILES), st.data())
def test_mutations_raise_nothing_else(path: str, data: st.DataObject) -> None:
    text = SAMPLES[path]
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(text)))
        removed = data.draw(st.sampled_from([0, 1, 2, 16, 100, 3000]))
        other = SAMPLES[data.draw(st.sampled_from(FILES))]
        start = data.draw(st.integers(0, len(other)))
        pieces = st.one_of(
            st.binary(max_size=40),
            st.sampled_from([b"\n", b"0" * 40, b"9" * 30, b" ", b"\t", b"\0", b"[[[", b'"', b"--->"]),
            st.just(other[start : start + 200]),
        )
        text = text[:position] + data.draw(pieces) + text[position + removed :]
    outcome(text, partial=data.draw(st.booleans()))


@pytest.mark.parametrize("path", FILES)
def test_cut_off_anywhere(path: str) -> None:
    data = SAMPLES[path]
    everything = outcome(data)
    rows = [m for saved in everything for m in saved.table.mappings] if isinstance(everything, list) else []
    for length in range(1, len(data), max(1, len(data) // 80)):
        for partial in (False, True):
            found = outcome(data[:length], partial=partial)
            if isinstance(found, list):
                # Nothing is made up: whatever is there was there.
                named = {m.name for m in rows}
                assert {m.name for saved in found for m in saved.table.mappings if not saved.table.has_sums} <= named | {
                    m.name for saved in found for m in saved.table.mappings[-1:]
                }


@pytest.mark.parametrize("path", FILES)
def test_a_line_that_does_not_end(path: str) -> None:
    data = SAMPLES[path]
    middle = data.index(b"\n", len(data) // 2) if b"\n" in data[len(data) // 2 :] else len(data) // 2
    for filling in (b"0", b" ", b"a", b"(", b"[", b") (", b'"', b"0 ", b"rw-p ", b"\xff", b"\t"):
        changed = data[:middle] + filling * (300_000 // len(filling)) + data[middle:]
        began = time.process_time()
        outcome(changed)
        assert time.process_time() - began < SECONDS, filling


@pytest.mark.parametrize(
    "line",
    [
        b"==1==Process memory map follows:\n",
        b"==x==1==Process memory map follows:\n\t0x1000-0x2000\t/a\n",
        b"memory map (1 entry):\n    00001000-00001fff rw-         0      1000\n",
        b"memory map:\n",
        b"process 1\nMapped address spaces:\n\n Start Addr End Addr Size Offset objfile\n 0x1000 0x2000 0x1000 0x0 /a\n",
        b"process 1\ncmdline = 'a'\n",
        b"------ SHOW MAP 1 (a) (b) ------\n",
        SAMPLES["showmap/android-2.3.showmap-a.txt"][:200],
        SAMPLES["showmap/worker.showmap.json"][:300] + b"\n",
        b'"virtual size","RSS","PSS","a","b","c","d","object"\n',
        b"grep: /proc/1/maps: binary file matches\n",
        b"/proc/1/maps:00001000-00002000 rw-p 00000000 00:00 0 \n/proc/1/maps:grep\n",
        b"1000 default\n",
        b"[",
        b'{"a":',
        b"0x1000-0x2000\n",
    ],
)
def test_the_same_again_and_again(line: bytes) -> None:
    data = line * (300_000 // len(line))
    began = time.process_time()
    outcome(data)
    outcome(data, partial=True)
    assert time.process_time() - began < 2 * SECONDS
