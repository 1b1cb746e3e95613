"""Laws 1 and 4 for a lake: what a store has is what its lake has, and another store that was filled from it, byte for byte and once."""

from __future__ import annotations

from collections.abc import Sequence

from backends import Backend, Files
from hypothesis import given
from hypothesis import strategies as st
from laking import in_lake, in_store, lake_in_memory, write_lake
from smaps_texts import Row, render, smaps_series
from strategies import FORMS, evolve, in_form, law, make, tables

from pmapdiff.formats.smaps import SmapsParser, render_smaps
from pmapdiff.lake import LakeReader, LakeWriter
from pmapdiff.model import Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status, Totals
from pmapdiff.model.mapping import SUM_PERMS
from pmapdiff.store import Store
from pmapdiff.text import digest_of

HOUR_US = 3_600_000_000
MIDNIGHT_US = 1_795_305_600_000_000
HOSTS = ("web1", "a/b c", "..", "hôst=%2F", "123", "")
TEXTS = st.one_of(st.none(), st.sampled_from(("before deploy", "=1+1", "\x1b[31m\u202e", "数据", "")))
NAMES = (b"prog", b"\xff\xfe", b"a\x1b[31m", "数".encode(), b"")


def in_any_order(taken: Sequence[Snapshot]) -> list[Snapshot]:
    """The same, with rows of the same addresses in one order: sums stand at none, and a store says nothing of theirs."""
    found = []
    for one in taken:
        captures = []
        for capture in one.captures:
            rows = () if capture.table is None else tuple(sorted(capture.table.mappings, key=lambda m: (m.start, m.end, repr(m))))
            captures.append(capture if capture.table is None else capture._replace(table=MappingTable(rows)))
        found.append(one._replace(captures=tuple(captures)))
    return found


def filled_from(lake: str, files: Files, steps: int = 3) -> list[Snapshot]:
    """What a new store has that was filled from a lake, so many snapshots at a time."""
    reader = LakeReader(lake)
    with files.fresh() as location:
        store = Store.open(location, write=True)
        taken = [one for host in reader.hosts() for one in reader.walk(reader.refs(host))]
        new = sum(store.take_in(taken[at : at + steps]) for at in range(0, len(taken), steps))
        assert new == len(taken)
        assert store.take_in(taken) == 0
        assert store.check(text_of=render_smaps) == []
        return in_store(store)


@law(12, shrink=False)
@given(st.lists(smaps_series(), min_size=1, max_size=3))
def test_every_text_comes_back_byte_for_byte(files: Files, many: list[list[list[Row]]]) -> None:
    texts = [[render(rows) for rows in series] for series in many]
    with files.fresh() as location, lake_in_memory() as lake:
        store = Store.open(location, write=True)
        for number in range(max(map(len, texts))):
            captures = []
            for pid, series in enumerate(texts, 1):
                if number < len(series):
                    table = MappingTable(SmapsParser().parse(series[number]))
                    info = ProcessInfo(ProcessIdentity("boot", pid, 5, "exec"), b"prog")
                    captures.append(Capture(info, Status.COMPLETE, table, digest_of(series[number])))
            store.write(Snapshot(SnapshotRef(None, MIDNIGHT_US + number * HOUR_US, "web1"), tuple(captures)))
        write_lake(store, lake)
        assert in_lake(lake) == in_store(store)
        for number, taken in enumerate(in_lake(lake)):
            for capture in taken.captures:
                assert capture.table is not None
                assert render_smaps(capture.table.mappings) == texts[capture.process.pid - 1][number]
        assert filled_from(lake, files) == in_store(store)


@st.composite
def infos(draw: st.DrawFn, pid: int) -> ProcessInfo:
    raw = st.one_of(st.none(), st.sampled_from(NAMES))
    number = st.one_of(st.none(), st.integers(0, 1 << 40))
    return ProcessInfo(
        ProcessIdentity(draw(st.sampled_from(("", "boot"))), pid, draw(st.integers(0, 9)), "exec"),
        draw(st.sampled_from(NAMES)),
        draw(st.sampled_from((b"", b"/usr/bin/prog\0-v\0", b"\xff\0\0", b"no end"))),
        draw(raw),
        draw(st.one_of(st.none(), st.integers(0, 1 << 22))),
        draw(number),
        draw(raw),
        draw(TEXTS),
        draw(TEXTS),
        draw(st.one_of(st.none(), st.integers(0, 1 << 50))),
        *(draw(number) for _ in range(3)),
    )


def summed(mappings: Sequence[Mapping]) -> tuple[Mapping, ...]:
    """What a source gives that only knows sums: rows that stand nowhere."""
    rows = [Mapping(0, m.end - m.start, SUM_PERMS, None, None, None, b"%d" % at, None, m.counters) for at, m in enumerate(mappings)]
    return tuple(sorted(rows, key=lambda m: m[:2]))


@st.composite
def captures(draw: st.DrawFn, info: ProcessInfo, table: tuple[Mapping, ...]) -> Capture:
    status = draw(st.sampled_from([*Status, Status.COMPLETE, Status.COMPLETE]))
    small = st.one_of(st.none(), st.integers(0, 9))
    found = Capture(info, status, None, None, None, draw(small), draw(small), draw(small), draw(small), draw(small), draw(TEXTS))
    if status in (Status.VANISHED, Status.DENIED) or (status is Status.TIMEOUT and draw(st.booleans())):
        return found
    if status is Status.MAPS_ONLY:
        maps = MappingTable(in_form(table, "maps"))
        # What the table cannot tell has been counted by the kernel.
        figures = tuple([draw(small) if value is None else value for value in maps.totals.figures])
        return found._replace(table=maps, totals=Totals(len(table), figures))
    digest = draw(st.sampled_from((None, digest_of(repr(table).encode())))) if table else None
    return found._replace(table=MappingTable(table), digest=digest)


@st.composite
def histories(draw: st.DrawFn) -> list[Snapshot]:
    """What recorders of several hosts stored, with all that can be in it; days end, clocks are set back, processes come and go."""
    found = []
    hosts = draw(st.lists(st.sampled_from(HOSTS), min_size=1, max_size=2, unique=True))
    processes = {host: [draw(infos(pid)) for pid in range(1, draw(st.integers(1, 3)) + 1)] for host in hosts}
    current = {(host, info): draw(tables(torn=True)) for host in hosts for info in processes[host]}
    moment = MIDNIGHT_US + draw(st.integers(0, 23)) * HOUR_US
    for _ in range(draw(st.integers(1, 6))):
        moment += draw(st.sampled_from((1, HOUR_US, 5 * HOUR_US, -2 * HOUR_US)))
        host = draw(st.sampled_from(hosts))
        taken = []
        for info in processes[host]:
            if draw(st.integers(0, 5)):
                if draw(st.booleans()):
                    # What the kernel does to a table makes no sense of one that is torn.
                    current[host, info] = tuple(m for m in draw(evolve(current[host, info])) if m.end > m.start and (m.offset or 0) >= 0)
                form = draw(st.sampled_from((*FORMS, "smaps", "sums")))
                table = summed(current[host, info]) if form == "sums" else in_form(sorted(current[host, info], key=lambda m: m[:2]), form)
                taken.append(draw(captures(info, table)))
        label = draw(TEXTS)
        ref = SnapshotRef(None, moment, host, label, draw(st.sampled_from(("live", "/tmp/a\nb"))), draw(st.one_of(st.none(), st.just(12))), label)
        found.append(Snapshot(ref, tuple(taken)))
    return found


@law(40, shrink=False)
@given(histories(), st.data())
def test_a_lake_has_what_the_store_has(files: Files, taken: list[Snapshot], data: st.DataObject) -> None:
    with files.fresh() as location, lake_in_memory() as lake, lake_in_memory() as other:
        store = Store.open(location, write=True)
        store.write_all(taken)
        assert write_lake(store, lake) == len(taken)
        assert write_lake(store, lake) == 0
        assert in_any_order(in_lake(lake)) == in_any_order(in_store(store))
        # In many steps, of any size, and of any part of it first.
        refs = store.refs()
        while left := missing_in(other, refs):
            write_lake(store, other, data.draw(st.lists(st.sampled_from(left), min_size=1, max_size=len(left), unique=True)))
        assert in_any_order(in_lake(other)) == in_any_order(in_store(store))
        assert in_any_order(filled_from(lake, files)) == in_any_order(in_store(store))


def missing_in(lake: str, refs: list[SnapshotRef]) -> list[SnapshotRef]:
    return [ref for group in LakeWriter(lake).missing(refs) for ref in group]


@law(10, shrink=False)
@given(histories())
def test_a_lake_is_filled_from_any_database_and_into_any(backend: Backend, taken: list[Snapshot]) -> None:
    with backend.fresh() as location, lake_in_memory() as lake, backend.fresh() as another:
        store, target = Store.open(location, write=True), Store.open(another, write=True)
        store.write_all(taken)
        write_lake(store, lake)
        reader = LakeReader(lake)
        for host in reader.hosts():
            target.take_in(list(reader.walk(reader.refs(host))))
        assert in_any_order(in_store(target)) == in_any_order(in_store(store))
        # What was copied is the same snapshots, whoever writes them.
        assert write_lake(target, lake) == 0


def test_what_is_equal_is_the_same_object(files: Files) -> None:
    """The aligner lives on it; in one part, and from one day to the next."""
    with files.fresh() as location, lake_in_memory() as lake:
        store = Store.open(location, write=True)
        info = ProcessInfo(ProcessIdentity("boot", 1, 5, "exec"), b"prog")
        for number in range(4):
            table = MappingTable((make(0x1000, 0x3000), make(0x5000, 0x6000 + 0x1000 * (number // 2))))
            store.write(Snapshot(SnapshotRef(None, MIDNIGHT_US + number * 9 * HOUR_US, "h"), (Capture(info, Status.COMPLETE, table),)))
        write_lake(store, lake)
        assert len(LakeReader(lake).refs("h")) == 4
        found = [taken.captures[0].table for taken in in_lake(lake)]
        assert found[0] is found[1]
        assert found[2] is found[3], "midnight is between them"
        assert len({id(table.mappings[0]) for table in found if table is not None}) == 1
