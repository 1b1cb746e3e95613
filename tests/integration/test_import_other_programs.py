"""What other programs print of a process that stands still is what its smaps says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import Target

from pmapdiff.formats import parse_saved
from pmapdiff.formats.saved import read_saved
from pmapdiff.model import Mapping

ASK_PSUTIL = """
import json, psutil, sys
process = psutil.Process(int(sys.argv[1]))
about = process.as_dict(["pid", "name", "cmdline", "exe", "ppid", "uids", "num_threads"])
for grouped in (False, True):
    rows = process.memory_maps(grouped=grouped)
    print(json.dumps(about | {"memory_maps": rows if sys.argv[2] == "lists" else [row._asdict() for row in rows]}))
"""
CHECKED_C = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void) {
    char text[65536];
    FILE *maps = fopen("/proc/self/maps", "r");
    size_t length = fread(text, 1, sizeof text, maps);
    fwrite(text, 1, length, stdout);
    fflush(stdout);
    for (;;) memset(malloc(1 << 24), 1, 1 << 24);
}
"""


def smaps_rows(target: Target) -> tuple[Mapping, ...]:
    (saved,) = parse_saved(target.smaps(), "smaps")
    return saved.table.mappings


def odd_files(target: Target, tmp_path: Path) -> None:
    """Have the program map files whose names are no text."""
    for name in (b"two\nlines", b"caf\xe9", b"a [b] (c)", b" blanks "):
        path = os.fsencode(tmp_path) + b"/" + name
        Path(os.fsdecode(path)).write_bytes(b"x" * 8192)
        target.call("map", size=8192, prot=1, flags=2, fd=target.call("open", path=os.fsdecode(path)))


@pytest.mark.parametrize("shape", ["dicts", "lists"])
def test_psutil(target: Target, tmp_path: Path, shape: str) -> None:
    odd_files(target, tmp_path)
    with target.stopped():
        command = [sys.executable, "-c", ASK_PSUTIL, str(target.pid), shape]
        printed = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
        expected = smaps_rows(target)
    saved, sums = parse_saved(printed, "f")
    assert (saved.form, saved.pid, saved.ppid, saved.uid) == ("psutil", target.pid, os.getpid(), os.getuid())
    assert saved.command == Path(f"/proc/{target.pid}/cmdline").read_bytes()
    assert [(m.start, m.end, m.perms, m.size_kib) for m in saved.table.mappings] == [(m.start, m.end, m.perms, m.size_kib) for m in expected]
    for mapping, kernel in zip(saved.table.mappings, expected, strict=True):
        # psutil takes blanks and the mark of what is deleted off.
        assert mapping.name in (kernel.name, kernel.name.strip(), kernel.name.removesuffix(b" (deleted)"))
        for number in (0, 6, 8, 10):
            assert mapping.counters[number] == kernel.counters[number]
    assert sums.table.has_sums
    for figure in ("size_kib", "rss_kib", "private_dirty_kib", "anonymous_kib", "swap_kib"):
        assert sums.table.totals.get(figure) == saved.table.totals.get(figure)


def test_gdb(target: Target, tmp_path: Path) -> None:
    gdb = shutil.which("gdb")
    if gdb is None:
        pytest.skip("gdb is not installed")
    odd_files(target, tmp_path)
    command = [gdb, "-nx", "-q", "-batch", "-p", str(target.pid), "-ex", "info proc mappings"]
    printed = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60).stdout
    if b"Mapped address spaces" not in printed:
        pytest.skip("gdb may not trace here")
    (saved,) = parse_saved(printed, "f")
    with target.stopped():
        expected = smaps_rows(target)
    assert (saved.form, saved.pid, saved.partial) == ("gdb", target.pid, None)
    assert [(m.start, m.end, m.offset) for m in saved.table.mappings] == [(m.start, m.end, m.offset) for m in expected]
    assert [m.name for m in saved.table.mappings] == [m.name for m in expected]


def test_address_sanitizer(tmp_path: Path) -> None:
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("gcc is not installed")
    (tmp_path / "checked.c").write_text(CHECKED_C)
    built = subprocess.run([gcc, "-fsanitize=address", "-o", tmp_path / "checked", tmp_path / "checked.c"], capture_output=True, check=False)
    if built.returncode:
        pytest.skip("gcc cannot build with -fsanitize=address")
    options = "hard_rss_limit_mb=200:detect_leaks=0"
    ran = subprocess.run([tmp_path / "checked"], env={"ASAN_OPTIONS": options}, capture_output=True, check=False, timeout=60)
    if b"Process memory map follows" not in ran.stderr:
        pytest.skip("its AddressSanitizer prints no memory map")
    report = tmp_path / "report.txt"
    report.write_bytes(ran.stderr)
    (saved,) = read_saved(str(report))
    (before,) = parse_saved(ran.stdout, "maps")
    assert (saved.form, saved.partial) == ("sanitizer", None)
    assert b"==%d==" % (saved.pid or 0) in ran.stderr
    # It has allocated since then, and what it had is still there.
    files = {(m.start, m.end, m.name) for m in before.table.mappings if m.is_file}
    assert len(files) > 5
    assert files <= {(m.start, m.end, m.name) for m in saved.table.mappings}
