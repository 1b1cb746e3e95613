"""What a comparison says of one process, to be gone into: families, their regions, and the mappings of those. It adds up as `compare` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pmapdiff.compare import Change, Comparison, FamilyChange, ProcessComparison
from pmapdiff.model import FIGURES, Figures, Mapping, Totals
from pmapdiff.model.counters import subtract_figures, sum_figures
from pmapdiff.model.mapping import known_perms
from pmapdiff.report.account import account_of_changes, account_of_families, figures_shown
from pmapdiff.report.base import View, figure_title
from pmapdiff.report.figures import delta_cells, figure_columns, figures_to_show, size_cells
from pmapdiff.report.rows import address_texts
from pmapdiff.report.shape import ShownRow, figure_of, rows_for_people, summarise_families
from pmapdiff.report.table import Cell, Line, Sheet, worded
from pmapdiff.report.words import caveats, change_words, effect_words, headline, region_name, snapshot_words
from pmapdiff.text import decode, printable
from pmapdiff.units import plural

# By what rows are ordered, besides the order of the report: by Rss, what came in before what went out.
SORTS = ("rss", "size", "footprint", "dirty", "swap", "name")


@dataclass(frozen=True, slots=True)
class Look:
    """How a level is to be shown: as wide as this, in this order, and only rows that a text is found in."""

    width: int
    sort: str = SORTS[0]
    reverse: bool = False
    query: str = ""

    @property
    def view(self) -> View:
        """The view of the reports that does it."""
        return View(width=self.width, sort=None if self.sort == SORTS[0] else self.sort)


def headings(comparison: Comparison) -> list[Cell]:
    """Which two snapshots, and the sentence: a line each, as `compare` prints them."""
    lines = [Cell(f"before  {snapshot_words(comparison.before)}"), Cell(f"after   {snapshot_words(comparison.after)}")]
    lines += [Cell(headline(process, comparison), "bold") for process in comparison.processes]
    return lines if comparison.processes else [*lines, Cell("no process in either snapshot", "bold")]


def notes_of(comparison: Comparison) -> list[Cell]:
    """What must be known before the figures are trusted, and what the kernel did besides: a sentence each."""
    notes = []
    for process in comparison.processes:
        notes += [Cell(f"note: {caveat}", "yellow") for caveat in caveats(process)]
        notes += [Cell(sentence, "cyan") for sentence in effect_words(process)]
    return notes


@dataclass(frozen=True, slots=True)
class Families:
    """The families of a process."""

    process: ProcessComparison

    @property
    def title(self) -> str:
        """What this is a list of."""
        return "by family"

    def sheet(self, look: Look) -> Sheet:
        """As `compare --by family` has it."""
        figures = figures_shown([self.process], look.view)
        account = account_of_families(summarise_families(self.process.families, look.view), self.process.families, figures, look.view)
        return _arranged(account, look, figures)

    def opened(self, line: Line) -> Level | None:
        """What a row is made of."""
        return Regions(self.process, line.of) if isinstance(line.of, FamilyChange) else None


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of a process that changed, or those of one family."""

    process: ProcessComparison
    family: FamilyChange | None = None

    @property
    def title(self) -> str:
        """What this is a list of."""
        return "by region" if self.family is None else f"family {printable(self.family.family)}"

    def sheet(self, look: Look) -> Sheet:
        """As `compare` has it, with all of them."""
        process, family = self.process, self.family
        figures = figures_shown([process], look.view)
        if process.totals_before is None or process.totals_after is None:
            return Sheet((), ())
        if family is None:
            before, after, delta, changes = process.totals_before, process.totals_after, process.delta, process.changes
        else:
            before, after = Totals(family.mappings_before, family.before), Totals(family.mappings_after, family.after)
            delta = family.delta
            changes = tuple(change for change in process.changes if change.family == family.family)
        shown = rows_for_people(replace(process, changes=changes), look.view, 0)
        account = account_of_changes(before, after, delta, shown, figures, look.view)
        # A region is of one family, that of its largest mapping; some of its mappings may be of others, or have been.
        rest = _rest(delta, sum_figures(change.delta for change in changes))
        if any(figure_of(rest, name) for name in FIGURES):
            blanks = [""] * (len(account.header) - len(figures) - 1)
            lines = list(account.lines)
            lines.insert(len(lines) - 3, Line([*delta_cells(rest, figures), *blanks, "in regions of other families"]))
            account = account._replace(lines=tuple(lines))
        return _arranged(account, look, figures)

    def opened(self, line: Line) -> Level | None:
        """What a row is made of."""
        return _level_of(line.of) if isinstance(line.of, ShownRow) else None


@dataclass(frozen=True, slots=True)
class Alike:
    """Regions that share a row, each in its own."""

    row: ShownRow

    @property
    def title(self) -> str:
        """What this is a list of."""
        return self.row.name

    def sheet(self, look: Look) -> Sheet:
        """A row a region, with where it is."""
        changes = self.row.changes
        figures = _figures([mapping for change in changes for mapping in (*change.before, *change.after)], look)
        addresses = address_texts([(change.after or change.before)[0] for change in changes])
        lines = []
        for change, address in zip(changes, addresses, strict=True):
            place = [Cell(change_words(change, narrow=True)), Cell(known_perms(change.perms) or "-"), Cell(address)]
            lines.append(Line([*delta_cells(change.delta, figures), *place, region_name(change)], ShownRow((change,), change.delta)))
        lines += [Line([]), Line([*delta_cells(self.row.delta, figures), "", "", "", "in all"])]
        columns = (*figure_columns(figures, look.view.sort), worded("Change"), worded("Perms"), worded("Address"), worded("Mapping"))
        return _arranged(Sheet(columns, tuple(lines)), look, figures)

    def opened(self, line: Line) -> Level | None:
        """What a row is made of."""
        return _level_of(line.of) if isinstance(line.of, ShownRow) else None


@dataclass(frozen=True, slots=True)
class Mappings:
    """The mappings of a region, before and after."""

    change: Change

    @property
    def title(self) -> str:
        """What this is a list of."""
        return f"{change_words(self.change)} {region_name(self.change)}"

    def sheet(self, look: Look) -> Sheet:
        """A row a mapping."""
        change = self.change
        sides = [*(("before", mapping) for mapping in change.before), *(("after", mapping) for mapping in change.after)]
        figures = _figures([mapping for _, mapping in sides], look)
        lines = []
        for address, (when, mapping) in zip(address_texts([mapping for _, mapping in sides]), sides, strict=True):
            place = [when, known_perms(mapping.perms) or "-", address, _offset(mapping)]
            lines.append(Line([*size_cells(mapping.figures, figures), *place, printable(decode(mapping.name)) or region_name(change)]))
        lines = [line for line in lines if _has(line, look.query)]
        lines += [
            Line([]),
            Line([*delta_cells(change.delta, figures, "bold"), *[""] * 4, "in all"]),
            Line([f"family {printable(change.family)}: {change.family_reason}"]),
        ]
        place_columns = (worded("When"), worded("Perms"), worded("Address"), worded("Offset", extra=True), worded("Mapping"))
        return Sheet((*figure_columns(figures, look.view.sort), *place_columns), tuple(lines))

    def opened(self, line: Line) -> Level | None:  # noqa: ARG002 - there is nothing below a mapping
        """Nothing."""
        return None


Level = Families | Regions | Alike | Mappings


def _level_of(row: ShownRow) -> Level:
    return Mappings(row.changes[0]) if len(row.changes) == 1 else Alike(row)


def _offset(mapping: Mapping) -> str:
    return "-" if mapping.offset is None else f"{mapping.offset:x}"


def _figures(mappings: Sequence[Mapping], look: Look) -> tuple[str, ...]:
    return figures_to_show((Totals(1, mapping.figures) for mapping in mappings), look.view.sort)


def _rest(whole: Figures, parts: Figures) -> Figures:
    """What parts lack to the whole; nothing where that is not known."""
    return tuple([value or 0 for value in subtract_figures(whole, parts)])


def _has(line: Line, query: str) -> bool:
    words = " ".join(cell.text if isinstance(cell, Cell) else cell for cell in line.row)
    return query.casefold() in words.casefold()


def _arranged(sheet: Sheet, look: Look, figures: Sequence[str]) -> Sheet:
    """The rows in the order that is asked for, and only those that are; what is left out has a row of its own, so that all of it adds up."""
    places = [place for place, line in enumerate(sheet.lines) if line.of is not None]
    if not places:
        return sheet
    head, body, tail = sheet.lines[: places[0]], [sheet.lines[place] for place in places], sheet.lines[places[0] :]
    if look.reverse:
        body.reverse()
    hidden = [line for line in body if not _has(line, look.query)]
    body = [line for line in body if _has(line, look.query)]
    if hidden:
        rest = sum_figures(line.of.delta for line in hidden if isinstance(line.of, ShownRow | FamilyChange))
        blanks = [""] * (len(sheet.header) - len(figures) - 1)
        body.append(Line([*delta_cells(rest, figures), *blanks, f"{plural(len(hidden), 'row')} without {printable(look.query)!r}"]))
    sorted_by = figure_title(f"{look.sort}_kib") if look.sort != "name" else sheet.header[-1]
    arrow = "▲" if (look.sort == "name") != look.reverse else "▼"
    columns = [replace(column, title=column.title + arrow) if column.title == sorted_by else column for column in sheet.columns]
    return Sheet(tuple(columns), (*head, *body, *(line for line in tail if line.of is None)))
