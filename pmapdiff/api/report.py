"""A report for programs: the page and the pictures of `pmapdiff report`."""

from __future__ import annotations

from io import BytesIO, StringIO, TextIOWrapper

from pmapdiff.report import View, write_report
from pmapdiff.report.pictures import Picture
from pmapdiff.report.visual.content import Content


class Report:
    """What `pmapdiff report` writes. Needs the extra `report`: without it each form raises UsageError."""

    def __init__(self, content: Content) -> None:
        self.content = content

    def page(self) -> str:
        """The page, as one HTML document that loads nothing."""
        out = StringIO()
        write_report("report", "html", self.content, View(), out)
        return out.getvalue()

    def svg(self, picture: str = "timeline", *, figure: str | None = None) -> str:
        """One picture: timeline, space or treemap, of footprint, rss, dirty, swap, size or mappings. Raises UsageError for what cannot be drawn."""
        out = StringIO()
        write_report("picture", "svg", Picture(self.content, picture, figure), View(), out)
        return out.getvalue()

    def png(self, picture: str = "timeline", *, figure: str | None = None) -> bytes:
        """The same as PNG."""
        out = TextIOWrapper(BytesIO(), "utf-8")
        write_report("picture", "png", Picture(self.content, picture, figure), View(), out)
        data = out.buffer
        assert isinstance(data, BytesIO)
        return data.getvalue()

    def __repr__(self) -> str:
        return f"<Report: {self.content.headline}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002 - IPython gives them
        """For IPython and Jupyter: its timeline, or, of one moment, its treemap."""
        scope = self.content.scopes[self.content.shown]
        return {"text/plain": self.content.headline, "image/svg+xml": self.svg("timeline" if len(scope.steps) > 1 else "treemap")}
