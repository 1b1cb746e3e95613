"""Which regions of a history to show, in which order, and what is left over: shared by all forms."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pmapdiff.align import History, RegionHistory, Sample, Samples, ServiceHistory, add_samples
from pmapdiff.model import FIGURE_INDEX
from pmapdiff.report.base import MAIN_FIGURES, View
from pmapdiff.report.words import process_title
from pmapdiff.store.filter import check_name
from pmapdiff.text import printable
from pmapdiff.units import plural

_ADDRESS = re.compile(r"(?:0x)?([0-9a-f]{4,16})(?:-(?:0x)?[0-9a-f]{4,17})?", re.ASCII | re.IGNORECASE)
_ID = re.compile(r"(?:0x)?([0-9a-f]{1,16})@([0-9]{1,18})", re.ASCII)
_HANDFUL = 8
_FIGURES = ("footprint", "rss", "size")


@dataclass(frozen=True, slots=True)
class RegionFilter:
    """Which regions to look at: one that people name (`which`), those of a family, those whose name a regular expression is found in.

    `which` is an id (`7ff2cdefc000@3`: what had this address in snapshot 3), an address that the region ever had, or the name as `compare` shows
    it, in full or the last part of a path.
    """

    which: str | None = None
    family: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def everything(self) -> bool:
        """Whether it lets every region through."""
        return self.which is None and self.family is None and self.name is None

    def apply(self, history: History) -> History:
        """The history with these regions only, and the services that have such."""
        if self.everything:
            return history
        step = self._step(history)
        services = (replace(service, regions=tuple(r for r in service.regions if self._accepts(r, step))) for service in history.services)
        return replace(history, services=tuple(service for service in services if service.regions))

    def _accepts(self, known: RegionHistory, step: int | None) -> bool:
        label = known.region.label
        if self.family is not None and label.family != self.family:
            return False
        if self.name is not None and not any(re.search(self.name, text) for text in (label.name, label.path or "")):
            return False
        if step is not None and self.which is not None:
            return known.region.holds(int(self.which.partition("@")[0], 16), step)
        return self.which is None or self._is_named(known, self.which)

    def _step(self, history: History) -> int | None:
        """The place in the series that an id names: the part behind the @."""
        number = _ID.fullmatch(self.which or "")
        if number is None:
            return None
        places = [i for i, ref in enumerate(history.snapshots) if (i + 1 if ref.id is None else ref.id) == int(number[2])]
        return places[0] if places else None

    @staticmethod
    def _is_named(known: RegionHistory, which: str) -> bool:
        label = known.region.label
        if which in (known.id, label.name, label.path, label.name.rsplit("/", 1)[-1]):
            return True
        address = _ADDRESS.fullmatch(which)
        return address is not None and known.region.holds(int(address[1], 16))


def figure_name(view: View, history: History) -> str:
    """The figure that rows are ordered by: what --sort says, else the first of footprint, Rss and Size that there is, and no table lacks.

    Files have no footprint unless they were written to.
    """
    if view.sort not in (None, "name", "address"):
        return f"{view.sort}_kib"
    regions = [known.samples for service in history.services for known in service.regions]
    totals = [known for service in history.services for known in service.totals if known is not None]
    common = [name for figure in _FIGURES if None not in [known.get(name := f"{figure}_kib") for known in totals]]
    return next((name for name in common if any(largest(samples, name) for samples in regions)), "size_kib")


def service_title(service: ServiceHistory, history: History) -> str:
    """`redis-server 1100`; where there are several hosts, also on which of them."""
    title = process_title(service.process)
    return title if len({known.host for known in history.services}) < 2 else f"{title} on {printable(service.host)}"


def value(sample: Sample | None, figure: str) -> int | None:
    """One figure of a sample in KiB; None where there is none."""
    return None if sample is None else sample.figures[FIGURE_INDEX[figure]]


def last_less_first(values: Sequence[int | None]) -> int | None:
    """The last of the values that are known less the first; None if there is none."""
    known = [v for v in values if v is not None]
    return known[-1] - known[0] if known else None


def change_of(samples: Samples, figure: str) -> int | None:
    """How much a figure changed from the first to the last sample that has it, in KiB."""
    return last_less_first([value(sample, figure) for sample in samples.distinct()])


def largest(samples: Samples, figure: str) -> int:
    """The largest value that a figure had, in KiB; 0 if it is not known."""
    return max((value(sample, figure) or 0 for sample in samples.distinct()), default=0)


def swing(samples: Samples, figure: str) -> int:
    """How far a figure went up and down, in KiB: what grew and was freed again, or ended with a restart, changed as well."""
    known = [v for sample in samples.distinct() if (v := value(sample, figure)) is not None]
    return max(known) - min(known) if known else 0


def most_varied(service: ServiceHistory, figure: str) -> int:
    """How far a figure of a whole service went up and down, in KiB."""
    known = [v for totals in service.totals if totals is not None and (v := totals.get(figure)) is not None]
    return max(known) - min(known) if known else 0


def has_changed(samples: Samples) -> bool:
    """Whether its number of mappings or one of the main figures is not the same throughout."""
    known = ((sample.mappings, *(value(sample, figure) for figure in MAIN_FIGURES)) for sample in samples.distinct())
    first = next(known, None)
    return any(sample != first for sample in known)


def sum_of(service: ServiceHistory, rows: Sequence[Samples]) -> Samples:
    """The sum of several regions of a service."""
    return add_samples(rows, service.regions[0].samples.tables if service.regions else (), len(service.captures))


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One row of a report: a region, a family or a service, safe to print, with its samples."""

    name: str
    samples: Samples
    regions: tuple[RegionHistory, ...] = ()


@dataclass(frozen=True, slots=True)
class SeriesRows:
    """The rows to show, what varied most first, and the sum of what is left out: how many, and their samples."""

    rows: tuple[SeriesRow, ...]
    hidden: int
    rest: Samples
    unchanged: int


def rows_of(service: ServiceHistory, view: View, figure: str, top: int) -> SeriesRows:
    """The regions of a service, or its families, at most `top` (0: all).

    Where there are more, and nobody asked for a number of rows, those that did not change, or by less than the threshold, are summed up.
    """
    groups: dict[str, list[RegionHistory]] = defaultdict(list)
    for known in service.regions:
        groups[_group_of(known, view)].append(known)
    rows = [
        SeriesRow(
            name if view.by == "family" else _title_of(members),
            sum_of(service, [m.samples for m in members]) if len(members) > 1 else members[0].samples,
            tuple(members),
        )
        for name, members in groups.items()
    ]
    changed = [row for row in rows if has_changed(row.samples)]
    candidates = [row for row in changed if _is_large(row.samples, view)]
    if view.threshold_kib <= 0 and (len(rows) <= _HANDFUL or view.top is not None):
        # A handful is shown whether it changed or not, and so is a number that was asked for.
        candidates = rows
    elif view.top is None:
        # Row upon row of equal figures is what nobody wants to read.
        candidates = [row for row in candidates if swing(row.samples, figure)] or candidates
    candidates = sorted(candidates, key=lambda row: _order(row, view, figure))
    # A row that says that there is one more takes the room of that one.
    shown = candidates[:top] if top and (view.top is not None or len(candidates) > top + 1) else candidates
    many = _many_alike(service, candidates[len(shown) :]) if view.top is None and view.sort not in ("name", "address") else []
    many = [row for row in many if swing(row.samples, figure) > swing(shown[-1].samples, figure)]
    kept = {known.id for row in (*shown, *many) for known in row.regions}
    rest = [row for row in rows if row.regions[0].id not in kept]
    hidden = sum(row.regions[0].id not in kept for row in changed)
    shown = sorted((*shown, *many), key=lambda row: _order(row, view, figure))
    return SeriesRows(tuple(shown), hidden, sum_of(service, [row.samples for row in rest]), len(rest) - hidden)


def left_out_words(found: SeriesRows) -> str:
    """`12 more changes, 1,037 unchanged`."""
    return ", ".join([plural(found.hidden, "more change")] * bool(found.hidden) + [f"{found.unchanged:,} unchanged"] * bool(found.unchanged))


def _many_alike(service: ServiceHistory, rows: Sequence[SeriesRow]) -> list[SeriesRow]:
    """Unnamed regions for which there is no room, a row a family: a thousand small ones may be most of what grew."""
    groups: dict[str, list[SeriesRow]] = defaultdict(list)
    for row in rows:
        if row.regions[0].region.label.name == "[anon]":
            groups[row.regions[0].region.label.family].append(row)
    return [
        SeriesRow(f"{len(found):,} more {family}", sum_of(service, [row.samples for row in found]), tuple(r for row in found for r in row.regions))
        for family, found in groups.items()
        if len(found) > 1
    ]


def _group_of(known: RegionHistory, view: View) -> str:
    """Regions of one group share a row: a family, or, unless a number of rows is asked for, what has one name: the segments of a file."""
    label = known.region.label
    if view.by == "family":
        return label.family
    return known.id if label.name == "[anon]" or view.top is not None else f"{known.region.possibly} {label.name}"


def _title_of(members: Sequence[RegionHistory]) -> str:
    title = region_title(members[0])
    return f"{len(members):,} × {title}" if len(members) > 1 else title


def found_change(history: History, view: View) -> bool:
    """Whether any region changed, by at least the threshold if there is one."""
    return any(has_changed(known.samples) and _is_large(known.samples, view) for service in history.services for known in service.regions)


def _is_large(samples: Samples, view: View) -> bool:
    if view.threshold_kib <= 0:
        return True
    return any(swing(samples, figure) >= view.threshold_kib for figure in MAIN_FIGURES)


def _order(row: SeriesRow, view: View, figure: str) -> tuple[float, float, float, str]:
    if view.sort == "name":
        return (0, 0, 0, row.name)
    if view.sort == "address" and row.regions:
        return (row.regions[0].region.first_start, 0, 0, row.name)
    return (-swing(row.samples, figure), -swing(row.samples, "size_kib"), -largest(row.samples, figure), row.name)


def region_title(known: RegionHistory) -> str:
    """What people call a region, safe to print: unnamed memory by its family and where it began."""
    label = known.region.label
    name = f"{label.family} {known.id}" if label.name == "[anon]" else printable(label.name)
    return f"possibly {name}" if known.region.possibly else name
