"""The files of a lake: what they are called, when they are there, and that none of them ever changes."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from backends import Files
from laking import files_of, in_lake, in_store, lake_in_memory, write_lake
from strategies import capture_of, make

from pmapdiff.errors import NotFoundError, StoreError
from pmapdiff.lake import LakeReader, LakeWriter, encode
from pmapdiff.lake.about import about_lake
from pmapdiff.lake.parts import DATASETS, MARKER
from pmapdiff.lake.place import Place
from pmapdiff.lake.schema import SCHEMAS
from pmapdiff.model import Snapshot, SnapshotRef
from pmapdiff.store import Store
from pmapdiff.store.claim import claimed

HOUR_US = 3_600_000_000
# 2026-11-22, 22:00 UTC.
EVENING_US = 1_795_384_800_000_000


def snapshot(number: int, host: str = "web1") -> Snapshot:
    mappings = [make(0x1000, 0x3000, name=b"[heap]", rss=8), make(0x5000, 0x6000 + number * 0x1000, rss=4 * number)]
    captures = tuple(capture_of(mappings, pid) for pid in range(1, 2 + number % 3))
    return Snapshot(SnapshotRef(None, EVENING_US + number * HOUR_US, host), captures)


@pytest.fixture
def store(tmp_path: Path, files: Files) -> Store:
    """Four snapshots, two before midnight."""
    opened = Store.open(str(files.copy(tmp_path / "store.db")), write=True)
    opened.write_all(snapshot(number) for number in range(4))
    return opened


def test_a_folder_for_each_day_and_host(store: Store, tmp_path: Path) -> None:
    store.write(snapshot(3, host="a/b =%é"))
    write_lake(store, str(tmp_path / "lake"))
    found = files_of(tmp_path / "lake")
    assert json.loads(found.pop(MARKER)) == {"format": "pmapdiff.lake/1"}
    folders = {str(Path(path).parent) for path in found}
    partitions = ("day=2026-11-22/host=web1", "day=2026-11-23/host=web1", "day=2026-11-23/host=a%2Fb%20%3D%25%C3%A9")
    assert folders == {f"{dataset}/{partition}" for dataset in DATASETS for partition in partitions}
    assert len(found) == len(folders)
    assert LakeReader(str(tmp_path / "lake")).hosts() == ["a/b =%é", "web1"]
    assert LakeReader(str(tmp_path / "lake")).hosts(until_us=EVENING_US) == ["web1"]
    for path in found:
        schema = pq.read_schema(tmp_path / "lake" / path)
        assert schema.equals(SCHEMAS[path.partition("/")[0]])


def test_only_its_owner_may_look_into_a_lake(store: Store, tmp_path: Path) -> None:
    write_lake(store, str(tmp_path / "above" / "lake"))
    assert (tmp_path / "above" / "lake").stat().st_mode & 0o777 == 0o700
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    write_lake(store, str(shared))
    assert shared.stat().st_mode & 0o777 == 0o755, "it was there already"


def test_the_same_store_gives_the_same_files(store: Store, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert write_lake(store, str(tmp_path / name)) == 4
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_what_is_there_is_left_alone(store: Store, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    write_lake(store, str(lake))
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in lake.rglob("*")}
    assert write_lake(store, str(lake)) == 0
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in lake.rglob("*")} == before
    store.write(snapshot(2))
    content = files_of(lake)
    assert write_lake(store, str(lake)) == 1
    assert content.items() <= files_of(lake).items()


def test_only_what_may_have_a_snapshot_is_looked_at(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lake has many hosts and days: whoever writes one of them asks for no other, and for no file whose name says enough."""
    lake = str(tmp_path / "lake")
    store.write_all(snapshot(number, host) for number in range(4) for host in ("web2", "web3"))
    write_lake(store, lake)
    store.write(snapshot(3))
    asked: list[str] = []

    def noted(does: Callable[..., Any]) -> Callable[..., Any]:
        def also(self: Place, path: str, *more: int) -> Any:
            asked.append(path)
            return does(self, path, *more)

        return also

    for name in ("entries", "read"):
        monkeypatch.setattr(Place, name, noted(getattr(Place, name)))
    late = [ref for ref in store.refs(EVENING_US + 2 * HOUR_US) if ref.host == "web1"]
    assert [ref.id for (ref,) in LakeWriter(lake).missing(late)] == [late[-1].id]
    assert asked == ["", MARKER, "snapshots/day=2026-11-23/host=web1"]


def test_of_a_pruned_store_nothing_is_written_again(store: Store, tmp_path: Path) -> None:
    """The names say that more is there than the store still has, so the files are asked."""
    lake = str(tmp_path / "lake")
    write_lake(store, lake)
    refs = store.refs()
    assert LakeWriter(lake).missing([refs[1], refs[2]]) == []
    put_back = refs[1]._replace(taken_at_us=refs[1].taken_at_us + 1)
    assert LakeWriter(lake).missing([put_back, refs[2]]) == [[put_back]], "a store that was put back from a backup gives a number again"


def test_two_writers_with_copies_of_a_store(store: Store, tmp_path: Path) -> None:
    """Each has found some of it missing. A reader has every snapshot once."""
    lake = str(tmp_path / "lake")
    refs = store.refs()
    first, second = LakeWriter(lake), LakeWriter(lake)
    missing = second.missing(refs[1:])
    assert len(list(first.write(first.missing(refs), store.walk))) == 2
    assert len(list(second.write(missing, store.walk))) == 2
    assert in_lake(lake) == in_store(store)
    assert [ref.id for ref in LakeReader(lake).refs("web1")] == [1, 2, 3, 4]
    assert about_lake(lake).hosts[0].snapshots == 5, "as many as there are rows"


@pytest.mark.parametrize(("limit", "value"), [("MOST_ROWS_MORE", 12), ("MOST_CAPTURES", 9)])
@pytest.mark.parametrize("restarted", [False, True])
def test_parts_are_cut_before_they_are_too_large(limit: str, value: int, restarted: bool, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Because mappings change, or because there are other processes each time."""
    for number in range(40):
        taken = snapshot(number)
        mappings = [make(0x1000, 0x3000, name=b"[heap]", rss=8), make(0x5000, 0x6000 + number * 0x1000, rss=4 * number)]
        captures = tuple(capture_of(mappings, pid + 10 * number * restarted) for pid in range(3))
        store.write(taken._replace(ref=SnapshotRef(None, EVENING_US + number, "big"), captures=captures))
    refs = [ref for ref in store.refs() if ref.host == "big"]
    with lake_in_memory() as lake:
        monkeypatch.setattr(encode, limit, value)
        writer = LakeWriter(lake)
        counts = [written.part.count for written in writer.write(writer.missing(refs), store.walk)]
        assert in_lake(lake) == [taken for taken in in_store(store) if taken.ref.host == "big"]
    assert sum(counts) == 40
    # Nine captures are three snapshots. Twelve rows more than six: three a snapshot change, or all of them.
    assert max(counts) == (3 if limit == "MOST_CAPTURES" or restarted else 5)


class Killed(BaseException):
    """As if by kill -9: nothing catches it."""


def dying_after(files: int) -> Callable[[Place, str, bytes], None]:
    """What writes so many files, and then does not."""
    write = Place.write
    written: list[str] = []

    def dying(self: Place, path: str, content: bytes) -> None:
        if len(written) == files:
            raise Killed
        written.append(path)
        write(self, path, content)

    return dying


def contents(lake: Path) -> dict[str, bytes]:
    return {path: content for path, content in files_of(lake).items() if not path.endswith(".tmp")}


def test_killed_between_any_two_files(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_lake(store, str(tmp_path / "whole"))
    whole = files_of(tmp_path / "whole")
    for kill in range(len(whole)):
        lake = tmp_path / f"lake-{kill}"
        with monkeypatch.context() as patched:
            patched.setattr(Place, "write", dying_after(kill))
            with pytest.raises(Killed):
                write_lake(store, str(lake))
        if kill:
            # Either none of a part, or all of it.
            assert in_lake(str(lake)) == in_store(store)[: 2 * ((kill - 1) // len(DATASETS))]
        write_lake(store, str(lake))
        assert files_of(lake) == whole


@pytest.mark.parametrize("files_written", range(1, len(DATASETS)))
def test_what_was_begun_is_finished_though_there_is_more_by_now(files_written: int, store: Store, tmp_path: Path) -> None:
    lake, whole = tmp_path / "lake", tmp_path / "whole"
    write_lake(store, str(whole))
    half = {path: content for path, content in files_of(whole).items() if "2026-11-22" in path or path.split("/")[0] in DATASETS[:files_written]}
    for path, content in {**half, MARKER: (whole / MARKER).read_bytes()}.items():
        (lake / path).parent.mkdir(parents=True, exist_ok=True)
        (lake / path).write_bytes(content)
    assert in_lake(str(lake)) == in_store(store)[:2]
    assert about_lake(str(lake)).unfinished == 1
    store.write_all([snapshot(4), snapshot(5)])
    assert write_lake(store, str(lake)) == 4
    assert in_lake(str(lake)) == in_store(store)
    assert about_lake(str(lake)).unfinished == 0
    assert files_of(whole).items() <= files_of(lake).items()


def test_killed_at_any_moment(store: Store, tmp_path: Path) -> None:
    """In a process of its own, before everything that it does to a file or folder of the lake."""
    refs = store.refs()[:2]
    write_lake(store, str(tmp_path / "whole"), refs)
    whole, expected = files_of(tmp_path / "whole"), in_store(store)[:2]
    for kill in range(1000):
        lake = tmp_path / f"lake-{kill}"
        pid = os.fork()
        if pid == 0:
            try:
                left = [kill]

                def hook(event: str, args: tuple[object, ...], lake: str = str(lake), left: list[int] = left) -> None:
                    if event in ("open", "os.mkdir", "os.rename") and str(args[0]).startswith(lake):
                        left[0] -= 1
                        if left[0] < 0:
                            os.kill(os.getpid(), signal.SIGKILL)

                sys.addaudithook(hook)
                write_lake(Store.open(str(tmp_path / "store.db")), str(lake), refs)
                os._exit(0)
            finally:
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if (lake / MARKER).exists():
            found = in_lake(str(lake))
            assert found in ([], expected)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        assert write_lake(store, str(lake), refs) in (0, 2)
        assert contents(lake) == whole
    assert kill > 20


def test_what_is_no_lake_is_left_alone(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no lake at"):
        LakeReader(str(tmp_path / "nothing"))
    with pytest.raises(StoreError, match="is no lake, and not empty; it was left as it is"):
        LakeWriter(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["store.db"]
    lake = tmp_path / "lake"
    write_lake(store, str(lake))
    for content, said in (
        (b'{"format": "pmapdiff.lake/2"}', "made by another version of pmapdiff .* upgrade pmapdiff"),
        (b'{"format": "something/1"}', "does not say that this is a lake"),
        (b"[" * 5000, "does not say that this is a lake"),
        (b"[1]", "does not say that this is a lake"),
        (b"\xff", "does not say that this is a lake"),
        (b" " * 100_000, "does not say that this is a lake"),
    ):
        (lake / MARKER).write_bytes(content)
        for use in (LakeReader, LakeWriter):
            with pytest.raises(StoreError, match=said):
                use(str(lake))


def test_other_files_are_none_of_ours(store: Store, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    write_lake(store, str(lake))
    folder = lake / "snapshots" / "day=2026-11-22"
    for path in ("README", "host=web1/notes.parquet", "host=web1/.x.tmp", "host=%zz/x", "host=%FF/x", "x=1/y", "host=%00/x"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(b"x")
    (lake / "snapshots" / "day=yesterday").mkdir()
    assert in_lake(str(lake)) == in_store(store)
    assert write_lake(store, str(lake)) == 0


def test_a_store_is_claimed_by_one_at_a_time(location: str) -> None:
    one, other = Store.open(location), Store.open(location)
    read_end, write_end = os.pipe()
    with claimed(one):
        pid = os.fork()
        if pid == 0:
            try:
                # A descriptor of this process's own: a lock is shared by those that a fork has inherited.
                from pmapdiff.store import engine

                engine._LOOKED_AT.clear()
                os.write(write_end, b"waiting ")
                with claimed(other):
                    os.write(write_end, b"has it")
                os._exit(0)
            finally:
                os._exit(1)
        assert os.read(read_end, 100) == b"waiting "
        os.set_blocking(read_end, False)
        with pytest.raises(BlockingIOError):
            os.read(read_end, 100)
        os.set_blocking(read_end, True)
        one.snapshots()
        Store.open(location, write=True).write(snapshot(0))
    assert os.read(read_end, 100) == b"has it"
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(read_end)
    os.close(write_end)
