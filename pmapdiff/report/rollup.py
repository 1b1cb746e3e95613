"""/proc/PID/smaps_rollup, computed from a recorded smaps.

The kernel prints both with the same function (fs/proc/task_mmu.c, `__show_smap`, 4.14 to 6.18): the lines from Rss to
Locked are the same, and so are their columns. It adds up before it rounds; here there are only the rounded figures of each mapping. That makes
no difference for counts of whole pages. Pss, Pss_Dirty, SwapPss and Locked are shares of pages: each mapping of which some
pages are shared may lack up to 1 KiB.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pmapdiff.formats.smaps import render_header
from pmapdiff.model import COUNTER_INDEX, Mapping
from pmapdiff.model.counters import ANONYMOUS, PRIVATE_CLEAN, PRIVATE_DIRTY, PSS, RSS, SHARED_DIRTY
from pmapdiff.model.mapping import VSYSCALL

_LINE = re.compile(rb"^([^:\n]+): *([0-9]+) kB$", re.MULTILINE)
# Printed by show_smap itself, before and after.
_OF_A_MAPPING = (b"Size", b"KernelPageSize", b"MMUPageSize")
_LAST = b"Locked"
# Both came with Linux 5.4, the split of Pss and this counter: nothing else in smaps tells whether smaps_rollup has it.
_SINCE_SPLIT = COUNTER_INDEX["FilePmdMapped"]


def render_rollup(mappings: Sequence[Mapping]) -> bytes:
    """The smaps_rollup text of a table that was read from smaps; empty for one without mappings."""
    # The vsyscall page belongs to no process, it is only shown in each; the rollup goes over what belongs to this one.
    own = [mapping for mapping in mappings if mapping.name != VSYSCALL]
    if not own:
        return b""
    sums: dict[bytes, int] = {}
    for mapping in own:
        for label, digits in _counter_lines(mapping):
            sums[label] = sums.get(label, 0) + int(digits)
    split = _split_pss(own) if all(mapping.counters[_SINCE_SPLIT] is not None for mapping in own) else {}
    lines = [render_header(Mapping(own[0].start, max(mapping.end for mapping in own), "---p", 0, "00:00", 0, b"[rollup]"))]
    after = b"Pss_Dirty" if b"Pss_Dirty" in sums else b"Pss"
    for label, value in sums.items():
        lines.append(_line(label, value))
        if label == after:
            lines += [_line(*part) for part in split.items()]
    return b"\n".join(lines) + b"\n"


def _line(label: bytes, kib: int) -> bytes:
    # As SEQ_PUT_DEC does: the label padded to 16 columns, the value right-aligned in 8.
    return (label + b":").ljust(16) + b"%8d kB" % kib


def _counter_lines(mapping: Mapping) -> list[tuple[bytes, bytes]]:
    """The lines of a mapping that are in smaps_rollup as well: label and digits."""
    assert mapping.layout is not None
    text = mapping.layout.render(mapping.size_kib, mapping.counters, mapping.flags, mapping.extra)
    lines: list[tuple[bytes, bytes]] = [line for line in _LINE.findall(text) if line[0] not in _OF_A_MAPPING]
    labels = [line[0] for line in lines]
    return lines[: labels.index(_LAST) + 1] if _LAST in labels else lines


def _split_pss(mappings: Sequence[Mapping]) -> dict[bytes, int]:
    """Pss of anonymous pages, of files and of shared memory.

    The kernel looks at each page; all that smaps says is how many of a mapping's pages are anonymous. That is enough
    unless a mapping of a file has both copied pages and file pages that are shared: then the shared part is divided in
    proportion, an estimate.
    """
    anonymous = file = shared_memory = 0
    for mapping in mappings:
        counters = mapping.counters
        pss = counters[PSS] or 0
        part = _anonymous_part(pss, *(counters[index] or 0 for index in (RSS, ANONYMOUS, PRIVATE_CLEAN, PRIVATE_DIRTY, SHARED_DIRTY)))
        anonymous += part
        if mapping.is_shared_memory:
            shared_memory += pss - part
        else:
            file += pss - part
    return {b"Pss_Anon": anonymous, b"Pss_File": file, b"Pss_Shmem": shared_memory}


def _anonymous_part(pss: int, rss: int, anonymous: int, private_clean: int, private_dirty: int, shared_dirty: int) -> int:
    if anonymous >= rss:
        return pss
    # A private page of a file that is dirty has been copied, so it is anonymous; a clean one may be either.
    private = min(anonymous, private_dirty + (0 if shared_dirty else private_clean))
    shared_rss = rss - private_clean - private_dirty
    shared_pss = max(0, pss - private_clean - private_dirty)
    return min(pss, private + (shared_pss * (anonymous - private) // shared_rss if shared_rss > 0 else 0))
