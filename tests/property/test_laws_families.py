"""Whatever a table looks like: each mapping has a family and a reason, and buckets change what is reported, not what it adds up to."""

from __future__ import annotations

import re
from collections import Counter

from hypothesis import event, given
from hypothesis import strategies as st
from smaps_texts import NAMES
from strategies import FORMS, capture_of, in_form, law, make, pairs, tables

from pmapdiff.align import FAMILIES, Bucket, Classifier, Match, classify, explain
from pmapdiff.compare import compare_captures, family_changes
from pmapdiff.model import FIGURES, Mapping, Snapshot, SnapshotRef
from pmapdiff.report import View
from pmapdiff.report.families import family_totals, summarise

K, M, G = 1 << 10, 1 << 20, 1 << 30
THREADS = st.one_of(st.none(), st.integers(0, 100))
# Sizes and places that some rule is about.
_SIZES = st.sampled_from((4 * K, 8 * K, 64 * K, 132 * K, 256 * K, M, 4 * M, 31 * M, 63 * M, 64 * M, 8192 * K, 8196 * K, 267 * M, 512 * M, 300 * G))
_GAPS = st.sampled_from((0, 0, 0, 0, 4 * K, 256 * K, 64 * M, G))
_ALIGNMENTS = st.sampled_from((4 * K, 4 * K, 4 * K, 256 * K, M, 64 * M))
_STARTS = st.sampled_from((0x10000, 0x4000000000, 0xC000000000, 0x20000000000, 0x7F0000000000))
_PERMS = st.sampled_from(("rw-p", "rw-p", "rw-p", "---p", "---p", "r--p", "rwxp", "r-xp", "rw-s"))
_FLAGS = st.sampled_from((None, b"", b" nr ", b" nh ", b" gu nh ", b" dc ", b" dc nr ", b" nr dd ", b" ht ", b" \xff\x1b ?? "))
_NAMES = st.one_of(st.just(b""), st.just(b""), st.just(b""), NAMES, st.just(b"/x/libjvm.so"), st.just(b"/x/libmimalloc.so.2"))


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Mapping, ...]:
    """Memory laid out as runtimes do, or nearly so."""
    mappings = []
    cursor = draw(_STARTS)
    for _ in range(draw(st.integers(0, 14))):
        alignment = draw(_ALIGNMENTS)
        start = -(-(cursor + draw(_GAPS)) // alignment) * alignment
        cursor = start + draw(_SIZES)
        name = draw(_NAMES)
        inode = draw(st.sampled_from((1, 2, 3))) if name[:1] == b"/" else draw(st.sampled_from((0, 0, 0, 0, 7)))
        mappings.append(make(start, cursor, draw(_PERMS), name, inode=inode)._replace(flags=draw(_FLAGS)))
    return tuple(mappings)


ANY = st.one_of(layouts(), tables(), tables(torn=True))


@law(400)
@given(ANY, st.sampled_from(sorted(FORMS)), THREADS)
def test_every_mapping_has_a_family_and_a_reason(table: tuple[Mapping, ...], form: str, threads: int | None) -> None:
    for seen in (table, in_form(table, form)):
        verdicts = explain(seen, threads)
        assert len(verdicts) == len(seen)
        for verdict in verdicts:
            assert verdict.family in FAMILIES
            assert re.fullmatch(r"[ -~]{10,110}", verdict.reason), "it is for people, and on any terminal"
            event(verdict.family)
        assert explain(seen, threads) == verdicts
        assert classify(seen, threads) == [verdict.family for verdict in verdicts]


@law(150)
@given(layouts(), layouts())
def test_what_is_far_away_and_of_another_kind_does_not_matter(table: tuple[Mapping, ...], other: tuple[Mapping, ...]) -> None:
    """A file of data far below changes nothing."""
    low = make(0x1000, 0x2000, "r--s", b"/var/data", inode=99)
    assert explain([low, *table])[1:] == explain(table)
    assert len(explain([*table, *other])) == len(table) + len(other), "out of order, but whole"


_WORDS = st.sampled_from(("heap", "anon", "buffers", "a", "Z.9_x"))
_PATTERNS = st.one_of(st.none(), st.sampled_from(("", "^rw", "x", "[.]", "/", "^$", r"\[anon", "bss$", "prog")).map(re.compile))


@st.composite
def buckets(draw: st.DrawFn) -> tuple[Bucket, ...]:
    """A few buckets, most of which take something."""
    found = []
    for family in draw(st.lists(_WORDS, unique=True, max_size=4)):
        sizes = sorted(draw(st.tuples(st.integers(0, 64), st.integers(0, 64))))
        largest = draw(st.sampled_from((None, sizes[1])))
        found.append(Bucket(family, draw(_PATTERNS), draw(_PATTERNS), draw(_PATTERNS), draw(_PATTERNS), sizes[0], largest))
    return tuple(found)


@law(200)
@given(pairs(), buckets(), st.sampled_from((Match.SAME, Match.RESTARTED)))
def test_buckets_conserve_totals(both: tuple[tuple[Mapping, ...], tuple[Mapping, ...]], chosen: tuple[Bucket, ...], match: Match) -> None:
    before, after = (capture_of(side) for side in both)
    classifier = Classifier(chosen)
    plain, found = compare_captures(before, after, match), compare_captures(before, after, match, classifier)
    assert [(c.before, c.after, c.kinds, c.delta) for c in found.changes] == [(c.before, c.after, c.kinds, c.delta) for c in plain.changes]
    assert found.totals_before is not None
    assert found.totals_after is not None
    for rows in (found.families, family_changes([found], classifier.families)):
        assert [row.family for row in rows] == [family for family in classifier.families if family in {row.family for row in rows}]
        assert sum(row.mappings_before for row in rows) == len(both[0])
        assert sum(row.mappings_after for row in rows) == len(both[1])
        for row in rows:
            assert sum(count for _, count, _ in row.reasons) == row.mappings_before
            assert sum(count for _, _, count in row.reasons) == row.mappings_after
        for index in range(len(FIGURES)):
            if found.delta[index] is not None:
                assert sum(row.delta[index] or 0 for row in rows) == found.delta[index]
    event("something is in a bucket" if any("your bucket" in reason for row in found.families for reason, _, _ in row.reasons) else "nothing is")


@law(150)
@given(tables(), buckets())
def test_the_first_bucket_that_fits_wins_and_the_rest_is_built_in(table: tuple[Mapping, ...], chosen: tuple[Bucket, ...]) -> None:
    capture = capture_of(table)
    verdicts = Classifier(chosen).explain(capture)
    alone = [Classifier([bucket]).explain(capture) for bucket in chosen]
    for position, (verdict, built_in) in enumerate(zip(verdicts, explain(table), strict=True)):
        taken = (v[position] for v in alone if v[position].reason.startswith("your bucket"))
        assert verdict == next(taken, built_in)


@law(100)
@given(st.lists(tables(), max_size=3), buckets(), st.sampled_from((None, "rss", "name", "address")))
def test_the_summary_of_a_snapshot_adds_up(all_tables: list[tuple[Mapping, ...]], chosen: tuple[Bucket, ...], sort: str | None) -> None:
    captures = tuple(capture_of(table, pid) for pid, table in enumerate(all_tables, 1))
    view = View(sort=sort, classifier=Classifier(chosen))
    summary = summarise(Snapshot(SnapshotRef(1, 0, "host"), captures), view)
    assert summary.totals.mappings == sum(map(len, all_tables)) == sum(row.totals.mappings for row in summary.families)
    for row in summary.families:
        assert sum(part.totals.mappings for part in row.rules) == row.totals.mappings
    for index, name in enumerate(FIGURES):
        values = [mapping.figures[index] for table in all_tables for mapping in table]
        if None not in values:
            assert (
                sum(value or 0 for value in values) == summary.totals.figures[index] == sum(r.totals.figures[index] or 0 for r in summary.families)
            ), name
    counted = Counter(family for capture in captures for family in [v.family for v in view.classifier.explain(capture)])
    assert Counter({row.family: row.totals.mappings for row in family_totals(captures, view)}) == counted
