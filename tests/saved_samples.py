"""The samples in tests/data/saved: most show one stopped process in another form each."""

from __future__ import annotations

from pathlib import Path

from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.formats.saved import read_saved
from pmapdiff.model import MappingTable

SAVED = Path(__file__).resolve().parent / "data" / "saved"


def sample(path: str) -> bytes:
    return (SAVED / path).read_bytes()


def tables(path: str, *, partial: bool = False) -> list[SavedTable]:
    return read_saved(str(SAVED / path), partial=partial)


def table(path: str) -> SavedTable:
    (only,) = tables(path)
    return only


def smaps_of_worker() -> MappingTable:
    """All that is to be known of the process."""
    (only,) = parse_saved(sample("proc/worker.smaps"), "worker.smaps")
    return only.table
