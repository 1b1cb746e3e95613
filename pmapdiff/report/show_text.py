"""Mapping tables as text, as pmap prints them."""

from __future__ import annotations

from pmapdiff.model import FIGURE_INDEX, Capture, Snapshot
from pmapdiff.model.mapping import known_perms
from pmapdiff.report.family_text import write_explained_mappings, write_family_summary, write_left_out
from pmapdiff.report.figures import SHARE, figure_columns, figure_of_sort, figures_to_show, share_cell, size_cells
from pmapdiff.report.page import Page, register_page
from pmapdiff.report.rows import address_texts, chosen_rows, names_of
from pmapdiff.report.table import HANGING, NOTE, Row, worded
from pmapdiff.report.words import process_title, snapshot_words, table_notes
from pmapdiff.text import printable
from pmapdiff.units import format_us, plural


@register_page("show")
def write_snapshot(result: Snapshot, page: Page) -> None:
    """The tables of a snapshot, as pmap prints them: a row a mapping, then the totals."""
    view = page.view
    page.wrapped(snapshot_words(result.ref), "", *HANGING)
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
    totals = capture.sums or capture.table.totals
    figures = figures_to_show([totals], page.view.sort)
    chosen = chosen_rows(capture, page.view)
    of_what = FIGURE_INDEX[figure_of_sort(page.view.sort)]
    rows: list[Row] = []
    names = names_of(capture.table.mappings)
    for address, (mapping, verdict) in zip(address_texts([m for m, _ in chosen]), chosen, strict=True):
        values = mapping.figures
        share = share_cell(values[of_what], totals.figures[of_what] or 0)
        offset = "-" if mapping.offset is None else f"{mapping.offset:x}"
        about = [known_perms(mapping.perms) or "-", offset, verdict.family, printable(names[mapping])]
        rows.append([address, *size_cells(values, figures), share, *about])
    rows.append([])
    rows.append(["", *size_cells(totals.figures, figures, "bold"), "", "", "", "", f"in all, {plural(totals.mappings, 'mapping')}"])
    columns = [worded("Address"), *figure_columns(figures, page.view.sort), SHARE, worded("Perms"), worded("Offset", extra=True, spare=4)]
    page.table([*columns, worded("Family", extra=True, spare=3), worded("Mapping")], rows)
    write_left_out(totals.mappings - len(chosen), page)
