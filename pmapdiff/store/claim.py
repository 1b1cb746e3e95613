"""Who copies a store somewhere else claims it, so that no two do the same work at once. Recorders and readers do not care."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pmapdiff.store.engine import kept_descriptor
from pmapdiff.store.schema import APPLICATION_ID
from pmapdiff.store.store import Store
from pmapdiff.store.trouble import translated_errors


@contextmanager
def claimed(store: Store) -> Iterator[None]:
    """Wait until nobody else claims this store, and claim it until the end of the block, however that comes.

    A file is locked by flock, of which SQLite takes no notice; on PostgreSQL it is an advisory lock, and needs no right to write.
    """
    path = store.path
    if path is not None:
        with translated_errors(store.location):
            fd = kept_descriptor(path)
        # Some network file systems only lock what is open to be written; then two may do the same work.
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(fd, fcntl.LOCK_UN)
        return
    key = APPLICATION_ID << 32 | 1
    with translated_errors(store.location):
        connection = store.engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({key})")
    try:
        yield
    finally:
        # The server gives the lock back with the connection.
        connection.invalidate()
        connection.close()
