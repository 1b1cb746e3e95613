"""WHEN on the command line: a snapshot of the store, or a saved file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from pmapdiff.api import source
from pmapdiff.cli._progress import ProgressLine

if TYPE_CHECKING:
    from pmapdiff.cli._app import Global
    from pmapdiff.store import ProcessFilter


PartialOption = Annotated[bool, typer.Option("--partial", help="Saved files: take what is whole of one that was cut off.")]
InputFormOption = Annotated[
    str | None, typer.Option("--input-format", metavar="FORM", help="Saved files: their form, where it cannot be told from their content.")
]


class Source(source.Source):
    """Loads what the words of a command mean; says on standard error what is wrong with files that can be read all the same."""

    def __init__(self, options: Global, wanted: ProcessFilter, *, form: str | None = None, partial: bool = False) -> None:
        super().__init__(options.open_store, wanted, say=warn, progress=ProgressLine, form=form, partial=partial)


def warn(text: str) -> None:
    """Say something on standard error that is safe to print."""
    sys.stderr.write(f"pmapdiff: {text}\n")
