"""How the counter lines of one mapping stood in the text that was read.

Kernels differ in which counters they print, in which order and how wide. A `Layout` is that form with
holes for the values, so that a recorded mapping can be printed again byte for byte, and a counter that nobody
has heard of yet is kept like any other. All mappings of a host share a handful of layouts.
"""

from __future__ import annotations

import re
from typing import Any
from weakref import WeakValueDictionary

from pmapdiff.model.counters import COUNTER_INDEX

_HOLE = re.compile(rb"^([^\n%:]+):([^\n%]*)%(8d|d|b)", re.MULTILINE)


class Layout:
    """The lines below a mapping's header as a bytes template.

    Holes are `%8d` (a number, right-aligned in 8 columns, the kernel's usual form), `%d` and `%b` (text,
    verbatim), one a line, each named by the label before its colon; a literal `%` is doubled. `Size` is filled from the
    addresses, `VmFlags` from the mapping's flags, known counters from its counters, every other from its `extra`.
    """

    __slots__ = ("__weakref__", "extra_labels", "labels", "template")

    def __init__(self, template: bytes) -> None:
        self.template = template
        self.labels = tuple(match[1].decode("latin-1") for match in _HOLE.finditer(template))
        self.extra_labels = tuple(label for label in self.labels if label not in COUNTER_INDEX and label not in ("Size", "VmFlags"))

    def __repr__(self) -> str:
        return f"Layout({', '.join(self.labels)})"

    def render(self, size_kib: int, counters: tuple[int | None, ...], flags: bytes | None, extra: tuple[int | bytes, ...]) -> bytes:
        """The counter lines of one mapping, with their newlines."""
        more = iter(extra)
        values: list[Any] = []
        for label in self.labels:
            if label == "Size":
                values.append(size_kib)
            elif label == "VmFlags":
                values.append(flags)
            elif (index := COUNTER_INDEX.get(label)) is not None:
                values.append(counters[index])
            else:
                values.append(next(more))
        return self.template % tuple(values)


_LAYOUTS: WeakValueDictionary[bytes, Layout] = WeakValueDictionary()


def layout_of(template: bytes) -> Layout:
    """The one Layout of this template: layouts are compared by identity, millions of times."""
    layout = _LAYOUTS.get(template)
    if layout is None:
        layout = _LAYOUTS[template] = Layout(template)
    return layout
