"""A treemap: family by family and name by name, as large as what is there, or as what it grew by."""

from __future__ import annotations

from typing import Any

from pmapdiff.report.visual.axes import amount_label, blank, legend, under_pointer
from pmapdiff.report.visual.content import Content, Row, Scope
from pmapdiff.report.visual.draw import Spec
from pmapdiff.report.visual.palette import Palette
from pmapdiff.report.visual.series import FIGURES, NONE_THERE

HEIGHT = 320
_LEAST = 0.0005
_HAS_ROOM = "datum.x1 - datum.x0 > 34 && datum.y1 - datum.y0 > 15"


def treemap(content: Content, scope: Scope, figure: str, palette: Palette, width: int, *, grown: bool = False, title: bool = False) -> Spec:
    """The picture at the second of the two moments, or of the growth between them. In a page its data may be set anew."""
    what = f"growth of {figure}" if grown else figure
    return blank(
        width,
        HEIGHT,
        palette,
        **({"title": {"text": f"{scope.title}: {what} by family and name"}} if title else {}),
        signals=[
            {"name": "figure", "value": figure},
            {"name": "over", "value": None, "on": under_pointer("cell")},
        ],
        data=[
            {
                "name": "cells",
                "values": cells_of(scope, figure, content.pair_of(scope), grown=grown),
                "transform": [
                    {"type": "aggregate", "groupby": ["f", "n"], "ops": ["sum"], "fields": ["v"], "as": ["v"]},
                    # What is too small to be seen is one cell a family.
                    {"type": "joinaggregate", "ops": ["sum"], "fields": ["v"], "as": ["all"]},
                    {"type": "formula", "as": "n", "expr": f"datum.v < datum.all * {_LEAST} ? 'smaller ones' : datum.n"},
                    {"type": "aggregate", "groupby": ["f", "n"], "ops": ["sum"], "fields": ["v"], "as": ["v"]},
                ],
            },
            {
                "name": "tree",
                "source": "cells",
                "transform": [
                    {"type": "nest", "keys": ["f"], "generate": True},
                    {
                        "type": "treemap",
                        "field": "v",
                        "sort": {"field": "value", "order": "descending"},
                        "round": True,
                        "method": "squarify",
                        "ratio": 1.6,
                        "paddingInner": 1,
                        "paddingOuter": 2,
                        "size": [{"signal": "width"}, {"signal": "height"}],
                    },
                ],
            },
            {"name": "leaves", "source": "tree", "transform": [{"type": "filter", "expr": "datum.n != null"}]},
            {
                "name": "labelled",
                "source": "leaves",
                "transform": [{"type": "filter", "expr": "datum.x1 - datum.x0 > 34 && datum.y1 - datum.y0 > 15"}],
            },
        ],
        scales=[
            {"name": "colour", "type": "ordinal", "domain": list(content.families), "range": palette.range()},
            {"name": "ink", "type": "ordinal", "domain": list(content.families), "range": palette.inks()},
        ],
        marks=[
            {
                "type": "rect",
                "name": "cell",
                "from": {"data": "leaves"},
                "encode": {
                    "update": {
                        "x": {"field": "x0"},
                        "y": {"field": "y0"},
                        "x2": {"field": "x1"},
                        "y2": {"field": "y1"},
                        "fill": {"scale": "colour", "field": "f"},
                        "fillOpacity": {"signal": "over && over.n == datum.n && over.f == datum.f ? 0.75 : 1"},
                        "stroke": {"value": palette.role("ground")},
                        "strokeWidth": {"value": 0.5},
                    }
                },
            },
            _label("replace(datum.n, regexp('^.*/'), '')", 12, "true"),
            _label(amount_label("datum.v", is_count="figure == 'mappings'"), 26, "datum.y1 - datum.y0 > 30"),
        ],
        **legend(palette),
    )


def _label(words: str, down: int, where: str) -> dict[str, Any]:
    return {
        "type": "text",
        "interactive": False,
        "from": {"data": "labelled"},
        "encode": {
            "update": {
                "x": {"signal": "datum.x0 + 4"},
                "y": {"signal": f"datum.y0 + {down}"},
                "text": {"signal": words},
                "limit": {"signal": "max(datum.x1 - datum.x0 - 6, 1)"},
                "fill": {"scale": "ink", "field": "f"},
                "opacity": {"signal": f"{where} ? 1 : 0"},
            }
        },
    }


def cells_of(scope: Scope, figure: str, pair: tuple[int, int], *, grown: bool) -> list[dict[str, Any]]:
    """A cell a region, `f` its family, `n` its name, `v` its size or growth; what is not there, or did not grow, has none.

    Of all processes together a cell is a process.
    """
    index = FIGURES.index(figure)

    def amount(row: Row) -> int:
        before, after = ((row.series.at(step) or NONE_THERE)[index] or 0 for step in pair)
        return after - before if grown else after

    return [{"f": row.family or "other", "n": row.name, "v": v} for row in scope.rows if (v := amount(row)) > 0]
