"""What an alignment is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Relation(StrEnum):
    """Why mappings of two tables count as one region."""

    SAME = "same"
    """They overlap and belong together, or (in another incarnation) are the same part of the same object."""
    POSSIBLY_SAME = "possibly same"
    """Anonymous memory at overlapping addresses that may as well be other memory: a guess."""
    MOVED = "moved"
    """The same part of the same file at another address."""
    POSSIBLY_MOVED = "possibly moved"
    """Anonymous memory of like size and residency at another address: a guess."""
    REPLACED = "replaced"
    """The same part of a file that took the place of another version of itself."""
    POSSIBLY_REPLACED = "possibly replaced"
    """Likewise, but more than one file, or another one, may be the version that it replaces: a guess."""


@dataclass(frozen=True, slots=True)
class Component:
    """One region in two tables, as positions in each: 1 to n, n to 1, n to m; one side is empty if it is new or gone.

    `parts_before` and `parts_after` count the mappings that overlap one of the other side; the rest only adjoin.
    `reprotected` says that some address is in mappings of different permissions.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    relation: Relation = Relation.SAME
    parts_before: int = 0
    parts_after: int = 0
    reprotected: bool = False

    @property
    def possibly(self) -> bool:
        """Whether it is a guess that the two sides are one region."""
        return self.relation in (Relation.POSSIBLY_SAME, Relation.POSSIBLY_MOVED, Relation.POSSIBLY_REPLACED)

    @property
    def moved(self) -> bool:
        """Whether the two sides stand at different addresses."""
        return self.relation in (Relation.MOVED, Relation.POSSIBLY_MOVED)

    @property
    def replaced(self) -> bool:
        """Whether the later side is of another file, which took the place of the earlier one's."""
        return self.relation in (Relation.REPLACED, Relation.POSSIBLY_REPLACED)
