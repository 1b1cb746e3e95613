"""Mapping tables as text, as pmap prints them."""

from __future__ import annotations

from pmapdiff.model import FIGURE_INDEX, Capture, Snapshot
from pmapdiff.model.mapping import known_perms
from pmapdiff.report.base import figure_title
from pmapdiff.report.family_text import write_explained_mappings, write_family_summary
from pmapdiff.report.page import Page, register_page
from pmapdiff.report.rows import address_text, chosen_rows, names_of
from pmapdiff.report.table import NOTE, Cell, Row
from pmapdiff.report.words import process_title, snapshot_words, table_notes
from pmapdiff.text import printable
from pmapdiff.units import format_us, plural


@register_page("show")
def write_snapshot(result: Snapshot, page: Page) -> None:
    """The tables of a snapshot, as pmap prints them: a row a mapping, then the totals."""
    view = page.view
    page.wrapped(snapshot_words(result.ref), "", "", "  ")
    if view.by == "family":
        page.line()
        write_family_summary(result, page)
        return
    for capture in result.captures:
        page.line()
        command_line = printable(capture.process.command_line)
        page.line(f"{process_title(capture.process)}{': ' if command_line else ''}{command_line}", "bold")
        if capture.read_us is not None:
            page.wrapped(f"read in {format_us(capture.read_us)}", "", *NOTE)
        if capture.status != "complete":
            note = f": {printable(capture.note)}" if capture.note else ""
            page.wrapped(f"note: this capture is marked {capture.status}{note}", "yellow", *NOTE)
        for note in table_notes(capture.table):
            page.wrapped(f"note: {note}", "yellow", *NOTE)
        if capture.table is not None and view.explain:
            write_explained_mappings(capture, page)
        elif capture.table is not None:
            _write_mappings(capture, page)
    if not result.captures:
        page.wrapped("no process")


def _write_mappings(capture: Capture, page: Page) -> None:
    assert capture.table is not None
    wide = page.view.is_wide
    totals = capture.sums or capture.table.totals
    swap = ("swap_kib",) if totals.get("swap_kib") else ()
    figures = ("size_kib", "rss_kib", "pss_kib", "dirty_kib", *swap, *(("anonymous_kib",) if wide else ()))
    indexes = [FIGURE_INDEX[name] for name in figures]
    chosen = chosen_rows(capture, page.view)
    rows: list[Row] = []
    names = names_of(capture.table.mappings)
    for mapping, verdict in chosen:
        values = mapping.figures
        cells: list[Cell | str] = [address_text(mapping), *(_plain(values[i]) for i in indexes), known_perms(mapping.perms) or "-"]
        if wide:
            cells += ["-" if mapping.offset is None else f"{mapping.offset:x}", verdict.family]
        rows.append([*cells, printable(names[mapping])])
    rows.append([])
    blanks = ["", "", ""] if wide else [""]
    rows.append([Cell("total KiB", "bold"), *(Cell(_plain(totals.figures[i]), "bold") for i in indexes), *blanks, plural(totals.mappings, "mapping")])
    titles = [*map(figure_title, figures)]
    header = ["Address", *titles, "Perms", *(["Offset", "Family"] if wide else []), "Mapping"]
    left = {0, len(header) - 1, len(titles) + 1} | ({len(header) - 2} if wide else set())
    page.table(header, left, rows)
    if len(chosen) < totals.mappings:
        page.wrapped(f"{plural(totals.mappings - len(chosen), 'mapping')} not shown: see them all with --top 0")


def _plain(kib: int | None) -> str:
    return "-" if kib is None else str(kib)
