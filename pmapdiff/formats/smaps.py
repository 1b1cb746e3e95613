"""/proc/PID/smaps: the form that the recorder reads and that can be given back byte for byte.

A mapping is a header line (as in /proc/PID/maps) and counter lines. Which counters there are, and in
which order, differs with the kernel, so nothing here knows a fixed list: the lines become a `Layout` with holes. Layouts
are few, and one kernel prints each value in a fixed column, so after the first mapping the rest is cut by position.
Kernel facts: fs/proc/task_mmu.c `show_vma_header_prefix`, `show_smap`; fs/seq_file.c `seq_put_decimal_ull_width`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from pmapdiff.errors import FormatError
from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.counter_lines import MEMO_LIMIT, CounterLines, FixedForm, LineError, Numbers, parse_lines
from pmapdiff.formats.lines import NO_END, NO_LAST_END, behind_blank_lines, count_overlaps, has_end, overlap_warning
from pmapdiff.model import COUNTER_INDEX, Mapping, MappingTable, layout_of
from pmapdiff.text import decode, printable

_HEADER = re.compile(
    rb"([0-9a-f]{8,16})-([0-9a-f]{8,16}) ([r-][w-][x-][sp]) ([0-9a-f]{8,16}) ([0-9a-f]{2,4}:[0-9a-f]{2,8}) ([0-9]{1,20})(?: ( *)([^ \n][^\n]*)?)?"
)
WHOLE_HEADER = re.compile(_HEADER.pattern + rb"$", re.MULTILINE)
# The beginning of a header line, wherever it stands.
HEADER_LINE = re.compile(rb"^[0-9a-f]{8,16}-[0-9a-f]{8,16}[ \t]+[r-][w-][x-][sp][ \t][^\n]*", re.MULTILINE)
# Kernels of Android before 5.17 say what anonymous memory is for in a line of its own: behind the header, or behind VmFlags.
_NAME_LINE = rb"Name:[ \t]+\[anon:"
COUNTER_LINE = re.compile(rb"^(?:[A-Z]\w+:[ \t]+[0-9]+ kB|VmFlags:|" + _NAME_LINE + rb")", re.MULTILINE)
_BEGINS = re.compile(HEADER_LINE.pattern + rb"(?<!\[rollup\])\n" + COUNTER_LINE.pattern, re.MULTILINE)
_NAME = re.compile(_NAME_LINE)
_NEXT_HEADER = re.compile(rb"\n(?=[0-9a-f]{8,16}-[0-9a-f]{8,16} [r-])")
_SIZE_HOLE = re.compile(rb"^(Size: *)(%8d|%d)", re.MULTILINE)
_FLAGS = b"VmFlags:"
_WHOLE_LINE = re.compile(rb"VmFlags:(?: [a-z?]{2})* ?|[A-Z]\w+: +[0-9]+ kB|" + _NAME_LINE + rb"[^\n]*\]")
_MMU_PAGE_SIZE = COUNTER_INDEX["MMUPageSize"]
BACKWARDS = "the address goes backwards: more than one table in this file?"
_ADDRESS = b"0123456789abcdef- "

_HeaderFields = tuple[int, int, str, int, str, int, bytes, bytes | None]


def parse_header(line: bytes) -> _HeaderFields | None:
    """The fields of a header line (without newline): start, end, perms, offset, device, inode, name, verbatim.

    Addresses and offset are bytes. `verbatim` is None for a line in the kernel's own form and else the line itself, so
    that it can be given back. None if it is no header line.
    """
    match = _HEADER.fullmatch(line)
    if match is None:
        return None
    start, end, offset, inode = int(match[1], 16), int(match[2], 16), int(match[4], 16), int(match[6])
    if end <= start or inode >= 1 << 64:
        return None
    fields = (start, end, match[3].decode(), offset, match[5].decode(), inode, match[8] or b"")
    return (*fields, None if _header_line(*fields) == line else line)


def _header_line(start: int, end: int, perms: str, offset: int, device: str, inode: int, name: bytes) -> bytes:
    prefix = f"{start:08x}-{end:08x} {perms} {offset:08x} {device} {inode} ".encode()
    return prefix.ljust(72) + b" " + name if name else prefix


def render_header(mapping: Mapping) -> bytes:
    """A mapping's header line as /proc/PID/maps has it, without the newline.

    What the source did not have (offset, device, inode) is printed as zero, the form has no other way.
    """
    if mapping.header is not None:
        return mapping.header
    return _header_line(mapping.start, mapping.end, mapping.perms, mapping.offset or 0, mapping.device or "00:00", mapping.inode or 0, mapping.name)


def render_smaps(mappings: Iterable[Mapping]) -> bytes:
    """The smaps text of mappings that were read from smaps, byte for byte as it was."""
    parts: list[bytes] = []
    for mapping in mappings:
        if mapping.layout is None:
            raise ValueError("a mapping that was not read from smaps has no smaps text")
        parts.append(render_header(mapping))
        parts.append(b"\n")
        parts.append(mapping.layout.render(mapping.size_kib, mapping.counters, mapping.flags, mapping.extra))
    return b"".join(parts)


class Stop(Exception):
    """Why no further mapping can be read: what is wrong with the line that begins at `position`."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position
        self.reason = reason


class ReadSmaps(NamedTuple):
    """What was read of a smaps text: its mappings, where the last of them begins and ends, and why no other follows (None: the text ends)."""

    mappings: tuple[Mapping, ...]
    last: int
    end: int
    stop: Stop | None


@dataclass(slots=True)
class SmapsParser:
    """Parses smaps texts; keeps what repeats from one to the next (same libraries, same counters)."""

    _numbers: Numbers = field(default_factory=Numbers)
    _bodies: dict[bytes, CounterLines] = field(default_factory=dict)
    _tails: dict[bytes, tuple[str, int, str, int, bytes]] = field(default_factory=dict)
    _flags: dict[bytes, bytes] = field(default_factory=dict)
    _fixed: FixedForm | None = None

    def parse(self, text: bytes, source: str = "smaps") -> tuple[Mapping, ...]:
        """The mappings of a whole smaps text, by address. Raises FormatError with the line.

        A torn text may go back by one mapping: what was printed was merged with its neighbours before the next
        read (5 % of the reads of a process that does nothing but mprotect, Linux 6.18). Going back further is another table.
        """
        read = self.read(text, 0)
        if read.stop is not None:
            raise FormatError(read.stop.reason, source=source, line=text.count(b"\n", 0, read.stop.position) + 1)
        return read.mappings

    def read(self, text: bytes, position: int) -> ReadSmaps:
        """The mappings that stand in a text from a position on, up to the first one that does not fit, and why it does not."""
        mappings: list[Mapping] = []
        begun = position
        length, previous, stop = len(text), -1, None
        bodies, flag_texts, backwards = self._bodies, self._flags, False
        new, tails = tuple.__new__, self._tails
        try:
            while position < length:
                newline = text.find(b"\n", position)
                if newline < 0:
                    raise Stop(position, "the file ends in the middle of a line")
                # The header of nearly every mapping of a 64-bit process, without a call: two addresses of 12 digits and a known rest.
                known = tails.get(text[position + 26 : newline])
                address = text[position : position + 26]
                if (
                    known is not None
                    and address[25] == 32
                    and address[12] == 45
                    and address[0] != 48 != address[13]
                    and not address.translate(None, _ADDRESS)
                ):
                    start, end_address = int(address[:12], 16), int(address[13:25], 16)
                    head: _HeaderFields | None = (start, end_address, *known, None) if end_address > start else None
                else:
                    head = self._header(text[position:newline])
                if head is None and mappings and _NAME.match(text, position):
                    # The lines of the last mapping were cut by position, and one more belongs to them.
                    newline = text.find(b"\n", begun)
                    more, position = self._parse_block(text, newline)
                    if more.size_kib not in (None, mappings[-1].size_kib):
                        more = self._with_guard_page(more, mappings[-1].size_kib, newline)
                    mappings[-1] = mappings[-1]._replace(flags=more.flags, counters=more.counters, layout=more.layout, extra=more.extra)
                    continue
                if head is None:
                    shown = printable(decode(text[position : min(newline, position + 60)]))
                    raise Stop(position, f"not the first line of a mapping: {shown!r}")
                if head[0] <= previous and head[1] <= previous:
                    raise Stop(position, BACKWARDS)
                lines: CounterLines | None = None
                fixed = self._fixed
                if fixed is not None:
                    body_end = newline + 1 + fixed.length
                    if text.startswith(_FLAGS, body_end):
                        body = text[newline + 1 : body_end]
                        lines = bodies.get(body)
                        if lines is None:
                            lines = fixed.parse(body, self._numbers)
                            if lines is not None:
                                self._remember(body, lines)
                        if lines is not None:
                            end = text.find(b"\n", body_end)
                            if end < 0:
                                raise Stop(body_end, "the file ends in the middle of a line")
                            raw_flags = text[body_end + len(_FLAGS) : end]
                            flags: bytes | None = flag_texts.setdefault(raw_flags, raw_flags)
                            following = end + 1
                if lines is None:
                    lines, following = self._parse_block(text, newline)
                    flags = lines.flags
                start, end_address, perms, offset, device, inode, name, verbatim = head
                if lines.size_kib is not None and lines.size_kib != (end_address - start) >> 10:
                    lines = self._with_guard_page(lines, (end_address - start) >> 10, newline)
                backwards = backwards or start <= previous
                previous = start
                counters, layout, extra, _, _ = lines
                # What Mapping(…) does, without the call: this line runs for every mapping of a host.
                mappings.append(new(Mapping, (start, end_address, perms, offset, device, inode, name, flags, counters, layout, extra, verbatim)))
                begun, position = position, following
        except Stop as caught:
            stop = caught
        if backwards:
            mappings.sort(key=lambda m: (m.start, m.end))
        return ReadSmaps(tuple(mappings), begun, position, stop)

    def _with_guard_page(self, lines: CounterLines, span_kib: int, newline: int) -> CounterLines:
        """The lines of a mapping whose Size is not that of its addresses, with Size as a part of the layout.

        Kernels from 2.6.36 to 4.12 leave the guard page of a stack out of the addresses, but not out of Size
        (fs/proc/task_mmu.c, show_map_vma and stack_guard_page_start). Any other difference is an error.
        """
        page_kib = lines.counters[_MMU_PAGE_SIZE] or 4
        if lines.size_kib is None or lines.size_kib != span_kib + page_kib:
            raise Stop(newline + 1, f"Size is {lines.size_kib} kB, but the addresses span {span_kib} KiB")
        template, count = _SIZE_HOLE.subn(lambda match: match[1] + match[2] % lines.size_kib, lines.layout.template)
        assert count == 1
        return lines._replace(layout=layout_of(template))

    def _remember(self, body: bytes, lines: CounterLines) -> None:
        if len(self._bodies) >= MEMO_LIMIT:
            self._bodies.clear()
        self._bodies[body] = lines

    def _parse_block(self, text: bytes, newline: int) -> tuple[CounterLines, int]:
        """The counter lines after the header that ends at `newline`, read line by line, and where they end."""
        match = _NEXT_HEADER.search(text, newline)
        end = len(text) if match is None else match.start() + 1
        body = text[newline + 1 : end]
        if not body:
            raise Stop(newline, "a mapping without counters: is this /proc/PID/maps, not smaps?")
        if not body.endswith(b"\n"):
            raise Stop(end - 1, "the file ends in the middle of a line")
        try:
            lines = parse_lines(body)
        except LineError as error:
            begins = sum(len(line) + 1 for line in body.split(b"\n", error.line)[: error.line])
            raise Stop(newline + 1 + begins, str(error)) from None
        if self._fixed is None or self._fixed.layout != lines.layout:
            start_of_flags = body.rfind(b"\n", 0, len(body) - 1) + 1
            self._fixed = FixedForm.of(lines.layout, body[:start_of_flags])
            self._bodies.clear()
        return lines, end

    def _header(self, line: bytes) -> _HeaderFields | None:
        """The fields of a header line; what follows its addresses is remembered if those are of 12 digits each."""
        fields = parse_header(line)
        if fields is not None and fields[7] is None and line[12] == 45 and line[25] == 32:
            if len(self._tails) >= MEMO_LIMIT:
                self._tails.clear()
            self._tails[line[26:]] = fields[2:7]
        return fields


def _take(text: Text, position: int) -> Taken | None:
    """The table that begins at a position: as the recorder reads it, but for how its last mapping ends."""
    parser: SmapsParser = text.memory.setdefault("smaps", SmapsParser())
    mappings: list[Mapping] = []
    while True:
        read = parser.read(text.data, position)
        mappings += read.mappings
        last, end = (read.last, read.end) if read.mappings else (position, position)
        position = behind_blank_lines(text.data, end)
        # Blank lines between mappings are of whoever copied them.
        following = parse_header(text.line(position)[0]) if position != end and position < len(text.data) else None
        if following is None or not mappings or following[0] < mappings[-1].end:
            break
    reason = None if read.stop is None else read.stop.reason
    if read.stop is not None and read.stop.position > end:
        # A mapping begins at `end`, and its lines do not go on as they should.
        try:
            (mapping,) = SmapsParser().parse(text.data[end : read.stop.position])
        except FormatError:
            if mappings:
                return _taken(text, mappings, text.line(end)[1], reason, "the last mapping has no counters")
            header = text.line(end)[0]
            if header.index(b"-") < header.index(b" ") // 2:
                # The first digits of the address are missing, so that it is not that of a mapping of this Size.
                return None
            raise text.error(read.stop.position, read.stop.reason) from None
        mappings.append(mapping)
        last, end = end, read.stop.position
    if len(mappings) < 2:
        return _taken(text, mappings, end, reason) if mappings else None
    # One kernel gives every mapping the same lines: more of them at the end are no part of the table, fewer are a copy that was cut off.
    expected, found = _labels(mappings[-2]), _labels(mappings[-1])
    if len(found) > len(expected) > 0 and found[: len(expected)] == expected:
        end = last
        for _ in range(1 + len(expected) + (_anonymous_name(mappings[-1]) is not None)):
            end = text.line(end)[1]
        mappings[-1:] = SmapsParser().parse(text.data[last:end])
    elif len(found) < len(expected) and expected[: len(found)] == found:
        cut = f"the last mapping has {len(found)} of {len(expected)} lines"
        return _taken(text, mappings[:-1], end, reason, cut)
    elif text.unfinished is not None and last < text.unfinished < end and not _WHOLE_LINE.fullmatch(text.data, text.unfinished, end - 1):
        return _taken(text, mappings[:-1], end, reason, "the last line is not whole")
    return _taken(text, mappings, end, reason)


def _taken(text: Text, mappings: list[Mapping], end: int, reason: str | None, cut: str | None = None) -> Taken:
    if any("Name" in layout.extra_labels for layout in {mapping.layout for mapping in mappings} if layout is not None):
        mappings = [_with_name(mapping) for mapping in mappings]
    overlaps = count_overlaps(mappings)
    warnings = [overlap_warning(overlaps)] if overlaps else []
    if text.unfinished is not None and end == len(text.data) and cut is None:
        warnings.append(NO_LAST_END)
    elif cut is None and not has_end(mappings):
        warnings.append(NO_END)
    return Taken(SavedTable(MappingTable(tuple(mappings)), "smaps", text.source, warnings=tuple(warnings)), end, cut=cut, reason=reason)


def _anonymous_name(mapping: Mapping) -> bytes | None:
    """What a kernel of Android before 5.17 says that anonymous memory is for: `[anon:libc_malloc]`."""
    if mapping.layout is None or "Name" not in mapping.layout.extra_labels:
        return None
    said = mapping.extra[mapping.layout.extra_labels.index("Name")]
    return said.strip(b" \t") if isinstance(said, bytes) and _NAME.match(b"Name:" + said) else None


def _with_name(mapping: Mapping) -> Mapping:
    """The mapping with the name from the line that says it, where its header has none."""
    name = None if mapping.name else _anonymous_name(mapping)
    return mapping if name is None else mapping._replace(name=name, header=render_header(mapping))


def _labels(mapping: Mapping) -> tuple[str, ...]:
    """The counters of a mapping; a line with its name is one that only some have."""
    if mapping.layout is None:
        return ()
    named = _anonymous_name(mapping) is not None
    return tuple([label for label in mapping.layout.labels if label != "Name"]) if named else mapping.layout.labels


register(LineForm("smaps", "/proc/PID/smaps", _BEGINS, _take, COUNTER_LINE))
