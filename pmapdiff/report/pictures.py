"""Pictures alone, for a message or a ticket: SVG and PNG (extra `report`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from pmapdiff.errors import UsageError
from pmapdiff.report.base import View, register
from pmapdiff.report.visual.content import Content
from pmapdiff.report.visual.draw import Spec, png_of, svg_of
from pmapdiff.report.visual.palette import Palette
from pmapdiff.report.visual.series import FIGURES
from pmapdiff.report.visual.space import has_places, space
from pmapdiff.report.visual.timeline import timeline
from pmapdiff.report.visual.treemap import treemap
from pmapdiff.text import printable

_WIDTH = 960
NAMES = ("timeline", "space", "treemap")


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of what a content shows first: a name of `NAMES`, and the figure that it is of (None: the one to begin with)."""

    content: Content
    name: str
    figure: str | None = None


def spec_of(picture: Picture) -> Spec:
    """What is drawn. Raises UsageError for what there is nothing to be drawn of."""
    if picture.name not in NAMES:
        raise UsageError(f"--picture {printable(picture.name)}: one of {', '.join(NAMES)}")
    if picture.figure is not None and picture.figure not in FIGURES:
        raise UsageError(f"--figure {printable(picture.figure)}: one of {', '.join(FIGURES)}")
    content = picture.content
    scope = content.scopes[content.shown]
    palette = Palette(content.families, in_page=False)
    figure = picture.figure or content.first_figure(scope)
    if not content.figures(scope):
        raise UsageError(f"there is nothing to be drawn of {scope.title}: no table of it was read")
    if figure not in content.figures(scope):
        raise UsageError(f"--figure {figure}: of {scope.title} there is {', '.join(content.figures(scope)) or 'none'}")
    if picture.name == "space":
        if not has_places(scope):
            what = "choose one process (--pid, --name)" if scope.is_all else f"it is not known where the mappings of {scope.title} lie"
            raise UsageError(f"--picture space: {what}")
        return space(content, scope, palette, _WIDTH, title=True)
    if picture.name == "timeline" and len(scope.steps) < 2:
        raise UsageError(f"--picture timeline: there is one snapshot of {scope.title}: give space or treemap")
    draw: Callable[..., Spec] = timeline if picture.name == "timeline" else treemap
    return draw(content, scope, figure, palette, _WIDTH, title=True)


@register("picture", "svg")
def write_svg(result: Picture, _view: View, out: TextIO) -> None:
    """As SVG, which can be made larger without becoming coarse. Raises UsageError."""
    out.write(svg_of(spec_of(result)) + "\n")


@register("picture", "png")
def write_png(result: Picture, _view: View, out: TextIO) -> None:
    """As PNG. Raises UsageError."""
    out.buffer.write(png_of(spec_of(result)))
