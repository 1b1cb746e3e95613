"""/proc/PID/smaps_rollup: the sums of a process and none of its mappings."""

from __future__ import annotations

import re

from pmapdiff.formats.base import LineForm, SavedTable, Taken, Text, register
from pmapdiff.formats.counter_lines import LineError, parse_lines
from pmapdiff.formats.lines import quote
from pmapdiff.formats.smaps import COUNTER_LINE
from pmapdiff.formats.sums import sum_table

ROLLUP = b"[rollup]"
# fs/proc/task_mmu.c, show_smaps_rollup (4.14 to 6.18): the header spans all mappings, and there is no Size.
_BEGINS = re.compile(rb"^[0-9a-f]{8,16}-[0-9a-f]{8,16} ---p 0{8,16} 00:00 0 +\[rollup\]$", re.MULTILINE)


def _take(text: Text, position: int) -> Taken | None:
    begun = end = text.line(position)[1]
    while end < len(text.data) and COUNTER_LINE.match(text.data, end):
        end = text.line(end)[1]
    try:
        lines = parse_lines(text.data[begun:end])
    except LineError as error:
        raise text.error(begun, str(error)) from None
    table = SavedTable(sum_table([(ROLLUP, None, lines.counters)]), "smaps_rollup", text.source)
    behind = text.line(end)[0] if end < len(text.data) else b""
    cut = "the last line is not whole" if end == text.unfinished and behind else None
    return Taken(table, end, begun=True, cut=cut, reason=f"not a counter: {quote(behind)}")


register(LineForm("smaps_rollup", "/proc/PID/smaps_rollup (sums only)", _BEGINS, _take, _BEGINS))
