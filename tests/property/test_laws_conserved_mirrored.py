"""Laws 2 and 3: the changes of a comparison add up to the difference of the totals, and turned round it says the reverse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from strategies import FORMS, capture_of, evolutions, in_form, law, pairs, tables

from pmapdiff.align import Match, align_incarnations, align_same_process
from pmapdiff.compare import KINDS, Comparison, Effect, ProcessComparison, compare_captures, compare_snapshots, family_changes
from pmapdiff.model import COUNTERS, FIGURES, Capture, Figures, Mapping, MappingTable, ProcessIdentity, Snapshot, SnapshotRef, Status
from pmapdiff.model.counters import sum_figures

Table = tuple[Mapping, ...]
BOTH = st.sampled_from((Match.SAME, Match.RESTARTED))
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
        assert not change.possibly or "moved" in change.kinds
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


@law(250)
@given(pairs(), BOTH)
def test_conserved(both: tuple[Table, Table], match: Match) -> None:
    before, after = both
    found = compared(before, after, match)
    check_conserved(found, before, after)
    check_kinds(found)
    for kind in {kind for change in found.changes for kind in change.kinds}:
        event(kind)


@law(250)
@given(pairs(), BOTH)
def test_mirrored(both: tuple[Table, Table], match: Match) -> None:
    before, after = both
    check_mirrored(compared(before, after, match), compared(after, before, match))


@law(120)
@given(st.one_of(tables(), tables(torn=True)), st.sampled_from(sorted(FORMS)), BOTH)
def test_a_table_compared_with_itself_is_unchanged(table: Table, form: str, match: Match) -> None:
    table = in_form(table, form)
    found = compared(table, table, match)
    assert found.changes == ()
    assert found.unchanged == len(table)
    assert found.delta == tuple(None if name in found.missing else 0 for name in FIGURES)
    assert all(not any(family.delta) for family in found.families)


@law(60)
@given(pairs(), st.sampled_from((Match.NEW, Match.GONE)))
def test_a_process_that_came_or_went(both: tuple[Table, Table], match: Match) -> None:
    table = both[0]
    sides: tuple[Table | None, Table | None] = (None, table) if match is Match.NEW else (table, None)
    found = compared(*sides, match)
    check_conserved(found, sides[0] or (), sides[1] or ())
    assert {change.kinds for change in found.changes} <= {(match.value,)}
    back = compared(sides[1], sides[0], Match.GONE if match is Match.NEW else Match.NEW)
    check_mirrored(found, back)


@law(80)
@given(evolutions())
def test_nothing_is_lost_between_three_moments(both: tuple[Table, Table]) -> None:
    """Deltas of consecutive comparisons add up to that of the first and the last."""
    first, last = both
    middle = first[: len(first) // 2] + tuple(m for m in last if m.start >= (first[len(first) // 2 - 1].end if len(first) > 1 else 0))
    steps = [compared(first, middle, Match.SAME).delta, compared(middle, last, Match.SAME).delta]
    assert compared(first, last, Match.SAME).delta == tuple(a + b if a is not None and b is not None else None for a, b in zip(*steps, strict=True))


@law(120)
@given(pairs(), st.booleans())
def test_the_aligner_puts_each_mapping_into_one_component(both: tuple[Table, Table], same: bool) -> None:
    before, after = both
    components = align_same_process(before, after) if same else align_incarnations(before, after)
    assert sorted(i for c in components for i in c.before) == list(range(len(before)))
    assert sorted(j for c in components for j in c.after) == list(range(len(after)))
    assert all(c.before or c.after for c in components)
    assert all(list(side) == sorted(side) for c in components for side in (c.before, c.after))
    assert all(c.parts_before <= len(c.before) and c.parts_after <= len(c.after) for c in components)


@law(80)
@given(evolutions())
def test_the_aligner_never_mixes_files_and_memory(both: tuple[Table, Table]) -> None:
    before, after = both
    for component in align_same_process(before, after):
        members = [before[i] for i in component.before] + [after[j] for j in component.after]
        assert len({(m.device, m.inode) if m.is_file else None for m in members}) == 1


@law(40)
@given(st.lists(evolutions(), min_size=1, max_size=4), st.data())
def test_snapshots_of_several_processes(tables_of: list[tuple[Table, Table]], data: st.DataObject) -> None:
    """Both laws for whole snapshots: processes that stay, exec, restart, come, go, and captures that have no table."""
    before: list[Capture] = []
    after: list[Capture] = []
    for number, (ours, theirs) in enumerate(tables_of):
        what = data.draw(st.sampled_from(("same", "same", "exec", "restart", "new", "gone", "denied")))
        old = capture_of(ours, 100 + number)
        new = capture_of(theirs, 100 + number)
        old, new = (c._replace(process=c.process._replace(exe=b"/bin/p%d" % number)) for c in (old, new))
        if what == "exec":
            new = new._replace(process=new.process._replace(identity=old.process.identity._replace(exec_key="other")))
        elif what == "restart":
            new = new._replace(process=new.process._replace(identity=ProcessIdentity("boot", 900 + number, 77, "e")))
        elif what == "denied":
            new = new._replace(status=Status.DENIED, table=None)
        if what != "new":
            before.append(old)
        if what != "gone":
            after.append(new)
    first, second = (Snapshot(SnapshotRef(n, n, "h"), tuple(captures)) for n, captures in enumerate((before, after)))
    there, back = compare_snapshots(first, second), compare_snapshots(second, first)
    assert sum(p.before is not None for p in there.processes) == len(before)
    assert sum(p.after is not None for p in there.processes) == len(after)
    by_key = {_key(process): process for process in back.processes}
    for process in there.processes:
        other = by_key.pop((_key(process)[1], _key(process)[0]))
        assert other.match == {Match.NEW: Match.GONE, Match.GONE: Match.NEW}.get(process.match, process.match)
        check_mirrored(process, other)
        if process.totals_before is not None and process.totals_after is not None:
            check_conserved(process, _mappings(process.before), _mappings(process.after))
        else:
            assert (process.changes, process.families, process.missing) == ((), (), FIGURES)
            assert process.delta == (None,) * len(FIGURES)
    assert by_key == {}
    _check_families(there)


def _key(process: ProcessComparison) -> tuple[ProcessIdentity | None, ProcessIdentity | None]:
    return (
        None if process.before is None else process.before.process.identity,
        None if process.after is None else process.after.process.identity,
    )


def _mappings(capture: Capture | None) -> Table:
    return () if capture is None else (capture.table or MappingTable(())).mappings


def _check_families(comparison: Comparison) -> None:
    together = family_changes(comparison.processes)
    for i, name in enumerate(FIGURES):
        parts = [row.delta[i] for process in comparison.processes for row in process.families]
        sums = [row.delta[i] for row in together]
        if None not in parts:
            assert sum(value or 0 for value in sums) == sum(value or 0 for value in parts), name


@pytest.mark.parametrize("match", [Match.SAME, Match.RESTARTED])
def test_empty_tables(match: Match) -> None:
    found = compared((), (), match)
    assert (found.changes, found.families, found.unchanged, found.missing) == ((), (), 0, ())
    assert found.delta == (0,) * len(FIGURES)


def test_counters_that_are_no_sums_are_no_figures() -> None:
    assert not {c.attribute for c in COUNTERS if not c.summable} & set(FIGURES)
