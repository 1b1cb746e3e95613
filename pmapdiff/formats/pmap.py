"""What pmap prints: plain, with -x and with -d, of procps of any age and language, SUSE's, busybox's and toybox's.

They differ in their columns, and those are told by the shape of the rows: how many numbers there are, whether a K stands behind them, whether an
offset and a device follow. Headings are not asked, because they are translated, and -q leaves them out; nor are positions, because versions,
translations and large numbers shift them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.lines import behind_blank_lines, count_overlaps, overlap_warning, quote
from pmapdiff.formats.pmap_common import (
    DASHES,
    HEADING_LINE,
    OPENS,
    PROCESS_LINE,
    Memory,
    Opening,
    next_line,
    opening,
    trouble_with,
    what_may_be_missing,
)
from pmapdiff.formats.pmap_names import Shown, kernel_names
from pmapdiff.formats.pmap_shapes import SECOND_FOOTER, SHAPES, Shape
from pmapdiff.formats.smaps import BACKWARDS
from pmapdiff.model import COUNTER_INDEX, NO_COUNTERS, Mapping, MappingTable
from pmapdiff.model.mapping import ADDRESS_LIMIT


class _Row(NamedTuple):
    """One row before its name is known."""

    start: int
    end: int
    perms: str
    offset: int | None
    device: str | None
    shown: bytes
    counters: tuple[int, ...]


@dataclass
class _Draft:
    """One table while its lines are read: the footers' figures in KiB, None for one that is only a dash."""

    shape: Shape
    rows: list[_Row] = field(default_factory=list)
    footer: tuple[int | None, ...] | None = None
    second_footer: tuple[int, ...] | None = None
    backwards: bool = False


def _shape_at(form: str, text: Text, position: int) -> Shape | None:
    """The shape of the rows that begin at a position; also if there are none, and a footer says so."""
    shapes = [shape for shape in SHAPES if shape.form == form]
    for shape in shapes:
        if shape.row.match(text.data, position):
            return shape
    line, following = text.line(position)
    if DASHES.fullmatch(line) and following < len(text.data):
        line = text.line(following)[0]
    for shape in shapes:
        if (match := shape.footer.fullmatch(line)) is not None and all(figure in (b"0", b"-") for figure in match.groups()):
            return shape
    return None


def _opens(form: str, text: Text, position: int) -> Opening | None:
    """The opening of the table at a position, if one of this form begins there."""
    return opening(text, position, lambda text, position: _shape_at(form, text, position) is not None, form)


def _take(form: str, text: Text, position: int) -> Taken | None:
    """The table of this form that begins at a position, with or without the line that says whose it is."""
    memory = Memory.of(text)
    head = _opens(form, text, position)
    shape = None if head is None else _shape_at(form, text, head.rows)
    if head is None or shape is None:
        return memory.take_unreadable(text, position, form)
    if not head.begun and (memory.misfits.get(form) == position or _is_cut(shape, text, position)):
        return None
    draft = _Draft(shape)
    end, reason, cut = _read_rows(draft, text, head.rows)
    rows = draft.rows
    if draft.backwards:
        rows.sort(key=lambda row: (row.start, row.end))
    mappings = _mappings(shape, rows)
    table = SavedTable(
        table=MappingTable(mappings),
        form=form,
        source=text.source,
        pid=head.pid,
        command=head.command,
        warnings=(*_warnings(draft, mappings), *what_may_be_missing(text, end, head, has_footer=draft.footer is not None)),
    )
    memory.last_end[form] = end
    return Taken(table, end, begun=head.begun, cut=cut, reason=reason)


def _is_cut(shape: Shape, text: Text, position: int) -> bool:
    """Whether a row without anything before it has lost the first digits of its address, or is what older versions print a second time."""
    first = shape.row.match(text.data, position)
    if first is None or not int(first["size"]):
        return True
    second = shape.row.match(text.data, min(first.end() + 1, len(text.data)))
    return second is not None and len(first["start"]) < len(second["start"])


def _read_rows(draft: _Draft, text: Text, position: int) -> tuple[int, str | None, str | None]:
    """Read the rows from a position on, and what stands below them. Gives the place of the first line that is no part of the table, what to
    say of that line, and what is cut off.
    """
    shape, end = draft.shape, position
    while position < len(text.data):
        if match := shape.row.match(text.data, position):
            trouble = _take_row(draft, match)
            if trouble == BACKWARDS:
                return end, f"{trouble} {quote(match[0])}", None
            if trouble:
                raise text.error(position, f"{trouble}: {quote(match[0])}")
            position = end = match.end() + 1
            continue
        line, following = text.line(position)
        if match := shape.footer.fullmatch(line):
            draft.footer = tuple([None if figure == b"-" else int(figure) for figure in match.groups()])
            end = following
            if position == text.unfinished and list(_disagreements(draft)):
                draft.footer = None
                return end, None, f"the last line is not whole: {quote(line)}"
            behind = next_line(text, position)
            second = SECOND_FOOTER.fullmatch(text.line(behind)[0]) if behind < len(text.data) else None
            if second is not None:
                draft.second_footer, end = tuple([int(figure) for figure in second.groups()]), text.line(behind)[1]
            return end, None, None
        if DASHES.fullmatch(line):
            end = following
        elif line.strip():
            Memory.of(text).misfits[shape.form] = position
            return end, f"neither a row nor any other line of {shape.form}: {quote(line)}", None
        position = behind_blank_lines(text.data, following)
    return end, None, None


def _take_row(draft: _Draft, match: re.Match[bytes]) -> str | None:
    """Add one row to its table; what is wrong with it, or None."""
    fields = match.groupdict()
    start, size_kib, mode = int(fields["start"], 16), int(fields["size"]), fields["mode"].decode()
    counters = tuple([int(fields[name]) for name in draft.shape.counters])
    previous = draft.rows[-1] if draft.rows else None
    end = start + (size_kib << 10)
    if previous and start == previous.start and counters and (size_kib == 0 or (end == previous.end and not any(counters))):
        # Up to 3.3.12 a row is printed at `Swap`, and once more at the `SwapPss` of Linux 4.3: without a size, or (RHEL 6) with it.
        draft.rows[-1] = previous._replace(counters=tuple(map(max, previous.counters, counters)))
        return None
    trouble = trouble_with(start, end, None if previous is None else (previous.start, previous.end))
    offset = int(fields["offset"], 16) if "offset" in fields else None
    if trouble is None and offset is not None and offset >= ADDRESS_LIMIT:
        trouble = "the offset goes beyond 64 bits"
    if trouble is not None:
        return trouble
    draft.backwards = draft.backwards or (previous is not None and start < previous.start)
    # pmap pads as %03x:%05x what the kernel prints as %02x:%02x.
    device = f"{int(fields['major'], 16):02x}:{int(fields['minor'], 16):02x}" if "major" in fields else None
    perms = mode[:3] + ("s" if mode[3] == "s" else "p")
    draft.rows.append(_Row(start, end, perms, offset, device, fields["name"], counters))
    return None


def _names(rows: Sequence[_Row]) -> list[bytes]:
    return kernel_names([Shown(row.start, row.perms, row.device, row.shown) for row in rows])


def _mappings(shape: Shape, rows: Sequence[_Row]) -> tuple[Mapping, ...]:
    """The rows with their names."""
    indices = [COUNTER_INDEX[name] for name in shape.counters]
    mappings: list[Mapping] = []
    for row, name in zip(rows, _names(rows), strict=True):
        counters = list(NO_COUNTERS)
        for index, value in zip(indices, row.counters, strict=True):
            counters[index] = value
        offset = row.offset
        if row.device == "00:00" and (not name or name.startswith(b"[")):
            # RHEL 5 (Linux 2.6.18) says where anonymous memory was when it was mapped: that is no offset into anything, and later kernels say 0.
            offset = 0
        mappings.append(Mapping(row.start, row.end, row.perms, offset, row.device, None, name, counters=tuple(counters)))
    return tuple(mappings)


def _size(rows: Iterable[_Row]) -> int:
    return sum(row.end - row.start for row in rows) >> 10


def _is_limited(draft: _Draft) -> bool:
    """Whether the rows may be a part of the process that -A has chosen: every process has a stack."""
    return b"[stack]" not in _names(draft.rows)


def _disagreements(draft: _Draft) -> Iterator[str]:
    """Sentences about figures of the footers that are neither what the rows add up to nor what some version of pmap makes of it."""
    rows = draft.rows
    size, shared = _size(rows), _size(row for row in rows if row.perms[3] == "s")
    writeable = _size(row for row in rows if row.perms[1] == "w" and row.perms[3] == "p")
    sums = [size, *map(sum, zip(*(row.counters for row in rows), strict=True))] if rows else [0] * len(draft.shape.figures)
    if not draft.shape.counters:
        sums = [size, writeable, shared]
    figures = list(zip(draft.shape.figures, draft.footer or (), sums, strict=False))
    figures += zip(
        ("writable-private size", "readonly-private size", "shared size"),
        draft.second_footer or (),
        (writeable, size - writeable - shared, shared),
        strict=False,
    )
    for index, (name, said, summed) in enumerate(figures):
        known = [summed]
        if index == 0 and draft.shape.counters:
            # Up to 3.3.10, -x counts what is shared twice.
            known.append(size + shared)
        elif draft.shape.counters and figures[0][1] == size and said is not None and said > summed and _is_limited(draft):
            # With -A, the counters of what stands below its range are added all the same.
            known.append(said)
        if said is not None and said not in known:
            yield f"the footer says {said} KiB of {'dirty' if name == 'Dirty' else name}, the rows add up to {summed} KiB"


def _warnings(draft: _Draft, mappings: Sequence[Mapping]) -> Iterator[str]:
    overlaps = count_overlaps(mappings)
    if overlaps:
        yield overlap_warning(overlaps)
    if draft.footer is not None:
        yield from _disagreements(draft)


for _form, _description in (
    ("pmap", "pmap, with or without -p and -q"),
    ("pmap-x", "pmap -x, with or without -p and -q; that of SUSE, busybox and toybox"),
    ("pmap-d", "pmap -d, with or without -p and -q"),
):
    _row = b"|".join(shape.row.pattern.lstrip(b"^") for shape in SHAPES if shape.form == _form)
    _row = re.sub(rb"\?P<\w+>", b"?:", _row)
    _begins = re.compile(rb"^(?:" + PROCESS_LINE + rb"|" + HEADING_LINE + rb"(?=" + _row + rb")|" + _row + rb")", re.MULTILINE)
    OPENS[_form] = partial(_opens, _form)
    register(LineForm(_form, _description, _begins, partial(_take, _form), re.compile(_row)))
