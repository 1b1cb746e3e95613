"""Markdown for a ticket or a merge request; what strangers named is shown, not interpreted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TextIO

from pmapdiff.align import History, Match
from pmapdiff.compare import Comparison, family_changes
from pmapdiff.model.counters import sum_figures
from pmapdiff.report.base import MAIN_FIGURES, View, figure_title, register
from pmapdiff.report.regions import figure_name, last_less_first, left_out_words, rows_of, service_title, value
from pmapdiff.report.shape import applied_rules, figure_of, rows_for_people, summarise_families, summarise_processes
from pmapdiff.report.words import caveats, change_words, effect_words, headline, mappings_words, process_title, snapshot_words, without_table_words
from pmapdiff.text import printable
from pmapdiff.units import format_delta_kib, format_kib, plural

# Entities for what starts HTML, a mention, a reference or a bare link; a backslash before the rest. In one pass, so that
# nothing that was escaped is escaped again.
_SPECIAL = re.compile(r"[\\`*_\[\]|~&<>@#]|://|(?<=www)\.")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "#": "&#35;", "://": "&#58;//", ".": "&#46;"}


def escape(text: str) -> str:
    """Text that stays text: no emphasis, links, HTML, mentions, references or cell borders."""
    return _SPECIAL.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), printable(text))


def write_rows(header: Sequence[str], rows: Iterable[Sequence[str]], out: TextIO, texts: int = 2) -> None:
    """A table of cells that are safe; the last columns, as many as `texts`, to the left."""
    numbers = len(header) - texts
    out.write(f"| {' | '.join(header)} |\n|{'---:|' * numbers}{'---|' * texts}\n")
    for row in rows:
        out.write(f"| {' | '.join(row)} |\n")
    out.write("\n")


def _cells(delta: Sequence[int | None]) -> list[str]:
    return [format_delta_kib(figure_of(tuple(delta), name)) for name in MAIN_FIGURES]


@register("compare", "markdown")
def write_comparison(result: Comparison, view: View, out: TextIO) -> None:
    """The headline of each process, and a table of its changes, families, or all processes in one."""
    out.write(f"- before: {escape(snapshot_words(result.before))}\n- after: {escape(snapshot_words(result.after))}\n\n")
    titles = [*map(figure_title, MAIN_FIGURES)]
    if view.by == "process":
        summary = summarise_processes(result, view)
        rows = [[*_cells(p.delta), p.match.value, escape(process_title(p.process))] for p in summary.shown]
        if summary.hidden:
            rows.append([*_cells(sum_figures(p.delta for p in summary.hidden)), "", f"{len(summary.hidden):,} changed less"])
        write_rows([*titles, "Match", "Process"], [*rows, [*_cells(summary.total), "", "in all"]], out)
        if summary.without_table:
            out.write(without_table_words(summary.without_table) + "\n")
        return
    if view.by == "family":
        by_family = summarise_families(family_changes(result.processes, result.families), view)
        rows = [[*_cells(row.delta), mappings_words(row), row.family] for row in by_family.shown]
        if by_family.hidden:
            rows.append([*_cells(sum_figures(row.delta for row in by_family.hidden)), "", f"{len(by_family.hidden)} changed less"])
        write_rows([*titles, "Mappings", "Family"], [*rows, [*_cells(by_family.total), "", "in all"]], out)
        if view.explain:
            write_rows(["Mappings", "Family", "Rule"], [[*rule[:2], escape(rule.reason)] for rule in applied_rules(by_family.shown)], out)
        return
    told = [p for p in result.processes if p.changes or p.match in (Match.NEW, Match.GONE) or caveats(p)]
    for process in told:
        out.write(f"**{escape(headline(process, result))}**\n\n")
        for caveat in caveats(process):
            out.write(f"> note: {escape(caveat)}\n\n")
        for sentence in effect_words(process):
            out.write(f"> {escape(sentence)}\n\n")
        if not process.changes or process.totals_before is None or process.totals_after is None:
            continue
        shown = rows_for_people(process, view, view.top or 0)
        rows = [
            [*(format_kib(process.totals_before.get(name)) for name in MAIN_FIGURES), "before", "", plural(process.totals_before.mappings, "mapping")]
        ]
        rows += [[*_cells(row.delta), change_words(row.changes[0]), row.perms, escape(row.name)] for row in shown.rows]
        for left, label in ((shown.more, "more change"), (shown.smaller, "smaller change")):
            if left.changes:
                rows.append([*_cells(left.delta), "", "", plural(len(left.changes), label)])
        rows.append([*_cells(process.delta), "in all", "", f"{plural(process.unchanged, 'mapping')} unchanged"])
        rows.append(
            [*(format_kib(process.totals_after.get(name)) for name in MAIN_FIGURES), "after", "", plural(process.totals_after.mappings, "mapping")]
        )
        write_rows([*titles, "Change", "Perms", "Mapping"], rows, out, 3)
    if len(told) < len(result.processes):
        out.write(f"{plural(len(result.processes) - len(told), 'process', 'processes')} without any change\n")
    return


@register("series", "markdown")
def write_series(result: History, view: View, out: TextIO) -> None:
    """A table a process: one figure of each region in a column a snapshot."""
    for ref in result.snapshots:
        out.write(f"- {escape(snapshot_words(ref))}\n")
    figure = figure_name(view, result)
    columns = [escape(f"#{ref.id}") if ref.id is not None else f"({number + 1})" for number, ref in enumerate(result.snapshots)]
    for service in result.services:
        found = rows_of(service, view, figure, view.top or 0)
        shown = [(escape(row.name), [value(sample, figure) for sample in row.samples]) for row in found.rows]
        if found.hidden or found.unchanged:
            shown.append((left_out_words(found), [value(sample, figure) for sample in found.rest]))
        shown.append(("in all", [None if totals is None else totals.get(figure) for totals in service.totals]))
        out.write(f"\n**{escape(service_title(service, result))}: {figure_title(figure)}**\n\n")
        rows = [[*(format_kib(v) for v in values), format_delta_kib(last_less_first(values)), name] for name, values in shown]
        write_rows([*columns, "±", "Family" if view.by == "family" else "Mapping"], rows, out, 1)
