"""What there is to be seen: results become rows, series, marks and sentences, which nothing later looks behind.

All text in it is safe to print, but not yet to stand in HTML. Who draws or writes reads only this, so that what is taken out of it is out of
everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pmapdiff.report.visual.series import FIGURES, NONE_THERE, Series

Span = tuple[int, tuple[tuple[int, int, str], ...]]
"""From a step on: where the mappings of a region lie (address, length, both in bytes) and with which permissions."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A snapshot: `clock_ms` is its place in time, in ms, of which no two have the same; what a clock on the wall showed is in `words`, and
    that was by `shift_ms` more.
    """

    id: int | None
    taken_at_us: int
    clock_ms: int
    words: str
    label: str
    shift_ms: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: `restart`, `kill`, `incomplete` (a capture) or `gap` (no snapshot for long), `when` by the clock on the wall."""

    kind: str
    clock_ms: int
    when: str
    words: str
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A region, a family or a process over time. `key` is what `history` knows a region by; `number` says how many a row is of."""

    key: str
    family: str
    name: str
    series: Series
    perms: str = ""
    path: str = ""
    offset: str = ""
    guess: bool = False
    spans: tuple[Span, ...] = ()

    def swing(self, figure: str) -> int:
        """How far a figure went up and down."""
        known = [value for value in self.series.values(figure) if value is not None]
        return max(known) - min(known) if known else 0

    def most(self, figure: str) -> int:
        """The largest that a figure was; 0 if it is not known."""
        return max((value for value in self.series.values(figure) if value is not None), default=0)


@dataclass(frozen=True, slots=True)
class Panel:
    """A finding with its series: `slopes` are lines from one point (clock_ms, value) to another, one an incarnation; they begin at `onset_ms`.

    `unit` is KiB or mappings. Values are None where there is no table.
    """

    title: str
    verdict: str
    urgent: bool
    figure: str
    unit: str
    values: tuple[int | None, ...]
    slopes: tuple[tuple[tuple[int, float], tuple[int, float]], ...]
    onset_ms: int | None
    sentences: tuple[str, ...]
    evidence: tuple[str, ...]
    suggestion: str
    commands: str


@dataclass(frozen=True, slots=True)
class Scope:
    """One process (a service through its incarnations), or all together: what is chosen to be looked at.

    `steps` are those at which it can be looked at: the snapshots that have a table of it. `families` add up to `totals` wherever there is a
    table with counters. `rows` are its regions, and of all together the processes, what varied most first: all (`regions` of them), or none where
    there
    are too many processes to tell that of each.
    """

    title: str
    answer: str
    verdict: str
    urgent: bool
    what: str
    steps: tuple[int, ...]
    totals: Series
    families: tuple[Row, ...]
    rows: tuple[Row, ...]
    regions: int
    marks: tuple[Mark, ...] = ()
    sentences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    panels: tuple[Panel, ...] = ()
    is_all: bool = False

    def nearest(self, step: int) -> int:
        """The step of its own that is nearest to one."""
        return min(self.steps, key=lambda own: (abs(own - step), own), default=step)


@dataclass(frozen=True, slots=True)
class Content:
    """All that a page shows. `pair` are the steps of the two moments that are compared first, `shown` is the place of the scope that is, and `figure`
    the one that was asked for.
    """

    title: str
    headline: str
    about: tuple[str, ...]
    notes: tuple[str, ...]
    moments: tuple[Moment, ...]
    families: tuple[str, ...]
    scopes: tuple[Scope, ...]
    pair: tuple[int, int]
    shown: int
    made_at_us: int
    figure: str | None = None

    def figures(self, scope: Scope) -> list[str]:
        """The figures that are known of a scope anywhere."""
        return [figure for figure in FIGURES if any(value is not None for value in scope.totals.values(figure))]

    def first_figure(self, scope: Scope) -> str:
        """The figure to begin with: the one that was asked for, or the first that is anything but 0."""
        known = self.figures(scope)
        if self.figure in known:
            return self.figure
        return next((figure for figure in known if any(scope.totals.values(figure))), known[0] if known else "size")

    def pair_of(self, scope: Scope) -> tuple[int, int]:
        """The two moments at which a scope is compared first."""
        first, last = (scope.nearest(step) for step in self.pair)
        return first, last


def difference(row: Row | Scope, figure: str, pair: tuple[int, int]) -> int | None:
    """How much more a figure is at the second of two steps than at the first; None if either is not known."""
    series = row.totals if isinstance(row, Scope) else row.series
    index = FIGURES.index(figure)
    values = [NONE_THERE if known is None else known for known in (series.at(step) for step in pair)]
    before, after = values[0][index], values[1][index]
    return None if before is None or after is None else after - before


def largest_first(rows: Sequence[Row], figure: str) -> list[Row]:
    """Rows in the order of how much they varied; of those that did not, the largest first."""
    return sorted(rows, key=lambda row: (-row.swing(figure), -row.most(figure), -row.swing("size"), -row.most("size"), row.name, row.key))
