"""What a form of saved table is, and the registry that knows them all.

A form is one module in this package that calls `register` once; `all_forms` imports every module there is, so
adding a form touches nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple

from pmapdiff.errors import FormatError
from pmapdiff.model import MappingTable

# Looking at the beginning is enough to tell every form; a file that is nothing we know is not read further.
DETECT_BYTES = 65536
_MOST_OVERLAPS = 256
# 2 to the power of 64 bytes, with room for a file of several processes' worth of shared pages.
_MOST_KIB = 1 << 56


@dataclass(frozen=True, slots=True)
class SavedTable:
    """One mapping table as a file gave it.

    `pid` and `command` (bytes, as the file shows them) are None where the form does not say. `warnings` are
    sentences about what is wrong with the file although its table could be read (a footer that
    disagrees with the rows).
    """

    table: MappingTable
    form: str
    source: str
    pid: int | None = None
    command: bytes | None = None
    warnings: tuple[str, ...] = ()


class Parse(NamedTuple):
    """The input of a parser: the whole file, and the name for its error messages."""

    data: bytes
    source: str


class Form(NamedTuple):
    """One form of saved table.

    `detect` looks at the first `DETECT_BYTES` of a file and says whether it is of this form; at most one form may
    say so of any file. `parse` gives the file's tables (at least one) and raises FormatError with the line for
    anything it cannot explain.
    """

    name: str
    description: str
    detect: Callable[[bytes], bool]
    parse: Callable[[Parse], list[SavedTable]]


_FORMS: dict[str, Form] = {}


def register(form: Form) -> Form:
    """Add a form to the registry."""
    if form.name in _FORMS:
        raise ValueError(f"two forms are called {form.name}")
    _FORMS[form.name] = form
    return form


def all_forms() -> dict[str, Form]:
    """Every form by its name, sorted. Imports the modules of this package: the recorder needs only one of them."""
    package = import_module(__package__)
    for module in iter_modules(package.__path__):
        import_module(f"{__package__}.{module.name}")
    return dict(sorted(_FORMS.items()))


def _plausible(saved: SavedTable) -> SavedTable:
    """The same table. Raises FormatError for one that no address space can be, whatever its lines look like."""
    mappings = saved.table.mappings
    highest = overlapping = 0
    for mapping in mappings:
        overlapping += mapping.start < highest
        highest = max(highest, mapping.end)
    # A read that was torn has one at each place where it broke.
    if overlapping > _MOST_OVERLAPS:
        raise FormatError(f"{overlapping:,} mappings overlap others: this is no table of one process", source=saved.source)
    if any(value is not None and value >= _MOST_KIB for value in saved.table.totals.figures):
        raise FormatError("the counters add up to more than any address space holds", source=saved.source)
    return saved


def parse_saved(data: bytes, source: str, form_name: str | None = None) -> list[SavedTable]:
    """The tables in a saved file's bytes, its form told by the content unless named.

    Raises FormatError if it is of no form, or breaks the form it claims to be.
    """
    if form_name is not None:
        return [_plausible(table) for table in all_forms()[form_name].parse(Parse(data, source))]
    head = data[:DETECT_BYTES]
    for form in all_forms().values():
        if form.detect(head):
            return [_plausible(table) for table in form.parse(Parse(data, source))]
    known = ", ".join(all_forms())
    if not data.strip():
        raise FormatError("the file is empty", source=source, line=1)
    raise FormatError(f"no mapping table of a known form begins here (known: {known})", source=source, line=1)
