"""A page with pictures, in one file of HTML (extra `report`)."""

from __future__ import annotations

from typing import TextIO

from pmapdiff.report.base import View, register
from pmapdiff.report.visual.content import Content


@register("report", "html")
def write_page(result: Content, _view: View, out: TextIO) -> None:
    """The page of a content; how to look at it is up to whoever opens it. Raises UsageError without what draws its pictures."""
    from pmapdiff.report.visual.page import page_of

    out.write(page_of(result))
