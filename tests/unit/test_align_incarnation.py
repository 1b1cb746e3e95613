"""The aligner across a restart: design.md §5.2."""

from __future__ import annotations

from strategies import PAGE, file, in_form, make

from pmapdiff.align import Relation, align_incarnations
from pmapdiff.model import Mapping

M = 1 << 20
LIBC = b"/usr/lib/libc.so.6"


def image(base: int, name: bytes = LIBC, inode: int = 7) -> list[Mapping]:
    """An ELF file as the loader maps it: header, text, rodata and relro (equal offsets but for perms), data, bss."""
    return [
        file(base, base + PAGE, "r--p", 0, name, inode),
        file(base + PAGE, base + 3 * PAGE, "r-xp", PAGE, name, inode),
        file(base + 3 * PAGE, base + 4 * PAGE, "r--p", 3 * PAGE, name, inode),
        file(base + 4 * PAGE, base + 5 * PAGE, "r--p", 3 * PAGE, name, inode),
        file(base + 5 * PAGE, base + 6 * PAGE, "rw-p", 4 * PAGE, name, inode),
        make(base + 6 * PAGE, base + 8 * PAGE),
    ]


def groups(before: list[Mapping], after: list[Mapping]) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    components = align_incarnations(before, after)
    assert {c.relation for c in components} <= {Relation.SAME}
    return {(c.before, c.after) for c in components}


def test_an_image_at_other_addresses() -> None:
    assert groups(image(0x7F0000000000), image(0x7E0000000000)) == {((i,), (i,)) for i in range(6)}


def test_objects_in_another_order() -> None:
    one, other = image(0x7F0000000000, b"/a.so", 1), image(0x7F0000100000, b"/b.so", 2)
    one_later, other_earlier = image(0x7F0000100000, b"/a.so", 1), image(0x7F0000000000, b"/b.so", 2)
    found = groups([*one, *other], [*other_earlier, *one_later])
    assert found == {((i,), ((i + 6) % 12,)) for i in range(12)}


def test_equal_keys_pair_by_their_order_within_the_object() -> None:
    """(path, offset, perms) is not unique: rodata and relro can share an offset."""
    before = [file(0x1000 * n, 0x1000 * (n + 1), "r--p", 0x3000, rss=n) for n in (1, 3, 5)]
    after = [file(0x9000 + 0x1000 * n, 0x9000 + 0x1000 * (n + 1), "r--p", 0x3000) for n in (1, 3)]
    assert groups(before, after) == {((0,), (0,)), ((1,), (1,)), ((2,), ())}


def test_an_upgraded_file_is_the_same_object() -> None:
    """The old process shows ` (deleted)`, the new one the same path with a new inode."""
    assert groups(image(0x7F0000000000, LIBC + b" (deleted)", 7), image(0x7E0000000000, LIBC, 8)) == {((i,), (i,)) for i in range(6)}


def test_a_bss_belongs_to_its_object() -> None:
    """The bss pairs with the same object's, not with other anonymous memory."""
    before = [*image(0x7F0000000000), make(0x7F0010000000, 0x7F0010001000)]
    after = [make(0x7E0000000000, 0x7E0000001000), *image(0x7E0010000000)]
    assert groups(before, after) == {((i,), (i + 1,)) for i in range(6)} | {((6,), (0,))}


def test_names_of_the_kernel() -> None:
    before = [make(0x1000, 0x2000, name=b"[heap]"), make(0x5000, 0x6000, "r-xp", b"[vdso]"), make(0x8000, 0x9000, name=b"[stack]")]
    after = [make(0x2000, 0x9000, name=b"[heap]"), make(0xA000, 0xB000, name=b"[stack]"), make(0xC000, 0xD000, "r-xp", b"[vdso]")]
    assert groups(before, after) == {((0,), (0,)), ((1,), (2,)), ((2,), (1,))}


def test_several_heaps_are_one() -> None:
    """mprotect in the heap makes three [heap]."""
    before = [make(0x1000, 0x2000, name=b"[heap]"), make(0x2000, 0x3000, "r--p", b"[heap]"), make(0x3000, 0x9000, name=b"[heap]")]
    assert groups(before, [make(0x1000, 0x9000, name=b"[heap]")]) == {((0, 1, 2), (0,))}


def test_other_memory_goes_by_its_family() -> None:
    arena = 0x7F0000000000
    before = [make(arena, arena + M), make(arena + M, arena + 64 * M, "---p"), make(arena + 128 * M, arena + 129 * M)]
    after = [make(arena + 70 * M, arena + 71 * M), make(arena + 90 * M, arena + 91 * M)]
    assert groups(before, after) == {((0, 1), ()), ((2,), (0, 1))}


def test_basenames_match_paths() -> None:
    table = image(0x7F0000000000)
    short = list(in_form(table, "pmap-d"))
    assert groups(table, short) == groups(short, table) == {((i,), (i,)) for i in range(6)}


def test_new_and_gone() -> None:
    assert groups(image(0x7F0000000000), []) == {((i,), ()) for i in range(6)}
    assert groups([], image(0x7F0000000000)) == {((), (i,)) for i in range(6)}
