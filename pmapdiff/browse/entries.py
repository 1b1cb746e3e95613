"""The rows of the lists: hosts, and services, first as the store sums them up, then as a series knows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from pmapdiff.align import History, ServiceHistory
from pmapdiff.analyse.result import Leaks, Suspect, Verdict
from pmapdiff.model import ProcessIdentity, ProcessInfo, Totals
from pmapdiff.report.base import View
from pmapdiff.report.leak_shape import main_finding
from pmapdiff.report.leak_words import counts_words, growth_words, style_of, what_words
from pmapdiff.report.sparkline import sparkline, with_gaps
from pmapdiff.report.table import Cell, Line, Sheet, delta_cell
from pmapdiff.report.words import process_title
from pmapdiff.store import ProcessSummary
from pmapdiff.text import printable
from pmapdiff.units import format_kib, format_moment_short

PROCESS_SORTS = ("growth", "footprint", "rss", "size", "verdict", "pid", "name")
HOST_SORTS = ("name", "footprint", "rss", "processes")
_VERDICTS = tuple(Verdict)
_NARROW_BLOCKS, _WIDE_BLOCKS = 8, 20
# The next best where a table has no footprint.
_GROWN = ("footprint_kib", "rss_kib", "size_kib")

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
    def growth(self) -> int:
        """The growth of the footprint, or of the next best figure."""
        return next((grown for name in _GROWN if (grown := self.grown(name)) is not None), 0)


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
    return [
        entry
        for entry in found
        if query.casefold() in f"{title_of(entry)} {printable(entry.host)} {printable(entry.process.command_line)}".casefold()
    ]


def title_of(entry: Entry) -> str:
    """`redis-server 1100`, `worker 1200, gone`."""
    return process_title(entry.process) + (", gone" if entry.gone else "")


def process_sheet(entries: Sequence[Entry], verdicts: Verdicts, view: View, sort: str, *, reverse: bool) -> Sheet:
    """A row a service; wide screens have more columns."""
    wide = view.is_wide
    key: Callable[[Entry], tuple[Hashable, ...]]
    if sort == "verdict":
        key = lambda e: (_VERDICTS.index(s.verdict) if (s := verdicts.get(e)) else len(_VERDICTS), not (s and s.urgent), -e.growth, e.process.pid)  # noqa: E731
    elif sort == "name":
        key = lambda e: (title_of(e).casefold(), e.process.pid)  # noqa: E731
    elif sort == "pid":
        key = lambda e: (e.process.pid,)  # noqa: E731
    elif sort == "growth":
        key = lambda e: (-e.growth, e.process.pid)  # noqa: E731
    else:
        key = lambda e: (-(e.figure(f"{sort}_kib") or 0), e.process.pid)  # noqa: E731
    several = len({entry.host for entry in entries}) > 1
    lines = [Line(_cells(entry, verdicts.get(entry), wide, several), entry) for entry in sorted(entries, key=key, reverse=reverse)]
    titles = {
        "pid": "PID",
        **({"": "Snaps", "size": "Size"} if wide else {}),
        "rss": "Rss",
        "footprint": "Footprint",
        "growth": "± first",
    }
    header = [*titles.values(), "Over time", "Verdict", *(["Growth", "What"] if wide else []), "Process"]
    left = {"Over time", "Verdict", "What", "Process"}
    places = {"verdict": header.index("Verdict"), "name": len(header) - 1, **{name: place for place, name in enumerate(titles)}}
    header[places[sort]] += _arrow(sort in ("pid", "name", "verdict"), reverse=reverse)
    return Sheet(tuple(header), frozenset(place for place, title in enumerate(header) if title.rstrip("▲▼") in left), tuple(lines))


def _arrow(rises: bool, *, reverse: bool) -> str:
    return "▲" if rises != reverse else "▼"


def _cells(entry: Entry, suspect: Suspect | None, wide: bool, several: bool) -> list[Cell | str]:
    blocks = sparkline(entry.blocks, _WIDE_BLOCKS if wide else _NARROW_BLOCKS)
    verdict = Cell("") if suspect is None else Cell(suspect.verdict.value, style_of(suspect.verdict, urgent=suspect.urgent))
    finding = None if suspect is None else main_finding(suspect)
    more: list[Cell | str] = []
    if wide:
        rate = "" if suspect is None else growth_words(*((suspect.trend, suspect.figure) if finding is None else (finding.trend, finding.figure)))
        more = [rate, "" if finding is None else what_words(finding)]
    return [
        str(entry.process.pid or "-"),
        *([f"{entry.captures:,}", format_kib(entry.figure("size_kib"))] if wide else []),
        format_kib(entry.figure("rss_kib")),
        format_kib(entry.figure("footprint_kib")),
        delta_cell(next((grown for name in _GROWN if (grown := entry.grown(name)) is not None), None)),
        blocks,
        verdict,
        *more,
        Cell(title_of(entry) + (f" on {printable(entry.host)}" if several else ""), "dim" if entry.gone else ""),
    ]


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
    return Sheet(tuple(header), frozenset([3, 4, 5]), tuple(line for _, line in rows))


def _sum(values: Sequence[int | None]) -> int | None:
    """The sum of what is known of all; None if one lacks it."""
    return None if None in values else sum(value or 0 for value in values)
