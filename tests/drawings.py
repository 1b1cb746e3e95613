"""The drawings of the documents: what is counted, how regions are followed, and the way of the data; Vega draws them.

Their figures are added up by `pmapdiff.model` and their regions followed by `pmapdiff.align`, so a drawing cannot say what the program does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import vl_convert
from screenshots import picture
from strategies import PAGE, counters_of, file, make

from pmapdiff.align import classify
from pmapdiff.align.series import Follower, Region
from pmapdiff.model import Mapping, MappingTable

Spec = dict[str, Any]

# Okabe and Ito's colours, which colour-blind readers can tell apart.
BLUE, SKY, GREEN, ORANGE, RED, PINK, GREY = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#D4D7DC"
INK, FAINT = "#22262d", "#6b7280"

CONFIG: Spec = {
    "background": "#ffffff",
    "padding": 16,
    "font": "system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": FAINT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "domain": False,
        "ticks": False,
        "grid": False,
    },
    "legend": {"labelColor": INK, "labelFontSize": 12, "symbolType": "square", "symbolSize": 160, "title": None},
    "title": {"color": INK, "fontSize": 14, "anchor": "start", "frame": "group"},
}


def drawn(spec: Spec) -> str:
    """The SVG of a Vega-Lite specification."""
    svg = str(vl_convert.vegalite_to_svg({"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "config": CONFIG, **spec}))
    return svg.rstrip() + "\n"


# What is counted.

WRITTEN, SHARED, READ, PAGED, UNTOUCHED = (
    "written by this process alone",
    "a library's code, in both processes",
    "read from a file, by this process alone",
    "written, and paged out to swap",
    "mapped, never touched",
)
PAGE_KINDS = {WRITTEN: RED, SHARED: BLUE, READ: SKY, PAGED: PINK, UNTOUCHED: GREY}
_KIB = PAGE >> 10
NOTHING = dict.fromkeys(
    ("rss", "pss", "shared_clean", "shared_dirty", "private_clean", "private_dirty", "anonymous", "swap", "private_hugetlb", "shared_hugetlb"), 0
)
_COUNTED: dict[str, dict[str, int]] = {
    WRITTEN: {"rss": _KIB, "pss": _KIB, "private_dirty": _KIB, "anonymous": _KIB},
    SHARED: {"rss": _KIB, "pss": _KIB // 2, "shared_clean": _KIB},
    READ: {"rss": _KIB, "pss": _KIB, "private_clean": _KIB},
    PAGED: {"swap": _KIB, "swap_pss": _KIB},
    UNTOUCHED: {},
}
# The pages of each mapping of two processes, in the order of their addresses.
PROCESSES: dict[str, dict[str, list[str]]] = {
    "process A": {
        "[heap]": [WRITTEN] * 5 + [PAGED] + [UNTOUCHED] * 2,
        "prices.db": [READ] * 3 + [UNTOUCHED],
        "libfoo.so code": [SHARED] * 4 + [UNTOUCHED] * 2,
        "libfoo.so data": [WRITTEN] * 2,
    },
    "process B": {
        "[heap]": [WRITTEN] * 2 + [UNTOUCHED] * 6,
        "prices.db": [],
        "libfoo.so code": [SHARED] * 4 + [UNTOUCHED] * 2,
        "libfoo.so data": [WRITTEN, UNTOUCHED],
    },
}
COLUMNS = {
    "Size": "size_kib",
    "Rss": "rss_kib",
    "Pss": "pss_kib",
    "USS": "uss_kib",
    "dirty": "dirty_kib",
    "Swap": "swap_kib",
    "footprint": "footprint_kib",
}


def table_of(pages: Sequence[str]) -> MappingTable:
    """A table with one mapping of these pages, counted as the kernel counts them."""
    counters: Counter[str] = Counter()
    for page in pages:
        counters.update(_COUNTED[page])
    row = make(0x10000, 0x10000 + len(pages) * PAGE)
    return MappingTable((row._replace(counters=counters_of(**{**NOTHING, **counters})),))


def counted() -> list[dict[str, Any]]:
    """Each figure of each process, and how much of it is pages of each kind, in KiB; the figure is what the model says of all pages together."""
    rows = []
    for process, mappings in PROCESSES.items():
        pages = [page for content in mappings.values() for page in content]
        for figure, attribute in COLUMNS.items():
            whole = table_of(pages).totals.get(attribute)
            parts = {kind: table_of([page for page in pages if page == kind]).totals.get(attribute) or 0 for kind in PAGE_KINDS if kind in pages}
            assert whole == sum(parts.values())
            rows += [{"process": process, "figure": figure, "kind": kind, "kib": kib, "whole": whole} for kind, kib in parts.items()]
    return rows


@picture("counting.svg")
def _counting() -> str:
    colour: Spec = {"field": "kind", "type": "nominal", "scale": {"domain": list(PAGE_KINDS), "range": list(PAGE_KINDS.values())}}
    legend = {**colour, "legend": {"orient": "bottom", "columns": 2, "labelLimit": 320}}
    names = list(PROCESSES["process A"])

    def pages(process: str, *, labelled: bool) -> Spec:
        values = [{"mapping": name, "page": i, "kind": kind} for name, row in PROCESSES[process].items() for i, kind in enumerate(row)]
        return {
            "title": f"{process}: its pages of 4 KiB",
            "width": 250,
            "height": {"step": 30},
            "data": {"values": values},
            "mark": {"type": "rect", "cornerRadius": 2},
            "encoding": {
                "x": {"field": "page", "type": "ordinal", "axis": None, "scale": {"domain": list(range(8)), "padding": 0.12}},
                "y": {"field": "mapping", "type": "nominal", "sort": names, "title": None, "scale": {"domain": names, "padding": 0.12}}
                | ({} if labelled else {"axis": None}),
                "color": legend,
            },
        }

    def bars(process: str, *, labelled: bool) -> Spec:
        rows = [row for row in counted() if row["process"] == process]
        y: Spec = {"field": "figure", "type": "nominal", "sort": list(COLUMNS), "title": None, "scale": {"domain": list(COLUMNS), "padding": 0.25}}
        y |= {} if labelled else {"axis": None}
        return {
            "title": "what is counted, in KiB",
            "width": 250,
            "height": {"step": 26},
            "data": {"values": rows},
            "layer": [
                {
                    "mark": {"type": "bar"},
                    "encoding": {
                        "x": {"field": "kib", "type": "quantitative", "axis": None, "stack": "zero", "scale": {"domain": [0, 92]}},
                        "y": y,
                        "color": legend,
                        "order": {"field": "order", "type": "quantitative"},
                    },
                    "transform": [{"calculate": f"indexof({list(PAGE_KINDS)!r}, datum.kind)", "as": "order"}],
                },
                {
                    "transform": [{"aggregate": [{"op": "max", "field": "whole", "as": "whole"}], "groupby": ["figure"]}],
                    "mark": {"type": "text", "align": "left", "dx": 5, "fontSize": 12, "color": INK},
                    "encoding": {"x": {"field": "whole", "type": "quantitative"}, "y": y, "text": {"field": "whole", "type": "quantitative"}},
                },
            ],
        }

    both = list(PROCESSES)
    return drawn(
        {
            "vconcat": [
                {"hconcat": [pages(both[0], labelled=True), pages(both[1], labelled=False)], "spacing": 30},
                {"hconcat": [bars(both[0], labelled=True), bars(both[1], labelled=False)], "spacing": 30},
            ],
            "spacing": 24,
        }
    )


# How regions are followed.

BASE = 0x7F0000000000
UNIT = 1 << 20


def _anonymous(start: int, end: int, perms: str = "rw-p", name: bytes = b"") -> Mapping:
    return make(BASE + start * UNIT, BASE + end * UNIT, perms, name, rss=(end - start) << 10, anonymous=(end - start) << 10)


def _library(start: int) -> Mapping:
    return file(BASE + start * UNIT, BASE + (start + 4) * UNIT, "r-xp", 0, b"/usr/lib/libfoo.so")


def _prices(start: int) -> Mapping:
    return file(BASE + start * UNIT, BASE + (start + 2) * UNIT, "r--s", 0, b"/var/lib/prices.db", inode=99)


# What happened, and the table after it. The last one is of another incarnation, whose addresses are others.
MOMENTS: tuple[tuple[str, list[Mapping]], ...] = (
    ("1", [_anonymous(0, 4, name=b"[heap]"), _prices(8), _anonymous(20, 26), _library(30)]),
    ("2", [_anonymous(0, 6, name=b"[heap]"), _prices(12), _anonymous(17, 26), _library(30)]),
    (
        "3",
        [_anonymous(0, 6, name=b"[heap]"), _prices(12), _anonymous(17, 19), _anonymous(19, 21, "r--p"), _anonymous(21, 26), _library(30)],
    ),
    ("4", [_anonymous(0, 7, name=b"[heap]"), _prices(12), _anonymous(16, 26), _library(30)]),
    ("5", [_anonymous(2, 4, name=b"[heap]"), _prices(9), _anonymous(14, 17), _library(24)]),
)
HAPPENED = (
    "",
    "the heap grew; a file moved;\nanonymous memory grew\ndownward",
    "mprotect split it",
    "merged again, and grew",
    "restarted: matched\nby name and family",
)


def followed() -> list[Region]:
    """The regions through these moments, as pmapdiff follows them."""
    follower = Follower()
    for step, (_, table) in enumerate(MOMENTS):
        follower.add(step, table, classify(table), same_process=step != len(MOMENTS) - 1)
    return sorted(follower.regions(), key=lambda region: region.first_start)


def _at(region: Region, step: int) -> tuple[Mapping, ...]:
    """The mappings of a region in a step."""
    spans = [mappings for begin, mappings in region.spans if begin <= step]
    return spans[-1] if spans else ()


@picture("regions.svg")
def _regions() -> str:
    regions = followed()
    names = [region.label.name.rsplit("/", 1)[-1] for region in regions]
    colours = [RED, ORANGE, GREEN, BLUE, SKY, PINK][: len(regions)]
    assert len(colours) == len(regions) == len(set(names))
    blocks: list[Spec] = []
    bands: list[Spec] = []
    for region, name in zip(regions, names, strict=True):
        for step in range(len(MOMENTS)):
            here = _at(region, step)
            for mapping in here:
                place = {"start": (mapping.start - BASE) / UNIT, "end": (mapping.end - BASE) / UNIT}
                blocks.append({"region": name, "left": step - 0.16, "right": step + 0.16, "perms": mapping.perms, **place})
            if here and step + 1 < len(MOMENTS) and (after := _at(region, step + 1)):
                for edge, mappings in ((step + 0.16, here), (step + 0.84, after)):
                    low, high = (mappings[0].start - BASE) / UNIT, (mappings[-1].end - BASE) / UNIT
                    bands.append({"region": name, "band": f"{name} {step}", "x": edge, "low": low, "high": high})
    colour: Spec = {
        "field": "region",
        "type": "nominal",
        "scale": {"domain": names, "range": colours},
        "legend": {"orient": "top", "symbolOpacity": 1},
        "sort": names,
    }
    x: Spec = {"type": "quantitative", "axis": None, "scale": {"domain": [-0.25, len(MOMENTS) - 0.75], "nice": False}}
    y: Spec = {"type": "quantitative", "title": "addresses →", "axis": {"labels": False}, "scale": {"domain": [-1, 36], "nice": False}}
    captions = [
        {"x": step, "caption": text.split("\n"), "moment": f"snapshot {moment}"}
        for step, ((moment, _), text) in enumerate(zip(MOMENTS, HAPPENED, strict=True))
    ]
    return drawn(
        {
            "width": 640,
            "height": 380,
            "layer": [
                {
                    "data": {"values": bands},
                    "mark": {"type": "area", "opacity": 0.22},
                    "encoding": {
                        "x": {"field": "x", **x},
                        "y": {"field": "low", **y},
                        "y2": {"field": "high"},
                        "detail": {"field": "band"},
                        "color": colour,
                    },
                },
                {
                    "data": {"values": blocks},
                    "mark": {"type": "rect", "stroke": "#ffffff", "strokeWidth": 1.5},
                    "encoding": {
                        "x": {"field": "left", **x},
                        "x2": {"field": "right"},
                        "y": {"field": "start", **y},
                        "y2": {"field": "end"},
                        "color": colour,
                    },
                },
                {
                    "data": {"values": [block for block in blocks if block["end"] - block["start"] >= 1]},
                    "transform": [
                        {"calculate": "(datum.start + datum.end) / 2", "as": "middle"},
                        {"calculate": "(datum.left + datum.right) / 2", "as": "x"},
                    ],
                    "mark": {"type": "text", "fontSize": 9.5, "font": "monospace", "color": "#ffffff"},
                    "encoding": {"x": {"field": "x", **x}, "y": {"field": "middle", **y}, "text": {"field": "perms"}},
                },
                {
                    "data": {"values": captions},
                    "mark": {"type": "text", "baseline": "top", "dy": 8, "fontSize": 12, "fontWeight": "bold", "color": INK},
                    "encoding": {"x": {"field": "x", **x}, "y": {"value": 380}, "text": {"field": "moment"}},
                },
                {
                    "data": {"values": captions},
                    "mark": {"type": "text", "baseline": "top", "dy": 26, "fontSize": 11, "color": FAINT, "lineHeight": 14},
                    "encoding": {"x": {"field": "x", **x}, "y": {"value": 380}, "text": {"field": "caption"}},
                },
            ],
        }
    )


# The way of the data.


class Box(NamedTuple):
    """A part of the package, or what is beside it, in a drawing."""

    name: str
    note: str
    x: float
    y: float
    ours: bool = True


BOXES = {
    box.name: box
    for box in (
        Box("/proc", "of running processes", 0.5, 0, ours=False),
        Box("saved files", "pmap, core dumps, crash reports", 1.5, 0, ours=False),
        Box("capture", "select, read, check, mark", 0.5, 1),
        Box("formats", "one module a form", 1.5, 1),
        Box("model", "mapping tables, counters", 1, 2),
        Box("store", "what held from when to when", 1, 3),
        Box("align", "mappings → regions, families", 1, 4),
        Box("compare", "changes that add up", 0.5, 5),
        Box("analyse", "trends and verdicts", 1.5, 5),
        Box("report", "text, JSON, CSV, Markdown, …", 1, 6),
    )
}
ARROWS = (
    ("/proc", "capture"),
    ("saved files", "formats"),
    ("capture", "model"),
    ("formats", "model"),
    ("model", "store"),
    ("store", "align"),
    ("align", "compare"),
    ("align", "analyse"),
    ("compare", "report"),
    ("analyse", "report"),
)


@picture("data-flow.svg")
def _data_flow() -> str:
    wide, high = 0.42, 0.32
    boxes = [{**box._asdict(), "left": box.x - wide, "right": box.x + wide, "low": box.y - high, "high": box.y + high} for box in BOXES.values()]
    arrows: list[Spec] = []
    for begin, end in ARROWS:
        one, other = BOXES[begin], BOXES[end]
        arrows.append({"x": one.x + (other.x - one.x) * 0.3, "y": one.y + high, "x2": other.x - (other.x - one.x) * 0.3, "y2": other.y - high - 0.06})
    x: Spec = {"type": "quantitative", "axis": None, "scale": {"domain": [0, 2], "nice": False}}
    y: Spec = {"type": "quantitative", "axis": None, "scale": {"domain": [6.4, -0.4], "nice": False}}

    def text(field: str, **mark: Any) -> Spec:
        return {
            "data": {"values": boxes},
            "mark": {"type": "text", **mark},
            "encoding": {"x": {"field": "x", **x}, "y": {"field": "y", **y}, "text": {"field": field}},
        }

    return drawn(
        {
            "width": 560,
            "height": 500,
            "layer": [
                {
                    "data": {"values": arrows},
                    "mark": {"type": "rule", "color": FAINT, "strokeWidth": 1.5},
                    "encoding": {"x": {"field": "x", **x}, "y": {"field": "y", **y}, "x2": {"field": "x2"}, "y2": {"field": "y2"}},
                },
                {
                    "data": {"values": arrows},
                    "mark": {"type": "point", "shape": "triangle-down", "filled": True, "size": 70, "color": FAINT, "opacity": 1},
                    "encoding": {"x": {"field": "x2", **x}, "y": {"field": "y2", **y}},
                },
                {
                    "data": {"values": boxes},
                    "mark": {"type": "rect", "cornerRadius": 6, "strokeWidth": 1.5},
                    "encoding": {
                        "x": {"field": "left", **x},
                        "x2": {"field": "right"},
                        "y": {"field": "low", **y},
                        "y2": {"field": "high"},
                        "fill": {"condition": {"test": "datum.ours", "value": "#e3effa"}, "value": "#f2f3f5"},
                        "stroke": {"condition": {"test": "datum.ours", "value": BLUE}, "value": "#9aa1ac"},
                    },
                },
                text("name", dy=-8, fontSize=14, fontWeight="bold", color=INK),
                text("note", dy=10, fontSize=12, color=FAINT),
            ],
        }
    )
