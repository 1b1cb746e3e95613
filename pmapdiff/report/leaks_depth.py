"""One service in depth, as text: the verdict, the whole series as a line, each finding with its evidence, the end, and others like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len

from pmapdiff.analyse.result import End, Finding, Leaks, Sibling, Suspect
from pmapdiff.report.base import View
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
from pmapdiff.report.sparkline import sparkline, with_gaps
from pmapdiff.report.table import Cell, Row, write_line, write_table, write_wrapped
from pmapdiff.text import printable
from pmapdiff.units import format_delta_kib, format_duration, format_kib, format_moment_short

_WIDEST_BLOCKS = 150
_UNDER = ("  ", "    ")
_ITEM = ("  - ", "    ")


def write_depth(leaks: Leaks, suspect: Suspect, view: View, out: TextIO) -> None:
    """All that is known of a service, the answer first."""
    write_wrapped(f"{suspect_title(suspect, leaks)}: {span_words(suspect)}", "bold", view, out, "", "  ")
    write_wrapped(verdict_sentence(suspect), style_of(suspect.verdict, urgent=suspect.urgent), view, out, "", "  ")
    for words in process_reasons(suspect):
        write_wrapped(words, "", view, out, *_ITEM)
    _write_series(suspect, view, out)
    for finding in suspect.findings:
        out.write("\n")
        _write_finding(finding, view, out)
    if suspect.end is not None:
        out.write("\n")
        _write_end(suspect.end, view, out)
    if suspect.siblings:
        out.write("\n")
        _write_siblings(leaks, suspect.siblings, view, out)
    for note in suspect.notes:
        write_wrapped(f"note: {printable(note)}", "yellow", view, out, *_UNDER)


def _write_series(suspect: Suspect, view: View, out: TextIO) -> None:
    """The figure of the whole process over time, as wide as the screen, with the onset marked below."""
    sizes = size_words(suspect)
    if not sizes:
        return
    write_wrapped(sizes, "", view, out, *_UNDER)
    width = min(_WIDEST_BLOCKS, (view.width or _WIDEST_BLOCKS) - len(_UNDER[0]))
    values = with_gaps(suspect.series, suspect.moments_us)
    blocks = sparkline(values, width)
    out.write(f"{_UNDER[0]}{blocks}".rstrip() + "\n")
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
    out.write(f"{_UNDER[0]}{' ' * place}{mark}\n")


def _write_finding(finding: Finding, view: View, out: TextIO) -> None:
    verdict = finding.trend.verdict
    write_wrapped(
        f"{finding.rank}. {verdict.value}: {what_words(finding)}{' (urgent)' if finding.urgent else ''}",
        style_of(verdict, urgent=finding.urgent),
        view,
        out,
        "",
        "   ",
    )
    for line in finding_lines(finding):
        write_wrapped(line, "", view, out, *_UNDER)
    for line in evidence_lines(finding):
        write_wrapped(line, "", view, out, *_ITEM)
    if finding.suggestion:
        write_wrapped(f"next: {printable(finding.suggestion)}", "cyan", view, out, *_UNDER)
    command = history_commands(finding)
    if command:
        write_wrapped(command, "dim", view, out, *_UNDER)


def _write_end(end: End, view: View, out: TextIO) -> None:
    write_wrapped(f"the end: {end_sentence(end)}", "bold", view, out, "", "  ")
    for line in end.lines:
        write_wrapped(printable(line), "", view, out, *_ITEM)


def _write_siblings(leaks: Leaks, siblings: Sequence[Sibling], view: View, out: TextIO) -> None:
    """The others of this service or name, each beside this one when that was as old."""
    write_line("others of the same service or name, at an age that both had", "bold", view, out)
    rows: list[Row] = []
    for sibling in siblings:
        grew = format_delta_kib(sibling.grown_kib), format_delta_kib(sibling.ours_grown_kib)
        rows.append(
            [
                format_duration(sibling.age_hours * 3600),
                format_kib(sibling.footprint_kib),
                grew[0],
                format_kib(sibling.ours_kib),
                Cell(grew[1], "red" if sibling.ours_grown_kib > sibling.grown_kib else ""),
                f"{sibling_title(sibling, leaks)}, {sibling.verdict.value}",
            ]
        )
    write_table(["Age", "Footprint", "Grew", "This one", "Grew", "Other"], frozenset([5]), rows, view, out)
