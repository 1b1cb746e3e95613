"""A page with pictures, in one file of HTML (extra `report`)."""

from __future__ import annotations

import time
from typing import TextIO

from pmapdiff.analyse.fleet_result import FleetLeaks
from pmapdiff.compare.fleet import FleetComparison
from pmapdiff.report.base import View, register
from pmapdiff.report.visual.content import Content


@register("report", "html")
def write_page(result: Content, _view: View, out: TextIO) -> None:
    """The page of a content; how to look at it is up to whoever opens it. Raises UsageError without what draws its pictures."""
    from pmapdiff.report.visual.page import page_of

    out.write(page_of(result))


@register("fleet-leaks", "html")
def write_fleet(result: FleetLeaks, view: View, out: TextIO) -> None:
    """The page of a fleet. Raises UsageError without what draws its pictures."""
    from pmapdiff.report.visual.fleet_page import page_of

    out.write(page_of(result, view.top, time.time_ns() // 1000))


@register("fleet-compare", "html")
def write_fleet_comparison(result: FleetComparison, view: View, out: TextIO) -> None:
    """The page of what changed in a fleet. Raises UsageError without what draws its picture."""
    from pmapdiff.report.visual.fleet_compare import page_of

    out.write(page_of(result, view.top, time.time_ns() // 1000))
