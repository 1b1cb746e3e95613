"""Pictures of a fleet: since when which hosts grow, and the worst ones side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pmapdiff.analyse.fleet_host import main_growth
from pmapdiff.analyse.fleet_result import FleetLeaks, ServiceLeaks
from pmapdiff.analyse.result import Suspect
from pmapdiff.report.sparkline import gaps
from pmapdiff.report.visual.axes import amount_axis, amount_signals, blank, scales_of_time, time_axis
from pmapdiff.report.visual.draw import Spec
from pmapdiff.report.visual.palette import Palette
from pmapdiff.text import printable
from pmapdiff.units import to_datetime

PANEL_HEIGHT = 130
_MOST_POINTS = 120
# A row for each host; of very many hosts the worst of each so many.
_MOST_ROWS, _NAMED_ROWS, _ROW, _HAIR_ROW = 300, 30, 15, 2
_BINS = 60


def clock_ms(moment_us: int) -> float:
    """What the clock on the wall of whoever makes the page showed at a moment, in ms."""
    moment = to_datetime(moment_us).astimezone()
    offset = moment.utcoffset()
    return (moment_us + (0 if offset is None else round(offset.total_seconds() * 1e6))) / 1000


def onsets(service: ServiceLeaks, fleet: FleetLeaks, palette: Palette, width: int) -> Spec | None:
    """A row a host from when it began to grow, the worst first, and above them how many hosts began when; None where there is no time to draw."""
    if fleet.since_us is None or fleet.until_us is None or fleet.since_us == fleet.until_us:
        return None
    begin, end = clock_ms(fleet.since_us), clock_ms(fleet.until_us)
    hosts: dict[str, dict[str, Any]] = {}
    for known in service.growers:
        onset = known.trend.onset_us if known.dated else None
        start = begin if onset is None else clock_ms(onset)
        row = hosts.setdefault(known.host, {"name": printable(known.host), "t": start, "dated": onset is not None, "urgent": known.urgent})
        row.update(t=min(row["t"], start), dated=row["dated"] and onset is not None)
    every = list(hosts.values())
    rows = every if len(every) <= _MOST_ROWS else [every[place * len(every) // _MOST_ROWS] for place in range(_MOST_ROWS)]
    each = _ROW if len(rows) <= _NAMED_ROWS else max(_HAIR_ROW, _ROW * _NAMED_ROWS // len(rows))
    for place, row in enumerate(rows):
        row["place"] = place
    bins = [0] * _BINS
    for row in every:
        if row["dated"]:
            bins[min(_BINS - 1, int((row["t"] - begin) / (end - begin) * _BINS))] += 1
    counts = [{"t": begin + (end - begin) * n / _BINS, "t2": begin + (end - begin) * (n + 1) / _BINS, "n": n_hosts} for n, n_hosts in enumerate(bins)]
    top = 60 if any(bins) else 0
    height = top + each * len(rows)
    return blank(
        width,
        height,
        palette,
        data=[{"name": "rows", "values": rows}, {"name": "counts", "values": counts}],
        scales=[
            {"name": "x", "type": "utc", "domain": [begin, end], "range": "width"},
            {"name": "n", "type": "linear", "domain": [0, max([*bins, 1])], "range": [max(top - 12, 0), 0]},
        ],
        axes=[{**time_axis(), "grid": True, "gridOpacity": 0.6}],
        marks=[
            *_bars(palette, top),
            {
                "type": "rect",
                "from": {"data": "rows"},
                "encode": {
                    "update": {
                        "x": {"scale": "x", "field": "t"},
                        "x2": {"scale": "x", "value": end},
                        "y": {"signal": f"{top} + datum.place * {each}"},
                        "height": {"value": max(each - (3 if each > 6 else 0), 1)},
                        "fill": {"value": palette.role("alarm")},
                        "fillOpacity": {"signal": "datum.urgent ? 0.85 : 0.45"},
                    }
                },
            },
            *(_names(palette, top, each) if len(rows) <= _NAMED_ROWS else []),
        ],
    )


def _bars(palette: Palette, top: int) -> list[dict[str, Any]]:
    """How many hosts began when."""
    if not top:
        return []
    return [
        {
            "type": "rect",
            "from": {"data": "counts"},
            "encode": {
                "update": {
                    "x": {"scale": "x", "field": "t", "offset": 0.5},
                    "x2": {"scale": "x", "field": "t2", "offset": -0.5},
                    "y": {"scale": "n", "field": "n"},
                    "y2": {"scale": "n", "value": 0},
                    "fill": {"value": palette.role("ink")},
                    "fillOpacity": {"value": 0.7},
                }
            },
        },
        {
            "type": "text",
            "encode": {
                "update": {
                    "x": {"value": 2},
                    "y": {"value": 10},
                    "text": {"value": "hosts that began to grow"},
                    "fill": {"value": palette.role("faint")},
                }
            },
        },
    ]


def _names(palette: Palette, top: int, each: int) -> list[dict[str, Any]]:
    """The names of the hosts, where there is room: before their row, or in it if that begins on the left."""
    return [
        {
            "type": "text",
            "from": {"data": "rows"},
            "encode": {
                "update": {
                    "x": {"signal": "scale('x', datum.t) > width / 4 ? scale('x', datum.t) - 5 : scale('x', datum.t) + 5"},
                    "align": {"signal": "scale('x', datum.t) > width / 4 ? 'right' : 'left'"},
                    "y": {"signal": f"{top} + datum.place * {each} + {(each - 3) / 2}"},
                    "baseline": {"value": "middle"},
                    "text": {"field": "name"},
                    "limit": {"signal": "width / 4"},
                    "fill": {"value": palette.role("ink")},
                }
            },
        }
    ]


def worst(suspect: Suspect, palette: Palette, width: int) -> Spec | None:
    """What grows of one process, its onset dotted; None where nothing was measured."""
    finding = main_growth(suspect)
    if finding is None:
        return None
    late = gaps(suspect.moments_us)
    points = _thinned([(moment, value, place in late) for place, (moment, value) in enumerate(zip(suspect.moments_us, finding.series, strict=False))])
    values = [{"t": clock_ms(moment), "v": value} for moment, value in points]
    known = [point for point in values if point["v"] is not None]
    if len(known) < 2:
        return None
    onset = finding.trend.onset_us
    is_count = "true" if finding.figure.is_count else "false"
    return blank(
        width,
        PANEL_HEIGHT,
        palette,
        signals=[
            {"name": "span", "value": [known[0]["t"], known[-1]["t"]]},
            *amount_signals("(data('largest')[0] || {}).value || 0", is_count=is_count),
        ],
        data=[
            {"name": "points", "values": values},
            {"name": "onset", "values": [] if onset is None else [{"t": max(clock_ms(onset), float(known[0]["t"] or 0))}]},
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
                        "stroke": {"value": palette.role("alarm")},
                        "strokeWidth": {"value": 1.6},
                    }
                },
            },
        ],
    )


def _thinned(points: Sequence[tuple[int, int | None, bool]]) -> list[tuple[int, int | None]]:
    """As many points as are worth drawing, with one that is None before each gap."""
    chosen = points if len(points) <= _MOST_POINTS else [points[place * (len(points) - 1) // (_MOST_POINTS - 1)] for place in range(_MOST_POINTS)]
    found: list[tuple[int, int | None]] = []
    for moment, value, late in chosen:
        found += [(moment - 1, None), (moment, value)] if late else [(moment, value)]
    return found
