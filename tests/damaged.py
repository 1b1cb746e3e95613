"""Saved files that were cut off or damaged: what every importer has to do with them."""

from __future__ import annotations

from collections.abc import Iterable

from saved_samples import sample

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, parse_saved
from pmapdiff.text import printable


def maps_of(name: str) -> SavedTable:
    """The table of one of the processes of the samples, as `cat /proc/PID/maps` gave it."""
    (table,) = parse_saved(sample(f"proc/{name}.maps"), "maps", "maps")
    return table


def outcome(data: bytes, form: str | None = None, *, partial: bool = False) -> list[SavedTable] | FormatError:
    """The tables of a file, or the one error that it may raise: a line that is fit for a terminal."""
    try:
        tables = parse_saved(data, "f", form, partial=partial)
    except FormatError as error:
        refused = error
    else:
        assert tables
        return tables
    assert printable(str(refused)) == str(refused)
    assert len(str(refused)) < 600
    assert refused.line is None or 1 <= refused.line <= data.count(b"\n") + 1
    return refused


def check_cut(data: bytes, lengths: Iterable[int]) -> tuple[int, int]:
    """Judge what comes of the first bytes of a file: whole tables, or none unless parts are wanted, and those are marked as parts.

    Gives how many of these were refused, and how many gave parts when parts were wanted.
    """
    whole = parse_saved(data, "f")
    refused = parts = 0
    for length in lengths:
        strict, lenient = outcome(data[:length]), outcome(data[:length], partial=True)
        if isinstance(strict, FormatError):
            refused += 1
        else:
            assert [found.table for found in strict] == [table.table for table in whole][: len(strict)], length
        if isinstance(lenient, FormatError):
            continue
        for found, table in zip(lenient, whole, strict=False):
            if found.table != table.table:
                parts += 1
                assert found.table.mappings == table.table.mappings[: len(found.table.mappings)], length
                assert found.partial, length
                assert any("only a part" in warning for warning in found.warnings), length
    return refused, parts
