"""What all forms of saved table share: bounds on what can be, and what a copy by mail or editor does to a text."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from pmapdiff.errors import FormatError, StoreError, UsageError
from pmapdiff.formats import parse_saved
from pmapdiff.formats.saved import moments_of
from pmapdiff.store import Store
from pmapdiff.store.when import parse_when

DATA = Path(__file__).resolve().parent.parent / "data"
SMAPS = (DATA / "redis-frozen/smaps.txt").read_bytes()


def test_mappings_that_all_overlap_are_no_table() -> None:
    text = b"".join(b"%x-20000000000 rw-p 00000000 00:00 0 \n" % (0x10000000000 + i * 4096) for i in range(300))
    with pytest.raises(FormatError, match="299 mappings overlap"):
        parse_saved(text, "f")


def test_counters_beyond_any_address_space_are_refused() -> None:
    with pytest.raises(FormatError, match="more than any address space"):
        parse_saved(SMAPS.replace(b"Rss:                1116 kB", b"Rss:            999999999999999999 kB", 1), "f")


def test_sums_of_sizes_beyond_any_address_space_are_refused() -> None:
    rows = [{"path": f"/{number}", "rss": 0, "size": 1 << 63} for number in range(3)]
    with pytest.raises(FormatError, match="sizes add up to more"):
        parse_saved(json.dumps(rows).encode(), "rows.json")


@pytest.mark.parametrize("copy", [SMAPS.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + SMAPS, b"\n\n" + SMAPS + b"\n", SMAPS[:-1]])
def test_a_pasted_smaps_is_the_same_table(copy: bytes) -> None:
    (expected,), (found,) = parse_saved(SMAPS, "f"), parse_saved(copy, "f")
    assert found.table == expected.table
    assert bool(found.warnings) == (not copy.endswith(b"\n"))


def test_an_error_behind_blank_lines_names_the_line_of_the_file() -> None:
    with pytest.raises(FormatError) as caught:
        parse_saved(b"\n\n" + SMAPS.replace(b"Rss:                1116 kB", b"Rss: many", 1), "f")
    assert caught.value.line == 2 + SMAPS[: SMAPS.index(b"Rss:                1116 kB")].count(b"\n") + 1


def test_a_time_of_day_must_have_been() -> None:
    now = datetime(2026, 11, 23, 9, 0)
    with pytest.raises(UsageError, match="yesterday 14:00"):
        parse_when("14:00", now)
    with pytest.raises(UsageError, match="yesterday 09:30"):
        parse_when("today 9:30", now)
    assert parse_when("yesterday 14:00", now) is not None


def test_a_password_is_not_printed() -> None:
    with pytest.raises(StoreError) as caught:
        Store.open("nosuchbackend://user:secret@host/name")
    assert "secret" not in str(caught.value)


def test_the_form_of_an_archive_says_nothing_of_the_files_in_it() -> None:
    archive = (DATA / "saved/smemcap/busybox.tar").read_bytes()
    assert parse_saved(archive, "f", "tar") == parse_saved(archive, "f")


def test_of_many_files_only_those_of_the_form_that_was_named_are_read() -> None:
    data = b"==> /proc/7/smaps <==\n" + (DATA / "redis-frozen/maps.txt").read_bytes()
    with pytest.raises(FormatError, match="there is no table of smaps in this file"):
        parse_saved(data, "f", "smaps")


def test_each_part_of_a_text_counts_its_own_lines() -> None:
    damaged = b"==> /proc/%d/maps <==\n" + (DATA / "redis-frozen/maps.txt").read_bytes()[:-30] + b"\n\n"
    tables = parse_saved(damaged % 7 + damaged % 8, "f")
    lines = (damaged % 7).count(b"\n")
    reasons = [table.partial or "" for table in tables]
    assert [int(reason.split()[1]) for reason in reasons] == [lines - 1, 2 * lines - 1]


def test_each_part_of_a_text_is_read_as_if_it_were_alone() -> None:
    row = b"0000000000%06x      4K r-x-- /usr/bin/true\n"
    rows = [row % (0x400000 + 4096 * number) for number in range(4)]
    first = b"".join(rows) + b"that is all\n"
    # What ends the first table stands where the second one begins.
    second = b"-" * (4 * len(rows[0]) - 1) + b"\n" + b"".join(rows)
    (one, other) = parse_saved(b"==> first <==\n" + first + b"\n==> second <==\n" + second, "f")
    assert one.table == other.table
    assert (one.partial, other.partial) == (None, None)


def test_who_comes_again_is_of_another_moment_behind_the_others() -> None:
    (first,) = parse_saved(SMAPS, "f")
    looks = [replace(first, pid=pid, taken_at_us=1) for pid in (1, 2, 1, 3, 3)]
    assert [[capture.process.pid for capture in moment.captures] for moment in moments_of(looks)] == [[1, 2], [1, 3], [3]]


def test_a_mapping_behind_one_without_counters_is_kept_whole() -> None:
    # Android's kernels print such a line before the counters.
    named = b"12c00000-13200000 rw-p 00000000 00:00 0 \nName:           [anon:dalvik]\n"
    first = SMAPS[: SMAPS.index(b"VmFlags:")] + b"VmFlags: rd mr mw me \n"
    (table,) = parse_saved(named + first, "f", "smaps")
    assert [mapping.name for mapping in table.table.mappings] == [b"[anon:dalvik]", parse_saved(first, "f")[0].table.mappings[0].name]


def test_an_offset_beyond_64_bits_is_refused() -> None:
    row = b"565a5000       4 r---- %032x 0fe:00000 worker\n"
    assert parse_saved(row % 0x1000, "f", "pmap-d")[0].table.mappings[0].offset == 0x1000
    with pytest.raises(FormatError, match="the offset goes beyond 64 bits"):
        parse_saved(row % (1 << 64), "f", "pmap-d")
