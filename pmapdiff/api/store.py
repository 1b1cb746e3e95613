"""A store, and saved files, for programs: what the commands do, as objects."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, overload

from pmapdiff import store as database
from pmapdiff.api.asked import HostNames, Pids, When, filter_of, kills_of, span_of, words_of
from pmapdiff.api.look import DEFAULT_WITHIN, classifier_of, find_growth, find_history
from pmapdiff.api.results import Diff, History, Hosts, Leaks, Processes, Series, Snapshots, Table, Tables
from pmapdiff.api.source import Progress, Source
from pmapdiff.errors import NotFoundError, PmapdiffWarning, UsageError
from pmapdiff.model import Snapshot
from pmapdiff.report import View
from pmapdiff.report.shape import by_growth
from pmapdiff.report.words import process_title
from pmapdiff.store import ProcessFilter
from pmapdiff.text import printable

if TYPE_CHECKING:
    from types import TracebackType

    from pmapdiff.api.report import Report

_TOLD = 5


class Store:
    """A store that is only read. Use `open`; in a `with` block it is closed at the end.

    `pid` (one or several) and `name` (a regular expression) choose processes wherever they can be given, as `--pid` and `--name` do, and `host` (a
    name or a pattern, or several) hosts, as `--host` does. `buckets` is a file of rules for families of one's own. `partial` and `input_format` are
    about saved files, as the options are.
    """

    def __init__(self, location: str | os.PathLike[str] | None = None) -> None:
        self._location = os.fspath(location) if location is not None else os.environ.get("PMAPDIFF_DB") or database.default_location()
        self._opened: database.Store | None = None

    @property
    def location(self) -> str:
        """Where it is; of a URL without its password."""
        return self._database().location

    def close(self) -> None:
        """Let go of the database; it is opened again if it is needed."""
        if self._opened is not None:
            self._opened.engine.dispose()
            self._opened = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def snapshots(self, limit: int | None = None, *, host: HostNames = None) -> Snapshots:
        """The newest snapshots, all of them without a limit, the oldest first."""
        return Snapshots(self._database().snapshots(limit, filter_of(None, None, host)))

    def hosts(self, *, host: HostNames = None) -> Hosts:
        """The hosts, by their names: what there is of each, when it was last heard of, how late that arrived, and how its clock stands."""
        return Hosts(self._database().hosts(filter_of(None, None, host)))

    def processes(self, *, pid: Pids = None, name: str | None = None, host: HostNames = None) -> Processes:
        """The processes that have a table, those that grew most first."""
        return Processes(sorted(self._database().processes(filter_of(pid, name, host)), key=by_growth))

    def tables(
        self,
        when: When = "latest",
        *,
        pid: Pids = None,
        name: str | None = None,
        host: HostNames = None,
        buckets: str | None = None,
        partial: bool = False,
        input_format: str | None = None,
    ) -> Tables:
        """The mapping tables of a snapshot or a saved file. Raises NotFoundError if it has none of a wanted process."""
        wanted = filter_of(pid, name, host)
        (snapshot,) = self._load(wanted, (when,), partial, input_format)
        return Tables(snapshot, View(by="mapping", classifier=classifier_of(buckets)))

    def table(
        self,
        when: When = "latest",
        *,
        pid: Pids = None,
        name: str | None = None,
        host: HostNames = None,
        buckets: str | None = None,
        partial: bool = False,
        input_format: str | None = None,
    ) -> Table:
        """The mapping table of one process. Raises NotFoundError if there is none, UsageError if it could be that of several."""
        found = self.tables(when, pid=pid, name=name, host=host, buckets=buckets, partial=partial, input_format=input_format)
        if len(found) == 1:
            return found[0]
        if not found:
            status = ", ".join(sorted({str(capture.status) for capture in found.without_table}))
            raise NotFoundError(f"there is no table of it{f': the capture is marked {status}' if status else ''}")
        titles = ", ".join(process_title(table.process) for table in found[:_TOLD])
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        raise UsageError(f"that could be {titles}{more}: say which by pid, or take them all with tables()")

    @overload
    def compare(
        self,
        before: When,
        after: When,
        /,
        *,
        pid: Pids = ...,
        name: str | None = ...,
        host: HostNames = ...,
        same: bool | None = ...,
        buckets: str | None = ...,
        partial: bool = ...,
        input_format: str | None = ...,
    ) -> Diff: ...
    @overload
    def compare(
        self,
        before: When,
        after: When,
        third: When,
        /,
        *more: When,
        pid: Pids = ...,
        name: str | None = ...,
        host: HostNames = ...,
        same: bool | None = ...,
        buckets: str | None = ...,
        partial: bool = ...,
        input_format: str | None = ...,
    ) -> Series: ...
    def compare(
        self,
        before: When,
        after: When,
        /,
        *more: When,
        pid: Pids = None,
        name: str | None = None,
        host: HostNames = None,
        same: bool | None = None,
        buckets: str | None = None,
        partial: bool = False,
        input_format: str | None = None,
    ) -> Diff | Series:
        """What changed between two snapshots or saved files; of more, their figures side by side.

        `same` says of saved files whether they are moments of one process (`--same`) or not (`--restarted`). Raises NotFoundError.
        """
        classifier = classifier_of(buckets)
        snapshots = self._load(filter_of(pid, name, host), (before, after, *more), partial, input_format)
        view = View(classifier=classifier)
        if more:
            from pmapdiff.align import trace

            return Series(trace(snapshots, same=same, across_hosts=True, classifier=classifier), view)
        from pmapdiff.compare import compare_snapshots

        return Diff(compare_snapshots(*snapshots, same=same, classifier=classifier), view)

    def history(
        self,
        region: str | None = None,
        *,
        family: str | None = None,
        pid: Pids = None,
        name: str | None = None,
        host: HostNames = None,
        since: When | None = None,
        until: When | None = None,
        buckets: str | None = None,
    ) -> History:
        """Regions over time: one (`[heap]`, an address, an id), those of a family, or all. Raises NotFoundError if there is none."""
        classifier = classifier_of(buckets)
        wanted, span = filter_of(pid, name, host), span_of(since, until)
        found = find_history(self._database(), wanted, span, region=region, family=family, classifier=classifier, counted=_uncounted)
        return History(found, View(classifier=classifier))

    def leaks(
        self,
        *,
        pid: Pids = None,
        name: str | None = None,
        host: HostNames = None,
        since: When | None = None,
        until: When | None = None,
        family: str | None = None,
        within: str = DEFAULT_WITHIN,
        oom_log: str | os.PathLike[str] | None = None,
        buckets: str | None = None,
    ) -> Leaks:
        """What keeps growing, since when, how fast, and what to do next. Raises NotFoundError if there is no such process in that time."""
        classifier = classifier_of(buckets)
        found = find_growth(
            self._database(),
            filter_of(pid, name, host),
            span_of(since, until),
            family=family,
            within=within,
            kills=kills_of(oom_log),
            classifier=classifier,
            counted=_uncounted,
        )
        return Leaks(found, View(classifier=classifier))

    def report(
        self,
        *whens: When,
        pid: Pids = None,
        name: str | None = None,
        host: HostNames = None,
        since: When | None = None,
        until: When | None = None,
        within: str = DEFAULT_WITHIN,
        oom_log: str | os.PathLike[str] | None = None,
        redact: bool = False,
        redact_rules: Iterable[str] = (),
        buckets: str | None = None,
        partial: bool = False,
        input_format: str | None = None,
    ) -> Report:
        """A page with pictures: of all snapshots from one WHEN to another, of saved files, or of a span. Raises NotFoundError, UsageError."""
        from pmapdiff.api.report import Report
        from pmapdiff.api.story import content_without_names, find_story
        from pmapdiff.report.visual.build import content_of

        wanted, rules = filter_of(pid, name, host), list(redact_rules)
        story = find_story(
            self._database,
            Source(self._database, wanted, say=_warn, progress=_no_progress, form=input_format, partial=partial),
            [words_of(when) for when in whens],
            wanted,
            span_of(since, until),
            within=within,
            kills=kills_of(oom_log),
            classifier=classifier_of(buckets),
            counted=_uncounted,
        )
        content = content_of(story)
        return Report(content_without_names(content, story, rules) if redact or rules else content)

    def __repr__(self) -> str:
        return f"<Store: {printable(self.location)}>"

    def _repr_html_(self) -> str:
        return self._newest()._repr_html_()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002 - IPython gives them
        shown = self._newest()._repr_mimebundle_()
        return {**shown, "text/plain": f"{self!r}\n{shown['text/plain']}"}

    def _newest(self) -> Snapshots:
        """What a notebook shows of it."""
        return self.snapshots(limit=20)

    def _database(self) -> database.Store:
        if self._opened is None:
            self._opened = database.Store.open(self._location)
        return self._opened

    def _load(self, wanted: ProcessFilter, whens: Iterable[When], partial: bool, form: str | None) -> list[Snapshot]:
        source = Source(self._database, wanted, say=_warn, progress=_no_progress, form=form, partial=partial)
        found = source.load(*map(words_of, whens))
        source.demand(*found)
        return found


def open_store(location: str | os.PathLike[str] | None = None) -> Store:
    """Open a store to read it: the path of an SQLite file, or a URL; without one what PMAPDIFF_DB says, or else where the commands keep it.

    Raises NotFoundError if there is none, StoreError if it cannot be used.
    """
    store = Store(location)
    store._database()
    return store


@overload
def compare(
    before: When,
    after: When,
    /,
    *,
    pid: Pids = ...,
    name: str | None = ...,
    host: HostNames = ...,
    same: bool | None = ...,
    partial: bool = ...,
    input_format: str | None = ...,
) -> Diff: ...
@overload
def compare(
    before: When,
    after: When,
    third: When,
    /,
    *more: When,
    pid: Pids = ...,
    name: str | None = ...,
    host: HostNames = ...,
    same: bool | None = ...,
    partial: bool = ...,
    input_format: str | None = ...,
) -> Series: ...
def compare(
    before: When,
    after: When,
    /,
    *more: When,
    pid: Pids = None,
    name: str | None = None,
    host: HostNames = None,
    same: bool | None = None,
    partial: bool = False,
    input_format: str | None = None,
) -> Diff | Series:
    """What changed between two saved files, or snapshots of the store that the commands use: `Store.compare`. Raises NotFoundError, FormatError."""
    with Store() as store:
        return store.compare(before, after, *more, pid=pid, name=name, host=host, same=same, partial=partial, input_format=input_format)


def tables(
    when: When, *, pid: Pids = None, name: str | None = None, host: HostNames = None, partial: bool = False, input_format: str | None = None
) -> Tables:
    """The mapping tables in a saved file, or in a snapshot of the store that the commands use: `Store.tables`. Raises NotFoundError, FormatError."""
    with Store() as store:
        return store.tables(when, pid=pid, name=name, host=host, partial=partial, input_format=input_format)


def table(
    when: When, *, pid: Pids = None, name: str | None = None, host: HostNames = None, partial: bool = False, input_format: str | None = None
) -> Table:
    """The mapping table of one process in a saved file or snapshot: `Store.table`. Raises NotFoundError, FormatError, UsageError."""
    with Store() as store:
        return store.table(when, pid=pid, name=name, host=host, partial=partial, input_format=input_format)


def _warn(text: str) -> None:
    """A warning that points at the line that called us."""
    depth, frame = 1, sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "pmapdiff":
        depth, frame = depth + 1, frame.f_back
    warnings.warn(text, PmapdiffWarning, stacklevel=depth)


class _NoProgress:
    def draw(self, text: str) -> None:
        """Nobody looks."""


@contextmanager
def _no_progress() -> Iterator[Progress]:
    yield _NoProgress()


def _uncounted(snapshots: Iterable[Snapshot], _number: int) -> Iterable[Snapshot]:
    return snapshots
