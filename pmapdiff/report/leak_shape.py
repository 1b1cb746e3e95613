"""Which parts of what `leaks` found to show, and what of them comes first: shared by its forms."""

from __future__ import annotations

from collections import Counter

from pmapdiff.analyse.result import Figure, Finding, Leaks, Suspect, TimeToLimit, Verdict
from pmapdiff.text import printable

# What fits on a first screen: of what grows three lines each, and of every other kind a few.
_GROWING = 10
_OTHERS = 3
_QUIET = frozenset((Verdict.STABLE, Verdict.TOO_SHORT))


def main_finding(suspect: Suspect) -> Finding | None:
    """The finding that the verdict on the process is of, if it is of one."""
    return next((finding for finding in suspect.findings if finding.trend.verdict is suspect.verdict), None)


def first_limit(finding: Finding) -> TimeToLimit | None:
    """The limit that is reached first, if any."""
    return min(finding.limits, key=lambda limit: limit.low_hours, default=None)


def next_limit(suspect: Suspect) -> tuple[TimeToLimit, Figure] | None:
    """The limit that a process reaches first, by any of its findings, and what it is one of."""
    limits = [(limit, finding.figure) for finding in suspect.findings for limit in finding.limits]
    return min(limits, key=lambda known: known[0].low_hours, default=None)


def evidence_lines(finding: Finding) -> list[str]:
    """The evidence, and why the verdict is what it is, each once."""
    return list(dict.fromkeys(printable(line) for line in (*finding.evidence, *finding.trend.words)))


def first_evidence(finding: Finding) -> str | None:
    """The line of its evidence that says most: what the tables show, before how the verdict came about."""
    lines = evidence_lines(finding)
    reasons = {printable(words) for words in finding.trend.words}
    return next((line for line in lines if line not in reasons), lines[0] if lines else None)


def process_reasons(suspect: Suspect) -> list[str]:
    """Why the whole process is called what it is, as far as no finding says the same."""
    said = {line for finding in suspect.findings for line in evidence_lines(finding)}
    return [words for words in map(printable, suspect.trend.words) if words not in said]


def was_killed(suspect: Suspect) -> bool:
    """Whether the kernel said how it ended."""
    return suspect.end is not None and bool(suspect.end.lines)


def chosen_suspects(leaks: Leaks, top: int | None) -> list[Suspect]:
    """What is worth a row: what grows or was asked for by its end, a few of each other verdict but the quiet ones; or as many as are asked for."""
    if top is not None:
        return list(leaks.processes[:top] if top else leaks.processes)
    shown: list[Suspect] = []
    counts: Counter[Verdict] = Counter()
    for suspect in leaks.processes:
        verdict = Verdict.GROWING if was_killed(suspect) else suspect.verdict
        counts[verdict] += 1
        if counts[verdict] <= (_GROWING if verdict is Verdict.GROWING else 0 if verdict in _QUIET else _OTHERS):
            shown.append(suspect)
    return shown
