from __future__ import annotations

import json
import re

import pytest
from saved_samples import sample, table, tables

from pmapdiff.errors import FormatError
from pmapdiff.formats import parse_saved
from pmapdiff.model.mapping import UNKNOWN_PERMS

SUMS = sample("showmap/worker.showmap.txt")
OLD = sample("showmap/android-5.showmap-a.txt")
BUGREPORT = sample("showmap/android-10.bugreport.txt")


def warned(data: bytes) -> str:
    (saved,) = parse_saved(data, "f")
    return " ".join(saved.warnings)


def test_each_default_form_is_the_sum_of_the_rows_of_v() -> None:
    for one, other in (("worker.showmap.txt", "worker.showmap-v.txt"), ("android-5.showmap.txt", "android-5.showmap-v.txt")):
        rows, more = ({m.name: (m.size_kib, m.counters[:12]) for m in table(f"showmap/{path}").table.mappings} for path in (one, other))
        assert rows == more


def test_locked_is_not_known_where_showmap_does_not_add_it_up() -> None:
    (anonymous,) = [m for m in table("showmap/worker.showmap.txt").table.mappings if m.name == b"[heap]"]
    assert anonymous.counters[-3] == 0
    assert table("showmap/worker.showmap.txt").table.totals.get("locked_kib") is None
    assert table("showmap/worker.showmap-av.txt").table.totals.get("locked_kib") == 16


def test_a_bug_report_has_many() -> None:
    first, second = tables("showmap/android-10.bugreport.txt")
    assert (first.pid, first.command, second.pid, second.command) == (1744, b"com.example.notes", 412, b"/system/bin/vold")
    assert first.taken_at_us == second.taken_at_us == 1795428588000000
    later = BUGREPORT + BUGREPORT.replace(b"10:09:48", b"10:19:48")
    assert [saved.taken_at_us for saved in parse_saved(later, "f")] == [1795428588000000] * 2 + [1795429188000000] * 2


@pytest.mark.parametrize(
    ("said", "instead", "warning"),
    [
        (b"   31960    10184    10180 ", b"   31960    10188    10180 ", "TOTAL says 10,188 KiB of RSS, the rows add up to 10,184 KiB"),
        (b"   42 TOTAL", b"   43 TOTAL", "TOTAL says 43 of mappings, the rows add up to 42"),
    ],
)
def test_a_total_that_disagrees(said: bytes, instead: bytes, warning: str) -> None:
    assert said in SUMS
    assert warning in warned(SUMS.replace(said, instead))
    assert "TOTAL" not in warned(SUMS)


def test_the_oldest_form_has_two_figures() -> None:
    mappings = table("showmap/android-2.3.showmap-a.txt").table.mappings
    assert {m.perms for m in mappings} == {UNKNOWN_PERMS}
    (code,) = [m for m in mappings if m.name == b"/data/dalvik-cache/arm/system@framework@boot.art"]
    assert (code.start, code.end, code.counters[0], code.counters[1]) == (0x6F5B7000, 0x70223000, 6284 + 728, None)


def test_addresses_of_64_bits_cut_to_32_are_not_believed() -> None:
    cut = []
    for line in OLD.split(b"\n"):
        match = re.match(rb"([0-9a-f]{8}) ([0-9a-f]{8}) ", line)
        # As if libc were at 7b16d10000.
        cut.append(
            b"%08x %08x " % ((int(match[1], 16) + (1 << 31)) % (1 << 32), (int(match[2], 16) + (1 << 31)) % (1 << 32)) + line[18:] if match else line
        )
    (saved,) = parse_saved(b"\n".join(cut), "f")
    assert saved.table.has_sums
    assert "cut to 32 bits" in " ".join(saved.warnings)
    # Places say nothing of sums.
    found, expected = (
        {m.name: (m.size_kib, m.counters) for m in mappings}
        for mappings in (saved.table.mappings, table("showmap/android-5.showmap-v.txt").table.mappings)
    )
    assert found == expected


def test_a_guard_page_is_in_the_size_alone() -> None:
    data = OLD.replace(b"be5ff000 bedfe000     8188", b"be600000 bedfe000     8188")
    assert data != OLD
    (saved,) = parse_saved(data, "f")
    assert not saved.table.has_sums
    assert "TOTAL" not in " ".join(saved.warnings)


@pytest.mark.parametrize(
    "path", ["worker.showmap.txt", "worker.showmap-av.txt", "android-2.3.showmap.txt", "worker.showmap.csv", "worker.showmap-av.json"]
)
def test_without_its_total_it_was_cut_off(path: str) -> None:
    data = sample(f"showmap/{path}")
    whole = {(m.name, m.size_kib, m.counters) for m in table(f"showmap/{path}").table.mappings}
    lines = [match.end() for match in re.finditer(rb"\},|\n", data)]
    for length in lines[len(lines) // 2 : -1]:
        with pytest.raises(FormatError, match="--partial"):
            parse_saved(data[:length], "f")
        (saved,) = parse_saved(data[:length], "f", partial=True)
        assert saved.partial is not None
        # Unnamed memory has two names in the sums: it is all there when both are.
        assert {(m.name, m.size_kib, m.counters) for m in saved.table.mappings if m.name} <= whole


def test_a_row_that_is_none_is_an_error_with_its_line() -> None:
    for path in ("worker.showmap-av.txt", "worker.showmap-av.csv"):
        lines = sample(f"showmap/{path}").split(b"\n")
        lines[20] = lines[20].replace(b"0", b"O", 1)
        with pytest.raises(FormatError) as caught:
            parse_saved(b"\n".join(lines), "f")
        assert caught.value.line == 21


def test_json_that_is_not_a_row() -> None:
    rows = json.loads(sample("showmap/worker.showmap-av.json"))
    for key, value in (("RSS", -1), ("RSS", 1.5), ("RSS", 10**30), ("start addr", "zz"), ("flags", "rwxp"), ("object", 7), ("end addr", "1")):
        broken = [dict(row) for row in rows]
        broken[3][key] = value
        with pytest.raises(FormatError):
            parse_saved(json.dumps(broken).encode(), "f")


def test_names_with_quotes_and_commas() -> None:
    name = '/a "b", c\\d'
    csv = sample("showmap/worker.showmap.csv").replace(b'"/srv/demo/data/state.db"', b'"' + name.replace('"', '""').encode() + b'"')
    rows = json.loads(sample("showmap/worker.showmap.json"))
    for row in rows:
        row["object"] = name if row["object"] == "/srv/demo/data/state.db" else row["object"]
    for data in (csv, json.dumps(rows).encode()):
        (saved,) = parse_saved(data, "f")
        assert name.encode() in {m.name for m in saved.table.mappings}
