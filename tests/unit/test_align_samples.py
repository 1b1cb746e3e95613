"""Samples through a series: kept where they change, the same as if there were one a snapshot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from strategies import law

from pmapdiff.align.samples import NOT_THERE, Sample, Samples, add_samples
from pmapdiff.model import FIGURES
from pmapdiff.model.counters import sum_figures

SIZE = 8


def sample(kib: int | None) -> Sample:
    return Sample(1, 4096, 8192, (kib,) * len(FIGURES))


@st.composite
def series(draw: st.DrawFn) -> tuple[list[list[Sample | None]], list[Samples]]:
    """Up to four regions with the same gaps, each as one sample a snapshot and as runs."""
    tables = sorted(draw(st.sets(st.integers(0, SIZE - 1), min_size=1)))
    plain, known = [], []
    for _ in range(draw(st.integers(0, 4))):
        runs = {
            step: draw(st.sampled_from((NOT_THERE, sample(None), sample(4), sample(8)))) for step in sorted(draw(st.sets(st.sampled_from(tables))))
        }
        current, row = NOT_THERE, list[Sample | None]([None] * SIZE)
        for step in tables:
            current = row[step] = runs.get(step, current)
        plain.append(row)
        known.append(Samples(tuple(runs.items()), tables, SIZE))
    return plain, known


@law(100)
@given(series())
def test_samples_are_given_for_every_snapshot(drawn: tuple[list[list[Sample | None]], list[Samples]]) -> None:
    for row, samples in zip(*drawn, strict=True):
        assert list(samples) == [samples[step] for step in range(SIZE)] == row
        assert len(samples) == SIZE
        assert set(samples.distinct()) == {found for found in row if found is not None}


@law(100)
@given(series())
def test_a_sum_is_that_of_each_snapshot(drawn: tuple[list[list[Sample | None]], list[Samples]]) -> None:
    plain, rows = drawn
    tables = rows[0].tables if rows else range(SIZE)
    added = list(add_samples(rows, tables, SIZE))
    for step, found in enumerate(added):
        there = [row[step] for row in plain]
        assert (found is None) == (step not in tables)
        if found is not None:
            assert found.mappings == sum(known.mappings for known in there if known is not None)
            assert found.figures == sum_figures(known.figures for known in there if known is not None)


def test_the_length_of_a_series_costs_a_region_nothing() -> None:
    """Sums and comparisons look at what changed, not at every snapshot: 10 million of them here."""
    rows = [Samples(((0, sample(4)),), range(10**7), 10**7) for _ in range(100)]
    total = add_samples(rows, range(10**7), 10**7)
    assert total.runs == ((0, Sample(100, 0, 0, (400,) * len(FIGURES))),)
    assert list(total.distinct()) == [total[10**7 - 1]]
