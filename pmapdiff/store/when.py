"""Naming a snapshot: `12`, `latest~3`, a label, `2026-11-22 14:00`, `2h ago`, `yesterday 14:00`; behind `HOST@` one of that host."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from pmapdiff.errors import UsageError
from pmapdiff.units import parse_duration, to_moment_us

_ID = re.compile(r"#?(\d{1,18})", re.ASCII)
_LATEST = re.compile(r"latest(?:~(\d{1,9}))?", re.ASCII)
_AGO = re.compile(r"(.+?)\s+ago")
_DAY = re.compile(r"(today|yesterday|now)(?:\s+(.+))?")


@dataclass(frozen=True, slots=True)
class ById:
    """The snapshot of this number."""

    id: int


@dataclass(frozen=True, slots=True)
class ByRank:
    """The snapshot so many before the latest; `back` is None for the first of all."""

    back: int | None


@dataclass(frozen=True, slots=True)
class ByTime:
    """The last snapshot at or before a moment (µs since the epoch)."""

    moment_us: int


When = ById | ByRank | ByTime


def parse_when(text: str, now: datetime | None = None) -> When | None:
    """What a WHEN means, unless it is a label (None). `now` is local time.

    Raises UsageError for something that begins like a time and is none.
    """
    stripped = text.strip()
    if match := _ID.fullmatch(stripped):
        return ById(int(match[1]))
    if match := _LATEST.fullmatch(stripped):
        return ByRank(int(match[1] or 0))
    if stripped == "first":
        return ByRank(None)
    now = now or datetime.now()
    if match := _AGO.fullmatch(stripped):
        return ByTime(to_moment_us(now) - round(parse_duration(match[1]) * 1e6))
    if match := _DAY.fullmatch(stripped):
        day = now.date() - timedelta(days=match[1] == "yesterday")
        if match[2] is None:
            # "yesterday" is this time yesterday, as `date -d yesterday` has it.
            return ByTime(to_moment_us(datetime.combine(day, now.time())))
        clock = _clock(match[2])
        if clock is None or match[1] == "now":
            raise UsageError(f"{text!r} is no time: write for example `yesterday 14:00`")
        return _past(datetime.combine(day, clock), now, text)
    if (clock := _clock(stripped)) is not None:
        return _past(datetime.combine(now.date(), clock), now, text)
    moment = _iso(stripped)
    return None if moment is None else ByTime(moment)


def _past(moment: datetime, now: datetime, text: str) -> ByTime:
    """A time of day, which must have been: in the morning, `14:00` would quietly mean the latest snapshot."""
    if moment > now:
        raise UsageError(f"{text!r} is still to come today: write `yesterday {moment:%H:%M}`, or `latest`")
    return ByTime(to_moment_us(moment))


def _clock(text: str) -> time | None:
    if not re.fullmatch(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?", text, re.ASCII):
        return None
    try:
        return time.fromisoformat(text.zfill(len(text) + (text.index(":") == 1)))
    except ValueError:
        raise UsageError(f"{text!r} is no time of day") from None


def _iso(text: str) -> int | None:
    if not re.match(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        return None
    try:
        moment = datetime.fromisoformat(text)
        if isinstance(moment, date) and not datetime(1970, 1, 2) < moment.replace(tzinfo=None) < datetime(9999, 1, 1):
            raise ValueError(text)
        return to_moment_us(moment)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is no date and time: write 2026-11-22, 2026-11-22T14:00 or 2026-11-22T14:00:00+01:00") from None
