"""What rows and footers of pmap's plain, -x and -d forms look like.

Facts are from src/pmap.c, `one_proc` (procps 3.2.0 to procps-ng 4.0.4), SUSE's patches to it, busybox's procps/pmap.c and toybox's
toys/other/pmap.c.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pmapdiff.formats.pmap_common import ADDRESS

# An address space is 10^17 KiB at most, what one process can map less than 10^15. No pattern has two ways to match the same blanks.
_START = rb"^(?P<start>" + ADDRESS + rb")[ \t]{1,99}"
# busybox and SUSE up to SLES 12 print the kernel's perms.
_MODE = rb"[ \t]{1,99}(?P<mode>[r-][w-][x-](?:[sp-]-|[sp]))(?=[ \t\n])"
_OFFSET_AND_DEVICE = rb"[ \t]{1,99}(?P<offset>[0-9a-f]{8,64})[ \t]{1,99}(?P<major>[0-9a-f]{2,8}):(?P<minor>[0-9a-f]{2,8})(?=[ \t\n])"
# Footers: words of any language, and numbers, with a letter of its alphabet behind them where those of the rows have a K.
_WORDS, _FIGURE, _UNIT = rb"[^\d\n$#%>@~]{1,80}?", rb"(\d{1,20})", rb"[ ]?(?:[Kk][A-Za-z]?|[\x80-\xff]{1,4})"
# SUSE's up to SLES 12 has a second one, which ends in two ways.
SECOND_FOOTER = re.compile(rb"(\d{1,20})K writable-private, (\d{1,20})K readonly-private, (?:and )?(\d{1,20})K shared.*")


class Shape(NamedTuple):
    """What the rows of one of pmap's tables look like: `counters` are the columns between size and mode, `figures` what the footer's are sums of."""

    form: str
    counters: tuple[str, ...]
    row: re.Pattern[bytes]
    footer: re.Pattern[bytes]
    figures: tuple[str, ...]


def _shape(form: str, *counters: str, unit: bytes = b"", dashes: int = 0, device: bool = False) -> Shape:
    cells = b"".join(rb"[ \t]{1,99}(?P<%b>\d{1,15})%b" % (name.encode(), unit) for name in counters) + rb"[ \t]{1,99}-" * dashes
    row = _START + rb"(?P<size>\d{1,17})" + unit + cells + _MODE + (_OFFSET_AND_DEVICE if device else b"") + rb"(?P<name>[^\n]*)"
    figures = ("size", *counters)
    if cells:
        # 3.3.2 for 32 bits prints dashes for sums, and one more than it has columns.
        footer = (
            _WORDS
            + rb"[ \t]{1,99}(\d{1,20})"
            + unit
            + (rb"[ \t]{1,99}(\d{1,20}|-)" + unit) * len(counters)
            + rb"(?:[ \t]{1,99}-){0,%d}" % (dashes or 1)
        )
    elif device:
        footer, figures = (_WORDS + _FIGURE + _UNIT) * 3, ("size", "writeable/private size", "shared size")
    else:
        footer = _WORDS + _FIGURE + _UNIT
    return Shape(form, counters, re.compile(row, re.MULTILINE), re.compile(footer + rb"[ \t]*"), figures)


_SUSE = ("Rss", "Pss", "Dirty", "Swap")
SHAPES = (
    _shape("pmap", unit=b"K"),
    _shape("pmap-d", device=True),
    _shape("pmap-x", "Rss", "Dirty"),
    # procps 3.2, whose RSS, Anon and Locked never were more than headings; busybox and toybox.
    _shape("pmap-x", dashes=3),
    _shape("pmap-x", "Pss", "Dirty", "Swap"),
    # SUSE's default, and that of SLES 11 and 12 without and with -d.
    _shape("pmap-x", *_SUSE),
    _shape("pmap-d", *_SUSE, unit=b"K", device=True),
    _shape("pmap-x", *_SUSE, unit=b"K"),
)
