"""The database: schema, engine, append, load. The only place that knows SQL."""

from pmapdiff.store.engine import default_location
from pmapdiff.store.filter import EVERYTHING, ProcessFilter
from pmapdiff.store.store import ProcessSummary, SnapshotSummary, Store
from pmapdiff.store.trouble import sqlite_path

__all__ = ["EVERYTHING", "ProcessFilter", "ProcessSummary", "SnapshotSummary", "Store", "default_location", "sqlite_path"]
