"""What mappings are for: linux-memory.md §6."""

from __future__ import annotations

import pytest
from strategies import PAGE, file, make

from pmapdiff.align import FAMILIES, classify
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
        (b"[something new]", "rw-p", "other"),
    ],
)
def test_memory_by_its_name(name: bytes, perms: str, family: str) -> None:
    assert classify([make(0x7F1234567000, 0x7F1234587000, perms, name)]) == [family]


@pytest.mark.parametrize(
    ("name", "perms", "family"),
    [
        (b"/usr/bin/prog", "r-xp", "image"),
        (b"/usr/lib/libx.so.1.2", "r--p", "image"),
        (b"/usr/lib/libx.so (deleted)", "r--p", "image"),
        (b"/var/data.db", "rw-s", "file"),
        (b"/usr/lib/locale/locale-archive", "r--p", "file"),
        (b"/dev/shm/seg", "rw-s", "shm"),
        (b"/dev/zero (deleted)", "rw-s", "shm"),
        (b"[anon_shmem:x]", "rw-s", "shm"),
        (b"/SYSV0000beef (deleted)", "rw-s", "sysv-shm"),
        (b"/memfd:ring (deleted)", "rw-s", "memfd"),
        (b"/memfd:doublemap (deleted)", "r-xs", "memfd"),
        (b"/dev/nvidia0", "rw-s", "device"),
        (b"/dev/dri/card0", "rw-s", "device"),
        (b"anon_inode:[io_uring]", "rw-s", "device"),
        (b"socket:[12345]", "rw-s", "device"),
        (b"/anon_hugepage (deleted)", "rw-p", "anon"),
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


@pytest.mark.parametrize("cut", [33, 16 * 1024, 64 * 1024 // 4 - 1])
def test_an_arena(cut: int) -> None:
    arena = [make(A, A + cut * PAGE), make(A + cut * PAGE, A + 64 * M, "---p")]
    assert classify([m for m in arena if m.end > m.start]) == ["malloc-arena"] * sum(m.end > m.start for m in arena)


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


def test_go_arenas() -> None:
    assert classify([make(0xC000000000, 0xC000400000), make(0xC000400000, 0xC004000000, "---p")]) == ["managed-heap"] * 2


def test_every_answer_is_a_family() -> None:
    assert len(set(FAMILIES)) == len(FAMILIES)
    assert classify([]) == []
