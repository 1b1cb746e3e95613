"""What a report is made of keeps every number: series packed and added up, addresses on a folded axis."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from page_data import series_of

from pmapdiff.align import Sample, Samples, add_samples
from pmapdiff.model import FIGURES as ALL_FIGURES
from pmapdiff.report.visual.embed import series_value
from pmapdiff.report.visual.series import FIGURES, NONE_THERE, Series, Values, thinned, together, values_of
from pmapdiff.report.visual.space import Axis, Piece, axis_of

SIZE = 12

figures = st.tuples(*[st.one_of(st.none(), st.integers(0, 1 << 40), st.just(4)) for _ in ALL_FIGURES])
a_sample = st.builds(Sample, st.integers(0, 9), st.just(0), st.just(0), figures)
tables = st.lists(st.booleans(), min_size=SIZE, max_size=SIZE).map(lambda there: tuple(step for step, known in enumerate(there) if known))


@st.composite
def some_samples(draw: st.DrawFn, known: tuple[int, ...]) -> Samples:
    """The samples of a region that has tables at these steps."""
    steps = draw(st.lists(st.sampled_from(known), unique=True, max_size=6)) if known else []
    return Samples(tuple((step, draw(a_sample)) for step in sorted(steps)), known, SIZE)


@st.composite
def regions(draw: st.DrawFn) -> list[Samples]:
    """Some regions of one service."""
    known = draw(tables)
    return [draw(some_samples(known)) for _ in range(draw(st.integers(1, 4)))]


def naive(samples: Samples) -> list[Values | None]:
    return [None if sample is None else values_of(sample) for sample in samples]


def all_values(series: Series) -> list[Values | None]:
    columns = [series.values(figure) for figure in FIGURES]
    return [None if series.at(step) is None else tuple(column[step] for column in columns) for step in range(series.size)]


@given(regions())
def test_a_series_is_its_samples(several: list[Samples]) -> None:
    for samples in several:
        series = Series.of(samples)
        assert all_values(series) == naive(samples)
        assert [series.at(step) for step in range(SIZE)] == naive(samples)


@given(regions())
def test_what_is_packed_is_what_was(several: list[Samples]) -> None:
    for samples in several:
        series = Series.of(samples)
        packed = series_value(series)
        for place, figure in enumerate(FIGURES):
            assert series_of(packed, place, SIZE) == series.values(figure)


@given(regions())
def test_regions_add_up(several: list[Samples]) -> None:
    assert all_values(Series.of_sum(several)) == naive(add_samples(several, several[0].tables, SIZE))


@given(st.lists(regions(), min_size=1, max_size=3), st.data())
def test_processes_add_up_with_their_last_figures(services: list[list[Samples]], data: st.DataObject) -> None:
    alone = [Series.of_sum(several) for several in services]
    lives = []
    for several in services:
        known = several[0].tables
        lives.append(range(known[0], known[-1] + 1) if known else range(0))
    sums = together(list(zip(alone, lives, strict=True)), SIZE)
    step = data.draw(st.integers(0, SIZE - 1))
    expected: list[int | None] = [0] * len(FIGURES)
    for series, life in zip(alone, lives, strict=True):
        last = NONE_THERE
        for earlier in range(step + 1):
            last = (series.at(earlier) or last) if earlier in life else NONE_THERE
        expected = [None if a is None or b is None else a + b for a, b in zip(expected, last, strict=True)]
    assert sums.at(step) == tuple(expected)


@given(st.lists(st.one_of(st.none(), st.integers(0, 100)), max_size=40), st.integers(1, 10))
def test_what_is_thinned_keeps_the_largest(values: list[int | None], most: int) -> None:
    few = thinned(values, most)
    assert len(few) == min(len(values), most)
    assert max((v for v in few if v is not None), default=None) == max((v for v in values if v is not None), default=None)


pieces = st.lists(
    st.builds(
        lambda start, size, reserved: Piece(start, start + size, reserved),
        st.one_of(st.integers(0, 200), st.integers(0, 1 << 52)),
        st.one_of(st.integers(1, 40), st.integers(1, 1 << 36)),
        st.booleans(),
    ),
    max_size=30,
)


@given(pieces)
def test_every_address_has_one_place_on_the_axis(mappings: list[Piece]) -> None:
    axis = axis_of(mappings)
    assert len(axis.pages) == len(axis.places)
    assert all(one < other for one, other in pairwise(axis.pages))
    assert all(one <= other for one, other in pairwise(axis.places))
    assert axis.places[0] == 0
    assert abs(axis.places[-1] - axis.lines) < 1e-3
    for piece in mappings:
        assert piece.start in axis.pages
        assert piece.end in axis.pages


@given(pieces)
def test_what_is_not_folded_is_to_scale(mappings: list[Piece]) -> None:
    """Between two addresses of which neither is in a fold, as much of the picture is given to each page as anywhere else."""
    axis = axis_of([piece._replace(reserved=False) for piece in mappings])
    folds = [place for place, _, _ in axis.folds]
    scales = []
    for (page, following), (place, end) in zip(pairwise(axis.pages), pairwise(axis.places), strict=True):
        # Where the rounding of places would be seen, nothing can be said.
        if not any(place <= fold <= end for fold in folds) and end - place > 1e-3:
            scales.append((end - place) / (following - page))
    assert not scales or max(scales) <= min(scales) * 1.02


def test_thirty_thousand_mappings_have_a_short_axis() -> None:
    """As of a program with that many threads: a stack and its guard, again and again, and now and then a hole."""
    mappings = []
    page = 1 << 20
    for number in range(15000):
        mappings += [Piece(page, page + 1, True), Piece(page + 1, page + 1 + 2048, False)]
        page += 2049 + (5000 if number % 100 == 0 else 0)
    axis = axis_of(mappings)
    assert len(axis.pages) < 4000
    assert len(axis.folds) < 12 * 350
    exact = {piece.start for piece in mappings}
    places = [interpolated(axis, page) for page in sorted(exact)]
    assert all(one <= other for one, other in pairwise(places))
    # All stacks are as wide as each other, but for less than a point of the picture.
    widths = [interpolated(axis, piece.end) - interpolated(axis, piece.start) for piece in mappings if not piece.reserved]
    assert max(widths) - min(widths) < 0.002


def interpolated(axis: Axis, page: int) -> float:
    place = bisect_right(axis.pages, page)
    if place == len(axis.pages):
        return axis.places[-1]
    low, high = axis.pages[place - 1], axis.pages[place]
    return axis.places[place - 1] + (axis.places[place] - axis.places[place - 1]) * (page - low) / (high - low)


def test_a_huge_reserve_leaves_room_to_the_rest() -> None:
    small = [Piece(1000 + number * 300, 1000 + number * 300 + 256, False) for number in range(40)]
    for huge in (Piece(1 << 30, (1 << 30) + (1 << 28), True), Piece(1 << 30, (1 << 30) + (1 << 28), False)):
        axis = axis_of([*small, huge])
        place = dict(zip(axis.pages, axis.places, strict=True))
        assert place[small[-1].end] - place[small[0].start] > 0.1 * axis.lines
        assert any(pages == 1 << 28 for _, pages, _ in axis.folds)
