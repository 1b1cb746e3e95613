"""The timeline: a figure of a process, stacked by family, with what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pmapdiff.report.sparkline import gaps
from pmapdiff.report.visual.axes import amount_axis, amount_signals, blank, legend, scales_of_time, time_axis
from pmapdiff.report.visual.content import Content, Scope
from pmapdiff.report.visual.draw import Spec
from pmapdiff.report.visual.palette import Palette

HEIGHT = 300
_IS_COUNT = "figure == 'mappings'"
# More points than this are more than a screen has: of a picture that stands still only the largest of each few are drawn.
_MOST_POINTS = 240


def timeline(content: Content, scope: Scope, figure: str, palette: Palette, width: int, *, title: bool = False) -> Spec:
    """The picture of a scope. In a page the data and the signals `figure` and `pair` may be set anew."""
    first, last = content.pair_of(scope)
    moments = content.moments
    heading = {"text": f"{scope.title}: {figure_title(figure)}", "subtitle": content.headline} if title else None
    steps = scope.steps or (0, len(moments) - 1)
    span = [moments[steps[0]].clock_ms, moments[steps[-1]].clock_ms]
    marks = [mark.clock_ms for mark in scope.marks if mark.kind == "kill"]
    return blank(
        width,
        HEIGHT,
        palette,
        **({"title": heading} if heading else {}),
        signals=[
            {"name": "figure", "value": figure},
            {"name": "pair", "value": [moments[first].clock_ms, moments[last].clock_ms]},
            {"name": "span", "value": [min([span[0], *marks]), max([span[1], *marks])]},
            {"name": "hover", "value": None, "on": [{"events": "@ground:pointermove", "update": "invert('x', clamp(x(), 0, width))"}, _LEFT]},
            {"name": "anchor", "value": 0, "on": [{"events": "@ground:pointerdown", "update": "clamp(x(), 0, width)"}]},
            # Over how much of the picture a pointer was drawn, and, when it is let go, what was chosen by that.
            {"name": "drag", "value": None, "on": [_DRAGGED, {"events": "@ground:pointerdown", "update": "null"}]},
            {"name": "chosen", "value": None, "on": [{"events": "window:pointerup", "update": "drag"}]},
            *amount_signals("(data('largest')[0] || {}).value || 0", is_count=_IS_COUNT),
        ],
        data=[
            {
                "name": "points",
                "values": points_of(content, scope, figure),
                "transform": [{"type": "stack", "groupby": ["t"], "field": "v", "sort": {"field": "order"}, "as": ["low", "high"]}],
            },
            {"name": "sums", "values": sums_of(content, scope, figure)},
            {
                "name": "largest",
                "source": "sums",
                "transform": [{"type": "aggregate", "ops": ["max"], "fields": ["v"], "as": ["value"]}],
            },
            {"name": "marks", "values": marks_of(scope)},
        ],
        scales=[
            *scales_of_time("span"),
            {"name": "colour", "type": "ordinal", "domain": list(content.families), "range": palette.range()},
        ],
        axes=[amount_axis(is_count=_IS_COUNT), time_axis()],
        marks=[
            _areas(palette),
            _sums_line(palette),
            *_pair_marks(palette),
            *_events(palette),
            _hover(palette),
            {
                "type": "rect",
                "name": "ground",
                "encode": {
                    "enter": {"fill": {"value": "transparent"}, "cursor": {"value": "crosshair"}},
                    "update": {"width": {"signal": "width"}, "height": {"signal": "height"}},
                },
            },
        ],
        **legend(palette),
    )


_SHAPE = "datum.kind == 'kill' ? 'cross' : datum.kind == 'restart' ? 'triangle-right' : datum.kind == 'gap' ? 'stroke' : 'diamond'"
_LEFT = {"events": "@ground:pointerout", "update": "null"}
_DRAGGED = {
    "events": "[@ground:pointerdown, window:pointerup] > window:pointermove",
    "update": "abs(clamp(x(), 0, width) - anchor) < 3 ? null : [invert('x', anchor), invert('x', clamp(x(), 0, width))]",
}


def figure_title(figure: str) -> str:
    """`Rss`, `Mappings`: what people read."""
    return figure.capitalize()


def points_of(content: Content, scope: Scope, figure: str) -> list[dict[str, Any]]:
    """A point a family and snapshot: `t` in ms, `v` in KiB or mappings (None: unknown, or a gap), `f` the family, `order` its place.

    Of a long series only as many as a picture has room for.
    """
    steps = thinned_steps(scope)
    breaks = breaks_of(content, scope)
    return [
        {"t": t, "f": row.family, "v": value, "order": order}
        for order, row in enumerate(scope.families)
        for t, value in line_of(content, row.series.values(figure), steps, breaks)
    ]


def sums_of(content: Content, scope: Scope, figure: str) -> list[dict[str, Any]]:
    """The same of the whole."""
    line = line_of(content, scope.totals.values(figure), thinned_steps(scope), breaks_of(content, scope))
    return [{"t": t, "v": value} for t, value in line]


def breaks_of(content: Content, scope: Scope) -> list[int]:
    """The steps to which no line leads from the one before: after a gap in time, a snapshot without a table, and a restart."""
    steps = scope.steps
    late = gaps([content.moments[step].taken_at_us for step in steps])
    again = {mark.step for mark in scope.marks if mark.kind == "restart" and not scope.is_all}
    missing = {mark.step for mark in scope.marks if mark.kind == "incomplete"}
    return [
        step
        for place, (before, step) in enumerate(pairwise(steps), 1)
        if place in late or step in again or any(between in missing for between in range(before + 1, step))
    ]


def thinned_steps(scope: Scope, most: int = _MOST_POINTS) -> list[int]:
    """The steps to draw: at most about as many as there are points in a picture, with the first and the last."""
    steps = scope.steps
    if len(steps) <= most:
        return list(steps)
    return [*(steps[len(steps) * i // most] for i in range(most)), steps[-1]]


def line_of(content: Content, values: Sequence[int | None], steps: Sequence[int], breaks: Sequence[int]) -> list[tuple[float, int | None]]:
    """Points (ms, value) with one that is None before each break."""
    line: list[tuple[float, int | None]] = []
    waiting = iter([*breaks, len(values), len(values) + 1])
    following = next(waiting)
    clocks = [content.moments[step].clock_ms for step in steps]
    # What has no neighbour is as wide as a hair.
    hair = max((clocks[-1] - clocks[0]) / 400, 0.25) if clocks else 0
    for place, (step, t) in enumerate(zip(steps, clocks, strict=True)):
        begins = place == 0 or step >= following
        if place and begins:
            line.append((t - 0.5, None))
        while step >= following:
            following = next(waiting)
        line.append((t, values[step]))
        if begins and (place + 1 == len(steps) or steps[place + 1] >= following):
            line.append((t + hair, values[step]))
    return line


def marks_of(scope: Scope) -> list[dict[str, Any]]:
    """What happened, for the picture."""
    return [{"t": mark.clock_ms, "kind": mark.kind, "words": mark.words} for mark in scope.marks]


def _areas(palette: Palette) -> dict[str, Any]:
    return {
        "type": "group",
        "from": {"facet": {"name": "family", "data": "points", "groupby": "f"}},
        "marks": [
            {
                "type": "area",
                "from": {"data": "family"},
                "encode": {
                    "update": {
                        "x": {"scale": "x", "field": "t"},
                        "y": {"scale": "y", "field": "low"},
                        "y2": {"scale": "y", "field": "high"},
                        "defined": {"signal": "datum.v !== null"},
                        "fill": {"scale": "colour", "field": "f"},
                        "stroke": {"value": palette.role("ground")},
                        "strokeWidth": {"value": 0.6},
                    }
                },
            }
        ],
    }


def _sums_line(palette: Palette) -> dict[str, Any]:
    return {
        "type": "line",
        "from": {"data": "sums"},
        "encode": {
            "update": {
                "x": {"scale": "x", "field": "t"},
                "y": {"scale": "y", "field": "v"},
                "defined": {"signal": "datum.v !== null"},
                "stroke": {"value": palette.role("ink")},
                "strokeWidth": {"value": 1.2},
            }
        },
    }


def _pair_marks(palette: Palette) -> list[dict[str, Any]]:
    """The two moments that are compared, or what is being chosen."""
    ends = "(drag || pair)"
    low, high = f"scale('x', min({ends}[0], {ends}[1]))", f"scale('x', max({ends}[0], {ends}[1]))"
    line = {"stroke": {"value": palette.role("mark")}, "strokeWidth": {"value": 1.5}, "strokeDash": {"value": [4, 3]}, "y": {"value": 0}}
    across = {"x": {"signal": low}, "x2": {"signal": high}, "y": {"value": 0}, "y2": {"signal": "height"}}
    marks: list[dict[str, Any]] = [
        {"type": "rect", "encode": {"update": {**across, "fill": {"value": palette.role("mark")}, "fillOpacity": {"value": 0.06}}}},
    ]
    for word, place, align, shift in (("before", low, "left", 4), ("after", high, "right", -4)):
        marks.append({"type": "rule", "encode": {"update": {**line, "x": {"signal": place}, "y2": {"signal": "height"}}}})
        marks.append(
            {
                "type": "text",
                "encode": {
                    "update": {
                        "x": {"signal": f"{place} + ({shift})"},
                        "y": {"value": 10},
                        "text": {"value": word},
                        "align": {"value": align},
                        "opacity": {"signal": f"{high} - {low} > 90 ? 1 : 0"},
                    }
                },
            }
        )
    return marks


def _events(palette: Palette) -> list[dict[str, Any]]:
    """Restarts and kills as lines, what is incomplete as a mark at the bottom, gaps as a band."""
    alarm, faint = palette.role("alarm"), palette.role("faint")
    place = {"x": {"scale": "x", "field": "t"}}
    return [
        {
            "type": "rule",
            "from": {"data": "marks"},
            "encode": {
                "update": {
                    **place,
                    "y": {"value": 0},
                    "y2": {"signal": "height"},
                    "stroke": {"signal": f"datum.kind == 'kill' ? '{alarm}' : '{faint}'"},
                    "strokeWidth": {"signal": "datum.kind == 'kill' ? 2 : 1"},
                    "opacity": {"signal": "datum.kind == 'kill' || datum.kind == 'restart' ? 1 : 0"},
                }
            },
        },
        {
            "type": "symbol",
            "from": {"data": "marks"},
            "encode": {
                "update": {
                    **place,
                    "y": {"signal": "datum.kind == 'incomplete' ? height - 5 : datum.kind == 'gap' ? height - 5 : 22"},
                    "shape": {"signal": _SHAPE},
                    "size": {"value": 70},
                    "fill": {"signal": f"datum.kind == 'kill' ? '{alarm}' : '{palette.role('ink')}'"},
                    "stroke": {"value": palette.role("ground")},
                }
            },
        },
    ]


def _hover(palette: Palette) -> dict[str, Any]:
    return {
        "type": "rule",
        "encode": {
            "update": {
                "x": {"signal": "hover === null ? -10 : scale('x', hover)"},
                "y": {"value": 0},
                "y2": {"signal": "height"},
                "stroke": {"value": palette.role("mark")},
                "opacity": {"signal": "hover === null ? 0 : 0.6"},
            }
        },
    }
