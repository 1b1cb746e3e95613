"""WHEN: a snapshot of the store, or a saved file; the same for commands and programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pmapdiff.errors import NotFoundError, StoreError, UsageError
from pmapdiff.model import Snapshot, SnapshotRef
from pmapdiff.text import argument_text, printable

if TYPE_CHECKING:
    from pmapdiff.formats import SavedTable
    from pmapdiff.store import ProcessFilter, Store


class Progress(Protocol):
    """Where it is shown how far something is; the text is safe to print."""

    def draw(self, text: str) -> None:
        """Show a text instead of the last one."""


class Source:
    """Loads snapshots by what people call them; opens the store only if one of them is in it.

    `form` is that of saved files where their content does not tell, and with `partial` the whole part of one that was cut off is enough. What is
    wrong with a file that can be read all the same is given to `say`, a sentence at a time, safe to print.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        wanted: ProcessFilter,
        *,
        say: Callable[[str], None],
        progress: Callable[[], AbstractContextManager[Progress]],
        form: str | None = None,
        partial: bool = False,
    ) -> None:
        self._open_store = open_store
        self._wanted = wanted
        self._say = say
        self._progress = progress
        self._form = form
        self._partial = partial
        self._store: Store | None = None

    def load(self, *texts: str, of_one_host: bool = False) -> list[Snapshot]:
        """The snapshots that these WHENs mean, with the tables of the wanted processes.

        A path, or the name of a file that is no number, keyword or time, is a saved file, and "-" is standard input. A snapshot may hold none of the
        wanted processes. Raises NotFoundError; and UsageError if one of several, or one that has to be `of_one_host`, could be of any host.
        """
        found = [self._load_file(text) if self.is_file(text) else self._resolve(text) for text in texts]
        named = {argument_text(text): item for text, item in zip(texts, found, strict=True) if isinstance(item, SnapshotRef)}
        if self._store is not None and (of_one_host or len(texts) > 1):
            self._store.demand_one_host(named, self._wanted)
        refs = [item for item in found if isinstance(item, SnapshotRef)]
        loaded = iter(self._store.load_all(refs, self._wanted) if self._store is not None else ())
        return [next(loaded) if isinstance(item, SnapshotRef) else item for item in found]

    @staticmethod
    def is_file(text: str) -> bool:
        """Whether a WHEN is a saved file, and not a snapshot of the store."""
        return text == "-" or "/" in text or _is_file_name(text)

    def demand(self, *snapshots: Snapshot) -> None:
        """Raise NotFoundError if none of these snapshots holds a wanted process."""
        if not self._wanted.every_process and not any(snapshot.captures for snapshot in snapshots):
            names = " nor ".join(f"snapshot {s.ref.id}" if s.ref.id is not None else printable(s.ref.source) for s in snapshots)
            has = f"neither {names} has a" if len(snapshots) > 1 else f"{names} has no"
            raise NotFoundError(f"{has} process that matches {self._wanted.describe()}")

    def _resolve(self, text: str) -> SnapshotRef:
        try:
            if self._store is None:
                self._store = self._open_store()
            return self._store.resolve(argument_text(text), self._wanted)
        except (NotFoundError, StoreError) as error:
            if Path(text).suffix and not Path(text).exists():
                raise NotFoundError(f"there is no file {printable(text)!r}, and as a snapshot: {error}") from None
            raise

    def _load_file(self, path: str) -> Snapshot:
        from pmapdiff.formats.combine import combine
        from pmapdiff.formats.saved import moments_of

        with self._progress() as progress:
            tables = combine(read_files([path], self._form, progress, partial=self._partial))
        for warning in warnings_of(tables):
            self._say(warning)
        moments = moments_of(tables)
        if len(moments) > 1:
            self._say(f"{printable(path)}: it holds {len(moments)} moments, this is about the last one: import the file to see all")
        last = moments[-1]
        wanted = tuple(capture for capture in last.captures if self._wanted.accepts(capture.process))
        return Snapshot(SnapshotRef(None, last.taken_at_us, last.host or "", None, argument_text(path)), wanted)


def _is_file_name(text: str) -> bool:
    from pmapdiff.store.when import parse_when

    if not Path(text).is_file():
        return False
    try:
        return parse_when(text) is None
    except UsageError:
        return True


def read_files(paths: Sequence[str], form: str | None, progress: Progress, *, partial: bool) -> list[SavedTable]:
    """The tables in saved files. Raises FormatError, NotFoundError."""
    from pmapdiff.formats.saved import read_saved

    tables = []
    for path in paths:
        words = f"reading {printable(argument_text(path))}"
        tables += read_saved(path, form, partial=partial, progress=lambda share, words=words: progress.draw(f"{words}: {share:.0%}"))  # type: ignore[misc]
    return tables


def warnings_of(tables: Iterable[SavedTable]) -> list[str]:
    """What is wrong with saved tables that could be read all the same, safe to print."""
    return [f"{printable(table.source)}: {printable(warning)}" for table in tables for warning in table.warnings]
