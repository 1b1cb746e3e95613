"""A program has the kernel lay out its memory in each way that it does, and `compare` calls it what it is."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from ground_truth import BASE, DONTNEED, KIB, MIB, PAGE, PAGE_KIB, PRIVATE, READ, READ_WRITE, compared, delta, dirtied, of, shape
from programs import Runner, Target

FREE, HUGEPAGE, DONTDUMP, DODUMP = 8, 14, 16, 17
# Too large for the gaps between libraries; no multiple of 2 MiB, which the kernel would align; and one that is.
ODD, EVEN = 64 * MIB + PAGE, 64 * MIB
ANYWHERE = {"start": 0, "end": 1 << 64}


def places(change: dict[str, Any], when: str) -> list[tuple[int, int]]:
    return [(int(m["start"], 16), int(m["end"], 16)) for m in change[when]]


def named(changes: Iterable[dict[str, Any]], name: str) -> dict[str, Any]:
    (change,) = (change for change in changes if change["name"] == name)
    return change


def around(changes: Iterable[dict[str, Any]], address: int) -> dict[str, Any]:
    """The change of the region that holds this address, before or after."""
    (change,) = (c for c in changes if any(start <= address < end for when in ("before", "after") for start, end in places(c, when)))
    return change


def test_the_heap_keeps_its_start(run: Runner, target: Target) -> None:
    change = named(compared(run, target, lambda: target.call("brk", size=8 * MIB), **ANYWHERE).here, "[heap]")
    ((start, end),), ((now, grown),) = places(change, "before"), places(change, "after")
    assert (change["change"][0], now, grown) == ("grew", start, end + 8 * MIB)
    change = named(compared(run, target, lambda: target.call("brk", size=-8 * MIB), **ANYWHERE).here, "[heap]")
    assert (change["change"][0], places(change, "after")) == ("shrank", [(start, end)])


def test_the_heap_in_pieces_is_one_region(run: Runner, target: Target) -> None:
    """Each piece is called [heap]."""
    end = target.call("brk", size=8 * MIB)
    middle = -(-end // PAGE) * PAGE + MIB
    change = named(compared(run, target, lambda: target.call("protect", address=middle, size=MIB, prot=READ), **ANYWHERE).here, "[heap]")
    assert (change["change"][:2], shape(change), change["delta"]["size_kib"]) == (["split", "reprotected"], (1, 3), 0)
    assert {m["name"] for m in change["after"]} == {"[heap]"}
    assert [m["perms"] for m in change["after"]] == ["rw-p", "r--p", "rw-p"]
    change = named(compared(run, target, lambda: target.call("protect", address=middle, size=MIB, prot=READ_WRITE), **ANYWHERE).here, "[heap]")
    assert (change["change"][:2], shape(change)) == (["merged", "reprotected"], (3, 1))


def test_the_stack_keeps_its_end(run: Runner, target: Target) -> None:
    change = named(compared(run, target, lambda: target.call("stack", pages=100), **ANYWHERE).here, "[stack]")
    ((start, end),), ((now, still),) = places(change, "before"), places(change, "after")
    assert (change["change"][0], change["family"], now, still) == ("grew", "stack", start - 100 * PAGE, end)
    assert change["delta"]["size_kib"] == 100 * PAGE_KIB
    assert change["delta"]["rss_kib"] >= PAGE_KIB


def floor(target: Target) -> int:
    """A reserve below all that the process has by itself: what is mapped next lies right below that, and merges with nothing else."""
    address: int = target.call("map", size=(1 << 30) + PAGE, prot=0)
    return address


def test_blocks_merge_downward_and_keep_their_end(run: Runner, target: Target) -> None:
    top = floor(target)
    assert target.call("map", size=ODD) == top - ODD
    for number in (2, 3):
        change = around(compared(run, target, lambda: target.call("map", size=ODD), **ANYWHERE).here, top - 1)
        assert (change["change"], shape(change), change["possibly"]) == (["grew"], (1, 1), False)
        assert of(change) == delta(size=ODD >> 10)
        assert places(change, "after") == [(top - number * ODD, top)]


def test_holes_are_filled_first(run: Runner, target: Target) -> None:
    top = floor(target)
    highest, middle, lowest = (target.call("map", size=ODD) for _ in range(3))
    assert (highest, middle, lowest) == (top - ODD, top - 2 * ODD, top - 3 * ODD)
    change = around(compared(run, target, lambda: target.call("unmap", address=middle, size=ODD), **ANYWHERE).here, highest)
    assert (change["change"], shape(change), of(change)) == (["shrank", "split"], (1, 2), delta(size=-(ODD >> 10)))
    filled: list[int] = []
    change = around(compared(run, target, lambda: filled.append(target.call("map", size=ODD)), **ANYWHERE).here, highest)
    assert filled == [middle]
    assert (change["change"], shape(change), of(change)) == (["grew", "merged"], (2, 1), delta(size=ODD >> 10))


def test_aligned_mappings_leave_gaps(run: Runner, target: Target) -> None:
    """Each is a region of its own."""
    floor(target)
    odd = target.call("map", size=ODD)
    new: list[int] = []
    changes = compared(run, target, lambda: new.append(target.call("map", size=EVEN)), **ANYWHERE).here
    if new[0] % (2 * MIB):
        pytest.skip("this kernel does not align anonymous memory to huge pages (before 6.7, or without them)")
    assert odd - 2 * MIB <= new[0] + EVEN < odd
    change = around(changes, new[0])
    assert (change["change"], places(change, "after"), of(change)) == (["new"], [(new[0], new[0] + EVEN)], delta(size=EVEN >> 10))


def test_equal_neighbours_that_stay_split_are_one_region(run: Runner, target: Target) -> None:
    """Two that were both written to do not merge, not even when the gap between them is filled: what fills it merges with one."""
    low, gap, high = (BASE + number * MIB for number in range(3))
    for address in (low, high):
        target.call("map", size=MIB, address=address)
        target.call("write", address=address, pages=2)
    change = compared(run, target, lambda: target.call("map", size=MIB, address=gap)).only
    assert (change["change"], shape(change), of(change)) == (["grew"], (2, 2), delta(size=KIB))
    assert {(m["perms"], m["name"]) for m in change["after"]} == {("rw-p", "")}


def whole(target: Target, pages: int = 64) -> None:
    target.call("map", size=64 * PAGE, address=BASE)
    target.call("write", address=BASE, pages=pages)


PART = {"address": BASE + 16 * PAGE, "size": 4 * PAGE}


def test_mlock_splits_and_munlock_merges(run: Runner, target: Target) -> None:
    whole(target)
    change = compared(run, target, lambda: target.call("lock", **PART)).only
    assert (change["change"], of(change), shape(change)) == (["split"], delta(), (1, 3))
    assert change["delta"]["locked_kib"] == 4 * PAGE_KIB
    change = compared(run, target, lambda: target.call("unlock", **PART)).only
    assert (change["change"], of(change), shape(change)) == (["merged"], delta(), (3, 1))


def test_dontdump_splits_and_dodump_merges(run: Runner, target: Target) -> None:
    whole(target)
    change = compared(run, target, lambda: target.call("advise", **PART, advice=DONTDUMP)).only
    assert (change["change"], of(change), shape(change)) == (["split"], delta(), (1, 3))
    change = compared(run, target, lambda: target.call("advise", **PART, advice=DODUMP)).only
    assert (change["change"], of(change), shape(change)) == (["merged"], delta(), (3, 1))


def test_hugepage_splits_and_merges_when_all_of_it_has_it(run: Runner, target: Target) -> None:
    if not Path("/sys/kernel/mm/transparent_hugepage").exists():
        pytest.skip("this kernel has no transparent huge pages")
    whole(target)
    change = compared(run, target, lambda: target.call("advise", **PART, advice=HUGEPAGE)).only
    assert (change["change"], of(change), shape(change)) == (["split"], delta(), (1, 3))
    change = compared(run, target, lambda: target.call("advise", address=BASE, size=64 * PAGE, advice=HUGEPAGE)).only
    assert (change["change"], of(change), shape(change)) == (["merged"], delta(), (3, 1))


def test_dontneed_does_not_split(run: Runner, target: Target) -> None:
    whole(target)
    change = compared(run, target, lambda: target.call("advise", **PART, advice=DONTNEED)).only
    assert (change["change"], shape(change), change["possibly"]) == (["shrank", "cleaned"], (1, 1), False)
    assert of(change) == delta(**{name: -value for name, value in dirtied(4).items()})


def test_free_does_not_split(run: Runner, target: Target) -> None:
    """The pages stay until memory is needed, but are clean from then on. LazyFree counts them when the processor's batch is full."""
    whole(target)
    change = compared(run, target, lambda: target.call("advise", **PART, advice=FREE)).only
    assert (change["change"], shape(change)) == (["cleaned"], (1, 1))
    kib = 4 * PAGE_KIB
    assert of(change) == delta(dirty=-kib, private_dirty=-kib)


def test_the_parts_of_a_split_file_mapping_keep_their_place_in_the_file(run: Runner, target: Target, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(64 * PAGE))
    target.call("map", size=32 * PAGE, address=BASE, flags=PRIVATE, fd=target.call("open", path=str(path)), offset=8 * PAGE)
    change = compared(run, target, lambda: target.call("protect", **PART, prot=READ)).only
    assert (change["change"], of(change), shape(change)) == (["split", "reprotected"], delta(), (1, 3))
    assert [(int(m["start"], 16) - int(m["offset"], 16), m["perms"]) for m in change["after"]] == [
        (BASE - 8 * PAGE, perms) for perms in ("rw-p", "r--p", "rw-p")
    ]
    change = compared(run, target, lambda: target.call("protect", **PART, prot=READ_WRITE)).only
    assert (change["change"], of(change), shape(change)) == (["merged", "reprotected"], delta(), (3, 1))
    # A hole in it leaves two parts of one region, as well.
    change = compared(run, target, lambda: target.call("unmap", **PART)).only
    assert (change["change"], of(change), shape(change)) == (["shrank", "split"], delta(size=-4 * PAGE_KIB), (1, 2))
    assert {int(m["start"], 16) - int(m["offset"], 16) for m in change["after"]} == {BASE - 8 * PAGE}


def test_bss_is_named_after_its_library(run: Runner, target: Target, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler to build a library with")
    library, source = tmp_path / "libmine.so", tmp_path / "mine.c"
    # It has to be as large, too.
    floor(target)
    source.write_text("int used = 1;\nchar memory[64 << 20];\n")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    at: list[int] = []
    changes = compared(run, target, lambda: at.append(target.call("load", path=str(library))), **ANYWHERE).here
    bss = around(changes, at[0] + 64 * MIB - PAGE)
    assert (bss["change"], bss["name"], bss["family"], bss["path"]) == (["new"], "libmine.so bss", "image", None)
    data = [m for c in changes if c["path"] == str(library) for m in c["after"] if m["perms"] == "rw-p"]
    assert [int(m["end"], 16) for m in data] == [places(bss, "after")[0][0]]
    change = around(compared(run, target, lambda: target.call("write", address=at[0] + PAGE, pages=77), **ANYWHERE).here, at[0] + 64 * MIB - PAGE)
    assert (change["change"], change["name"], of(change)) == (["grew", "dirtied"], "libmine.so bss", delta(**dirtied(77)))


def test_a_window_that_slides_over_a_file(run: Runner, target: Target, tmp_path: Path) -> None:
    """Another part of a file in the old place is new; the same part in another place moved."""
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(64 * PAGE))
    fd = target.call("open", path=str(path))

    def window(address: int, page: int) -> None:
        target.call("map", size=8 * PAGE, address=address, prot=READ, flags=PRIVATE, fd=fd, offset=page * PAGE)

    def slide(to: int, page: int) -> None:
        target.call("unmap", address=at[-1], size=8 * PAGE)
        at.append(to)
        window(to, page)

    at = [BASE]
    window(BASE, 0)
    changes = compared(run, target, lambda: slide(BASE, 8)).here
    assert sorted((change["change"][0], int(change["offset"], 16)) for change in changes) == [("gone", 0), ("new", 8 * PAGE)]
    change = compared(run, target, lambda: slide(BASE + 64 * PAGE, 8)).only
    assert (change["change"], change["possibly"], shape(change)) == (["moved"], False, (1, 1))


def test_other_memory_in_the_hole_of_the_old_is_a_guess(run: Runner, target: Target) -> None:
    """It overlaps, but neither begins nor ends where the old did."""
    target.call("map", size=8 * MIB, address=BASE)
    target.call("write", address=BASE, pages=300)

    def do() -> None:
        target.call("unmap", address=BASE, size=8 * MIB)
        target.call("map", size=2 * MIB, address=BASE + MIB)
        target.call("write", address=BASE + MIB, pages=7)

    change = compared(run, target, do).only
    assert (change["change"], change["possibly"], change["delta"]["size_kib"]) == (["shrank", "cleaned"], True, -6 * KIB)
    text = run.here("compare", "latest~1", "latest").ok().out
    assert "possibly shrank" in text


def test_memory_that_is_not_reserved_is_no_memory_that_was(run: Runner, target: Target) -> None:
    target.call("map", size=MIB, address=BASE)

    def do() -> None:
        target.call("unmap", address=BASE, size=MIB)
        target.call("map", size=MIB, address=BASE, flags=0x4022)

    flags = Path(f"/proc/{target.pid}/smaps")
    changes = compared(run, target, do).here
    if b" nr" not in flags.read_bytes():
        pytest.skip("this kernel accounts for all memory (vm.overcommit_memory=2)")
    assert sorted(change["change"][0] for change in changes) == ["gone", "new"]
