"""The address space as a picture: every mapping to scale, on an axis that is folded where nothing is, line under line.

Addresses are counted in pages of 4 KiB: such numbers are exact in JavaScript, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from pmapdiff.report.visual.axes import blank, legend, under_pointer
from pmapdiff.report.visual.content import Content, Row, Scope, Span
from pmapdiff.report.visual.draw import Spec
from pmapdiff.report.visual.palette import Palette
from pmapdiff.report.visual.series import FIGURES, NONE_THERE, Values

PAGE_BYTES = 4096
LINE_HEIGHT = 40
_MOST_LINES, _LEAST_LINES = 12, 3
_PAGES_A_LINE = 1024
# A hole is as wide as this part of a line; of many holes all together as wide as this part of the picture.
_HOLE, _ALL_HOLES = 0.012, 0.35
# What is folded for its size leaves at least this part of the picture to what is smaller.
_LEFT_TO_OTHERS = 0.15
_TO_SCALE_AT_LEAST = 64
# What is narrower than this part of a line is drawn together. A script can draw more than a file has room for.
# Of an axis with more points only as many are kept as are needed for places that are off by at most this part of a line.
_MOST_POINTS, _OFF = 1500, 0.0004
_NEAREST_FOLDS = 0.003
HAIR, HAIR_OF_SCRIPT = 0.0015, 0.0007


class Piece(NamedTuple):
    """A part of an address space, in pages: `reserved` where nothing may be read or written, so that nothing can be there."""

    start: int
    end: int
    reserved: bool


@dataclass(frozen=True, slots=True)
class Axis:
    """Where addresses are drawn: points (page, place) between which it is straight; places count lines, of which there are `lines`.

    `folds` are the places where it is folded, with the number of pages that are not to scale there, and whether they are mapped.
    """

    pages: tuple[int, ...]
    places: tuple[float, ...]
    lines: int
    folds: tuple[tuple[float, int, bool], ...]


def axis_of(pieces: Iterable[Piece]) -> Axis:
    """The axis for these mappings, of one table or of several, in any order."""
    parts = _flat(pieces)
    if not parts:
        return Axis((0, 1), (0.0, 1.0), 1, ())
    longest = _longest_to_scale([part.end - part.start for part in parts if not part.reserved])
    holes = sum(one.end < other.start for one, other in pairwise(parts))
    reserved = sum(part.reserved for part in parts)
    shown = sum(min(part.end - part.start, longest) for part in parts if not part.reserved)
    lines = min(_MOST_LINES, max(_LEAST_LINES, shown // _PAGES_A_LINE))
    hole = min(_HOLE, lines * _ALL_HOLES / max(holes + reserved, 1))
    # Small reserves, such as the guards of stacks, are to scale.
    scale = (lines - hole * (holes + reserved)) / max(shown, 1)
    pages, places = [parts[0].start], [0.0]
    folds: list[tuple[float, int, bool]] = []
    for number, part in enumerate(parts):
        size, place = part.end - part.start, places[-1]
        if number and parts[number - 1].end < part.start:
            folds.append((place + hole / 2, part.start - parts[number - 1].end, False))
            place += hole
            pages.append(part.start)
            places.append(place)
        width = min(size * scale, hole) if part.reserved else min(size, longest) * scale
        if width < size * scale * 0.999:
            folds.append((place + width / 2, size, True))
        pages.append(part.end)
        places.append(place + width)
    stretch = lines / places[-1]
    kept = _bends(pages, [place * stretch for place in places])
    return Axis(
        tuple(pages[number] for number in kept),
        tuple(round(places[number] * stretch, 6) for number in kept),
        lines,
        tuple((round(place * stretch, 6), size, mapped) for place, size, mapped in _apart(folds, _NEAREST_FOLDS / stretch)),
    )


def _bends(pages: Sequence[int], places: Sequence[float]) -> list[int]:
    """Which points are needed for a line that is never off by more than a hair: all, unless they are very many."""
    if len(pages) <= _MOST_POINTS:
        return list(range(len(pages)))
    kept = [0]
    steepest, flattest = float("inf"), float("-inf")
    for number in range(1, len(pages)):
        start = kept[-1]
        width, height = pages[number] - pages[start], places[number] - places[start]
        if not flattest <= height / width <= steepest:
            kept.append(number - 1)
            start = number - 1
            steepest, flattest = float("inf"), float("-inf")
            width, height = pages[number] - pages[start], places[number] - places[start]
        steepest, flattest = min(steepest, (height + _OFF) / width), max(flattest, (height - _OFF) / width)
    return [*kept, len(pages) - 1]


def _apart(folds: Sequence[tuple[float, int, bool]], least: float) -> list[tuple[float, int, bool]]:
    """The folds without those that would be drawn over others; the first of each heap stays."""
    found: list[tuple[float, int, bool]] = []
    for fold in folds:
        if not found or fold[0] - found[-1][0] >= least:
            found.append(fold)
    return found


def _flat(pieces: Iterable[Piece]) -> list[Piece]:
    """The same without overlaps, in the order of addresses; neighbours of a kind as one, unless their sizes may have to be told apart."""
    edges: dict[int, list[int]] = {}
    for piece in pieces:
        if piece.end > piece.start:
            for page, sign in ((piece.start, 1), (piece.end, -1)):
                counts = edges.setdefault(page, [0, 0])
                counts[piece.reserved] += sign
    flat: list[Piece] = []
    used = reserved = 0
    for page, following in pairwise(sorted(edges)):
        used, reserved = used + edges[page][0], reserved + edges[page][1]
        if used or reserved:
            flat.append(Piece(page, following, not used))
    return flat


def _longest_to_scale(sizes: Sequence[int]) -> int:
    """How many pages of a mapping are drawn to scale at most, so that what is small can still be seen."""
    ordered = sorted(sizes)
    for place in range(len(ordered) - 1, 0, -1):
        smaller = sum(ordered[:place])
        if smaller >= _LEFT_TO_OTHERS * (smaller + sum(ordered[place:])):
            return ordered[-1]
        # Fold all from here on to the size that leaves the others their part.
        limit = round(smaller * (1 / _LEFT_TO_OTHERS - 1) / (len(ordered) - place))
        if limit >= ordered[place - 1]:
            return max(limit, _TO_SCALE_AT_LEAST)
    return max(ordered, default=1)


def pieces_of(rows: Sequence[Row], times: Sequence[tuple[int, int]]) -> list[Piece]:
    """All that was mapped by these regions at some time of several, each from one step up to, but not with, another."""
    found: set[tuple[int, int, str]] = set()
    for row in rows:
        for place, (step, mappings) in enumerate(row.spans):
            end = row.spans[place + 1][0] if place + 1 < len(row.spans) else step + (1 << 62)
            if any(step < until and since < end for since, until in times):
                found.update(mappings)
    return [_piece(*mapping) for mapping in found]


def _piece(start: int, length: int, perms: str) -> Piece:
    return Piece(start // PAGE_BYTES, -(-(start + length) // PAGE_BYTES), perms.startswith("---"))


def span_at(row: Row, step: int) -> Span | None:
    """Where a region lies at a step; None before it is there."""
    found = None
    for span in row.spans:
        if span[0] > step:
            break
        found = span
    return found


def has_places(scope: Scope) -> bool:
    """Whether it is known where anything lies: of all processes together, and of sums by name, it is not."""
    return not scope.is_all and any(mappings for row in scope.rows for _, mappings in row.spans)


def mappings_of(scope: Scope, pair: tuple[int, int]) -> list[dict[str, Any]]:
    """The mappings at two steps for the picture: `side` 0 and 1, `a` and `b` in pages, `f` the family, `row` the place of the region.

    `d` says that the region is different at the other step: it is new, gone, or something of it changed; `r` which part of it is in memory.
    """
    found = []
    for number, row in enumerate(scope.rows):
        spans = [span_at(row, step) for step in pair]
        values = [row.series.at(step) or NONE_THERE for step in pair]
        differs = values[0] != values[1] or (spans[0] and spans[0][1]) != (spans[1] and spans[1][1])
        for side, span in enumerate(spans):
            full = _resident(values[side])
            for start, length, perms in span[1] if span is not None else ():
                piece = _piece(start, length, perms)
                found.append({"side": side, "a": piece.start, "b": piece.end, "f": row.family, "row": number, "d": differs, "p": perms, "r": full})
    return found


def _resident(values: Values) -> float:
    """The part of a region that is in memory; 1 where that is not known."""
    size, rss = (values[FIGURES.index(figure)] for figure in ("size", "rss"))
    return min(rss / size, 1.0) if size and rss is not None else 1.0


def space(content: Content, scope: Scope, palette: Palette, width: int, *, hair: float = HAIR, title: bool = False) -> Spec:
    """The picture of a process at the two moments that are compared. In a page its data and the signal `cursor` may be set anew."""
    pair = content.pair_of(scope)
    axis = axis_of(pieces_of(scope.rows, [(step, step + 1) for step in pair]))
    before, after = (content.moments[step].words for step in pair)
    heading = {"text": f"{scope.title}: address space", "subtitle": f"of each line: above at {before}, below at {after}; outlined: changed"}
    gap = LINE_HEIGHT * 0.3
    bar = (LINE_HEIGHT - gap) / 2
    return blank(
        width,
        axis.lines * LINE_HEIGHT,
        palette,
        **({"title": heading} if title else {}),
        signals=[
            {"name": "cursor", "value": -1},
            {"name": "hair", "value": hair},
            {"name": "over", "value": None, "on": under_pointer("mapping")},
        ],
        data=[
            {"name": "mappings", "values": mappings_of(scope, pair), "transform": _laid_out()},
            {"name": "folds", "values": [{"place": place, "pages": pages, "mapped": mapped} for place, pages, mapped in axis.folds]},
        ],
        scales=[
            {"name": "fold", "type": "linear", "domain": list(axis.pages), "range": list(axis.places), "zero": False, "clamp": True},
            {"name": "colour", "type": "ordinal", "domain": list(content.families), "range": palette.range()},
        ],
        marks=[
            {
                "type": "rect",
                "name": "mapping",
                "from": {"data": "mappings"},
                "encode": {
                    "update": {
                        "x": {"signal": "round(datum.left * width * 10) / 10"},
                        "width": {"signal": "max(round(datum.width * width * 10) / 10, 0.7)"},
                        "y": {"signal": f"datum.line * {LINE_HEIGHT} + datum.side * {bar + 2}"},
                        "height": {"value": bar},
                        "fill": {"scale": "colour", "field": "f"},
                        "fillOpacity": {"signal": "round(25 + 75 * datum.r) / 100"},
                        "stroke": {"signal": f"datum.row == cursor || datum.d ? '{palette.role('mark')}' : '{palette.role('ground')}'"},
                        "strokeWidth": {"signal": "datum.row == cursor ? 3 : datum.d ? 1.4 : datum.width * width > 3 ? 0.5 : 0"},
                    }
                },
            },
            {
                "type": "rule",
                "from": {"data": "folds"},
                "encode": {
                    "update": {
                        "x": {"signal": "(datum.place - floor(datum.place)) * width"},
                        "y": {"signal": f"floor(datum.place) * {LINE_HEIGHT}"},
                        "y2": {"signal": f"floor(datum.place) * {LINE_HEIGHT} + {LINE_HEIGHT - gap + 2}"},
                        "stroke": {"value": palette.role("faint")},
                        "strokeDash": {"signal": "datum.mapped ? [2, 2] : [1, 0]"},
                        "strokeWidth": {"value": 1},
                        "opacity": {"value": 0.7},
                    }
                },
            },
        ],
        **legend(palette),
    )


def _laid_out() -> list[dict[str, Any]]:
    """From addresses to lines: a mapping that goes over the end of one goes on in the next. What is narrower than a hair is drawn together."""
    return [
        {"type": "formula", "as": "from", "expr": "scale('fold', datum.a)"},
        {"type": "formula", "as": "to", "expr": "scale('fold', datum.b)"},
        {"type": "formula", "as": "line", "expr": "sequence(floor(datum.from), max(floor(datum.from) + 1, ceil(datum.to - 1e-6)))"},
        {"type": "flatten", "fields": ["line"]},
        {"type": "formula", "as": "left", "expr": "round(max(datum.from - datum.line, 0) * 1e5) / 1e5"},
        {"type": "formula", "as": "width", "expr": "round(max(min(datum.to - datum.line, 1) - datum.left, 0) * 1e5) / 1e5"},
        {
            "type": "formula",
            "as": "hair",
            "expr": "datum.width > hair ? datum.row + '/' + datum.a : '=' + datum.f + datum.d + floor(datum.left / hair)",
        },
        {
            "type": "aggregate",
            "groupby": ["side", "line", "hair", "f", "d"],
            "ops": ["min", "max", "min", "min", "min", "max", "max"],
            "fields": ["left", "width", "row", "p", "a", "b", "r"],
            "as": ["left", "width", "row", "p", "a", "b", "r"],
        },
    ]
