"""A file that is damaged, or newer than we are: said, and never a bug."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import Runner, Target
from programs.kept import Kept, clean, made

from pmapdiff.store.schema import HEAD


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
