"""What mappings are for: linux-memory.md §6."""

from __future__ import annotations

import time

import pytest
from strategies import PAGE, file, make

from pmapdiff.align import FAMILIES, classify, explain
from pmapdiff.model import Mapping

M = 1 << 20
A = 0x7F4000000000


@pytest.mark.parametrize(
    ("name", "perms", "family"),
    [
        (b"[heap]", "rw-p", "heap"),
        (b"[stack]", "rw-p", "stack"),
        (b"[stack:1234]", "rw-p", "thread-stack"),
        (b"[vdso]", "r-xp", "kernel"),
        (b"[vvar]", "r--p", "kernel"),
        (b"[vvar_vclock]", "r--p", "kernel"),
        (b"[vsyscall]", "--xp", "kernel"),
        (b"", "rw-p", "anon"),
        (b"", "---p", "anon"),
        (b"", "rwxp", "jit"),
        (b"", "r-xp", "jit"),
        (b"[anon:whatever]", "rw-p", "anon"),
        (b"[anon: glibc: malloc arena]", "rw-p", "malloc-arena"),
        (b"[anon: glibc: malloc]", "rw-p", "heap"),
        (b"[anon: glibc: pthread stack: 77]", "rw-p", "thread-stack"),
        (b"[anon:scudo:primary]", "rw-p", "heap"),
        (b"[anon:dalvik-main space]", "rw-p", "managed-heap"),
        (b"[anon:dalvik-jit-code-cache]", "r-xp", "jit"),
        (b"[anon: Go: heap]", "rw-p", "managed-heap"),
        (b"[anon: Go: OS thread stack]", "rw-p", "thread-stack"),
        (b"[anon: glibc: pthread user stack: 77]", "rw-p", "thread-stack"),
        (b"[anon:of mine]", "rwxp", "jit"),
        (b"[something new]", "rw-p", "other"),
    ],
)
def test_memory_by_its_name(name: bytes, perms: str, family: str) -> None:
    assert classify([make(0x7F1234567000, 0x7F1234587000, perms, name)]) == [family]


@pytest.mark.parametrize(
    ("name", "perms", "family"),
    [
        (b"/usr/bin/prog", "r-xp", "image"),
        (b"/usr/lib/libx.so.1.2", "r--p", "file"),
        (b"/usr/lib/libx.so.1.2", "r-xp", "image"),
        (b"/tmp/jni123/libx.so (deleted)", "r-xp", "image"),
        (b"//deleted", "r--p", "file"),
        (b"/var/data.db", "rw-s", "file"),
        (b"/usr/lib/locale/locale-archive", "r--p", "file"),
        (b"/dev/shm/seg", "rw-s", "shm"),
        (b"/dev/shm/libx.so", "r-xp", "image"),
        (b"/dev/shm/code", "r-xs", "jit"),
        (b"/dev/zero (deleted)", "rw-s", "shm"),
        (b"/dev/zero (deleted)", "r-xs", "jit"),
        (b"/dev/zero", "rw-p", "anon"),
        (b"/dev/zero", "rwxp", "jit"),
        (b"[anon_shmem:x]", "rw-s", "shm"),
        (b"/SYSV0000beef (deleted)", "rw-s", "sysv-shm"),
        (b"/memfd:ring (deleted)", "rw-s", "memfd"),
        (b"/memfd:ring (deleted)", "r--p", "memfd"),
        (b"/memfd:doublemap (deleted)", "r-xs", "jit"),
        (b"/memfd:runc_cloned:/proc/self/exe (deleted)", "r-xp", "image"),
        (b"/memfd:java_heap (deleted)", "rw-s", "managed-heap"),
        (b"/memfd:java_heap.hugetlb (deleted)", "rw-s", "managed-heap"),
        (b"/memfd:java_heap of mine (deleted)", "rw-s", "memfd"),
        (b"/dev/nvidia0", "rw-s", "device"),
        (b"/dev/dri/card0", "rw-s", "device"),
        (b"anon_inode:[io_uring]", "rw-s", "device"),
        (b"socket:[12345]", "rw-s", "device"),
        (b"/[aio] (deleted)", "rw-s", "device"),
        (b"/dmabuf:", "rw-s", "device"),
        (b"/anon_hugepage (deleted)", "rw-p", "anon"),
        (b"/anon_hugepage (deleted)", "rw-s", "shm"),
        (b"/dev/hugepages/pool", "rw-s", "shm"),
    ],
)
def test_objects_by_their_name(name: bytes, perms: str, family: str) -> None:
    assert classify([file(A + PAGE, A + 2 * PAGE, perms, 0, name)]) == [family]


def test_device_memory_by_its_flags() -> None:
    bar = file(A, A + PAGE, "rw-s", 0, b"/sys/devices/pci0000:00/resource0")
    assert classify([bar._replace(flags=b" rd wr sh mr mw me ms io pf ")]) == ["device"]
    assert classify([bar._replace(flags=b" rd wr sh mr mw me ms ")]) == ["file"]


def test_all_segments_of_an_executable_object_and_its_bss() -> None:
    prog = b"/opt/prog"
    mappings = [
        file(A, A + PAGE, "r--p", 0, prog),
        file(A + PAGE, A + 2 * PAGE, "r-xp", PAGE, prog),
        file(A + 2 * PAGE, A + 3 * PAGE, "rw-p", 2 * PAGE, prog),
        make(A + 3 * PAGE, A + 9 * PAGE),
        make(A + 10 * PAGE, A + 11 * PAGE),
    ]
    assert classify(mappings) == ["image"] * 4 + ["anon"]
    data = [m._replace(inode=99, perms="rw-p") if m.inode else m for m in mappings]
    assert classify(data) == ["file"] * 3 + ["anon"] * 2, "memory behind a data file is not its bss"


def test_large_memory_behind_a_library_is_not_its_bss() -> None:
    """The kernel fills the holes between libraries with whatever is mapped next."""

    def image(low: int, name: bytes, inode: int, size: int) -> list[Mapping]:
        code = file(low, low + PAGE, "r-xp", 0, name, inode)
        return [code, file(low + PAGE, low + 2 * PAGE, "rw-p", PAGE, name, inode), make(low + 2 * PAGE, low + 2 * PAGE + size)]

    prog = image(0x55D000000000, b"/usr/bin/prog", 1, 16 * M)
    small = image(A, b"/usr/lib/libx.so.1", 2, M // 2)
    large = image(A + 64 * M, b"/usr/lib/liby.so.1", 3, M)
    allocator = image(A + 128 * M, b"/usr/lib/libjemalloc.so.2", 4, 2 * M)
    assert classify(prog + small + large + allocator) == ["image"] * 8 + ["anon"] + ["image"] * 3
    assert classify(image(A, b"/usr/bin/prog", 1, 16 * M)) == ["image"] * 3, "wherever it is"


@pytest.mark.parametrize("cut", [33, 16 * 1024, 64 * 1024 // 4 - 1])
def test_an_arena(cut: int) -> None:
    arena = [make(A, A + cut * PAGE), make(A + cut * PAGE, A + 64 * M, "---p")]
    assert classify([m for m in arena if m.end > m.start]) == ["malloc-arena"] * sum(m.end > m.start for m in arena)


@pytest.mark.parametrize("used", [PAGE, M, 9 * M])
def test_an_arena_above_a_library_is_not_its_bss(used: int) -> None:
    """The kernel puts what is mapped next right below an arena; seen in a JVM with libjsvml.so."""
    library = [file(A - 2 * PAGE, A - PAGE, "r-xp", 0, b"/usr/lib/libx.so"), file(A - PAGE, A, "rw-p", PAGE, b"/usr/lib/libx.so")]
    arena = [make(A, A + used), make(A + used, A + 64 * M, "---p")]
    arena = [m._replace(flags=b" rd wr mr mw me nr ") for m in arena]
    assert classify([m._replace(flags=b" rd mr mw me ") for m in library] + arena) == ["image"] * 2 + ["malloc-arena"] * 2


def test_an_arena_with_a_hole_in_its_permissions() -> None:
    """mprotect inside an arena; the reserve is still at its end."""
    arena = [make(A, A + M), make(A + M, A + 2 * M, "---p"), make(A + 2 * M, A + 3 * M), make(A + 3 * M, A + 64 * M, "---p")]
    assert classify(arena) == ["malloc-arena"] * 4


@pytest.mark.parametrize(
    "mappings",
    [
        [make(A + M, A + 2 * M), make(A + 2 * M, A + 64 * M, "---p")],
        [make(A, A + M), make(A + M, A + 63 * M, "---p")],
        [make(A, A + M, "r--p"), make(A + M, A + 64 * M, "---p")],
        [make(A, A + M), make(A + 2 * M, A + 64 * M, "---p")],
    ],
    ids=["not at 64 MiB", "too short", "read-only", "with a gap"],
)
def test_no_arena(mappings: list[Mapping]) -> None:
    assert "malloc-arena" not in classify(mappings)


@pytest.mark.parametrize(
    ("guard_kib", "stack_kib", "found"), [(4, 8192, True), (8, 132, True), (16, 1008, True), (4, 16, True), (4, 8, False), (512, 8192, False)]
)
def test_a_thread_stack(guard_kib: int, stack_kib: int, found: bool) -> None:
    low = A + 7 * PAGE
    middle = low + guard_kib * 1024
    stack = [make(low, middle, "---p"), make(middle, middle + stack_kib * 1024)]
    assert (classify(stack) == ["thread-stack"] * 2) is found
    assert classify(list(stack[:1])) == ["anon"]


def test_many_thread_stacks() -> None:
    stacks = []
    for low in range(A + PAGE, A + 40 * M, 8 * M + PAGE):
        stacks += [make(low, low + PAGE, "---p"), make(low + PAGE, low + 8 * M + PAGE)]
    assert set(classify(stacks)) == {"thread-stack"}


def flagged(mapping: Mapping, flags: bytes) -> Mapping:
    return mapping._replace(flags=b" mr mw me " + flags + b" ")


def test_an_arena_that_is_used_up_and_its_neighbour_are_one_mapping() -> None:
    assert classify([make(A, A + 65 * M), make(A + 65 * M, A + 128 * M, "---p")]) == ["malloc-arena"] * 2


def test_the_rest_of_an_arena_that_glibc_has_named() -> None:
    named = make(A, A + M, "rw-p", b"[anon: glibc: malloc arena]")
    grown = [make(A + M, A + 2 * M), make(A + 2 * M, A + 64 * M, "---p"), make(A + 64 * M, A + 65 * M)]
    assert classify([named, *grown]) == ["malloc-arena"] * 3 + ["anon"]
    assert classify([named, make(A + 2 * M, A + 64 * M, "---p")]) == ["malloc-arena", "anon"]


def test_a_stack_that_adjoins_an_arena_is_none() -> None:
    """256 MiB of stack end where an arena begins: two kinds of mappings."""
    low = A - 256 * M
    mappings = [make(low - PAGE, low, "---p"), make(low, A), make(A, A + M), make(A + M, A + 64 * M, "---p")]
    assert classify(mappings)[2:] == ["malloc-arena"] * 2
    assert "malloc-arena" not in classify(mappings)[:2]


def test_segments_of_mimalloc_are_no_arenas() -> None:
    """Two of 32 MiB are 64 MiB."""
    low = 0x023334000000
    segments = []
    for start in (low, low + 32 * M):
        segments += [flagged(make(start, start + M), b"nr"), flagged(make(start + M, start + 32 * M, "---p"), b"nr")]
    stack = make(0x7FFD00000000, 0x7FFD00021000, "rw-p", b"[stack]")
    assert set(classify([*segments, stack])[:4]) == {"anon"}
    one_and_a_half = [flagged(make(low, low + 33 * M), b"nr"), flagged(make(low + 33 * M, low + 64 * M, "---p"), b"nr")]
    assert set(classify([*one_and_a_half, stack])[:2]) == {"anon"}, "where the kernel would not put an arena"


def test_what_is_mapped_over_a_reserve_is_no_arena() -> None:
    """mprotect keeps MAP_NORESERVE for both parts: HotSpot's commit does not."""
    assert "malloc-arena" not in classify([flagged(make(A, A + M), b"ac"), flagged(make(A + M, A + 64 * M, "---p"), b"nr")])


def test_a_buffer_of_the_size_of_an_arena_beside_arenas() -> None:
    arena = [flagged(make(A, A + M), b"nr"), flagged(make(A + M, A + 64 * M, "---p"), b"nr")]
    for flags, family in ((b"ac", "anon"), (b"nr", "malloc-arena")):
        assert classify([*arena, flagged(make(A + 128 * M, A + 192 * M), flags)])[2] == family


def test_arenas_of_32_bit_programs_are_of_one_mib() -> None:
    arena = [make(0xF7500000, 0xF7521000), make(0xF7521000, 0xF7600000, "---p")]
    stack = make(0xFFA00000, 0xFFA21000, "rw-p", b"[stack]")
    assert classify([*arena, stack]) == ["malloc-arena"] * 2 + ["stack"]
    assert "malloc-arena" not in classify([*arena, stack._replace(start=0x7FFD00000000, end=0x7FFD00021000)])


def pair(low: int, guard_kib: int, stack_kib: int, flags: bytes | None) -> list[Mapping]:
    middle = low + guard_kib * 1024
    found = [make(low, middle, "---p"), make(middle, middle + stack_kib * 1024)]
    return [m._replace(flags=None) if flags is None else flagged(m, flags) for m in found]


def test_where_the_kernel_marks_stacks_a_guard_alone_is_none() -> None:
    """PartitionAlloc, V8 and others have guards, too."""
    stacks = pair(A, 4, 8192, b"nh") + pair(A + 16 * M, 1024, 64, b"nh") + pair(A + 18 * M, 4, 8, b"nh")
    others = pair(A + 32 * M, 4, 2032, b"ac") + pair(A + 48 * M, 4, 1024, b"nr")
    assert classify(stacks + others) == ["thread-stack"] * 6 + ["anon"] * 4
    assert classify(pair(A, 8, 132, b"ac") + pair(A + 16 * M, 4, 8, b"nh")) == ["thread-stack"] * 4, "musl's, and a signal stack of Rust's"
    assert classify(stacks + pair(A + 64 * M, 8, 132, b"ac"))[-2:] == ["thread-stack"] * 2, "musl's guard is of another size than others'"


def test_a_large_mapping_above_a_guard_is_a_stack_if_there_are_several() -> None:
    """A stack without a mark may have merged with a block above it."""
    assert classify(pair(A, 4, 8192 + 40960, None)) == ["anon"] * 2
    assert classify(pair(A, 4, 65536, None) + pair(A + 96 * M, 4, 65536, None)) == ["thread-stack"] * 4


def test_the_number_of_threads_bounds_that_of_stacks() -> None:
    stacks = [m for i in range(4) for m in pair(A + i * 16 * M, 4, 8192, None)]
    guarded = [m for i in range(60) for m in pair(A + 128 * M + i * 4 * M, 4, 1024, None)]
    assert set(classify(stacks + guarded)) == {"thread-stack"}
    assert classify(stacks + guarded, threads=5) == ["thread-stack"] * 8 + ["anon"] * 120
    assert classify(stacks + guarded, threads=60) == ["thread-stack"] * 128


def test_stacks_whose_guard_is_a_flag() -> None:
    """glibc 2.43: they merge; kernels before 6.18 do not show the flag gu."""
    stack = make(A, A + 3 * 8196 * 1024)
    assert classify([flagged(stack, b"gu nh")]) == ["thread-stack"]
    assert classify([flagged(stack, b"nh")]) == ["thread-stack"]
    assert classify([flagged(stack, b"ac")]) == ["anon"]
    assert classify([flagged(stack._replace(end=A + 8192 * 1024), b"nh")]) == ["anon"]


def go_summaries(low: int) -> list[Mapping]:
    """Islands of 4 KiB in reserves of 267, 293, 36 and 4 MiB, as Go 1.19 has them."""
    mappings = []
    for reserve_mib in (267, 293, 36, 4):
        middle = low + reserve_mib * M
        mappings += [make(low, middle, "---p"), make(middle, middle + PAGE)]
        low = middle + PAGE
    return [*mappings, make(low, low + M, "---p")]


@pytest.mark.parametrize("base", [0xC000000000, 0x4000000000, 0x0FF230000000])
def test_go(base: int) -> None:
    heap = [make(base, base + 52 * M), make(base + 52 * M, base + 64 * M, "---p")]
    assert classify([*heap, *go_summaries(A + PAGE)]) == ["managed-heap"] * 11
    buffer = make(base - 128 * M, base - 128 * M + 5 * M)
    assert classify([buffer, *heap, *go_summaries(A + PAGE)])[0] == "anon"


def test_go_by_the_first_arena_alone() -> None:
    assert classify([make(0xC000000000, 0xC000400000), make(0xC000400000, 0xC004000000, "---p")]) == ["managed-heap"] * 2
    assert classify([make(0xC000400000, 0xC000800000)]) == ["anon"], "others are there by chance"


def test_arenas_in_a_row_are_no_summaries_of_go() -> None:
    arenas = []
    for low in range(A, A + 640 * M, 64 * M):
        arenas += [make(low, low + 8 * PAGE), make(low + 8 * PAGE, low + 64 * M, "---p")]
    assert set(classify(arenas)) == {"malloc-arena"}


def v8_pages(number: int, flags: bytes | None) -> list[Mapping]:
    pages = [make(low, low + (256 << 10)) for low in range(A, A + number * (1 << 30), 1 << 30)]
    return [page._replace(flags=None) if flags is None else flagged(page, flags) for page in pages]


@pytest.mark.parametrize(
    ("number", "flags", "family"),
    [
        (8, b"dc nr", "managed-heap"),
        (8, b"dc", "managed-heap"),
        (8, None, "managed-heap"),
        (7, b"dc", "anon"),
        (8, b"nr", "anon"),
        (8, b"dc hg", "anon"),
    ],
)
def test_pages_of_v8(number: int, flags: bytes | None, family: str) -> None:
    assert set(classify(v8_pages(number, flags))) == {family}


def test_everything_else_of_v8() -> None:
    large = flagged(make(A - 64 * M, A - 60 * M), b"dc")
    code = flagged(make(A - 32 * M, A - 31 * M, "rwxp"), b"dc nr")
    reserve = flagged(make(A - 31 * M, A - 16 * M, "---p"), b"dc nr")
    mine = make(A - 96 * M, A - 95 * M)
    assert classify([mine, large, code, reserve, *v8_pages(9, b"dc")])[:4] == ["anon", "managed-heap", "jit", "jit"]


def test_the_sandbox_of_v8() -> None:
    low = 0x166A00000000
    mappings = [make(low, low + (64 << 30), "---p"), make(low + (64 << 30), low + (65 << 30)), make(low + (65 << 30), low + (1024 << 30), "---p")]
    found = [flagged(m, b"nr dd" if m.perms == "---p" else b"nr") for m in mappings]
    assert set(classify(found)) == {"managed-heap"}
    assert set(classify(mappings)) == {"anon"}


def test_the_jvm() -> None:
    low = 0xE0000000
    libjvm = file(A + 900 * M, A + 901 * M, "r-xp", 0, b"/usr/lib/jvm/lib/server/libjvm.so")
    heap = [flagged(make(low, low + 100 * M), b"ac"), flagged(make(low + 100 * M, low + 512 * M, "---p"), b"nr")]
    classes = [flagged(make(A + PAGE, A + M), b"ac"), flagged(make(A + M, A + 400 * M, "---p"), b"nr")]
    code = [flagged(make(A + 500 * M, A + 502 * M, "rwxp"), b"ac"), flagged(make(A + 502 * M, A + 600 * M, "---p"), b"nr")]
    block = flagged(make(A + 800 * M, A + 840 * M), b"ac")
    assert classify([*heap, *classes, *code, block, libjvm]) == ["managed-heap"] * 4 + ["jit"] * 2 + ["anon", "image"]
    without = [m._replace(flags=None) for m in (*heap, *classes, *code, block, libjvm)]
    assert classify(without) == ["managed-heap"] * 4 + ["jit"] * 2 + ["anon", "image"]
    assert classify([*heap, *classes])[2:] == ["anon", "anon"], "not without libjvm"


def test_a_code_cache_and_its_reserve() -> None:
    cache = [make(A, A + M, "rwxp"), make(A + M, A + 8 * M, "---p"), make(A + 8 * M, A + 9 * M, "r-xp"), make(A + 9 * M, A + 48 * M, "---p")]
    above = make(A + 48 * M, A + 49 * M)
    assert classify([*cache, above]) == ["jit"] * 4 + ["anon"]
    guard = make(A - PAGE, A, "---p")
    assert classify([guard, *cache])[0] == "jit"
    assert classify([make(A - 8 * M, A, "---p"), *cache])[0] == "anon", "a large reserve below is somebody else's"


def test_a_stack_above_generated_code_keeps_its_guard() -> None:
    assert classify([make(A, A + M, "rwxp"), *pair(A + M, 4, 1024, b"nh")]) == ["jit", "thread-stack", "thread-stack"]


def test_two_views_of_shared_memory_with_code() -> None:
    """.NET and libffi write through one and execute the other; opcache of PHP has data and code in one object."""
    view = file(A, A + M, "rw-s", 0, b"/memfd:doublemapper (deleted)")
    code = file(A + 2 * M, A + 3 * M, "r-xs", 0, b"/memfd:doublemapper (deleted)")
    assert classify([view, code]) == ["jit"] * 2
    assert classify([view._replace(name=b"/tmp/ffi123 (deleted)"), code._replace(name=b"/tmp/ffi123 (deleted)")]) == ["jit"] * 2
    data = file(A, A + 128 * M, "rw-s", 0, b"/dev/zero (deleted)")
    assert classify([data, file(A + 128 * M, A + 192 * M, "r-xs", 128 * M, b"/dev/zero (deleted)")]) == ["shm", "jit"]


def test_thousands_of_views_of_generated_code_take_no_time() -> None:
    """.NET has a view for each piece; pairs of them are none of our business."""
    name = b"/memfd:doublemapper (deleted)"
    views = [file(A + i * 64 * 1024, A + i * 64 * 1024 + PAGE, "r-xs" if i % 2 else "rw-s", i // 2 * PAGE, name) for i in range(40_000)]
    data = file(A + (1 << 40), A + (1 << 40) + M, "rw-s", 1 << 40, name)
    started = time.process_time()
    families = classify([*views, data])
    assert time.process_time() - started < 5, "it would be minutes"
    assert families == ["jit"] * 40_000 + ["memfd"]


def test_a_program_that_was_started_from_memory() -> None:
    name = b"/memfd:runc_cloned:/proc/self/exe (deleted)"
    mappings = [file(A, A + PAGE, "r--p", 0, name), file(A + PAGE, A + M, "r-xp", PAGE, name), file(A + M, A + 2 * M, "rw-p", M, name)]
    assert classify([*mappings, make(A + 2 * M, A + 3 * M)]) == ["image"] * 4


def test_a_library_of_data_alone() -> None:
    name = b"/usr/lib/libicudata.so.72.1"
    assert classify([file(A, A + M, "r--p", 0, name), file(A + M, A + 2 * M, "r--p", M, name)]) == ["image"] * 2
    assert classify([file(A, A + M, "rw-s", 0, name), file(A + M, A + 2 * M, "r--s", M, name)]) == ["file"] * 2
    assert classify([file(A, A + M, "r--p", 0, name), file(A + 2 * M, A + 3 * M, "r--p", 0, name)]) == ["file"] * 2


def test_where_everything_is_executable_that_says_nothing() -> None:
    """personality(READ_IMPLIES_EXEC)."""
    heap = make(A, A + M, "rwxp", b"[heap]")
    assert classify([heap, make(A + 2 * M, A + 3 * M, "rwxp")]) == ["heap", "anon"]


def test_what_pmap_does_not_say() -> None:
    """No inode, no offset, no flags; names are basenames."""

    def row(start: int, perms: str, name: bytes) -> Mapping:
        return make(start, start + M, perms, name, offset=None, device=None, inode=None)._replace(flags=None)

    rows = [row(A, "r--p", b"libx.so.1"), row(A + M, "r-xp", b"libx.so.1"), row(A + 2 * M, "rw-p", b"libx.so.1"), row(A + 3 * M, "rw-p", b"")]
    assert classify(rows) == ["image"] * 4
    others = [(b"memfd:x (deleted)", "rw-s", "memfd"), (b"zero (deleted)", "rw-s", "shm"), (b"SYSV00000000 (deleted)", "rw-s", "sysv-shm")]
    for name, perms, family in others:
        assert classify([row(A, perms, name)]) == [family]
    assert classify([row(A, "rw-s", b"")]) == ["other"]


def test_the_aligner_and_reports_have_one_implementation() -> None:
    table = [*v8_pages(9, b"dc"), make(A + (1 << 44), A + (1 << 44) + M, "rwxp")]
    assert [verdict.family for verdict in explain(table)] == classify(table)
    assert all(verdict.reason for verdict in explain(table))


def test_every_answer_is_a_family() -> None:
    assert len(set(FAMILIES)) == len(FAMILIES)
    assert classify([]) == []
