"""Out-of-memory reports put together from their lines, which may be mixed with other lines and with those of another report, or be missing."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pmapdiff.formats import oom_lines as lines
from pmapdiff.formats.log_lines import When, when_of, without_prefix
from pmapdiff.model.oom import OomKill, OomReport, OomTask

# A host is seldom out of memory in more than one cgroup at a time; the kernel has one lock for it (oom_lock).
_MOST_OPEN = 8
# How far apart the lines of one report are: those of a large table take a while on a serial console.
_REPORT_SECONDS = 60.0
_MOST_KILLS = 20_000
_MOST_TASKS = 200_000
# A kill is told again soon, by another line or by who reads the log, if at all.
_RECENT = 16
_PAGE_SIZES_KIB = (4, 8, 16, 32, 64, 256)


class Said(NamedTuple):
    """A message, and when its line says that it was written."""

    text: bytes
    reference_us: int
    beside: When | None = None
    """What is said of the time elsewhere than before the message."""

    def when(self, position: int) -> When:
        """When the message at a position in the text was written."""
        found = when_of(self.text[:position], self.reference_us)
        if self.beside is None:
            return found
        since_boot_s = self.beside.since_boot_s if found.since_boot_s is None else found.since_boot_s
        return When(found.time_us or self.beside.time_us, since_boot_s, found.caller)


@dataclass
class _Open:
    """A report of which lines are still to come."""

    order: int
    when: When
    invoked_by: bytes | None = None
    constraint: str | None = None
    limited: bytes | None = None
    usage_kib: int | None = None
    limit_kib: int | None = None
    ram_pages: int | None = None
    columns: tuple[str, ...] | None = None
    rows: dict[int, lines.Row] = field(default_factory=dict)
    threads: dict[int, int] = field(default_factory=dict)
    chosen: lines.Context | None = None
    group: bytes | None = None
    ended: bool = False
    built: OomReport | None = None

    def row(self, pid: int) -> lines.Row | None:
        """The row of a process, also if a thread of it is meant."""
        return self.rows.get(pid) or self.rows.get(self.threads.get(pid, -1))


class Kills:
    """What was killed, by the lines taken so far."""

    def __init__(self) -> None:
        self.seen_begin = False
        """Whether any report began."""
        # A name may have a line's end in it, and so has its line then.
        self._held: Said | None = None
        self._open: deque[_Open] = deque()
        self._kills: dict[int, OomKill] = {}
        self._known: dict[tuple[Any, ...], int] = {}
        self._orders: deque[int] = deque()
        self._recent: deque[int] = deque(maxlen=_RECENT)
        self._tables: deque[int] = deque()
        self._rows = 0
        self._order = 0
        self._page_kib = _PAGE_SIZES_KIB[0]

    def all(self) -> list[OomKill]:
        """What was killed; reports that have no end count with what they say."""
        if self._held is not None:
            self._take(self._held)
            self._held = None
        while self._open:
            self._close(self._open.popleft())
        kills = [kill for _, kill in sorted(self._kills.items())]
        if all(kill.time_us is not None for kill in kills):
            kills.sort(key=lambda kill: kill.time_us or 0)
        return kills

    def take(self, said: Said) -> None:
        """Take one message for what it says."""
        held, self._held = self._held, None
        if held is None and b"Killed process" not in said.text:
            self._take(said)
            return
        if held is not None and lines.REST_OF_KILLED.search(said.text) and not lines.KILLED.search(said.text):
            said = held._replace(text=held.text + b"\n" + said.text.lstrip())
        elif held is not None:
            self._take(held)
        if lines.KILLED_ALONE.search(said.text) and not lines.REST_OF_KILLED.search(said.text):
            self._held = said
        else:
            self._take(said)

    def _take(self, said: Said) -> None:
        self._order += 1
        # Names stand behind the words of the kernel, so the first of these is the kernel's.
        kind = lines.KINDS.search(said.text)
        if kind is not None and kind.lastgroup is not None:
            self.seen_begin = self.seen_begin or kind.lastgroup in ("invoked", "context", "heading")
            match = getattr(lines, kind.lastgroup.upper()).search(said.text)
            if match is not None:
                getattr(self, f"_{kind.lastgroup}")(match, said)
        elif self._tables_open:
            self._row(said)

    def _invoked(self, match: re.Match[bytes], said: Said) -> None:
        name = lines.name_of(without_prefix(said.text[: match.start()]).lstrip())
        self._begin(said.when(match.start())).invoked_by = name

    def _context(self, match: re.Match[bytes], said: Said) -> None:
        context = lines.context_of(said.text[match.end() :])
        report = self._choosing(said.when(match.start()), context.pid, context.name)
        report.constraint, report.limited, report.chosen = context.constraint, context.limited, context

    def _chosen(self, match: re.Match[bytes], said: Said) -> None:
        pid, name = int(match["pid"]), lines.name_of(match["name"])
        report = self._choosing(said.when(match.start()), pid, name)
        report.constraint = report.constraint or _constraint(match["how"])
        report.chosen = lines.Context(None, None, report.chosen.cgroup if report.chosen else None, name, pid, None)

    def _old_limit(self, match: re.Match[bytes], said: Said) -> None:
        report = self._current(said.when(match.start()))
        report.limited, report.constraint = match[2], "memcg"
        report.chosen = lines.Context("memcg", match[2], match[1], None, None, None)

    def _limits(self, match: re.Match[bytes], said: Said) -> None:
        report = self._current(said.when(match.start()))
        report.usage_kib, report.limit_kib, report.constraint = int(match[1]), lines.limit_of(int(match[2])), "memcg"

    def _heading(self, match: re.Match[bytes], said: Said) -> None:
        self._current(said.when(match.start())).columns = lines.columns_of(match)

    def _ram(self, match: re.Match[bytes], said: Said) -> None:
        self._current(said.when(match.start())).ram_pages = int(match[1])

    def _group(self, match: re.Match[bytes], said: Said) -> None:
        self._latest(said.when(match.start())).group = match[1]

    def _victim(self, match: re.Match[bytes], said: Said) -> None:
        report = OomReport(_constraint(match["how"]))
        self._add(OomKill(int(match["pid"]), lines.name_of(match["name"]), *said.when(match.start())[:2], report=report))

    def _oomd(self, match: re.Match[bytes], said: Said) -> None:
        self._add(OomKill(None, None, *said.when(match.start())[:2], cgroup=match["path"], killer="systemd-oomd"))

    def _begin(self, when: When) -> _Open:
        report = _Open(self._order, when)
        self._open.append(report)
        if len(self._open) > _MOST_OPEN:
            self._close(self._open.popleft())
        return report

    def _near(self, when: When) -> Iterator[_Open]:
        """The reports that a line of this time and caller may be of, the latest first."""
        for report in reversed(self._open):
            has_caller = None in (when.caller, report.when.caller) or when.caller == report.when.caller
            if has_caller and _is_near(when, report.when):
                yield report

    def _latest(self, when: When) -> _Open:
        return next(self._near(when), None) or self._begin(when)

    def _current(self, when: When) -> _Open:
        """The report that a line of its beginning is of."""
        return next((report for report in self._near(when) if not report.ended), None) or self._begin(when)

    def _choosing(self, when: When, pid: int | None, name: bytes | None) -> _Open:
        """The report that a line is of which says what will be killed."""
        near = [report for report in self._near(when) if not report.ended]
        free = [report for report in near if report.chosen is None or report.chosen.pid is None]
        return (
            next((report for report in near if report.chosen and report.chosen.pid == pid), None)
            or next((report for report in free if report.invoked_by == name), None)
            or (free[0] if free else self._begin(when))
        )

    @property
    def _tables_open(self) -> list[_Open]:
        return [report for report in self._open if report.columns and not report.ended]

    def _row(self, said: Said) -> None:
        tables = self._tables_open
        row = lines.row_of(said.text, tables[-1].columns or ())
        if row is None or sum(len(report.rows) for report in self._open) >= _MOST_TASKS:
            return
        report = tables[-1]
        if len(tables) > 1 and report.when.caller is not None:
            caller = said.when(row.begin).caller
            report = next((report for report in reversed(tables) if caller == report.when.caller), report)
            row = lines.row_of(said.text, report.columns or ()) or row
        report.rows[row.figures["tgid"]] = row
        if row.figures["pid"] != row.figures["tgid"]:
            report.threads[row.figures["pid"]] = row.figures["tgid"]

    def _killed(self, match: re.Match[bytes], said: Said) -> None:
        pid, when = int(match["pid"]), said.when(match.start())
        name = lines.name_of(match["bare"] if match["name"] is None else match["name"])
        near = list(self._near(when))
        report = (
            next((report for report in near if report.chosen and report.chosen.pid == pid), None)
            or next((report for report in near if report.row(pid)), None)
            or next((report for report in near if report.group), None)
            # Of a child that was killed instead of its parent, in a log without the table.
            or next((report for report in near if not report.ended and not report.rows), None)
            or _Open(self._order, when, ended=True)
        )
        report.constraint = report.constraint or _constraint(match["how"])
        self._add(self._kill(report, pid, name, when, lines.figures_of(said.text[match.end() :], match["uid"])))
        report.ended = True

    def _close(self, report: _Open) -> None:
        """What a report without its last line says of what was killed."""
        if report.ended or report.chosen is None or report.chosen.pid is None:
            return
        nothing = lines.Figures(None, None, None, None, None, report.chosen.uid, None)
        self._order = report.order
        self._add(self._kill(report, report.chosen.pid, report.chosen.name, report.when, nothing))

    def _kill(self, report: _Open, pid: int, name: bytes | None, when: When, figures: lines.Figures) -> OomKill:
        row = report.row(pid)
        if row is not None and figures.total_vm_kib is not None:
            self._page_kib = _page_kib(row.figures["total_vm"], figures.total_vm_kib) or self._page_kib
        if report.built is None:
            report.built = _built(report, self._page_kib)
        kill = OomKill(
            row.figures["tgid"] if row else pid,
            name,
            when.time_us or report.when.time_us,
            report.when.since_boot_s if when.since_boot_s is None else when.since_boot_s,
            *figures[:4],
            None,
            *figures[4:],
            report=report.built,
        )
        chosen = report.chosen
        if chosen is not None and chosen.pid in (None, pid):
            kill = kill._replace(cgroup=chosen.cgroup, uid=chosen.uid if kill.uid is None else kill.uid)
        elif report.group is not None:
            kill = kill._replace(cgroup=report.group)
        return kill if row is None else _completed(kill, OomKill(pid, name, **_of_process(row, self._page_kib)))

    def _add(self, kill: OomKill) -> None:
        """Add what was killed, unless a line before has said so: logs are merged, and collectors repeat what they read."""
        key = (kill.pid, kill.name, *kill[4:8])
        order = self._known.get(key) if kill.total_vm_kib is not None else None
        if order is None and kill.pid is not None:
            order = next((order for order in self._recent if _is_same(kill, self._kills[order])), None)
        if order is not None:
            kill = _completed(self._kills[order], kill)
        else:
            order = self._order
            while order in self._kills:
                order += 1
            self._recent.append(order)
            self._orders.append(order)
        self._kills[order] = kill
        self._known[key] = order
        if len(self._kills) > _MOST_KILLS:
            # Not by what is first in the dictionary: that is looked for behind all that were deleted.
            oldest = self._kills.pop(self._orders.popleft())
            self._known.pop((oldest.pid, oldest.name, *oldest[4:8]), None)
        self._forget_tables(order)

    def _forget_tables(self, order: int) -> None:
        """Forget the oldest tables, of which this is the newest, if there are too many."""
        if self._kills[order].report.tasks and order not in self._tables:
            self._tables.append(order)
            self._rows += len(self._kills[order].report.tasks)
        while self._rows > _MOST_TASKS and len(self._tables) > 1:
            oldest = self._tables.popleft()
            if (kill := self._kills.get(oldest)) is not None:
                self._rows -= len(kill.report.tasks)
                self._kills[oldest] = kill._replace(report=kill.report._replace(tasks=()))


def _constraint(how: bytes | None) -> str | None:
    return None if how is None else "memcg" if b"group" in how.lower() else "system"


def _is_near(one: When, other: When) -> bool:
    """Whether two moments may be of one report, as far as both are known."""
    if one.since_boot_s is not None and other.since_boot_s is not None:
        return abs(one.since_boot_s - other.since_boot_s) <= _REPORT_SECONDS
    return one.time_us is None or other.time_us is None or abs(one.time_us - other.time_us) <= _REPORT_SECONDS * 1e6


def _is_same(one: OomKill, other: OomKill) -> bool:
    """Whether two lines may be of the same kill: of the same process, and one of them without figures."""
    if one.pid != other.pid or None not in (one.anon_rss_kib, other.anon_rss_kib):
        return False
    return (one.name == other.name or None in (one.name, other.name)) and _is_near(
        When(one.time_us, one.since_boot_s), When(other.time_us, other.since_boot_s)
    )


def _completed(kill: OomKill, other: OomKill) -> OomKill:
    """A kill with what another line says of it and this one does not."""
    missing = {name: value for name, value in other._asdict().items() if getattr(kill, name) is None and value is not None}
    said = kill.report
    report = {name: value for name, value in other.report._asdict().items() if getattr(said, name) in (None, ()) and value is not None}
    return kill._replace(**missing, report=said._replace(**report) if report else said)


def _page_kib(pages: int, kib: int) -> int | None:
    """The size of a page by one process's size in both; a process that goes on may have mapped or freed some in between."""
    size = min(_PAGE_SIZES_KIB, key=lambda size: abs(size * pages - kib))
    return size if pages > 0 and abs(size * pages - kib) * 4 <= kib else None


def _of_process(row: lines.Row, page_kib: int) -> dict[str, Any]:
    """What a row says of a process, by the names that tasks and kills share."""
    figures = row.figures
    tables = figures.get("pgtables_bytes")
    entries = [figures[name] for name in ("nr_ptes", "nr_pmds", "nr_puds") if name in figures]
    return {
        "uid": figures.get("uid"),
        "total_vm_kib": figures["total_vm"] * page_kib,
        **{f"{part}_rss_kib": figures[f"rss_{part}"] * page_kib if f"rss_{part}" in figures else None for part in ("anon", "file", "shmem")},
        "swap_kib": figures["swapents"] * page_kib if "swapents" in figures else None,
        "pgtables_kib": tables // 1024 if tables is not None else sum(entries) * page_kib if entries else None,
        "oom_score_adj": figures.get("oom_score_adj"),
    }


def _built(report: _Open, page_kib: int) -> OomReport:
    tasks = (
        OomTask(row.figures["tgid"], row.name, rss_kib=row.figures["rss"] * page_kib, **_of_process(row, page_kib)) for row in report.rows.values()
    )
    return OomReport(
        report.constraint,
        report.invoked_by,
        report.limited,
        report.usage_kib,
        report.limit_kib,
        None if report.ram_pages is None else report.ram_pages * page_kib,
        tuple(tasks),
    )
