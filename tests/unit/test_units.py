"""Sizes, durations and moments, typed and printed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import law

from pmapdiff.errors import UsageError
from pmapdiff.units import (
    format_delta_kib,
    format_duration,
    format_growth_count,
    format_growth_kib,
    format_kib,
    format_moment_local,
    format_moment_utc,
    parse_count_growth,
    parse_duration,
    parse_growth_kib,
    parse_size_kib,
    to_datetime,
    to_moment_us,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("10s", 10), ("5m", 300), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172800), ("1w", 604800), ("1 h 30 m", 5400), (" 10s ", 10)),
        *(("250ms", 0.25), ("5us", 5e-6), ("5µs", 5e-6), ("1m1ms", 60.001)),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "10", "s", "0s", "0m0s", "-5s", "5x", "10s!", "1h30", "1..5h", "1,5h", "inf s", "nan s", "1e3s", "53000w", "9" * 500 + "s", "٣s"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "kib"),
    [
        *(
            ("64", 64),
            ("64K", 64),
            ("64k", 64),
            ("64KB", 64),
            ("64KiB", 64),
            ("1.5M", 1536),
            ("2GiB", 2097152),
            ("1T", 1 << 30),
            ("0", 0),
            (" 4 K ", 4),
        ),
    ],
)
def test_sizes(text: str, kib: int) -> None:
    assert parse_size_kib(text) == kib


@pytest.mark.parametrize("text", ["", "K", "-4K", "4X", "4 4", "1.M", ".5M", "1e3", "0x10", "4Ki B", "9" * 400, "9" * 400 + "T"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size_kib(text)


@pytest.mark.parametrize(
    ("kib", "text"),
    [
        *((None, "-"), (0, "0 KiB"), (1, "1 KiB"), (380, "380 KiB"), (1023, "1023 KiB"), (1024, "1.0 MiB"), (12083, "11.8 MiB"), (-4, "-4 KiB")),
        *((102360, "100 MiB"), (102348, "99.9 MiB"), (1048575, "1.0 GiB"), (1258291, "1.2 GiB"), (-1258291, "-1.2 GiB"), (1 << 30, "1.0 TiB")),
        *((1 << 40, "1.0 PiB"), (1 << 54, "16384 PiB")),
    ],
)
def test_sizes_for_people(kib: int | None, text: str) -> None:
    assert format_kib(kib) == text


@pytest.mark.parametrize(("kib", "text"), [(None, "-"), (0, "0"), (4, "+4 KiB"), (-4, "-4 KiB"), (1258291, "+1.2 GiB")])
def test_differences_for_people(kib: int | None, text: str) -> None:
    assert format_delta_kib(kib) == text


@law(200)
@given(st.integers(0, 1 << 50))
def test_a_printed_size_is_near_the_real_one(kib: int) -> None:
    printed = format_kib(kib)
    assert len(printed.split()[0].replace(".", "")) <= 4
    if "PiB" not in printed:
        assert parse_size_kib(printed.replace(" ", "")) == pytest.approx(kib, rel=0.05)
    assert format_kib(-kib) == ("-" + printed if kib else printed)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0.00 s"), (0.21, "0.21 s"), (9.999, "10 s"), (42, "42 s"), (119, "119 s"), (120, "2 min"), (300, "5 min"), (7199, "120 min")),
        *((43200, "12 h"), (172800, "2.0 d"), (302400, "3.5 d"), (-300, "-5 min"), (86400 * 12345, "12,345.0 d")),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_moments() -> None:
    moment = to_moment_us(datetime(2026, 11, 22, 14, 0, 0, 1, tzinfo=UTC))
    assert format_moment_utc(moment) == "2026-11-22T14:00:00.000001Z"
    assert format_moment_local(moment) == "2026-11-22 14:00:00 +0000"
    assert to_datetime(moment) == datetime(2026, 11, 22, 14, 0, 0, 1, tzinfo=UTC)
    assert to_moment_us(datetime(2026, 11, 22, 14, 0, 0, 1)) == moment
    assert to_moment_us(datetime(2026, 11, 22, 15, 0, 0, 1, tzinfo=timezone(timedelta(hours=1)))) == moment


@law(100)
@given(st.integers(0, 250_000_000_000_000_000))
def test_moments_lose_nothing(moment_us: int) -> None:
    assert to_moment_us(to_datetime(moment_us)) == moment_us
    assert to_moment_us(datetime.fromisoformat(format_moment_utc(moment_us))) == moment_us


@pytest.mark.parametrize(
    ("text", "kib"),
    [
        *(("10M/h", 10240), ("1G/d", 1048576 / 24), ("500K/min", 30_000), ("500K/m", 30_000), ("7M/w", 7168 / 168), ("1K/s", 3600)),
        *(("10 MiB / hour", 10240), ("24/day", 1), ("0/h", 0), (" 1.5M/h ", 1536)),
    ],
)
def test_growth(text: str, kib: float) -> None:
    assert parse_growth_kib(text) == pytest.approx(kib)


@pytest.mark.parametrize(
    "text", ["", "10M", "/h", "10M/", "10M/2h", "10M/y", "-1M/h", "10M/h/h", "10X/h", "M/h", "inf/h", "10M per hour", "10M/h\n1"]
)
def test_no_growth(text: str) -> None:
    with pytest.raises(UsageError, match="write"):
        parse_growth_kib(text)


@pytest.mark.parametrize(("text", "number"), [("100/h", 100), ("5/min", 300), ("1.5/d", 1.5 / 24), (" 7 / week ", 7 / 168), ("0/s", 0)])
def test_growth_in_number(text: str, number: float) -> None:
    assert parse_count_growth(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["", "100", "100K/h", "-1/h", "/h", "1e3/h", "٣/h", "9" * 20 + "/h", "1/x"])
def test_no_growth_in_number(text: str) -> None:
    with pytest.raises(UsageError, match="write 100/h"):
        parse_count_growth(text)


@law(100)
@given(st.floats(1.0, 1e12))
def test_growth_is_printed_as_what_it_is(kib: float) -> None:
    words = format_growth_kib(kib)
    assert parse_growth_kib(words.removeprefix("+")) == pytest.approx(kib, rel=0.06)
    assert format_growth_kib(-kib) == words.replace("+", "-")
    assert words.count("MiB/h") or kib < 1024 or kib > 1023 << 10
    assert len(words) <= 11


def test_what_is_printed_with_another_has_its_unit() -> None:
    assert format_growth_kib(12 * 1024, 11.2 * 1024, 2048 * 1024) == "+11.2 to +2,048 MiB/h"
    assert format_growth_count(0.5, 0.25, 40) == "+6.0 to +960 mappings/d"
    assert format_growth_count(0, 0, 3) == "0 to +72.0 mappings/d"
