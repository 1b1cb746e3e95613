"""The content of a page as its script reads it: JSON, packed, as small as it can be without losing a number.

`pmapdiff.page/1`: series are pairs of numbers (see `Series.encoded`), one list for each of `figures`; a number in place of a list says that the
figure is equal to that one. Addresses and lengths are in pages of 4 KiB, steps are places in `moments`.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Sequence
from itertools import combinations_with_replacement, pairwise
from typing import Any

from pmapdiff.report.visual.content import Content, Row, Scope
from pmapdiff.report.visual.series import FIGURES, Series
from pmapdiff.report.visual.space import PAGE_BYTES, axis_of, has_places, pieces_of
from pmapdiff.report.visual.timeline import breaks_of

SCHEMA = "pmapdiff.page/1"
_MOST_INCARNATIONS = 4
# Halves of fewer are not tried.
_LEAST_ROWS = 1


def packed(content: Content, most_bytes: int) -> str:
    """The content in base64 of gzip: of as many processes all, of the others the families, as there is room for."""
    text = _text(page_value(content, _rows_in_full(content, most_bytes * 3 // 4)))
    return base64.b64encode(gzip.compress(text, 9, mtime=0)).decode()


def _text(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode()


def _rows_in_full(content: Content, most_bytes: int) -> list[int | None]:
    """For each scope of how many rows the figures are told; None: not even those of its families."""
    permissions = _permissions(content)

    def cost(scope: Scope, rows: int | None) -> int:
        return len(zlib.compress(_text(_scope_value(content, scope, rows, permissions)), 6))

    wanted: list[int | None] = [None] * len(content.scopes)
    room = most_bytes - len(zlib.compress(_text(page_value(content, wanted)), 6))

    def grant(place: int, rows: int | None, room: int) -> int:
        """Give a scope so many rows if there is room for them; gives the room that is left."""
        scope = content.scopes[place]
        more = cost(scope, rows) - cost(scope, wanted[place])
        if more <= room:
            wanted[place] = rows
            return room - more
        return room

    def grant_all(place: int, room: int) -> int:
        """Give a scope as many rows as there is room for: all, or half of them, and so on."""
        rows = len(content.scopes[place].rows)
        while rows >= _LEAST_ROWS and (wanted[place] or 0) < rows:
            room = grant(place, rows, room)
            rows //= 2
        return room

    # What is shown first comes first, then a little of all, then all of as many as there is room for: the first matter most.
    half = room // 2
    room -= half - grant_all(content.shown, half)
    for place, rows in enumerate(wanted):
        if rows is None:
            room = grant(place, 0, room)
    for place in range(len(content.scopes)):
        if room > most_bytes // 50:
            room = grant_all(place, room)
    return wanted


def _permissions(content: Content) -> list[str]:
    return sorted({perms for scope in content.scopes for row in scope.rows for _, lie in row.spans for _, _, perms in lie})


def page_value(content: Content, rows: Sequence[int | None]) -> dict[str, Any]:
    """What is packed: of each scope so many regions, or (None) only its totals."""
    permissions = _permissions(content)
    return {
        "schema": SCHEMA,
        "figures": list(FIGURES),
        "families": list(content.families),
        "permissions": permissions,
        "moments": {
            "clock_ms": _differences([moment.clock_ms for moment in content.moments]),
            "taken_at_us": _differences([moment.taken_at_us for moment in content.moments]),
            "ids": [moment.id for moment in content.moments],
            # What a clock on the wall showed otherwise, where it was put back or forward.
            "shifts": {str(step): shift for step, moment in enumerate(content.moments) if (shift := moment.shift_ms)},
            "labels": {str(step): moment.label for step, moment in enumerate(content.moments) if moment.label},
        },
        "pair": list(content.pair),
        "shown": content.shown,
        "scopes": [_scope_value(content, scope, number, permissions) for scope, number in zip(content.scopes, rows, strict=True)],
    }


def _differences(values: Sequence[int]) -> list[int]:
    return [*values[:1], *(after - before for before, after in pairwise(values))]


def series_value(series: Series) -> list[Any]:
    """A list a figure, or the place of one that is the same throughout."""
    lists: list[list[int | None]] = [series.encoded(figure) for figure in FIGURES]
    return [lists.index(encoded) if lists.index(encoded) < place else encoded for place, encoded in enumerate(lists)]


def _scope_value(content: Content, scope: Scope, number: int | None, permissions: Sequence[str]) -> dict[str, Any]:
    rows = scope.rows[: number or 0]
    families = scope.families if number is not None else ()
    return {
        "title": scope.title,
        "answer": scope.answer,
        "verdict": scope.verdict,
        "is_all": scope.is_all,
        "steps": _differences(scope.steps),
        "breaks": breaks_of(content, scope),
        "known": content.figures(scope),
        "figure": content.first_figure(scope),
        "totals": series_value(scope.totals),
        "families": [[content.families.index(row.family), series_value(row.series)] for row in families],
        "rows": [_row_value(content, row, permissions) for row in rows],
        "left_out": scope.regions - len(rows),
        "marks": [[mark.kind, mark.clock_ms, mark.words, mark.when] for mark in scope.marks],
        **(_axes(scope, rows) if rows and has_places(scope) else {}),
    }


def _row_value(content: Content, row: Row, permissions: Sequence[str]) -> list[Any]:
    family = content.families.index(row.family) if row.family else -1
    spans: list[Any] = []
    for step, lie in row.spans:
        last = 0
        spans.append(step)
        flat: list[int] = []
        for start, length, perms in lie:
            page, end = start // PAGE_BYTES, -(-(start + length) // PAGE_BYTES)
            flat += [page - last, end - page, permissions.index(perms)]
            last = page
        spans.append(flat)
    return [row.key, family, row.name, row.perms, row.path if row.path != row.name else "", row.offset, series_value(row.series), spans]


def _axes(scope: Scope, rows: Sequence[Row]) -> dict[str, Any]:
    """The axes of the address space: one for each incarnation, and for each two that may be compared, with all that ever lay there."""
    starts = [scope.steps[0], *sorted(mark.step for mark in scope.marks if mark.kind == "restart" and mark.step is not None)]
    ends = [*starts[1:], 1 << 62]
    several = len(starts) <= _MOST_INCARNATIONS
    pairs = combinations_with_replacement(range(len(starts)), 2) if several else ((place, place) for place in range(len(starts)))
    axes = {f"{one}-{other}": _axis(rows, [(starts[one], ends[one]), (starts[other], ends[other])]) for one, other in pairs}
    if not several:
        axes["all"] = _axis(rows, [(0, 1 << 62)])
    return {"starts": starts, "axes": axes}


def _axis(rows: Sequence[Row], times: Sequence[tuple[int, int]]) -> list[Any]:
    """An axis for what lay there in these times: pages (each less the one before), places, the number of lines, and where it is folded."""
    axis = axis_of(pieces_of(rows, times))
    return [_differences(axis.pages), list(axis.places), axis.lines, [list(fold) for fold in axis.folds]]
