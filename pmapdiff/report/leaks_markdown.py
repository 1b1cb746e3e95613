"""What keeps growing, for a ticket: the answer, a table of what did not stay as it was, and each service that grows in depth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from pmapdiff.analyse.result import Finding, Leaks, Suspect, Verdict
from pmapdiff.report.base import View, register
from pmapdiff.report.leak_shape import chosen_suspects, evidence_lines, main_finding, next_limit, process_reasons, was_killed
from pmapdiff.report.leak_words import (
    counts_words,
    delta_words,
    end_sentence,
    finding_lines,
    growth_words,
    headline,
    history_commands,
    limit_words,
    range_words,
    sibling_title,
    size_words,
    span_words,
    suspect_title,
    verdict_sentence,
    what_words,
)
from pmapdiff.report.markdown import escape, write_rows
from pmapdiff.report.sparkline import sparkline, with_gaps
from pmapdiff.units import format_delta_kib, format_duration, format_kib, format_moment_short

_BLOCKS = 60


@register("leaks", "markdown")
def write_leaks(result: Leaks, view: View, out: TextIO) -> None:
    """One service in depth; of several the headline, a row for each that grows and some of the others, and in depth what grows or was killed."""
    shown = chosen_suspects(result, view.top)
    several = len(result.processes) != 1
    if several:
        out.write(f"**{escape(headline(result))}**\n\n")
    if several and shown:
        header = ["Growth", "95 %", "Grew", "Verdict", "Since", "Full", "What", "Process"]
        write_rows(header, [_row(suspect, result) for suspect in shown], out, 5)
    left = {id(suspect) for suspect in shown}
    others = [suspect for suspect in result.processes if id(suspect) not in left]
    if several and others:
        out.write(f"not in the table: {counts_words(others)}\n\n")
    for suspect in result.processes:
        if not several or (id(suspect) in left and (suspect.verdict is Verdict.GROWING or was_killed(suspect))):
            _write_depth(suspect, result, out)
    for note in result.notes:
        out.write(f"> note: {escape(note)}\n\n")


def _row(suspect: Suspect, leaks: Leaks) -> list[str]:
    finding = main_finding(suspect)
    trend, figure = (suspect.trend, suspect.figure) if finding is None else (finding.trend, finding.figure)
    limit = next_limit(suspect)
    since = "" if trend.onset_us is None else format_moment_short(trend.onset_us)
    numbers = [growth_words(trend, figure), range_words(trend, figure), delta_words(trend, figure)]
    what = "" if finding is None else what_words(finding)
    verdict = f"**{suspect.verdict.value}**" if suspect.urgent else suspect.verdict.value
    return [*numbers, verdict, since, "" if limit is None else escape(limit_words(limit[0])), escape(what), escape(suspect_title(suspect, leaks))]


def _write_depth(suspect: Suspect, leaks: Leaks, out: TextIO) -> None:
    out.write(f"**{escape(suspect_title(suspect, leaks))}**: {escape(span_words(suspect))}\n\n{escape(verdict_sentence(suspect))}\n\n")
    sizes = size_words(suspect)
    blocks = sparkline(with_gaps(suspect.series, suspect.moments_us), _BLOCKS)
    lines = [*process_reasons(suspect), *([sizes] if sizes else [])]
    _write_list(lines, out)
    if blocks.strip():
        out.write(f"`{blocks}`\n\n")
    for finding in suspect.findings:
        _write_finding(finding, out)
    if suspect.end is not None:
        out.write(f"The end: {escape(end_sentence(suspect.end))}\n\n")
        _write_list(suspect.end.lines, out)
    if suspect.siblings:
        out.write("Others of the same service or name, at an age that both had:\n\n")
        rows = [
            [
                format_duration(sibling.age_hours * 3600),
                *(format_kib(sibling.footprint_kib), format_delta_kib(sibling.grown_kib)),
                *(format_kib(sibling.ours_kib), format_delta_kib(sibling.ours_grown_kib)),
                escape(f"{sibling_title(sibling, leaks)}, {sibling.verdict.value}"),
            ]
            for sibling in suspect.siblings
        ]
        write_rows(["Age", "Footprint", "Grew", "This one", "Grew", "Other"], rows, out, 1)
    for note in suspect.notes:
        out.write(f"> note: {escape(note)}\n\n")


def _write_finding(finding: Finding, out: TextIO) -> None:
    urgent = " (urgent)" if finding.urgent else ""
    out.write(f"{finding.rank}\\. **{finding.trend.verdict.value}: {escape(what_words(finding))}**{urgent}\n\n")
    commands = history_commands(finding)
    advice = [*([f"next: {finding.suggestion}"] if finding.suggestion else []), *([commands] if commands else [])]
    _write_list([*finding_lines(finding), *evidence_lines(finding), *advice], out)


def _write_list(lines: Iterable[str], out: TextIO) -> None:
    items = [f"- {escape(line)}\n" for line in lines]
    if items:
        out.write("".join(items) + "\n")
