"""From mapping tables to rows: only what changed since the process's last table is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from pmapdiff.errors import StoreError
from pmapdiff.model import FIGURES, Capture, Mapping, MappingTable, Totals
from pmapdiff.model.counters import VOLATILE
from pmapdiff.store.bulk import Interner, end_rows, fetch_tuples, insert_rows
from pmapdiff.store.known import GeometryKey, KnownProcess, OpenRow
from pmapdiff.store.schema import GEOMETRY, LASTING, mapping, to_signed, totals, usage
from pmapdiff.store.tables import load_table

_SIGNED_LIMIT = (1 << 63) - 1
# What waits to be written is written when it is so much.
_MOST_ROWS = 50_000


class IntervalWriter:
    """Collects the rows by which tables differ from what the store has, and writes them together.

    What is known of each process is brought up to date at once, so after an error it must be forgotten. An interval that ends before it was
    written is written with its end.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._new_mappings: list[tuple[Any, ...]] = []
        # By process and number of the mapping: what lasts, and behind it what does not any more.
        self._usages: dict[tuple[int, int], tuple[int, int]] = {}
        self._new_usages: list[tuple[Any, ...]] = []
        self._closed_usages: list[tuple[int, ...]] = []
        self._totals: dict[int, tuple[Any, ...]] = {}
        self._new_totals: list[tuple[Any, ...]] = []
        self._closed_totals: list[tuple[int, ...]] = []

    def add(self, known: KnownProcess, number: int, item: Capture, interner: Interner) -> None:
        """Take the table that a process has in snapshot `number`, the only one of it there."""
        if known.first is not None and item.digest is not None and known.digest == item.digest:
            return
        table, sums = item.table, item.sums
        if table is None or sums is None:
            table, sums = self._table_of_digest(known.id, item.digest)
        if known.first is not None:
            begun = self._totals.pop(known.id, None)
            if begun is None:
                self._closed_totals.append((number - 1, known.id))
            else:
                self._new_totals.append((known.id, number - 1, *begun))
        self._totals[known.id] = (number, item.digest, sums.mappings, *sums.figures)
        known.first, known.digest, known.mappings, known.rss_kib = number, item.digest, sums.mappings, sums.get("rss_kib")
        self._add_table(known, number, table, interner)
        if len(self._usages) + len(self._new_usages) + len(self._new_mappings) > _MOST_ROWS:
            self.flush()

    def _table_of_digest(self, process_id: int, digest: bytes | None) -> tuple[MappingTable, Totals]:
        """The table that had this digest, and its totals: somebody else wrote a newer one since the recorder asked."""
        self.flush()
        first = totals.c.first_snapshot
        query = select(totals).where(totals.c.process_id == process_id, totals.c.digest == digest).order_by(first.desc())
        row = self._connection.execute(query.limit(1)).first()
        if row is None:
            raise StoreError("a table that was just known is no longer in the store (pruned meanwhile?); nothing was stored: record again")
        return load_table(self._connection, process_id, row.first_snapshot), Totals(row.mappings, tuple(row[-len(FIGURES) :]))

    def _add_table(self, known: KnownProcess, number: int, table: MappingTable, interner: Interner) -> None:
        geometries, states = self._rows(table.mappings, interner)
        if known.rows is None:
            known.rows = self._open_rows(known.id)
            known.next_no = self._next_no(known.id)
        old, process_id, next_no = known.rows, known.id, known.next_no
        rows: dict[GeometryKey, OpenRow] = {}
        closing: list[int] = []
        opening: list[OpenRow] = []
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
            opening.append((no, state_id))
        closing.extend(no for no, _ in old.values())
        known.rows, known.next_no = rows, next_no
        for no in closing:
            begun = self._usages.pop((process_id, no), None)
            if begun is None:
                self._closed_usages.append((number - 1, process_id, no))
            else:
                self._new_usages.append((process_id, number - 1, no, *begun))
        for no, state_id in opening:
            self._usages[process_id, no] = (number, state_id)

    def _rows(self, mappings: Sequence[Mapping], interner: Interner) -> tuple[list[GeometryKey], list[int]]:
        """The geometry of each mapping, and the id of its state."""
        connection = self._connection
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
        end_rows(connection, totals, self._closed_totals)
        end_rows(connection, usage, self._closed_usages)
        insert_rows(connection, totals, [*self._new_totals, *((process, LASTING, *begun) for process, begun in self._totals.items())])
        insert_rows(connection, mapping, self._new_mappings)
        insert_rows(connection, usage, [*self._new_usages, *((process, LASTING, no, *begun) for (process, no), begun in self._usages.items())])
        for rows in (self._new_totals, self._new_mappings, self._new_usages, self._closed_totals, self._closed_usages):
            rows.clear()
        self._totals.clear()
        self._usages.clear()


def _repeated(geometry: GeometryKey, rows: dict[GeometryKey, OpenRow]) -> GeometryKey:
    """The key of a mapping that stands in a torn table once more."""
    number = 1
    while (*geometry, number) in rows:
        number += 1
    return (*geometry, number)
