"""A program changes its memory by known amounts, and `compare` reports exactly those."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ground_truth import (
    BASE,
    DONTNEED,
    KIB,
    MIB,
    PAGE,
    PAGE_KIB,
    PRIVATE,
    READ,
    READ_WRITE,
    SHARED,
    SHARED_ANONYMOUS,
    compared,
    delta,
    dirtied,
    of,
    shape,
)
from programs import Runner, Target, counters


def test_new_anonymous_memory_that_nobody_touched(run: Runner, target: Target) -> None:
    change = compared(run, target, lambda: target.call("map", size=24 * MIB, address=BASE)).only
    assert (change["change"], change["name"], change["family"], change["perms"], change["path"]) == (["new"], "[anon]", "anon", "rw-p", None)
    assert of(change) == delta(size=24 * KIB)
    assert [(m["start"], m["end"]) for m in change["after"]] == [(hex(BASE), hex(BASE + 24 * MIB))]


def test_new_anonymous_memory_with_exactly_so_many_dirty_pages(run: Runner, target: Target) -> None:
    def do() -> None:
        target.call("map", size=24 * MIB, address=BASE)
        target.call("write", address=BASE, pages=101)

    change = compared(run, target, do).only
    assert change["change"] == ["new"]
    assert of(change) == delta(size=24 * KIB, **dirtied(101))
    assert change["delta"]["footprint_kib"] == change["delta"]["uss_kib"] == 101 * PAGE_KIB


@pytest.mark.parametrize("below", [False, True], ids=["above", "below"])
def test_an_adjacent_mapping_is_growth(run: Runner, target: Target, below: bool) -> None:
    target.call("map", size=8 * MIB, address=BASE + 8 * MIB)
    target.call("write", address=BASE + 8 * MIB, pages=10)
    new = BASE + 4 * MIB if below else BASE + 16 * MIB

    def do() -> None:
        target.call("map", size=4 * MIB, address=new)
        target.call("write", address=new, pages=7)

    change = compared(run, target, do).only
    assert change["change"] == ["grew", "dirtied"]
    assert of(change) == delta(size=4 * KIB, **dirtied(7))
    assert shape(change) == (1, 1)


def test_mremap_in_place_is_growth_and_back_is_shrinking(run: Runner, target: Target) -> None:
    target.call("map", size=8 * MIB, address=BASE)
    change = compared(run, target, lambda: target.call("remap", address=BASE, size=8 * MIB, new_size=40 * MIB)).only
    assert (change["change"], of(change)) == (["grew"], delta(size=32 * KIB))
    target.call("write", address=BASE, pages=3, first=8 * MIB // PAGE)
    change = compared(run, target, lambda: target.call("remap", address=BASE, size=40 * MIB, new_size=8 * MIB)).only
    assert (change["change"], of(change)) == (["shrank", "cleaned"], delta(size=-32 * KIB, **{k: -v for k, v in dirtied(3).items()}))


@pytest.mark.parametrize("more", [0, 4])
def test_mremap_to_another_place_is_possibly_moved(run: Runner, target: Target, more: int) -> None:
    target.call("map", size=8 * MIB, address=BASE)
    target.call("write", address=BASE, pages=50)
    there = BASE + (1 << 36)
    change = compared(run, target, lambda: target.call("remap", address=BASE, size=8 * MIB, new_size=(8 + more) * MIB, to=there)).only
    assert change["change"] == (["grew", "moved"] if more else ["moved"])
    assert change["possibly"] is True
    assert of(change) == delta(size=more * KIB)
    assert [m["start"] for m in change["before"] + change["after"]] == [hex(BASE), hex(there)]


def test_mprotect_of_the_middle_splits_and_back_merges(run: Runner, target: Target) -> None:
    target.call("map", size=16 * MIB, address=BASE)
    target.call("write", address=BASE, pages=5)
    middle = BASE + 4 * MIB
    change = compared(run, target, lambda: target.call("protect", address=middle, size=4 * MIB, prot=READ)).only
    assert (change["change"], of(change), shape(change)) == (["split", "reprotected"], delta(), (1, 3))
    assert [m["perms"] for m in change["after"]] == ["rw-p", "r--p", "rw-p"]
    change = compared(run, target, lambda: target.call("protect", address=middle, size=4 * MIB, prot=READ_WRITE)).only
    assert (change["change"], of(change), shape(change)) == (["merged", "reprotected"], delta(), (3, 1))


def test_mprotect_of_the_whole_reprotects(run: Runner, target: Target) -> None:
    target.call("map", size=16 * MIB, address=BASE)
    change = compared(run, target, lambda: target.call("protect", address=BASE, size=16 * MIB, prot=READ)).only
    assert (change["change"], of(change), shape(change), change["perms"]) == (["reprotected"], delta(), (1, 1), "r--p")


def test_a_hole_in_the_middle(run: Runner, target: Target) -> None:
    target.call("map", size=16 * MIB, address=BASE)
    target.call("write", address=BASE, pages=16 * MIB // PAGE)
    change = compared(run, target, lambda: target.call("unmap", address=BASE + 4 * MIB, size=6 * MIB)).only
    gone = {name: -value for name, value in dirtied(6 * MIB // PAGE).items()}
    assert (change["change"], of(change), shape(change)) == (["shrank", "split", "cleaned"], delta(size=-6 * KIB, **gone), (1, 2))


def test_unmapped_whole(run: Runner, target: Target) -> None:
    target.call("map", size=16 * MIB, address=BASE)
    target.call("write", address=BASE, pages=12)
    change = compared(run, target, lambda: target.call("unmap", address=BASE, size=16 * MIB)).only
    assert (change["change"], shape(change)) == (["gone"], (1, 0))
    assert of(change) == delta(size=-16 * KIB, **{name: -value for name, value in dirtied(12).items()})


def test_dirtied_in_place_and_given_back(run: Runner, target: Target) -> None:
    target.call("map", size=16 * MIB, address=BASE)
    target.call("write", address=BASE, pages=2)
    change = compared(run, target, lambda: target.call("write", address=BASE, pages=77, first=1000)).only
    assert (change["change"], of(change)) == (["grew", "dirtied"], delta(**dirtied(77)))
    change = compared(run, target, lambda: target.call("advise", address=BASE, size=16 * MIB, advice=DONTNEED)).only
    assert (change["change"], of(change)) == (["shrank", "cleaned"], delta(**{name: -value for name, value in dirtied(79).items()}))


def test_nothing_at_all(run: Runner, target: Target) -> None:
    target.call("map", size=16 * MIB, address=BASE)
    moment = compared(run, target, lambda: None)
    assert moment.here == []


def test_two_changes_far_apart_are_two(run: Runner, target: Target) -> None:
    target.call("map", size=4 * MIB, address=BASE)

    def do() -> None:
        target.call("unmap", address=BASE, size=4 * MIB)
        target.call("map", size=6 * MIB, address=BASE + (1 << 32))
        target.call("write", address=BASE + (1 << 32), pages=9)

    changes = {change["change"][0]: of(change) for change in compared(run, target, do).here}
    assert changes == {"gone": delta(size=-4 * KIB), "new": delta(size=6 * KIB, **dirtied(9))}


@pytest.fixture
def disk_file(tmp_path: Path) -> Path:
    """A file of 64 pages that are all clean."""
    path = tmp_path / "ground truth.bin"
    with path.open("wb", buffering=0) as file:
        # Page by page, for the page cache keeps what is written together in one large folio, which is dirty as a whole.
        for _ in range(64):
            file.write(os.urandom(PAGE))
        os.fsync(file.fileno())
    filesystems = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    # Pages of tmpfs are dirty as long as they live.
    if max((mount for mount in filesystems if path.is_relative_to(mount[1])), key=lambda m: len(m[1]))[2] == "tmpfs":
        pytest.skip("the temporary folder is a tmpfs, whose pages are never clean")
    return path


def test_copy_on_write_of_a_private_file(run: Runner, target: Target, disk_file: Path) -> None:
    fd = target.call("open", path=str(disk_file))
    target.call("map", size=64 * PAGE, address=BASE, flags=PRIVATE, fd=fd)
    target.call("read", address=BASE, pages=64)
    change = compared(run, target, lambda: target.call("write", address=BASE, pages=9, first=20)).only
    kib = 9 * PAGE_KIB
    assert (change["change"], of(change)) == (["dirtied"], delta(dirty=kib, private_dirty=kib, anonymous=kib))
    assert (change["name"], change["path"], change["family"], change["offset"]) == (str(disk_file), str(disk_file), "file", "0x0")
    assert change["delta"]["footprint_kib"] == kib
    assert change["delta"]["private_clean_kib"] == -kib


def test_dirty_pages_of_a_shared_file(run: Runner, target: Target, disk_file: Path) -> None:
    fd = target.call("open", path=str(disk_file))
    target.call("map", size=64 * PAGE, address=BASE, flags=SHARED, fd=fd)
    target.call("read", address=BASE, pages=64)
    change = compared(run, target, lambda: target.call("write", address=BASE, pages=11)).only
    kib = 11 * PAGE_KIB
    assert (change["change"], of(change)) == (["dirtied"], delta(dirty=kib, private_dirty=kib))
    # They can be written back and dropped: no footprint.
    assert (change["delta"]["footprint_kib"], change["perms"]) == (0, "rw-s")


def test_a_file_read_into_the_page_cache_is_no_footprint(run: Runner, target: Target, disk_file: Path) -> None:
    fd = target.call("open", path=str(disk_file))
    target.call("map", size=64 * PAGE, address=BASE, prot=READ, flags=PRIVATE, fd=fd)
    change = compared(run, target, lambda: target.call("read", address=BASE, pages=64)).only
    assert (change["change"], of(change)) == (["grew"], delta(rss=64 * PAGE_KIB))
    assert change["delta"]["footprint_kib"] == 0


def test_a_file_moved_to_another_address(run: Runner, target: Target, disk_file: Path) -> None:
    fd = target.call("open", path=str(disk_file))
    target.call("map", size=64 * PAGE, address=BASE, prot=READ, flags=PRIVATE, fd=fd)
    target.call("read", address=BASE, pages=64)
    change = compared(run, target, lambda: target.call("remap", address=BASE, size=64 * PAGE, new_size=64 * PAGE, to=BASE + (1 << 36))).only
    assert (change["change"], change["possibly"], of(change)) == (["moved"], False, delta())


def test_a_renamed_and_then_removed_file_is_the_same_region(run: Runner, target: Target, disk_file: Path) -> None:
    fd = target.call("open", path=str(disk_file))
    target.call("map", size=64 * PAGE, address=BASE, flags=PRIVATE, fd=fd)
    renamed = disk_file.with_name("renamed.bin")

    def do() -> None:
        disk_file.rename(renamed)
        target.call("write", address=BASE, pages=1)

    change = compared(run, target, do).only
    assert (shape(change), change["name"]) == ((1, 1), str(renamed))
    assert "new" not in change["change"]
    change = compared(run, target, renamed.unlink).only
    assert (shape(change), change["name"], change["path"], of(change)) == ((1, 1), f"{renamed} (deleted)", str(renamed), delta())


def check_shared_memory(change: dict[str, Any], name: str, family: str, pages: int) -> None:
    kib = pages * PAGE_KIB
    assert (change["change"], change["name"], change["family"]) == (["new"], name, family)
    assert of(change) == delta(size=2 * KIB, rss=kib, dirty=kib, private_dirty=kib)
    assert change["delta"]["footprint_kib"] == kib


def test_memfd(run: Runner, target: Target) -> None:
    def do() -> None:
        fd = target.call("memfd", name="ground truth", size=2 * MIB)
        target.call("map", size=2 * MIB, address=BASE, flags=SHARED, fd=fd)
        target.call("write", address=BASE, pages=13)

    check_shared_memory(compared(run, target, do).only, "/memfd:ground truth (deleted)", "memfd", 13)


def test_posix_shared_memory(run: Runner, target: Target) -> None:
    path = Path(f"/dev/shm/pmapdiff-test-{os.getpid()}")
    if not os.access(path.parent, os.W_OK):
        pytest.skip("there is no /dev/shm to write to")

    def do() -> None:
        fd = target.call("open", path=str(path), create=2 * MIB)
        target.call("map", size=2 * MIB, address=BASE, flags=SHARED, fd=fd)
        target.call("write", address=BASE, pages=17)

    try:
        check_shared_memory(compared(run, target, do).only, str(path), "shm", 17)
    finally:
        path.unlink(missing_ok=True)


def test_shared_anonymous_memory(run: Runner, target: Target) -> None:
    def do() -> None:
        target.call("map", size=2 * MIB, address=BASE, flags=SHARED_ANONYMOUS)
        target.call("write", address=BASE, pages=19)

    check_shared_memory(compared(run, target, do).only, "/dev/zero (deleted)", "shm", 19)


def test_the_heap_grows(run: Runner, target: Target) -> None:
    # Python may use some of the heap by itself meanwhile: its own part of the new figures is what is not ours.
    def do() -> None:
        end = target.call("brk", size=8 * MIB)
        first_page = -(-end // PAGE) * PAGE
        target.call("write", address=first_page, pages=33)
        touched.append((first_page, first_page + 33 * PAGE))

    touched: list[tuple[int, int]] = []
    with target.stopped():
        before = counters_of_heap(target.smaps())
    moment = compared(run, target, do, end=1 << 64)
    with target.stopped():
        after = counters_of_heap(target.smaps())
    (change,) = (change for change in moment.process["changes"] if change["name"] == "[heap]")
    assert change["change"][:2] == ["grew", "dirtied"]
    assert change["family"] == "heap"
    assert change["delta"]["size_kib"] == after["Size"] - before["Size"] == 8 * KIB
    for figure, counter in (("rss_kib", "Rss"), ("anonymous_kib", "Anonymous"), ("private_dirty_kib", "Private_Dirty")):
        assert change["delta"][figure] == after[counter] - before[counter] >= 33 * PAGE_KIB
    assert touched


def counters_of_heap(smaps: bytes) -> dict[str, int]:
    (line,) = (line for line in smaps.split(b"\n") if line.endswith(b"[heap]"))
    start, _, end = line.split()[0].partition(b"-")
    return counters(smaps, int(start, 16), int(end, 16))


def test_fork_makes_private_dirty_shared_dirty_and_back(run: Runner, target: Target) -> None:
    target.call("map", size=16 * MIB, address=BASE)
    target.call("write", address=BASE, pages=200)
    kib = 200 * PAGE_KIB
    moment = compared(run, target, lambda: target.call("fork"))
    assert (moment.only["change"], of(moment.only)) == (["changed"], delta(private_dirty=-kib, shared_dirty=kib))
    assert moment.only["delta"]["pss_kib"] == -kib // 2
    assert moment.only["delta"]["footprint_kib"] == 0
    moment = compared(run, target, lambda: target.call("reap"))
    assert (moment.only["change"], of(moment.only)) == (["changed"], delta(private_dirty=kib, shared_dirty=-kib))


def test_forty_mappings_and_their_number(run: Runner, target: Target) -> None:
    def do() -> None:
        for number in range(40):
            target.call("map", size=MIB, address=BASE + number * 2 * MIB)

    moment = compared(run, target, do)
    assert len(moment.here) == 40
    assert all((change["change"], of(change)) == (["new"], delta(size=KIB)) for change in moment.here)
    assert moment.process["totals"]["delta"]["mappings"] == 40


def test_turned_round_and_with_itself(run: Runner, target: Target) -> None:
    """Law 3."""
    target.call("map", size=16 * MIB, address=BASE)
    target.call("write", address=BASE, pages=50)

    def do() -> None:
        target.call("protect", address=BASE + 4 * MIB, size=MIB, prot=READ)
        target.call("unmap", address=BASE + 8 * MIB, size=MIB)
        target.call("map", size=3 * MIB, address=BASE + 64 * MIB)
        target.call("write", address=BASE + 64 * MIB, pages=5)

    compared(run, target, do)
    (there,) = run.here("compare", "first", "latest", "--format", "json").json["processes"]
    (back,) = run.here("compare", "latest", "first", "--format", "json").json["processes"]
    assert back["totals"]["delta"] == {name: -value for name, value in there["totals"]["delta"].items()}

    def key(change: dict[str, Any], one: str, other: str) -> Any:
        return [m["start"] for m in change[one]], [m["start"] for m in change[other]]

    turned = {str(key(change, "after", "before")): change["delta"] for change in back["changes"]}
    assert {str(key(change, "before", "after")): {k: -v for k, v in change["delta"].items()} for change in there["changes"]} == turned
    for when in ("first", "latest"):
        (same,) = run.here("compare", when, when, "--format", "json").json["processes"]
        assert same["changes"] == []
        assert set(same["totals"]["delta"].values()) == {0}
        assert same["unchanged"] == same["totals"]["before"]["mappings"]
