"""What a report is, and the registry that knows them all.

A report turns one kind of result (its subject: a comparison, a snapshot, a list) into one form. Each form is a module
of this package that registers what it can do; the first report that is written imports every module there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, TextIO

from pmapdiff.align import BUILT_IN, Classifier
from pmapdiff.errors import UsageError
from pmapdiff.model import Mapping

# The figures of every change row, and those that decide whether a change is below the threshold.
MAIN_FIGURES = ("size_kib", "rss_kib", "footprint_kib", "dirty_kib", "swap_kib")
# Columns of a terminal from which on a report shows more.
_WIDE = 120
SORTS = ("size", "rss", "pss", "dirty", "anonymous", "swap", "footprint", "name", "address")


@dataclass(frozen=True, slots=True)
class View:
    """How to look at a result.

    `by` is region (of `show`: mapping), family or process; `sort` is one of `SORTS`; changes smaller than `threshold_kib` in
    every figure are summed up in one row; `top` limits the rows (None: as many as suit the form, 0: all). `width` is that of the
    terminal in columns, None for no limit; `colour` only where somebody looks. `explain` gives the reason for each family; `classifier`
    says what mappings are for where that is not in the result (`show`). The rest is for pmap's forms, as its options -p, -q and -A: names with
    their paths, no headings and totals, and only the mappings from the one that holds the lower address to the one that holds the higher.
    """

    by: str = "region"
    sort: str | None = None
    threshold_kib: int = 0
    top: int | None = None
    width: int | None = None
    colour: bool = False
    explain: bool = False
    classifier: Classifier = BUILT_IN
    show_path: bool = False
    quiet: bool = False
    address_range: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.sort is not None and self.sort not in SORTS:
            raise UsageError(f"--sort {self.sort}: one of {', '.join(SORTS)}")

    @property
    def is_wide(self) -> bool:
        """Whether there is room for columns that can be done without."""
        return self.width is not None and self.width >= _WIDE

    def shows(self, mapping: Mapping) -> bool:
        """Whether some of a mapping lies within the range of addresses, both ends of which are in it."""
        if self.address_range is None:
            return True
        low, high = self.address_range
        return mapping.start <= high and low < mapping.end


def figure_title(figure: str) -> str:
    """`Rss`, `Footprint`: the head of a column."""
    return figure.removesuffix("_kib").replace("_", " ").capitalize()


# What a row can be of, the usual first.
ROWS_BY = {"compare": ("region", "family", "process"), "history": ("region", "family"), "show": ("mapping", "family")}


def check_by(subject: str, by: str) -> None:
    """Raise UsageError if the rows of this subject cannot be of that."""
    if by not in ROWS_BY[subject]:
        raise UsageError(f"--by {by}: one of {', '.join(ROWS_BY[subject])}")


Writer = Callable[[Any, View, TextIO], None]
_REPORTS: dict[tuple[str, str], Writer] = {}


def register(subject: str, form: str) -> Callable[[Writer], Writer]:
    """Add a report of `subject` in `form` to the registry."""

    def add(writer: Writer) -> Writer:
        if (subject, form) in _REPORTS:
            raise ValueError(f"two reports of {subject} as {form}")
        _REPORTS[subject, form] = writer
        return writer

    return add


@cache
def load_forms() -> None:
    """Import every form: not before one is asked for, so that whoever only wants the words of reports has them at once."""
    for module in iter_modules([str(Path(__file__).parent)]):
        import_module(f"{__package__}.{module.name}")


def forms_of(subject: str) -> list[str]:
    """The forms in which a subject can be reported, text first."""
    load_forms()
    return sorted((form for known, form in _REPORTS if known == subject), key=lambda form: (form != "text", form))


def write_report(subject: str, form: str, result: Any, view: View, out: TextIO) -> None:
    """Write a result to a stream. Raises UsageError for a form that this subject does not have."""
    load_forms()
    writer = _REPORTS.get((subject, form))
    if writer is None:
        raise UsageError(f"--format {form}: {subject} is written as {', '.join(forms_of(subject))}")
    writer(result, view, out)
