"""Disjoint sets: what is connected, and through what, is one."""

from __future__ import annotations


class DisjointSets:
    """Numbers 0 … n-1, each at first a set of its own. Joins and look-ups are nearly O(1); of a set, the smallest number stands for it."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def add(self) -> int:
        """One number more, which is returned."""
        self._parent.append(len(self._parent))
        return len(self._parent) - 1

    def find(self, item: int) -> int:
        """The number that stands for the set of `item`."""
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, one: int, other: int) -> None:
        """Make one set of two."""
        one, other = self.find(one), self.find(other)
        if one != other:
            self._parent[max(one, other)] = min(one, other)
