"""The rows of the lists: hosts, and services, first as the store sums them up, then as a series knows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from rich.cells import cell_len, chop_cells

from pmapdiff.align import History, ServiceHistory
from pmapdiff.analyse.result import Leaks, Suspect, Verdict
from pmapdiff.model import ProcessIdentity, ProcessInfo, Totals
from pmapdiff.report.base import View
from pmapdiff.report.leak_shape import main_finding
from pmapdiff.report.leak_words import counts_words, growth_words, style_of, what_words
from pmapdiff.report.sparkline import sparkline, with_gaps
from pmapdiff.report.table import Cell, Column, Line, Sheet, cut_end, delta_cell
from pmapdiff.report.words import process_title
from pmapdiff.store import ProcessSummary
from pmapdiff.text import printable
from pmapdiff.units import format_kib, format_moment_short

PROCESS_SORTS = ("growth", "verdict", "footprint", "rss", "pid", "name")
HOST_SORTS = ("name", "footprint", "rss", "processes")
_VERDICTS = tuple(Verdict)
_NARROW_BLOCKS, _WIDE_BLOCKS = 8, 20
_LEAST_ARGUMENTS = 6
# The next best where a table has no footprint.
_GROWN = ("footprint_kib", "rss_kib", "size_kib")

# Rows are drawn again whenever they are sorted or searched, of thousands of processes.
_sparkline = lru_cache(maxsize=1 << 14)(sparkline)

Key = tuple[str, ProcessIdentity]


@dataclass(frozen=True, slots=True)
class Entry:
    """A service, or a process as long as the series has not been read: who, where, its totals at both ends, and how it went between them."""

    host: str
    process: ProcessInfo
    captures: int
    first: Totals | None
    last: Totals | None
    last_us: int
    service: ServiceHistory | None = None
    gone: bool = False
    blocks: tuple[int | None, ...] = ()

    @property
    def key(self) -> Key:
        """What it is told by."""
        return self.host, self.process.identity

    def was(self, key: Key) -> bool:
        """Whether it is, or once was, this process."""
        identities = [known.process.identity for known in self.service.incarnations] if self.service else [self.process.identity]
        return key[0] == self.host and key[1] in identities

    def figure(self, name: str) -> int | None:
        """One figure when last seen, in KiB."""
        return None if self.last is None else self.last.get(name)

    def grown(self, name: str) -> int | None:
        """How much a figure grew from when it was first seen to when it was last, in KiB."""
        before, after = (None if totals is None else totals.get(name) for totals in (self.first, self.last))
        return None if before is None or after is None else after - before

    @property
    def growth(self) -> int | None:
        """The growth of the footprint, or of the next best figure, in KiB."""
        return next((grown for name in _GROWN if (grown := self.grown(name)) is not None), None)


def entries_of_summaries(summaries: Iterable[ProcessSummary]) -> list[Entry]:
    """A row a process."""
    return [Entry(s.host, s.process, s.captures, s.totals_first, s.totals_last, s.last.taken_at_us) for s in summaries]


def entries_of_history(history: History) -> list[Entry]:
    """A row a service."""
    return [_entry(history, service) for service in history.services]


def _entry(history: History, service: ServiceHistory) -> Entry:
    known = [totals for totals in service.totals if totals is not None]
    figure = next((name for name in _GROWN if all(totals.get(name) is not None for totals in known)), "size_kib")
    steps = service.lifetime
    values = [None if (totals := service.totals[step]) is None else totals.get(figure) for step in steps]
    moments = [history.snapshots[step].taken_at_us for step in steps]
    return Entry(
        service.host,
        service.process,
        sum(capture is not None for capture in service.captures),
        known[0] if known else None,
        known[-1] if known else None,
        moments[-1],
        service,
        _is_gone(history, service),
        tuple(with_gaps(values, moments)),
    )


def _is_gone(history: History, service: ServiceHistory) -> bool:
    """Whether the same recorder looked at its host later and did not find it."""
    last = history.snapshots[service.lifetime[-1]]
    later = history.snapshots[service.lifetime[-1] + 1 :]
    return any((ref.host, ref.selection, ref.source) == (last.host, last.selection, last.source) for ref in later)


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What `leaks` says of the services, by process."""

    leaks: Leaks | None = None
    suspects: dict[Key, Suspect] | None = None

    @classmethod
    def of(cls, leaks: Leaks) -> Verdicts:
        """Those of a result."""
        return cls(leaks, {(suspect.host, suspect.process.identity): suspect for suspect in leaks.processes})

    def get(self, entry: Entry) -> Suspect | None:
        """That of a service; None if it is not known, or not yet."""
        return (self.suspects or {}).get(entry.key)


def chosen_entries(entries: Iterable[Entry], host: str | None, query: str) -> list[Entry]:
    """The services of a host (None: of all) that a text is found in."""
    found = [entry for entry in entries if host is None or entry.host == host]
    return [entry for entry in found if query.casefold() in _words_of(entry).casefold()]


def _words_of(entry: Entry) -> str:
    return f"{process_title(entry.process)} {printable(entry.host)} {printable(entry.process.command_line)}"


# What is left for the command line before another column is.
_PROCESS = 34


class _Column(NamedTuple):
    """A column of the list of services: its title, its cell, what it is called when it is sorted by, and whether it is left out first."""

    title: str
    cell: Callable[[Entry], Cell | str]
    left: bool = False
    sort: str = ""
    wide: bool = False
    spare: int = 0


def process_sheet(entries: Sequence[Entry], verdicts: Verdicts, view: View, sort: str, *, reverse: bool) -> Sheet:
    """A row a service; wide screens have more columns."""
    several = len({entry.host for entry in entries}) > 1
    columns = [
        _Column("PID", lambda e: str(e.process.pid or "-"), sort="pid"),
        _Column("Snapshots", lambda e: f"{e.captures:,}", wide=True, spare=1),
        _Column("Size", lambda e: format_kib(e.figure("size_kib")), wide=True),
        _Column("Rss", lambda e: format_kib(e.figure("rss_kib")), sort="rss"),
        _Column("Footprint", lambda e: format_kib(e.figure("footprint_kib")), sort="footprint"),
        _Column("±", lambda e: delta_cell(e.growth), sort="growth"),
        _Column("Over time", lambda e: _sparkline(e.blocks, _WIDE_BLOCKS if view.is_wide else _NARROW_BLOCKS), left=True),
        _Column("Verdict", lambda e: _verdict(verdicts.get(e)), left=True, sort="verdict"),
        _Column("Growth", lambda e: _rate(verdicts.get(e)), wide=True),
        _Column("What", lambda e: _what(verdicts.get(e)), left=True, wide=True),
        *([_Column("Host", lambda e: printable(e.host), left=True)] if several else []),
        _Column("Process", _command, left=True, sort="name"),
    ]
    columns = [column for column in columns if view.is_wide or not column.wide]
    header = [column.title + (_arrow(sort in _RISING, reverse=reverse) if column.sort == sort else "") for column in columns]
    ordered = sorted(entries, key=lambda entry: (*_order(entry, verdicts, sort), entry.process.pid, entry.host), reverse=reverse)
    lines = tuple(Line([column.cell(entry) for column in columns], entry) for entry in ordered)
    return Sheet(tuple(Column(title, column.left, column.spare, room=_PROCESS) for title, column in zip(header, columns, strict=True)), lines)


_RISING = ("pid", "name", "verdict")


def _arrow(rises: bool, *, reverse: bool) -> str:
    return "▲" if rises != reverse else "▼"


def _order(entry: Entry, verdicts: Verdicts, sort: str) -> tuple[float, ...] | tuple[str, ...]:
    """What is worst, largest or first in the alphabet comes first."""
    match sort:
        case "verdict":
            suspect = verdicts.get(entry)
            known = (len(_VERDICTS), True) if suspect is None else (_VERDICTS.index(suspect.verdict), not suspect.urgent)
            return (*known, -(entry.growth or 0))
        case "name":
            return (_words_of(entry).casefold(),)
        case "pid":
            return ()
        case "growth":
            return (-(entry.growth or 0),)
        case _:
            return (-(entry.figure(f"{sort}_kib") or 0),)


def _verdict(suspect: Suspect | None) -> Cell:
    return Cell("") if suspect is None else Cell(suspect.verdict.value, style_of(suspect.verdict, urgent=suspect.urgent))


def _rate(suspect: Suspect | None) -> str:
    if suspect is None:
        return ""
    finding = main_finding(suspect)
    return growth_words(suspect.trend, suspect.figure) if finding is None else growth_words(finding.trend, finding.figure)


def _what(suspect: Suspect | None) -> str:
    finding = None if suspect is None else main_finding(suspect)
    return "" if finding is None else what_words(finding)


def _command(entry: Entry) -> Cell:
    """`redis-server unixsocket:redis.sock`, `orders: /usr/bin/python3 /srv/orders/orders checkout`: what it is called, and how it was started."""
    info = entry.process
    name = process_title(info).removesuffix(f" {info.pid}")
    program, _, arguments = printable(info.command_line).partition(" ")
    words = f"{name} {arguments}" if program.rsplit("/", 1)[-1] == name else f"{name}: {program} {arguments}"
    return Cell(f"gone: {words.rstrip()}", "dim") if entry.gone else Cell(words.rstrip())


def cut_command(text: str, width: int) -> str:
    """At most `width` columns of a command, cut behind its first word: what it is called and its last arguments tell most."""
    if cell_len(text) <= width:
        return text
    first, _, rest = text.partition(" ")
    room = width - cell_len(first) - 2
    if room < _LEAST_ARGUMENTS:
        return cut_end(text, width)
    return f"{first} …{chop_cells(rest[::-1], room)[0][::-1]}"


def host_sheet(entries: Iterable[Entry], verdicts: Verdicts, query: str, sort: str, *, reverse: bool) -> Sheet:
    """A row a host: what it had when it was last looked at."""
    hosts: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        hosts[entry.host].append(entry)
    rows = []
    for name, found in hosts.items():
        if query.casefold() not in printable(name).casefold():
            continue
        latest = max(entry.last_us for entry in found)
        now = [entry for entry in found if entry.last_us == latest]
        rss, footprint = (_sum([entry.figure(figure) for entry in now]) for figure in ("rss_kib", "footprint_kib"))
        suspects = [suspect for entry in found if (suspect := verdicts.get(entry)) is not None]
        growing = Cell(counts_words(s for s in suspects if s.verdict is Verdict.GROWING), "red") if suspects else Cell("")
        row: list[Cell | str] = [
            f"{len(now):,}",
            format_kib(rss),
            format_kib(footprint),
            format_moment_short(latest),
            growing,
            printable(name) or "-",
        ]
        rows.append(((name, -(footprint or 0), -(rss or 0), -len(now)), Line(row, name)))
    place = HOST_SORTS.index(sort)
    rows.sort(key=lambda item: (item[0][place], item[0][0]), reverse=reverse)
    header = ["Processes", "Rss", "Footprint", "Last seen", "Growing", "Host"]
    header[(5, 2, 1, 0)[place]] += _arrow(sort == "name", reverse=reverse)
    return Sheet(tuple(Column(title, place in (3, 4, 5)) for place, title in enumerate(header)), tuple(line for _, line in rows))


def _sum(values: Sequence[int | None]) -> int | None:
    """The sum of what is known of all; None if one lacks it."""
    return None if None in values else sum(value or 0 for value in values)
