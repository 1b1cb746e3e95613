"""The database: schema, engine, append, load. The only place that knows SQL.

What needs SQLAlchemy is loaded when it is first used: who compares two saved files can do without.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from pmapdiff.store.filter import EVERYTHING, ProcessFilter

if TYPE_CHECKING:
    from pmapdiff.store.engine import check_driver, default_location
    from pmapdiff.store.hosts import HostSummary
    from pmapdiff.store.store import Store
    from pmapdiff.store.summaries import ProcessSummary, SnapshotSummary
    from pmapdiff.store.trouble import sqlite_path

__all__ = [
    "EVERYTHING",
    "HostSummary",
    "ProcessFilter",
    "ProcessSummary",
    "SnapshotSummary",
    "Store",
    "check_driver",
    "default_location",
    "sqlite_path",
]

_PLACES = {
    "HostSummary": "pmapdiff.store.hosts",
    "Store": "pmapdiff.store.store",
    **dict.fromkeys(("ProcessSummary", "SnapshotSummary"), "pmapdiff.store.summaries"),
    **dict.fromkeys(("check_driver", "default_location"), "pmapdiff.store.engine"),
    "sqlite_path": "pmapdiff.store.trouble",
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return found
