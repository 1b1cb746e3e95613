"""Reading back: the mapping table of a process as it was at one of its captures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import BindParameter, Select, bindparam, select
from sqlalchemy.engine import Connection

from pmapdiff.model import Layout, Mapping, MappingTable, layout_of
from pmapdiff.model.mapping import SUM_PERMS
from pmapdiff.model.standing import Dated, Standing
from pmapdiff.store.bulk import STATES, chunks, fetch_tuples
from pmapdiff.store.schema import DETAIL_COLUMNS, GEOMETRY, LASTING, backing, detail, layout, mapping, protection, state, string, to_unsigned, usage

# How many mappings of processes that are not in the snapshot any more, and how many interned rows, a reader keeps: some ten MB.
_KEPT_ROWS = 50_000

# Counters, layout, and the values of counters that this version does not know.
_Detail = tuple[tuple[int | None, ...], Layout | None, tuple[int | bytes, ...]]


class TableReader:
    """Loads mapping tables; keeps the interned rows that it has seen, and the last table of each process.

    Of two tables of one process what is the same is read once, and is the same object. So a reader is good for one transaction.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._protections: dict[int, tuple[str, bytes | None]] = {}
        self._backings: dict[int, tuple[str | None, int | None, bytes]] = {}
        self._details: dict[int, _Detail] = {}
        self._states: dict[int, _Detail] = {}
        self._kept: dict[int, Standing] = {}
        self._used = 0

    def table(self, process_id: int, number: int, until: int = 0) -> MappingTable:
        """The mapping table that a process has in snapshot `number`, in which it has one.

        Who will ask for later ones, too, says up to which: what is long over is read past once for all of them.
        """
        # Whoever was asked for last is at the end.
        kept = self._kept.pop(process_id, None)
        if kept is None or not kept.first <= number <= kept.last:
            kept = self._read(process_id, number, max(number, until), kept)
        self._kept[process_id] = kept
        self._used += len(kept.rows)
        return kept.at(number)

    def _read(self, process_id: int, first: int, last: int, old: Standing | None) -> Standing:
        """All rows that hold from snapshot `first` to `last`; of those that are known, the same objects."""
        known: list[Dated] = []
        begun, ended = 0, LASTING
        if old is not None:
            if first < old.first:
                last = first
            known = [row for row in old.rows if row[0] <= last and row[1] >= first]
            # What else there is began after those that are known, or ended before them.
            begun, ended = (old.last + 1, ended) if first > old.last else (begun, old.first - 1)
        parameters = {"process": process_id, "first": first, "last": last, "begun": begun, "ended": ended}
        rows = [*known, *self._dated(fetch_tuples(self._connection, _table_query(), parameters))]
        rows.sort(key=_by_address)
        return Standing(first, last, rows, MappingTable(()) if old is None else old.table)

    def trim(self) -> None:
        """Forget what months of snapshots would add up to: after each one, if there are many.

        Tables of processes that are not in this one are kept if they are not too many: they may be in the next, which another recorder made.
        """
        others = sum(len(kept.rows) for kept in self._kept.values()) - self._used
        self._used = 0
        while others > _KEPT_ROWS:
            others -= len(self._kept.pop(next(iter(self._kept))).rows)
        interned: tuple[dict[int, Any], ...] = (self._protections, self._backings, self._details, self._states)
        for known in interned:
            if len(known) > _KEPT_ROWS:
                known.clear()

    def history(self, process_id: int) -> list[Dated]:
        """Every mapping that a process ever had, with the first and the last capture that it stood in like this."""
        return self._dated(fetch_tuples(self._connection, _mapping_query().where(usage.c.process_id == process_id)))

    def _dated(self, rows: Sequence[tuple[Any, ...]]) -> list[Dated]:
        """The mappings of rows as `_mapping_query` gives them, each with its first and last capture."""
        self._learn(rows)
        protections, backings, states = self._protections, self._backings, self._states
        found = []
        new = tuple.__new__
        for start, end, offset, protection_id, backing_id, header, state_id, first, last in rows:
            perms, flags = protections[protection_id]
            device, inode, name = backings[backing_id]
            if start < 0 or end <= 0 or (offset is not None and offset < 0):
                # The end of the highest page is 2**64 itself, which is stored as 0. A sum of unknown size begins and ends there.
                start, end = to_unsigned(start), to_unsigned(end) or (0 if perms == SUM_PERMS else 1 << 64)
                offset = None if offset is None else to_unsigned(offset)
            counters, layout, extra = states[state_id]
            raw = None if header is None else bytes(header)
            # What Mapping(…) does, without the call: this line runs for every mapping of a host.
            found.append((first, last, new(Mapping, (start, end, perms, offset, device, inode, name, flags, counters, layout, extra, raw))))
        return found

    def _learn(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Read the interned rows behind these mappings that are not known yet."""
        connection = self._connection
        # Not with the `-` of sets: of a dict's keys it would look at every one that is known.
        protections, backings, states_of, details = _interned_queries()
        for part in chunks({row[3] for row in rows if row[3] not in self._protections}):
            for number, perms, flags in connection.execute(protections, {"ids": part}):
                self._protections[number] = (perms, None if flags is None else bytes(flags))
        for part in chunks({row[4] for row in rows if row[4] not in self._backings}):
            for number, device, inode, name in connection.execute(backings, {"ids": part}):
                self._backings[number] = (device, None if inode is None else to_unsigned(inode), bytes(name))
        states: list[tuple[Any, ...]] = []
        for part in chunks({row[6] for row in rows if row[6] not in self._states}):
            states += fetch_tuples(connection, states_of, {"ids": part})
        for part in chunks({values[-1] for values in states if values[-1] not in self._details}):
            for number, template, extra, *rare in connection.execute(details, {"ids": part}):
                values = tuple(v.encode("latin-1") if isinstance(v, str) else v for v in json.loads(extra)) if extra else ()
                self._details[number] = (tuple(rare), None if template is None else layout_of(bytes(template)), values)
        for number, *volatile, detail_id in states:
            rare_counters, form, values = self._details[detail_id]
            self._states[number] = ((*volatile, *rare_counters), form, values)


def _mapping_query() -> Select[Any]:
    """Mappings with their counters, and their first and last capture, in the order that `TableReader` reads."""
    return select(
        *GEOMETRY,
        usage.c.state_id,
        usage.c.first_snapshot,
        usage.c.last_snapshot,
    ).join_from(usage, mapping, (mapping.c.process_id == usage.c.process_id) & (mapping.c.no == usage.c.no))


# Statements are made once: each of SQLAlchemy's has cycles, which would pile up in commands that run without a garbage collector.
@lru_cache(maxsize=1)
def _table_query() -> Select[Any]:
    return _mapping_query().where(
        usage.c.process_id == bindparam("process"),
        usage.c.last_snapshot >= bindparam("first"),
        usage.c.first_snapshot <= bindparam("last"),
        usage.c.first_snapshot >= bindparam("begun"),
        usage.c.last_snapshot <= bindparam("ended"),
    )


@lru_cache(maxsize=1)
def _interned_queries() -> tuple[Select[Any], Select[Any], Select[Any], Select[Any]]:
    """Protections, backings, states and details by their numbers, the parameter `ids`."""
    ids: BindParameter[Any] = bindparam("ids", expanding=True)
    return (
        select(protection.c.id, protection.c.perms, string.c.raw)
        .join_from(protection, string, string.c.id == protection.c.flags_id, isouter=True)
        .where(protection.c.id.in_(ids)),
        select(backing.c.id, backing.c.device, backing.c.inode, string.c.raw)
        .join_from(backing, string, string.c.id == backing.c.name_id)
        .where(backing.c.id.in_(ids)),
        STATES.where(state.c.id.in_(ids)),
        select(detail.c.id, layout.c.template, detail.c.extra, *(detail.c[name] for name in DETAIL_COLUMNS))
        .join_from(detail, layout, layout.c.id == detail.c.layout_id, isouter=True)
        .where(detail.c.id.in_(ids)),
    )


def _by_address(row: Dated) -> tuple[int, int]:
    return row[2].start, row[2].end


def load_table(connection: Connection, process_id: int, number: int) -> MappingTable:
    """The mapping table that a process has in snapshot `number`."""
    return TableReader(connection).table(process_id, number)
