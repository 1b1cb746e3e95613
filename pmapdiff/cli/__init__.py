"""The command line: one module a command."""

from __future__ import annotations

import errno
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from pmapdiff.errors import PmapdiffError
from pmapdiff.text import printable

if TYPE_CHECKING:
    import typer


def load_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """The application with the command that these arguments name, or with all commands if they name none.

    To make Typer look at all of them costs 0.02 s, which a recorder in a crontab can do without.
    """
    from pmapdiff.cli._app import app

    modules = {module.name.rstrip("_"): module.name for module in iter_modules(__path__) if not module.name.startswith("_")}
    name = modules.get(_command_name(arguments))
    for module in [name] if name is not None else modules.values():
        import_module(f"{__name__}.{module}")
    return app


def _command_name(arguments: Sequence[str]) -> str:
    """The first word that is neither a global option nor the value of one."""
    words = iter(arguments)
    for word in words:
        if word == "--db":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


def main() -> None:
    """Run the command line and exit: 0 done, 1 findings (with --exit-code), 2 an error or a bug, 130 interrupted."""
    # Commands are short, and what they make has no cycles: looking for some in a hundred thousand mappings costs a tenth of the time.
    gc.disable()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its escape, not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    code = _run(sys.argv[1:])
    _forget_stores()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        code = _cannot_write(error)
    # Taking down SQLAlchemy and a hundred thousand mappings one by one would cost 0.05 s and change nothing.
    os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    import typer

    try:
        typer.main.get_command(load_app(arguments))(prog_name="pmapdiff")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 2
    except PmapdiffError as error:
        sys.stdout.flush()
        sys.stderr.write(f"pmapdiff: {printable(str(error))}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if error.errno == errno.ENOSPC and error.filename is None:
            return _cannot_write(error)
        return _bug()
    except Exception:
        return _bug()
    return 0


def _bug() -> int:
    """Print the traceback; Python would exit 1, which means findings here. If a store is damaged, that is said instead."""
    failure = sys.exc_info()[1]
    damage = _damage(failure)
    if damage is not None:
        sys.stdout.flush()
        sys.stderr.write(f"pmapdiff: {printable(damage)} ({type(failure).__name__})\n")
        return 2
    sys.excepthook(*sys.exc_info())
    return 2


def _forget_stores() -> None:
    from pmapdiff.cli._app import OPENED

    OPENED.clear()


def _damage(failure: BaseException | None) -> str | None:
    """What is wrong with a store that was used; None if all are sound."""
    from pmapdiff.cli._app import OPENED

    # Only values that make no sense can be a table's fault; to read every table takes long.
    tables = isinstance(failure, LookupError | TypeError | ValueError | ArithmeticError | AssertionError)
    for store in OPENED:
        try:
            problems = store.check(tables=tables)
        except PmapdiffError as error:
            return str(error)
        except Exception:
            continue
        if problems:
            return f"the database at {store.location} is damaged: {problems[0]}; `pmapdiff db check` says more, and a backup may help"
    return None


def _cannot_write(error: OSError) -> int:
    sys.stderr.write(f"pmapdiff: cannot write the output: {error.strerror}\n")
    return 2


__all__ = ["load_app", "main"]
