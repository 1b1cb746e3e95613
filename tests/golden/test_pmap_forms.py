"""The forms of pmap and of the kernel, from one smaps of a frozen redis-server, against what pmap and the kernel printed of it then."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pmapdiff.formats.base import parse_saved
from pmapdiff.model import COUNTER_INDEX, Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.report import View, write_report

FROZEN = Path(__file__).resolve().parents[1] / "data" / "redis-frozen"
# What smaps does not say: whose it is. The stack began somewhere in the mapping that the kernel calls so.
PROCESS = ProcessInfo(ProcessIdentity("boot", 30412, 1, f"{0x7FFEB7EF6F10}-0-0"), b"redis-server", b"redis-server *:7801\0")
EXACT = {
    "pmap.txt": ("pmap", View()),
    "pmap-p.txt": ("pmap", View(show_path=True)),
    "pmap-x.txt": ("pmap-x", View()),
    "pmap-xp.txt": ("pmap-x", View(show_path=True)),
    "pmap-xq.txt": ("pmap-x", View(quiet=True)),
    "pmap-d.txt": ("pmap-d", View()),
    "pmap-dp.txt": ("pmap-d", View(show_path=True)),
    "maps.txt": ("maps", View()),
    "smaps.txt": ("smaps", View()),
}
# Other processes came and went between one file and the next: with them what is shared, and so these.
_SHARED = ("Pss", "Shared_Clean", "Private_Clean")


def _mappings() -> tuple[Mapping, ...]:
    (saved,) = parse_saved((FROZEN / "smaps.txt").read_bytes(), "smaps.txt")
    return saved.table.mappings


def shown(mappings: tuple[Mapping, ...], form: str, view: View, process: ProcessInfo = PROCESS) -> bytes:
    """What `show` writes of a table."""
    snapshot = Snapshot(SnapshotRef(1, 0, "host"), (Capture(process, Status.COMPLETE, MappingTable(mappings)),))
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    write_report("show", form, snapshot, view, out)
    return out.buffer.getvalue()


@pytest.mark.parametrize("name", EXACT)
def test_the_same_bytes(name: str) -> None:
    assert shown(_mappings(), *EXACT[name]) == (FROZEN / name).read_bytes()


@pytest.mark.parametrize("form", ["pmap-X", "pmap-XX"])
def test_the_same_bytes_once_the_shared_counters_are_those_of_that_moment(form: str) -> None:
    text = (FROZEN / f"{form}.txt").read_bytes()
    _, headings, *rows = text.splitlines()
    names = headings.decode().split()
    replaced = []
    for mapping, row in zip(_mappings(), rows[:-2], strict=True):
        cells = row.split(None, len(names) - 1)
        counters = list(mapping.counters)
        for name in _SHARED:
            if name in names:
                counters[COUNTER_INDEX[name]] = int(cells[names.index(name)])
        replaced.append(mapping._replace(counters=tuple(counters)))
    assert shown(tuple(replaced), form, View()) == text


def test_the_rollup_but_for_the_shares_that_the_kernel_rounds_once() -> None:
    """Of 47 mappings some pages are shared: up to 1 KiB of Pss of each is lost in smaps, but not in smaps_rollup."""
    theirs = (FROZEN / "smaps_rollup.txt").read_bytes().splitlines()
    ours = shown(_mappings(), "smaps_rollup", View()).splitlines()
    differing = [(mine, kernels) for mine, kernels in zip(ours, theirs, strict=True) if mine != kernels]
    assert differing == [
        (b"Pss:                6393 kB", b"Pss:                6401 kB"),
        (b"Pss_File:           3665 kB", b"Pss_File:           3673 kB"),
    ]


def test_a_saved_table_knows_its_stack_by_its_name() -> None:
    saved = PROCESS._replace(identity=ProcessIdentity("", 30412, 0, "562bd0478000-7ffeb7ef8000"))
    assert shown(_mappings(), "pmap", View(), saved) == (FROZEN / "pmap.txt").read_bytes()
