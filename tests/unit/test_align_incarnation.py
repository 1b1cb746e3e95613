"""The aligner across a restart: design.md §5.2."""

from __future__ import annotations

import pytest
from strategies import PAGE, file, in_form, make

from pmapdiff.align import Relation, align_incarnations
from pmapdiff.align.labels import bss_owners
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


def groups(before: list[Mapping], after: list[Mapping], relation: Relation = Relation.SAME) -> set[tuple[tuple[int, ...], tuple[int, ...]]]:
    components = align_incarnations(before, after)
    assert {c.relation for c in components if c.before and c.after} <= {relation}
    assert {c.relation for c in components if not (c.before and c.after)} <= {Relation.SAME}
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


EACH = {((i,), (i,)) for i in range(6)}


def test_an_upgraded_file_is_the_same_object() -> None:
    """The old process shows ` (deleted)`, the new one the same path with a new inode."""
    assert groups(image(0x7F0000000000, LIBC + b" (deleted)", 7), image(0x7E0000000000, LIBC, 8), Relation.REPLACED) == EACH


def test_a_file_that_is_only_deleted_is_not_replaced() -> None:
    assert groups(image(0x7F0000000000, LIBC + b" (deleted)", 7), image(0x7E0000000000, LIBC, 7)) == EACH


def test_the_same_build_on_another_device_is_not_replaced() -> None:
    """The next container of an image: another overlay, with numbers of its own."""
    after = [m._replace(device="00:5e", inode=m.inode and 99) for m in image(0x7E0000000000)]
    assert groups(image(0x7F0000000000), after) == EACH


def rebuilt(base: int, name: bytes, inode: int = 8) -> list[Mapping]:
    """Another build: more text, so all that follows lies elsewhere in the file; the offsets of rodata and relro are no more equal."""
    return [
        file(base, base + PAGE, "r--p", 0, name, inode),
        file(base + PAGE, base + 6 * PAGE, "r-xp", PAGE, name, inode),
        file(base + 6 * PAGE, base + 9 * PAGE, "r--p", 6 * PAGE, name, inode),
        file(base + 9 * PAGE, base + 10 * PAGE, "r--p", 0xF000, name, inode),
        file(base + 10 * PAGE, base + 11 * PAGE, "rw-p", 0x10000, name, inode),
        make(base + 11 * PAGE, base + 13 * PAGE),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (LIBC + b" (deleted)", LIBC),
        (b"/usr/lib/libfoo.so.1.2", b"/usr/lib/libfoo.so.1.3"),
        (b"/usr/lib/libfoo.so", b"/usr/lib/libfoo.so.2"),
        (b"/usr/lib/libc-2.31.so (deleted)", b"/usr/lib/libc-2.36.so"),
        (b"/usr/lib/libc-2.31.so", b"/usr/lib/libc.so.6"),
        (b"/tmp/libnetty_x86_641234567890123456789.so", b"/tmp/libnetty_x86_649876543210987654.so"),
        (b"/tmp/snappy-1.1.8-4bde2a4d-1b2f-4c1c-8f38-6e39a7bd8a63-lib.so", b"/tmp/snappy-1.1.8-abadcafe-beef-4fed-aaaa-bbccddeeff00-lib.so"),
        (b"/usr/bin/python3.11", b"/usr/bin/python3.12"),
        (b"/usr/lib/postgresql/15/bin/postgres", b"/usr/lib/postgresql/16/bin/postgres"),
        (b"/opt/app-1.9/bin/app", b"/opt/app-1.10/bin/app"),
        (b"/srv/releases/20261101093000/app", b"/srv/releases/20261122180000/app"),
        (b"/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-x-2.37/lib/libx.so", b"/nix/store/9xjp0ljirf06d8077j15pc4j3n58xw43-x-2.38/lib/libx.so"),
        (b"/snap/core20/1828/usr/lib/libz.so.1", b"/snap/core20/1974/usr/lib/libz.so.1"),
    ],
)
def test_an_upgrade_goes_by_what_each_segment_is_for(old: bytes, new: bytes) -> None:
    assert groups(image(0x7F0000000000, old), rebuilt(0x7E0000000000, new), Relation.REPLACED) == EACH
    assert groups(rebuilt(0x7E0000000000, new), image(0x7F0000000000, old), Relation.REPLACED) == EACH


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"/usr/lib/libx264.so.164", b"/usr/lib/libx265.so.199"),
        (b"/usr/lib/_sha256.so", b"/usr/lib/_sha512.so"),
        (b"/usr/lib/libfoo.so.1", b"/usr/lib/libbar.so.1"),
        (b"/usr/lib/libfoo.so.1", b"/usr/lib/libfoobar.so.1"),
    ],
)
def test_another_library_is_no_upgrade(old: bytes, new: bytes) -> None:
    found = groups(image(0x7F0000000000, old), rebuilt(0x7E0000000000, new))
    assert found == {((i,), ()) for i in range(6)} | {((), (j,)) for j in range(6)}


def test_which_of_several_versions_replaced_which_is_a_guess() -> None:
    before = [*image(0x7F0000000000, b"/l/libfoo.so.1.9"), *image(0x7F0010000000, b"/l/libfoo.so.1.10")]
    after = [*image(0x7E0000000000, b"/l/libfoo.so.2.1"), *image(0x7E0010000000, b"/l/libfoo.so.1.11")]
    found = groups(before, after, Relation.POSSIBLY_REPLACED)
    assert found == {((i,), (i + 6,)) for i in range(6)} | {((i + 6,), (i,)) for i in range(6)}, "1.9 by 1.11, and 1.10 by 2.1"


def test_a_version_that_stayed_replaces_nothing() -> None:
    before = image(0x7F0000000000, b"/l/libssl.so.1.1")
    after = [*image(0x7E0000000000, b"/l/libssl.so.1.1"), *rebuilt(0x7E0010000000, b"/l/libssl.so.3")]
    assert groups(before, after) == EACH | {((), (j,)) for j in range(6, 12)}


def data(name: bytes, base: int = 0x7F0000000000, offset: int = 0, inode: int = 3) -> Mapping:
    return file(base, base + PAGE, "r--s", offset, name, inode)


def test_of_a_numbered_series_the_next_one_is_at_most_a_guess() -> None:
    assert groups([data(b"/d/segment.17")], [data(b"/d/segment.18", inode=4)], Relation.POSSIBLY_REPLACED) == {((0,), (0,))}
    several = [data(b"/d/segment.17"), data(b"/d/segment.18", 0x7F0000100000, inode=4)]
    others = [data(b"/d/segment.19", inode=5), data(b"/d/segment.20", 0x7F0000100000, inode=6)]
    assert groups(several, others) == {((0,), ()), ((1,), ()), ((), (0,)), ((), (1,))}


def test_shared_memory_is_made_anew_and_replaces_nothing() -> None:
    one, other = data(b"/dev/shm/PostgreSQL.123456", inode=3), data(b"/dev/shm/PostgreSQL.987", inode=9)
    assert groups([one], [other]) == {((0,), (0,))}
    assert groups([data(b"/memfd:x (deleted)", inode=3)], [data(b"/memfd:x (deleted)", inode=4)]) == {((0,), (0,))}


def test_a_text_that_was_split_is_one_part() -> None:
    """Huge pages for a part of the text: one mapping before, three after, of the same file."""
    whole = [file(0, PAGE, "r--p", 0), file(PAGE, 7 * PAGE, "r-xp", PAGE)]
    split = [file(0, PAGE, "r--p", 0), *(file(n * PAGE, (n + 2) * PAGE, "r-xp", n * PAGE) for n in (1, 3, 5))]
    assert groups(whole, split) == {((0,), (0,)), ((1,), (1, 2, 3))}
    assert groups(split, whole) == {((0,), (0,)), ((1, 2, 3), (1,))}


def test_the_layout_of_old_linkers() -> None:
    """Text first, then a gap, relro and data (binutils before 2.31)."""

    def old(base: int, text: int, inode: int) -> list[Mapping]:
        data_at = base + 0x200000
        return [
            file(base, base + text, "r-xp", 0, LIBC, inode),
            file(base + text, data_at, "---p", text, LIBC, inode),
            file(data_at, data_at + PAGE, "r--p", text, LIBC, inode),
            file(data_at + PAGE, data_at + 2 * PAGE, "rw-p", text + PAGE, LIBC, inode),
        ]

    assert groups(old(0x7F0000000000, 9 * PAGE, 7), old(0x7E0000000000, 11 * PAGE, 8), Relation.REPLACED) == {((i,), (i,)) for i in range(4)}
    # And by a file of the other layout: what has a counterpart finds it.
    found = groups(old(0x7F0000000000, 9 * PAGE, 7), rebuilt(0x7E0000000000, LIBC, 8), Relation.REPLACED)
    assert found == {((0,), (1,)), ((1,), ()), ((2,), (3,)), ((3,), (4,)), ((), (0,)), ((), (2,)), ((), (5,))}


def test_memory_of_a_table_that_does_not_say_heap() -> None:
    """pmap calls the heap and the vdso [ anon ]."""
    before = [make(0x1000, 0x2000, name=b"[heap]"), make(0x5000, 0x6000, "r-xp", b"[vdso]"), make(0x8000, 0x9000, name=b"[stack]")]
    after = [m._replace(name=m.name if m.name == b"[stack]" else b"", inode=None, device=None, offset=None) for m in before]
    assert groups(before, after) == {((0, 1), (0, 1)), ((2,), (2,))}


def test_a_bss_belongs_to_its_object() -> None:
    """The bss pairs with the same object's, not with other anonymous memory."""
    before = [*image(0x7F0000000000), make(0x7F0010000000, 0x7F0010001000)]
    after = [make(0x7E0000000000, 0x7E0000001000), *image(0x7E0010000000)]
    assert groups(before, after) == {((i,), (i + 1,)) for i in range(6)} | {((6,), (0,))}


def test_memory_that_was_merged_with_a_bss_is_no_bss() -> None:
    """Python's arenas fill the hole behind a small library's bss; a program's own may be as large as it likes."""
    program = file(0x400000, 0x401000, "r-xp", 0, b"/usr/bin/prog", 5)
    arena = [*image(0x7F0000000000)[:5], make(0x7F0000006000, 0x7F0000006000 + 3 * M)]
    assert bss_owners([program, *arena]) == {}
    assert bss_owners([program, *image(0x7F0000000000)]) == {6: 5}
    assert bss_owners([m._replace(name=b"/usr/bin/prog") if m.inode else m for m in arena]) == {5: 4}


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
