"""What holds of every comparison: laws 2 and 3 of the project, as checks for the tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from strategies import capture_of

from pmapdiff.align import Match
from pmapdiff.compare import KINDS, Effect, ProcessComparison, compare_captures
from pmapdiff.model import FIGURES, Figures, Mapping
from pmapdiff.model.counters import sum_figures

Table = tuple[Mapping, ...]
_TURNED = {"new": "gone", "grew": "shrank", "split": "merged", "dirtied": "cleaned"}
TURNED = {kind: kind for kind in KINDS} | _TURNED | {there: here for here, there in _TURNED.items()}


def compared(before: Sequence[Mapping] | None, after: Sequence[Mapping] | None, match: Match) -> ProcessComparison:
    return compare_captures(None if before is None else capture_of(before), None if after is None else capture_of(after), match)


def added(rows: Sequence[Figures], known: Sequence[bool]) -> Figures:
    """The sum of deltas: None where the figure is not known, and then it must be None in all of them."""
    for row in rows:
        assert [value is not None for value in row] == list(known)
    return tuple(sum(row[i] or 0 for row in rows) if known[i] else None for i in range(len(FIGURES)))


def check_conserved(found: ProcessComparison, before: Table, after: Table) -> None:
    totals_before, totals_after = found.totals_before, found.totals_after
    assert totals_before is not None
    assert totals_after is not None
    assert (totals_before.mappings, totals_after.mappings) == (len(before), len(after))
    # The totals are the sums of what the tables hold, in each figure that none of the mappings lacks.
    for totals, table in ((totals_before, before), (totals_after, after)):
        for i, name in enumerate(FIGURES):
            values = [mapping.figures[i] for mapping in table]
            assert totals.figures[i] == (None if None in values else sum(value or 0 for value in values)), name
    known = [a is not None and b is not None for a, b in zip(totals_before.figures, totals_after.figures, strict=True)]
    assert found.missing == tuple(name for name, is_known in zip(FIGURES, known, strict=True) if not is_known)
    difference = tuple(
        (b or 0) - (a or 0) if is_known else None for a, b, is_known in zip(totals_before.figures, totals_after.figures, known, strict=True)
    )
    assert found.delta == difference
    assert added([change.delta for change in found.changes], known) == difference
    assert added([family.delta for family in found.families], known) == difference
    assert sum(family.mappings_before for family in found.families) == len(before)
    assert sum(family.mappings_after for family in found.families) == len(after)
    for change in found.changes:
        ours, theirs = (sum_figures(mapping.figures for mapping in side) for side in (change.before, change.after))
        assert change.delta == tuple(b - a if k and a is not None and b is not None else None for a, b, k in zip(ours, theirs, known, strict=True))
    check_partition(found, before, after)


def check_partition(found: ProcessComparison, before: Table, after: Table) -> None:
    """Every mapping of both tables stands in exactly one change or in the unchanged remainder."""
    left = []
    for table, side in ((before, "before"), (after, "after")):
        in_changes = Counter(mapping for change in found.changes for mapping in getattr(change, side))
        whole = Counter(table)
        assert in_changes <= whole
        left.append(whole - in_changes)
        assert left[-1].total() == found.unchanged
    if found.match is Match.SAME:
        # What is called unchanged is at the same place and says the same, as far as both tables say it.
        assert Counter(m[:3] for m in left[0].elements()) == Counter(m[:3] for m in left[1].elements())
        if all(mapping.inode is not None for mapping in (*before, *after)):
            figures = [Counter((m[:7], _masked(m, found.missing)) for m in side.elements()) for side in left]
            assert figures[0] == figures[1]


def _masked(mapping: Mapping, missing: Sequence[str]) -> Figures:
    return tuple(None if name in missing else value for name, value in zip(FIGURES, mapping.figures, strict=True))


def check_kinds(found: ProcessComparison) -> None:
    for change in found.changes:
        assert change.kinds
        assert sorted(change.kinds, key=KINDS.index) == list(change.kinds)
        assert len(set(change.kinds)) == len(change.kinds)
        assert ("new" in change.kinds) == (not change.before)
        assert ("gone" in change.kinds) == (not change.after)
        assert not {"new", "gone"} & set(change.kinds) or len(change.kinds) == 1
        size, dirty = change.get("size_kib"), change.get("dirty_kib")
        assert size is not None
        if change.before and change.after:
            assert ("grew" in change.kinds) >= (size > 0)
            assert ("shrank" in change.kinds) >= (size < 0)
            assert ("dirtied" in change.kinds) == ((dirty or 0) > 0)
            assert ("cleaned" in change.kinds) == ((dirty or 0) < 0)
        # A guess is about two sides.
        assert not change.possibly or (change.before and change.after)
        assert change.before != change.after or "moved" in change.kinds


def negated(figures: Figures) -> Figures:
    return tuple(None if value is None else -value for value in figures)


Fact = tuple[Table, Table, tuple[str, ...], bool, Figures]


def facts(found: ProcessComparison) -> Counter[Fact]:
    return Counter((change.before, change.after, change.kinds, change.possibly, change.delta) for change in found.changes)


def turned(found: ProcessComparison) -> Counter[Fact]:
    turned_round = []
    for change in found.changes:
        kinds = tuple(TURNED[kind] for kind in change.kinds)
        turned_round.append((change.after, change.before, kinds, change.possibly, negated(change.delta)))
    return Counter(turned_round)


def _in_kib(found: ProcessComparison) -> dict[Effect, int]:
    """The effects that have an opposite."""
    return {o.effect: o.amount for o in found.effects if o.effect not in (Effect.MAPPING_COUNT, Effect.FILES_DELETED)}


def check_mirrored(there: ProcessComparison, back: ProcessComparison) -> None:
    assert facts(back) == turned(there)
    assert _in_kib(back) == {effect: -amount for effect, amount in _in_kib(there).items()}
    assert (back.missing, back.unchanged) == (there.missing, there.unchanged)
    assert (back.totals_before, back.totals_after) == (there.totals_after, there.totals_before)
    assert back.delta == negated(there.delta)
    assert [(f.family, f.mappings_after, f.mappings_before, f.after, f.before, negated(f.delta)) for f in back.families] == [
        (f.family, f.mappings_before, f.mappings_after, f.before, f.after, f.delta) for f in there.families
    ]
