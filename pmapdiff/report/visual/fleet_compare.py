"""The page of what changed in a fleet between two moments: a picture and tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pmapdiff.compare.fleet import FleetComparison, HostChange, ServiceChange
from pmapdiff.report.fleet_compare import besides_words, families_words, headline, trouble_words, versions_words
from pmapdiff.report.fleet_words import service_title
from pmapdiff.report.visual.axes import blank
from pmapdiff.report.visual.draw import Spec, svg_of
from pmapdiff.report.visual.fleet_page import rendered
from pmapdiff.report.visual.palette import Palette
from pmapdiff.text import printable
from pmapdiff.units import format_delta_kib, format_kib, plural

_WIDTH, _ROW, _DRAWN, _SHOWN, _IN_DEPTH = 1148, 22, 15, 50, 5


def page_of(fleet: FleetComparison, top: int | None, now_us: int) -> str:
    """The HTML of a page: so many services (None: as many as are worth a page, 0: all). Raises UsageError without what the extra `report` brings."""
    changed = [service for service in fleet.services if service.main.total or service.main.most or service.main.least]
    shown = changed if top == 0 else changed[: top or _SHOWN]
    left = len(changed) - len(shown)
    return rendered(
        "fleet-compare.html",
        now_us,
        title=f"{plural(fleet.hosts, 'host')}: what changed",
        headline=headline(fleet),
        notes=trouble_words(fleet),
        picture=svg_of(_bars(shown[:_DRAWN], fleet.services)) if shown else "",
        services=[_service(service, fleet.services) for service in shown],
        left_out=f"{plural(left, 'more service')} changed: --top 0" if left else "",
        in_depth=[
            {"title": service_title(service, fleet.services), "hosts": [_host(known) for known in (*service.worst, *service.shrunk)]}
            for service in shown[: None if top is not None else _IN_DEPTH]
            if service.worst or service.shrunk
        ],
    )


def _way(kib: int | None) -> str:
    return "" if not kib else "up" if kib > 0 else "down"


def _service(service: ServiceChange, others: Sequence[ServiceChange]) -> dict[str, Any]:
    main = service.main
    return {
        "footprint": format_delta_kib(main.total),
        "way": _way(main.total),
        "rss": format_delta_kib(service.rss.total if service.rss.hosts else None),
        "middle": format_delta_kib(round(main.median)),
        "most": format_delta_kib(main.most),
        "grew": f"{service.grew:,} of {service.hosts:,}",
        "families": families_words(service.families),
        "title": service_title(service, others),
        "note": ", ".join(besides_words(service)),
    }


def _host(known: HostChange) -> dict[str, Any]:
    figure = known.footprint if known.footprint.delta is not None else known.rss
    return {
        "footprint": format_delta_kib(known.main),
        "way": _way(known.main),
        "before": format_kib(figure.before),
        "after": format_kib(figure.after),
        "rss": format_delta_kib(known.rss.delta),
        "release": versions_words(known),
        "families": families_words(known.families),
        "host": printable(known.host),
    }


def _bars(shown: Sequence[ServiceChange], others: Sequence[ServiceChange]) -> Spec:
    """A bar a service, to the right where it grew, with its name and the amount beside it."""
    palette = Palette((), in_page=True)
    rows = [
        {"place": place, "v": service.main.total, "name": service_title(service, others), "words": format_delta_kib(service.main.total)}
        for place, service in enumerate(shown)
    ]
    most = max(*(abs(service.main.total) for service in shown), 1)
    low = min(*(service.main.total for service in shown), 0)
    middle = {"signal": f"datum.place * {_ROW} + {_ROW // 2}"}
    text = {"y": middle, "baseline": {"value": "middle"}, "fill": {"value": palette.role("ink")}}
    return blank(
        _WIDTH,
        _ROW * len(rows),
        palette,
        data=[{"name": "rows", "values": rows}],
        scales=[{"name": "x", "type": "linear", "domain": [low, max(low + most, 1)], "range": [290, _WIDTH - 110]}],
        marks=[
            {
                "type": "rect",
                "from": {"data": "rows"},
                "encode": {
                    "update": {
                        "x": {"scale": "x", "value": 0},
                        "x2": {"scale": "x", "field": "v"},
                        "y": {"signal": f"datum.place * {_ROW} + 4"},
                        "height": {"value": _ROW - 8},
                        "fill": {"signal": f"datum.v > 0 ? '{palette.role('alarm')}' : '{palette.role('faint')}'"},
                    }
                },
            },
            {
                "type": "text",
                "from": {"data": "rows"},
                "encode": {"update": {**text, "x": {"value": 0}, "text": {"field": "name"}, "limit": {"value": 270}}},
            },
            {
                "type": "text",
                "from": {"data": "rows"},
                "encode": {"update": {**text, "x": {"signal": "scale('x', max(datum.v, 0)) + 6"}, "text": {"field": "words"}}},
            },
        ],
    )
