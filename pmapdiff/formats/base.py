"""What a form of saved table is, and the registry that knows them all.

A form is one module in this package that calls `register`; `all_forms` imports every module there is, so
adding a form touches nothing else. There are two kinds: a `Form` takes a file as a whole (a core dump, an archive, JSON), a `LineForm` finds
its tables anywhere in a text, between prompts, fences and prose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from io import BytesIO
from pkgutil import iter_modules
from typing import Any, BinaryIO, NamedTuple

from pmapdiff.errors import FormatError
from pmapdiff.formats.lines import count_overlaps
from pmapdiff.model import MappingTable, Totals
from pmapdiff.model.mapping import ADDRESS_LIMIT

# Looking at the beginning is enough to tell what kind of file it is.
DETECT_BYTES = 65536
_MOST_OVERLAPS = 256
# 2 to the power of 64 bytes, with room for a file of several processes' worth of shared pages.
_MOST_KIB = 1 << 56
# The year 9000, in µs.
_LAST_US = 221_845_392_000_000_000


@dataclass(frozen=True, slots=True)
class SavedTable:
    """One mapping table as a file gave it, and what the file says of its process.

    All but the table, the name of its form and that of the file is None where the form does not say. `command` is the command line,
    as the file shows it or with its NULs, `comm` the kernel's name of the process, `exe` its program; `taken_at_us` is in µs since the epoch,
    `vm_hwm_kib` the peak Rss, `totals` only what is not the sum of the rows (smaps_rollup beside maps). `warnings` are sentences about what is
    wrong with the file although its table could be read (a footer that disagrees with the rows). `partial` says why this is only a part of a
    table, and None of a whole one.
    """

    table: MappingTable
    form: str
    source: str
    pid: int | None = None
    command: bytes | None = None
    warnings: tuple[str, ...] = ()
    comm: bytes | None = None
    exe: bytes | None = None
    ppid: int | None = None
    uid: int | None = None
    cgroup: bytes | None = None
    unit: str | None = None
    host: str | None = None
    taken_at_us: int | None = None
    threads: int | None = None
    vm_hwm_kib: int | None = None
    totals: Totals | None = None
    partial: str | None = None


def no_progress(_share: float) -> None:
    """For whoever does not want to know how far the reading is."""


@dataclass
class Parse:
    """The input of a form that takes whole files.

    `stream` is the file (unpacked), at its beginning and seekable; `source` is its name for error messages. `only` is the form that the user
    has named, if any. With `partial`, what stands before the place where a file breaks is wanted; without it, such a file is an error.
    `progress` is told what share of the file is done; `memory` is for what forms keep from one table of the file to the next.
    """

    stream: BinaryIO
    source: str
    only: str | None = None
    partial: bool = False
    progress: Callable[[float], None] = field(default=no_progress)
    memory: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def data(self) -> bytes:
        """The whole file."""
        self.stream.seek(0)
        return self.stream.read()


class Form(NamedTuple):
    """A form that takes a file as a whole.

    `detect` looks at the first `DETECT_BYTES` of a file and says whether it is of this form; at most one form may
    say so of any file. `parse` gives the file's tables (at least one) and raises FormatError, with the line where there are lines, for
    anything it cannot explain.
    """

    name: str
    description: str
    detect: Callable[[bytes], bool]
    parse: Callable[[Parse], list[SavedTable]]


@dataclass
class Text:
    r"""A text in which tables are looked for. Every line ends with `\n`.

    `unfinished` is where the last line begins if its end was added: it may be cut off. `memory` is that of the file (see `Parse`), which may be made
    of several texts; `notes` is for what forms keep of this one: where something stands in it, what came before.
    """

    data: bytes
    source: str
    first_line: int = 1
    unfinished: int | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    _counted: tuple[int, int] = (0, 0)

    def line(self, position: int) -> tuple[bytes, int]:
        """The line that begins at a position, without its end, and where the next one begins."""
        end = self.data.index(b"\n", position)
        return self.data[position:end], end + 1

    def number(self, position: int) -> int:
        """The number in the file of the line that a position is in."""
        known, number = self._counted
        if position < known:
            known, number = 0, 0
        # Many tables have something wrong with them: not from the beginning for each.
        number += self.data.count(b"\n", known, position)
        self._counted = position, number
        return number + self.first_line

    def error(self, position: int, reason: str) -> FormatError:
        """What is wrong with the line at a position."""
        return FormatError(reason, source=self.source, line=self.number(position))


class Taken(NamedTuple):
    """A table that was found in a text, and where it ends: where the first line begins that is no part of it.

    `begun` is whether its beginning was seen: a heading, or a line that no table continues with. `cut` says what is
    incomplete at its end and was left out. `reason` is what to say of the line at `end` if the table turns out to go on behind it.
    """

    table: SavedTable
    end: int
    begun: bool = False
    cut: str | None = None
    reason: str | None = None


class LineForm(NamedTuple):
    """A form whose tables may stand anywhere in a text.

    `begins` is searched for (with re.MULTILINE) and matches at the start of a line with which a table may begin; `take` is given such a
    position and reads up to the first line that is no part of the table. It gives None if no table begins here
    after all, and raises FormatError for a line that is part of it but cannot be. `belongs` matches lines (at their start) that stand nowhere but in
    such a table: where one stands alone, a piece was cut off. With `in_report`, tables of this form stand in a file among what else the same program
    writes: other lines are no sign there that somebody has pasted it.
    """

    name: str
    description: str
    begins: re.Pattern[bytes]
    take: Callable[[Text, int], Taken | None]
    belongs: re.Pattern[bytes]
    in_report: bool = False


AnyForm = Form | LineForm
_FORMS: dict[str, AnyForm] = {}


def register(form: AnyForm) -> AnyForm:
    """Add a form to the registry."""
    if form.name in _FORMS:
        raise ValueError(f"two forms are called {form.name}")
    _FORMS[form.name] = form
    return form


def all_forms() -> dict[str, AnyForm]:
    """Every form by its name, sorted. Imports the modules of this package: the recorder needs only one of them."""
    _import_forms()
    return dict(sorted(_FORMS.items()))


@cache
def _import_forms() -> None:
    package = import_module(__package__)
    for module in iter_modules(package.__path__):
        import_module(f"{__package__}.{module.name}")


def plausible(saved: SavedTable) -> SavedTable:
    """The same table. Raises FormatError for one that no address space can be, or of a process or time that cannot be."""
    mappings = saved.table.mappings
    if mappings and mappings[-1].end > ADDRESS_LIMIT:
        # Only of sums: they stand one behind the other.
        raise FormatError("the sizes add up to more than any address space holds", source=saved.source)
    overlapping = count_overlaps(mappings)
    # A read that was torn has one at each place where it broke.
    if overlapping > _MOST_OVERLAPS:
        raise FormatError(f"{overlapping:,} mappings overlap others: this is no table of one process", source=saved.source)
    if any(number is not None and not 0 <= number < 1 << 31 for number in (saved.pid, saved.ppid, saved.threads)):
        raise FormatError("it has a pid, or a number of threads, that no process has", source=saved.source)
    if saved.taken_at_us is not None and not 0 <= saved.taken_at_us < _LAST_US:
        raise FormatError("it says a time that no clock shows", source=saved.source)
    # Many mappings share their counters; sums are only needed where they could be too large.
    counters = {id(mapping.counters): mapping.counters for mapping in mappings}.values()
    largest = max((value for row in counters for value in row if value), default=0)
    if largest * len(mappings) >= _MOST_KIB and any(value is not None and value >= _MOST_KIB for value in saved.table.totals.figures):
        raise FormatError("the counters add up to more than any address space holds", source=saved.source)
    return saved


def parse_file(given: Parse) -> list[SavedTable]:
    """The tables in a file, its form told by the content unless `given.only` names it.

    Raises FormatError if it is of no form, or breaks the form it claims to be.
    """
    from pmapdiff.formats.texts import parse_text

    forms = all_forms()
    chosen = forms.get(given.only or "")
    given.stream.seek(0)
    head = given.stream.read(DETECT_BYTES)
    if chosen is None:
        chosen = next((form for form in forms.values() if isinstance(form, Form) and form.detect(head)), None)
    if not head.strip():
        raise FormatError("the file is empty", source=given.source, line=1)
    tables = chosen.parse(given) if isinstance(chosen, Form) else parse_text(given)
    return [plausible(table) for table in tables]


def parse_saved(data: bytes, source: str, form_name: str | None = None, *, partial: bool = False) -> list[SavedTable]:
    """The tables in a saved file's bytes: see `parse_file`."""
    return parse_file(Parse(BytesIO(data), source, form_name, partial))
