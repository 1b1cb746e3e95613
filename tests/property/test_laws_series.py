"""Law 2 through time: at every step the regions of a series add up to the table, and every mapping is in exactly one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise

import pytest
from histories import History
from hypothesis import given
from hypothesis import strategies as st
from strategies import MANY, PAGE, capture_of, evolve, file, law, make, tables

from pmapdiff.align import align_same_process, classify, trace
from pmapdiff.align.families import Explainer, explain
from pmapdiff.align.series import Follower
from pmapdiff.model import FIGURES, Mapping, Snapshot, SnapshotRef
from pmapdiff.model.counters import sum_figures

Table = tuple[Mapping, ...]
A = 0x7F0000000000


@st.composite
def recorded(draw: st.DrawFn) -> list[Table]:
    """Up to eight tables as a recorder sees them: most differ from the one before in a few counters, others in more. Some are torn."""
    found = [draw(tables(torn=draw(st.integers(0, 3)) == 0))]
    for number in range(draw(st.integers(1, 7))):
        how = draw(st.sampled_from(("counted", "counted", "counted", "evolved", "both", "both", "torn")))
        table = list(found[-1] if how == "counted" else draw(tables(torn=True)) if how == "torn" else draw(evolve(found[-1])))
        for at in draw(st.sets(st.integers(0, 9), max_size=2)) if how != "evolved" else ():
            if at < len(table):
                table[at] = table[at]._replace(counters=(number, *table[at].counters[1:]))
        found.append(tuple(table))
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[Table]:
    """Up to six tables, each evolved from the one before, the same again, or an earlier one."""
    found = [draw(tables())]
    for _ in range(draw(st.integers(1, 5))):
        how = draw(st.sampled_from(("evolved", "evolved", "evolved", "same", "earlier")))
        found.append(draw(evolve(found[-1])) if how == "evolved" else found[-1] if how == "same" else draw(st.sampled_from(found)))
    return found


@law(120)
@given(histories(), st.sets(st.integers(1, 5), max_size=2))
def test_regions_add_up_at_every_step(series: list[Table], restarts: set[int]) -> None:
    follower = Follower()
    for step, table in enumerate(series):
        follower.add(step, table, classify(table), same_process=step not in restarts)
    regions = follower.regions()
    for step, table in enumerate(series):
        held: Counter[Mapping] = Counter()
        for region in regions:
            spans = [mappings for begin, mappings in region.spans if begin <= step]
            held.update(spans[-1] if spans else ())
        assert held == Counter(table)
    for region in regions:
        steps = [step for step, _ in region.spans]
        assert steps == sorted(set(steps))
        assert region.spans[0][1]
        assert all(one[1] != other[1] for one, other in pairwise(region.spans))


class Anew(Follower):
    """One that looks at every mapping of every table, as if nothing were known of the one before."""

    def changes(self, _table: Sequence[Mapping]) -> None:
        return None


def check_shortcuts(series: Sequence[Table], restarts: Collection[int] = ()) -> None:
    """A series in which only what changed is looked at has the regions that it has if everything is."""
    pids = list(accumulate(step in restarts for step in range(len(series))))
    known: dict[Mapping, Mapping] = {}
    # The store gives the same object for what did not change; a saved table does not.
    stored = [tuple([known.setdefault(m, m) for m in table]) for table in series]
    saved = [tuple([Mapping(*m) for m in table]) for table in series]
    for given_tables in (stored, saved):
        snapshots = [Snapshot(SnapshotRef(n + 1, n, "h"), (capture_of(table, 7 + pids[n]),)) for n, table in enumerate(given_tables)]
        (service,) = trace(snapshots).services
        follower = Anew()
        for step, table in enumerate(given_tables):
            follower.add(step, table, classify(table), same_process=not step or step not in restarts)
        regions = follower.regions()
        assert [(r.region.spans, r.region.label, r.region.possibly) for r in service.regions] == [(r.spans, r.label, r.possibly) for r in regions]


@law(300)
@given(recorded(), st.sets(st.integers(1, 7), max_size=2))
def test_what_did_not_change_needs_no_look(series: list[Table], restarts: set[int]) -> None:
    check_shortcuts(series, restarts)


def test_neighbours_that_no_restart_joined_are_one_region_when_one_of_them_changes() -> None:
    """A bss, and memory of the same kind beside it."""
    library = [file(A, A + PAGE, "r-xp", 0), file(A + PAGE, A + 2 * PAGE, "rw-p", PAGE)]
    bss, beside = make(A + 2 * PAGE, A + 3 * PAGE), make(A + 3 * PAGE, A + 9 * PAGE, rss=4)
    table, counted = (*library, bss, beside), (*library, bss, beside._replace(counters=bss.counters))
    check_shortcuts([table, table, counted, table], {1})
    pids = (1, 2, 2)
    (service,) = trace([Snapshot(SnapshotRef(n + 1, n, "h"), (capture_of(t, pids[n]),)) for n, t in enumerate((table, table, counted))]).services
    assert [len(known.samples.runs) and known.samples[2].mappings for known in service.regions if known.samples[2]] == [1, 1, 2]


def test_a_family_that_changed_is_told_where_anything_did() -> None:
    """A file of which code is mapped elsewhere is a program: then what adjoins its data is its bss."""
    data, bss = file(A, A + PAGE, "rw-p", 0, b"/opt/x"), make(A + PAGE, A + 2 * PAGE)
    code = file(A + 64 * PAGE, A + 65 * PAGE, "r-xp", PAGE, b"/opt/x")
    series = [(data, bss), (data._replace(counters=bss.counters[::-1]), bss, code), (data, bss, code)]
    check_shortcuts(series)
    (service,) = trace([Snapshot(SnapshotRef(n + 1, n, "h"), (capture_of(table),)) for n, table in enumerate(series)]).services
    assert [known.region.label.family for known in service.regions] == ["image"] * 3


@pytest.mark.parametrize("seed", range(12 * MANY))
def test_what_did_not_change_needs_no_look_in_a_program(seed: int) -> None:
    """Some of its snapshots are close together, as those of a recorder are."""
    history = History(seed)
    series = []
    for number in range(30):
        history.run(history.random.choice((0, 0, 1, 1, 2, 8)) if number else 60)
        table = [row.mapping for row in history.space.snapshot()]
        for _ in range(history.random.choice((0, 1, 3))):
            at = history.random.randrange(len(table))
            table[at] = table[at]._replace(counters=(number, *table[at].counters[1:]))
        series.append(tuple(table))
    check_shortcuts(series, {10})
    explainer = Explainer()
    assert all(explainer.explain(table, seed % 3 or None) == explain(table, seed % 3 or None) for table in series)


@law(60)
@given(histories())
def test_samples_add_up_to_the_totals(series: list[Table]) -> None:
    snapshots = [Snapshot(SnapshotRef(n + 1, n, "h"), (capture_of(table),)) for n, table in enumerate(series)]
    (service,) = trace(snapshots).services
    for step, table in enumerate(series):
        samples = [known.samples[step] for known in service.regions]
        figures = sum_figures(sample.figures for sample in samples if sample is not None)
        totals = service.totals[step]
        assert totals is not None
        assert None not in samples
        assert sum(sample.mappings for sample in samples if sample is not None) == len(table)
        assert figures == totals.figures or not table
        assert len(figures) == len(FIGURES)


@law(60)
@given(histories())
def test_a_series_holds_together_what_each_pair_does(series: list[Table]) -> None:
    """What two consecutive tables align, the series has in one region."""
    follower = Follower()
    for step, table in enumerate(series):
        follower.add(step, table, classify(table), same_process=True)
    regions = follower.regions()

    def region_of(step: int, mapping: Mapping) -> int:
        for number, region in enumerate(regions):
            spans = [mappings for begin, mappings in region.spans if begin <= step]
            if spans and mapping in spans[-1]:
                return number
        raise AssertionError(mapping)

    for step, (before, after) in enumerate(pairwise(series)):
        for component in align_same_process(before, after):
            members = {region_of(step, before[i]) for i in component.before} | {region_of(step + 1, after[j]) for j in component.after}
            assert len(members) == 1
