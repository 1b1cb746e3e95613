"""The rows of a mapping table as a report shows them: chosen, in order, with their families."""

from __future__ import annotations

from collections.abc import Sequence

from pmapdiff.align import Verdict
from pmapdiff.align.labels import bss_owners, display_name
from pmapdiff.model import FIGURE_INDEX, Capture, Mapping
from pmapdiff.report.base import View


def names_of(mappings: Sequence[Mapping]) -> dict[Mapping, str]:
    """What people call each mapping of a table (`libc.so.6 bss`, `[anon]`); not yet printable."""
    owners = bss_owners(mappings)
    return {m: display_name(m, mappings[owners[i]] if i in owners else None) for i, m in enumerate(mappings)}


def address_texts(mappings: Sequence[Mapping]) -> list[str]:
    """The addresses of mappings, all of one length; `-` of a sum, which has none."""
    digits = max((len(f"{m.start:x}") for m in mappings if not m.is_sum), default=0)
    return ["-" if m.is_sum else f"{m.start:0{digits}x}" for m in mappings]


def chosen_rows(capture: Capture, view: View) -> list[tuple[Mapping, Verdict]]:
    """The mappings of a capture with what they are for, sorted and cut as the view says; none without a table.

    Largest first for a figure; in the order of addresses unless told otherwise.
    """
    if capture.table is None:
        return []
    rows = list(zip(capture.table.mappings, view.classifier.explain(capture), strict=True))
    if view.sort == "name":
        rows.sort(key=lambda row: row[0].name)
    elif view.sort not in (None, "address"):
        index = FIGURE_INDEX[f"{view.sort}_kib"]
        rows.sort(key=lambda row: -(row[0].figures[index] or 0))
    return rows[: view.top] if view.top else rows
