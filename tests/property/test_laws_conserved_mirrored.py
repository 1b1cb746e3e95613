"""Laws 2 and 3: the changes of a comparison add up to the difference of the totals, and turned round it says the reverse."""

from __future__ import annotations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from laws import Table, check_conserved, check_kinds, check_mirrored, compared
from strategies import FORMS, capture_of, evolutions, in_form, law, pairs, tables

from pmapdiff.align import Match, align_incarnations, align_same_process
from pmapdiff.align.versions import fold_version
from pmapdiff.compare import Comparison, ProcessComparison, compare_snapshots, family_changes
from pmapdiff.model import COUNTERS, FIGURES, Capture, MappingTable, ProcessIdentity, Snapshot, SnapshotRef, Status

BOTH = st.sampled_from((Match.SAME, Match.RESTARTED))


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
    _check_both_laws(first, second)


@law(60)
@given(st.lists(st.tuples(evolutions(), st.sampled_from((b"/bin/a", b"/bin/b-1.2", b"/bin/b-1.3")), st.integers(0, 3)), max_size=6), st.data())
def test_two_hosts(drawn: list[tuple[tuple[Table, Table], bytes, int]], data: st.DataObject) -> None:
    """Both laws for hosts that run the same programs, in several processes each, perhaps as copies of one machine with equal pids."""
    is_copy, later = data.draw(st.booleans()), data.draw(st.integers(-1, 1))
    sides: tuple[list[Capture], list[Capture]] = ([], [])
    for number, (both, exe, parent) in enumerate(drawn):
        for side, (captures, table) in enumerate(zip(sides, both, strict=True)):
            if data.draw(st.integers(0, 3)) == 0:
                continue
            known = capture_of(table, 100 + number + (0 if is_copy else 50 * side))
            identity = known.process.identity._replace(boot_id="boot" if is_copy else f"boot {side}", start_ticks=data.draw(st.integers(1, 3)))
            unit = data.draw(st.sampled_from(("a.service", "b.service", None)))
            captures.append(known._replace(process=known.process._replace(identity=identity, exe=exe, unit=unit, ppid=100 + parent)))
    first, second = (Snapshot(SnapshotRef(1, 5, "web1"), tuple(sides[0])), Snapshot(SnapshotRef(2, 5 + later, "web2"), tuple(sides[1])))
    there = _check_both_laws(first, second)
    assert not {Match.SAME, Match.EXEC} & {process.match for process in there.processes}
    # What runs the same program on both is not left over on both.
    left = [{fold_version(p.process.exe or b"") for p in there.processes if p.match is match} for match in (Match.GONE, Match.NEW)]
    assert not left[0] & left[1]


def _check_both_laws(first: Snapshot, second: Snapshot) -> Comparison:
    before, after = first.captures, second.captures
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
    return there


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
