"""Law 1: what was read can be given back, byte for byte, from the parser and from the store."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from backends import Backend
from hypothesis import example, given
from hypothesis import strategies as st
from smaps_texts import KERNELS, NAMES, Line, Row, render, smaps_rows, smaps_series
from strategies import law

from pmapdiff.errors import FormatError
from pmapdiff.formats.smaps import SmapsParser, render_smaps
from pmapdiff.model import COUNTERS, Capture, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.store import Store

FROZEN = Path(__file__).parents[1] / "data" / "redis-frozen" / "smaps.txt"
INFO = ProcessInfo(ProcessIdentity("boot", 4242, 99, "exec"), b"prog", b"/usr/bin/prog\0")


def readable_smaps() -> list[bytes]:
    """The smaps of every process that this one may read."""
    texts = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            texts.append(Path(f"/proc/{pid}/smaps").read_bytes())
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue
    return texts


def blocks(text: bytes) -> list[tuple[int, int, bytes]]:
    """The start, end and text of each mapping."""
    headers = list(re.finditer(rb"^([0-9a-f]+)-([0-9a-f]+) [r-]", text, re.MULTILINE))
    edges = [*(match.start() for match in headers), len(text)]
    return [(int(match[1], 16), int(match[2], 16), text[start:end]) for match, (start, end) in zip(headers, pairwise(edges), strict=True)]


def is_torn(text: bytes) -> bool:
    """Whether some row starts below the one before it."""
    return blocks(text) != sorted(blocks(text), key=lambda block: block[:2])


def by_address(text: bytes) -> bytes:
    """The text with its mappings in the order of their addresses."""
    return b"".join(block for _, _, block in sorted(blocks(text), key=lambda block: block[:2]))


def plain_row(**changes: object) -> Row:
    lines = tuple(Line(label.encode(), "kb", 8) for label in KERNELS[0])
    fields: dict[str, object] = {
        "start": 0x7F0000000000,
        "end": 0x7F0000002000,
        "perms": b"rw-p",
        "offset": 0,
        "device": b"00:00",
        "inode": 0,
        "name": b"",
        "lines": lines,
    }
    return Row(**{**fields, **changes})  # type: ignore[arg-type]


def write(store: Store, text: bytes, at_us: int, digest: bytes | None = None) -> SnapshotRef:
    table = MappingTable(SmapsParser().parse(text))
    return store.write(Snapshot(SnapshotRef(None, at_us, "host"), (Capture(INFO, Status.COMPLETE, table, digest),)))


def loaded(store: Store, ref: SnapshotRef) -> MappingTable:
    (capture,) = store.load(ref).captures
    assert capture.table is not None
    assert capture.table.totals == capture.totals
    return capture.table


@law(300)
@given(smaps_rows())
@example([])
def test_parsed_text_is_rendered_as_it_was(rows: list[Row]) -> None:
    text = render(rows)
    assert render_smaps(SmapsParser().parse(text)) == text


@law(60)
@given(st.lists(smaps_rows(), min_size=2, max_size=4))
def test_a_parser_that_has_seen_other_processes_gives_the_same(many: list[list[Row]]) -> None:
    parser = SmapsParser()
    for rows in [*many, *many]:
        text = render(rows)
        found = parser.parse(text)
        assert found == SmapsParser().parse(text)
        assert render_smaps(found) == text


@law(150)
@given(smaps_rows())
def test_the_fields_are_those_that_were_printed(rows: list[Row]) -> None:
    for row, mapping in zip(rows, SmapsParser().parse(render(rows)), strict=True):
        assert mapping[:4] == (row.start, row.end, row.perms.decode(), row.offset)
        assert mapping[4:7] == (row.device.decode(), row.inode, row.name)
        printed = {line.label.decode(): line.value for line in row.lines}
        known = {counter: value for counter, value in zip(_KERNEL_NAMES, mapping.counters, strict=True) if value is not None}
        assert known == {label: value for label, value in printed.items() if label in _KERNEL_NAMES}
        assert mapping.flags == printed.get("VmFlags")
        unknown = [value for label, value in printed.items() if label not in (*_KERNEL_NAMES, "Size", "VmFlags")]
        # A number of more than 18 digits is kept as text, with its blanks and unit.
        assert [v.strip().removesuffix(b" kB") if isinstance(v, bytes) else b"%d" % v for v in mapping.extra] == [
            v.strip() if isinstance(v, bytes) else b"%d" % v for v in unknown
        ]


@pytest.mark.parametrize("labels", KERNELS, ids=["2.6.14", "2.6.22", "2.6.29", "3.8", "4.4", "5.0", "5.0 keys", "6.7", "6.12"])
def test_every_kernels_lines_are_known(labels: tuple[str, ...]) -> None:
    """None of the counters that kernels have printed so far ends up among the unknown ones."""
    lines = []
    for label in labels:
        name, _, old = label.partition("<")
        style = "text" if name == "VmFlags" else "thin" if old else "number" if name in ("THPeligible", "ProtectionKey") else "kb"
        lines.append(Line(name.encode(), style, b" rd " if style == "text" else 1))
    text = render([plain_row(lines=tuple(lines)), plain_row(start=0x7F0000100000, end=0x7F0000200000, lines=tuple(lines))])
    mappings = SmapsParser().parse(text)
    assert render_smaps(mappings) == text
    assert all(mapping.extra == () for mapping in mappings)
    assert all(sum(value is not None for value in mapping.counters) == len({*labels} - {"Size", "VmFlags"}) for mapping in mappings)


@law(60)
@given(NAMES, st.sampled_from((b"rw-p", b"r-xs")))
def test_long_headers_push_the_name_to_the_right(name: bytes, perms: bytes) -> None:
    row = plain_row(
        start=0xFFFFFFFFFF000000, end=0xFFFFFFFFFF002000, perms=perms, offset=0xFFFFFFFFFFFFF000, device=b"fff:fffff", inode=(1 << 64) - 1, name=name
    )
    text = render([row])
    assert len(row.header()) >= 73 + len(name) if name else row.header().endswith(b" ")
    (mapping,) = SmapsParser().parse(text)
    assert mapping.header is None
    assert mapping.name == name
    assert render_smaps([mapping]) == text


@law(400)
@given(st.data())
def test_damaged_text_is_refused_or_given_back(data: st.DataObject) -> None:
    """One byte that is not what the kernel printed: the parser says so, or keeps it. Nothing is dropped in silence."""
    rows = data.draw(st.sampled_from((_FROZEN_HEAD, _FROZEN_HEAD, None)))
    text = bytearray(rows if rows is not None else render(data.draw(smaps_rows())))
    if not text:
        return
    at = data.draw(st.integers(0, len(text) - 1))
    byte = data.draw(st.sampled_from(b"0123456789 abkBR:-%\n\r\t\xff"))
    how = data.draw(st.sampled_from(("replace", "insert", "delete")))
    if how == "replace":
        text[at] = byte
    elif how == "insert":
        text.insert(at, byte)
    else:
        del text[at]
    try:
        mappings = SmapsParser().parse(bytes(text))
    except FormatError:
        return
    # A torn table, whose rows go back, is given back in the order of its addresses.
    assert render_smaps(mappings) == (by_address(bytes(text)) if is_torn(bytes(text)) else bytes(text))


@pytest.mark.parametrize(
    ("printed", "damaged"),
    [
        (b"Rss:                1116 kB", b"Rss:      7         1116 kB"),
        (b"Rss:                1116 kB", b"Rss:                11165kB"),
        (b"Rss:                1116 kB", b"Rss:                0116 kB"),
        (b"Rss:                1116 kB", b"Rss:                1 16 kB"),
        (b"Rss:                1116 kB", b"Rss:               -1116 kB"),
        (b"Rss:                1116 kB", b"Rss:                1116 MB"),
        (b"Rss:                1116 kB", b"Rss:               1116  kB"),
        (b"THPeligible:           0", b"THPeligible:           0 "),
    ],
)
def test_damage_in_a_form_that_is_known_by_now(printed: bytes, damaged: bytes) -> None:
    assert _FROZEN_HEAD.count(printed) >= 1
    text = damaged.join(_FROZEN_HEAD.rsplit(printed, 1))
    assert text != _FROZEN_HEAD
    try:
        mappings = SmapsParser().parse(text)
    except FormatError:
        return
    assert render_smaps(mappings) == text


@law(25, shrink=False)
@given(smaps_series())
def test_every_stored_snapshot_is_given_back(backend: Backend, series: list[list[Row]]) -> None:
    with backend.fresh() as location:
        store = Store.open(location, write=True)
        texts = [render(rows) for rows in series]
        refs = [write(store, text, number) for number, text in enumerate(texts)]
        reader = Store.open(location)
        for ref, text in zip(refs, texts, strict=True):
            assert render_smaps(loaded(reader, ref).mappings) == text
        assert reader.check() == []


@law(10, shrink=False)
@given(st.lists(smaps_rows(), min_size=2, max_size=5), st.lists(st.integers(0, 4), min_size=3, max_size=8))
def test_every_process_of_a_snapshot_is_given_back(backend: Backend, tables: list[list[Row]], order: list[int]) -> None:
    """Several processes in each snapshot, in one transaction, with the digests that the recorder gives."""
    texts = [render(rows) for rows in tables]
    chosen = [[texts[(number + shift) % len(texts)] for number in order] for shift in range(3)]
    taken = []
    for moment, row in enumerate(chosen):
        captures = []
        for pid, text in enumerate(row, 1):
            info = ProcessInfo(ProcessIdentity("boot", pid, 1, "exec"), b"prog")
            captures.append(Capture(info, Status.COMPLETE, MappingTable(SmapsParser().parse(text)), sha256(text).digest()))
        taken.append(Snapshot(SnapshotRef(None, moment, "host"), tuple(captures)))
    with backend.fresh() as location:
        store = Store.open(location, write=True)
        for ref, row in zip(store.write_all(taken), chosen, strict=True):
            given_back = [render_smaps(c.table.mappings) for c in store.load(ref).captures if c.table is not None]
            assert given_back == row


def test_a_frozen_process(store: Store) -> None:
    text = FROZEN.read_bytes()
    ref = write(store, text, 1)
    assert render_smaps(loaded(store, ref).mappings) == text
    assert len(loaded(store, ref).mappings) == text.count(b"VmFlags:")


def test_the_processes_of_this_machine(tmp_path: Path) -> None:
    """Torn tables do not matter here: what was read is given back or refused. On SQLite alone: it is about what this kernel prints."""
    store = Store.open(str(tmp_path / "s.db"), write=True)
    own = Path("/proc/self/smaps").read_bytes()
    texts = [own, *readable_smaps()]
    parser = SmapsParser()
    parsed = []
    for text in texts:
        try:
            parsed.append((text, parser.parse(text)))
        except FormatError:
            assert is_torn(text), "a live table can be torn, and nothing else"
    assert any(text == own for text, _ in parsed)
    for moment, (text, mappings) in enumerate(parsed):
        assert render_smaps(mappings) == by_address(text)
        ref = store.write(Snapshot(SnapshotRef(None, moment, "host"), (Capture(INFO, Status.COMPLETE, MappingTable(mappings)),)))
        assert render_smaps(loaded(store, ref).mappings) == by_address(text)


def test_the_stacks_guard_page_of_kernels_before_4_12() -> None:
    """2.6.36 to 4.11 hide the guard page in the header, not in Size (fs/proc/task_mmu.c, show_map_vma, "We don't show the stack guard page")."""
    lines = [Line(label.encode(), "kb", 4) for label in KERNELS[3] if label not in ("Size", "VmFlags")]
    stack = plain_row(
        start=0x7FFD8D5C9000,
        end=0x7FFD8D5EA000,
        name=b"[stack]",
        lines=(Line(b"Size_", "kb", 136), *lines, Line(b"VmFlags", "text", b" rd wr mr mw me gd ac ")),
    )
    other = plain_row(lines=(Line(b"Size", "kb", 0), *lines, Line(b"VmFlags", "text", b" rd wr mr mw me ac ")))
    text = render([other, stack]).replace(b"Size_:          ", b"Size:           ")
    assert b"Size:                136 kB" in text
    mappings = SmapsParser().parse(text)
    assert render_smaps(mappings) == text
    assert mappings[1].size_kib == 132


def _frozen_head() -> bytes:
    text = FROZEN.read_bytes()
    position = 0
    for _ in range(4):
        position = text.index(b"VmFlags:", position + 1)
    return text[: text.index(b"\n", position) + 1]


_FROZEN_HEAD = _frozen_head()
_KERNEL_NAMES = tuple(counter.kernel for counter in COUNTERS)
