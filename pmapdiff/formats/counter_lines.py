"""The counter lines below a mapping's header in smaps: read line by line, or cut by position.

The first is the reference and learns the `Layout`; one kernel prints each value in a fixed column, so from then on the
second does it, and falls back to the first for whatever does not fit.
"""

from __future__ import annotations

import re
import struct
from operator import itemgetter
from typing import NamedTuple

from pmapdiff.model import COUNTER_INDEX, COUNTERS, Counters, Layout, layout_of
from pmapdiff.text import decode, printable

_NUMBER_LINE = re.compile(rb"([A-Za-z][\w.()/-]*):( *)(0|[1-9][0-9]{0,17})( kB)?")
TEXT_LINE = re.compile(rb"([A-Za-z][\w.()/-]*):([^\n]*)")
_FLAGS_HOLE = b"VmFlags:%b\n"
_BLANKED_DIGITS = bytes.maketrans(b"0123456789", b" " * 10)
# A stranger's file must not make the memo of numbers grow without end.
MEMO_LIMIT = 200_000


class CounterLines(NamedTuple):
    """What the counter lines of a mapping say. `size_kib` is the Size line's, None without one."""

    counters: Counters
    layout: Layout
    extra: tuple[int | bytes, ...]
    size_kib: int | None
    flags: bytes | None


class LineError(ValueError):
    """Counter lines that cannot be read: the number of the line within the body, from 0, and why."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def parse_lines(body: bytes) -> CounterLines:
    """Counter lines in any form: the reference that `FixedForm` is derived from and falls back to."""
    counters: list[int | None] = [None] * len(COUNTERS)
    template: list[bytes] = []
    extra: list[int | bytes] = []
    size_kib: int | None = None
    flags: bytes | None = None
    seen: set[bytes] = set()
    for number, line in enumerate(body[:-1].split(b"\n")):
        match = _NUMBER_LINE.fullmatch(line)
        text = TEXT_LINE.fullmatch(line) if match is None else match
        if text is None:
            raise LineError(number, f"neither a mapping nor a counter: {printable(decode(line[:60]))!r}")
        label = text[1]
        if label in seen:
            raise LineError(number, f"{decode(label)} stands twice in one mapping")
        seen.add(label)
        name = label.decode("latin-1")
        index = COUNTER_INDEX.get(name)
        known = index is not None or name == "Size"
        unit = b" kB" if known and (index is None or COUNTERS[index].attribute.endswith("_kib")) else None
        if known and (match is None or match[4] != unit):
            raise LineError(number, f"{name} has no value{' in kB' if unit else ''}: {printable(decode(line[:60]))!r}")
        if match is None:
            template.append(label + b":%b\n")
            if label == b"VmFlags":
                flags = text[2]
            else:
                extra.append(text[2])
            continue
        digits = match[3]
        # The label is padded to 16 columns, the value right-aligned in 8 (SEQ_PUT_DEC); older lines have other forms.
        column = max(16, len(label) + 1)
        if match.end(3) == column + max(8, len(digits)) and len(match[2]) == match.start(3) - len(label) - 1:
            template.append((label + b":").ljust(column) + b"%8d" + (match[4] or b"") + b"\n")
        else:
            template.append(label + b":" + match[2] + b"%d" + (match[4] or b"") + b"\n")
        value = int(digits)
        if index is not None:
            counters[index] = value
        elif name == "Size":
            size_kib = value
        else:
            extra.append(value)
    return CounterLines(tuple(counters), layout_of(b"".join(template)), tuple(extra), size_kib, flags)


class Numbers(dict[bytes, int]):
    """Right-aligned numbers by their text: a look-up is cheaper than int() and checks the form once."""

    def __missing__(self, raw: bytes) -> int:
        value = int(raw)
        if raw != b"%8d" % value and raw != b"%d" % value:
            raise ValueError(raw)
        if len(self) >= MEMO_LIMIT:
            self.clear()
        self[raw] = value
        return value


class FixedForm:
    """A layout whose values all stand in fixed columns: cut by position, labels checked by one comparison.

    `length` is that of the body up to the VmFlags line. A value of more than 8 digits does not fit; such a
    mapping is read line by line.
    """

    def __init__(self, layout: Layout, body: bytes) -> None:
        self.layout = layout
        self.length = len(body)
        self._template = layout.template.removesuffix(_FLAGS_HOLE)
        self.blank = body.translate(_BLANKED_DIGITS)
        fields: list[str] = []
        columns = [-1] * len(COUNTERS)
        self._size: int | None = None
        extra: list[int] = []
        for position, (label, line) in enumerate(zip(layout.labels[:-1], layout.template.split(b"\n"), strict=False)):
            before, _, after = line.partition(b"%")
            width, rest = (8, after[2:]) if after.startswith(b"8d") else (1, after[1:])
            fields.append(f"{len(before)}x{width}s{len(rest) + 1}x")
            index = COUNTER_INDEX.get(label)
            if index is not None:
                columns[index] = position
            elif label == "Size":
                self._size = position
            else:
                extra.append(position)
        self._unpack = struct.Struct("".join(fields)).unpack
        # Missing counters pick the None that stands behind the values.
        self._arrange = itemgetter(*columns)
        self._extra = extra

    @classmethod
    def of(cls, layout: Layout, body: bytes) -> FixedForm | None:
        """The fixed form of a layout, given one body in it; None if its values have no fixed columns."""
        template = layout.template
        if not template.endswith(_FLAGS_HOLE) or template.count(b"%b") != 1 or any(c in b"0123456789" for c in template.replace(b"%8d", b"")):
            return None
        width = len(template) - len(_FLAGS_HOLE) + 5 * template.count(b"%8d") - template.count(b"%d")
        return cls(layout, body) if len(body) == width else None

    def parse(self, body: bytes, numbers: Numbers) -> CounterLines | None:
        """The lines of a body of this form; None if it is of another."""
        if body.translate(_BLANKED_DIGITS) != self.blank:
            return None
        try:
            values = [numbers[raw] for raw in self._unpack(body)]
        except ValueError:
            return None
        # Digits in the padding would pass the comparison above.
        if self._template % tuple(values) != body:
            return None
        extra = tuple([values[i] for i in self._extra]) if self._extra else ()
        return CounterLines(self._arrange((*values, None)), self.layout, extra, None if self._size is None else values[self._size], None)
