"""One service in depth, as text: the verdict, the whole series as a line, each finding with its evidence, the end, and others like it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from pmapdiff.analyse.result import End, Finding, Leaks, Sibling, Suspect
from pmapdiff.report.leak_shape import evidence_lines, process_reasons
from pmapdiff.report.leak_words import (
    end_sentence,
    finding_lines,
    history_commands,
    sibling_title,
    size_words,
    span_words,
    style_of,
    suspect_title,
    verdict_sentence,
    what_words,
)
from pmapdiff.report.page import Page
from pmapdiff.report.sparkline import sparkline, with_gaps
from pmapdiff.report.table import NOTE, Column, Row, delta_cell, size_cell, worded
from pmapdiff.text import printable
from pmapdiff.units import format_duration, format_moment_short

_WIDEST_BLOCKS = 150
_ITEM = ("  - ", "    ")


def write_depth(leaks: Leaks, suspect: Suspect, page: Page) -> None:
    """All that is known of a service, the answer first."""
    page.wrapped(f"{suspect_title(suspect, leaks)}: {span_words(suspect)}", "bold", "", "  ")
    page.wrapped(verdict_sentence(suspect), style_of(suspect.verdict, urgent=suspect.urgent), "", "  ")
    for words in process_reasons(suspect):
        page.wrapped(words, "", *_ITEM)
    _write_series(suspect, page)
    for finding in suspect.findings:
        page.line()
        _write_finding(finding, page)
    if suspect.end is not None:
        page.line()
        _write_end(suspect.end, page)
    if suspect.siblings:
        page.line()
        _write_siblings(leaks, suspect.siblings, page)
    for note in suspect.notes:
        page.wrapped(f"note: {printable(note)}", "yellow", *NOTE)


def _write_series(suspect: Suspect, page: Page) -> None:
    """The figure of the whole process over time, as wide as the screen, with the onset marked below."""
    sizes = size_words(suspect)
    if not sizes:
        return
    page.wrapped(sizes, "", *NOTE)
    width = min(_WIDEST_BLOCKS, (page.view.width or _WIDEST_BLOCKS) - len(NOTE[0]))
    values = with_gaps(suspect.series, suspect.moments_us)
    blocks = sparkline(values, width)
    page.fixed(f"{NOTE[0]}{blocks}")
    onset_us = suspect.trend.onset_us
    if onset_us is None or suspect.moments_us[0] >= onset_us:
        return
    # Each block stands for so many snapshots and gaps: the mark is below the one in which it began.
    before = sum(moment < onset_us for moment in suspect.moments_us)
    place = len(with_gaps(suspect.series[:before], suspect.moments_us[:before])) * len(blocks) // len(values)
    mark = f"^ {format_moment_short(onset_us)}"
    if place + cell_len(mark) > width:
        mark = f"{format_moment_short(onset_us)} ^"
        place = max(place - cell_len(mark) + 1, 0)
    page.fixed(f"{NOTE[0]}{' ' * place}{mark}")


def _write_finding(finding: Finding, page: Page) -> None:
    verdict = finding.trend.verdict
    page.wrapped(
        f"{finding.rank}. {verdict.value}: {what_words(finding)}{' (urgent)' if finding.urgent else ''}",
        style_of(verdict, urgent=finding.urgent),
        "",
        "   ",
    )
    for line in finding_lines(finding):
        page.wrapped(line, "", *NOTE)
    for line in evidence_lines(finding):
        page.wrapped(line, "", *_ITEM)
    if finding.suggestion:
        page.wrapped(f"next: {printable(finding.suggestion)}", "cyan", *NOTE)
    command = history_commands(finding)
    if command:
        page.wrapped(command, "dim", *NOTE)


def _write_end(end: End, page: Page) -> None:
    page.wrapped(f"the end: {end_sentence(end)}", "bold", "", "  ")
    for line in end.lines:
        page.wrapped(printable(line), "", *_ITEM)


def _write_siblings(leaks: Leaks, siblings: Sequence[Sibling], page: Page) -> None:
    """The others of this service or name, each beside this one when that was as old."""
    page.line("others of the same service or name, at an age that both had", "bold")
    rows: list[Row] = []
    for sibling in siblings:
        rows.append(
            [
                format_duration(sibling.age_hours * 3600),
                *(size_cell(sibling.footprint_kib), delta_cell(sibling.grown_kib)),
                *(size_cell(sibling.ours_kib), delta_cell(sibling.ours_grown_kib)),
                f"{sibling_title(sibling, leaks)}, {sibling.verdict.value}",
            ]
        )
    page.table([Column("Age"), Column("Footprint"), Column("±"), Column("This one"), Column("±"), worded("Other")], rows)
