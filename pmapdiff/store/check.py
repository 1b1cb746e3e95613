"""`db check`: whether the database keeps its promises."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, or_, select
from sqlalchemy.engine import Connection

from pmapdiff.model import FIGURES
from pmapdiff.store.load import TableReader, totals_of_capture
from pmapdiff.store.schema import OPEN_SEQ, WITH_TABLE, capture, totals, usage


def check_store(connection: Connection, *, tables: bool) -> list[str]:
    """What is wrong, one sentence each; an empty list for a sound store.

    Beside the database's own check: every capture with a table has totals, no two intervals of a mapping
    overlap, and (with `tables`) every stored table adds up to its totals. O(n log n) in the rows.
    """
    problems: list[str] = []
    if connection.dialect.name == "sqlite":
        problems += [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(20)") if row[0] != "ok"]
        problems += [
            f"{row[0]}: a row refers to a row of {row[2]} that is not there" for row in connection.exec_driver_sql("PRAGMA foreign_key_check")
        ]
        if problems:
            return problems
    orphans = (
        select(capture.c.process_id, capture.c.seq)
        .join_from(capture, totals, totals_of_capture(), isouter=True)
        .where(capture.c.status.in_(WITH_TABLE), totals.c.process_id.is_(None))
    )
    problems += [f"process row {p}, capture {s}: it has a table but no totals" for p, s in connection.execute(orphans)]
    previous = func.lag(usage.c.last_seq).over(partition_by=[usage.c.process_id, usage.c.no], order_by=[usage.c.first_seq, usage.c.last_seq])
    spans = select(usage.c.process_id, usage.c.no, usage.c.first_seq, usage.c.last_seq, previous.label("previous")).subquery()
    overlapping = select(spans.c.process_id, spans.c.no, spans.c.first_seq).where(spans.c.previous >= spans.c.first_seq)
    problems += [f"process row {p}, mapping {n}: intervals overlap at capture {s}" for p, n, s in connection.execute(overlapping)]
    wrong = select(usage.c.process_id, usage.c.no).where(or_(usage.c.last_seq < usage.c.first_seq, usage.c.last_seq > OPEN_SEQ))
    problems += [f"process row {p}, mapping {n}: an interval ends before it begins" for p, n in connection.execute(wrong)]
    if tables and not problems:
        reader = TableReader(connection)
        for (process_id,) in connection.execute(select(totals.c.process_id).distinct().order_by(totals.c.process_id)).fetchall():
            problems += _wrong_sums(connection, reader, process_id)
    return problems


def _wrong_sums(connection: Connection, reader: TableReader, process_id: int) -> Iterator[str]:
    """Whether the tables of a process add up, in one pass over its intervals: what begins is added, what ends is taken off."""
    begins: dict[int, list[tuple[int | None, ...]]] = {}
    ends: dict[int, list[tuple[int | None, ...]]] = {}
    for first, last, mapping in reader.history(process_id):
        figures = mapping.figures
        begins.setdefault(first, []).append(figures)
        ends.setdefault(last + 1, []).append(figures)
    sums, missing, count = [0] * len(FIGURES), [0] * len(FIGURES), 0
    rows = connection.execute(select(totals).where(totals.c.process_id == process_id).order_by(totals.c.first_seq)).fetchall()
    moments = sorted({*begins, *ends})
    position = 0
    for row in rows:
        while position < len(moments) and moments[position] <= row.first_seq:
            for sign, changes in ((1, begins), (-1, ends)):
                for figures in changes.get(moments[position], ()):
                    count += sign
                    for i, value in enumerate(figures):
                        if value is None:
                            missing[i] += sign
                        else:
                            sums[i] += sign * value
            position += 1
        # The totals of a table without counters are not sums of it (see Status.MAPS_ONLY).
        added = [kept if lacking else total for total, lacking, kept in zip(sums, missing, row[-len(FIGURES) :], strict=True)]
        if (count, *added) != (row.mappings, *row[-len(FIGURES) :]):
            yield f"process row {process_id}, capture {row.first_seq}: the table does not add up to its totals"
