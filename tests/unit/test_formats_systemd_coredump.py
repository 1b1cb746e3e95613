"""Crashes in the journal, as systemd-coredump wrote them and journalctl shows them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from damaged import check_cut, maps_of, outcome
from hypothesis import given
from hypothesis import strategies as st
from saved_samples import sample
from strategies import law

from pmapdiff.errors import FormatError
from pmapdiff.formats import SavedTable, parse_saved

FORM = "systemd-coredump"
ROWS = (
    b"00400000-00401000 r-xp 00000000 fe:00 7 /a\n7ffe00000000-7ffe00001000 rw-p 00000000 00:00 0 [stack]\n"
    b"7fff00000000-7fff00001000 r-xp 00000000 00:00 0 [vdso]\n"
)
FIELDS = {"__REALTIME_TIMESTAMP": "1795429201085663", "COREDUMP_PID": "7", "COREDUMP_PROC_MAPS": ROWS.decode(), "_HOSTNAME": "h", "_PID": "9"}


def exported(fields: dict[str, bytes], *more: tuple[str, bytes]) -> bytes:
    lines = [
        name.encode() + (b"=" + value if b"\n" not in value else b"\n" + len(value).to_bytes(8, "little") + value)
        for name, value in (*fields.items(), *more)
    ]
    return b"\n".join([*lines, b"", b""])


EXPORT = exported({name: value.encode() for name, value in FIELDS.items()})
JSON = json.dumps(FIELDS).encode() + b"\n"
OTHER = {"__REALTIME_TIMESTAMP": "1", "MESSAGE": "nothing", "_PID": "1"}


def parsed(data: bytes, **options: Any) -> SavedTable:
    (table,) = parse_saved(data, "f", **options)
    return table


@pytest.mark.parametrize("form", ["export", "json", "json-pretty", "json-sse", "verbose"])
def test_the_table_and_its_process(form: str) -> None:
    found = parsed(sample(f"systemd-coredump/worker.{form}"))
    assert found == SavedTable(
        maps_of("worker").table,
        "systemd-coredump-verbose" if form == "verbose" else FORM,
        "f",
        pid=4111,
        command=b"/srv/demo/bin/worker --threads 2 $'/etc/demo worker.conf'",
        comm=b"worker",
        exe=b"/srv/demo/bin/worker",
        ppid=1,
        uid=0,
        cgroup=b"/system.slice/demo.service",
        unit="demo.service",
        host="web1",
        taken_at_us=1795429200000000,
        threads=2,
        vm_hwm_kib=10688,
    )


def test_unit_and_host_are_safe_to_print_in_the_store() -> None:
    found = parsed(json.dumps(FIELDS | {"_HOSTNAME": "h\x1b[2J\0", "COREDUMP_UNIT": "u\u202e.service"}).encode())
    assert (found.host, found.unit) == ("h\\x1b[2J\\x00", "u\\u202e.service")


def test_a_journal_has_one_table_for_each_crash() -> None:
    worker, odd = parse_saved(sample("systemd-coredump/journal.export"), "f")
    assert worker == parsed(sample("systemd-coredump/worker.export"))
    assert odd == parsed(sample("systemd-coredump/odd-cut.export"))


@pytest.mark.parametrize("form", ["export", "json"])
def test_what_systemd_has_cut_is_a_part(form: str) -> None:
    found, whole = parsed(sample(f"systemd-coredump/odd-cut.{form}")), maps_of("odd").table.mappings
    assert found.table.mappings == whole[: len(found.table.mappings)]
    assert len(found.table.mappings) == 59 < len(whole)
    assert found.partial == "COREDUMP_PROC_MAPS has 4,054 bytes and no [stack] and [vdso]: systemd may keep only the first page of maps"
    assert found.warnings == (f"this is only a part of the table: {found.partial}",)


def test_names_stay_bytes() -> None:
    found = parsed(sample("systemd-coredump/odd.export"))
    assert found.table == maps_of("odd").table
    assert any(mapping.name.endswith(b"/gr\xfc\xdfe.dat") for mapping in found.table.mappings)
    assert found.partial is None


def test_null_says_what_to_do() -> None:
    null = sample("systemd-coredump/odd-null.json")
    refused = outcome(null)
    assert isinstance(refused, FormatError)
    assert refused.reason.startswith("entry 1: JSON has null for COREDUMP_PROC_MAPS")
    assert "-a -o json" in refused.reason
    assert isinstance(outcome(null, partial=True), FormatError)
    assert [table.pid for table in parse_saved(null + JSON, "f", partial=True)] == [7]
    assert isinstance(outcome(JSON + null), FormatError)


@pytest.mark.parametrize(
    "data",
    [
        JSON,
        JSON[:-1],
        b"\xef\xbb\xbf" + JSON,
        b"\x1e" + JSON + b"\x1e" + json.dumps(OTHER).encode() + b"\n",
        b"data: " + JSON + b"\ndata: " + json.dumps(OTHER).encode() + b"\n\n",
        json.dumps(FIELDS, indent=4).encode(),
        json.dumps([OTHER, FIELDS], indent=2).encode(),
        json.dumps({**FIELDS, "COREDUMP_PROC_MAPS": list(ROWS)}).encode(),
        json.dumps({**FIELDS, "COREDUMP_PROC_MAPS": [ROWS.decode(), "other"], "COREDUMP_PID": ["7", "8"]}).encode(),
        json.dumps({**FIELDS, "COREDUMP_PROC_MAPS": [list(ROWS), "other"]}).encode(),
        json.dumps({**FIELDS, "COREDUMP_UID": None, "COREDUMP_COMM": {}, "COREDUMP_EXE": [1, 2, 256], "COREDUMP_CGROUP": []}).encode(),
        EXPORT,
        b"\n" + EXPORT + b"\n\n",
        exported({"__CURSOR": b"s=1"}) + EXPORT,
        exported(
            {name: value.encode() for name, value in FIELDS.items()}, ("COREDUMP_PROC_MAPS", b"other"), ("COREDUMP_PID", b"8"), ("_X", b"\n\0\n")
        ),
    ],
)
def test_shapes_of_entries(data: bytes) -> None:
    found = parsed(data)
    assert (found.pid, found.host, found.taken_at_us, found.partial, found.warnings) == (7, "h", 1795429201085663, None, ())
    assert [mapping.name for mapping in found.table.mappings] == [b"/a", b"[stack]", b"[vdso]"]


def test_surrogates_and_other_text() -> None:
    found = parsed(json.dumps({**FIELDS, "COREDUMP_COMM": "\ud800\U0001f600", "COREDUMP_UNIT": "\udfff.service"}).encode())
    assert found.comm == b"\xed\xa0\x80\xf0\x9f\x98\x80"
    assert found.unit is not None
    found.unit.encode()


def test_units_of_users() -> None:
    unit = json.dumps(
        {**FIELDS, "COREDUMP_UNIT": "user@1000.service", "COREDUMP_USER_UNIT": "app-x.scope", "COREDUMP_PROC_STATUS": "VmHWM:\t 8 kB\n"}
    )
    found = parsed(unit.encode())
    assert (found.unit, found.vm_hwm_kib, found.threads) == ("app-x.scope", 8, None)


def test_rows_without_the_end_of_an_address_space() -> None:
    def with_maps(maps: bytes) -> SavedTable:
        return parsed(json.dumps({**FIELDS, "COREDUMP_PROC_MAPS": maps.decode()}).encode())

    first = ROWS[: ROWS.index(b"\n") + 1]
    assert with_maps(first).partial is not None
    assert with_maps(ROWS[: ROWS.index(b"7fff00000000")]).partial is not None
    assert with_maps(ROWS[:-1]).partial == "its last row does not end"
    # Whoever keeps more than a page keeps all.
    many = b"".join(b"%08x-%08x rw-p 00000000 00:00 0 \n" % (i << 13, (i << 13) + 4096) for i in range(1, 2000))
    assert with_maps(many).partial is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"           PID: 4111 (worker)\n           UID: 0 (root)\n        Signal: 11 (SEGV)\n", "coredumpctl info does not show the maps"),
        (json.dumps(OTHER).encode(), "no entry of this journal has a COREDUMP_PROC_MAPS"),
        (exported({"__CURSOR": b"1"}), "no entry of this journal"),
        (json.dumps({"COREDUMP_PID": "7"}).encode(), "entry 1 is of a crash and has no COREDUMP_PROC_MAPS"),
        (b'{"A": ' + b"[" * 200_000, "no entry of a journal (RecursionError)"),
        (b'{"A": ' + b"1" * 50_000 + b"}", "no entry of a journal (ValueError)"),
        (b'{"A": "\xff"}', "byte 7: not UTF-8"),
        (b'{"A": "1"} [1] 7', "entry 2: no entry of a journal"),
        (json.dumps({**FIELDS, "COREDUMP_PROC_MAPS": ""}).encode(), "COREDUMP_PROC_MAPS, row 1: there is none"),
        (json.dumps({**FIELDS, "COREDUMP_PROC_MAPS": "\x1b[2J\n"}).encode(), "COREDUMP_PROC_MAPS, row 1: not a row"),
        (json.dumps({**FIELDS, "COREDUMP_PROC_MAPS": ROWS.decode() + "x\n"}).encode(), "COREDUMP_PROC_MAPS, row 4: not a row"),
        (JSON.replace(b'"h"', b"h"), "line 1: the file is damaged"),
        (EXPORT.replace(b"\n", b"\r\n"), "not a field of a journal's entry"),
        (b"__CURSOR=1\nCOREDUMP_PROC_MAPS\n" + (1 << 60).to_bytes(8, "little") + ROWS + b"\n\n", "cut off in 'COREDUMP_PROC_MAPS'"),
        (b"__CURSOR=1\nOTHER\n" + (1 << 60).to_bytes(8, "little") + ROWS + b"\n\n", "cut off in 'OTHER'"),
        (b"__CURSOR=1\nOTHER\n" + (2).to_bytes(8, "little") + b"abc\n\n", "OTHER is not as long as it says"),
        (b"__CURSOR=1\n\0\0\0\n\n", "entry 1, byte 11: not a field"),
    ],
)
def test_errors(data: bytes, said: str) -> None:
    found = outcome(data)
    assert isinstance(found, FormatError)
    assert said in found.reason


def test_a_part_of_an_export() -> None:
    data = b"__CURSOR=1\nCOREDUMP_PROC_MAPS\n" + (1 << 60).to_bytes(8, "little") + ROWS + b"7fff"
    found = parsed(data, partial=True)
    assert len(found.table.mappings) == 3
    assert found.partial is not None
    assert "the file was cut off" in found.partial


@pytest.mark.parametrize("name", ["journal.export", "odd-cut.json", "worker.json-pretty", "worker.json-sse", "worker.verbose"])
def test_cut_anywhere(name: str) -> None:
    data = sample(f"systemd-coredump/{name}")
    refused, parts = check_cut(data, range(0, len(data) - 1, 97))
    assert refused > 80
    assert (parts > 10) == (name in ("journal.export", "worker.verbose"))


VERBOSE = sample("systemd-coredump/worker.verbose")


def test_verbose_in_a_paste() -> None:
    whole = parsed(VERBOSE)
    # Editors take off blanks at the ends of lines, tickets put marks around.
    bare = b"\n".join(line.rstrip() for line in VERBOSE.split(b"\n"))
    for data in (b"$ journalctl -o verbose\n-- Logs begin at --\n" + VERBOSE, b"```\n" + bare + b"```\n"):
        found = parsed(data)
        assert [mapping[:7] for mapping in found.table.mappings] == [mapping[:7] for mapping in whole.table.mappings]
        assert (found.pid, found.unit, found.partial) == (4111, "demo.service", None)
    assert [table.pid for table in parse_saved(VERBOSE + VERBOSE.replace(b"_PID=4111", b"_PID=4112"), "f")] == [4111, 4112]


def test_verbose_does_not_show_everything() -> None:
    start, end = VERBOSE.index(b"COREDUMP_PROC_MAPS="), VERBOSE.index(b"    COREDUMP_PROC_CGROUP=")
    refused = outcome(VERBOSE[:start] + b"COREDUMP_PROC_MAPS=[4.3K blob data]\n" + VERBOSE[end:])
    assert isinstance(refused, FormatError)
    assert refused.line == VERBOSE[:start].count(b"\n") + 1
    assert "save it with" in refused.reason


@pytest.mark.parametrize("seed", [EXPORT, JSON, VERBOSE[:400] + VERBOSE[VERBOSE.index(b"    COREDUMP_PROC_MAPS=") :][:900] + b"\n    X=1\n"])
def test_mutations_raise_nothing_else(seed: bytes) -> None:
    @given(st.integers(0, len(seed)), st.integers(0, 60), st.binary(max_size=40), st.booleans())
    @law(200)
    def run(position: int, removed: int, inserted: bytes, partial: bool) -> None:
        outcome(seed[:position] + inserted + seed[position + removed :], None, partial=partial)

    run()


@pytest.mark.parametrize(
    "data",
    [
        b"{" * 200_000,
        b'{"A":' * 200_000,
        b"[" * 400_000 + b'{"A":1}',
        b"A=\n" * 100_000,
        b"__A=\n\n" * 100_000,
        b"A\n" * 100_000,
        b'{"A":1}' * 200_000,
        b"data:" * 100_000 + b'{"A":1}',
        VERBOSE[: VERBOSE.index(b"\n") + 1] * 20_000,
        b"    COREDUMP_PROC_MAPS=\n" * 60_000,
    ],
    ids=range(10),
)
def test_linear_time(data: bytes) -> None:
    began = time.process_time()
    outcome(data)
    outcome(data, FORM)
    assert time.process_time() - began < 5
