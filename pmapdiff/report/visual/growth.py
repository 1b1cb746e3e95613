"""What grew, finding by finding: its series, the slope since the onset, and the onset."""

from __future__ import annotations

from pmapdiff.report.visual.axes import amount_axis, amount_signals, blank, scales_of_time, time_axis
from pmapdiff.report.visual.content import Content, Panel, Scope
from pmapdiff.report.visual.draw import Spec
from pmapdiff.report.visual.palette import Palette
from pmapdiff.report.visual.timeline import breaks_of, line_of, thinned_steps

HEIGHT = 150
_MOST_POINTS = 100


def growth(content: Content, scope: Scope, panel: Panel, palette: Palette, width: int) -> Spec:
    """The picture of a finding."""
    line = line_of(content, panel.values, thinned_steps(scope, _MOST_POINTS), breaks_of(content, scope)) if panel.values else []
    points = [{"t": t, "v": value} for t, value in line]
    known = [t for t, value in line if value is not None] or [moment.clock_ms for moment in content.moments]
    slopes = [{"t": at, "v": value, "line": number} for number, ends in enumerate(panel.slopes) for at, value in ends]
    is_count = "true" if panel.unit == "mappings" else "false"
    return blank(
        width,
        HEIGHT,
        palette,
        signals=[
            {"name": "span", "value": [min(known), max(known)]},
            *amount_signals("(data('largest')[0] || {}).value || 0", is_count=is_count),
        ],
        data=[
            {"name": "points", "values": points},
            {"name": "slopes", "values": slopes},
            {"name": "onset", "values": [] if panel.onset_ms is None else [{"t": max(panel.onset_ms, min(known))}]},
            {"name": "largest", "source": "points", "transform": [{"type": "aggregate", "ops": ["max"], "fields": ["v"], "as": ["value"]}]},
        ],
        scales=scales_of_time("span"),
        axes=[amount_axis(is_count=is_count), {**time_axis(), "tickCount": 3}],
        marks=[
            {
                "type": "rule",
                "from": {"data": "onset"},
                "encode": {
                    "update": {
                        "x": {"scale": "x", "field": "t"},
                        "y": {"value": 0},
                        "y2": {"signal": "height"},
                        "stroke": {"value": palette.role("faint")},
                        "strokeDash": {"value": [3, 3]},
                    }
                },
            },
            {
                "type": "line",
                "from": {"data": "points"},
                "encode": {
                    "update": {
                        "x": {"scale": "x", "field": "t"},
                        "y": {"scale": "y", "field": "v"},
                        "defined": {"signal": "datum.v !== null"},
                        "stroke": {"value": palette.role("ink")},
                        "strokeWidth": {"value": 1.3},
                    }
                },
            },
            {
                "type": "group",
                "clip": True,
                "encode": {"update": {"width": {"signal": "width"}, "height": {"signal": "height"}}},
                "from": {"facet": {"name": "slope", "data": "slopes", "groupby": "line"}},
                "marks": [
                    {
                        "type": "line",
                        "from": {"data": "slope"},
                        "encode": {
                            "update": {
                                "x": {"scale": "x", "field": "t"},
                                "y": {"scale": "y", "field": "v"},
                                "stroke": {"value": palette.role("alarm")},
                                "strokeWidth": {"value": 2},
                                "strokeDash": {"value": [6, 3]},
                            }
                        },
                    }
                ],
            },
        ],
    )
