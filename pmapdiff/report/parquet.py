"""Parquet, by pyarrow (extra `parquet`): typed columns, compressed; a missing value is null."""

from __future__ import annotations

from itertools import chain, repeat
from typing import Any, TextIO

from pmapdiff.errors import UsageError
from pmapdiff.report.base import View, register
from pmapdiff.report.columns import Kind, kind_of
from pmapdiff.report.flat import Flat, Rows

# Rows that are held until they are written together: small groups compress badly and read slowly.
_GROUP = 1 << 16


@register("export", "parquet")
def write_flat(result: Flat, view: View, out: TextIO) -> None:
    """The rows of any number of snapshots, some ten thousand a row group. Raises UsageError without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UsageError(f"Parquet needs pyarrow ({error}): pip install 'pmapdiff[parquet]'") from None

    types = {
        Kind.INTEGER: pa.int64(),
        Kind.UNSIGNED: pa.uint64(),
        Kind.FLAG: pa.bool_(),
        Kind.MOMENT: pa.timestamp("us", tz="UTC"),
        # What repeats is written once by Parquet itself.
        Kind.WORD: pa.string(),
        Kind.TEXT: pa.string(),
    }
    schema = pa.schema([(name, types[kind_of(name)]) for name in result.table.columns(view)])
    heads, tails = schema.types[: len(result.table.head)], schema.types[len(result.table.head) :]

    def encoded(rows: Rows) -> Any:
        """The columns of these rows; None of no row."""
        if rows.encoded is None:
            columns = list(zip(*rows.cells(), strict=True))
            rows.encoded = [pa.array(column, kind) for column, kind in zip(columns, tails, strict=True)] if columns else []
        return rows.encoded

    def write_group() -> None:
        lengths = [len(columns[0]) for _, columns in group]
        shared = zip(*(head for head, _ in group), strict=True)
        repeated = [pa.array(chain.from_iterable(map(repeat, column, lengths)), kind) for column, kind in zip(shared, heads, strict=True)]
        others = [pa.chunked_array(arrays) for arrays in zip(*(columns for _, columns in group), strict=True)]
        writer.write_table(pa.table([*repeated, *others], schema=schema))
        group.clear()

    group: list[tuple[tuple[Any, ...], Any]] = []
    waiting = 0
    with pq.ParquetWriter(out.buffer, schema, compression="zstd") as writer:
        for block in result.table.blocks(result.snapshots, view):
            if columns := encoded(block.rows):
                group.append((block.head, columns))
                waiting += len(columns[0])
            if waiting >= _GROUP:
                write_group()
                waiting = 0
        if group:
            write_group()
