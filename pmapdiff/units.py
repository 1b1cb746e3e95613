"""Durations, sizes and times: text to numbers and back.

Sizes are KiB, durations are seconds where people type them and µs where they are stored, moments are
µs since the epoch in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pmapdiff.errors import UsageError

_DURATION_PART = re.compile(
    r"([0-9]+(?:\.[0-9]+)?)\s*(?:(ms|us|µs)|(w)(?:eeks?)?|(d)(?:ays?)?|(h)(?:ours?|rs?)?|(m)(?:in(?:ute)?s?)?|(s)(?:ec(?:ond)?s?)?)"
)
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_KIB = {"": 1.0, "K": 1.0, "M": 1024.0, "G": 1024.0**2, "T": 1024.0**3}
_ADDRESS_RANGE = re.compile(r"((?:0x)?[0-9a-f]{1,16})?(,((?:0x)?[0-9a-f]{1,16})?)?", re.IGNORECASE)
_GROWTH = re.compile(r"([^/]*)/\s*(?:(s)(?:ec(?:ond)?)?|(m)(?:in(?:ute)?)?|(h)(?:our|r)?|(d)(?:ay)?|(w)(?:eek)?)\s*")
_COUNT = re.compile(r"\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_LONGEST_SECONDS = 100 * 366 * 86400.0


def parse_duration(text: str) -> float:
    """Seconds in a duration such as `10s`, `5m`, `1h30m` or `1.5h`.

    Raises UsageError for anything else, for zero, and for more than a century.
    """
    stripped = text.strip()
    seconds, position = 0.0, 0
    while match := _DURATION_PART.match(stripped, position):
        seconds += float(match[1]) * _SECONDS[next(unit for unit in match.groups()[1:] if unit)]
        position = match.end()
        while stripped[position : position + 1] == " ":
            position += 1
    if position == 0 or position != len(stripped):
        raise UsageError(f"{text!r} is no duration: write 10s, 5m or 1h30m")
    if seconds <= 0:
        raise UsageError(f"{text!r} is no time at all: a duration must be longer than zero")
    if seconds > _LONGEST_SECONDS:
        raise UsageError(f"{text!r} is too long: a duration is at most 100 years")
    return seconds


def parse_size_kib(text: str) -> int:
    """KiB in a size such as `64`, `64K`, `1.5M` or `2GiB`; a bare number is KiB. Raises UsageError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no size: write 64K, 1.5M or 2G (a bare number is KiB)")
    kib = float(match[1]) * _KIB[match[2].upper()]
    if kib >= 1 << 54:
        raise UsageError(f"{text!r} is more than an address space holds")
    return round(kib)


def parse_growth_kib(text: str) -> float:
    """KiB an hour in a growth such as `10M/h`, `1G/d` or `500K/min`; a bare number is KiB. Raises UsageError."""
    size, hours = _growth_parts(text, "write 10M/h, 500K/min or 1G/d")
    return parse_size_kib(size) / hours


def parse_count_growth(text: str) -> float:
    """How many an hour there are in `100/h`, `5/min` or `1000/d`. Raises UsageError."""
    count, hours = _growth_parts(text, "write 100/h, 5/min or 1000/d")
    if _COUNT.fullmatch(count) is None:
        raise UsageError(f"{count!r} is no number: write 100/h, 5/min or 1000/d")
    return float(count) / hours


def _growth_parts(text: str, advice: str) -> tuple[str, float]:
    """What stands before the slash, and the hours of the unit of time behind it."""
    match = _GROWTH.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no growth in a time: {advice}")
    return match[1].strip(), _SECONDS[next(unit for unit in match.groups()[1:] if unit)] / 3600


def parse_address_range(text: str) -> tuple[int, int]:
    """The lowest and the highest address in `LOW,HIGH`, as pmap's -A takes them: hexadecimal, each may be left out.

    One address without a comma is both. Raises UsageError.
    """
    match = _ADDRESS_RANGE.fullmatch(text.strip())
    if match is None or not (match[1] or match[3]):
        raise UsageError(f"{text!r} is no range of addresses: write 7f0000000000,7fffffffffff or a single address, in hexadecimal")
    low = int(match[1] or "0", 16)
    high = (1 << 64) - 1 if match[3] is None else int(match[3], 16)
    return low, low if match[2] is None else high


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}"


def format_kib(kib: int | None) -> str:
    """A size for people, with three significant digits: `380 KiB`, `11.8 MiB`, `1.2 GiB`; `-` if it is missing."""
    if kib is None:
        return "-"
    sign = "-" if kib < 0 else ""
    value, unit = float(abs(kib)), "KiB"
    for following in ("MiB", "GiB", "TiB", "PiB"):
        if value < 1023.95:
            break
        value, unit = value / 1024, following
    if unit == "KiB":
        return f"{sign}{value:.0f} KiB"
    return f"{sign}{_three_digits(value)} {unit}"


def format_delta_kib(kib: int | None) -> str:
    """A signed size: `+1.2 GiB`, `-4 KiB`; a bare `0` for no change; `-` if it is missing."""
    if kib is None or kib < 0:
        return format_kib(kib)
    return f"+{format_kib(kib)}" if kib else "0"


def format_growth_kib(kib: float, *others: float) -> str:
    """KiB an hour as a signed growth: `+12.0 MiB/h`, or what is less than a MiB an hour by the day, `+3.1 MiB/d`; a bare `0` for none.

    With others, all of them in the unit that suits the first: `+11.2 to +12.9 MiB/h`, if these are 11.2 and 12.9 and the first is 12.
    """
    hours, time = (1, "h") if abs(kib) >= 1024 else (24, "d")
    size, unit = abs(kib) * hours, "KiB"
    for following in ("MiB", "GiB", "TiB", "PiB"):
        if size < 1023.95:
            break
        size, unit = size / 1024, following
    scale = 1024 ** ("KiB", "MiB", "GiB", "TiB", "PiB").index(unit) / hours
    return _signed_growth([each / scale for each in others or (kib,)], f" {unit}/{time}")


def format_growth_count(number: float, *others: float, unit: str = "mappings") -> str:
    """Mappings an hour as a signed growth: `+412 mappings/h`, or by the day where that is less than one; as `format_growth_kib`."""
    hours, time = (1, "h") if abs(number) >= 1 else (24, "d")
    return _signed_growth([each * hours for each in others or (number,)], f" {unit}/{time}")


def _signed_growth(values: Sequence[float], unit: str) -> str:
    texts = [f"{value:+,.0f}" if abs(value) >= 99.95 else f"{value:+.1f}" for value in values]
    shown = ["0" if float(text.replace(",", "")) == 0 else text for text in texts]
    return " to ".join(shown) + (unit if shown != ["0"] else "")


def format_duration(seconds: float) -> str:
    """A length of time for people: `0.21 s`, `42 s`, `5 min`, `12 h`, `3.5 d`."""
    for limit, unit, name in ((120, 1.0, "s"), (7200, 60.0, "min"), (172800, 3600.0, "h")):
        if abs(seconds) < limit:
            value = seconds / unit
            if unit == 1.0 and abs(value) < 9.995:
                return f"{value:.2f} s"
            return f"{value:.3g} {name}" if abs(value) < 1000 else f"{value:.0f} {name}"
    return f"{seconds / 86400:,.1f} d"


def format_us(us: float) -> str:
    """A short time for people: `850 µs`, `12.3 ms`, then as `format_duration`."""
    if us < 999.5:
        return f"{us:.0f} µs"
    return f"{_three_digits(us / 1000)} ms" if us < 999_500 else format_duration(us / 1e6)


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 mapping`, `8,364 mappings`, `2 processes`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def to_datetime(moment_us: int) -> datetime:
    """The aware UTC datetime of a moment in µs since the epoch."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment_us)


def to_moment_us(moment: datetime) -> int:
    """µs since the epoch; a datetime without offset is local time."""
    aware = moment if moment.tzinfo is not None else moment.astimezone()
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def format_moment_utc(moment_us: int) -> str:
    """A moment as scripts get it: `2026-11-22T14:00:00.000000Z`."""
    return to_datetime(moment_us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def format_moment_short(moment_us: int) -> str:
    """A moment in a list, in local time: `2026-11-22 14:00:00`."""
    return to_datetime(moment_us).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def format_moment_local(moment_us: int) -> str:
    """A moment as people get it, in local time with its offset: `2026-11-22 14:00:00 +0000`."""
    return to_datetime(moment_us).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
