"""A comparison as text: the answer on the first screen."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from pmapdiff.align import Match
from pmapdiff.compare import Comparison, FamilyChange, ProcessComparison, family_changes
from pmapdiff.model import Status
from pmapdiff.model.counters import sum_figures
from pmapdiff.report.account import account_of_changes, account_of_families, by_figure, figures_shown
from pmapdiff.report.base import MAIN_FIGURES
from pmapdiff.report.family_text import write_rules
from pmapdiff.report.figures import SHARE, change_shares, delta_cells, figure_columns
from pmapdiff.report.page import Page, register_page
from pmapdiff.report.shape import applied_rules, figure_of, is_telling, rows_for_people, summarise_families, summarise_processes
from pmapdiff.report.table import ALL, HANGING, IN_FULL, NOTE, Column, Row, worded
from pmapdiff.report.words import (
    caveats,
    effect_words,
    headline,
    process_title,
    snapshot_words,
    without_table_words,
)
from pmapdiff.units import plural

# What fits on a first screen.
_ROWS = 12
_PROCESSES = 12
_PROCESSES_IN_FULL = 2


@register_page("compare")
def write_comparison(result: Comparison, page: Page) -> None:
    """Which two snapshots, then for each process the headline, the changes and totals that add up."""
    view = page.view
    page.wrapped(snapshot_words(result.before), "", "before  ", "        ")
    page.wrapped(snapshot_words(result.after), "", "after   ", "        ")
    page.line()
    if view.by == "process":
        _write_processes(result, page)
    elif view.by == "family" and len(result.processes) > 1:
        _write_families(family_changes(result.processes, result.families), figures_shown(result.processes, page.view), page)
    else:
        _write_each(result, page)


def _write_each(result: Comparison, page: Page) -> None:
    view, several = page.view, len(result.processes) > 1
    told = [p for p in result.processes if _is_told(p)] if several else list(result.processes)
    unread = [p for p in told if not p.comparable] if several else []
    told = [p for p in told if p.comparable or not several]
    # Of several processes a first screen holds one line each, and the changes of the first; a number of rows asks for all of it.
    in_full = view.top is not None or len(told) <= _PROCESSES_IN_FULL
    limit = len(told) if view.top is not None else _PROCESSES
    for number, process in enumerate(told[:limit]):
        if number and in_full:
            page.line()
        _write_headline(headline(process, result), page)
        for caveat in caveats(process):
            page.wrapped(f"note: {caveat}", "yellow", *NOTE)
        for sentence in effect_words(process):
            page.wrapped(sentence, "cyan", *NOTE)
        if in_full:
            _write_detail(process, page)
    if told and not in_full:
        page.line()
        page.wrapped(process_title(told[0].process), "bold", *HANGING)
        _write_detail(told[0], page)
    rest = len(told) - min(limit, len(told))
    unchanged = len(result.processes) - len(told) - len(unread)
    if told and several and (rest or unread or unchanged or not in_full):
        page.line()
    if told and not in_full:
        page.wrapped(IN_FULL)
    if rest:
        page.wrapped(f"{plural(rest, 'process', 'processes')} that changed less not shown: --by process or --top 0 shows all")
    if unread:
        page.wrapped(without_table_words(unread))
    if several and unchanged:
        page.wrapped(f"{plural(unchanged, 'process', 'processes')} unchanged in size, Rss, dirty and swap")
    if not result.processes:
        page.wrapped("no process in either snapshot")


def _is_told(process: ProcessComparison) -> bool:
    if process.match in (Match.NEW, Match.GONE) or any(map(is_telling, process.changes)) or any(process.get(name) for name in MAIN_FIGURES):
        return True
    # That a table has no counters is said of each that changed, and need not be of every other at every comparison.
    return any(c is not None and c.status not in (Status.COMPLETE, Status.MAPS_ONLY) for c in (process.before, process.after))


def _write_headline(sentence: str, page: Page) -> None:
    """The answer; where it takes two lines, the second says what most of it is."""
    first, separator, second = sentence.rpartition("; ")
    if page.view.width is None or not separator or cell_len(sentence) <= page.view.width:
        return page.wrapped(sentence, "bold", *HANGING)
    page.wrapped(f"{first};", "bold", *HANGING)
    return page.wrapped(second, "bold", HANGING[1], HANGING[1])


def _write_detail(process: ProcessComparison, page: Page) -> None:
    view = page.view
    if view.by == "family" and process.families:
        _write_families(process.families, figures_shown([process], page.view), page)
    elif process.changes and (process.match not in (Match.NEW, Match.GONE) or view.top is not None):
        _write_changes(process, page)


def _write_changes(process: ProcessComparison, page: Page) -> None:
    assert process.totals_before is not None
    assert process.totals_after is not None
    shown = rows_for_people(process, page.view, _ROWS if page.view.top is None else page.view.top)
    figures = figures_shown([process], page.view)
    account = account_of_changes(process.totals_before, process.totals_after, process.delta, shown, figures, page.view)
    page.table(account.columns, [line.row for line in account.lines])
    left_out = f", {plural(len(shown.more.changes), 'change')} not shown: {ALL}" if shown.more.changes else ""
    page.wrapped(f"{plural(process.unchanged, 'mapping')} unchanged{left_out}")


def _write_families(families: Sequence[FamilyChange], figures: Sequence[str], page: Page) -> None:
    summary = summarise_families(families, page.view)
    account = account_of_families(summary, families, figures, page.view)
    page.table(account.columns, [line.row for line in account.lines])
    if page.view.explain:
        write_rules(applied_rules(summary.shown), page)


def _write_processes(result: Comparison, page: Page) -> None:
    figures = figures_shown(result.processes, page.view)
    summary = summarise_processes(result, page.view)
    rest = [sum_figures(p.delta for p in summary.hidden)] if summary.hidden else []
    every = [*(p.delta for p in summary.shown), *rest]
    bars = change_shares(by_figure(page.view, lambda name: [figure_of(delta, name) for delta in every]))
    rows: list[Row] = [
        [*delta_cells(p.delta, figures), share, f"{len(p.changes):,}", p.match.value, process_title(p.process)]
        for p, share in zip(summary.shown, bars, strict=False)
    ]
    if summary.hidden:
        rows.append([*delta_cells(rest[0], figures), bars[-1], "", "", f"{len(summary.hidden):,} changed less"])
    rows.append([])
    rows.append([*delta_cells(summary.total, figures, "bold"), "", "", "", "in all"])
    page.table([*figure_columns(figures, page.view.sort), SHARE, Column("Changes", spare=5), worded("Match"), worded("Process")], rows)
    if summary.without_table:
        page.wrapped(without_table_words(summary.without_table))
