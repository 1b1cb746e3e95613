"""What a comparison says of what happened: kinds, names, families, the order of the changes, and what it does not know."""

from __future__ import annotations

import pytest
from strategies import PAGE, capture_of, file, in_form, make

from pmapdiff.align import Match
from pmapdiff.compare import Change, compare_captures, compare_snapshots, family_changes
from pmapdiff.model import FIGURES, Capture, Mapping, ProcessIdentity, Snapshot, SnapshotRef, Status
from pmapdiff.report import View
from pmapdiff.report.shape import found_changes

A = 0x7F0000000000
M = 1 << 20


def changes(before: list[Mapping], after: list[Mapping], match: Match = Match.SAME) -> tuple[Change, ...]:
    return compare_captures(capture_of(before), capture_of(after), match).changes


def kinds(before: list[Mapping], after: list[Mapping], match: Match = Match.SAME) -> list[tuple[str, ...]]:
    return [change.kinds for change in changes(before, after, match)]


HEAP = make(A, A + M, name=b"[heap]", rss=100, private_dirty=50)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (make(A, A + 2 * M, name=b"[heap]", rss=100, private_dirty=50), ("grew",)),
        (make(A, A + 2 * M, name=b"[heap]", rss=900, private_dirty=900), ("grew", "dirtied")),
        (make(A, A + M // 2, name=b"[heap]", rss=100, private_dirty=20), ("shrank", "cleaned")),
        (make(A, A + M, name=b"[heap]", rss=140, private_dirty=90), ("grew", "dirtied")),
        (make(A, A + M, name=b"[heap]", rss=60, private_dirty=50), ("shrank",)),
        (make(A, A + M, name=b"[heap]", rss=100, private_dirty=70), ("dirtied",)),
        (make(A, A + M, name=b"[heap]", rss=100, private_dirty=50, shared_dirty=4), ("dirtied",)),
        (make(A, A + M, name=b"[heap]", rss=100, private_dirty=50, pss=7), ("changed",)),
        (make(A, A + M, "r--p", b"[heap]", rss=100, private_dirty=50), ("reprotected",)),
        (make(A, A + M, name=b"[heap]", rss=40, private_dirty=50, swap=60), ("changed",)),
        (make(A, A + M, name=b"[heap]", rss=40, private_dirty=0, swap=60), ("cleaned",)),
    ],
)
def test_what_happened_to_a_heap(after: Mapping, expected: tuple[str, ...]) -> None:
    assert kinds([HEAP], [after]) == [expected]


def test_flags_and_names_count() -> None:
    assert kinds([HEAP], [HEAP._replace(flags=b" rd wr hg ")]) == [("changed",)]
    assert kinds([HEAP], [HEAP._replace(flags=None)]) == []
    lib = file(A, A + M, "r-xp", 0)
    assert kinds([lib], [lib._replace(name=b"/renamed")]) == [("changed",)]
    assert kinds([lib], [lib._replace(name=lib.name + b" (deleted)")]) == [("changed",)]


def test_split_merged_and_reprotected() -> None:
    pieces = [make(A, A + PAGE), make(A + PAGE, A + 2 * PAGE, "r--p"), make(A + 2 * PAGE, A + 3 * PAGE)]
    whole = [make(A, A + 3 * PAGE)]
    assert kinds(whole, pieces) == [("split", "reprotected")]
    assert kinds(pieces, whole) == [("merged", "reprotected")]


def test_the_boundary_of_an_arena() -> None:
    start = 0x7F4000000000
    before = [make(start, start + M, rss=10), make(start + M, start + 64 * M, "---p")]
    after = [make(start, start + 2 * M, rss=20), make(start + 2 * M, start + 64 * M, "---p")]
    (change,) = changes(before, after)
    assert change.kinds == ("grew", "reprotected")
    assert (change.family, change.name, change.get("size_kib"), change.get("rss_kib")) == ("malloc-arena", "[anon]", 0, 10)


def test_moved() -> None:
    lib = file(A, A + M, "r--s", 0)
    (moved,) = changes([lib], [lib._replace(start=A + 9 * M, end=A + 10 * M)])
    assert (moved.kinds, moved.possibly) == (("moved",), False)
    block = make(A, A + M, rss=64)
    (guess,) = changes([block], [block._replace(start=A + 9 * M, end=A + 10 * M)])
    assert (guess.kinds, guess.possibly) == (("moved",), True)
    (grown,) = changes([block], [block._replace(start=A + 9 * M, end=A + 11 * M)])
    assert (grown.kinds, grown.possibly, grown.get("size_kib")) == (("grew", "moved"), True, 1024)


def test_new_and_gone() -> None:
    (new,), (gone,) = changes([], [HEAP]), changes([HEAP], [])
    assert (new.kinds, new.before, new.after, new.get("rss_kib")) == (("new",), (), (HEAP,), 100)
    assert (gone.kinds, gone.before, gone.after, gone.get("rss_kib")) == (("gone",), (HEAP,), (), -100)


def test_names_paths_and_offsets() -> None:
    lib = file(A, A + M, "rw-p", 3 * PAGE, b"/usr/lib/libx.so.1 (deleted)")
    bss = make(A + M, A + 2 * M)
    (image, other) = sorted(changes([], [lib, bss]), key=lambda c: c.name)
    assert (image.name, image.path, image.offset, image.perms) == ("/usr/lib/libx.so.1 (deleted)", "/usr/lib/libx.so.1", 3 * PAGE, "rw-p")
    assert (other.name, other.path, other.family) == ("libx.so.1 bss", None, "image")
    (odd,) = changes([], [file(A, A + M, "r--p", 0, b"/\xff\x1b")])
    assert odd.path == "/\\xff\x1b", "text, but not yet harmless: reports see to that"


def test_the_largest_change_comes_first() -> None:
    def blocks(*rss: int) -> list[Mapping]:
        return [make(A + i * 16 * PAGE, A + (i * 16 + 8) * PAGE, rss=value) for i, value in enumerate(rss)]

    found = changes(blocks(0, 50, 10, 10), blocks(5, 10, 30, 10))
    assert [change.get("rss_kib") for change in found] == [-40, 20, 5]


def test_a_restart_does_not_care_for_addresses() -> None:
    before = [file(A, A + M, "r-xp", 0), HEAP, make(A + 9 * M, A + 10 * M, name=b"[stack]")]
    after = [m._replace(start=m.start + 64 * M, end=m.end + 64 * M) for m in before]
    assert changes(before, after, Match.RESTARTED) == ()
    (grew,) = changes(before, [after[0], after[1]._replace(end=after[1].end + M), after[2]], Match.EXEC)
    assert (grew.kinds, grew.name) == (("grew",), "[heap]")


def test_memory_in_another_order_after_a_restart_is_no_change() -> None:
    """Anonymous memory goes by the totals of its family: the kernel lays it out as it likes."""
    before = [make(A, A + M, rss=4), make(A + 4 * M, A + 6 * M, rss=8)]
    after = [make(A, A + 2 * M, rss=8), make(A + 4 * M, A + 5 * M, rss=4)]
    assert changes(before, after, Match.RESTARTED) == ()


def test_hugetlb_memory_grows_without_rss() -> None:
    """linux-memory.md §1: hugetlb mappings have Rss 0, their memory is in Private_Hugetlb."""
    huge = make(A, A + 64 * M, name=b"/anon_hugepage (deleted)", device="00:0f", inode=9, private_hugetlb=2048)
    after = make(A, A + 64 * M, name=b"/anon_hugepage (deleted)", device="00:0f", inode=9, private_hugetlb=8192)
    (change,) = changes([huge], [after])
    assert (change.kinds, change.get("footprint_kib")) == (("grew",), 6144)


def test_a_counter_that_one_table_lacks_has_no_delta() -> None:
    before = list(in_form([HEAP], "pmap-x"))
    found = compare_captures(capture_of(before), capture_of([make(A, A + M, name=b"[heap]", rss=140, private_dirty=90)]), Match.SAME)
    assert found.missing == tuple(name for name in FIGURES if name not in ("size_kib", "rss_kib", "dirty_kib"))
    assert (found.get("rss_kib"), found.get("dirty_kib"), found.get("pss_kib")) == (40, 40, None)
    (change,) = found.changes
    assert [name for name in FIGURES if change.get(name) is not None] == ["size_kib", "rss_kib", "dirty_kib"]


def test_tables_in_two_forms_that_say_the_same_are_equal() -> None:
    table = [file(A, A + M, "r-xp", 0, b"/usr/lib/libx.so.1"), HEAP._replace(start=A + M, end=A + 2 * M), make(A + 8 * M, A + 9 * M, name=b"[vdso]")]
    for form in ("maps", "pmap-x", "pmap-d", "old"):
        other = list(in_form(table, form))
        assert changes(table, other) == changes(other, table) == (), form


@pytest.mark.parametrize("status", [Status.DENIED, Status.VANISHED, Status.TIMEOUT])
def test_a_capture_without_a_table_compares_with_nothing(status: Status) -> None:
    nothing = capture_of([], status=status)._replace(table=None)
    for pair in ((capture_of([HEAP]), nothing), (nothing, capture_of([HEAP]))):
        found = compare_captures(*pair, Match.SAME)
        assert (found.changes, found.families, found.unchanged, found.complete) == ((), (), 0, False)
        assert found.delta == (None,) * len(FIGURES)
        assert [t is None for t in (found.totals_before, found.totals_after)] == [c.table is None for c in pair]


def test_complete_means_both() -> None:
    whole, torn = capture_of([HEAP]), capture_of([HEAP], status=Status.TORN)
    assert [compare_captures(*pair, Match.SAME).complete for pair in ((whole, whole), (whole, torn), (torn, whole))] == [True, False, False]
    assert compare_captures(None, whole, Match.NEW).complete


def snapshot(*captures: Capture) -> Snapshot:
    return Snapshot(SnapshotRef(None, 0, "h"), captures)


def test_saved_tables_are_judged_by_their_addresses() -> None:
    def saved(shift: int, pid: int) -> Capture:
        capture = capture_of([file(A + shift, A + shift + M, "r-xp", 0), make(A + shift + 2 * M, A + shift + 3 * M, name=b"[stack]")], pid)
        return capture._replace(process=capture.process._replace(identity=ProcessIdentity("", pid, 0, f"{shift:x}")))

    def match(before: Capture, after: Capture, same: bool | None = None) -> Match:
        (process,) = compare_snapshots(snapshot(before), snapshot(after), same=same).processes
        return process.match

    assert match(saved(0, 1), saved(0, 1)) is Match.SAME
    assert match(saved(0, 1), saved(0, 2)) is Match.SAME
    assert match(saved(0, 1), saved(1 << 30, 1)) is Match.RESTARTED
    assert match(saved(0, 1), saved(1 << 30, 1), same=True) is Match.SAME
    assert match(saved(0, 1), saved(0, 1), same=False) is Match.RESTARTED


def test_the_process_that_changed_most_comes_first() -> None:
    before = [capture_of([make(A, A + M, rss=rss)], pid) for pid, rss in ((1, 10), (2, 10), (3, 10))]
    after = [capture_of([make(A, A + M, rss=rss)], pid) for pid, rss in ((1, 11), (2, 500), (3, 0))]
    found = compare_snapshots(snapshot(*before), snapshot(*after))
    assert [process.process.pid for process in found.processes] == [2, 3, 1]
    assert found_changes(found, View())
    assert not found_changes(compare_snapshots(snapshot(*before), snapshot(*before)), View())
    assert found_changes(compare_snapshots(snapshot(), snapshot(*before)), View())


def test_families_of_several_processes_add_up() -> None:
    before = [capture_of([make(A, A + M, rss=10), HEAP._replace(start=A + M, end=A + 2 * M)], pid) for pid in (1, 2)]
    after = [capture_of([make(A, A + M, rss=30), HEAP._replace(start=A + M, end=A + 2 * M)], pid) for pid in (1, 2)]
    rows = family_changes(compare_snapshots(snapshot(*before), snapshot(*after)).processes)
    assert [(row.family, row.mappings_before, row.mappings_after, row.get("rss_kib")) for row in rows] == [("heap", 2, 2, 0), ("anon", 2, 2, 40)]
