"""What the kernel does besides: paging, page cache, huge pages, copy-on-write, the number of mappings, files replaced on disk."""

from __future__ import annotations

import io

import pytest
from strategies import PAGE, capture_of, file, make

from pmapdiff.align import Match
from pmapdiff.compare import Comparison, Effect, Observed, compare_captures, compare_snapshots
from pmapdiff.compare.effects import observe
from pmapdiff.model import Mapping, Snapshot, SnapshotRef
from pmapdiff.report import View, write_report

A = 0x7F0000000000
M = 1 << 20
LIB = b"/usr/lib/libx.so.1"


def observed(before: list[Mapping], after: list[Mapping], match: Match = Match.SAME) -> dict[str, int]:
    there, back = (compare_captures(capture_of(one), capture_of(other), match) for one, other in ((before, after), (after, before)))
    in_kib = [{o.effect.value: o.amount for o in found.effects if o.effect not in ("mapping-count", "files-deleted")} for found in (there, back)]
    assert in_kib[1] == {effect: -amount for effect, amount in in_kib[0].items()}
    return {o.effect.value: o.amount for o in there.effects}


def anon(**kib: int) -> Mapping:
    return make(A, A + 64 * M, "rw-p", b"", offset=0, device="00:00", inode=0, **kib)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # 3 MiB of 4 that left Rss are in swap, the rest was freed.
        (anon(rss=9000, anonymous=9000), anon(rss=5000, anonymous=5000, swap=3000), {"paging": 3000}),
        (anon(rss=100, anonymous=100, swap=3000), anon(rss=2100, anonymous=2100, swap=900), {"paging": -2000}),
        # Freed while it was in swap.
        (anon(rss=100, anonymous=100, swap=3000), anon(rss=100, anonymous=100), {}),
        (anon(rss=9000, anonymous=9000), anon(rss=8900, anonymous=8900, swap=100), {}),
        (anon(rss=100, anonymous=100), anon(rss=4196, anonymous=4196, anon_huge_pages=4096), {"huge-pages": 4096}),
        # Collapsed by khugepaged: what is resident was so before.
        (anon(rss=4096, anonymous=4096), anon(rss=4100, anonymous=4100, anon_huge_pages=4096), {}),
        (anon(rss=800, private_dirty=800), anon(rss=800, shared_dirty=800), {"shared-by-fork": 800}),
        (anon(rss=800, shared_dirty=800), anon(rss=800, private_dirty=500, shared_dirty=300), {"shared-by-fork": -500}),
        (anon(rss=100, private_dirty=100), anon(rss=900, private_dirty=900), {}),
    ],
)
def test_anonymous_memory(before: Mapping, after: Mapping, expected: dict[str, int]) -> None:
    assert observed([before], [after]) == expected


def text(name: bytes = b"/var/data.bin", **kib: int) -> Mapping:
    return file(A, A + 64 * M, "rw-p", 0, name, **kib)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (text(), text(rss=4000, private_clean=4000), {"page-cache": 4000}),
        (text(), text(rss=4000, shared_clean=3000, private_dirty=1000, anonymous=1000), {"page-cache": 3000, "copied-on-write": 1000}),
        (text(rss=4000, shared_clean=4000), text(rss=1000, shared_clean=1000), {"page-cache": -3000}),
        # The pages of shared memory belong to nobody else: they cannot be dropped.
        (text(b"/dev/shm/x"), text(b"/dev/shm/x", rss=4000, private_clean=4000), {}),
        (text(b"/memfd:x (deleted)"), text(b"/memfd:x (deleted)", rss=4000, private_clean=4000), {}),
    ],
)
def test_files(before: Mapping, after: Mapping, expected: dict[str, int]) -> None:
    assert observed([before], [after]) == expected


def test_many_small_ones_add_up() -> None:
    def blocks(swap: int) -> list[Mapping]:
        return [make(A + n * M, A + n * M + M // 2, rss=100 - swap, swap=swap) for n in range(20)]

    assert observed(blocks(0), blocks(15)) == {"paging": 300}


def test_another_incarnation_has_no_such_history() -> None:
    assert observed([anon(rss=9000)], [anon(rss=5000, swap=3000)], Match.RESTARTED) == {}


def test_a_mapping_count_near_the_limit() -> None:
    many = [make(A + n * 2 * PAGE, A + (2 * n + 1) * PAGE) for n in range(800)]
    for limit, found in ((1001, ()), (1000, (Observed(Effect.MAPPING_COUNT, 800, 1000),))):
        assert compare_captures(None, capture_of(many), Match.NEW, max_map_count=limit).effects == found
    # Where nobody looked, the kernel's default counts.
    assert observe([], (), many[:1] * 52_423, same_process=False) == ()
    assert observe([], (), many[:1] * 52_424, same_process=False) == (Observed(Effect.MAPPING_COUNT, 52_424, 65_530),)


def test_a_library_that_was_replaced_on_disk() -> None:
    before = [file(A, A + M, "r-xp", 0, LIB, inode=7), file(A + M, A + 2 * M, "r--p", M, LIB, inode=7)]
    after = [m._replace(name=m.name + b" (deleted)") for m in before]
    assert observed(before, after) == {"files-deleted": 1}
    assert observed(after, after) == {}


def test_a_table_without_counters() -> None:
    bare = [anon()._replace(counters=(None,) * len(anon().counters))]
    assert observed(bare, [anon(rss=9000, swap=900)]) == {}


def compared(before: Mapping, after: Mapping) -> Comparison:
    first, second = (Snapshot(SnapshotRef(n, n * 3_600_000_000, "h"), (capture_of([m]),)) for n, m in enumerate((before, after)))
    return compare_snapshots(first, second)


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_what_is_said(form: str) -> None:
    out = io.StringIO()
    write_report("compare", form, compared(anon(rss=90_000, anonymous=90_000), anon(rss=10_000, anonymous=10_000, swap=80_000)), View(width=80), out)
    assert "Rss -78.1 MiB, footprint 0 in 60 min" in out.getvalue()
    assert "paging: 78.1 MiB went to swap; still needed, so no fix" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 80 or form == "markdown"


def test_each_effect_fits_eighty_columns() -> None:
    pairs = [
        (anon(rss=900_000, anonymous=900_000), anon(rss=10_000, anonymous=10_000, swap=890_000)),
        (anon(rss=10_000, swap=890_000), anon(rss=900_000)),
        (text(), text(rss=900_000, private_clean=900_000)),
        (text(rss=900_000, private_clean=900_000), text()),
        (anon(), anon(rss=900_000, anon_huge_pages=900_000)),
        (anon(rss=900_000, anon_huge_pages=900_000), anon()),
        (anon(rss=900_000, private_dirty=900_000), anon(rss=900_000, shared_dirty=900_000)),
        (anon(rss=900_000, shared_dirty=900_000), anon(rss=900_000, private_dirty=900_000)),
        (text(), text(rss=900_000, anonymous=900_000)),
        (text(rss=900_000, anonymous=900_000), text()),
    ]
    seen = set()
    for before, after in pairs:
        out = io.StringIO()
        write_report("compare", "text", compared(before, after), View(width=80), out)
        sentences = [line for line in out.getvalue().splitlines() if line.startswith("  ") and ": " in line]
        assert len(sentences) == 1
        assert not sentences[0].endswith("…")
        seen.add(sentences[0])
    assert len(seen) == len(pairs)
