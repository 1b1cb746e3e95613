"""From mapping tables to rows: only what changed since the process's last table is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.engine import Connection

from pmapdiff.errors import StoreError
from pmapdiff.model import FIGURES, Capture, Mapping, MappingTable, Totals
from pmapdiff.model.counters import VOLATILE
from pmapdiff.store.bulk import Interner, fetch_tuples, insert_rows
from pmapdiff.store.known import GeometryKey, KnownProcess, OpenRow
from pmapdiff.store.schema import GEOMETRY, LASTING, mapping, to_signed, totals, usage
from pmapdiff.store.tables import load_table

_SIGNED_LIMIT = (1 << 63) - 1
_CLOSE_USAGE = (
    update(usage)
    .where(usage.c.process_id == bindparam("p"), usage.c.last_snapshot == LASTING, usage.c.no == bindparam("n"))
    .values(last_snapshot=bindparam("ended"))
)
_CLOSE_TOTALS = (
    update(totals).where(totals.c.process_id == bindparam("p"), totals.c.last_snapshot == LASTING).values(last_snapshot=bindparam("ended"))
)


class IntervalWriter:
    """Collects the rows by which tables differ from what the store has, and writes them together.

    What is known of each process is brought up to date at once, so after an error it must be forgotten.
    """

    def __init__(self, connection: Connection, interner: Interner) -> None:
        self._connection = connection
        self._interner = interner
        self._new_mappings: list[tuple[Any, ...]] = []
        self._new_usages: list[tuple[Any, ...]] = []
        self._closed_usages: list[dict[str, int]] = []
        self._new_totals: list[tuple[Any, ...]] = []
        self._closed_totals: list[dict[str, int]] = []

    def add(self, known: KnownProcess, number: int, item: Capture) -> None:
        """Take the table that a process has in snapshot `number`, the only one of it there."""
        if known.first is not None and item.digest is not None and known.digest == item.digest:
            return
        table, sums = item.table, item.sums
        if table is None or sums is None:
            table, sums = self._table_of_digest(known.id, item.digest)
        if known.first is not None:
            self._closed_totals.append({"p": known.id, "ended": number - 1})
        self._new_totals.append((known.id, LASTING, number, item.digest, sums.mappings, *sums.figures))
        known.first, known.digest, known.mappings, known.rss_kib = number, item.digest, sums.mappings, sums.get("rss_kib")
        self._add_table(known, number, table)

    def _table_of_digest(self, process_id: int, digest: bytes | None) -> tuple[MappingTable, Totals]:
        """The table that had this digest, and its totals: somebody else wrote a newer one since the recorder asked."""
        first = totals.c.first_snapshot
        query = select(totals).where(totals.c.process_id == process_id, totals.c.digest == digest).order_by(first.desc())
        row = self._connection.execute(query.limit(1)).first()
        if row is None:
            raise StoreError("a table that was just known is no longer in the store (pruned meanwhile?); nothing was stored: record again")
        return load_table(self._connection, process_id, row.first_snapshot), Totals(row.mappings, tuple(row[-len(FIGURES) :]))

    def _add_table(self, known: KnownProcess, number: int, table: MappingTable) -> None:
        geometries, states = self._rows(table.mappings)
        if known.rows is None:
            known.rows = self._open_rows(known.id)
            known.next_no = self._next_no(known.id)
        old, process_id, next_no = known.rows, known.id, known.next_no
        rows: dict[GeometryKey, OpenRow] = {}
        closing: list[int] = []
        for geometry, state_id in zip(geometries, states, strict=True):
            key = geometry if geometry not in rows else _repeated(geometry, rows)
            row = old.pop(key, None)
            if row is None:
                no, next_no = next_no, next_no + 1
                self._new_mappings.append((process_id, no, *geometry))
            elif row[1] == state_id:
                rows[key] = row
                continue
            else:
                no = row[0]
                closing.append(no)
            rows[key] = (no, state_id)
            self._new_usages.append((process_id, LASTING, no, number, state_id))
        closing.extend(no for no, _ in old.values())
        known.rows, known.next_no = rows, next_no
        self._closed_usages.extend({"p": process_id, "n": no, "ended": number - 1} for no in closing)

    def _rows(self, mappings: Sequence[Mapping]) -> tuple[list[GeometryKey], list[int]]:
        """The geometry of each mapping, and the id of its state."""
        interner, connection = self._interner, self._connection
        interner.add_protections(connection, {(m.perms, m.flags) for m in mappings})
        interner.add_backings(connection, {(m.device, m.inode, m.name) for m in mappings})
        # The parser gives mappings of equal counters the very same tuple, so this is short where the table is long.
        distinct = {(id(m.counters), id(m.layout), id(m.extra)): m for m in mappings}
        interner.add_details(connection, {(m.layout, m.counters[VOLATILE:], m.extra) for m in distinct.values()})
        details = interner.details
        value_rows = {key: (*m.counters[:VOLATILE], details[m.layout, m.counters[VOLATILE:], m.extra]) for key, m in distinct.items()}
        interner.add_states(connection, value_rows.values())
        state_ids = {key: interner.states[values] for key, values in value_rows.items()}
        protection_ids, backing_ids = interner.protections, interner.backings
        geometries: list[GeometryKey] = []
        states: list[int] = []
        for start, end, perms, offset, device, inode, name, flags, counters, layout, extra, header in mappings:
            place = (start, end, offset)
            if end > _SIGNED_LIMIT or (offset is not None and offset > _SIGNED_LIMIT):
                place = (to_signed(start), to_signed(end), None if offset is None else to_signed(offset))
            geometries.append((*place, protection_ids[perms, flags], backing_ids[device, inode, name], header))
            states.append(state_ids[id(counters), id(layout), id(extra)])
        return geometries, states

    def _open_rows(self, process_id: int) -> dict[GeometryKey, OpenRow]:
        """The mappings that last, with their numbers and their states."""
        query = (
            select(*GEOMETRY, usage.c.no, usage.c.state_id)
            .join_from(usage, mapping, (mapping.c.process_id == usage.c.process_id) & (mapping.c.no == usage.c.no))
            .where(usage.c.process_id == process_id, usage.c.last_snapshot == LASTING)
            .order_by(usage.c.no)
        )
        rows: dict[GeometryKey, OpenRow] = {}
        for row in fetch_tuples(self._connection, query):
            geometry = row[:6]
            rows[geometry if geometry not in rows else _repeated(geometry, rows)] = (row[6], row[7])
        return rows

    def _next_no(self, process_id: int) -> int:
        query = select(func.coalesce(func.max(mapping.c.no), 0)).where(mapping.c.process_id == process_id)
        return int(self._connection.execute(query).scalar_one()) + 1

    def flush(self) -> None:
        """Write what was taken."""
        connection = self._connection
        for statement, closed in ((_CLOSE_TOTALS, self._closed_totals), (_CLOSE_USAGE, self._closed_usages)):
            if closed:
                connection.execute(statement, closed)
        insert_rows(connection, totals, self._new_totals)
        insert_rows(connection, mapping, self._new_mappings)
        insert_rows(connection, usage, self._new_usages)
        for rows in (self._new_totals, self._new_mappings, self._new_usages, self._closed_totals, self._closed_usages):
            rows.clear()


def _repeated(geometry: GeometryKey, rows: dict[GeometryKey, OpenRow]) -> GeometryKey:
    """The key of a mapping that stands in a torn table once more."""
    number = 1
    while (*geometry, number) in rows:
        number += 1
    return (*geometry, number)
