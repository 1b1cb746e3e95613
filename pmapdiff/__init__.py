"""Record the memory mappings of Linux processes and say what changed between any two moments.

    import pmapdiff

    with pmapdiff.open("pmapdiff.db") as store:
        print(store.compare("2h ago", "latest", name="redis"))

Everything that stands in `__all__` is loaded when it is first used: see docs/python.md.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pmapdiff.api.report import Report as Report
    from pmapdiff.api.results import Diff as Diff
    from pmapdiff.api.results import History as History
    from pmapdiff.api.results import Hosts as Hosts
    from pmapdiff.api.results import Leaks as Leaks
    from pmapdiff.api.results import Processes as Processes
    from pmapdiff.api.results import Series as Series
    from pmapdiff.api.results import Snapshots as Snapshots
    from pmapdiff.api.results import Table as Table
    from pmapdiff.api.results import Tables as Tables
    from pmapdiff.api.store import Store as Store
    from pmapdiff.api.store import compare as compare
    from pmapdiff.api.store import open_store as open
    from pmapdiff.api.store import table as table
    from pmapdiff.api.store import tables as tables
    from pmapdiff.errors import FormatError as FormatError
    from pmapdiff.errors import NotFoundError as NotFoundError
    from pmapdiff.errors import PmapdiffError as PmapdiffError
    from pmapdiff.errors import PmapdiffWarning as PmapdiffWarning
    from pmapdiff.errors import StoreError as StoreError
    from pmapdiff.errors import UsageError as UsageError

__version__ = "0.1.0"

_RESULTS = ("Diff", "History", "Hosts", "Leaks", "Processes", "Series", "Snapshots", "Table", "Tables")
_ERRORS = ("FormatError", "NotFoundError", "PmapdiffError", "PmapdiffWarning", "StoreError", "UsageError")
# Where each name is, and what it is called there.
_PLACES = {
    **dict.fromkeys(_RESULTS, "pmapdiff.api.results"),
    **dict.fromkeys(("Store", "compare", "open", "table", "tables"), "pmapdiff.api.store"),
    "Report": "pmapdiff.api.report",
    **dict.fromkeys(_ERRORS, "pmapdiff.errors"),
}
_CALLED = {"open": "open_store"}

__all__ = (
    "Diff",
    "FormatError",
    "History",
    "Hosts",
    "Leaks",
    "NotFoundError",
    "PmapdiffError",
    "PmapdiffWarning",
    "Processes",
    "Report",
    "Series",
    "Snapshots",
    "Store",
    "StoreError",
    "Table",
    "Tables",
    "UsageError",
    "__version__",
    "compare",
    "open",
    "table",
    "tables",
)


class _Package(ModuleType):
    """What this package is. To import a part of it that has the name of a function must not put that in its place: `pmapdiff.compare` is called."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _PLACES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


# Checkers of types would take every name for one of ours.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_PLACES[name]), _CALLED.get(name, name))
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
