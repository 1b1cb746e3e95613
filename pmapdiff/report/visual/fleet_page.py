"""The page of a fleet: one file that asks nobody for anything, and has no script."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from pmapdiff import __version__
from pmapdiff.analyse.fleet_host import main_growth
from pmapdiff.analyse.fleet_result import FleetLeaks, Grower, Healthy, ServiceLeaks
from pmapdiff.errors import UsageError
from pmapdiff.report.fleet_words import (
    answer,
    calm_words,
    chance_words,
    headline,
    onset_words,
    release_words,
    service_title,
    since_words,
    suggestion_of,
    trouble_words,
    what_words,
    when_words,
)
from pmapdiff.report.leak_words import finding_lines, growth_words, limit_words, rate_words
from pmapdiff.report.visual.draw import svg_of
from pmapdiff.report.visual.fleet_pictures import onsets, worst
from pmapdiff.report.visual.palette import Palette, style_variables
from pmapdiff.text import printable
from pmapdiff.units import format_delta_kib, format_duration, format_kib, format_moment_local, plural

_WIDTH, _PANEL_WIDTH = 1148, 340
_RANKED, _IN_DEPTH, _GROWERS, _PANELS = 50, 10, 200, 3


def page_of(fleet: FleetLeaks, top: int | None, now_us: int) -> str:
    """The HTML of a page: so many services (None: as many as are worth a page, 0: all). Raises UsageError without what the extra `report` brings."""
    palette = Palette((), in_page=True)
    ranked = [service for service in fleet.services if service.growing]
    shown = ranked if top == 0 else ranked[: top or _RANKED]
    in_depth = [service for service in shown if service.is_growing][: None if top is not None else _IN_DEPTH]
    places = {id(service): place for place, service in enumerate(in_depth)}
    return rendered(
        "fleet.html",
        now_us,
        title=f"{plural(fleet.hosts, 'host')}: what keeps growing",
        headline=headline(fleet),
        notes=trouble_words(fleet),
        ranking=[_ranked(service, fleet, places.get(id(service))) for service in shown],
        ranking_left_out=f"{plural(len(ranked) - len(shown), 'more service')}: --top 0" if len(ranked) > len(shown) else "",
        services=[_service(service, fleet, palette) for service in in_depth],
        calm=calm_words(fleet),
    )


def rendered(template: str, now_us: int, **values: Any) -> str:
    """A page of one of the templates: its style, and the promise that there is nothing else in it. Pictures are what is drawn, all else is escaped.

    Raises UsageError without what the extra `report` brings.
    """
    try:
        import jinja2
    except ImportError as error:
        raise UsageError(f"a page needs Jinja2 ({error}): pip install 'pmapdiff[report]'") from None

    assets = files("pmapdiff.report.visual") / "assets"
    light, dark = (style_variables((), dark=shade) for shade in (False, True))
    style = f":root{{{light}}}@media (prefers-color-scheme:dark){{@media screen{{:root{{{dark}}}}}}}{(assets / 'page.css').read_text('utf-8')}"
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string((assets / template).read_text("utf-8")).render(
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        style=style,
        made=f"made by pmapdiff {__version__} at {format_moment_local(now_us)}; times are those of its maker's clock",
        **values,
    )


def _ranked(service: ServiceLeaks, fleet: FleetLeaks, place: int | None) -> dict[str, Any]:
    return {
        "hosts": f"{service.growing:,} of {service.hosts:,}",
        "urgent": f"{service.urgent:,}" if service.urgent else "",
        "middle": rate_words(service.median_slope, service.figure),
        "most": rate_words(service.worst_slope, service.figure),
        "since": when_words(service),
        "what": printable(service.family),
        "title": service_title(service, fleet.services),
        "note": chance_words(service) if service.may_be_chance else release_words(service),
        "faint": service.may_be_chance,
        "place": place,
    }


def _service(service: ServiceLeaks, fleet: FleetLeaks, palette: Palette) -> dict[str, Any]:
    picture = onsets(service, fleet, palette, _WIDTH)
    left = len(service.growers) - _GROWERS
    return {
        "answer": answer(service, fleet.services),
        "sentences": [words for words in (*since_words(service), release_words(service), what_words(service)) if words],
        "suggestion": suggestion_of(service),
        "onsets": "" if picture is None else svg_of(picture),
        "panels": _panels(service, palette),
        "releases": service.releases,
        "growers": [_grower(known) for known in service.growers[:_GROWERS]],
        "left_out": f"{plural(left, 'more process', 'more processes')} of it that grow: --format csv has all of them" if left > 0 else "",
        "healthy": [_healthy(known) for known in service.healthy],
    }


def _panels(service: ServiceLeaks, palette: Palette) -> list[dict[str, Any]]:
    """The worst processes side by side."""
    panels = []
    for suspect in service.worst[:_PANELS]:
        finding, picture = main_growth(suspect), worst(suspect, palette, _PANEL_WIDTH)
        if finding is not None and picture is not None:
            title = f"{printable(suspect.host)} {suspect.process.pid}: {printable(finding.name)}"
            panels.append({"title": title, "picture": svg_of(picture), "words": "; ".join(finding_lines(finding))})
    return panels


def _grower(known: Grower) -> dict[str, Any]:
    return {
        "growth": growth_words(known.trend, known.figure),
        "since": onset_words(known),
        "size": format_kib(known.size_kib),
        "release": printable(" ".join(known.release)),
        "full": "" if known.limit is None or not known.urgent else limit_words(known.limit),
        "family": printable(known.family),
        "host": printable(known.host),
        "pid": known.pid,
        "urgent": known.urgent,
    }


def _healthy(known: Healthy) -> dict[str, Any]:
    return {
        "age": format_duration(known.age_hours * 3600),
        "size": format_kib(known.footprint_kib),
        "grown": format_delta_kib(known.grown_kib),
        "ours": format_kib(known.ours_kib),
        "ours_grown": format_delta_kib(known.ours_grown_kib),
        "release": printable(known.release),
        "verdict": known.verdict.value,
        "host": printable(known.host),
        "pid": known.pid,
    }
