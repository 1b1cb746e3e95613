from __future__ import annotations

import json
from typing import Any

import pytest
from saved_samples import sample, table, tables

from pmapdiff.errors import FormatError
from pmapdiff.formats import all_forms, parse_saved
from pmapdiff.formats.base import Form

UNGROUPED = sample("psutil/ungrouped-dicts.json")
PROCESS = sample("psutil/as_dict-ungrouped.json")


def refused(data: object, *, partial: bool = False) -> str:
    with pytest.raises(FormatError) as caught:
        parse_saved(data if isinstance(data, bytes) else json.dumps(data).encode(), "f", partial=partial)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    return str(caught.value)


def rows() -> list[dict[str, Any]]:
    loaded = json.loads(UNGROUPED)
    assert isinstance(loaded, list)
    return loaded


def test_what_as_dict_says_of_the_process() -> None:
    for path in ("as_dict.json", "as_dict-ungrouped.json"):
        saved = table(f"psutil/{path}")
        assert (saved.pid, saved.comm, saved.exe) == (4111, b"worker", b"/srv/demo/bin/worker")
        assert saved.command == b"/srv/demo/bin/worker\0--threads\x002\0/etc/demo worker.conf\0"
    more = json.loads(PROCESS) | {"ppid": 7, "uids": [1000, 0, 0], "num_threads": 2}
    (saved,) = parse_saved(json.dumps(more).encode(), "f")
    assert (saved.ppid, saved.uid, saved.threads) == (7, 0, 2)
    more |= {"uids": {"real": 7, "effective": 8}, "pid": "x", "ppid": True, "num_threads": -1, "name": 5, "cmdline": [1], "exe": ""}
    (saved,) = parse_saved(json.dumps(more).encode(), "f")
    assert (saved.uid, saved.pid, saved.ppid, saved.threads, saved.comm, saved.command, saved.exe) == (8, None, None, None, None, None, None)


@pytest.mark.parametrize("path", ["processes.json", "processes.jsonl"])
def test_many_processes(path: str) -> None:
    worker, odd = tables(f"psutil/{path}")
    assert (worker.pid, odd.pid) == (4111, 5231)
    # What is no UTF-8 became lone surrogates, and becomes bytes again; the kernel writes a newline as \012.
    names = {m.name for m in odd.table.mappings}
    assert any(name.decode("utf-8", "replace").encode() != name for name in names)
    assert any(b"\\012" in name for name in names)


def test_bytes_that_json_did_not_escape() -> None:
    text = json.dumps(json.loads(sample("psutil/processes.json")), ensure_ascii=False).encode("utf-8", "surrogateescape")
    assert [saved.table for saved in parse_saved(text, "f")] == [saved.table for saved in tables("psutil/processes.json")]


@pytest.mark.parametrize(
    "change", [lambda d: d.replace(b"\n", b"\r\n"), lambda d: b"\xef\xbb\xbf" + d, lambda d: d.decode().encode("utf-16"), lambda d: b"\n\n" + d]
)
def test_what_other_systems_do_to_a_text(change: Any) -> None:
    (saved,) = parse_saved(change(PROCESS), "f")
    assert saved.table == table("psutil/as_dict-ungrouped.json").table


def test_rows_in_another_order_are_sorted() -> None:
    (saved,) = parse_saved(json.dumps(sorted(rows(), key=lambda row: -row["rss"])).encode(), "f")
    assert saved.table == table("psutil/ungrouped-dicts.json").table


def test_counters_that_are_not_there_are_missing() -> None:
    few = [{"path": row["path"], "rss": row["rss"], "addr": row["addr"], "perms": row["perms"]} for row in rows()]
    (saved,) = parse_saved(json.dumps(few).encode(), "f")
    totals = saved.table.totals
    assert (totals.get("rss_kib"), totals.get("size_kib"), totals.get("pss_kib")) == (10184, 31960, None)
    grouped = [{"path": "/a", "rss": 4096}, {"path": "/b", "rss": 8192}]
    (saved,) = parse_saved(json.dumps(grouped).encode(), "f")
    assert (saved.table.totals.get("rss_kib"), saved.table.totals.get("size_kib")) == (12, None)


def test_processes_that_psutil_may_not_look_at() -> None:
    both = [json.loads(PROCESS), {"pid": 1, "memory_maps": None}, {"pid": 2, "memory_maps": []}]
    (saved,) = parse_saved(json.dumps(both).encode(), "f")
    assert saved.pid == 4111
    assert "1 of 3 processes" in " ".join(saved.warnings)
    assert "none that psutil was allowed" in refused(both[1:])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rss", -4096),
        ("rss", 4097),
        ("rss", 1.0),
        ("rss", "4096"),
        ("rss", True),
        ("rss", 1 << 80),
        ("addr", "1-2-3"),
        ("addr", 5),
        ("addr", "2000-1000"),
        ("addr", "0-" + "f" * 17),
        ("perms", "rw-"),
        ("perms", None),
        ("path", None),
        ("size", 4096),
    ],
)
def test_values_that_cannot_be(key: str, value: object) -> None:
    broken = rows()
    broken[5][key] = value
    assert "row 6" in refused(broken)
    assert "process 2, row 6" in refused([json.loads(PROCESS), {"memory_maps": broken}])


def test_json_that_is_none() -> None:
    assert ":1:" in refused(UNGROUPED[:-20] + b"]")
    assert "cut off" in refused(UNGROUPED[:-20])
    assert "nested too deeply" in refused(UNGROUPED[:-1] + b"," + b"[" * 100_000)
    assert "digits" in refused(UNGROUPED.replace(b"4096", b"9" * 10_000, 1))
    assert "row" in refused([*rows(), ["/a", 1]])
    assert "rows with addresses" in refused([*rows(), {"path": "/a", "rss": 0}])
    assert "not a list" in refused({"memory_maps": "all"})
    lines = sample("psutil/processes.jsonl").split(b"\n")
    assert ":2:" in refused(lines[0] + b"\n" + lines[1][:-3] + b"\n" + lines[0])


@pytest.mark.parametrize("path", ["as_dict-ungrouped.json", "ungrouped-lists.json", "grouped-dicts.json", "processes.json", "processes.jsonl"])
def test_cut_off_anywhere(path: str) -> None:
    data = sample(f"psutil/{path}").rstrip()
    whole = [m for saved in tables(f"psutil/{path}") for m in saved.table.mappings]
    for length in range(1, len(data), max(1, len(data) // 60)):
        refused(data[:length]) if length > 1 else None
        try:
            saved = parse_saved(data[:length], "f", partial=True)
        except FormatError:
            assert length < 700
            continue
        found = [m for each in saved for m in each.table.mappings]
        assert [(m.name, m.counters, m.perms) for m in found] == [(m.name, m.counters, m.perms) for m in whole[: len(found)]]
        assert saved[-1].partial is not None or path == "processes.jsonl"


def test_others_json_is_not_claimed() -> None:
    (psutil,) = [form for form in all_forms().values() if form.name == "psutil" and isinstance(form, Form)]
    assert psutil.detect(PROCESS[:65536])
    for data in (
        sample("systemd-coredump/worker.json"),
        sample("systemd-coredump/worker.json-pretty"),
        sample("showmap/worker.showmap-av.json"),
        b"{}",
        b"[1]",
    ):
        assert not psutil.detect(data[:65536])
