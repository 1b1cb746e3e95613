"""What a program gets: results that can be looked through, and taken as text, HTML, JSON or a frame, as the commands write them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypedDict, TypeVar, Unpack, overload

from pmapdiff.align import History as FoundHistory
from pmapdiff.align import ServiceHistory
from pmapdiff.analyse.result import Leaks as FoundLeaks
from pmapdiff.analyse.result import Suspect, Verdict
from pmapdiff.compare import Comparison, ProcessComparison
from pmapdiff.model import Capture, Mapping, ProcessInfo, Snapshot, SnapshotRef, Totals
from pmapdiff.report import View, check_by, write_report
from pmapdiff.report.page import html_of
from pmapdiff.report.words import headline, process_title, snapshot_words
from pmapdiff.store import HostSummary, ProcessSummary, SnapshotSummary
from pmapdiff.text import printable
from pmapdiff.units import format_kib, format_moment_short, parse_size_kib, plural

if TYPE_CHECKING:
    import pandas as pd


R = TypeVar("R")
T = TypeVar("T")

# A table may have 65,000 rows; a notebook shows those that matter.
_ROWS_IN_A_NOTEBOOK = 30


class Look(TypedDict, total=False):
    """How to look at a result; each word is an option of the command, and means the same.

    `by` is what a row is of: region, family or process; of a table mapping or family. `sort` is a figure (`rss`), `name` or `address`. `threshold`
    is a size (`"64K"`, a number is KiB) below which things are summed up, `top` the number of rows, 0 for all. `explain` adds why each mapping is
    of its family.
    """

    by: str
    sort: str | None
    threshold: str | int | None
    top: int | None
    explain: bool


class Result(Generic[R]):
    """Something that was found, `result`, which is frozen; and the forms in which it can be had.

    A form takes the options of `Look` that its command has. Raises TypeError for one that it does not have, and UsageError for a value that is none.
    """

    _subject: ClassVar[str]
    _options: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, result: R, view: View | None = None) -> None:
        self.result = result
        self._view = view or View()

    def text(self, *, width: int | None = None, colour: bool = False, **look: Unpack[Look]) -> str:
        """What the command prints, in at most so many columns (None: nothing is cut); with `colour` as on a terminal."""
        return self._form("text", replace(self._viewed(look), width=width, colour=colour))

    def json(self, **look: Unpack[Look]) -> str:
        """What the command prints with `--format json`: the contract with scripts."""
        return self._form("json", self._viewed(look))

    def data(self, **look: Unpack[Look]) -> dict[str, Any]:
        """The same as Python's own values."""
        value: dict[str, Any] = json.loads(self.json(**look))
        return value

    def csv(self, **look: Unpack[Look]) -> str:
        """What the command prints with `--format csv`; names that a spreadsheet would take for a formula are marked."""
        return self._form("csv", self._viewed(look))

    def frame(self, **look: Unpack[Look]) -> pd.DataFrame:
        """The rows of the CSV as a pandas frame. Figures are nullable integers (`Int64`) in KiB, moments aware UTC timestamps, names as they are."""
        from pmapdiff.report.frames import frame_of

        return frame_of(self._subject, self.result, self._viewed(look))

    def html(self, **look: Unpack[Look]) -> str:
        """What the text says as a part of an HTML document: everything escaped, no script, nothing to be loaded."""
        return html_of(self._subject, self.result, self._viewed(look))

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._summary()}>"

    def _repr_html_(self) -> str:
        return html_of(self._subject, self.result, self._in_a_notebook())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002 - IPython gives them
        """For IPython and Jupyter: the report, not one line."""
        width = shutil.get_terminal_size().columns
        return {"text/plain": self._form("text", replace(self._in_a_notebook(), width=width)).rstrip("\n"), "text/html": self._repr_html_()}

    def _summary(self) -> str:
        """One line about it, safe to print."""
        raise NotImplementedError

    def _in_a_notebook(self) -> View:
        return self._view

    def _form(self, form: str, view: View) -> str:
        out = StringIO()
        write_report(self._subject, form, self.result, view, out)
        return out.getvalue()

    def _viewed(self, look: Look) -> View:
        for option in look:
            if option not in self._options:
                raise TypeError(f"{type(self).__name__} takes no {option!r}: one of {', '.join(sorted(self._options)) or 'none'}")
        chosen: dict[str, Any] = {**look}
        if "by" in chosen:
            check_by({"series": "compare"}.get(self._subject, self._subject), chosen["by"])
        if "threshold" in chosen:
            size = chosen.pop("threshold")
            chosen["threshold_kib"] = 0 if size is None else parse_size_kib(str(size))
        return replace(self._view, **chosen)


class Marked(Result[R]):
    """A result that can be had for a ticket, too."""

    def markdown(self, **look: Unpack[Look]) -> str:
        """What the command prints with `--format markdown`; names cannot become links or images."""
        return self._form("markdown", self._viewed(look))


class Rows(Result[R], Sequence[T]):
    """A result that is a list."""

    def _rows(self) -> Sequence[T]:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._rows())

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        return self._rows()[place]

    def __iter__(self) -> Iterator[T]:
        return iter(self._rows())


class Snapshots(Rows[Sequence[SnapshotSummary], SnapshotSummary]):
    """Snapshots, the oldest first: each has `ref` (a SnapshotRef), `statuses`, `mappings`, `rss_kib` and `footprint_kib`."""

    _subject = "snapshots"

    def _rows(self) -> Sequence[SnapshotSummary]:
        return self.result

    def _summary(self) -> str:
        words = plural(len(self), "snapshot")
        ends = list(dict.fromkeys(format_moment_short(row.ref.taken_at_us) for row in (*self[:1], *self[-1:])))
        return f"{words}{' of ' if ends else ''}{' to '.join(ends)}"


class Processes(Rows[Sequence[ProcessSummary], ProcessSummary]):
    """Processes, those that grew most first: each has `process`, `first` and `last` (SnapshotRef), and its totals then."""

    _subject = "processes"

    def _rows(self) -> Sequence[ProcessSummary]:
        return self.result

    def _summary(self) -> str:
        return plural(len(self), "process", "processes")


class Hosts(Rows[Sequence[HostSummary], HostSummary]):
    """Hosts by their names: each has `host`, `snapshots`, `last` (SnapshotRef), `age_us`, `gap_us`, `silent`, `lag_us` and `clock_offset_us`."""

    _subject = "hosts"

    def _rows(self) -> Sequence[HostSummary]:
        return self.result

    def _summary(self) -> str:
        silent = sum(row.silent for row in self)
        return f"{plural(len(self), 'host')}{f', {silent} silent' if silent else ''}"


class Table(Rows[Snapshot, Mapping]):
    """The mapping table of one process in one snapshot: its mappings, in the order of their addresses."""

    _subject = "show"
    _options = frozenset(("by", "sort", "top", "explain"))

    @property
    def snapshot(self) -> SnapshotRef:
        """Which snapshot it is from."""
        return self.result.ref

    @property
    def capture(self) -> Capture:
        """All that was captured: the status, threads, the cgroup's limit and usage, how long the read took."""
        return self.result.captures[0]

    @property
    def process(self) -> ProcessInfo:
        """Whose table it is."""
        return self.capture.process

    @property
    def totals(self) -> Totals | None:
        """The number of mappings and the sums of the figures in KiB: `totals.get("rss_kib")`."""
        return self.capture.sums

    def families(self) -> list[str]:
        """What each mapping is for, in the order of the mappings."""
        return [verdict.family for verdict in self._view.classifier.explain(self.capture)]

    def _rows(self) -> Sequence[Mapping]:
        table = self.capture.table
        return () if table is None else table.mappings

    def _summary(self) -> str:
        rss = None if self.totals is None else self.totals.get("rss_kib")
        return f"{process_title(self.process)}, {plural(len(self), 'mapping')}, Rss {format_kib(rss)}, {snapshot_words(self.snapshot)}"

    def _in_a_notebook(self) -> View:
        return self._view if len(self) <= _ROWS_IN_A_NOTEBOOK else replace(self._view, sort="rss", top=_ROWS_IN_A_NOTEBOOK)


class Tables(Rows[Snapshot, Table]):
    """The mapping tables of a snapshot. `without_table` are the captures that have none: denied, vanished, timed out."""

    _subject = "show"
    _options = Table._options

    @property
    def snapshot(self) -> SnapshotRef:
        """Which snapshot it is."""
        return self.result.ref

    @property
    def without_table(self) -> tuple[Capture, ...]:
        """What was captured without a table."""
        return tuple(capture for capture in self.result.captures if capture.table is None)

    def _rows(self) -> Sequence[Table]:
        return [Table(Snapshot(self.result.ref, (capture,)), self._view) for capture in self.result.captures if capture.table is not None]

    def _summary(self) -> str:
        return f"{plural(len(self), 'table')}, {snapshot_words(self.snapshot)}"

    def _in_a_notebook(self) -> View:
        return replace(self._view, by="family")


class Diff(Marked[Comparison]):
    """What changed between two snapshots."""

    _subject = "compare"
    _options = frozenset(("by", "sort", "threshold", "top", "explain"))

    @property
    def before(self) -> SnapshotRef:
        """The earlier snapshot."""
        return self.result.before

    @property
    def after(self) -> SnapshotRef:
        """The later one."""
        return self.result.after

    @property
    def processes(self) -> tuple[ProcessComparison, ...]:
        """Each process with its changes, the largest change first."""
        return self.result.processes

    def changed(self, threshold: str | int | None = None) -> bool:
        """Whether anything changed, by as much as the threshold if there is one: what `--exit-code` says."""
        from pmapdiff.report.shape import found_changes

        return found_changes(self.result, self._viewed({"threshold": threshold}))

    def _summary(self) -> str:
        words = [headline(process, self.result) for process in self.processes[:1]] or ["no process in either snapshot"]
        more = f", and {plural(len(self.processes) - 1, 'more process', 'more processes')}" if len(self.processes) > 1 else ""
        return f"{_short(self.before)} → {_short(self.after)}: {words[0]}{more}"


class History(Result[FoundHistory]):
    """Regions over time, service by service."""

    _subject = "history"
    _options = frozenset(("by", "sort", "threshold", "top"))

    @property
    def snapshots(self) -> tuple[SnapshotRef, ...]:
        """The snapshots, in their order."""
        return self.result.snapshots

    @property
    def services(self) -> tuple[ServiceHistory, ...]:
        """The services with their regions."""
        return self.result.services

    def _summary(self) -> str:
        regions = plural(sum(len(service.regions) for service in self.services), "region")
        return f"{regions} of {plural(len(self.services), 'service')} over {plural(len(self.snapshots), 'snapshot')}"


class Series(History, Marked[FoundHistory]):
    """More than two snapshots side by side."""

    _subject = "series"


class Leaks(Rows[FoundLeaks, Suspect], Marked[FoundLeaks]):
    """What is said of each service, the worst first."""

    _subject = "leaks"
    _options = frozenset(("top",))

    @property
    def growing(self) -> list[Suspect]:
        """Those that keep growing."""
        return [suspect for suspect in self if suspect.verdict is Verdict.GROWING]

    @property
    def urgent(self) -> list[Suspect]:
        """Those of which something fills the memory or reaches a limit within the time that was asked for."""
        return [suspect for suspect in self if suspect.urgent]

    def _rows(self) -> Sequence[Suspect]:
        return self.result.processes

    def _summary(self) -> str:
        from pmapdiff.report.leak_words import headline as leaks_headline

        return leaks_headline(self.result)


def _short(ref: SnapshotRef) -> str:
    return f"#{ref.id}" if ref.id is not None else printable(ref.source)
