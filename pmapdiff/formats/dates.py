"""A line that says when what follows it was printed: what `date` prints, as it stands in many a log of pmap in a loop."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo

_FIRST_YEAR = 1980
_MONTHS = b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_DAY = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_CLOCK = rb"(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
_ZONE = rb"(?:Z|UTC|GMT|[A-Z]{3,5}|[+-]\d\d:?\d\d)"
# What may stand around it when somebody wrote it with echo.
_MARKS = rb"[-=#* \t\[\]()]{0,40}"
_LINES = [
    re.compile(_MARKS + pattern + _MARKS)
    for pattern in (
        # date in the C locale, and ctime: Mon Nov 23 09:50:58 UTC 2026
        _DAY
        + rb" +(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) +"
        + _CLOCK
        + rb"(?: +(?P<half>[AP]M))?(?: +(?P<zone>"
        + _ZONE
        + rb"))? +(?P<year>\d{4})",
        # date in en_US.UTF-8 and its like since glibc 2.29, and date -R: Mon Nov 23 … has the year last, these have it first
        _DAY
        + rb",? +(?P<day>\d{1,2}) +(?P<month>[A-Z][a-z]{2}) +(?P<year>\d{4}) +"
        + _CLOCK
        + rb"(?: +(?P<half>[AP]M))?(?: +(?P<zone>"
        + _ZONE
        + rb"))?",
        # date -Is, and what people write: 2026-11-23T09:50:58+00:00
        rb"(?P<year>\d{4})[-/](?P<month>\d\d)[-/](?P<day>\d\d)[ T_]" + _CLOCK + rb" ?(?P<zone>" + _ZONE + rb")?",
        # date +%s, with or without its fraction
        rb"@?(?P<epoch>1\d{9})(?:\.(?P<fraction>\d{1,9}))?",
    )
]


def date_in(line: bytes) -> int | None:
    """The moment in µs since the epoch that a line consists of; None if it is no date.

    A time without a zone is local, and so is one whose zone is an abbreviation other than UTC and GMT: those are not unique.
    """
    if len(line) > 120:
        return None
    match = next((match for pattern in _LINES if (match := pattern.fullmatch(line.strip()))), None)
    if match is None:
        return None
    said = match.groupdict()
    fraction_us = int((said.get("fraction") or b"").ljust(6, b"0")[:6])
    if said.get("epoch"):
        return int(said["epoch"]) * 1_000_000 + fraction_us
    month = said["month"]
    if not month.isdigit() and month not in _MONTHS:
        return None
    hour = int(said["hour"])
    if said.get("half"):
        hour = hour % 12 + (12 if said["half"] == b"PM" else 0)
    if int(said["year"]) < _FIRST_YEAR:
        # A clock that was never set says nothing of when it was.
        return None
    try:
        number = int(month) if month.isdigit() else _MONTHS.index(month) + 1
        naive = datetime(int(said["year"]), number, int(said["day"]), hour, int(said["minute"]), int(said["second"]))
        moment = naive.replace(tzinfo=_zone(said.get("zone"))) if said.get("zone") else naive
        return int(moment.astimezone(UTC).timestamp()) * 1_000_000 + fraction_us
    except (ValueError, OverflowError, OSError):
        return None


def _zone(text: bytes | None) -> tzinfo | None:
    if text in (b"Z", b"UTC", b"GMT"):
        return UTC
    if text is not None and text[:1] in (b"+", b"-"):
        return datetime.strptime(text.decode(), "%z").tzinfo
    return None
