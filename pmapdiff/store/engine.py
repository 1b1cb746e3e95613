"""Opening a database: where it is, whether it is ours, how it is connected to.

SQLite files are in WAL mode with foreign keys, a busy timeout and durable commits; the file is 0600 and a folder that we
make is 0700. A file that is not ours, or newer than we are, is refused before anything touches it.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from pmapdiff.errors import NotFoundError, StoreError
from pmapdiff.store.holder import postgresql_writer
from pmapdiff.store.schema import APPLICATION_ID, HEAD, REVISIONS
from pmapdiff.store.trouble import BUSY_TIMEOUT_S, busy, shown_location, sqlite_path, translated_errors
from pmapdiff.text import digest_of

# In a connection's `info`: whether the next transaction only reads, though the engine is one that may write.
READING = "pmapdiff_reading"
# A client that has not said anything for so long within a transaction is gone, or should be.
_SILENCE_S = 60
_LOCK_NOT_AVAILABLE = "55P03"
_MAGIC = b"SQLite format 3\0"


def default_location(*, root: bool | None = None) -> str:
    """Where the database is if nobody says: /var/lib for root (who asks, unless it is said), else the user's XDG state folder."""
    if os.geteuid() == 0 if root is None else root:
        return "/var/lib/pmapdiff/pmapdiff.db"
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return str(Path(state) / "pmapdiff" / "pmapdiff.db")


# Descriptors of the files that were looked at, by device and inode. They stay open: to close one drops every lock that this process has
# on the file, SQLite's too, and somebody else then takes the log away under a connection (https://www.sqlite.org/howtocorrupt.html, 2.2).
_LOOKED_AT: dict[tuple[int, int], int] = {}


def kept_descriptor(path: Path) -> int:
    """A descriptor of a file, to be read, that stays open. Raises OSError."""
    status = path.stat()
    fd = _LOOKED_AT.get((status.st_dev, status.st_ino))
    if fd is None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(fd)
        _LOOKED_AT[status.st_dev, status.st_ino] = fd
    return fd


def _read_header(path: Path) -> bytes:
    """The first 100 bytes of a file. Raises OSError."""
    return os.pread(kept_descriptor(path), 100, 0)


def _check_file(path: Path) -> bool:
    """Whether there is a database of ours at `path`; False if there is no file, or one with nothing in it yet.

    Raises StoreError if the file is something else. Reads the 100 bytes of SQLite's file header
    (https://www.sqlite.org/fileformat.html) and nothing more.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise StoreError(f"{path} is no file: name another with --db")
        header = _read_header(path)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        raise StoreError(f"{path} is a folder, not a database: name the file, for example {path / 'pmapdiff.db'}") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from None
    if not header:
        return False
    if not header.startswith(_MAGIC) or len(header) < 100:
        raise StoreError(f"{path} is not a database; it was left as it is: name another file with --db")
    application_id, schema_cookie = (int.from_bytes(header[at : at + 4], "big") for at in (68, 40))
    if application_id == schema_cookie == 0 and any(header[16:18]):
        # A database in which nothing was ever made: we were interrupted before the first table.
        return False
    if application_id != APPLICATION_ID:
        raise StoreError(f"{path} is a database, but not one of pmapdiff; it was left as it is: name another file with --db")
    return True


def _create_file(path: Path) -> None:
    try:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700, parents=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(f"cannot create {path}: {error.strerror}: choose another place with --db or PMAPDIFF_DB") from None


def _is_full(folder: Path) -> bool:
    """Whether there is no room for the index of a log, which is 32 KiB."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize < 1 << 16


def _has_log(path: Path) -> bool:
    try:
        return Path(f"{path}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def use_wal(cursor: Any) -> None:
    """Switch the file to WAL mode, where it stays; if somebody else has it locked now, the next writer does it."""
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise


def _sqlite_engine(path: Path, *, write: bool, existing: bool, foreign_keys: bool = True) -> Engine:
    target = path.resolve()
    # A WAL database in a folder that we cannot write to can only be read if nobody else has it open.
    frozen = not write and not os.access(target.parent, os.W_OK) and not Path(f"{target}-wal").exists()
    mode = "rw" if write else "ro"
    uri = f"{target.as_uri()}?mode={mode}{'&immutable=1' if frozen else ''}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        if write or frozen:
            return connection
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            # Even a reader makes the index of the log. On a full disk it cannot; where the log is empty there is nothing to index, and as
            # long as nobody can write, the file does not change.
            if not _is_full(target.parent) or _has_log(target):
                raise
            connection.close()
            return sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None, check_same_thread=False)
        return connection

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")
        cursor.execute("PRAGMA synchronous=FULL")
        # A recorder may stay for months: what it keeps of the file must not grow with the file.
        cursor.execute(f"PRAGMA cache_size=-{8192 if write else 65536}")
        # A large first snapshot must not leave a large -wal file behind for as long as the recorder runs.
        cursor.execute("PRAGMA journal_size_limit=4194304")
        if write and not existing:
            # Only possible while the file has no table: space can then be given back without rewriting the whole file.
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
        if write and existing:
            # Not before the schema is there: the first pages would reach the file without our application_id.
            use_wal(cursor)
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # IMMEDIATE: a writer that only asks for the lock at its first write could not wait for it.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write and not connection.info.get(READING) else "BEGIN")

    return engine


# Of libpq, where the URL does not say otherwise: whoever is cut off from the server notices, and by its name whoever waits for a writer is told who.
_LIBPQ: dict[str, str | int] = {
    "fallback_application_name": "pmapdiff",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


def _other_engine(location: str, *, write: bool, alone: bool = False) -> Engine:
    try:
        url = make_url(location)
        known = _LIBPQ if url.get_driver_name() in ("psycopg", "psycopg2") else {}
        engine = create_engine(url, poolclass=NullPool, connect_args={name: value for name, value in known.items() if name not in url.query})
    except (ArgumentError, NoSuchModuleError) as error:
        raise StoreError(f"{shown_location(location)} is no database URL that can be used: write postgresql+psycopg://USER@HOST/NAME") from error
    except ModuleNotFoundError as error:
        package = "'pmapdiff[postgres]'" if location.startswith("postgresql") else error.name
        raise StoreError(f"the driver for {location.partition('://')[0]} is not installed: pip install {package}") from None
    if write and engine.dialect.name == "postgresql":

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            # Writers of different hosts do not wait for each other; whoever removes rows, or changes the schema, is alone.
            if not connection.info.get(READING):
                _lock_postgresql(connection, f"pg_advisory_xact_lock{'' if alone else '_shared'}({APPLICATION_ID})")

    return engine


def check_driver(location: str) -> None:
    """Raises StoreError if this is a URL that cannot be used, or one whose driver is not installed. Connects to nothing."""
    if sqlite_path(location) is None:
        _other_engine(location, write=False)


def lock_hosts(connection: Connection, names: Collection[str]) -> None:
    """Be the only writer of these hosts until the end of the transaction; in a file, whoever writes is that anyway."""
    if connection.dialect.name == "postgresql":
        # In the same order everywhere, so that no two wait for each other.
        for key in sorted({int.from_bytes(digest_of(name.encode("utf-8", "surrogateescape"))[:4], "big", signed=True) for name in names}):
            _lock_postgresql(connection, f"pg_advisory_xact_lock({APPLICATION_ID}, {key})")


def _lock_postgresql(connection: Connection, lock: str) -> None:
    """Take a lock until the end of the transaction. Raises StoreError with who has it if it takes too long.

    Waiting is the server's business: whoever came first gets it first. It takes the lock away again from a client that says nothing any more.
    """
    settings = f"set_config('lock_timeout', '{BUSY_TIMEOUT_S:g}s', true), set_config('idle_in_transaction_session_timeout', '{_SILENCE_S}s', true)"
    try:
        connection.exec_driver_sql(f"SELECT {settings}")
        connection.exec_driver_sql(f"SELECT {lock}")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raw = connection.connection
        raw.rollback()
        raise StoreError(busy(shown_location(str(connection.engine.url)), postgresql_writer(raw.cursor()))) from error


def pruning_engine(location: str) -> Engine:
    """An engine for a store that is open already, whose user is alone; for SQLite it does not check foreign keys: only pruning does without."""
    path = sqlite_path(location)
    if path is None:
        return _other_engine(location, write=True, alone=True)
    return _sqlite_engine(path, write=True, existing=True, foreign_keys=False)


def open_engine(location: str, *, write: bool) -> Engine:
    """An engine for the store at `location` (path or URL), made or upgraded if `write`.

    Raises StoreError if it is not ours, is newer than this version or cannot be opened, and NotFoundError if there is none
    and it is only to be read.
    """
    path = sqlite_path(location)
    if path is not None:
        existing = _check_file(path)
        if not existing and not write:
            raise NotFoundError(f"there is no store at {path} yet: make one with `pmapdiff record`, or name another with --db")
        if existing:
            # Looked at without the right to write: even the change to WAL mode must wait until we know that it is ours to make.
            _check_revision(_sqlite_engine(path, write=False, existing=True), location)
        else:
            _create_file(path)
        engine = _sqlite_engine(path, write=write, existing=existing)
    else:
        engine = _other_engine(location, write=write)
    shown = shown_location(location)
    with translated_errors(shown):
        found = _check_revision(engine, shown)
        if found != HEAD:
            if not write:
                raise StoreError(f"the store at {shown} has schema {found or 'none'}, this version reads {HEAD}: run `pmapdiff db upgrade`")
            from pmapdiff.store.migrate import upgrade

            upgrade(engine if path is not None else _other_engine(location, write=True, alone=True))
    return engine


def _check_revision(engine: Engine, location: str) -> str | None:
    """The schema revision of a store, None if it has none yet. Raises StoreError if it is newer than we are."""
    with translated_errors(location):
        found = current_revision(engine)
    if found is not None and not re.fullmatch("[0-9]{4}", found):
        raise StoreError(f"{location} is a database, but not one of pmapdiff; it was left as it is: name another with --db")
    if found is not None and found not in REVISIONS:
        raise StoreError(
            f"the store at {location} has schema {found}, made by a newer pmapdiff (this one knows up to {HEAD}); "
            "it was left as it is: upgrade pmapdiff"
        )
    return found


def current_revision(engine: Engine) -> str | None:
    """The schema revision of a store; None if it has none yet. Does not load Alembic."""
    with engine.connect() as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            return None
        row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])
