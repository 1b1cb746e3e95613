"""What a recorder remembers between its snapshots must never differ from what the store has, whoever else writes or prunes."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from sqlalchemy import event
from strategies import make

from pmapdiff.errors import StoreError
from pmapdiff.model import Capture, Mapping, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.store import Store
from pmapdiff.store import append as append_module
from pmapdiff.store.intervals import IntervalWriter
from pmapdiff.store.prune import Retention

PAGE = 4096


def table(chosen: random.Random, pid: int) -> MappingTable:
    """One of a few tables that a process comes back to, some with a mapping that stands there twice."""
    seed = random.Random(pid * 100 + chosen.randrange(5))
    mappings: list[Mapping] = []
    for slot in range(12):
        if seed.random() < 0.8:
            start = (slot + 1) * 16 * PAGE
            name = b"/lib/%d" % seed.randrange(4) if seed.random() < 0.5 else b""
            mapping = make(start, start + seed.randrange(1, 16) * PAGE, name=name, rss=seed.randrange(3))
            mappings += [mapping] * (2 if seed.random() < 0.1 else 1)
    return MappingTable(tuple(mappings))


def digest(taken: MappingTable) -> bytes:
    return b"%16d" % hash(taken.mappings)


def identity(pid: int) -> ProcessIdentity:
    return ProcessIdentity("boot", pid, 1, "x")


class Recorder:
    """Records as the real one does: asks what is known, and leaves out a table that is known."""

    def __init__(self, path: Path) -> None:
        self.store = Store.open(str(path), write=True)
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self.store.recording())

    def record(self, moment: int, tables: dict[int, MappingTable | None], *, between: bool) -> int:
        known = self.store.known("h", [identity(pid) for pid in tables]) if between else {}
        captures = []
        for pid, one in tables.items():
            info = ProcessInfo(identity(pid), b"p%d" % pid, b"p%d\0" % pid, started_at_us=1)
            before = known.get(info.identity)
            if one is None:
                captures.append(Capture(ProcessInfo(identity(pid), b"p%d" % pid), Status.DENIED))
            elif before is not None and before.digest == digest(one):
                captures.append(Capture(info, Status.COMPLETE, None, digest(one), read_us=moment))
            elif len(set(one.mappings)) < len(one.mappings):
                captures.append(Capture(info, Status.TORN, one, None, read_us=moment))
            else:
                captures.append(Capture(info, Status.COMPLETE, one, digest(one), read_us=moment))
        ref = self.store.write(Snapshot(SnapshotRef(None, moment, "h", None, "live", None, "--all"), tuple(captures)))
        assert ref.id is not None
        return ref.id


@pytest.mark.parametrize(("seed", "rows"), [*((seed, 100_000) for seed in range(5)), *((seed, 20) for seed in range(5, 8))])
def test_two_recorders_that_remember_and_one_that_prunes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, rows: int) -> None:
    monkeypatch.setattr(append_module, "_MOST_ROWS", rows)
    chosen = random.Random(seed)
    recorders = [Recorder(tmp_path / "s.db") for _ in range(2)]
    truth: dict[int, dict[int, MappingTable | None]] = {}
    for moment in range(1, 40):
        tables = {pid: None if chosen.random() < 0.1 else table(chosen, pid) for pid in range(5) if chosen.random() < 0.8}
        recorder = recorders[chosen.random() < 0.3]
        if tables:
            truth[recorder.record(moment, tables, between=chosen.random() < 0.9)] = tables
        if chosen.random() < 0.2:
            pruner = Store.open(str(tmp_path / "s.db"), write=True) if chosen.random() < 0.5 else recorders[0].store
            label = "doomed" if chosen.random() < 0.5 else None
            if label is not None and truth:
                # The newest too, which nothing but a label can remove.
                for number in chosen.sample(sorted(truth), min(len(truth), 3)):
                    with pruner.engine.begin() as connection:
                        connection.exec_driver_sql("UPDATE snapshot SET label = 'doomed' WHERE id = ?", (number,))
            for number in pruner.prune(Retention(last=0 if label else 5), label=label).removed:
                del truth[number]
    reader = Store.open(str(tmp_path / "s.db"))
    assert reader.check() == []
    refs = {row.ref.id: row.ref for row in reader.snapshots()}
    assert refs.keys() == truth.keys()
    for number, tables in truth.items():
        loaded = {c.process.pid: c for c in reader.load(refs[number]).captures}
        assert loaded.keys() == tables.keys()
        for pid, wanted in tables.items():
            found = loaded[pid].table
            assert (None if found is None else found.mappings) == (None if wanted is None else wanted.mappings), (number, pid)


def test_nothing_is_asked_of_the_database_for_what_did_not_change(tmp_path: Path) -> None:
    chosen = random.Random(1)
    recorder = Recorder(tmp_path / "s.db")
    tables: dict[int, MappingTable | None] = {pid: table(chosen, pid) for pid in range(5)}
    recorder.record(1, tables, between=True)
    said: list[str] = []
    event.listen(recorder.store.engine, "before_cursor_execute", lambda _c, _k, statement, *_: said.append(statement))
    recorder.record(2, tables, between=True)
    asked = {s for s in said if s.startswith("SELECT")}
    assert asked == {
        "SELECT coalesce(max(snapshot.id), ?) AS coalesce_1 \nFROM snapshot",
        "SELECT numbering.removed, numbering.store \nFROM numbering",
    }
    changed = dict(tables)
    changed[3] = table(random.Random(2), 3)
    assert changed[3] != tables[3]
    recorder.record(3, changed, between=True)
    assert not any(s.startswith("SELECT") and ("usage" in s or "mapping" in s) for s in said), "what it wrote itself it need not look up"


def test_a_write_that_fails_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = random.Random(1)
    recorder = Recorder(tmp_path / "s.db")
    first = recorder.record(1, {1: table(chosen, 1)}, between=True)
    wanted = table(random.Random(7), 1)
    with monkeypatch.context() as patch:
        patch.setattr(IntervalWriter, "flush", lambda _self: (_ for _ in ()).throw(StoreError("no room")))
        with pytest.raises(StoreError):
            recorder.record(2, {1: wanted, 2: wanted}, between=True)
    second = recorder.record(3, {1: wanted, 2: wanted}, between=True)
    store = Store.open(str(tmp_path / "s.db"))
    assert [row.ref.id for row in store.snapshots()] == [first, second]
    assert all(c.table == wanted for c in store.load(store.resolve("latest")).captures)
    assert store.check() == []


def test_a_file_that_was_moved_away_is_not_written_any_more(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "s.db")
    tables: dict[int, MappingTable | None] = {1: table(random.Random(1), 1)}
    recorder.record(1, tables, between=True)
    (tmp_path / "s.db").rename(tmp_path / "old.db")
    with pytest.raises(StoreError):
        recorder.record(2, tables, between=True)
    Store.open(str(tmp_path / "s.db"), write=True)
    assert recorder.record(3, tables, between=True) == 1
    assert len(Store.open(str(tmp_path / "s.db")).load(Store.open(str(tmp_path / "s.db")).resolve("latest")).captures) == 1
