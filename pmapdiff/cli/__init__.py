"""The command line: one module a command."""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from pkgutil import iter_modules

import typer

from pmapdiff.cli.app import app
from pmapdiff.errors import PmapdiffError
from pmapdiff.text import printable

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def main() -> None:
    """Run the command line and exit: 0 done, 1 findings (with --exit-code), 2 an error or a bug, 130 interrupted."""
    # Commands are short, and what they make has no cycles: looking for some in a hundred thousand mappings costs a tenth of the time.
    gc.disable()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its escape, not a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    code = _run()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        pass
    # Taking down SQLAlchemy and a hundred thousand mappings one by one would cost 0.05 s and change nothing.
    os._exit(code)


def _run() -> int:
    try:
        typer.main.get_command(app)(prog_name="pmapdiff")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 2
    except PmapdiffError as error:
        sys.stdout.flush()
        sys.stderr.write(f"pmapdiff: {printable(str(error))}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception:
        # Python would exit 1, which means findings here.
        sys.excepthook(*sys.exc_info())
        return 2
    return 0


__all__ = ["app", "main"]
