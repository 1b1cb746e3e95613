"""Verdicts on generated series: what leaks is found, what does not is left alone, at any rate and any scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from zoo.series import SPECIES, Species, generate, tally

from pmapdiff.analyse.chance import discovery_chances
from pmapdiff.analyse.judge import judge
from pmapdiff.analyse.lines import rise, sustained, theil_sen
from pmapdiff.analyse.pieces import straight_pieces
from pmapdiff.analyse.result import Verdict

_SEED = 1
_NAMES = [species.name for species in SPECIES]
_CLASSIC = SPECIES[:6]


# That the rate does not matter, see below; half of it and double leave other noise.
@pytest.mark.parametrize(("factor", "count"), [(0.5, 40), (1.0, 200), (2.0, 40)])
def test_the_six_classic_series(factor: float, count: int) -> None:
    tallies = [tally(species, count, _SEED, factor, ranks=False) for species in _CLASSIC]
    calm = [known for known in tallies if not known.species.leaks]
    assert all(known.share >= 0.98 for known in tallies if known.species.leaks), tallies
    assert sum(known.growing for known in calm) < 0.02 * count * len(calm), tallies
    if count >= 200:
        assert all(known.share < 0.02 for known in calm), tallies


def test_what_a_test_of_ranks_alone_makes_of_the_same() -> None:
    calm = [tally(species, 20, _SEED) for species in _CLASSIC if not species.leaks]
    assert sum(known.mann_kendall or 0 for known in calm) > 0.3 * 20 * len(calm)


@pytest.mark.parametrize("species", SPECIES[6:], ids=_NAMES[6:])
def test_harder_series(species: Species) -> None:
    known = tally(species, 70, _SEED, ranks=False)
    assert known.share >= 0.93 if species.leaks else known.share < 0.02, known


@given(
    name=st.sampled_from(_NAMES), seed=st.integers(0, 1 << 32), scale=st.sampled_from([0.25, 3.0, 1000.0]), pace=st.sampled_from([1e-4, 7.0, 5000.0])
)
def test_neither_scale_nor_pace_matters(name: str, seed: int, scale: float, pace: float) -> None:
    t, y = generate(SPECIES[_NAMES.index(name)], np.random.default_rng(seed))
    one, other = judge(t, y, 132.0), judge(t * pace, y * scale, 132.0 * scale)
    assert (one.verdict, one.onset) == (other.verdict, other.onset)
    if one.line is not None and other.line is not None:
        assert other.line.slope == pytest.approx(one.line.slope * scale / pace, rel=1e-6)


@given(st.lists(st.integers(0, 1 << 60) | st.integers(0, 3), min_size=2, max_size=40), st.integers(0, 1 << 32))
def test_the_line_is_that_of_the_statisticians(values: list[int], seed: int) -> None:
    t, y = np.cumsum(np.random.default_rng(seed).uniform(1e-6, 100, len(values))), np.array(values, dtype=np.float64)
    assert theil_sen(t, y) == tuple(stats.theilslopes(y, t))


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 1.0]), min_size=1, max_size=40))
def test_the_part_of_chance_is_that_of_the_statisticians(ps: list[float]) -> None:
    assert discovery_chances(ps) == pytest.approx(list(stats.false_discovery_control(ps)))


@given(st.lists(st.integers(0, 1 << 60), min_size=1, max_size=80), st.integers(0, 1 << 32))
def test_any_series_gets_a_verdict(values: list[int], seed: int) -> None:
    t = np.cumsum(np.random.default_rng(seed).uniform(1e-6, 100, len(values)))
    found = judge(t, np.array(values, dtype=np.float64), 132.0)
    assert (found.verdict is Verdict.TOO_SHORT) == (len(values) < 5)
    if found.verdict is Verdict.GROWING:
        assert found.line is not None
        assert found.line.slope > 0
        assert found.line.low <= found.line.slope <= found.line.high
        assert found.onset is not None


@given(slope=st.floats(1.0, 1e6), start=st.floats(0, 1e9), count=st.integers(5, 100))
def test_a_straight_line_is_what_it_is(slope: float, start: float, count: int) -> None:
    t = np.arange(count, dtype=np.float64)
    line = sustained(t, start + slope * t)
    assert line is not None
    assert line.slope == pytest.approx(slope, rel=1e-3)
    assert line.rise == pytest.approx(slope * (count - 1), rel=1e-3)


def test_the_interval_holds_the_truth() -> None:
    """Of linear series under independent noise, the 95 % interval has the true slope in about as many."""
    rng = np.random.default_rng(_SEED)
    held = 0
    for _ in range(300):
        t = np.arange(40.0)
        line = rise(t, 1000 * t + rng.normal(scale=1500, size=40))
        assert line is not None
        held += line.low <= 1000 <= line.high
    assert held >= 0.92 * 300


def test_pieces_begin_where_the_slope_changes() -> None:
    t = np.arange(60.0)
    y = np.where(t < 20, 5.0, 5.0 + 3.0 * (t - 20)) + np.where(t >= 40, 500.0, 0.0)
    assert [piece.begin for piece in straight_pieces(t, y, 0.5)] == [0, pytest.approx(20, abs=1), 40]
