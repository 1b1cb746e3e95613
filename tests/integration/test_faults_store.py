"""What can go wrong with the store: one clear line, nothing lost, and it goes on when the trouble is over."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import Lines, Result, Runner, Target
from programs.mounts import fill, make_read_only, small_disk
from strategies import capture_of, make

from pmapdiff.formats.smaps import SmapsParser
from pmapdiff.model import Capture, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
from pmapdiff.store import Store
from pmapdiff.store.schema import HEAD
from pmapdiff.text import digest_of

SOUND = "the store is sound\n"
HOUR_US = 3_600_000_000


def clean(result: Result, *codes: int) -> Result:
    """This result, which has one of these exit codes, and an error is one line."""
    assert b"Traceback" not in result.stdout + result.stderr, result
    assert result.code in codes, result
    if result.code == 2:
        assert result.err.startswith("pmapdiff: "), result
        assert result.err.count("\n") == 1, result
    return result


class Kept:
    """A store with one labelled snapshot of a process, which must stay as it is whatever happens."""

    def __init__(self, run: Runner, *targets: Target) -> None:
        self.run = run
        self.pids = [word for target in targets for word in ("--pid", str(target.pid))]
        run.here("record", *self.pids, "--label", "kept").ok()
        self.pid = targets[0].pid
        self.text = self.shown().ok().stdout
        assert self.text.count(b"VmFlags:") > 20

    def shown(self) -> Result:
        return self.run.here("show", "kept", "--pid", self.pid, "--format", "smaps")

    def count(self) -> int:
        return len(self.run.here("snapshots", "--format", "json").json["snapshots"])

    def is_unharmed(self) -> None:
        assert self.shown().ok().stdout == self.text
        assert self.run.here("db", "check").ok().out == SOUND


@pytest.fixture
def kept(run: Runner, target: Target) -> Kept:
    return Kept(run, target)


# The disk.


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "3m") as folder:
        yield folder


@pytest.fixture
def large() -> Iterator[Target]:
    with Target("many.py", 5000) as program:
        yield program


# 64 KiB are enough to open the store, not to write a snapshot.
@pytest.mark.parametrize("room", [0, 64 << 10])
def test_a_full_disk_while_recording(disk: Path, target: Target, large: Target, room: int) -> None:
    run = Runner(disk / "test.db")
    kept = Kept(run, target)
    filler = fill(disk, room)
    for _ in range(2):
        clean(run.here("record", "--pid", large.pid), 2).refused(str(run.db), "full")
    filler.unlink()
    kept.is_unharmed()
    assert kept.count() == 1
    run.here("record", "--pid", large.pid).ok()
    assert kept.count() == 2
    kept.is_unharmed()


def test_a_full_disk_before_the_first_snapshot(disk: Path, target: Target) -> None:
    run = Runner(disk / "test.db")
    filler = fill(disk)
    for _ in range(2):
        clean(run.here("record", "--pid", target.pid), 2).refused(str(run.db), "full")
    filler.unlink()
    Kept(run, target).is_unharmed()


def test_a_series_goes_on_when_there_is_room_again(disk: Path, target: Target, large: Target) -> None:
    run = Runner(disk / "test.db")
    kept = Kept(run, target)
    filler = fill(disk, 64 << 10)
    with run.started("record", "--pid", target.pid, "--pid", large.pid, "--every", "20ms") as recorder:
        assert recorder.stdout is not None
        assert recorder.stderr is not None
        err = Lines(recorder.stderr.fileno())
        # The first one of a series must succeed: it has to open its store with room for it.
        first = err.next()
        assert b"full" in first
        assert recorder.wait(30) == 2
        assert err.rest() == []
    filler.unlink()
    with run.started("record", "--pid", target.pid, "--pid", large.pid, "--every", "20ms") as recorder:
        assert recorder.stdout is not None
        assert recorder.stderr is not None
        out, err = Lines(recorder.stdout.fileno()), Lines(recorder.stderr.fileno())
        out.next()
        filler = fill(disk)
        # An unchanged table costs no room: change much at once.
        target.call("map", size=2000 * 8192, address=0x100000000000)
        for i in range(0, 2000, 1):
            target.call("protect", address=0x100000000000 + i * 8192, size=4096, prot=1)
        assert b"going on" in err.until(b"full")
        filler.unlink()
        before = kept.count()
        while kept.count() < before + 3:
            assert out.next()
        recorder.send_signal(signal.SIGTERM)
        said = err.rest()
        assert recorder.wait(30) == 0
    # It said so once, not once a snapshot.
    assert said == []
    assert len(run.here("show", "latest", "--pid", target.pid, "--format", "json").json["processes"][0]["mappings"]) > 3000
    kept.is_unharmed()


@pytest.mark.parametrize("room", [0, 256 << 10])
def test_a_full_disk_while_pruning(disk: Path, target: Target, large: Target, room: int) -> None:
    """It works, or says in one line that it cannot; what it was to keep is there in any case."""
    run = Runner(disk / "test.db")
    kept = grown(run, target, large)
    filler = fill(disk, room)
    for _ in range(2):
        clean(run.here("prune", "--keep-last", 1), 0, 2)
    filler.unlink()
    kept.is_unharmed()
    assert run.here("show", "latest", "--pid", target.pid).ok()
    run.here("prune", "--keep-last", 1).ok()
    assert kept.count() == 2
    kept.is_unharmed()


def grown(run: Runner, target: Target, large: Target) -> Kept:
    """A store most of which is in snapshots that may go: the kept one, and seven of one series."""
    kept = Kept(run, target)
    for number in range(6):
        target.call("map", size=8192, address=0x200000000000 + number * 65536)
        run.here("record", "--pid", target.pid, "--pid", large.pid).ok()
    large.close()
    run.here("record", "--pid", target.pid, "--pid", large.pid).ok()
    assert kept.count() == 8
    return kept


def test_reading_from_a_full_disk(disk: Path, target: Target) -> None:
    run = Runner(disk / "test.db")
    kept = Kept(run, target)
    # Who writes takes the log and its index away at the end, who only reads leaves them behind.
    run.here("record", *kept.pids).ok()
    assert [path.name for path in disk.iterdir()] == ["test.db"]
    fill(disk)
    kept.is_unharmed()


@pytest.mark.parametrize("options", [["--keep-last", "1"], ["--max-size", "1K"]])
def test_pruning_makes_room_on_a_full_disk(disk: Path, target: Target, large: Target, options: list[str]) -> None:
    run = Runner(disk / "test.db")
    kept = grown(run, target, large)
    # Where there is no room at all, not even a transaction that removes something can be logged.
    filler = fill(disk)
    clean(run.here("prune", *options), 2).refused("full", "make")
    filler.unlink()
    filler = fill(disk, 768 << 10)
    clean(run.here("prune", *options), 0)
    run.here("record", "--pid", target.pid).ok()
    filler.unlink()
    kept.is_unharmed()


def test_a_read_only_disk(disk: Path, target: Target) -> None:
    run = Runner(disk / "test.db")
    kept = Kept(run, target)
    run.here("record", "--pid", target.pid).ok()
    make_read_only(disk)
    for args in (["record", *kept.pids], ["prune", "--keep-last", "1"], ["record", *kept.pids, "--every", "10ms"], ["db", "upgrade"]):
        clean(run.here(*args), 2).refused(str(run.db))
    for reading in (["snapshots"], ["processes"], ["show"], ["compare", 1, 2], ["db", "info"]):
        clean(run.here(*reading), 0)
    kept.is_unharmed()
    make_read_only(disk, False)
    run.here("record", *kept.pids).ok()
    assert kept.count() == 3
    kept.is_unharmed()


def test_a_read_only_disk_with_a_log_left_behind(disk: Path, target: Target) -> None:
    """What a killed recorder had stored is in the log: it is read, or refused, never left out."""
    run = Runner(disk / "test.db")
    kept = Kept(run, target)
    (disk / "saved").mkdir()
    with contextlib.closing(sqlite3.connect(run.db)) as connection:
        # As long as somebody has it open, the log stays.
        connection.execute("SELECT count(*) FROM snapshot").fetchone()
        run.here("record", *kept.pids, "--label", "in the log").ok()
        for path in (run.db, Path(f"{run.db}-wal")):
            shutil.copy(path, disk / "saved" / path.name)
    saved = Runner(disk / "saved" / "test.db")
    assert Path(f"{saved.db}-wal").stat().st_size > 0
    make_read_only(disk)
    result = clean(saved.here("show", "in the log", "--format", "smaps"), 0, 2)
    if result.code == 2:
        assert "no label" not in result.err
    clean(saved.here("record", *kept.pids), 2)
    make_read_only(disk, False)
    assert saved.here("db", "check").ok().out == SOUND
    assert saved.here("show", "in the log", "--format", "smaps").ok().stdout.count(b"VmFlags:") > 20
    assert saved.here("show", "kept", "--format", "smaps").ok().stdout == kept.text


# Other writers.


@contextlib.contextmanager
def writing(db: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else, in the middle of a transaction."""
    with contextlib.closing(sqlite3.connect(db, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def waits(pid: int) -> bool:
    """Whether a process sleeps between two tries for a lock."""
    return "nanosleep" in Path(f"/proc/{pid}/wchan").read_text()


COMMANDS = [["record", "--pid", "PID"], ["prune", "--keep-last", "1"]]


@pytest.mark.parametrize("args", COMMANDS, ids=lambda args: args[0])
def test_a_lock_that_is_soon_released(run: Runner, kept: Kept, args: list[str]) -> None:
    for _ in range(2):
        run.here("record", *kept.pids).ok()
    # In a process of its own: SQLite does not know about forks, and the lock would be the fork's too.
    with writing(run.db) as connection, run.started(*(kept.pid if word == "PID" else word for word in args)) as command:
        wait_until(lambda: waits(command.pid), command.pid)
        connection.execute("ROLLBACK")
        out, err = command.communicate(timeout=30)
        clean(Result(command.returncode, out, err), 0)
    assert kept.count() == (4 if args[0] == "record" else 2)
    kept.is_unharmed()


@pytest.mark.parametrize("args", [*COMMANDS, ["db", "upgrade"], ["record", "--pid", "PID", "--every", "10ms"]], ids=" ".join)
def test_a_lock_that_is_not_released(run: Runner, kept: Kept, args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        run.here("record", *kept.pids).ok()
    monkeypatch.setattr("pmapdiff.store.engine.BUSY_TIMEOUT_S", 0.2)
    with writing(run.db):
        clean(run.here(*(str(kept.pid) if word == "PID" else word for word in args)), 2).refused(str(run.db), "being written")
        # Who only reads is not in anybody's way.
        kept.is_unharmed()
    assert kept.count() == 3
    kept.is_unharmed()


def test_a_lock_in_the_middle_of_a_series(run: Runner, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A series says once that it cannot write, and goes on afterwards."""
    monkeypatch.setattr("pmapdiff.store.engine.BUSY_TIMEOUT_S", 0.1)
    with run.forked("record", *kept.pids, "--every", "10ms") as series:
        series.out.next()
        with writing(run.db):
            assert b"going on" in series.err.until(b"being written")
            before = kept.count()
        while kept.count() < before + 3:
            assert series.out.next()
        series.kill(signal.SIGTERM)
        ended = clean(series.wait(), 0)
    assert ended.stderr == b""
    kept.is_unharmed()


def test_pruning_beside_a_reader_that_takes_its_time(run: Runner, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pmapdiff.store.engine.BUSY_TIMEOUT_S", 0.2)
    for _ in range(3):
        run.here("record", *kept.pids).ok()
    with contextlib.closing(sqlite3.connect(run.db, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM snapshot").fetchone() == (4,)
        clean(run.here("prune", "--keep-last", 1), 0)
        assert reader.execute("SELECT count(*) FROM snapshot").fetchone() == (4,)
        reader.execute("COMMIT")
        assert reader.execute("SELECT count(*) FROM snapshot").fetchone() == (2,)
    kept.is_unharmed()


def wait_until(condition: Callable[[], bool], pid: int) -> None:
    """Look again and again, as long as the process runs."""
    while not condition():
        assert ") Z" not in Path(f"/proc/{pid}/stat").read_text()
        os.sched_yield()


def test_eight_recorders_at_once(run: Runner) -> None:
    """All of them on a store that is not there yet: one makes it, and none of their snapshots is lost."""
    recorders, each = 8, 6
    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(Target("many.py", 10 * number)) for number in range(recorders)]
        warm = Runner(run.db.parent.parent / "warm.db")
        warm.here("record", "--pid", targets[0].pid).ok()
        series = [stack.enter_context(run.forked("record", "--pid", t.pid, "--every", "10ms", "--count", each)) for t in targets]
        ended = [clean(one.wait(), 0) for one in series]
        for target, result in zip(targets, ended, strict=True):
            assert result.stderr == b""
            assert result.out.count("snapshot ") == each
            assert result.out.count("1 process,") == each, (target.pid, result)
        rows = run.here("snapshots", "--format", "json", "--top", 0).json["snapshots"]
        assert sorted(row["id"] for row in rows) == list(range(1, recorders * each + 1))
        assert len(run.here("processes", "--format", "json").json["processes"]) == recorders
        for target in targets:
            shown = run.here("show", "latest", "--pid", target.pid, "--format", "smaps").ok().stdout
            assert shown.count(b"VmFlags:") == target.smaps().count(b"VmFlags:")
    assert run.here("db", "check").ok().out == SOUND


# Told to stop.


def test_terminated_in_the_middle_of_one_snapshot(run: Runner, kept: Kept) -> None:
    """It is finished: a table that cannot be had keeps the recorder busy meanwhile."""
    with Target("many.py", 20000) as large, run.forked("record", "--pid", large.pid, *kept.pids) as recorder:
        # From its second thread on it reads.
        wait_until(lambda: len(list(Path(f"/proc/{recorder.pid}/task").iterdir())) > 1, recorder.pid)
        recorder.kill(signal.SIGTERM)
        ended = clean(recorder.wait(), 0)
    assert ended.out.startswith("snapshot 2: 2 processes")
    assert kept.count() == 2
    kept.is_unharmed()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_terminated_at_any_moment(run: Runner, kept: Kept, number: signal.Signals) -> None:
    """Either there is a whole snapshot, and the exit code says so, or none."""
    chosen = random.Random(number)
    count = kept.count()
    for round_ in range(12):
        args = ["prune", "--keep-last", "2"] if round_ % 4 == 3 else ["record", *kept.pids]
        with run.forked(*args) as command:
            command.signal_after(chosen.uniform(0, 0.08), number)
            ended = clean(command.wait(), 0, 130 if number == signal.SIGINT else -number)
        before, count = count, kept.count()
        if args[0] == "record":
            # What is stored is said, and is a success. (The other way round, see the next test.)
            assert count == before + ended.out.startswith("snapshot "), ended
        kept.is_unharmed()


def test_told_to_stop_before_it_began(run: Runner, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0 is for a snapshot that was taken."""
    from pmapdiff.capture.record import StopRequest

    really = StopRequest.__enter__

    def enter(stop: StopRequest) -> StopRequest:
        entered = really(stop)
        signal.raise_signal(signal.SIGTERM)
        return entered

    monkeypatch.setattr(StopRequest, "__enter__", enter)
    result = clean(run.here("record", *kept.pids), 0, 130, 143)
    assert kept.count() == 1 + (result.code == 0), result
    kept.is_unharmed()


# The file.


SMAPS = (Path(__file__).parents[1] / "data" / "redis-frozen" / "smaps.txt").read_bytes()


def made(db: Path) -> dict[int, bytes]:
    """A store that is the same byte for byte whenever it is made; its tables as text."""
    texts = {}
    for number in range(1, 5):
        # One counter more in each, and in every second one a mapping less.
        text = SMAPS.replace(b"Referenced:          380 kB", b"Referenced:          %d kB" % (380 + number))
        texts[number] = text if number % 2 else text[text.index(b"VmFlags") :].partition(b"\n")[2]
        info = ProcessInfo(ProcessIdentity("boot", 1, 1, "x"), b"redis", b"redis\0", started_at_us=1)
        table = MappingTable(SmapsParser().parse(texts[number]))
        ref = SnapshotRef(None, 1_700_000_000_000_000 + number, "h", None, "live", None, "--all")
        store = Store.open(str(db), write=True)
        store.write(Snapshot(ref, (Capture(info, Status.COMPLETE, table, digest_of(texts[number])),)))
    return texts


def cut_off(data: bytes) -> Iterator[tuple[str, bytes]]:
    size = len(data)
    for length in (1, 99, 100, 101, 4095, 4096, 8192, size // 4, size // 2 + 100, size - 4096, size - 1):
        yield f"cut off at {length}", data[:length]


def overwritten(data: bytes) -> Iterator[tuple[str, bytes]]:
    pages, chosen = len(data) // 4096, random.Random(1)
    for page in range(1, pages, max(1, pages // 6)):
        for new in (bytes(4096), chosen.randbytes(4096)):
            yield f"page {page}, {new[:3].hex()}…", data[: page * 4096] + new + data[(page + 1) * 4096 :]


def mistaken(data: bytes) -> Iterator[tuple[str, bytes]]:
    chosen = random.Random(7)
    for _ in range(12):
        at, length = chosen.randrange(100, len(data) - 300), chosen.choice((4, 16, 300))
        yield f"{length} bytes at {at}", data[:at] + chosen.randbytes(length) + data[at + length :]


@pytest.mark.parametrize("damages", [cut_off, overwritten, mistaken])
def test_a_damaged_file(run: Runner, target: Target, damages: Callable[[bytes], Iterator[tuple[str, bytes]]]) -> None:
    """No bug, whatever the damage; and what is called sound is what was stored."""
    texts = made(run.db)
    data = run.db.read_bytes()
    assert run.here("show", 4, "--format", "smaps").ok().stdout == texts[4]
    found: list[str] = []
    for what, damaged in damages(data):
        for args in (["db", "check"], ["show", 1], ["compare", 1, 4], ["processes"], ["record", "--pid", target.pid], ["prune", "--keep-last", 1]):
            for name in ("-wal", "-shm"):
                Path(f"{run.db}{name}").unlink(missing_ok=True)
            run.db.write_bytes(damaged)
            result = run.here(*args)
            if b"Traceback" in result.stderr or result.code not in (0, 2) or (result.code == 2 and result.err.count("\n") != 1):
                found.append(f"{what}: {args[0]}: {result.stderr[-200:]!r}")
            if args == ["db", "check"] and result.code == 0:
                shown = {number: run.here("show", number, "--format", "smaps").stdout for number in texts}
                found += [f"{what}: sound, but {number} is another table" for number in texts if shown[number] != texts[number]]
    assert not found, "\n".join(found)


NONSENSE = [
    "DELETE FROM backing",
    "DELETE FROM totals",
    "UPDATE detail SET extra = '{'",
    "UPDATE state SET rss_kib = 'a'",
    "UPDATE capture SET status = 99",
    "UPDATE snapshot SET taken_at = 'x'",
]


@pytest.mark.parametrize("change", NONSENSE)
def test_rows_that_make_no_sense(run: Runner, change: str) -> None:
    """SQLite takes any value in any column."""
    made(run.db)
    with contextlib.closing(sqlite3.connect(run.db)) as connection:
        connection.execute("PRAGMA ignore_check_constraints=1")
        connection.execute(change)
        connection.commit()
    clean(run.here("db", "check"), 2)
    for args in (["show"], ["show", 1, "--format", "smaps"], ["compare", 1, 4], ["processes"], ["snapshots"], ["db", "info"]):
        clean(run.here(*args), 0, 2)


@pytest.mark.parametrize(
    "change", ["mapping SET file_offset = file_offset + 4096 WHERE file_offset > 0", "string SET raw = raw || 'x'", "protection SET perms = 'rwxp'"]
)
def test_a_value_that_is_not_what_was_recorded(run: Runner, change: str) -> None:
    texts = made(run.db)
    with contextlib.closing(sqlite3.connect(run.db)) as connection:
        connection.execute(f"UPDATE {change}")
        connection.commit()
    assert run.here("show", 1, "--format", "smaps").stdout != texts[1]
    assert "problem" in clean(run.here("db", "check"), 2).err


def test_a_newer_store_is_left_alone_by_every_command(run: Runner, kept: Kept, tmp_path: Path) -> None:
    saved = tmp_path / "saved.smaps"
    saved.write_bytes(kept.text)
    with contextlib.closing(sqlite3.connect(run.db)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    before = run.db.read_bytes()
    commands: list[list[object]] = [
        ["record", *kept.pids],
        ["record", *kept.pids, "--every", "10ms"],
        ["import", saved],
        ["snapshots"],
        ["processes"],
        ["show"],
        ["compare", 1, 1],
        ["prune", "--keep-last", 1],
        ["prune", "--keep-last", 1, "--dry-run"],
        ["db", "info"],
        ["db", "check"],
        ["db", "upgrade"],
    ]
    for args in commands:
        clean(run.here(*args), 2).refused("newer pmapdiff", "upgrade pmapdiff")
    assert run.db.read_bytes() == before
    with contextlib.closing(sqlite3.connect(run.db)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (HEAD,))
        connection.commit()
    kept.is_unharmed()


# The clock.


class Clock:
    """What the recorder and prune take for the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_us = time.time_ns() // 1000
        monkeypatch.setattr(time, "time_ns", lambda: self.now_us * 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def set_back(run: Runner, kept: Kept, target: Target, clock: Clock) -> dict[int, int]:
    """Five more snapshots, of which the last two were taken after the clock was set back by a day; the time of each."""
    moments = {1: clock.now_us}
    for number, hours in ((2, 1), (3, 2), (4, 3), (5, -21), (6, -20)):
        clock.now_us = moments[1] + hours * HOUR_US
        moments[number] = clock.now_us
        target.call("map", size=number * 4096, address=0x100000000000 + number * 65536)
        run.here("record", *kept.pids).ok()
    return moments


def test_a_clock_set_back_loses_nothing(run: Runner, kept: Kept, set_back: dict[int, int]) -> None:
    rows: list[dict[str, Any]] = run.here("snapshots", "--format", "json").json["snapshots"]
    # By time, as everything that names a snapshot by its time must have it.
    assert [row["id"] for row in rows] == sorted(set_back, key=lambda number: set_back[number])
    for back, row in enumerate(reversed(rows)):
        assert run.here("show", f"latest~{back}", "--format", "json").json["snapshot"]["id"] == row["id"]
    for number in range(2, 7):
        text = run.here("show", number, "--format", "smaps").ok().stdout
        assert [text.count(b"%x-" % (0x100000000000 + other * 65536)) for other in range(2, 7)] == [other <= number for other in range(2, 7)]
    for first, second in ((4, 5), (5, 4), (1, 6), (6, 6)):
        (process,) = run.here("compare", first, second, "--format", "json").json["processes"] or [None]
        if first != second:
            assert process["match"] == "same"
            assert process["totals"]["delta"]["size_kib"] == sum(change["delta"]["size_kib"] for change in process["changes"])
        clean(run.here("compare", first, second), 0)
    clean(run.here("processes"), 0)
    kept.is_unharmed()


@pytest.mark.usefixtures("set_back")
def test_a_clock_set_back_and_what_stays(run: Runner, kept: Kept) -> None:
    """What has just been recorded is the last of its series, whatever its time."""
    run.here("prune", "--keep-last", 2).ok()
    assert {row["id"] for row in run.here("snapshots", "--format", "json").json["snapshots"]} == {1, 5, 6}
    run.here("record", *kept.pids, "--keep-last", 1).ok()
    assert {row["id"] for row in run.here("snapshots", "--format", "json").json["snapshots"]} == {1, 7}
    kept.is_unharmed()


@pytest.mark.usefixtures("set_back")
def test_a_clock_set_back_and_a_size(run: Runner, kept: Kept) -> None:
    """`--max-size` keeps the newest of each series, which is the one that was recorded last."""
    run.here("prune", "--max-size", "1K").ok()
    assert {row["id"] for row in run.here("snapshots", "--format", "json").json["snapshots"]} == {1, 6}
    kept.is_unharmed()


@pytest.mark.usefixtures("set_back")
def test_a_clock_set_back_and_an_age(run: Runner, kept: Kept) -> None:
    """Rules about age go by the time that was noted: from the future, everything is young."""
    run.here("prune", "--keep-all", "30m").ok()
    assert {row["id"] for row in run.here("snapshots", "--format", "json").json["snapshots"]} == {1, 2, 3, 4, 6}
    kept.is_unharmed()


def test_decreasing_times_through_the_api(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "s.db"), write=True)
    for number in range(20):
        store.write(Snapshot(SnapshotRef(None, 1000 - number, "h"), (capture_of([make(0x1000, 0x2000 + number * 0x1000)]),)))
    assert [row.ref.id for row in store.snapshots()] == list(range(20, 0, -1))
    for number in range(1, 21):
        (capture,) = store.load(store.resolve(str(number))).captures
        assert capture.table is not None
        assert capture.table.mappings[0].end == 0x2000 + (number - 1) * 0x1000
    assert store.check() == []
