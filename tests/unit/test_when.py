"""WHEN: design.md §7."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import law

from pmapdiff.errors import UsageError
from pmapdiff.store.when import ById, ByRank, ByTime, parse_when

NOW = datetime(2026, 11, 22, 15, 30, 45, 123456)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place with summer time, whose clocks went back on 2026-10-25."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def moment(text: str) -> datetime:
    when = parse_when(text, NOW)
    assert isinstance(when, ByTime), when
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=when.moment_us)


@pytest.mark.parametrize(("text", "number"), [("12", 12), ("#12", 12), (" 7 ", 7), ("#0", 0), ("0012", 12), ("2026", 2026)])
def test_numbers(text: str, number: int) -> None:
    assert parse_when(text, NOW) == ById(number)


@pytest.mark.parametrize(("text", "back"), [("latest", 0), ("latest~0", 0), ("latest~3", 3), ("first", None), (" latest ", 0)])
def test_ranks(text: str, back: int | None) -> None:
    assert parse_when(text, NOW) == ByRank(back)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T14:00:00Z", datetime(2026, 11, 22, 14)),
        ("2026-11-22T14:00:00+02:00", datetime(2026, 11, 22, 12)),
        ("2026-11-22 14:00:00-05:30", datetime(2026, 11, 22, 19, 30)),
        ("2026-11-22T14:00:00.000001Z", datetime(2026, 11, 22, 14, 0, 0, 1)),
        ("2026-11-22T14:00", datetime(2026, 11, 22, 14)),
        ("2026-11-22 14:00:30", datetime(2026, 11, 22, 14, 0, 30)),
        ("2026-11-22", datetime(2026, 11, 22)),
        ("2h ago", datetime(2026, 11, 22, 13, 30, 45, 123456)),
        ("90m ago", datetime(2026, 11, 22, 14, 0, 45, 123456)),
        ("1h30m ago", datetime(2026, 11, 22, 14, 0, 45, 123456)),
        ("1h 30m  ago", datetime(2026, 11, 22, 14, 0, 45, 123456)),
        ("1.5d ago", datetime(2026, 11, 21, 3, 30, 45, 123456)),
        ("now", NOW),
        ("today", NOW),
        ("yesterday", NOW - timedelta(days=1)),
        ("yesterday 14:00", datetime(2026, 11, 21, 14)),
        ("yesterday 9:05", datetime(2026, 11, 21, 9, 5)),
        ("yesterday  14:00:30.5", datetime(2026, 11, 21, 14, 0, 30, 500000)),
        ("today 00:00", datetime(2026, 11, 22)),
        ("14:00", datetime(2026, 11, 22, 14)),
        ("9:05:07", datetime(2026, 11, 22, 9, 5, 7)),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    assert moment(text) == expected.replace(tzinfo=UTC)


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-22T14:00", datetime(2026, 11, 22, 13)),
        ("2026-07-01T14:00", datetime(2026, 7, 1, 12)),
        ("2026-07-01T14:00Z", datetime(2026, 7, 1, 14)),
        ("2026-11-22", datetime(2026, 11, 21, 23)),
        ("yesterday 14:00", datetime(2026, 11, 21, 13)),
        ("14:00", datetime(2026, 11, 22, 13)),
        ("2h ago", datetime(2026, 11, 22, 12, 30, 45, 123456)),
        ("30d ago", datetime(2026, 10, 23, 14, 30, 45, 123456)),
    ],
)
def test_local_times_and_summer_time(text: str, expected: datetime) -> None:
    assert moment(text) == expected.replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["before-deploy", "release 1.2", "latest~", "latest-3", "Latest", "last", "x12", "-5", "~1", "", "12a", "1.5"])
def test_everything_else_is_a_label(text: str) -> None:
    assert parse_when(text, NOW) is None


@pytest.mark.parametrize(
    "text",
    [
        *("soon ago", "2x ago", "-2h ago", "0s ago", "200y ago", "99999999d ago", "9" * 400 + "h ago"),
        *("yesterday noon", "today 25:00", "now 14:00", "yesterday 14:60", "24:00", "12:99"),
        *("2026-13-01", "2026-02-30", "2026-11-22T25:00", "2026-11-22T14:00+99:00", "2026-11-22 deploy", "0001-01-01", "1970-01-01", "9999-12-31"),
    ],
)
def test_what_begins_like_a_time_and_is_none(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_when(text, NOW)
    assert "\n" not in str(caught.value)


@law(300)
@given(st.one_of(st.text(max_size=20), st.from_regex(r"[0-9:T +\-.Zagoyestrdnwhms~#]{0,25}", fullmatch=True)))
def test_junk_never_crashes(text: str) -> None:
    with suppress(UsageError):
        assert isinstance(parse_when(text, NOW), ById | ByRank | ByTime | None)


@law(100)
@given(st.datetimes(datetime(1970, 1, 3), datetime(9998, 1, 1), timezones=st.just(UTC)))
def test_what_reports_print_can_be_typed(value: datetime) -> None:
    assert moment(value.isoformat()) == value
    assert moment(value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) == value
