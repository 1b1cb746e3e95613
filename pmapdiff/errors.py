"""The errors that end a command, each with the exit code it stands for.

A `PmapdiffError` is something the user can act on: `main()` prints its message as one line and
exits with `exit_code`. Anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations


class PmapdiffError(Exception):
    """A failure that the user can do something about; the message is one line and says what."""

    exit_code = 2


class PmapdiffWarning(UserWarning):
    """Something is wrong with a saved file that could be read all the same."""


class UsageError(PmapdiffError):
    """Options or arguments that contradict each other or cannot be read."""


class FormatError(PmapdiffError):
    """A saved file that is not what it should be.

    `line` counts from 1; None where the trouble is not on one line.
    """

    def __init__(self, message: str, *, source: str = "<input>", line: int | None = None) -> None:
        where = source if line is None else f"{source}:{line}"
        super().__init__(f"{where}: {message}")
        self.reason = message
        self.source = source
        self.line = line


class StoreError(PmapdiffError):
    """The database cannot be used as it is."""


class ForbiddenError(StoreError):
    """The database does not let this user do that."""


class NotFoundError(PmapdiffError):
    """Nothing in the store, or no process, is what was asked for."""


class CaptureError(PmapdiffError):
    """The recorder could not do its work at all (one failed process is a status, not an error)."""
