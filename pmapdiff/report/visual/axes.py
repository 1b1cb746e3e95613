"""What the pictures have in common: axes of memory and of time, and how they look."""

from __future__ import annotations

from typing import Any

from pmapdiff.report.visual.draw import SCHEMA, Spec
from pmapdiff.report.visual.palette import Palette

FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', sans-serif"
_SMALL = 11

# The wall clock of whoever made the page, whatever the one of the reader shows.
_TIMES = {
    "milliseconds": "%H:%M:%S",
    "seconds": "%H:%M:%S",
    "minutes": "%H:%M",
    "hours": "%H:%M",
    "day": "%m-%d",
    "date": "%m-%d",
    "week": "%m-%d",
    "month": "%Y-%m",
    "quarter": "%Y-%m",
    "year": "%Y",
}


def blank(width: int, height: int, palette: Palette, **parts: Any) -> Spec:
    """A picture of so many points, its axes included."""
    return {
        "$schema": SCHEMA,
        "background": "transparent" if palette.in_page else palette.role("ground"),
        "padding": 0 if palette.in_page else 12,
        "width": width,
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "config": _config(palette),
        **parts,
    }


def _config(palette: Palette) -> dict[str, Any]:
    return {
        "axis": {
            "labelColor": palette.role("faint"),
            "titleColor": palette.role("faint"),
            "tickColor": palette.role("line"),
            "domainColor": palette.role("line"),
            "gridColor": palette.role("line"),
            "labelFont": FONT,
            "titleFont": FONT,
            "labelFontSize": _SMALL,
            "titleFontSize": _SMALL,
            "titleFontWeight": "normal",
        },
        "text": {"font": FONT, "fontSize": _SMALL, "fill": palette.role("ink")},
        "title": {"font": FONT, "color": palette.role("ink"), "subtitleColor": palette.role("faint"), "subtitleFont": FONT, "anchor": "start"},
        "legend": {"labelFont": FONT, "labelColor": palette.role("ink"), "labelFontSize": _SMALL, "titleFont": FONT},
    }


def amount_signals(largest: str, *, is_count: str) -> list[dict[str, Any]]:
    """Signals for an axis of KiB in round numbers of KiB, MiB, GiB or TiB, or of plain numbers where the expression `is_count` holds.

    `largest` is an expression for the largest value; `top` becomes the end of the axis, `step` the distance of its ticks.
    """
    return [
        {"name": "largest", "update": f"max(1, {largest})"},
        {"name": "thousand", "update": f"{is_count} ? 1000 : 1024"},
        {"name": "ticks", "update": "max(2, min(6, floor(height / 40)))"},
        {"name": "power", "update": "clamp(floor(log(largest) / log(thousand) + 1e-9), 0, 5)"},
        {"name": "unit", "update": "pow(thousand, power)"},
        {"name": "rough", "update": "largest / ticks / unit"},
        {"name": "decade", "update": "pow(10, floor(log(rough) / LN10 + 1e-9))"},
        {
            "name": "step",
            "update": f"max({is_count} ? 1 : 4, unit * decade * (rough <= decade ? 1 : rough <= 2 * decade ? 2 : rough <= 5 * decade ? 5 : 10))",
        },
        {"name": "top", "update": "step * ceil(largest / step)"},
    ]


_UNITS = "['KiB','MiB','GiB','TiB','PiB','EiB']"


def amount_label(value: str, *, is_count: str) -> str:
    """An expression for an amount in words, `12.3 MiB`, of one for KiB; for a number where `is_count` holds."""
    power = f"clamp(floor(log(max({value}, 1)) / log(1024) + 1e-9), 0, 5)"
    return f"{is_count} ? format({value}, ',d') : format({value} / pow(1024, {power}), '.3~r') + ' ' + {_UNITS}[{power}]"


def legend(palette: Palette) -> dict[str, Any]:
    """What the colours mean; a page has that for all of its pictures together."""
    if palette.in_page:
        return {}
    return {"legends": [{"fill": "colour", "orient": "bottom", "direction": "horizontal", "columns": 8, "symbolType": "square"}]}


def amount_axis(*, is_count: str) -> dict[str, Any]:
    """An axis of amounts on the left, with the signals of `amount_signals`."""
    label = f"{is_count} ? format(datum.value, ',d') : datum.value == 0 ? '0' : format(datum.value / unit, '.4~r') + ' ' + {_UNITS}[power]"
    return {
        "orient": "left",
        "scale": "y",
        "grid": True,
        "gridOpacity": 0.6,
        "domain": False,
        "ticks": False,
        "values": {"signal": "sequence(0, top + step / 2, step)"},
        "encode": {"labels": {"update": {"text": {"signal": label}}}},
        "labelPadding": 6,
        # Room for the labels in fonts that are wider than those at hand when it is drawn.
        "minExtent": 58,
        "zindex": 0,
    }


def time_axis() -> dict[str, Any]:
    """An axis of time at the bottom."""
    return {
        "orient": "bottom",
        "scale": "x",
        "formatType": "utc",
        "format": _TIMES,
        "tickCount": {"signal": "max(2, floor(width / 110))"},
        "labelOverlap": True,
        "labelFlush": True,
    }


def scales_of_time(points: str) -> list[dict[str, Any]]:
    """The scales of both axes; `points` is an expression for the first and the last moment."""
    return [
        {"name": "x", "type": "utc", "domain": {"signal": points}, "range": "width"},
        {"name": "y", "type": "linear", "domain": {"signal": "[0, top]"}, "range": "height"},
    ]


def under_pointer(mark: str) -> list[dict[str, str]]:
    """How a signal becomes what is below the pointer, of the marks of a name."""
    return [{"events": f"@{mark}:pointerover", "update": "datum"}, {"events": f"@{mark}:pointerout", "update": "null"}]
