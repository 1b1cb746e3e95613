"""Reading Parquet files that anybody may have written: checked before and while they are unpacked, column by column."""

from __future__ import annotations

import io
from collections.abc import Container, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Far above what is written: a part is cut at some hundred thousand rows, of a few MB.
MOST_BYTES = 1 << 28
_MOST_UNPACKED = 1 << 31
_MOST_UNPACKED_A_GROUP = 1 << 29
_MOST_ROWS = 1 << 23
_MOST_ROWS_A_GROUP = 1 << 17
# The year 9999, in µs since the epoch.
_LAST_MOMENT_US = 253_402_300_800_000_000


class DamageError(Exception):
    """What is wrong with a file, in a few words."""


# Which of some values each row has.
Codes: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


class Column(NamedTuple):
    """The values of a column, each of them once, and which one each row has."""

    values: list[Any]
    codes: Codes

    @property
    def rows(self) -> list[Any]:
        """The value of each row; equal ones are the same object."""
        if len(self.values) == 1:
            return self.values * len(self.codes)
        return list(map(self.values.__getitem__, self.codes.tolist()))


class ParquetColumns:
    """The columns that a schema names of a file with this content. Raises DamageError, and what pyarrow raises."""

    def __init__(self, content: bytes, schema: pa.Schema) -> None:
        self._schema = schema
        plain = pq.ParquetFile(io.BytesIO(content))
        about = plain.metadata
        sizes = [about.row_group(number) for number in range(about.num_row_groups)]
        demand(about.num_rows <= _MOST_ROWS, f"it has {about.num_rows:,} rows")
        demand(sum(group.num_rows for group in sizes) == about.num_rows, "its groups do not add up to its rows")
        demand(all(0 <= group.num_rows <= _MOST_ROWS_A_GROUP for group in sizes), "it has too many rows in a group")
        demand(all(0 <= group.total_byte_size <= _MOST_UNPACKED_A_GROUP for group in sizes), "it would unpack to too many bytes")
        demand(sum(group.total_byte_size for group in sizes) <= _MOST_UNPACKED, "it would unpack to too many bytes")
        found = plain.schema_arrow
        for field in schema:
            demand(found.names.count(field.name) == 1, f"it has no column {field.name}")
            kind = found.field(field.name).type
            demand(kind.equals(field.type), f"its column {field.name} is {str(kind)[:40]}, not {field.type}")
        # Texts as numbers of those that there are: a layout of a KB stands in every row.
        texts = [field.name for field in schema if _is_text(field.type)]
        self._file = pq.ParquetFile(io.BytesIO(content), metadata=about, page_checksum_verification=True, read_dictionary=texts)

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return int(self._file.metadata.num_rows)

    def groups(self, names: Sequence[str], processes: Container[int] | None = None, of: int = 0) -> Iterator[list[Column]]:
        """These columns, one group of rows after the other; with `processes` only rows that are about these of so many processes."""
        wanted = None if processes is None else [number for number in range(of) if number in processes]
        for number in range(self._file.metadata.num_row_groups):
            if wanted is not None and not self._may_have(number, wanted, of):
                continue
            table = self._file.read_row_group(number, columns=list(names))
            table.validate(full=True)
            if wanted is not None and table.num_rows:
                owners = table.column("process")
                low, high = pc.min_max(owners).values()
                demand(not owners.null_count and 0 <= low.as_py() <= high.as_py() < of, "it has rows of a process that is not there")
                if len(wanted) < of:
                    table = table.filter(pc.is_in(owners, pa.array(wanted, pa.int32())))
            if table.num_rows:
                yield [self._column(name, table.column(name)) for name in names]

    def _may_have(self, number: int, wanted: Sequence[int], of: int) -> bool:
        """Whether a group may have rows of a wanted process: what it says of itself is only taken to pass over what nobody wants."""
        about = self._file.metadata.row_group(number)
        for place in range(about.num_columns if len(wanted) < of else 0):
            column = about.column(place)
            if column.path_in_schema == "process" and column.is_stats_set and column.statistics.has_min_max:
                low, high = column.statistics.min, column.statistics.max
                return any(low <= process <= high for process in wanted)
        return True

    def _column(self, name: str, column: pa.ChunkedArray) -> Column:
        field = self._schema.field(name)
        demand(field.nullable or not column.null_count, f"its column {name} has gaps")
        if pa.types.is_timestamp(field.type):
            column = column.cast(pa.int64())
        # Not combine_chunks of a chunked array, which may give back several.
        array = pa.concat_arrays(column.unify_dictionaries().chunks)
        encoded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
        values = encoded.dictionary.to_pylist()
        demand(None not in values, f"its column {name} has gaps")
        indices = encoded.indices
        if indices.null_count:
            indices = indices.fill_null(len(values))
            values.append(None)
        _check(name, field.type, values)
        return Column(values, indices.to_numpy(zero_copy_only=False).astype(np.int64))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _check(name: str, kind: pa.DataType, values: list[Any]) -> None:
    if pa.types.is_string(kind):
        # Neither a program nor a kernel has such a text, and PostgreSQL cannot keep it.
        demand(not any(value and "\0" in value for value in values), f"its column {name} has a text with a NUL")
    elif pa.types.is_timestamp(kind):
        demand(all(value is None or abs(value) < _LAST_MOMENT_US for value in values), f"its column {name} has what is no time")


def distinct(columns: Sequence[Column]) -> tuple[list[tuple[Any, ...]], Codes]:
    """The rows that these columns make together, each of them once, and which one each row is."""
    key = np.zeros(len(columns[0].codes), np.int64)
    span = 1
    for column in columns:
        width = len(column.values)
        if width == 1:
            continue
        if span * width >= 1 << 62:
            _, key = np.unique(key, return_inverse=True)
            span = int(key.max()) + 1
        key = key * width + column.codes
        span *= width
    _, places, codes = np.unique(key, return_index=True, return_inverse=True)
    picked = [Column(column.values, column.codes[places]).rows for column in columns]
    return list(zip(*picked, strict=True)), codes


def demand(holds: bool, otherwise: str) -> None:
    """Raise DamageError unless this holds."""
    if not holds:
        raise DamageError(otherwise)
