"""The kernel's out-of-memory reports in a log: what was killed, what it had, and what else there was.

Not a form of saved table: there are no mappings in it. The lines of a report stand among others, some of them may be missing (grep, rate limits, a
log that was cut), and each is taken for what it says by itself; "Killed process" is the one that counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from pmapdiff.errors import FormatError, NotFoundError
from pmapdiff.formats.base import DETECT_BYTES, Parse
from pmapdiff.formats.journal import entries, is_export, is_json
from pmapdiff.formats.log_lines import When, lines_of, messages, time_beside
from pmapdiff.formats.oom_kills import Kills, Said
from pmapdiff.formats.oom_lines import INTERESTING, number
from pmapdiff.formats.saved import modified, opened
from pmapdiff.formats.unpack import unpack
from pmapdiff.model.oom import OomKill

_JOURNAL_FIELDS = frozenset(("MESSAGE", "__REALTIME_TIMESTAMP", "_SOURCE_REALTIME_TIMESTAMP", "_SOURCE_MONOTONIC_TIMESTAMP"))
_HINT = "save what 'journalctl -k' or dmesg says of that time"


def read_oom_log(path: str) -> list[OomKill]:
    """What was killed for lack of memory, the newest last, by a log in a file or ("-") standard input.

    Raises FormatError if nothing in it says so, NotFoundError if it cannot be read. Of many kills the newest 20,000 are given, of many tables of
    tasks the newest with 200,000 rows in all.
    """
    try:
        reference_us = modified(path) if path == "-" else None
        with opened(path) as stream:
            return read_oom_stream(Parse(unpack(stream, path, partial=True), path), reference_us or modified(path))
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror or error}") from None


def read_oom_stream(given: Parse, reference_us: int) -> list[OomKill]:
    """What was killed, by an open log; `reference_us` is a moment that is not before its end, for dates without a year. See `read_oom_log`."""
    kills = Kills()
    for said in _said(given, reference_us):
        kills.take(said)
    if found := kills.all():
        return found
    if kills.seen_begin:
        reason = f"an out-of-memory report begins here, but not what was killed: {_HINT}, to its end"
    else:
        reason = f"no out-of-memory report of the kernel is in this file: {_HINT}"
    raise FormatError(reason, source=given.source)


def _said(given: Parse, reference_us: int) -> Iterator[Said]:
    given.stream.seek(0)
    head = given.stream.read(DETECT_BYTES)
    given.stream.seek(0)
    if is_export(head) or is_json(head):
        try:
            yield from _of_journal(given, head, reference_us)
        except FormatError:
            # Something else that looks like one, or a damaged one: its lines may still say something.
            given.stream.seek(0)
        else:
            return
    beside: When | None = None
    for line in lines_of(given.stream, INTERESTING):
        if line is None:
            continue
        here = time_beside(line, reference_us)
        if here is not None:
            beside = here
        if INTERESTING.search(line):
            for message in messages(line, INTERESTING):
                yield Said(message, reference_us, beside)
        if here is None and line.strip().startswith(b"}"):
            beside = None


def _of_journal(given: Parse, head: bytes, reference_us: int) -> Iterator[Said]:
    for entry in entries(given, head, _JOURNAL_FIELDS.__contains__):
        message = entry.fields.get("MESSAGE")
        if not message or INTERESTING.search(message) is None:
            continue
        times = (number(entry.fields.get(name)) for name in ("_SOURCE_REALTIME_TIMESTAMP", "__REALTIME_TIMESTAMP"))
        since_boot_us = number(entry.fields.get("_SOURCE_MONOTONIC_TIMESTAMP"))
        when = When(next((time for time in times if time), None), None if since_boot_us is None else since_boot_us / 1e6)
        for line in message.split(b"\n"):
            yield Said(line, reference_us, when)
