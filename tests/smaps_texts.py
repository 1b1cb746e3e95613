"""Generated smaps texts, built from the kernel's rules and not with pmapdiff's code, so that a mistake there cannot hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import strategies as st
from strategies import PAGE


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
