"""From rows that say from when to when a mapping stood in a table to the tables themselves."""

from __future__ import annotations

from itertools import compress

from pmapdiff.model.mapping import Mapping, MappingTable

# A mapping with the first and the last snapshot that it stood in like this.
Dated = tuple[int, int, Mapping]


class Standing:
    """What is known of a process: every row that holds in some snapshot from `first` to `last`, with the first and the last that it holds in.

    `table` is the one of the snapshot that was asked for last.
    """

    __slots__ = ("_flips", "_mappings", "_number", "_present", "first", "last", "rows", "table")

    def __init__(self, first: int, last: int, rows: list[Dated], table: MappingTable) -> None:
        self.first, self.last, self.rows, self.table = first, last, rows, table
        self._mappings = [mapping for _, _, mapping in rows]
        # Which rows hold in snapshot `_number`, and which begin to hold or no longer do, by the snapshot from which on that is so.
        self._number = first
        self._present = bytearray([begin <= first <= end for begin, end, _ in rows])
        self._flips: dict[int, list[int]] = {}
        for place, (begin, end, _) in enumerate(rows):
            if begin > first:
                self._flips.setdefault(begin, []).append(place)
            if end < last:
                self._flips.setdefault(end + 1, []).append(place)
        self._note()

    def at(self, number: int) -> MappingTable:
        """The table of a snapshot; the same object if it is equal to the one that was asked for last."""
        low, high = sorted((self._number, number))
        flips = [place for edge in range(low + 1, high + 1) for place in self._flips.get(edge, ())]
        self._number = number
        if flips:
            for place in flips:
                self._present[place] ^= 1
            self._note()
        return self.table

    def _note(self) -> None:
        mappings = tuple(compress(self._mappings, self._present))
        if mappings != self.table.mappings:
            self.table = MappingTable(mappings)
