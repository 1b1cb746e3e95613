"""One service through time: its timeline, and the ledger of the pair that is compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from textual.widget import Widget

from pmapdiff.browse.course import FIGURES, Course, Place
from pmapdiff.browse.drawing import Pieces, figure_line, fitted, timeline
from pmapdiff.browse.entries import Entry
from pmapdiff.browse.keys import EVERYWHERE, PROCESS, ROWS
from pmapdiff.browse.ledger import SORTS, Families, Level, Look, Regions, headings, notes_of
from pmapdiff.browse.page import Lines, Page
from pmapdiff.browse.rows import EMPTY, Rows, bindings
from pmapdiff.compare import Comparison, FamilyChange
from pmapdiff.report.leak_words import style_of, verdict_sentence
from pmapdiff.report.shape import ShownRow
from pmapdiff.report.table import Cell, Line, wrapped
from pmapdiff.report.words import process_title
from pmapdiff.text import printable

# Lines of a screen: what the ledger shall have at least; what stands around the bars (the title, two of what is known, the figures,
# three below, where one is, the keys); how many bars there are; and from when on there is room to spare.
_LEDGER, _AROUND = 9, 9
_FEWEST_BARS, _MOST_BARS = 3, 16
_TALL = 30


class ProcessPage(Page):
    """A service: left and right go through time, the rows below are what changed."""

    BINDINGS = bindings((*PROCESS, *EVERYWHERE))
    keys = (*(key for key in ROWS if key.hint), *(key for key in PROCESS if key.hint))
    sorts = SORTS

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry
        self.course: Course | None = None
        self.place: Place | None = None
        self.figure = FIGURES[0]
        self.comparison: Comparison | None = None
        self.levels: list[tuple[Level, object]] = []
        self._compared: tuple[int, int] | None = None
        self._comparing = False
        self._about, self._chart, self._headings = Lines(), Lines(), Lines()

    def above(self) -> Iterator[Widget]:
        """The timeline, and the words of the comparison."""
        yield self._about
        yield self._chart
        yield self._headings

    def crumbs(self) -> list[str]:
        """The store, the host, the process, and how deep one is in the ledger."""
        levels = [level.title for level, _ in self.levels]
        host = [printable(self.entry.host)] if self.entry.host else []
        return [self.browser.place, *host, process_title(self.entry.process), *levels]

    def updated(self) -> None:
        """The series may have been read, or have become longer."""
        history = self.browser.history
        if history is not None and (self.course is None or self.course.history is not history):
            found = next((entry for entry in self.browser.entries if entry.was(self.entry.key)), None)
            if found is not None and found.service is not None:
                self.entry, self.course = found, Course.of(history, found.service)
                if self.place is None:
                    self.figure = self.course.figure
                self.place = self.place.within(self.course) if self.place is not None else Place.last(self.course)
                # Other steps may mean the same snapshots now, and the same ones others.
                self._compared = None
        self._draw()
        super().updated()

    def _draw(self) -> None:
        width, height = self.size.width, self.size.height
        suspect = self.browser.verdicts.get(self.entry)
        about = [] if self.course is None else [[Cell(self.course.summary())]]
        if suspect is not None:
            about.append([Cell(verdict_sentence(suspect), style_of(suspect.verdict, urgent=suspect.urgent))])
        self._about.show(about)
        if self.course is None or self.place is None:
            self._chart.show([[Cell("the series is being read …", "yellow")]])
            return
        here = wrapped(self.course.words(self.place.index(self.course), self.figure), width, "", "  ")
        bars = max(_FEWEST_BARS, min(_MOST_BARS, (height - _AROUND - _LEDGER - len(self._headings.lines)) * 2 // 3 + 1, height // 4))
        drawn = timeline(self.course, self.place, self.figure, width, bars)
        if height < _TALL:
            # The times at both ends: where there is no room, those of the pair say enough.
            del drawn[-1]
        lines: list[Pieces] = [figure_line(FIGURES, self.figure), *drawn]
        # Where there is room always two, so that what is below stands still while one goes through time.
        lines += [[Cell(line, "bold")] for line in (here if height < _TALL else [*here, ""][: max(2, len(here))])]
        self._chart.show(lines)
        self._compare()

    def redraw(self, *, keep: bool = True) -> None:
        """Draw the ledger anew."""
        width = max(self.size.width, 20)
        if self.comparison is not None:
            self._headings.show([line for cell in headings(self.comparison) for line in _folded(cell, width)])
        if not self.levels:
            return
        level, _ = self.levels[-1]
        look = Look(width, self.sort, self.backwards, self.query_text)
        sheet = level.sheet(look)
        if len(self.levels) == 1 and self.comparison is not None:
            notes = [Line([Cell(text, cell.style)]) for cell in notes_of(self.comparison) for text in wrapped(cell.text, width, "  ", "    ")]
            sheet = sheet._replace(lines=(*notes, *sheet.lines))
        self.rows.show(sheet, same=_same if keep else None, note="nothing changed")

    # Comparing, beside the screen: whoever goes through time quickly sees the pair where he stops.

    def _compare(self) -> None:
        if self.course is None or self.place is None or self._comparing:
            return
        pair = self.place.pair(self.course)
        if pair != self._compared:
            self._comparing = True
            self.run_worker(self._compare_aside(self.course, pair), group="compare")

    async def _compare_aside(self, course: Course, pair: tuple[int, int]) -> None:
        before, after = (course.moments[place].step for place in pair)
        try:
            found = await self.browser.aside(lambda: self.browser.source.compare(course.history, course.service, before, after))
        finally:
            self._comparing = False
        self._compared = pair if course is self.course else None
        if found is not None:
            self._show(found)
        # The next one, if one has moved on meanwhile.
        self._draw()

    def _show(self, comparison: Comparison) -> None:
        self.comparison = comparison
        by_region = bool(self.levels) and isinstance(self.levels[0][0], Regions)
        path, self.levels = self.levels, []
        if comparison.processes:
            process = comparison.processes[0]
            self.levels = [(Regions(process) if by_region else Families(process), None)]
            # As deep as before, as far as there is the same to be gone into.
            for _, of in path[1:]:
                level = self.levels[-1][0]
                line = next((line for line in level.sheet(Look(self.size.width)).lines if line.of is not None and _same(of, line.of)), None)
                below = None if line is None else level.opened(line)
                if below is None:
                    break
                self.levels.append((below, of))
        if not self.levels:
            self.rows.show(EMPTY)
        self.redraw(keep=True)
        self.draw_title()

    def on_rows_opened(self, event: Rows.Opened) -> None:
        """One step into the ledger."""
        below = self.levels[-1][0].opened(event.line) if self.levels else None
        if below is not None:
            self.levels.append((below, event.line.of))
            self.query_text = ""
            self.redraw(keep=False)
            self.draw_title()

    def go_back(self) -> None:
        """One step up in the ledger; from the top to the list of processes."""
        if len(self.levels) < 2:
            super().go_back()
            return
        _, of = self.levels.pop()
        self.redraw(keep=False)
        self.rows.go_to(lambda other: _same(of, other))
        self.draw_title()

    # Keys.

    def _go(self, place: Place) -> None:
        self.place = place
        self._draw()

    def action_step(self, by: int) -> None:
        """Through time."""
        if self.course is not None and self.place is not None:
            self._go(self.place.moved(self.course, by))

    def action_stride(self, by: int) -> None:
        """A tenth of what is shown."""
        if self.course is not None and self.place is not None:
            self.action_step(by * max(1, len(self.place.window(self.course)) // 10))

    def action_mark(self) -> None:
        """Mark this snapshot."""
        if self.place is not None:
            self._go(self.place.marked())

    def action_unmark(self) -> None:
        """Take the marks away."""
        if self.place is not None:
            self._go(replace(self.place, marks=()))

    def action_figure(self, number: int) -> None:
        """Another figure in the timeline."""
        self.figure = FIGURES[number]
        self._draw()

    def action_zoom(self, by: int) -> None:
        """Fewer snapshots, or more."""
        if self.course is not None and self.place is not None:
            self._go(self.place.zoomed(self.course, by))

    def action_by(self) -> None:
        """By family, or by region."""
        if self.comparison is not None and self.comparison.processes:
            process = self.comparison.processes[0]
            by_region = isinstance(self.levels[0][0], Regions)
            self.levels = [(Families(process) if by_region else Regions(process), None)]
            self.redraw(keep=False)
            self.draw_title()

    def action_verdict(self) -> None:
        """In depth."""
        from pmapdiff.browse.texts import verdict_page

        suspect, leaks = self.browser.verdicts.get(self.entry), self.browser.verdicts.leaks
        if suspect is not None and leaks is not None:
            self.app.push_screen(verdict_page(process_title(suspect.process), replace(leaks, processes=(suspect,))))


def _folded(cell: Cell, width: int) -> list[Pieces]:
    return [fitted([Cell(line, cell.style)], width) for line in wrapped(cell.text, width, "", "    ")]


def _same(old: object, new: object) -> bool:
    """Whether two rows of ledgers are of the same thing, before and after the pair is another one."""
    if isinstance(old, FamilyChange) and isinstance(new, FamilyChange):
        return old.family == new.family
    if isinstance(old, ShownRow) and isinstance(new, ShownRow):
        # What grew may begin or end elsewhere; of a restarted service there is only the name.
        return old.name == new.name and (_touch(old, new) or len(old.changes) == len(new.changes) > 1)
    return False


def _touch(old: ShownRow, new: ShownRow) -> bool:
    sides = [[m for change in row.changes for m in (*change.before, *change.after)] for row in (old, new)]
    return any(one.start < other.end and other.start < one.end for one in sides[0] for other in sides[1])
