"""Law 2 through time: at every step the regions of a series add up to the table, and every mapping is in exactly one of them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from strategies import capture_of, evolve, law, tables

from pmapdiff.align import align_same_process, classify, trace
from pmapdiff.align.series import Follower
from pmapdiff.model import FIGURES, Mapping, Snapshot, SnapshotRef
from pmapdiff.model.counters import sum_figures

Table = tuple[Mapping, ...]


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
