"""Generated mapping tables for the property tests, and small helpers for the unit tests.

Every test runs the same examples each time; `PMAPDIFF_EXAMPLES=20` runs twenty times as many of other kinds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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
