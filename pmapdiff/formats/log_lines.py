"""Lines of a log as what was said and when, whichever logger wrote them.

The kernel's messages reach people through dmesg, syslog, the journal and the collectors of clusters, each of which puts something in front, around
or (JSON) between them. Nothing here looks for a grammar of such lines: messages are searched for, and what stands before one is asked for the time.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, NamedTuple

from pmapdiff.formats.dates import date_in
from pmapdiff.formats.tidy import further_tidied

_CHUNK = 1 << 20
# What is longer was no line: it is looked at piece by piece.
_LONGEST_LINE = 1 << 20
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_PREFIX_BYTES = 200
_CLOCKS_DIFFER_US = 86_400_000_000
_MONTHS = b"jan feb mar apr may jun jul aug sep oct nov dec".split()
# dmesg, also with the time since the line before (-d), and the kernel's own caller (CONFIG_PRINTK_CALLER): a task or a CPU.
_SINCE_BOOT = re.compile(rb"\[ *(\d{1,10}\.\d{3,9})(?: *<[^>\]\n]{1,20}>)?\](?:\[ *([TC]\d{1,10})\])?")
# /dev/kmsg: priority, number, µs since boot, flags (Documentation/ABI/testing/dev-kmsg); other fields may follow.
_KMSG = re.compile(rb"\d{1,6},\d{1,20},(\d{1,18}),[-c+f][^;\n]{0,80};")
_DATE = re.compile(
    rb"(?P<whole>\d{4}[-/]\d\d[-/]\d\d[ T_]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?"
    rb"|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d(?:\.\d{1,9})?(?: [A-Z]{3,5})? \d{4})"
    # syslog, which has no year, and klog of Kubernetes
    rb"|\b(?P<month>[A-Za-z]{3}) +(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))?"
    rb"|\b[IWEF](?P<month2>\d\d)(?P<day2>\d\d) (?P<clock2>\d\d:\d\d:\d\d)\.(?P<fraction2>\d{6})"
    rb"|(?:^|[\s:])(?P<epoch>1\d{9}\.\d{3,6})\b"
)
# What stands in front of a message: the last of these.
_BEFORE = re.compile(
    rb"\[ *\d{1,10}\.\d{3,9}[^\]\n]{0,30}\](?:\[ *[TC]\d{1,10}\])? ?|^\[<[^>\n]{1,20}>\] ?|\bkernel: ?|^<\d{1,3}>"
    rb"|^ *MESSAGE=|\[[^\]\[]{0,30}\d\d:\d\d[^\]\[]{0,12}\] ?|^\d{4}-\d\d-\d\dT\S{8,30} |^\d{1,6},\d{1,20},\d{1,18},[^;]{1,80};"
)
_JSON_TIME = re.compile(
    rb'"(?:@?timestamp|time|ts|_SOURCE_REALTIME_TIMESTAMP|__REALTIME_TIMESTAMP|eventTime|lastTimestamp)" ?: ?'
    rb'(?:"(?P<text>[^"\n]{10,40})"|"?(?P<number>\d{10,19}(?:\.\d{1,9})?)|(?P<boot>[ \d]{1,9}\.\d{6}))'
)
# journalctl -o verbose: the time, and the cursor of the entry.
_VERBOSE = re.compile(rb"[^\n\[]{10,80}\[s=[0-9a-f]{32};")
_STRING = re.compile(rb'"(?:[^"\\]|\\.){20,}"')


class When(NamedTuple):
    """When a line was written: in µs since the epoch, in seconds since boot, or both; and who wrote it, if the kernel says it."""

    time_us: int | None = None
    since_boot_s: float | None = None
    caller: bytes | None = None


def lines_of(stream: BinaryIO, interesting: re.Pattern[bytes]) -> Iterator[bytes | None]:
    """The lines of a text, without their ends, colours and encoding; None for any number of them in which nothing is `interesting`.

    A line is never longer than 1 MiB. UTF-16 is what Windows PowerShell writes.
    """
    head = stream.read(2)
    decoder = codecs.getincrementaldecoder("utf-16")("replace") if head in _BYTE_ORDER_MARKS else None
    rest, chunk = b"", head + stream.read(_CHUNK)
    while chunk:
        rest += chunk if decoder is None else decoder.decode(chunk).encode("utf-8", "replace")
        following = stream.read(_CHUNK)
        end = len(rest) if not following or len(rest) > _LONGEST_LINE else 0
        end = max(rest.rfind(b"\n") + 1, 0) or end if following else len(rest)
        block, rest, chunk = rest[:end], rest[end:], following
        if block and interesting.search(block) is None:
            yield None
        elif block:
            for line in block.split(b"\n"):
                for change in further_tidied(line):
                    line = change(line)
                yield line.strip(b"\r\0")


def messages(line: bytes, interesting: re.Pattern[bytes]) -> list[bytes]:
    """What a line says: of one with strings of JSON, what is in those where there is something interesting; else itself."""
    if b'"' not in line:
        return [line]
    found = [match[0] for match in _STRING.finditer(line) if interesting.search(match[0])]
    return [said for string in found for said in _unquoted(string).split(b"\n")] if found else [line]


def _unquoted(string: bytes) -> bytes:
    try:
        text = json.loads(string.decode("utf-8", "surrogateescape"), strict=False)
    except ValueError:
        # Quoted, but not by JSON.
        return string[1:-1]
    try:
        return str(text).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return str(text).encode("utf-8", "backslashreplace")


def when_of(before: bytes, reference_us: int) -> When:
    """When a message was written, by what stands before it. `reference_us` is a moment that is not before it: syslog writes no year.

    A date without a zone is local time.
    """
    if len(before) > 2 * _PREFIX_BYTES:
        before = before[:_PREFIX_BYTES] + b"\n" + before[-_PREFIX_BYTES:]
    boot = _SINCE_BOOT.search(before)
    if boot is not None:
        return When(_date(before, reference_us), float(boot[1]), boot[2])
    kmsg = _KMSG.search(before)
    return When(_date(before, reference_us), int(kmsg[1]) / 1e6 if kmsg else None)


def time_beside(line: bytes, reference_us: int) -> When | None:
    """The time that a line gives for what is in it or behind it: a value of JSON, the first line of a verbose entry; None without one."""
    if b" [s=" in line and _VERBOSE.match(line):
        return When(_date(line[:_PREFIX_BYTES], reference_us))
    match = _JSON_TIME.search(line) if b'"' in line else None
    if match is None:
        return None
    if match["boot"]:
        return When(since_boot_s=float(match["boot"]))
    if match["text"]:
        return When(_date(match["text"], reference_us))
    number = float(match["number"])
    # Seconds, ms, µs or ns: since 2001 the first have ten digits.
    while number < 1e15:
        number *= 1000
    return When(int(number if number < 1e17 else number / 1000))


def without_prefix(before: bytes) -> bytes:
    """What of a line's beginning is its message's, as far as that can be told."""
    end = max((match.end() for match in _BEFORE.finditer(before)), default=0)
    return before[end:]


def _date(text: bytes, reference_us: int) -> int | None:
    match = _DATE.search(text)
    if match is None:
        return None
    if match["whole"]:
        return date_in(match["whole"])
    if match["epoch"]:
        return date_in(match["epoch"])
    month_name = (match["month"] or b"").lower()
    month = int(match["month2"]) if match["month2"] else _MONTHS.index(month_name) + 1 if month_name in _MONTHS else 0
    day, clock, fraction = match["day"] or match["day2"], match["clock"] or match["clock2"], match["fraction"] or match["fraction2"] or b""
    reference = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=reference_us)).astimezone()
    # Of the 29th of February the year may be further back.
    for year in range(reference.year + 1, reference.year - 8, -1):
        moment_us = date_in(b"%04d-%02d-%02d %s.%s" % (year, month, int(day), clock, fraction or b"0"))
        if moment_us is not None and moment_us <= reference_us + _CLOCKS_DIFFER_US:
            return moment_us
    return None
