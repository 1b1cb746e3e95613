"""`db check`: whether the database keeps its promises."""

from __future__ import annotations

from sqlalchemy import and_, func, or_, select
from sqlalchemy.engine import Connection

from pmapdiff.model import FIGURES
from pmapdiff.store.load import TableReader
from pmapdiff.store.schema import OPEN_SEQ, WITH_TABLE, capture, totals, usage


def check_store(connection: Connection, *, tables: bool) -> list[str]:
    """What is wrong, one sentence each; an empty list for a sound store.

    Beside the database's own check: every capture with a table has totals, no two intervals of a mapping
    overlap, and (with `tables`) every stored table adds up to its totals.
    """
    problems: list[str] = []
    if connection.dialect.name == "sqlite":
        problems += [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(20)") if row[0] != "ok"]
        problems += [
            f"{row[0]}: a row refers to a row of {row[2]} that is not there" for row in connection.exec_driver_sql("PRAGMA foreign_key_check")
        ]
        if problems:
            return problems
    holding = and_(totals.c.process_id == capture.c.process_id, totals.c.first_seq <= capture.c.seq, totals.c.last_seq >= capture.c.seq)
    orphans = (
        select(capture.c.process_id, capture.c.seq, func.count(totals.c.mappings))
        .join_from(capture, totals, holding, isouter=True)
        .where(capture.c.status.in_(WITH_TABLE))
        .group_by(capture.c.process_id, capture.c.seq)
        .having(func.count(totals.c.mappings) != 1)
    )
    problems += [f"process row {p}, capture {s}: {n} totals instead of 1" for p, s, n in connection.execute(orphans)]
    other = usage.alias("other")
    overlapping = select(usage.c.process_id, usage.c.no, usage.c.first_seq).join_from(
        usage,
        other,
        and_(
            other.c.process_id == usage.c.process_id,
            other.c.no == usage.c.no,
            other.c.first_seq > usage.c.first_seq,
            other.c.first_seq <= usage.c.last_seq,
        ),
    )
    problems += [f"process row {p}, mapping {n}: intervals overlap after capture {s}" for p, n, s in connection.execute(overlapping)]
    wrong = select(usage.c.process_id, usage.c.no).where(or_(usage.c.last_seq < usage.c.first_seq, usage.c.last_seq > OPEN_SEQ))
    problems += [f"process row {p}, mapping {n}: an interval ends before it begins" for p, n in connection.execute(wrong)]
    if tables and not problems:
        reader = TableReader(connection)
        for row in connection.execute(select(totals).order_by(totals.c.process_id, totals.c.first_seq)).fetchall():
            found = reader.table(row.process_id, row.first_seq).totals
            if (found.mappings, *found.figures) != (row.mappings, *row[-len(FIGURES) :]):
                problems.append(f"process row {row.process_id}, capture {row.first_seq}: the table does not add up to its totals")
    return problems
