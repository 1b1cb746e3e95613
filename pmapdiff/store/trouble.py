"""What a database says when something is wrong, as one line that a user can act on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from pmapdiff.errors import ForbiddenError, StoreError
from pmapdiff.store.holder import sqlite_writer

# How long a writer waits for another one: a snapshot is written in well under a second, a step of pruning too.
BUSY_TIMEOUT_S = 10.0

_SQLITE = (
    ("database or disk is full", "the disk of {location} is full; the store is as it was: make room and try again"),
    ("disk i/o error", "the disk of {location} fails or is full; the store is as it was"),
    (
        "readonly database",
        "the store at {location} may not be written by this user: check its owner and mode, or try again if it is only to be read",
    ),
    ("unable to open", "cannot open {location}: check that its folder exists and belongs to this user"),
    ("malformed", "the database at {location} is damaged: `pmapdiff db check` says where; restore it from a backup"),
    ("not a database", "{location} is not a database; it was left as it is"),
    ("no such table", "the database at {location} is damaged: a table is missing"),
)
_FORBIDDEN = "42501"
# By SQLSTATE, or the class that it begins with (https://www.postgresql.org/docs/current/errcodes-appendix.html); the text is in
# the language of the server.
_POSTGRESQL = (
    (_FORBIDDEN, "the store at {location} may not be read or written by this user: GRANT it what it needs"),
    ("25006", "the store at {location} is read-only (a standby?): nothing was stored"),
    ("42P07", "there are tables of somebody else at {location}; they were left as they are: give pmapdiff a database of its own"),
    ("42P01", "the database at {location} is damaged: a table is missing"),
    ("23505", "somebody else has written to {location} at the same time; nothing was stored: try again"),
    ("53100", "the disk of {location} is full; nothing was stored: make room and try again"),
    ("53300", "the server of {location} has no connection left: try again later"),
    ("55P03", "the store at {location} is locked by somebody else: try again later"),
    ("57014", "the server of {location} gave up a statement that took too long"),
    ("57P", "the server of {location} is going down or coming up: try again later"),
    ("08", "cannot connect to {location}"),
    ("28", "cannot connect to {location}: it does not accept this user or password"),
    ("3D000", "cannot connect to {location}: there is no such database; make it with createdb"),
)


def sqlite_path(location: str) -> Path | None:
    """The file of an SQLite location (a path or a sqlite:/// URL); None if it is another database's URL."""
    if "://" not in location:
        return Path(location).expanduser()
    scheme, _, rest = location.partition("://")
    return Path(rest.removeprefix("/")) if scheme.split("+")[0] == "sqlite" else None


def shown_location(location: str) -> str:
    """A location as it may be printed: without the password of a URL."""
    if "://" not in location:
        return location
    try:
        return make_url(location).render_as_string(hide_password=True)
    except ArgumentError:
        return location.partition("://")[0] + "://..."


def busy(location: str, holder: str | None) -> str:
    """That somebody else is writing, and who."""
    by = f" by {holder}" if holder else " by somebody else"
    return f"the store at {location} is being written{by} for more than {BUSY_TIMEOUT_S:g} s; nothing was stored: try again later"


@contextmanager
def translated_errors(location: str) -> Iterator[None]:
    """Turn what the database says into one StoreError; bugs of ours keep their traceback."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        # Of what is asked without SQLAlchemy.
        raise _sqlite_trouble(location, error) or error from error
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.DatabaseError):
            raise _sqlite_trouble(location, error.orig) or error from error
        said = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
        state = getattr(error.orig, "sqlstate", None)
        for code, advice in _POSTGRESQL:
            if state is not None and state.startswith(code):
                kind = ForbiddenError if code == _FORBIDDEN else StoreError
                raise kind(f"{advice.format(location=location)} ({said})") from error
        if state is None and isinstance(error, OperationalError):
            # Before the server could say anything: no such host, nobody listening, a connection that broke.
            raise StoreError(f"cannot connect to {location}: {said}") from error
        raise


def _sqlite_trouble(location: str, error: sqlite3.DatabaseError) -> StoreError | None:
    """What an error of SQLite means to a user; None for a bug of ours."""
    said = str(error).strip()
    if "database is locked" in said.lower():
        path = sqlite_path(location)
        return StoreError(busy(location, None if path is None else sqlite_writer(path)))
    for sign, advice in _SQLITE:
        if sign in said.lower():
            return StoreError(f"{advice.format(location=location)} ({said})")
    if isinstance(error, sqlite3.ProgrammingError | sqlite3.IntegrityError):
        return None
    return StoreError(f"the database at {location} failed: {said}")


def is_full(error: DBAPIError) -> bool:
    """Whether SQLite had no room to write: it says so, or, where it could not make its own files, that reading or writing failed."""
    said = str(error.orig).lower()
    return "disk is full" in said or "disk i/o" in said
