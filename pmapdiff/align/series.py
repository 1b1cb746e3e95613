"""A series of tables of one service: which regions hold through it, growing, splitting, merging and moving.

Two tables give components; here the components of consecutive tables are chained. What was ever one region is one region throughout: a merge does
not look like growth, nor a split like loss, and at every moment the regions add up to the table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from pmapdiff.align.by_name import align_by_name, hold_sums
from pmapdiff.align.component import Component
from pmapdiff.align.incarnation import align_incarnations
from pmapdiff.align.labels import bss_owner, display_name, speaker
from pmapdiff.align.places import Changes, Places, changes, without
from pmapdiff.align.same_process import align_same_process, unequal_parts, with_files
from pmapdiff.align.sets import DisjointSets
from pmapdiff.model import Mapping
from pmapdiff.text import decode

_Mappings = tuple[Mapping, ...]


class Label(NamedTuple):
    """What people call a region; not yet printable. As of the last table that has it."""

    family: str
    name: str
    path: str | None
    offset: int | None
    perms: str


class _Speaker(NamedTuple):
    """What a region is called after: a mapping, its family, and the segment that it is the bss of."""

    mapping: Mapping
    family: str
    owner: Mapping | None


@dataclass(frozen=True)
class Region:
    """One lineage of mappings through a series.

    `spans` are the steps from which on it consisted of these mappings, in the order of the steps; of none before it came and after it
    went. `possibly` marks one of which some link is a guess.
    """

    speaker: _Speaker
    spans: tuple[tuple[int, _Mappings], ...]
    possibly: bool

    @cached_property
    def label(self) -> Label:
        """What people call it."""
        mapping, family, owner = self.speaker
        path = None if mapping.path is None else decode(mapping.path)
        return Label(family, display_name(mapping, owner), path, mapping.offset, mapping.perms)

    @property
    def first_step(self) -> int:
        """The step in which it was first seen."""
        return self.spans[0][0]

    @property
    def first_start(self) -> int:
        """The lowest address that it had when first seen."""
        return self.spans[0][1][0].start

    def holds(self, address: int, step: int | None = None) -> bool:
        """Whether it had this address in a step, or ever."""
        spans = self.spans if step is None else [span for span in self.spans if span[0] <= step][-1:]
        return any(m.start <= address < m.end for _, mappings in spans for m in mappings)


@dataclass(slots=True)
class _Track:
    """A part of a region that no other part was joined with when it was followed: the steps at which its mappings changed."""

    speaker: _Speaker | None = None
    spans: list[tuple[int, _Mappings]] = field(default_factory=list)


class Follower:
    """Follows the regions of one service from table to table.

    Steps are numbers that rise, one a table; steps without a table are left out. Costs O(n log n) in the mappings that change, and O(n) in
    all of them unless the very same table is given again.
    """

    def __init__(self) -> None:
        self._table: Sequence[Mapping] = ()
        self._families: Sequence[str] = ()
        self._track_of: list[int] = []
        self._tracks: list[_Track] = []
        self._sets = DisjointSets(0)
        self._guessed: list[int] = []
        self._places: Places | None = None
        self._members: dict[int, list[int]] | None = None

    def add(
        self,
        step: int,
        table: Sequence[Mapping],
        families: Sequence[str],
        shown: Sequence[str] | None = None,
        changed: Changes | None = None,
        *,
        same_process: bool,
    ) -> None:
        """The next table, with the family of each mapping; `same_process` says that addresses mean the same as in the one before.

        `shown` are the families to report, where they are others. `changed` is what `changes` says of the table, if that is known.
        """
        if table is self._table and same_process:
            return
        ours, theirs = list(range(len(self._table))), list(range(len(table)))
        counted: list[int] = []
        places = None
        if hold_sums(self._table, table):
            found: Iterable[Component] = align_by_name(self._table, table)
        elif same_process:
            changed = changed or self.changes(table)
            followed = None if self._places is None or changed is None else self._places.follow(table, families, changed)
            if followed is None or changed is None:
                ours, theirs = unequal_parts(self._table, table)
            else:
                places, parts = followed
                ours = [i for part in parts for i in range(*part.ours)]
                theirs = [j for part in parts for j in range(*part.theirs)]
                ours, theirs = with_files(self._table, ours, table, theirs)
                counted = sorted(set(changed.counted).difference(theirs))
            found = align_same_process(
                [self._table[i] for i in ours],
                [table[j] for j in theirs],
                ([self._families[i] for i in ours], [families[j] for j in theirs]),
            )
        else:
            found = align_incarnations(self._table, table)
        tracks = self._carried_over(ours, theirs, len(table))
        touched: set[int] = set()
        for component in found:
            members = [self._track_of[ours[i]] for i in component.before]
            if len(component.before) == len(component.after) == 1:
                i, j = ours[component.before[0]], theirs[component.after[0]]
                if self._table[i] == table[j] and self._families[i] == families[j]:
                    # Most of what lies beside something that changed.
                    tracks[j] = members[0]
                    continue
            touched.update(members)
            if members:
                track = members[0]
                for member in members[1:]:
                    self._sets.join(track, member)
            else:
                track = self._sets.add()
                self._tracks.append(_Track())
            if component.possibly:
                self._guessed.append(track)
            for j in component.after:
                tracks[theirs[j]] = track
            touched.add(track)
        self._table, self._families, self._track_of = table, families, tracks
        self._places, self._members = Places.of(table, families) if places is None else places, None
        touched |= self._join_neighbours(counted)
        touched.update([tracks[position] for position in counted])
        self._note(step, touched, families if shown is None else shown)

    def changes(self, table: Sequence[Mapping]) -> Changes | None:
        """How this table of the same process differs from the last one; None if that is not simple to say."""
        return None if self._places is None else changes(self._table, table)

    def recount(self, step: int, table: Sequence[Mapping], counted: Sequence[int], shown: Sequence[str]) -> None:
        """The next table, which differs from the last one in these counters alone, of the same families: what `add` would do, in less time."""
        self._table = table
        several = self._join_neighbours(counted)
        members = self._members_of_tracks()
        for position in counted:
            track = self._track_of[position]
            if len(members[track]) == 1:
                known, mapping = self._tracks[track], table[position]
                known.spans.append((step, (mapping,)))
                # Nothing that people call a file by is a counter; whether memory is a bss depends on others, too.
                if not mapping.name or known.speaker is None or known.speaker.family != shown[position]:
                    known.speaker = self._speaker_at(position, shown)
            else:
                several.add(track)
        self._note(step, several, shown)

    def _join_neighbours(self, positions: Sequence[int]) -> set[int]:
        """Join what counts as one with each other where these mappings are; gives the tracks of which that made one."""
        tracks = self._track_of
        touched: set[int] = set()
        for rows in self._places.joined_around(positions) if self._places is not None else ():
            members = {tracks[row] for row in rows}
            if len(members) > 1:
                touched |= members
                whole = tracks[rows[0]]
                for row in rows:
                    self._sets.join(whole, tracks[row])
                    tracks[row] = whole
                self._members = None
        return touched

    def _members_of_tracks(self) -> dict[int, list[int]]:
        """The positions of each track in the last table."""
        if self._members is None:
            self._members = defaultdict(list)
            for position, track in enumerate(self._track_of):
                self._members[track].append(position)
        return self._members

    def _carried_over(self, ours: Sequence[int], theirs: Sequence[int], size: int) -> list[int]:
        """The tracks of the mappings that are what they were, in their places; what is not carried over is -1."""
        tracks = [-1] * size
        kept = iter(without(self._track_of, ours))
        for j in without(range(size), theirs):
            tracks[j] = next(kept)
        return tracks

    def _note(self, step: int, touched: set[int], families: Sequence[str]) -> None:
        table, members = self._table, self._members_of_tracks() if touched else {}
        for track in touched:
            positions = members.get(track, ())
            mappings = tuple([table[p] for p in positions])
            known = self._tracks[track]
            if positions:
                known.speaker = self._speaker_at(positions[0] if len(positions) == 1 else positions[speaker(mappings)], families)
            if known.spans and known.spans[-1][1] == mappings:
                continue
            known.spans.append((step, mappings))

    def _speaker_at(self, position: int, families: Sequence[str]) -> _Speaker:
        owner = bss_owner(self._table, position)
        return _Speaker(self._table[position], families[position], None if owner is None else self._table[owner])

    def regions(self) -> list[Region]:
        """All regions of the series so far, in the order in which they came, by address."""
        groups: dict[int, list[_Track]] = defaultdict(list)
        for number, track in enumerate(self._tracks):
            groups[self._sets.find(number)].append(track)
        guessed = {self._sets.find(track) for track in self._guessed}
        found = [Region(_speaker_of(tracks), _together(tracks), root in guessed) for root, tracks in groups.items()]
        return sorted(found, key=lambda region: (region.first_step, region.first_start))


def _speaker_of(tracks: Sequence[_Track]) -> _Speaker:
    """The speaker of the part that was there last; of several, of the largest."""

    def weight(track: _Track) -> tuple[float, int]:
        step, mappings = track.spans[-1]
        if mappings:
            return (float("inf"), sum(m.size_kib for m in mappings))
        return (step, sum(m.size_kib for m in track.spans[-2][1]) if len(track.spans) > 1 else 0)

    found = (tracks[0] if len(tracks) == 1 else max(tracks, key=weight)).speaker
    assert found is not None
    return found


def _together(tracks: Sequence[_Track]) -> tuple[tuple[int, _Mappings], ...]:
    """The spans of several tracks as those of one region."""
    if len(tracks) == 1:
        return tuple(tracks[0].spans)
    events: dict[int, list[tuple[int, _Mappings]]] = defaultdict(list)
    for number, track in enumerate(tracks):
        for step, mappings in track.spans:
            events[step].append((number, mappings))
    current: dict[int, _Mappings] = {}
    spans: list[tuple[int, _Mappings]] = []
    for step in sorted(events):
        current.update(events[step])
        together = tuple(sorted((m for mappings in current.values() for m in mappings), key=lambda m: (m.start, m.end)))
        # What only went from one part to another is no change of the whole.
        if not spans or spans[-1][1] != together:
            spans.append((step, together))
    return tuple(spans)
