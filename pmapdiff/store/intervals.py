"""From mapping tables to rows: only what changed since the process's last table is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from pmapdiff.errors import StoreError
from pmapdiff.model import FIGURES, Capture, Mapping, MappingTable, Totals
from pmapdiff.model.counters import VOLATILE
from pmapdiff.store.bulk import Interner, StateValues, chunks, end_rows, fetch_tuples, insert_rows
from pmapdiff.store.known import GeometryKey, KnownProcess, OpenRow
from pmapdiff.store.schema import GEOMETRY, LASTING, mapping, to_signed, totals, usage
from pmapdiff.store.tables import load_table

_SIGNED_LIMIT = (1 << 63) - 1
# Tables of so many mappings are written together: what repeats in them is looked up once.
_MOST_MAPPINGS = 2_000_000


class _Taken(NamedTuple):
    """A table that is to be written: whose, in which snapshot, and by whom what repeats in it is interned.

    `before` is the last table of the process that the store has, where that is at hand.
    """

    known: KnownProcess
    number: int
    mappings: tuple[Mapping, ...]
    interner: Interner
    before: tuple[Mapping, ...] | None


class _Change(NamedTuple):
    """What of a table is not the same object in the last one of its process, and the ids of what is; None where there is no last one.

    `gone` is what the last one had beside those, where only that one is known and nothing of the rows in the store.
    """

    taken: _Taken
    fresh: list[Mapping]
    stays: set[int] | None = None
    gone: list[Mapping] | None = None


class IntervalWriter:
    """Collects tables, and writes the rows by which they differ from what the store has.

    What is known of each process is brought up to date at once, so after an error it must be forgotten. An interval that ends before it was
    written is written with its end. What is the same object in two tables of a process is not looked at again.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._taken: list[_Taken] = []
        self._mappings = 0
        # By process: what its row of totals holds, behind it what lasts no more.
        self._totals: dict[int, tuple[Any, ...]] = {}
        self._new_totals: list[tuple[Any, ...]] = []
        self._closed_totals: list[tuple[int, ...]] = []

    def add(self, known: KnownProcess, number: int, item: Capture, interner: Interner, before: Capture | None = None) -> None:
        """Take the table that a process has in snapshot `number`, the only one of it there.

        Whoever has the table that it had before at hand, with the same objects for what is equal, spares the store's being read for that.
        """
        if known.first is not None and item.digest is not None and known.digest == item.digest:
            return
        table, sums = item.table, item.sums
        if table is None or sums is None:
            self.flush()
            table, sums = self._table_of_digest(known.id, item.digest)
        last = None
        if before is not None and before.table is not None and known.digest is not None and before.digest == known.digest:
            last = before.table.mappings
        if known.first is not None:
            begun = self._totals.pop(known.id, None)
            if begun is None:
                self._closed_totals.append((number - 1, known.id))
            else:
                self._new_totals.append((known.id, number - 1, *begun))
        self._totals[known.id] = (number, item.digest, sums.mappings, *sums.figures)
        known.first, known.digest, known.mappings, known.rss_kib = number, item.digest, sums.mappings, sums.get("rss_kib")
        self._taken.append(_Taken(known, number, table.mappings, interner, last))
        self._mappings += len(table.mappings)
        if self._mappings > _MOST_MAPPINGS:
            self.flush()

    def _table_of_digest(self, process_id: int, digest: bytes | None) -> tuple[MappingTable, Totals]:
        """The table that had this digest, and its totals: somebody else wrote a newer one since the recorder asked."""
        first = totals.c.first_snapshot
        query = select(totals).where(totals.c.process_id == process_id, totals.c.digest == digest).order_by(first.desc())
        row = self._connection.execute(query.limit(1)).first()
        if row is None:
            raise StoreError("a table that was just known is no longer in the store (pruned meanwhile?); nothing was stored: record again")
        return load_table(self._connection, process_id, row.first_snapshot), Totals(row.mappings, tuple(row[-len(FIGURES) :]))

    def flush(self) -> None:
        """Write what was taken."""
        connection = self._connection
        end_rows(connection, totals, self._closed_totals)
        insert_rows(connection, totals, [*self._new_totals, *((process, LASTING, *begun) for process, begun in self._totals.items())])
        rows = _Rows()
        changes = self._changes()
        by_interner: dict[int, tuple[Interner, list[Mapping], list[Mapping]]] = {}
        for change in changes:
            _, fresh, gone = by_interner.setdefault(id(change.taken.interner), (change.taken.interner, [], []))
            fresh += change.fresh
            gone += change.gone or ()
        for interner, fresh, gone in by_interner.values():
            _learn_places(connection, interner, [*fresh, *gone])
            _learn_states(connection, interner, fresh)
        for change in changes:
            self._add_table(change, rows)
        rows.write(connection)
        for pending in (self._taken, self._new_totals, self._closed_totals):
            pending.clear()
        self._totals.clear()
        self._mappings = 0

    def _changes(self) -> list[_Change]:
        last: dict[int, set[int]] = {}
        found: list[_Change] = []
        times = Counter(taken.known.id for taken in self._taken)
        for taken in self._taken:
            now, before = set(map(id, taken.mappings)), last.pop(taken.known.id, None)
            if before is not None and len(now) == len(taken.mappings):
                found.append(_Change(taken, [known for known in taken.mappings if id(known) not in before], before & now))
            elif taken.known.rows is None and times[taken.known.id] == 1 and taken.before and _are_apart(taken.before) and _are_apart(taken.mappings):
                earlier = set(map(id, taken.before))
                fresh, gone = [m for m in taken.mappings if id(m) not in earlier], [m for m in taken.before if id(m) not in now]
                found.append(_Change(taken, fresh, None, gone))
            else:
                found.append(_Change(taken, list(taken.mappings)))
            # What stands twice in one table cannot be told by its object.
            if len(now) == len(taken.mappings):
                last[taken.known.id] = now
        return found

    def _add_table(self, change: _Change, rows: _Rows) -> None:
        taken, fresh, stays, _ = change
        known, number = taken.known, taken.number
        standing = known.rows
        if standing is None:
            known.next_no = self._next_no(known.id)
            if change.gone is None:
                standing = known.rows = self._open_rows(known.id)
            else:
                # Only these, as only what they come to is written; what else there is stays unknown.
                standing = self._open_rows(known.id, change.gone)
                if len(standing) < len(change.gone):
                    raise StoreError(f"process row {known.id}: its last table is not what its digest says; `pmapdiff db check` says more")
        process_id, next_no = known.id, known.next_no
        places = rows.places.setdefault(process_id, {})
        if stays is None:
            gone = dict(standing)
            standing.clear()
            places.clear()
        else:
            gone = {place: standing.pop(place) for place in [places.pop(known_id) for known_id in places.keys() - stays]}
        for mapping_, (geometry, state_id) in zip(fresh, _placed(fresh, taken.interner), strict=True):
            key = geometry if geometry not in standing else _repeated(geometry, standing)
            places[id(mapping_)] = key
            row = gone.pop(key, None)
            if row is not None and row[1] == state_id:
                standing[key] = row
                continue
            if row is None:
                no, next_no = next_no, next_no + 1
                rows.mappings.append((process_id, no, *geometry))
            else:
                no = row[0]
                rows.end(process_id, no, number - 1)
            standing[key] = (no, state_id)
            rows.lasting[process_id, no] = (number, state_id)
        for no, _ in gone.values():
            rows.end(process_id, no, number - 1)
        known.next_no = next_no

    def _open_rows(self, process_id: int, at: Sequence[Mapping] | None = None) -> dict[GeometryKey, OpenRow]:
        """The mappings that last, with their numbers and their states; or those of them that begin where these do."""
        query = (
            select(*GEOMETRY, usage.c.no, usage.c.state_id)
            .join_from(usage, mapping, (mapping.c.process_id == usage.c.process_id) & (mapping.c.no == usage.c.no))
            .where(usage.c.process_id == process_id, usage.c.last_snapshot == LASTING)
            .order_by(usage.c.no)
        )
        queries = [query]
        if at is not None:
            queries = [query.where(mapping.c.start_address.in_(part)) for part in chunks(to_signed(known.start) for known in at)]
        rows: dict[GeometryKey, OpenRow] = {}
        for row in (row for part in queries for row in fetch_tuples(self._connection, part)):
            geometry = row[:6]
            rows[geometry if geometry not in rows else _repeated(geometry, rows)] = (row[6], row[7])
        return rows

    def _next_no(self, process_id: int) -> int:
        query = select(func.coalesce(func.max(mapping.c.no), 0)).where(mapping.c.process_id == process_id)
        return int(self._connection.execute(query).scalar_one()) + 1


class _Rows:
    """Rows of `mapping` and `usage` that are to be written."""

    def __init__(self) -> None:
        self.mappings: list[tuple[Any, ...]] = []
        # By process and number of the mapping.
        self.lasting: dict[tuple[int, int], tuple[int, int]] = {}
        # Where what stands in the last table of each process is among its rows, by the id of the object.
        self.places: dict[int, dict[int, GeometryKey]] = {}
        self._over: list[tuple[int, ...]] = []
        self._ended: list[tuple[int, ...]] = []

    def end(self, process_id: int, no: int, last: int) -> None:
        """What a mapping held lasted up to this snapshot."""
        begun = self.lasting.pop((process_id, no), None)
        if begun is None:
            self._ended.append((last, process_id, no))
        else:
            self._over.append((process_id, last, no, *begun))

    def write(self, connection: Connection) -> None:
        """Write all of it."""
        end_rows(connection, usage, self._ended)
        insert_rows(connection, mapping, self.mappings)
        insert_rows(connection, usage, [*self._over, *((process, LASTING, no, *begun) for (process, no), begun in self.lasting.items())])


def _are_apart(mappings: Sequence[Mapping]) -> bool:
    """Whether each begins somewhere else, as in every table that was not torn."""
    return len({known.start for known in mappings}) == len(mappings)


def _learn_places(connection: Connection, interner: Interner, mappings: Sequence[Mapping]) -> None:
    """Know the ids of what stands behind these mappings."""
    interner.add_protections(connection, {(m.perms, m.flags) for m in mappings})
    interner.add_backings(connection, {(m.device, m.inode, m.name) for m in mappings})


def _learn_states(connection: Connection, interner: Interner, mappings: Sequence[Mapping]) -> None:
    """Know the ids of the counters of these mappings."""
    # Mappings of equal counters mostly have the very same tuple, so this is short where the list is long.
    distinct = {(id(m.counters), id(m.layout), id(m.extra)): m for m in mappings}.values()
    interner.add_details(connection, {(m.layout, m.counters[VOLATILE:], m.extra) for m in distinct})
    interner.add_states(connection, [_state(m, interner) for m in distinct])


def _state(known: Mapping, interner: Interner) -> StateValues:
    return (*known.counters[:VOLATILE], interner.details[known.layout, known.counters[VOLATILE:], known.extra])


def _placed(mappings: Sequence[Mapping], interner: Interner) -> Iterator[tuple[GeometryKey, int]]:
    """The geometry of each mapping, and the id of its state."""
    protections, backings, states = interner.protections, interner.backings, interner.states
    state_ids: dict[tuple[int, int, int], int] = {}
    for known in mappings:
        start, end, perms, offset, device, inode, name, flags, counters, layout, extra, header = known
        place = (start, end, offset)
        if end > _SIGNED_LIMIT or (offset is not None and offset > _SIGNED_LIMIT):
            place = (to_signed(start), to_signed(end), None if offset is None else to_signed(offset))
        key = (id(counters), id(layout), id(extra))
        state_id = state_ids.get(key)
        if state_id is None:
            state_id = state_ids[key] = states[_state(known, interner)]
        yield (*place, protections[perms, flags], backings[device, inode, name], header), state_id


def _repeated(geometry: GeometryKey, rows: dict[GeometryKey, OpenRow]) -> GeometryKey:
    """The key of a mapping that stands in a torn table once more."""
    number = 1
    while (*geometry, number) in rows:
        number += 1
    return (*geometry, number)
