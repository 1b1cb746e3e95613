"""Whether a read of smaps is worth it, from what the kernel counts and from the last read."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from strategies import law

from pmapdiff.capture.budget import NO_LIMIT, RETRY_AFTER, Budget, forecast, longest_hold_us, model_us, refusal
from pmapdiff.capture.procfs import MemoryStatus

GIB = 1 << 20
DENSE = MemoryStatus(GIB, 0, 2048)  # 1 GiB in 4 KiB pages: 512 page tables


@dataclass
class Last:
    """A last read, one capture ago unless told otherwise."""

    read_us: int | None
    mappings: int = 100
    rss_kib: int | None = GIB
    reads_ago: int = 1
    read_given_up: bool = False


def test_the_model_is_that_of_the_measured_cases() -> None:
    """docs/cost.md: 4 to 10 ms a resident GiB, 30 ms for 20,000 mappings, 102 ms for 512 MiB spread one page in 2 MiB over 256 GiB."""
    assert 4000 < model_us(0, 2048, GIB) < 10_000
    assert 25_000 < model_us(20_000, 0, 0) < 35_000
    assert 85_000 < model_us(1, 131_072 * 4, 512 * 1024) < 120_000


def test_without_limits_nothing_is_refused() -> None:
    assert refusal(NO_LIMIT, DENSE, [GIB], 100, None) is None
    assert not NO_LIMIT.says_anything


def test_what_has_never_been_read_is_judged_by_what_the_kernel_counts() -> None:
    assert refusal(Budget(max_read_us=20_000), DENSE, [GIB], 100, None) is None
    assert refusal(Budget(max_read_us=2_000), DENSE, [GIB], 100, None) is not None
    assert refusal(Budget(max_read_us=2_000), MemoryStatus(100, 0, 40), [100] * 100_000, 100_000, None) is not None
    assert "swap" not in (refusal(Budget(max_read_us=2_000), MemoryStatus(0, GIB, 2048), [GIB], 100, None) or "swap")


def test_the_last_read_counts_for_more_than_the_model() -> None:
    assert refusal(Budget(max_read_us=2_000), DENSE, [GIB], 100, Last(100)) is None, "it is in huge pages"
    assert refusal(Budget(max_read_us=20_000), DENSE, [GIB], 100, Last(50_000)) is not None, "a slow machine"
    assert refusal(Budget(max_read_us=20_000), DENSE, [GIB], 100, Last(50_000, reads_ago=RETRY_AFTER)) is None, "it may have been an accident"


def test_what_grew_takes_longer() -> None:
    assert forecast(DENSE, 100, Last(1000, rss_kib=GIB // 4)).read_us == 4000
    assert forecast(DENSE, 300, Last(1000)).read_us == 3000
    assert forecast(DENSE, 10, Last(1000, rss_kib=4 * GIB)).read_us == 1000, "what shrank is not trusted"
    assert forecast(DENSE, 100, Last(1000, rss_kib=None)).read_us == 1000


def test_a_read_that_was_given_up_is_tried_again_after_a_while() -> None:
    budget = Budget(max_read_us=10**9)
    assert "given up" in (refusal(budget, DENSE, [GIB], 100, Last(5000, read_given_up=True)) or "")
    assert refusal(budget, DENSE, [GIB], 100, Last(5000, reads_ago=RETRY_AFTER, read_given_up=True)) is None


def test_what_only_the_model_refuses_is_tried_now_and_then() -> None:
    assert refusal(Budget(max_read_us=2_000), DENSE, [GIB], 100, Last(None, reads_ago=RETRY_AFTER - 1)) is not None
    assert refusal(Budget(max_read_us=2_000), DENSE, [GIB], 100, Last(None, reads_ago=RETRY_AFTER)) is None, "it is given up in time"
    assert refusal(Budget(max_stall_us=2_000), DENSE, [GIB], 100, Last(None, reads_ago=RETRY_AFTER)) is not None, "one read() is not"


def test_a_stall_is_that_of_the_largest_mappings_not_of_all() -> None:
    budget = Budget(max_stall_us=1_500)
    assert refusal(budget, DENSE, None, 1000, None) is not None, "until the sizes are known"
    assert refusal(budget, DENSE, [GIB // 1000] * 1000, 1000, None) is None, "no read() holds the lock for long"
    assert refusal(budget, DENSE, [4] * 999 + [GIB], 1000, None) is not None


@given(st.lists(st.integers(4, GIB), max_size=30), st.integers(0, GIB), st.integers(0, GIB), st.integers(0, 4096))
@law(200)
def test_no_hold_is_longer_than_the_whole_read_could_be(sizes: list[int], rss: int, swap: int, page_tables: int) -> None:
    status = MemoryStatus(rss, swap, page_tables)
    assert 0 <= longest_hold_us(sizes, status) <= model_us(len(sizes), page_tables, rss + swap) + 1e-6
