"""What keeps growing, as text: one service in depth, of several a ranking, what grows on top."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from rich.cells import cell_len

from pmapdiff.analyse.result import Figure, Finding, Leaks, Suspect, Trend, Verdict
from pmapdiff.report.base import View
from pmapdiff.report.leak_shape import chosen_suspects, first_evidence, main_finding, next_limit, was_killed
from pmapdiff.report.leak_words import (
    counts_words,
    delta_words,
    end_sentence,
    growth_words,
    headline,
    limit_sentence,
    limit_words,
    on_host,
    style_of,
    what_words,
)
from pmapdiff.report.leaks_depth import write_depth
from pmapdiff.report.page import Page, register_page
from pmapdiff.report.sparkline import sparkline, with_gaps
from pmapdiff.report.table import ALL, NOTE, Cell, Column, Row, Under, cut_end, delta_cell, shorten
from pmapdiff.report.words import process_title
from pmapdiff.text import printable
from pmapdiff.units import format_moment_short

_NARROW_BLOCKS, _WIDE_BLOCKS = 8, 16
_WIDE = 140
_NAME = 30
_WHAT = 28


@register_page("leaks")
def write_leaks(result: Leaks, page: Page) -> None:
    """One service in depth; of several first those that grow, each with its first evidence, then the others, and of what is stable the number."""
    if len(result.processes) == 1:
        write_depth(result, result.processes[0], page)
    else:
        page.wrapped(headline(result), "bold", "", "  ")
        _write_ranking(result, page)
    for note in result.notes:
        page.wrapped(f"note: {printable(note)}", "yellow", *NOTE)


def _write_ranking(leaks: Leaks, page: Page) -> None:
    shown = chosen_suspects(leaks, page.view.top)
    if shown:
        page.line()
        _write_rows(leaks, shown, page)
    kept = {id(suspect) for suspect in shown}
    left = [suspect for suspect in leaks.processes if id(suspect) not in kept]
    if left:
        page.wrapped(f"{counts_words(left)} not shown: {ALL}" if shown else "each of them: --top 0")
    if any(suspect.findings for suspect in leaks.processes):
        page.wrapped("one of them in depth: --pid or --name")


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cell: Callable[[Suspect, Finding | None], Cell | str]
    left: bool = False


def _columns(leaks: Leaks, shown: Sequence[Suspect], view: View) -> list[_Column]:
    """The columns that have room: on a narrow screen what grows, and until when, stands below the row."""
    wide = view.width is None or view.width >= _WIDE
    moment = _moments(leaks, full=view.width is None)
    blocks = _WIDE_BLOCKS if wide else _NARROW_BLOCKS

    def title(suspect: Suspect) -> str:
        # A host may be cut at the end; the pid is what one looks further with, so of a long name the middle goes.
        known = process_title(suspect.process)
        return on_host(known if wide else shorten(known, _NAME), suspect.host, leaks)

    columns = {
        "verdict": _Column("Verdict", lambda s, _: Cell(s.verdict.value, style_of(s.verdict, urgent=s.urgent)), left=True),
        "growth": _Column("Growth", lambda s, f: growth_words(*_series(s, f), short=True, margin=wide)),
        "since": _Column("Since", lambda s, f: moment(_series(s, f)[0].onset_us), left=True),
        "grew": _Column("±", lambda s, f: _delta(*_series(s, f))),
        "full": _Column("Full", lambda s, _: _limit(s), left=True),
        "blocks": _Column("Over time", lambda s, _: sparkline(with_gaps(s.series, s.moments_us), blocks), left=True),
        "what": _Column("What", lambda s, f: _what(s, f, None if view.width is None else _WHAT), left=True),
        "process": _Column("Process", lambda s, _: title(s), left=True),
    }
    room = min(max(cell_len(title(suspect)) for suspect in shown), _NAME)
    for name in ("full", "what", "blocks"):
        if view.width is None or _width([*columns.values()], shown) + room <= view.width:
            break
        del columns[name]
        if name == "what":
            columns["process"] = _Column("Process: family", lambda s, f: title(s) + (f": {printable(f.family)}" if f else ""), left=True)
    return [*columns.values()]


def _width(columns: Sequence[_Column], shown: Sequence[Suspect]) -> int:
    """What all of these columns need but the last one."""
    *numbers, _ = columns
    return sum(max(cell_len(column.title), *(cell_len(_text(column.cell(s, main_finding(s)))) for s in shown)) + 2 for column in numbers)


def _text(cell: Cell | str) -> str:
    return cell.text if isinstance(cell, Cell) else cell


def _series(suspect: Suspect, finding: Finding | None) -> tuple[Trend, Figure]:
    """What a row is about: the main finding, or else the process as a whole."""
    return (suspect.trend, suspect.figure) if finding is None else (finding.trend, finding.figure)


def _delta(trend: Trend, figure: Figure) -> Cell:
    """How much since then, in the colours that differences have everywhere."""
    return Cell(delta_words(trend, figure, short=True), "" if not isfinite(trend.delta) else delta_cell(round(trend.delta)).style)


def _limit(suspect: Suspect) -> str:
    known = next_limit(suspect)
    return "" if known is None else limit_words(known[0])


def _what(suspect: Suspect, finding: Finding | None, width: int | None) -> str:
    if finding is None:
        return ""
    more = f" and {len(suspect.findings) - 1} more" if len(suspect.findings) > 1 else ""
    what = what_words(finding)
    return (what if width is None else cut_end(what, width - len(more))) + more


def _with_family(title: str, finding: Finding | None) -> str:
    return title if finding is None else f"{title}: {printable(finding.family)}"


def _moments(leaks: Leaks, *, full: bool) -> Callable[[int | None], str]:
    """How moments are written in the table: in full, or without what all of them have in common."""
    first, last = (format_moment_short(us or 0) for us in (leaks.since_us, leaks.until_us))

    def words(moment_us: int | None) -> str:
        if moment_us is None:
            return ""
        moment = format_moment_short(moment_us)
        if full:
            return moment
        return moment[11:] if first[:10] == last[:10] == moment[:10] else moment[5:16] if first[:4] == last[:4] == moment[:4] else moment[:10]

    return words


def _write_rows(leaks: Leaks, shown: Sequence[Suspect], page: Page) -> None:
    columns = _columns(leaks, shown, page.view)
    titles = {column.title for column in columns}
    rows: list[Row | Under] = []
    for suspect in shown:
        rows.append([column.cell(suspect, main_finding(suspect)) for column in columns])
        rows += _under(suspect, titles)
    page.table([Column(column.title, column.left) for column in columns], rows, cut=cut_end)


def _under(suspect: Suspect, titles: Collection[str]) -> Iterator[Under]:
    """Of what grows that which has no column, and the first evidence; of what was killed how it ended."""
    finding = main_finding(suspect)
    if finding is not None and suspect.verdict is Verdict.GROWING:
        known = None if "Full" in titles else next_limit(suspect)
        said = [*([] if "What" in titles else [_what(suspect, finding, None)]), *([] if known is None else [limit_sentence(*known)])]
        if said:
            yield Under(": ".join(said), style_of(suspect.verdict, urgent=suspect.urgent))
        evidence = first_evidence(finding)
        if evidence is not None:
            yield Under(evidence)
    if suspect.end is not None and was_killed(suspect):
        yield Under(end_sentence(suspect.end))
        yield Under(printable(suspect.end.lines[0]))
