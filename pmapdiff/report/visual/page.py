"""The page: one file that asks nobody for anything, with all that is in it readable without its script."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from pmapdiff import __version__
from pmapdiff.errors import UsageError
from pmapdiff.report.visual.content import Content, Row, Scope
from pmapdiff.report.visual.draw import Spec, script_with_vega, svg_of
from pmapdiff.report.visual.embed import packed
from pmapdiff.report.visual.growth import growth
from pmapdiff.report.visual.ledger import figures_of_ledger, ledger_rows
from pmapdiff.report.visual.palette import Palette, style_variables
from pmapdiff.report.visual.series import FIGURES, thinned
from pmapdiff.report.visual.space import HAIR, HAIR_OF_SCRIPT, LINE_HEIGHT, has_places, space
from pmapdiff.report.visual.timeline import figure_title, timeline
from pmapdiff.report.visual.treemap import treemap
from pmapdiff.units import format_delta_kib, format_kib, format_moment_local, plural

_WIDTH, _PANEL_WIDTH = 1148, 340
# What a reader without a script gets: of more the numbers are in the packed content, and in the store.
_REGIONS, _PROCESSES, _SCOPES_TOLD, _PANELS_TOLD = 200, 100, 10, 6
_SPARK_POINTS = 40
_MOST_BYTES = 1_980_000
_MOST_OF_SPACE, _WIDEST_HAIR = 160_000, 0.05
_PLACE = "{packed content}"
_COLUMNS = (
    ("family", "Family", ""),
    ("perms", "Perms", ""),
    ("first", "First", "n"),
    ("most", "Most", "n"),
    ("last", "Last", "n"),
    ("change", "±", "n"),
    ("", "Over time", ""),
    ("name", "Region", ""),
)


def page_of(content: Content) -> str:
    """The HTML of a page. Raises UsageError without what the extra `report` brings."""
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise UsageError(f"a report needs Jinja2 ({error}): pip install 'pmapdiff[report]'") from None

    scope = content.scopes[content.shown]
    figure = content.first_figure(scope)
    palette = Palette(content.families, in_page=True)
    assets = files("pmapdiff.report.visual") / "assets"
    style = _style(content, (assets / "page.css").read_text("utf-8"))
    script = script_with_vega((assets / "page.js").read_text("utf-8"))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pictures = {
        "timeline": Markup(svg_of(timeline(content, scope, figure, palette, _WIDTH))) if len(scope.steps) > 1 else "",
        "space": Markup(_space_svg(content, scope, palette)) if has_places(scope) else "",
        "treemap": Markup(svg_of(treemap(content, scope, figure, palette, _WIDTH))),
    }
    told = [place for place, other in enumerate(content.scopes) if not other.is_all and (place == content.shown or other.panels or other.notes)]
    rows = scope.rows[:_REGIONS]
    scopes = [(place, other) for place, other in enumerate(content.scopes) if not other.is_all]
    page = environment.from_string((assets / "page.html").read_text("utf-8")).render(
        content=content,
        scope=scope,
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        packed=_PLACE,
        specs=Markup(_specs(content, scope, figure, palette)),
        pictures=pictures,
        figures=FIGURES,
        shown_figure=figure,
        columns=_COLUMNS,
        regions=[_region(content, row, figure, Markup) for row in rows],
        regions_left_out=f"{plural(len(scope.rows) - len(rows), 'smaller region')} not listed" if len(scope.rows) > len(rows) else "",
        processes=[_process(content, place, other, Markup) for place, other in scopes[:_PROCESSES]] if len(scopes) > 1 else [],
        processes_left_out=f"{plural(len(scopes) - _PROCESSES, 'more process', 'more processes')}" if len(scopes) > _PROCESSES else "",
        told_scopes=[
            {
                "place": place,
                "scope": content.scopes[place],
                "panels": [
                    {
                        "panel": panel,
                        "picture": Markup(svg_of(growth(content, content.scopes[place], panel, palette, _PANEL_WIDTH))) if panel.values else "",
                    }
                    for panel in content.scopes[place].panels[:_PANELS_TOLD]
                ],
            }
            for place in told[:_SCOPES_TOLD]
        ],
        ledger=_ledger(content, scope),
        made=f"made by pmapdiff {__version__} at {format_moment_local(content.made_at_us)}; times are those of its maker's clock",
    )
    # All that the pictures and tables leave of two megabytes is for the numbers behind them.
    return page.replace(_PLACE, packed(content, _MOST_BYTES - len(page.encode())))


def _space_svg(content: Content, scope: Scope, palette: Palette) -> str:
    """The address space, as fine as there is room for in a file."""
    hair = HAIR
    while len(drawn := svg_of(space(content, scope, palette, _WIDTH, hair=hair))) > _MOST_OF_SPACE and hair < _WIDEST_HAIR:
        hair *= 2
    return drawn


def _policy(style: str, script: str) -> str:
    """Nothing but what is in the file, and of that only what we put there."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"


def _style(content: Content, rules: str) -> str:
    light, dark = (style_variables(content.families, dark=dark) for dark in (False, True))
    swatches = "".join(f".f{number}{{background:var(--family-{number})}}" for number in range(len(content.families)))
    return f":root{{{light}}}@media (prefers-color-scheme:dark){{@media screen{{:root{{{dark}}}}}}}{rules}{swatches}"


def _specs(content: Content, scope: Scope, figure: str, palette: Palette) -> str:
    """The specifications of the pictures, without their data: the script has that."""
    specs: dict[str, Spec] = {
        "timeline": timeline(content, scope, figure, palette, _WIDTH),
        "space": {**space(content, scope, palette, _WIDTH), "usermeta": {"line_height": LINE_HEIGHT, "hair": HAIR_OF_SCRIPT}},
        "treemap": treemap(content, scope, figure, palette, _WIDTH),
    }
    for spec in specs.values():
        for part in spec["data"]:
            if "values" in part:
                part["values"] = []
        for scale in spec["scales"]:
            if scale["name"] == "fold":
                scale.update(domain=[0, 1], range=[0, 1])
    # In an element `script` only this could end it.
    return json.dumps(specs, ensure_ascii=True).replace("<", "\\u003c")


def words(value: int | None, figure: str) -> str:
    """An amount of a figure: `12.3 MiB`, `117`."""
    if figure == "mappings":
        return "-" if value is None else f"{value:,}"
    return format_kib(value)


def difference_words(value: int | None, figure: str) -> str:
    """A difference of a figure: `+12.3 MiB`, `+3`, `0`."""
    if figure == "mappings" and value is not None:
        return f"{value:+,}" if value else "0"
    return format_delta_kib(value)


def _way(value: int | None) -> str:
    return "" if not value else "up" if value > 0 else "down"


def _ends(row: Row, figure: str, steps: Sequence[int]) -> dict[str, Any]:
    """First, most and last of a figure, what it changed by, and its line, for a table."""
    every = row.series.values(figure)
    values = [every[step] for step in steps]
    known = [value for value in values if value is not None]
    change = known[-1] - known[0] if known else None
    return {
        "first": words(known[0] if known else None, figure),
        "most": words(max(known, default=None), figure),
        "last": words(known[-1] if known else None, figure),
        "change": difference_words(change, figure),
        "way": _way(change),
        "values": values,
    }


def _region(content: Content, row: Row, figure: str, markup: Any) -> dict[str, Any]:
    scope = content.scopes[content.shown]
    ends = _ends(row, figure, scope.steps)
    return {
        **ends,
        "family": content.families.index(row.family) if row.family else None,
        "family_name": row.family,
        "perms": row.perms,
        "name": row.path or row.name,
        "key": "" if scope.is_all else row.key,
        "spark": markup(_spark(ends["values"])),
    }


def _process(content: Content, place: int, scope: Scope, markup: Any) -> dict[str, Any]:
    figure = content.first_figure(scope)
    ends = _ends(Row("", "", "", scope.totals), figure, scope.steps)
    answer = scope.answer.removeprefix(scope.title).removeprefix(":").strip()
    return {
        **ends,
        "place": place,
        "verdict": scope.verdict,
        "urgent": scope.urgent,
        "title": scope.title,
        "answer": answer,
        "spark": markup(_spark(ends["values"])),
    }


def _spark(values: Sequence[int | None]) -> str:
    """A line of a series, as large as the text beside it; it has no text in it."""
    points = thinned(values, _SPARK_POINTS)
    known = [value for value in points if value is not None]
    if not known:
        return ""
    low = 0 if 2 * min(known) < max(known) else min(known)
    span = max(max(known) - low, max(known) / 10, 1)
    path, pen = "", "M"
    for place, value in enumerate(points):
        if value is None:
            path += "h1" * (pen == "L" and path.rpartition("M")[2].count("L") == 0)
            pen = "M"
            continue
        path += f"{pen}{100 * place / max(len(points) - 1, 1):.0f} {19 - 18 * (value - low) / span:.0f}"
        pen = "L"
    path += "h1" * (pen == "L" and path.rpartition("M")[2].count("L") == 0)
    return f'<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true"><path d="{path}"/></svg>'


def _ledger(content: Content, scope: Scope) -> dict[str, Any]:
    """What changed between the two moments, for a reader without a script."""
    pair = content.pair_of(scope)
    figures = figures_of_ledger(content, scope)
    rows = [
        {
            "kind": row.kind,
            "name": row.name,
            "family": content.families.index(row.name) if row.kind == "family" else None,
            "cells": [
                {
                    "words": (difference_words if row.is_difference else words)(value, figure),
                    "way": _way(value) if row.is_difference else "",
                }
                for value, figure in zip(row.values, figures, strict=True)
            ],
        }
        for row in ledger_rows(content, scope)
    ]
    before, after = (content.moments[step] for step in pair)
    return {"of": f"{before.words} → {after.words}", "titles": [figure_title(figure) for figure in figures], "rows": rows}
