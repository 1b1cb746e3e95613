"""What pmap prints: plain, with -x and with -d, of procps-ng 3.3 and 4.

The forms differ in their columns and share the rest, so each is a `_Kind` for one parser. Columns are told by
their shape, not by their position: 3.3.2 to 3.3.12 put more spaces between them, and -q leaves their headings out.
Facts about the output are from src/pmap.c, `one_proc` and `mapping_name` (procps-ng 3.3.2 to 4.0.4).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.lines import overlap_warning, quote
from pmapdiff.model import NO_COUNTERS, Mapping, MappingTable
from pmapdiff.model.counters import DIRTY, RSS, Counters
from pmapdiff.model.mapping import ADDRESS_LIMIT

# No Linux has smaller pages.
_PAGE_BYTES = 4096

# Numbers are bounded, because int() of very many digits is slow or refused: an address space is 10^17 KiB at
# most, what one process can map less than 10^15. No pattern has two ways to match the same spaces.
_PROCESS = re.compile(rb"(\d{1,10}):(?: +(.*))?")
_DASHES = re.compile(rb"-[- ]*")
_START_AND_SIZE = rb"(?P<start>[0-9a-f]{8,16}) +(?P<size>\d{1,17})"
_MODE = rb" +(?P<mode>[r-][w-][x-][sp-]-)"
_NAME = rb"(?: +(?P<name>.*))?"
_SHMID = re.compile(rb"\[ (shmid=0x[0-9a-f]{1,16}) \]")


class _Kind(NamedTuple):
    """One of pmap's forms: its lines, and what the figures of its footer are sums of (in KiB)."""

    name: str
    description: str
    columns: re.Pattern[bytes] | None
    row: re.Pattern[bytes]
    footer: re.Pattern[bytes]
    figures: tuple[str, ...]
    sums: Callable[[Sequence[Mapping]], tuple[int, ...]]


@dataclass
class _Draft:
    """One table while its lines are read.

    `footer` is in KiB, None for a figure that is only a dash; `overlaps` counts rows that begin before the last one ends.
    """

    pid: int | None = None
    command: bytes | None = None
    mappings: list[Mapping] = field(default_factory=list)
    has_columns: bool = False
    footer: tuple[int | None, ...] | None = None
    overlaps: int = 0


def _size(mappings: Sequence[Mapping]) -> int:
    return sum(mapping.size_kib for mapping in mappings)


def _plain_sums(mappings: Sequence[Mapping]) -> tuple[int, ...]:
    return (_size(mappings),)


def _extended_sums(mappings: Sequence[Mapping]) -> tuple[int, ...]:
    return _size(mappings), *(sum(mapping.counters[index] or 0 for mapping in mappings) for index in (RSS, DIRTY))


def _device_sums(mappings: Sequence[Mapping]) -> tuple[int, ...]:
    shared = [mapping for mapping in mappings if mapping.perms[3] == "s"]
    writeable_private = [mapping for mapping in mappings if mapping.perms[1] == "w" and mapping.perms[3] == "p"]
    return _size(mappings), _size(writeable_private), _size(shared)


_KINDS = (
    _Kind(
        name="pmap",
        description="pmap, with or without -p and -q",
        columns=None,
        row=re.compile(_START_AND_SIZE + rb"K" + _MODE + _NAME),
        footer=re.compile(rb" *total +(\d{1,20})K *"),
        figures=("size",),
        sums=_plain_sums,
    ),
    _Kind(
        name="pmap-x",
        description="pmap -x, with or without -p and -q",
        columns=re.compile(rb"Address +Kbytes +RSS +Dirty +Mode +Mapping *"),
        row=re.compile(_START_AND_SIZE + rb" +(?P<rss>\d{1,15}) +(?P<dirty>\d{1,15})" + _MODE + _NAME),
        # 3.3.2 built for 32 bits prints the size and three dashes.
        footer=re.compile(rb"total kB +(\d{1,20}) +(\d{1,20}|-) +(\d{1,20}|-)(?: +-)? *"),
        figures=("size", "Rss", "dirty"),
        sums=_extended_sums,
    ),
    _Kind(
        name="pmap-d",
        description="pmap -d, with or without -p and -q",
        columns=re.compile(rb"Address +Kbytes +Mode +Offset +Device +Mapping *"),
        row=re.compile(_START_AND_SIZE + _MODE + rb" +(?P<offset>[0-9a-f]{8,16}) +(?P<major>[0-9a-f]{3,8}):(?P<minor>[0-9a-f]{5,8})" + _NAME),
        footer=re.compile(rb"mapped: +(\d{1,20})K +writeable/private: +(\d{1,20})K +shared: +(\d{1,20})K *"),
        figures=("size", "writeable/private size", "shared size"),
        sums=_device_sums,
    ),
)


def _take(kind: _Kind, text: Text, position: int) -> Taken | None:
    """The table of this kind that begins at a position, with or without the line that says whose it is."""
    draft, begun, end, reason = _Draft(), False, position, None
    while position < len(text.data):
        line, following = text.line(position)
        if match := _PROCESS.fullmatch(line):
            if draft.pid is not None or draft.mappings or draft.has_columns:
                break
            draft.pid, draft.command, begun = int(match[1]), match[2] or b"", True
        elif match := kind.row.fullmatch(line):
            trouble = _take_row(draft, match)
            if trouble:
                raise text.error(position, trouble)
            end = following
        elif kind.columns and kind.columns.fullmatch(line) and not draft.mappings:
            draft.has_columns, end, begun = True, following, True
        elif match := kind.footer.fullmatch(line):
            draft.footer, end = tuple([None if figure == b"-" else int(figure) for figure in match.groups()]), following
            break
        elif line.strip() and not (draft.has_columns and _DASHES.fullmatch(line)):
            reason = f"neither a row nor any other line of {kind.name}: {quote(line)}"
            break
        position = following
    if not (draft.mappings or draft.has_columns or draft.footer):
        return None
    table = SavedTable(
        table=MappingTable(tuple(draft.mappings)),
        form=kind.name,
        source=text.source,
        pid=draft.pid,
        command=draft.command,
        warnings=_warnings(kind, draft),
    )
    return Taken(table, end, begun=begun, reason=reason)


def _take_row(draft: _Draft, match: re.Match[bytes]) -> str | None:
    """Add one row to its table; what is wrong with it, or None."""
    fields = match.groupdict()
    start, size_kib = int(fields["start"], 16), int(fields["size"])
    previous = draft.mappings[-1] if draft.mappings else None
    if previous and (start, size_kib) == (previous.start, 0) and fields.get("rss") == fields.get("dirty") == b"0":
        # 3.3.2 to 3.3.12 print a row when they see `Swap`, and take `SwapPss` (since Linux 4.3) for another.
        return None
    end = start + (size_kib << 10)
    if size_kib == 0 or (start | end) % _PAGE_BYTES:
        return f"an address or size that is no whole number of pages: {quote(match[0])}"
    if end > ADDRESS_LIMIT:
        return f"address and size go beyond 64 bits: {quote(match[0])}"
    if previous and start <= previous.start:
        return f"address goes backwards: more than one table in this file? {quote(match[0])}"
    draft.overlaps += previous is not None and start < previous.end
    mode = fields["mode"].decode()
    draft.mappings.append(
        Mapping(
            start=start,
            end=end,
            perms=mode[:3] + ("s" if mode[3] == "s" else "p"),
            offset=int(fields["offset"], 16) if "offset" in fields else None,
            # pmap pads as %03x:%05x what the kernel prints as %02x:%02x.
            device=f"{int(fields['major'], 16):02x}:{int(fields['minor'], 16):02x}" if "major" in fields else None,
            inode=None,
            name=_name(fields["name"] or b""),
            counters=_counters(int(fields["rss"]), int(fields["dirty"])) if "rss" in fields else NO_COUNTERS,
        )
    )
    return None


def _name(shown: bytes) -> bytes:
    """The kernel's name of a mapping for what pmap shows of it.

    A file of the same name as pmap's own words is taken for memory: pasted tables often lost the spaces that tell them apart.
    """
    if shown == b"[ anon ]":
        return b""
    if shown == b"[ stack ]":
        return b"[stack]"
    match = _SHMID.fullmatch(shown)
    return b"[%b]" % match[1] if match else shown


def _counters(rss_kib: int, dirty_kib: int) -> Counters:
    counters = list(NO_COUNTERS)
    counters[RSS], counters[DIRTY] = rss_kib, dirty_kib
    return tuple(counters)


def _warnings(kind: _Kind, draft: _Draft) -> tuple[str, ...]:
    warnings = []
    if draft.overlaps:
        warnings.append(overlap_warning(draft.overlaps))
    if draft.footer is not None:
        for figure, said, summed in zip(kind.figures, draft.footer, kind.sums(draft.mappings), strict=True):
            if said not in (None, summed):
                warnings.append(f"the footer says {said} KiB of {figure}, the rows add up to {summed} KiB")
    elif draft.has_columns:
        warnings.append("no footer: the end may be missing")
    return tuple(warnings)


for _kind in _KINDS:
    _line = b"|".join(part.pattern for part in (_kind.columns, _kind.row) if part)
    _begins = re.compile(
        rb"^(?:(?:" + _line + rb")$|" + _PROCESS.pattern + rb"\n+(?:" + _line.replace(b"?P<", b"?P<after_") + rb"|" + _kind.footer.pattern + rb")$)",
        re.MULTILINE,
    )
    register(
        LineForm(_kind.name, _kind.description, _begins, partial(_take, _kind), re.compile(rb"(?:" + _line + rb"|" + _kind.footer.pattern + rb")$"))
    )
