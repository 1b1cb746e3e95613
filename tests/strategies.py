"""Generated smaps texts and mapping tables for the property tests, and small helpers for the unit tests.

The smaps texts are built here from the kernel's rules, not with pmapdiff's code, so that a mistake there cannot hide. Every test
runs the same examples each time; `PMAPDIFF_EXAMPLES=20` runs twenty times as many of other kinds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from pmapdiff.model import COUNTER_INDEX, COUNTERS, NO_COUNTERS, Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Status

PAGE = 4096
MANY = int(os.environ.get("PMAPDIFF_EXAMPLES", "1"))


def law(examples: int, *, shrink: bool = True) -> settings:
    """Settings of a property test: the same examples each time unless asked for more.

    What takes long for each example is better not shrunk when it fails: pytest's time limit would come first.
    """
    return settings(
        phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if shrink else [])],
        max_examples=examples * MANY,
        deadline=None,
        derandomize=MANY == 1,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


# smaps texts.


@dataclass(frozen=True)
class Line:
    """One counter line: `style` is "kb" or "number" (kernel columns), "thin" (one space short of them: THPeligible before 6.12) or "text"."""

    label: bytes
    style: str
    value: int | bytes

    def render(self) -> bytes:
        if isinstance(self.value, bytes):
            return self.label + b":" + self.value + b"\n"
        if self.style == "thin":
            # seq_printf("THPeligible:    %d\n") until 6.11, and forms of vendors.
            return self.label + b":    " + str(self.value).encode() + b"\n"
        label = self.label + b":"
        # SEQ_PUT_DEC: the label with blanks up to 16 columns, the number right-aligned in 8.
        label += b" " * (16 - len(label))
        digits = str(self.value).encode()
        return label + b" " * (8 - len(digits)) + digits + (b" kB" if self.style == "kb" else b"") + b"\n"


@dataclass(frozen=True)
class Row:
    """One mapping of a smaps text. A `Size` line takes its value from the addresses."""

    start: int
    end: int
    perms: bytes
    offset: int
    device: bytes
    inode: int
    name: bytes
    lines: tuple[Line, ...]

    def header(self) -> bytes:
        text = b"%08x-%08x %b %08x %b %d " % (self.start, self.end, self.perms, self.offset, self.device, self.inode)
        if not self.name:
            return text
        # seq_setwidth(72) and seq_pad(' '): blanks up to column 72, and one more in any case.
        return text + b" " * (72 - len(text)) + b" " + self.name

    def render(self) -> bytes:
        size = (self.end - self.start) // 1024
        lines = [replace(line, value=size) if line.label == b"Size" else line for line in self.lines]
        return self.header() + b"\n" + b"".join(line.render() for line in lines)


def render(rows: Sequence[Row]) -> bytes:
    """The smaps text of these rows."""
    return b"".join(row.render() for row in rows)


_FIRST = ("Size", "Rss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty")
_V2_6_29 = (
    "Size",
    "Rss",
    "Pss",
    "Shared_Clean",
    "Shared_Dirty",
    "Private_Clean",
    "Private_Dirty",
    "Referenced",
    "Swap",
    "KernelPageSize",
    "MMUPageSize",
)
_V3_8 = (*_V2_6_29[:8], "Anonymous", "AnonHugePages", "Swap", "KernelPageSize", "MMUPageSize", "Locked", "VmFlags")
_V4_4 = (*_V3_8[:10], "Shared_Hugetlb", "Private_Hugetlb", "Swap", "SwapPss", "KernelPageSize", "MMUPageSize", "Locked", "VmFlags")
_V5_0 = (
    *("Size", "KernelPageSize", "MMUPageSize", "Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced"),
    *("Anonymous", "LazyFree", "AnonHugePages", "ShmemPmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "Swap", "SwapPss", "Locked"),
    *("THPeligible<6.12", "VmFlags"),
)
_V6_7 = (*_V5_0[:5], "Pss_Dirty", *_V5_0[5:11], "KSM", *_V5_0[11:14], "FilePmdMapped", *_V5_0[14:])
_V6_12 = (*_V6_7[:-2], "THPeligible", "ProtectionKey", "VmFlags")
# Which counters kernels have printed since 2.6.14, in their order.
KERNELS = (_FIRST, (*_FIRST, "Referenced"), _V2_6_29, _V3_8, _V4_4, _V5_0, (*_V5_0[:-1], "ProtectionKey", "VmFlags"), _V6_7, _V6_12)
UNKNOWN_NUMBERS = (b"Rss_Tiered", b"Numa.Local", b"Counter_1", b"X" * 30, b"Foo-Bar", b"Pss_Anon", b"Big(1)")
UNKNOWN_TEXTS = (b"Name", b"Policy", b"Future/Flags")

_ODD_BYTES = st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"\\012").replace(b"\0", b""))
NAMES = st.one_of(
    st.sampled_from(
        (
            b"",
            b"[heap]",
            b"[stack]",
            b"[stack:1234]",
            b"[vdso]",
            b"[vvar]",
            b"[anon:glibc: malloc arena]",
            b"[anon_shmem:x y]",
            b"/usr/lib/x86_64-linux-gnu/libc.so.6",
            b"/usr/bin/redis-server (deleted)",
            b"/memfd:doublemap (deleted)",
            b"/SYSV00001234 (deleted)",
            b"/dev/zero (deleted)",
            b"/dev/shm/ring",
            b"anon_inode:[io_uring]",
            b"socket:[12345]",
            b"/anon_hugepage (deleted)",
            b"//deleted",
            b"/tmp/with spaces  and\ttabs",
            b"/tmp/lit\\012eral",
            b"/tmp/trailing   ",
            b"/tmp/x (deleted) (deleted)",
            b"/tmp/not utf-8 \xff\xfe\x80",
            b"/tmp/\x1b[31mred\x1b[0m\x07",
            b"/tmp/\r",
            b"/tmp/\x85\xe2\x80\xa8line",
            b"/=cmd|' /C calc'!A0",
            b"/tmp/%d%s%8d%b%%",
            b"/tmp/Rss:                1116 kB",
            b"/tmp/00400000-00401000 r-xp 00000000 00:00 0 ",
            b"/" + b"long/" * 1225,
        )
    ),
    _ODD_BYTES.map(lambda raw: b"/" + raw),
)
DEVICES = st.sampled_from((b"00:00", b"fe:00", b"08:11", b"103:05", b"00:1a", b"fff:fffff", b"fd:100"))
INODES = st.one_of(st.just(0), st.integers(1, 10_000_000), st.sampled_from(((1 << 63) - 1, 1 << 63, (1 << 64) - 1)))
PERMS = st.sampled_from((b"rw-p", b"r--p", b"r-xp", b"---p", b"rwxp", b"rw-s", b"r--s", b"--xp"))
FLAGS = st.sampled_from((b" rd wr mr mw me ac sd ", b" rd ex mr mw me ", b" mr mw me nr", b" rd wr mr mw me nh gu ?? ", b"", b" "))
KIB = st.one_of(st.just(0), st.integers(0, 4096), st.sampled_from((9_999_999, 99_999_999, 100_000_000, 17_179_869_184, 10**15)))
ODD_VALUES = st.sampled_from((b"[anon:x]", b"prefer=0 ", b"[anon:\xff%d\x1b]", b"007", b"1 kB 2", b"-1", b""))


@st.composite
def counter_lines(draw: st.DrawFn, labels: Sequence[str]) -> tuple[Line, ...]:
    """Values for these lines."""
    lines = []
    for label in labels:
        name, _, old = label.partition("<")
        raw = name.encode("latin-1")
        if name == "VmFlags":
            lines.append(Line(raw, "text", draw(FLAGS)))
        elif name == "THPeligible":
            lines.append(Line(raw, "thin" if old else "number", draw(st.integers(0, 1))))
        elif name == "ProtectionKey":
            lines.append(Line(raw, "number", draw(st.integers(0, 15))))
        elif raw in UNKNOWN_TEXTS:
            lines.append(Line(raw, "text", b"           " + draw(ODD_VALUES)))
        elif raw in UNKNOWN_NUMBERS and old:
            lines.append(Line(raw, old, draw(st.one_of(KIB, st.just(10**20)))))
        else:
            lines.append(Line(raw, "kb", draw(KIB)))
    return tuple(lines)


@st.composite
def label_sets(draw: st.DrawFn) -> tuple[str, ...]:
    """The lines of some kernel: a real one, one with lines nobody knows, or one with another order."""
    labels = list(draw(st.sampled_from(KERNELS)))
    for raw in draw(st.lists(st.sampled_from(UNKNOWN_NUMBERS + UNKNOWN_TEXTS), unique=True, max_size=3)):
        style = draw(st.sampled_from(("", "<kb", "<number", "<thin"))) if raw in UNKNOWN_NUMBERS else ""
        labels.insert(draw(st.integers(0, len(labels))), raw.decode() + style)
    return tuple(draw(st.permutations(labels))) if draw(st.booleans()) and draw(st.booleans()) else tuple(labels)


@st.composite
def rows_between(draw: st.DrawFn, labels: Sequence[str], low: int, most: int) -> list[Row]:
    """Rows that follow each other from `low` upwards, all with the same lines."""
    rows: list[Row] = []
    cursor = low
    for _ in range(draw(st.integers(0, most))):
        start = cursor + draw(st.sampled_from((0, 1, 7, 1 << 20))) * PAGE
        cursor = start + draw(st.sampled_from((1, 2, 33, 2048, 1 << 32))) * PAGE
        offset = draw(st.sampled_from((0, 0x1000, 0x5F000, 0x123456789000, (1 << 64) - PAGE)))
        rows.append(
            Row(start, cursor, draw(PERMS), offset, draw(DEVICES), draw(INODES), draw(NAMES), draw(counter_lines(labels))),
        )
    return rows


@st.composite
def smaps_rows(draw: st.DrawFn) -> list[Row]:
    """A whole smaps text as rows: low and high addresses, now and then [vsyscall], now and then a mapping with other lines."""
    labels = draw(label_sets())
    rows = draw(rows_between(labels, 0x400000, 3)) if draw(st.booleans()) else []
    high = 0x10007FFF8000 if draw(st.booleans()) else 0x7F0000000000
    rows += draw(rows_between(labels, max([high, *(row.end for row in rows)]), 4))
    if draw(st.booleans()):
        rows.append(
            Row(0xFFFFFFFFFF600000, 0xFFFFFFFFFF601000, b"--xp", 0, b"00:00", 0, b"[vsyscall]", draw(counter_lines(labels))),
        )
    if rows and draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(rows) - 1))
        rows[at] = replace(rows[at], lines=draw(counter_lines(draw(label_sets()))))
    return rows


@st.composite
def smaps_series(draw: st.DrawFn) -> list[list[Row]]:
    """What one process's smaps says at several moments: rows change their counters, come, go and come back."""
    rows = draw(smaps_rows())
    series = [rows]
    removed: list[Row] = []
    for _ in range(draw(st.integers(1, 6))):
        rows = list(rows)
        for _ in range(draw(st.integers(0, 3))):
            what = draw(st.sampled_from(("counters", "counters", "counters", "gone", "back", "perms", "name", "grew", "first again")))
            if what == "first again":
                rows = list(series[0])
            elif what == "back" and removed:
                old = removed.pop()
                if all(old.end <= row.start or row.end <= old.start for row in rows):
                    rows = sorted([*rows, old], key=lambda row: row.start)
            elif rows:
                at = draw(st.integers(0, len(rows) - 1))
                row = rows[at]
                if what == "gone":
                    removed.append(rows.pop(at))
                elif what == "counters":
                    # Often a single one: a counter that hardly ever changes must not hide behind one that always does.
                    changed = draw(st.lists(st.integers(0, len(row.lines) - 1), min_size=1, max_size=2))
                    values: dict[int, int | bytes] = {}
                    for number in changed:
                        values[number] = draw(ODD_VALUES) if row.lines[number].style == "text" else draw(KIB)
                    lines = [replace(line, value=values.get(number, line.value)) for number, line in enumerate(row.lines)]
                    rows[at] = replace(row, lines=tuple(lines))
                elif what == "perms":
                    rows[at] = replace(row, perms=draw(PERMS))
                elif what == "name":
                    rows[at] = replace(row, name=draw(NAMES))
                elif what == "grew" and row.end + PAGE <= (rows[at + 1].start if at + 1 < len(rows) else 0xFFFFFFFFFF700000):
                    rows[at] = replace(row, end=row.end + PAGE)
        series.append(rows)
    return series


# Mapping tables.


def counters_of(**values: int | None) -> tuple[int | None, ...]:
    """Counters by their attribute without `_kib`: `counters_of(rss=4)`; the rest is missing."""
    by_attribute = {counter.attribute: index for index, counter in enumerate(COUNTERS)}
    counters = list(NO_COUNTERS)
    for name, value in values.items():
        counters[by_attribute[f"{name}_kib"]] = value
    return tuple(counters)


def make(
    start: int,
    end: int,
    perms: str = "rw-p",
    name: bytes = b"",
    *,
    offset: int | None = 0,
    device: str | None = "00:00",
    inode: int | None = 0,
    **kib: int,
) -> Mapping:
    """A mapping with the counters that are given and 0 in the rest of those that 6.x kernels print."""
    counters: list[int | None] = [0] * len(COUNTERS)
    counters[COUNTER_INDEX["Dirty"]] = None
    counters[COUNTER_INDEX["ProtectionKey"]] = None
    for index, value in enumerate(counters_of(**kib)):
        if value is not None:
            counters[index] = value
    return Mapping(start, end, perms, offset, device, inode, name, b" rd wr ", tuple(counters))


def file(start: int, end: int, perms: str, offset: int, name: bytes = b"/usr/lib/libx.so.1", inode: int = 77, **kib: int) -> Mapping:
    """A mapping of a file."""
    return make(start, end, perms, name, offset=offset, device="fe:00", inode=inode, **kib)


def capture_of(mappings: Sequence[Mapping], pid: int = 1100, status: Status = Status.COMPLETE) -> Capture:
    """A table as a capture of a process with an identity."""
    return Capture(ProcessInfo(ProcessIdentity("boot", pid, 5, "exec"), b"prog", b"/usr/bin/prog\0-v\0"), status, MappingTable(tuple(mappings)))


_FILES = (
    (b"/usr/bin/prog", "fe:00", 11),
    (b"/usr/lib/libc.so.6", "fe:00", 12),
    (b"/usr/lib/libc.so.6 (deleted)", "fe:00", 13),
    (b"/var/data.db", "fe:01", 11),
    (b"/memfd:ring (deleted)", "00:01", 21),
    (b"/dev/shm/seg", "00:1a", 22),
    (b"/dev/zero (deleted)", "00:01", 23),
    (b"/SYSV00000000 (deleted)", "00:01", 0x8000),
    (b"/anon_hugepage (deleted)", "00:0f", 31),
)
_ANONYMOUS = (b"", b"", b"", b"", b"[heap]", b"[stack]", b"[anon:x]")
_TABLE_PERMS = ("rw-p", "rw-p", "r--p", "---p", "r-xp")
_LOW = 0x7F0000000000
_SMALL = st.integers(0, 40)


@st.composite
def usages(draw: st.DrawFn, size_kib: int) -> tuple[int | None, ...]:
    """Counters that a mapping of this size may have on a current kernel."""
    rss = draw(st.integers(0, size_kib))
    dirty = draw(st.integers(0, rss))
    counters: list[int | None] = [0] * len(COUNTERS)
    for kernel, value in (("Rss", rss), ("Pss", rss // 2), ("Private_Dirty", dirty), ("Private_Clean", rss - dirty), ("Anonymous", dirty)):
        counters[COUNTER_INDEX[kernel]] = value
    for kernel in draw(st.lists(st.sampled_from([c.kernel for c in COUNTERS]), max_size=3)):
        counters[COUNTER_INDEX[kernel]] = draw(_SMALL)
    counters[COUNTER_INDEX["Dirty"]] = None
    return tuple(counters)


@st.composite
def one_mapping(draw: st.DrawFn, start: int, pages: int) -> Mapping:
    """A mapping of so many pages at `start`."""
    end = start + pages * PAGE
    counters = draw(usages(pages * 4))
    if draw(st.booleans()):
        name, device, inode = draw(st.sampled_from(_FILES))
        offset = draw(st.one_of(st.integers(0, 4).map(lambda page: page * PAGE), st.just((start - _LOW) % (1 << 40))))
        return Mapping(start, end, draw(st.sampled_from((*_TABLE_PERMS, "rw-s"))), offset, device, inode, name, b" rd ", counters)
    return Mapping(start, end, draw(st.sampled_from(_TABLE_PERMS)), 0, "00:00", 0, draw(st.sampled_from(_ANONYMOUS)), b" rd ", counters)


@st.composite
def tables(draw: st.DrawFn, torn: bool = False) -> tuple[Mapping, ...]:
    """A mapping table of up to ten mappings, close together; if `torn`, some overlap each other."""
    mappings: list[Mapping] = []
    cursor = _LOW
    for _ in range(draw(st.integers(0, 10))):
        back = draw(st.integers(0, 6)) if torn else 0
        start = max(_LOW, cursor + (draw(st.sampled_from((0, 0, 1, 4))) - back) * PAGE)
        mapping = draw(one_mapping(start, draw(st.integers(1, 8))))
        cursor = max(cursor, mapping.end)
        mappings.append(mapping)
    if not torn and draw(st.integers(0, 4)) == 0:
        mappings.append(Mapping(cursor + PAGE, cursor + 3 * PAGE, "r-xp", 0, "00:00", 0, b"[vdso]", b" rd ", draw(usages(8))))
    # A torn read gives no two rows of the same addresses.
    return tuple(sorted({m[:2]: m for m in mappings}.values(), key=lambda m: m[:2]))


Step = Callable[[list[Mapping], int, int], None]
"""Something the kernel does to a table, in place: the mapping it is done to, and an amount."""


def _add_kib(mapping: Mapping, **kib: int) -> Mapping:
    counters = list(mapping.counters)
    for name, value in kib.items():
        index = COUNTER_INDEX[name]
        counters[index] = max(0, (counters[index] or 0) + value)
    return mapping._replace(counters=tuple(counters))


def _grow(table: list[Mapping], at: int, amount: int) -> None:
    limit = table[at + 1].start if at + 1 < len(table) else 1 << 62
    end = min(limit, table[at].end + (amount + 1) * PAGE)
    table[at] = _add_kib(table[at]._replace(end=end), Rss=amount)


def _grow_down(table: list[Mapping], at: int, amount: int) -> None:
    mapping = table[at]
    limit = table[at - 1].end if at else mapping.start - 16 * PAGE
    start = max(limit, mapping.start - (amount + 1) * PAGE)
    if mapping.is_file:
        start = max(start, mapping.start - (mapping.offset or 0))
        mapping = mapping._replace(offset=(mapping.offset or 0) - (mapping.start - start))
    table[at] = _add_kib(mapping._replace(start=start), Rss=amount)


def _shrink(table: list[Mapping], at: int, amount: int) -> None:
    mapping = table[at]
    if mapping.end - mapping.start > PAGE:
        table[at] = _add_kib(mapping._replace(end=mapping.end - PAGE), Rss=-amount)


def _cut(mapping: Mapping, start: int, end: int) -> Mapping:
    offset = mapping.offset
    if mapping.is_file and offset is not None:
        offset += start - mapping.start
    return mapping._replace(start=start, end=end, offset=offset)


def _split(table: list[Mapping], at: int, amount: int) -> None:
    """mprotect of some of its pages; its counters go to the pieces as they may."""
    mapping = table[at]
    pages = (mapping.end - mapping.start) // PAGE
    if pages < 2:
        return
    first, last = sorted((amount % pages, (amount * 7 + 3) % pages))
    edges = sorted({mapping.start, mapping.start + first * PAGE, mapping.start + (last + 1) * PAGE, mapping.end})
    other = "r--p" if mapping.perms != "r--p" else "rw-p"
    pieces = []
    left = list(mapping.counters)
    for start, end in pairwise(edges):
        share = [None if value is None else value if end == mapping.end else value // 2 for value in left]
        left = [None if value is None else value - (part or 0) for value, part in zip(left, share, strict=True)]
        piece = _cut(mapping, start, end)._replace(counters=tuple(share))
        inside = mapping.start + first * PAGE <= start < mapping.start + (last + 1) * PAGE
        pieces.append(piece._replace(perms=other) if inside and amount % 3 else piece)
    table[at : at + 1] = pieces


def _merge(table: list[Mapping], at: int, _amount: int) -> None:
    """The kernel joins it with the next one if they are alike; else the next gets its permissions first."""
    if at + 1 >= len(table):
        return
    left, right = table[at], table[at + 1]
    alike = left.end == right.start and left[4:7] == right[4:7]
    if alike and (not left.is_file or (left.offset or 0) + left.end - left.start == right.offset):
        counters = tuple([None if a is None or b is None else a + b for a, b in zip(left.counters, right.counters, strict=True)])
        table[at : at + 2] = [left._replace(end=right.end, counters=counters)]


def _hole(table: list[Mapping], at: int, amount: int) -> None:
    mapping = table[at]
    pages = (mapping.end - mapping.start) // PAGE
    if pages > 2:
        page = 1 + amount % (pages - 2)
        left = _cut(mapping, mapping.start, mapping.start + page * PAGE)
        table[at : at + 1] = [left, _add_kib(_cut(mapping, mapping.start + (page + 1) * PAGE, mapping.end), Rss=-amount)]


def _reuse(table: list[Mapping], at: int, amount: int) -> None:
    """A file where something else was."""
    name, device, inode = _FILES[amount % len(_FILES)]
    table[at] = table[at]._replace(name=name, device=device, inode=inode, offset=(amount % 5) * PAGE, perms="r--p")


def _rename(table: list[Mapping], at: int, amount: int) -> None:
    if table[at].is_file:
        table[at] = table[at]._replace(name=b"/renamed/%d" % amount)


def _unlink(table: list[Mapping], at: int, _amount: int) -> None:
    if table[at].is_file and not table[at].name.endswith(b" (deleted)"):
        table[at] = table[at]._replace(name=table[at].name + b" (deleted)")


def _move(table: list[Mapping], at: int, amount: int) -> None:
    """Mremap to a free place, perhaps with more room."""
    mapping = table.pop(at)
    start = max([m.end for m in table], default=_LOW) + (1 + amount % 4) * PAGE
    table.append(mapping._replace(start=start, end=start + mapping.end - mapping.start + (amount % 3) * PAGE))


def _touch(table: list[Mapping], at: int, amount: int) -> None:
    table[at] = _add_kib(table[at], Rss=amount, Pss=amount, Private_Dirty=amount, Anonymous=amount)


def _clean(table: list[Mapping], at: int, amount: int) -> None:
    table[at] = _add_kib(table[at], Private_Dirty=-amount, Private_Clean=amount)


def _swap(table: list[Mapping], at: int, amount: int) -> None:
    table[at] = _add_kib(table[at], Rss=-amount, Swap=amount, SwapPss=amount, Anonymous=-amount)


def _other_counters(table: list[Mapping], at: int, amount: int) -> None:
    table[at] = _add_kib(table[at], Private_Hugetlb=amount, Referenced=amount, KernelPageSize=amount)


def _flags(table: list[Mapping], at: int, amount: int) -> None:
    table[at] = table[at]._replace(flags=b" rd hg " if amount % 2 else None)


def _gone(table: list[Mapping], at: int, _amount: int) -> None:
    del table[at]


def _new(table: list[Mapping], at: int, amount: int) -> None:
    """An anonymous mapping right below the chosen one, where there is room: it may become its neighbour's."""
    above = table[at]
    low = table[at - 1].end if at else above.start - 64 * PAGE
    start = max(low, above.start - (1 + amount % 8) * PAGE)
    if start < above.start:
        table.insert(at, Mapping(start, above.start, "rw-p", 0, "00:00", 0, b"", b" rd ", above.counters))


def _everything_gone(table: list[Mapping], _at: int, amount: int) -> None:
    if amount % 8 == 0:
        table.clear()


STEPS: tuple[Step, ...] = (
    *(_grow, _grow_down, _shrink, _split, _split, _merge, _merge, _hole, _reuse, _rename, _unlink, _move, _move, _touch, _touch),
    *(_clean, _swap, _other_counters, _flags, _gone, _new, _new, _everything_gone),
)


@st.composite
def evolutions(draw: st.DrawFn) -> tuple[tuple[Mapping, ...], tuple[Mapping, ...]]:
    """A table, and the same after the kernel did this and that to it."""
    before = draw(tables())
    return before, draw(evolve(before))


@st.composite
def evolve(draw: st.DrawFn, before: Sequence[Mapping]) -> tuple[Mapping, ...]:
    """A table after the kernel did this and that to it."""
    after = list(before)
    for step, at, amount in draw(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 20), _SMALL), max_size=8)):
        if after:
            step(after, at % len(after), amount)
    return tuple(after)


def _only(mapping: Mapping, *kernel: str) -> tuple[int | None, ...]:
    keep = {COUNTER_INDEX[name] for name in kernel}
    return tuple(value if index in keep else None for index, value in enumerate(mapping.counters))


def _short_name(mapping: Mapping) -> bytes:
    if mapping.is_file:
        return mapping.name.rsplit(b"/", 1)[-1]
    return mapping.name if mapping.name == b"[stack]" else b""


def _as_pmap_x(mapping: Mapping) -> Mapping:
    dirty = (mapping.counters[COUNTER_INDEX["Private_Dirty"]] or 0) + (mapping.counters[COUNTER_INDEX["Shared_Dirty"]] or 0)
    counters = list(_only(mapping, "Rss"))
    counters[COUNTER_INDEX["Dirty"]] = dirty
    return Mapping(mapping.start, mapping.end, mapping.perms, None, None, None, _short_name(mapping), None, tuple(counters))


def _as_pmap_d(mapping: Mapping) -> Mapping:
    return Mapping(mapping.start, mapping.end, mapping.perms, mapping.offset, mapping.device, None, _short_name(mapping))


def _as_old_kernel(mapping: Mapping) -> Mapping:
    return mapping._replace(
        counters=_only(mapping, "Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced", "Swap"), flags=None
    )


def _as_mixed(mapping: Mapping) -> Mapping:
    """Some of the mappings lack a counter."""
    return _as_old_kernel(mapping) if mapping.start >> 12 & 1 else mapping


# What a table looks like in each form that can be read, by its name.
FORMS: dict[str, Callable[[Mapping], Mapping]] = {
    "smaps": lambda mapping: mapping,
    "maps": lambda mapping: mapping._replace(flags=None, counters=NO_COUNTERS),
    "pmap-x": _as_pmap_x,
    "pmap-d": _as_pmap_d,
    "old": _as_old_kernel,
    "mixed": _as_mixed,
}


def in_form(table: Sequence[Mapping], form: str) -> tuple[Mapping, ...]:
    """The table as a source of this form would have given it."""
    return tuple(FORMS[form](mapping) for mapping in table)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[tuple[Mapping, ...], tuple[Mapping, ...]]:
    """Two tables to compare: evolved, independent or torn, mostly in the same form."""
    how = draw(st.sampled_from(("evolved", "evolved", "evolved", "independent", "torn")))
    if how == "evolved":
        before, after = draw(evolutions())
    elif how == "independent":
        before, after = draw(tables()), draw(tables())
    else:
        before, after = draw(tables(torn=True)), draw(tables(torn=True))
    forms = st.sampled_from(("smaps", "smaps", "smaps", "maps", "pmap-x", "pmap-d", "old", "mixed"))
    form = draw(forms)
    other = draw(forms) if draw(st.integers(0, 4)) == 0 else form
    return in_form(before, form), in_form(after, other)
