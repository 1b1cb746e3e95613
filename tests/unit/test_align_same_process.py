"""The aligner within one process, row by row of design.md §5.1 and linux-memory.md §4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from benchmarks.align import SHAPES
from strategies import PAGE, file, in_form, make

from pmapdiff.align import Component, Relation, align_same_process
from pmapdiff.model import Mapping

A = 0x7F0000000000
M = 1 << 20


def aligned(before: list[Mapping], after: list[Mapping]) -> set[tuple[tuple[int, ...], tuple[int, ...], Relation]]:
    return {(c.before, c.after, c.relation) for c in align_same_process(before, after)}


def only(before: list[Mapping], after: list[Mapping]) -> Component:
    (component,) = align_same_process(before, after)
    assert (component.before, component.after) == (tuple(range(len(before))), tuple(range(len(after))))
    return component


def test_the_heap_grows_at_its_end() -> None:
    c = only([make(A, A + M, name=b"[heap]")], [make(A, A + 3 * M, name=b"[heap]")])
    assert (c.relation, c.parts_before, c.parts_after, c.reprotected) == (Relation.SAME, 1, 1, False)


def test_the_stack_grows_down() -> None:
    c = only([make(A, A + M, name=b"[stack]")], [make(A - M, A + M, name=b"[stack]")])
    assert (c.relation, c.parts_before, c.parts_after) == (Relation.SAME, 1, 1)


def test_blocks_merge_downward_and_keep_their_end() -> None:
    """malloc's big blocks: 40 MB below 40 MB below 40 MB are one mapping."""
    one = only([make(A - 40 * M, A)], [make(A - 120 * M, A)])
    assert (one.parts_before, one.parts_after) == (1, 1)
    three = only([make(A - 120 * M, A - 81 * M), make(A - 80 * M, A - 41 * M), make(A - 40 * M, A)], [make(A - 120 * M, A)])
    assert (three.parts_before, three.parts_after) == (3, 1)


def test_mprotect_of_the_middle_splits_one_into_three() -> None:
    before = [make(A, A + 9 * PAGE)]
    after = [make(A, A + 3 * PAGE), make(A + 3 * PAGE, A + 6 * PAGE, "r--p"), make(A + 6 * PAGE, A + 9 * PAGE)]
    c = only(before, after)
    assert (c.parts_before, c.parts_after, c.reprotected) == (1, 3, True)
    back = only(after, before)
    assert (back.parts_before, back.parts_after, back.reprotected) == (3, 1, True)


def test_madvise_splits_without_another_protection() -> None:
    c = only([make(A, A + 8 * PAGE)], [make(A, A + 4 * PAGE), make(A + 4 * PAGE, A + 8 * PAGE)])
    assert (c.parts_before, c.parts_after, c.reprotected) == (1, 2, False)


def test_n_to_m() -> None:
    before = [make(A, A + 4 * PAGE), make(A + 4 * PAGE, A + 8 * PAGE, "r--p"), make(A + 8 * PAGE, A + 12 * PAGE)]
    after = [make(A, A + 6 * PAGE, "r--p"), make(A + 6 * PAGE, A + 12 * PAGE)]
    c = only(before, after)
    assert (c.parts_before, c.parts_after, c.reprotected) == (3, 2, True)


def test_the_boundary_in_an_arena_moves() -> None:
    """rw-p grows into the arena's reserve: one region, neither split nor merged."""
    start = 0x7F4000000000
    before = [make(start, start + M), make(start + M, start + 64 * M, "---p")]
    after = [make(start, start + 2 * M), make(start + 2 * M, start + 64 * M, "---p")]
    c = only(before, after)
    assert (c.parts_before, c.parts_after, c.reprotected) == (2, 2, True)


def test_adjacent_runs_of_equal_permissions_count_as_one() -> None:
    """A new mapping right beside one of its kind that the kernel left apart is growth, not a split."""
    c = only([make(A, A + M)], [make(A, A + M), make(A + M, A + 2 * M)])
    assert (c.parts_before, c.parts_after) == (1, 1)
    assert aligned([make(A, A + M)], [make(A, A + M), make(A + M, A + 2 * M, "r--p")]) == {
        ((0,), (0,), Relation.SAME),
        ((), (1,), Relation.SAME),
    }
    assert aligned([make(A, A + M)], [make(A, A + M), make(A + M + PAGE, A + 2 * M)]) == {((0,), (0,), Relation.SAME), ((), (1,), Relation.SAME)}


def test_a_run_with_another_name_is_another_region() -> None:
    after = [make(A, A + M, name=b"[heap]"), make(A + M, A + 2 * M)]
    assert aligned([after[0]], after) == {((0,), (0,), Relation.SAME), ((), (1,), Relation.SAME)}


def test_files_are_no_runs() -> None:
    after = [file(A, A + M, "r--p", 0), file(A + M, A + 2 * M, "r--p", M)]
    assert aligned(after[:1], after) == {((0,), (0,), Relation.SAME), ((), (1,), Relation.SAME)}


def test_files_connect_by_inode_and_place_not_by_path() -> None:
    c = only([file(A, A + M, "r-xp", M, b"/usr/lib/old.so")], [file(A, A + M, "r-xp", M, b"/elsewhere/new.so")])
    assert c.relation is Relation.SAME


@pytest.mark.parametrize("change", [{"inode": 78, "name": b"/other"}, {"device": "fe:01"}, {"offset": 2 * M}])
def test_another_object_at_the_same_address_is_gone_and_new(change: dict[str, Any]) -> None:
    before = file(A, A + M, "r--p", M)
    assert aligned([before], [before._replace(**change)]) == {((0,), (), Relation.SAME), ((), (0,), Relation.SAME)}


def test_a_file_over_memory_is_gone_and_new() -> None:
    assert aligned([make(A, A + M)], [file(A, A + M, "rw-p", 0)]) == {((0,), (), Relation.SAME), ((), (0,), Relation.SAME)}


def test_the_loader_protects_relro() -> None:
    """One rw-p segment of a file becomes r--p and rw-p: the parts keep (start - offset)."""
    before = [file(A, A + 4 * PAGE, "rw-p", 8 * PAGE)]
    after = [file(A, A + 3 * PAGE, "r--p", 8 * PAGE), file(A + 3 * PAGE, A + 4 * PAGE, "rw-p", 11 * PAGE)]
    c = only(before, after)
    assert (c.parts_before, c.parts_after, c.reprotected) == (1, 2, True)


def test_a_moved_file() -> None:
    before, after = file(A, A + M, "r--s", 0), file(A + 9 * M, A + 10 * M, "r--s", 0, b"/renamed")
    assert aligned([before], [after]) == {((0,), (0,), Relation.MOVED)}
    overlapping = file(A + M // 2, A + M // 2 + M, "r--s", 0)
    assert aligned([before], [overlapping]) == {((0,), (0,), Relation.MOVED)}
    grown = file(A + 9 * M, A + 12 * M, "r--s", 0)
    assert aligned([before], [grown]) == {((0,), (0,), Relation.MOVED)}
    assert aligned([before], [after._replace(offset=PAGE)]) == {((0,), (), Relation.SAME), ((), (0,), Relation.SAME)}


def test_moved_files_of_equal_size_pair_first() -> None:
    before = [file(A, A + M, "r--s", 0), file(A + 2 * M, A + 4 * M, "r--s", 0)]
    after = [file(A + 20 * M, A + 22 * M, "r--s", 0), file(A + 30 * M, A + 31 * M, "r--s", 0)]
    assert aligned(before, after) == {((0,), (1,), Relation.MOVED), ((1,), (0,), Relation.MOVED)}


@pytest.mark.parametrize(
    ("size", "rss", "possible"),
    [
        (M, 600, True),
        (M, 604, True),
        (M, 596, True),
        (2 * M, 600, True),
        (2 * M, 1400, True),
        (2 * M, 542, True),
        (M, 300, False),
        (2 * M, 300, False),
        (2 * M, 1024 + 900, False),
        (M, 0, False),
    ],
)
def test_memory_that_possibly_moved(size: int, rss: int, possible: bool) -> None:
    """Size at least the old one, and what was resident still is; the other way round it is the same guess."""
    before, after = [make(A, A + M, rss=600)], [make(A + 50 * M, A + 50 * M + size, rss=rss)]
    paired = {((0,), (0,), Relation.POSSIBLY_MOVED)}
    apart = {((0,), (), Relation.SAME), ((), (0,), Relation.SAME)}
    assert aligned(before, after) == (paired if possible else apart)
    assert aligned(after, before) == (paired if possible else apart)


def test_swapped_out_memory_moves_too() -> None:
    assert aligned([make(A, A + M, rss=600)], [make(A + 50 * M, A + 51 * M, rss=200, swap=400)]) == {((0,), (0,), Relation.POSSIBLY_MOVED)}


@pytest.mark.parametrize(("ours", "theirs"), [("rw-p", "r--p"), ("rw-p", "rwxp")])
def test_memory_of_other_permissions_did_not_move(ours: str, theirs: str) -> None:
    before, after = [make(A, A + M, ours, rss=600)], [make(A + 50 * M, A + 51 * M, theirs, rss=600)]
    assert len(aligned(before, after)) == 2


def test_nothing_is_guessed_of_untouched_memory() -> None:
    assert len(aligned([make(A, A + M)], [make(A + 50 * M, A + 51 * M)])) == 2
    assert len(aligned([make(A, A + M, "---p")], [make(A + 50 * M, A + 51 * M, "---p")])) == 2


def test_nothing_is_guessed_without_residency() -> None:
    before, after = ([make(start, start + M, rss=600)] for start in (A, A + 50 * M))
    assert len(aligned(list(in_form(before, "maps")), list(in_form(after, "maps")))) == 2


def test_the_closest_size_moved() -> None:
    before = [make(A, A + 4 * M, rss=600)]
    after = [make(A + 50 * M, A + 58 * M, rss=600), make(A + 60 * M, A + 65 * M, rss=600)]
    assert aligned(before, after) == {((0,), (1,), Relation.POSSIBLY_MOVED), ((), (0,), Relation.SAME)}


def test_among_equal_sizes_the_closest_residency_moved() -> None:
    before = [make(A, A + 4 * M, rss=600)]
    after = [make(A + 50 * M, A + 58 * M, rss=640), make(A + 60 * M, A + 68 * M, rss=601)]
    assert aligned(before, after) == {((0,), (1,), Relation.POSSIBLY_MOVED), ((), (0,), Relation.SAME)}
    assert aligned(after, before) == {((1,), (0,), Relation.POSSIBLY_MOVED), ((0,), (), Relation.SAME)}


@pytest.mark.parametrize("family", ["thread-stack", "malloc-arena", "heap"])
def test_stacks_arenas_and_heaps_do_not_move(family: str) -> None:
    """mremap moves blocks; a stack gone and one like it elsewhere are two threads."""
    before, after = [make(A, A + M, rss=600)], [make(A + 50 * M, A + 51 * M, rss=600)]
    assert {c.relation for c in align_same_process(before, after, ([family], [family]))} == {Relation.SAME}
    assert {c.relation for c in align_same_process(before, after, (["anon"], ["anon"]))} == {Relation.POSSIBLY_MOVED}


def test_blocks_of_runtimes_do_not_move() -> None:
    before, after = (make(start, start + M, rss=600)._replace(flags=b"rd wr mr mw me dc nr") for start in (A, A + 50 * M))
    assert aligned([before], [after]) == {((0,), (), Relation.SAME), ((), (0,), Relation.SAME)}


def test_of_many_mappings_of_a_file_the_most_alike_moved() -> None:
    before = [file(A, A + M, "r--s", 0, rss=8), file(A + 2 * M, A + 3 * M, "r--s", 0, rss=400)]
    after = [file(A + 20 * M, A + 24 * M, "r--s", 0, rss=400), file(A + 30 * M, A + 34 * M, "r--s", 0, rss=8)]
    assert aligned(before, after) == {((0,), (1,), Relation.MOVED), ((1,), (0,), Relation.MOVED)}


def both_ways(before: list[Mapping], after: list[Mapping]) -> set[Relation]:
    """How two tables that are one region are related; the other way round it is the same."""
    back = only(after, before)
    assert back.relation is only(before, after).relation
    return {back.relation}


def test_memory_without_a_common_boundary_may_be_other_memory() -> None:
    """Freed and mapped anew in the hole, or cut and grown: nobody knows."""
    overlapping = [make(A, A + 4 * M, rss=600)], [make(A + M, A + 6 * M, rss=700)]
    assert both_ways(*overlapping) == {Relation.POSSIBLY_SAME}
    within = [make(A, A + 9 * M, rss=600)], [make(A + M, A + 2 * M, rss=100)]
    assert both_ways(*within) == {Relation.POSSIBLY_SAME}
    assert only(*within).possibly


@pytest.mark.parametrize(
    ("rss", "relation"),
    [(1024, Relation.SAME), (800, Relation.SAME), (700, Relation.POSSIBLY_SAME), (0, Relation.POSSIBLY_SAME), (5000, Relation.SAME)],
)
def test_memory_with_one_common_boundary_is_other_memory_if_it_was_refilled(rss: int, relation: Relation) -> None:
    """1 MiB, all of it resident, of which at least 768 KiB must still be for its being the same to be sure."""
    assert both_ways([make(A, A + M, rss=1024)], [make(A - 7 * M, A + M, rss=rss)]) == {relation}
    assert both_ways([make(A, A + M, rss=1024)], [make(A, A + 8 * M, rss=rss)]) == {relation}


def test_swapped_out_is_not_given_back() -> None:
    assert both_ways([make(A, A + M, rss=1024)], [make(A, A + 2 * M, rss=24, swap=1000)]) == {Relation.SAME}


def test_nothing_is_refilled_where_residency_is_unknown() -> None:
    before, after = ([make(A, end, rss=rss)] for end, rss in ((A + M, 1024), (A + 2 * M, 0)))
    assert both_ways(before, after) == {Relation.POSSIBLY_SAME}
    assert both_ways(list(in_form(before, "maps")), list(in_form(after, "maps"))) == {Relation.SAME}


def test_with_both_boundaries_it_may_be_refilled() -> None:
    """madvise(DONTNEED) gives all of it back."""
    assert both_ways([make(A, A + M, rss=1024)], [make(A, A + M)]) == {Relation.SAME}


def test_a_reserve_is_there_to_be_filled() -> None:
    before, after = make(A, A + M, rss=8), make(A, A + 8 * M, rss=8000)
    assert both_ways([before], [after]) == {Relation.POSSIBLY_SAME}
    assert both_ways([before._replace(flags=b"rd wr nr")], [after._replace(flags=b"rd wr nr")]) == {Relation.SAME}
    committed = [make(A, A + M, rss=1024), make(A + M, A + 8 * M, "---p")], [make(A, A + 4 * M, rss=4096), make(A + 4 * M, A + 8 * M, "---p")]
    assert both_ways(*committed) == {Relation.SAME}


@pytest.mark.parametrize("above", [True, False])
def test_what_was_given_back_to_a_reserve_is_not_unmapped(above: bool) -> None:
    """The JVM maps what it commits anew over its reserve, which is not reserved memory (`nr`), and the reserve over what it gives back."""

    def heap(used: int, rss: int, *, reserve: bool = True) -> list[Mapping]:
        edge = A + used * M if above else A + (32 - used) * M
        committed = make(A, edge, rss=rss) if above else make(edge, A + 32 * M, rss=rss)
        rest = make(edge, A + 32 * M, "---p") if above else make(A, edge, "---p")
        return sorted([committed, *([rest._replace(flags=b"mr mw me nr")] if reserve else [])])

    full, empty = heap(4, 4096), heap(16, 10)
    assert {c.relation for c in align_same_process(full, empty)} == {c.relation for c in align_same_process(empty, full)} == {Relation.SAME}
    # Where the rest of the larger one is not mapped at all, it may be other memory.
    assert both_ways(heap(4, 4096, reserve=False), heap(16, 10, reserve=False)) == {Relation.POSSIBLY_SAME}


def test_two_stacks_with_one_end_in_common_are_of_two_threads() -> None:
    def stack(pages: int) -> list[Mapping]:
        return [make(A - (pages + 1) * PAGE, A - pages * PAGE, "---p"), make(A - pages * PAGE, A, rss=8)]

    assert both_ways(stack(8), stack(20)) == {Relation.POSSIBLY_SAME}
    assert both_ways(stack(8), stack(8)) == {Relation.SAME}


def test_the_guard_of_a_stack_is_gone() -> None:
    stack = [make(A, A + PAGE, "---p"), make(A + PAGE, A + 33 * PAGE, rss=8)]
    assert both_ways(stack, stack[1:]) == {Relation.SAME}


def test_what_is_cut_out_of_a_mapping_that_is_still_there() -> None:
    """The middle piece shares no boundary with the whole, but the outer ones do."""
    whole, pieces = [make(A, A + 9 * M)], [make(A, A + M), make(A + 3 * M, A + 4 * M), make(A + 8 * M, A + 9 * M)]
    assert both_ways(whole, pieces) == {Relation.SAME}


def test_a_neighbour_that_grew_over_what_is_gone() -> None:
    """The lower one shares nothing with what stands there now but some addresses; the upper one its end."""
    before = [make(A, A + 4 * M, rss=40), make(A + 5 * M, A + 9 * M, rss=40)]
    assert aligned(before, [make(A + 2 * M, A + 9 * M, rss=60)]) == {((0,), (), Relation.SAME), ((1,), (0,), Relation.SAME)}


def test_reprotected_in_pieces_and_grown_at_one_end() -> None:
    before = [make(A, A + 8 * PAGE)]
    after = [make(A, A + 2 * PAGE, "r--p"), make(A + 2 * PAGE, A + 5 * PAGE), make(A + 5 * PAGE, A + 12 * PAGE, "r-xp")]
    assert both_ways(before, after) == {Relation.SAME}


@pytest.mark.parametrize("flag", [b"nr", b"ht", b"gd", b"mw"])
def test_memory_born_with_other_flags_is_other_memory(flag: bytes) -> None:
    before = make(A, A + M, rss=600)
    assert len(aligned([before], [before._replace(flags=b" rd wr " + flag)])) == 2


@pytest.mark.parametrize("flag", [b"ac", b"lo", b"dd", b"hg", b"nh", b"sd", b"lf", b"zz"])
def test_flags_that_change_say_nothing(flag: bytes) -> None:
    before = make(A, A + M, rss=600)
    assert both_ways([before], [before._replace(flags=b" rd wr " + flag)]) == {Relation.SAME}


def test_flags_that_one_table_lacks_say_nothing() -> None:
    before = make(A, A + M, rss=600)
    assert both_ways([before._replace(flags=None)], [before._replace(flags=b"rd wr nr")]) == {Relation.SAME}


def test_the_heap_is_the_same_however_little_is_left() -> None:
    heap = make(A, A + 9 * M, name=b"[heap]", rss=9000)
    assert both_ways([heap], [heap._replace(start=A + M, end=A + 2 * M)]) == {Relation.SAME}


def test_kernel_mappings_never_move_by_guess() -> None:
    before, after = (make(start, start + 2 * PAGE, "r-xp", b"[vdso]", rss=8) for start in (A, A + M))
    assert aligned([before], [after]) == {((0,), (), Relation.SAME), ((), (0,), Relation.SAME)}


def test_shared_anonymous_memory_is_its_inode() -> None:
    zero = b"/dev/zero (deleted)"
    before = make(A, A + M, "rw-s", zero, device="00:01", inode=5)
    assert only([before], [before._replace(end=A + 2 * M)]).relation is Relation.SAME
    assert len(aligned([before], [before._replace(inode=6)])) == 2


def test_a_name_for_anonymous_memory_is_only_a_label() -> None:
    """prctl(PR_SET_VMA) names a part of a mapping, which splits it."""
    after = [make(A, A + PAGE), make(A + PAGE, A + 2 * PAGE, name=b"[anon:arena]")]
    c = only([make(A, A + 2 * PAGE)], after)
    assert (c.parts_before, c.parts_after, c.reprotected) == (1, 2, False)


def test_a_thread_comes_and_the_others_stay() -> None:
    """Stacks of glibc up to 2.41 lie below each other; a new one is new, not growth of its neighbour."""
    size = 8 * M + PAGE

    def stack(number: int) -> list[Mapping]:
        low = A - number * size
        return [make(low, low + PAGE, "---p"), make(low + PAGE, low + size, rss=8)]

    kept = [((i, i + 1), (i + 2, i + 3), Relation.SAME) for i in (0, 2)]
    assert aligned([*stack(2), *stack(1)], [*stack(3), *stack(2), *stack(1)]) == {*kept, ((), (0, 1), Relation.SAME)}


def test_tables_of_pmap_have_no_inodes() -> None:
    """pmap -x: the name decides, and a basename may stand for the path."""
    before = [file(A, A + M, "r-xp", 0, b"/usr/lib/libc.so.6"), make(A + 2 * M, A + 3 * M)]
    short = list(in_form(before, "pmap-x"))
    assert short[0].name == b"libc.so.6"
    assert aligned(short, short) == {((0,), (0,), Relation.SAME), ((1,), (1,), Relation.SAME)}
    assert aligned(before, short) == aligned(short, before) == {((0,), (0,), Relation.SAME), ((1,), (1,), Relation.SAME)}
    other = [short[0]._replace(name=b"libm.so.6"), short[1]]
    assert aligned(short, other) == {((0,), (), Relation.SAME), ((), (0,), Relation.SAME), ((1,), (1,), Relation.SAME)}


def test_pmap_has_no_name_for_the_kernels_mappings() -> None:
    vdso = [make(A, A + 2 * PAGE, "r-xp", b"[vdso]")]
    assert only(vdso, list(in_form(vdso, "pmap-x"))).relation is Relation.SAME
    assert only(list(in_form(vdso, "pmap-d")), vdso).relation is Relation.SAME


def test_one_side_is_empty() -> None:
    table = [make(A, A + M), file(A + 2 * M, A + 3 * M, "r--p", 0)]
    assert aligned([], table) == {((), (0,), Relation.SAME), ((), (1,), Relation.SAME)}
    assert aligned(table, []) == {((0,), (), Relation.SAME), ((1,), (), Relation.SAME)}
    assert aligned([], []) == set()


def test_a_torn_table_shows_a_mapping_twice() -> None:
    """Both rows are the same region, though only one of them stands where it does now."""
    twice = [make(A, A + 4 * M), make(A + M, A + 9 * M)]
    c = only(twice, [make(A, A + M)])
    assert (c.parts_before, c.parts_after) == (1, 1)


def test_a_torn_table_overlaps_itself() -> None:
    torn = [make(A, A + 4 * M), make(A + M, A + 2 * M), make(A + 3 * M, A + 6 * M)]
    c = only(torn, [make(A, A + 6 * M)])
    assert (c.parts_before, c.parts_after) == (3, 1)


def test_the_whole_address_space() -> None:
    low, high = make(0, PAGE), make((1 << 64) - PAGE, 1 << 64)
    assert aligned([low, high], [low, high]) == {((0,), (0,), Relation.SAME), ((1,), (1,), Relation.SAME)}


def test_a_big_reserve_is_cut_up() -> None:
    """A JVM commits pages of its reserve one by one: 2,000 pieces are one region, found in no time."""
    before = [make(A, A + 4000 * PAGE, "---p")]
    after = [make(A + i * PAGE, A + (i + 1) * PAGE, "rw-p" if i % 2 else "---p") for i in range(4000)]
    c = only(before, after)
    assert (c.parts_before, c.parts_after) == (1, 4000)


def plugin(base: int, name: bytes, inode: int, text: int = 3) -> list[Mapping]:
    """A library: text, relro and data."""
    end = base + (1 + text) * PAGE
    return [
        file(base, base + PAGE, "r--p", 0, name, inode),
        file(base + PAGE, end, "r-xp", PAGE, name, inode),
        file(end, end + PAGE, "rw-p", text * PAGE, name, inode),
    ]


@pytest.mark.parametrize(
    ("one", "other", "base"),
    [
        (b"/p/libplug.so (deleted)", b"/p/libplug.so", 0x7E0000000000),
        (b"/p/libplug.so.1.2", b"/p/libplug.so.1.3", 0x7E0000000000),
        (b"/p/libplug.so.1.2", b"/p/libplug.so.1.3", 0x7F0000000000),
    ],
)
def test_a_plugin_that_was_loaded_anew(one: bytes, other: bytes, base: int) -> None:
    """dlclose, and dlopen of another version: elsewhere, or just where the old one was."""
    found = align_same_process(plugin(0x7F0000000000, one, 5), plugin(base, other, 9, text=7))
    assert {(c.before, c.after, c.relation) for c in found} == {((i,), (i,), Relation.REPLACED) for i in range(3)}


def test_a_file_of_which_something_stays_is_not_replaced() -> None:
    before = plugin(0x7F0000000000, b"/p/libplug.so", 5)
    after = [before[0], *plugin(0x7E0000000000, b"/p/libplug.so", 9)[1:]]
    after.sort()
    assert not [c for c in align_same_process(before, after) if c.replaced]


def test_another_library_and_new_shared_memory_replace_nothing() -> None:
    before = [*plugin(0x7F0000000000, b"/p/libone.so", 5), file(0x7F0010000000, 0x7F0010001000, "rw-s", 0, b"/dev/shm/ring", 6)]
    after = [*plugin(0x7F0000000000, b"/p/libtwo.so", 7), file(0x7F0020000000, 0x7F0020001000, "rw-s", 0, b"/dev/shm/ring", 8)]
    assert not [c for c in align_same_process(before, after) if c.before and c.after]


@pytest.mark.parametrize("shape", SHAPES)
def test_large_tables_whatever_overlaps_what(shape: Callable[[int], tuple[list[Mapping], list[Mapping]]]) -> None:
    """A cost of n × m would take longer than the time that a test has."""
    before, after = shape(20_000)
    components = align_same_process(before, after)
    assert sorted(i for c in components for i in c.before) == list(range(len(before)))
    assert sorted(j for c in components for j in c.after) == list(range(len(after)))
