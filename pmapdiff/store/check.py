"""`db check`: whether the database keeps its promises."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator

from sqlalchemy import Integer, LargeBinary, Table, Text, case, func, or_, select
from sqlalchemy.engine import Connection

from pmapdiff.model import FIGURES, Mapping
from pmapdiff.store.load import totals_of_capture
from pmapdiff.store.schema import LASTING, STATUSES, WITH_TABLE, capture, metadata, process, snapshot, totals, usage
from pmapdiff.store.tables import TableReader
from pmapdiff.text import digest_of

TextOf = Callable[[Iterable[Mapping]], bytes]
# SQLite keeps a value of any type in any column; what each should have, by its type in the schema.
_TYPES = ((Integer, "integer"), (LargeBinary, "blob"), (Text, "text"))
# The year 9999, in µs since the epoch.
_LAST_MOMENT_US = 253_402_300_800_000_000


def check_store(connection: Connection, *, tables: bool, text_of: TextOf | None = None) -> list[str]:
    """What is wrong, one sentence each; an empty list for a sound store. Never raises for what is in the rows.

    Beside the database's own check: every value has its type, every capture with a table has totals, no two intervals of a mapping
    overlap, and (with `tables`) every stored table adds up to its totals, and, given back by `text_of`, to the digest of the text that
    was read. O(n log n) in the rows.
    """
    problems: list[str] = []
    if connection.dialect.name == "sqlite":
        problems += [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(20)") if row[0] != "ok"]
        problems += [
            f"{row[0]}: a row refers to a row of {row[2]} that is not there" for row in connection.exec_driver_sql("PRAGMA foreign_key_check")
        ]
        if not problems:
            problems += [problem for table in metadata.sorted_tables for problem in _wrong_types(connection, table)]
        if problems:
            return problems
    problems += _senseless_values(connection)
    orphans = (
        select(capture.c.process_id, capture.c.snapshot_id)
        .join_from(capture, totals, totals_of_capture(), isouter=True)
        .where(capture.c.status.in_(WITH_TABLE), totals.c.process_id.is_(None))
    )
    problems += [f"process row {p}, snapshot {s}: it has a table but no totals" for p, s in connection.execute(orphans)]
    previous = func.lag(usage.c.last_snapshot).over(
        partition_by=[usage.c.process_id, usage.c.no], order_by=[usage.c.first_snapshot, usage.c.last_snapshot]
    )
    spans = select(usage.c.process_id, usage.c.no, usage.c.first_snapshot, usage.c.last_snapshot, previous.label("previous")).subquery()
    overlapping = select(spans.c.process_id, spans.c.no, spans.c.first_snapshot).where(spans.c.previous >= spans.c.first_snapshot)
    problems += [f"process row {p}, mapping {n}: intervals overlap at snapshot {s}" for p, n, s in connection.execute(overlapping)]
    earlier = func.lag(totals.c.last_snapshot).over(partition_by=totals.c.process_id, order_by=totals.c.first_snapshot)
    sums = select(totals.c.process_id, totals.c.first_snapshot, earlier.label("earlier")).subquery()
    doubled = select(sums.c.process_id, sums.c.first_snapshot).where(sums.c.earlier >= sums.c.first_snapshot)
    problems += [f"process row {p}: its totals overlap at snapshot {s}" for p, s in connection.execute(doubled)]
    wrong = select(usage.c.process_id, usage.c.no).where(or_(usage.c.last_snapshot < usage.c.first_snapshot, usage.c.last_snapshot > LASTING))
    problems += [f"process row {p}, mapping {n}: an interval ends before it begins" for p, n in connection.execute(wrong)]
    if tables and not problems:
        reader = TableReader(connection)
        for (process_id,) in connection.execute(select(totals.c.process_id).distinct().order_by(totals.c.process_id)).fetchall():
            try:
                problems += _wrong_tables(connection, reader, process_id, text_of)
            except (LookupError, TypeError, ValueError, ArithmeticError) as error:
                problems.append(f"process row {process_id}: its tables cannot be read ({type(error).__name__}: {error})")
    return problems


def _wrong_types(connection: Connection, table: Table) -> Iterator[str]:
    expected = {column: name for column in table.columns for kind, name in _TYPES if isinstance(column.type, kind)}
    # All columns in one pass over the rows.
    wrong = [func.count(case((func.typeof(column).not_in([name, "null"]), 1))) for column, name in expected.items()]
    counts = connection.execute(select(*wrong).select_from(table)).one()
    for (column, name), count in zip(expected.items(), counts, strict=True):
        if count:
            yield f"{table.name}: {count} rows have something else than {name} in {column.name}"


def _senseless_values(connection: Connection) -> Iterator[str]:
    for number, status in connection.execute(select(capture.c.snapshot_id, capture.c.status).where(capture.c.status.not_in(STATUSES)).limit(20)):
        yield f"snapshot {number}: a capture has the status {status}, which there is not"
    for number, moment in connection.execute(
        select(snapshot.c.id, snapshot.c.taken_at).where(or_(snapshot.c.taken_at < -_LAST_MOMENT_US, snapshot.c.taken_at >= _LAST_MOMENT_US))
    ):
        yield f"snapshot {number}: {moment} is no time"
    for table in (capture, totals):
        lost = select(table.c.process_id).where(table.c.process_id.not_in(select(process.c.id))).distinct().limit(20)
        for (number,) in connection.execute(lost):
            yield f"process row {number}: it is not there, but its {table.name} rows are"


def _wrong_tables(connection: Connection, reader: TableReader, process_id: int, text_of: TextOf | None) -> Iterator[str]:
    """Whether the tables of a process add up, in one pass over its intervals: what begins is added, what ends is taken off."""
    begins: dict[int, list[int]] = {}
    ends: dict[int, list[int]] = {}
    history = reader.history(process_id)
    for number, (first, last, _) in enumerate(history):
        begins.setdefault(first, []).append(number)
        ends.setdefault(last + 1, []).append(number)
    sums, missing = [0] * len(FIGURES), [0] * len(FIGURES)
    texts: dict[int, bytes | None] = {}
    # What stands in the table at the moment, in the order of addresses.
    standing: list[tuple[int, int, int]] = []
    rows = connection.execute(select(totals).where(totals.c.process_id == process_id).order_by(totals.c.first_snapshot)).fetchall()
    moments = sorted({*begins, *ends})
    position = 0
    for row in rows:
        while position < len(moments) and moments[position] <= row.first_snapshot:
            for sign, changes in ((-1, ends), (1, begins)):
                for number in changes.get(moments[position], ()):
                    mapping = history[number][2]
                    place = (mapping.start, mapping.end, number)
                    if sign > 0:
                        insort(standing, place)
                    else:
                        del standing[bisect_left(standing, place)]
                    for i, value in enumerate(mapping.figures):
                        if value is None:
                            missing[i] += sign
                        else:
                            sums[i] += sign * value
            position += 1
        # The totals of a table without counters are not sums of it (see Status.MAPS_ONLY).
        added = [kept if lacking else total for total, lacking, kept in zip(sums, missing, row[-len(FIGURES) :], strict=True)]
        if (len(standing), *added) != (row.mappings, *row[-len(FIGURES) :]):
            yield f"process row {process_id}, snapshot {row.first_snapshot}: the table does not add up to its totals"
        elif row.digest is not None and text_of is not None:
            for _, _, number in standing:
                if number not in texts:
                    mapping = history[number][2]
                    texts[number] = None if mapping.layout is None else text_of([mapping])
            parts = [texts[number] for _, _, number in standing]
            # Only a text of smaps can be given back.
            if None not in parts and digest_of(b"".join(part for part in parts if part is not None)) != bytes(row.digest):
                yield f"process row {process_id}, snapshot {row.first_snapshot}: the table is not the one that was read"
