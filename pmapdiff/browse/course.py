"""One service through time: what a timeline shows, where one is in it, and which pair is compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from pmapdiff.align import History, ServiceHistory
from pmapdiff.model import Capture, SnapshotRef, Totals
from pmapdiff.report.sparkline import gaps
from pmapdiff.report.words import AGAIN, again_words, capture_words, pause_words
from pmapdiff.text import printable
from pmapdiff.units import format_duration, format_kib, format_moment_short, plural

# In the order of their keys.
FIGURES = ("footprint", "rss", "dirty", "swap", "size", "mappings")
# What a snapshot is marked with below the timeline, the first that holds.
RESTART, NO_TABLE, NOT_WHOLE, NOT_RECORDED, PAUSE = "R", "x", "!", "?", "·"


class Moment(NamedTuple):
    """A service in one snapshot of its life: its place in the series, what was captured, and what is to be said of it."""

    step: int
    ref: SnapshotRef
    capture: Capture | None
    totals: Totals | None
    sign: str
    notes: tuple[str, ...]
    late: str
    """That a gap in time lies before it; empty if none does."""

    def value(self, figure: str) -> int | None:
        """One of `FIGURES`, in KiB or a number; None where there is none."""
        if self.totals is None:
            return None
        return self.totals.mappings if figure == "mappings" else self.totals.get(f"{figure}_kib")

    @property
    def number(self) -> int:
        """The number of its snapshot."""
        return -1 if self.ref.id is None else self.ref.id


@dataclass(frozen=True, slots=True)
class Course:
    """A service of a history, from its first snapshot to its last."""

    history: History
    service: ServiceHistory
    moments: tuple[Moment, ...]

    @classmethod
    def of(cls, history: History, service: ServiceHistory) -> Course:
        """The course of a service."""
        steps = service.lifetime
        refs = [history.snapshots[step] for step in steps]
        late, restarts = gaps([ref.taken_at_us for ref in refs]), service.restarts()
        moments = []
        for place, (step, ref) in enumerate(zip(steps, refs, strict=True)):
            capture, totals = service.captures[step], service.totals[step]
            status = capture_words(service, step)
            note = "" if capture is None or capture.note is None else printable(capture.note)
            notes = [again_words(restarts[step])] if step in restarts else []
            notes += [f"{status} ({note})" if note else status] if status else []
            sign = RESTART if step in restarts else NOT_RECORDED if capture is None else NO_TABLE if totals is None else NOT_WHOLE if status else ""
            moments.append(Moment(step, ref, capture, totals, sign, tuple(notes), pause_words(refs[place - 1], ref) if place in late else ""))
        return cls(history, service, tuple(moments))

    def place(self, number: int | None) -> int | None:
        """Where the snapshot of this number is."""
        return next((place for place, moment in enumerate(self.moments) if moment.number == number), None)

    @property
    def first(self) -> int:
        """The first place that has a table; 0 if none has."""
        return next((place for place, moment in enumerate(self.moments) if moment.totals is not None), 0)

    @property
    def figure(self) -> str:
        """The figure to begin with: the footprint, or the next best where no table has it."""
        return next((figure for figure in FIGURES if any(moment.value(figure) is not None for moment in self.moments)), FIGURES[0])

    def summary(self) -> str:
        """`7 snapshots in 19.3 s, 1 gap, 2 restarts, 3 × torn`: what is to be known of all of it."""
        refs = [moment.ref for moment in self.moments]
        span = f" in {format_duration((refs[-1].taken_at_us - refs[0].taken_at_us) / 1e6)}" if len(refs) > 1 else ""
        parts = [f"{plural(len(refs), 'snapshot')}{span}"]
        late = sum(bool(moment.late) for moment in self.moments)
        parts += [plural(late, "gap")] if late else []
        matches = [known.match for known in self.service.incarnations]
        parts += [plural(matches.count(match), word) for match, word in AGAIN.items() if match in matches]
        counts: Counter[str] = Counter()
        for moment in self.moments:
            if status := capture_words(self.service, moment.step):
                counts[status] += 1
        parts += [f"{count:,} × {word}" for word, count in counts.items()]
        return ", ".join(parts)

    def words(self, place: int, figure: str) -> str:
        """What is known of one moment: `#3 2026-11-22 14:00:00 "loaded"  Footprint 20.8 MiB  117 mappings  torn`."""
        moment = self.moments[place]
        label = f' "{printable(moment.ref.label)}"' if moment.ref.label else ""
        parts = [f"#{moment.ref.id} {format_moment_short(moment.ref.taken_at_us)}{label}"]
        parts += [moment.late] if moment.late else []
        parts += moment.notes
        if moment.totals is not None:
            parts += [f"{title_of(figure)} {value_words(moment.value(figure), figure)}"] if figure != "mappings" else []
            parts.append(plural(moment.totals.mappings, "mapping"))
        threads = None if moment.capture is None else moment.capture.threads
        parts += [plural(threads, "thread")] if threads is not None else []
        return "  ".join(parts)


def title_of(figure: str) -> str:
    """`Footprint`, `Rss`."""
    return figure.capitalize()


def value_words(value: float | None, figure: str) -> str:
    """`1.2 GiB`, `118`; `-` if it is missing."""
    if figure == "mappings":
        return "-" if value is None else f"{value:,.0f}"
    return format_kib(None if value is None else round(value))


@dataclass(frozen=True, slots=True)
class Place:
    """Where one is in a course, and what is marked: numbers of snapshots, which mean the same when there are more of them.

    `ends` says that it is the last one, and stays so when there is a later one. `span` is how many snapshots are shown; 0 is all.
    """

    at: int
    marks: tuple[int, ...] = ()
    ends: bool = True
    span: int = 0

    @classmethod
    def last(cls, course: Course) -> Place:
        """At the end."""
        return cls(course.moments[-1].number)

    def within(self, course: Course) -> Place:
        """The same in another course of the service, which may have snapshots more, or less."""
        numbers = [moment.number for moment in course.moments]
        at = numbers[-1] if self.ends else self.at if self.at in numbers else min(numbers, key=lambda number: abs(number - self.at))
        return replace(self, at=at, marks=tuple(mark for mark in self.marks if mark in numbers))

    def index(self, course: Course) -> int:
        """Where in the course one is."""
        return course.place(self.at) or 0

    def moved(self, course: Course, by: int) -> Place:
        """So many snapshots on, or back."""
        last = len(course.moments) - 1
        index = max(0, min(last, self.index(course) + by))
        return replace(self, at=course.moments[index].number, ends=index == last)

    def marked(self) -> Place:
        """With a mark here: the first, or the second, or anew the first; to mark a snapshot again takes the mark away."""
        if self.at in self.marks:
            return replace(self, marks=tuple(mark for mark in self.marks if mark != self.at))
        return replace(self, marks=(*self.marks, self.at) if len(self.marks) < 2 else (self.at,))

    def zoomed(self, course: Course, by: int) -> Place:
        """Half as many snapshots (1), or twice as many (-1)."""
        count = len(course.moments)
        span = max(8, (self.span or count) // 2) if by > 0 else (self.span or count) * 2
        return replace(self, span=0 if span >= count else span)

    def window(self, course: Course) -> range:
        """The places that are shown: all, or so many around this one."""
        count = len(course.moments)
        span = min(self.span or count, count)
        begin = max(0, min(count - span, self.index(course) - span // 2))
        return range(begin, begin + span)

    def pair(self, course: Course) -> tuple[int, int]:
        """The places that are compared, the earlier first: two marks; one mark and here; without any, the first table and here."""
        here = self.index(course)
        marks = [place for mark in self.marks if (place := course.place(mark)) is not None]
        one, other = (*marks, here)[:2] if marks else (course.first, here)
        return min(one, other), max(one, other)


class Column(NamedTuple):
    """A column of a timeline: the places that it stands for, none for a gap in time; and whether there is one in it."""

    places: tuple[int, ...]
    pause: bool = False

    def value(self, course: Course, figure: str) -> int | None:
        """The largest value in it."""
        return max((v for place in self.places if (v := course.moments[place].value(figure)) is not None), default=None)

    def sign(self, course: Course) -> str:
        """What is marked below it: the weightiest of what happened in it."""
        signs = {course.moments[place].sign for place in self.places}
        return next((sign for sign in (RESTART, NO_TABLE, NOT_WHOLE, NOT_RECORDED) if sign in signs), PAUSE if self.pause else "")


_WIDEST_BAR = 20


def columns_of(course: Course, window: Sequence[int], width: int) -> list[Column]:
    """The snapshots of a window in so many columns: several in one where there are more, several of each where there are fewer."""
    items: list[Column] = []
    for place in window:
        if course.moments[place].late and place != window[0]:
            items.append(Column((), pause=True))
        items.append(Column((place,)))
    if len(items) > width:
        edges = [len(items) * i // width for i in range(width + 1)]
        parts = [items[a:b] for a, b in pairwise(edges)]
        return [Column(tuple(place for item in part for place in item.places), any(item.pause for item in part)) for part in parts]
    # Of few each has several columns, some of them one more than others, so that all of the width is used.
    width = min(width, len(items) * _WIDEST_BAR)
    return [item for place, item in enumerate(items) for _ in range(width * place // len(items), width * (place + 1) // len(items))]
