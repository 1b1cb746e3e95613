"""Names that somebody else chose: harmless on a terminal, in CSV and in Markdown, exact in JSON and smaps."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet
import pytest
from programs import PROGRAMS, Runner, Target, header_names
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from pmapdiff.report.flat import TABLES
from pmapdiff.text import printable

BASE = 0x100000000000
COMM = b"=\x1b]0;x\x07|\n@a"
ARGUMENT = b"\x1b[2J\x1b[31m=cmd|' /C calc'!A0\n\r\t<script>alert(1)</script> \xff\xfe `x` [a](b)"
FILES = [
    b"\x1b[31mred\x1b[0m",
    b"new\nline\r\x0b\x0c",
    b"a|b||c",
    b"<script>alert(1)<script>",
    b'=HYPERLINK("x")',
    b"-1+1@SUM(A1)",
    b"invalid \xff\xfe\x80 utf-8",
    "right\u202eto\u2066left\u200b\ufeff".encode(),
    "\u2028\u2029\u0085 C1 \u009b31m".encode(),
    b"long " + b"x" * 240,
    b"a back\\slash, \\012 and \\x1b; *b* _i_ `code` [l](u) ~s~ # @all",
    b" spaces  and\ttab ",
    b"it is (deleted)",
]
LABEL = "=1+1|\x1b[31m\u202e<b>"


def is_harmless(text: str) -> None:
    for character in text:
        assert character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp", "Cs"), (character, text[:2000])


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[Target]:
    folder = os.fsencode(tmp_path) + b"/files"
    os.mkdir(folder)
    argv: list[str | bytes] = [sys.executable, "-I", "-S", str(PROGRAMS / "target.py"), ARGUMENT]
    with Target(argv=argv) as target:
        target.call("name", name=os.fsdecode(COMM))
        for number, name in enumerate(FILES):
            path = folder + b"/" + name
            fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            os.ftruncate(fd, 4096)
            os.close(fd)
            fd = target.call("open", path=os.fsdecode(path))
            target.call("map", size=4096, address=BASE + number * 8192, flags=2, fd=fd)
        yield target


@pytest.fixture
def names(run: Runner, hostile: Target) -> list[str]:
    """The names as they are in JSON, of a store that has two snapshots of the hostile process: before and after it wrote to its files."""
    run.here("record", "--pid", hostile.pid, "--label", LABEL).ok()
    for number in range(len(FILES)):
        hostile.call("write", address=BASE + number * 8192, pages=1)
    with hostile.stopped():
        run.here("record", "--pid", hostile.pid).ok()
        text = hostile.smaps()
    shown = run.here("show", "latest", "--format", "smaps").ok().stdout
    # Byte for byte but for the Pss of what it shares with the recorder, which has ended (test_lossless has the rest).
    pss = re.compile(rb"^(Pss|Shared_Clean|Private_Clean):.*\n", re.MULTILINE)
    assert pss.sub(b"", shown) == pss.sub(b"", text)
    kernel_names = header_names(text)
    for name in FILES:
        assert any(line.endswith(name.replace(b"\n", b"\\012")) for line in kernel_names), name
    return [name.decode("utf-8", "backslashreplace") for name in kernel_names]


def test_json_is_exact(run: Runner, names: list[str], hostile: Target) -> None:
    shown = run.here("show", "latest", "--format", "json").json
    (process,) = shown["processes"]
    assert [mapping["name"] for mapping in process["mappings"]] == names
    assert process["command"] == COMM.decode()
    assert process["command_line"].endswith(ARGUMENT.decode("utf-8", "backslashreplace"))
    compared = run.here("compare", 1, 2, "--format", "json").json
    assert compared["before"]["label"] == LABEL
    (process,) = compared["processes"]
    changed = {change["name"] for change in process["changes"] if BASE <= int(change["after"][0]["start"], 16) < BASE + (1 << 32)}
    assert changed == {name for name in names if "/files/" in name}
    assert run.here("snapshots", "--format", "json").json["snapshots"][0]["label"] == LABEL
    assert run.here("processes", "--format", "json").json["processes"][0]["command"] == COMM.decode()
    for args in (["show"], ["compare", 1, 2], ["snapshots"], ["processes"]):
        assert run.here(*args, "--format", "json").ok().stdout.isascii()
    assert hostile.pid == process["pid"]


def test_text_is_harmless(run: Runner, names: list[str]) -> None:
    commands = (
        ["show"],
        ["compare", 1, 2, "--top", 0],
        ["compare", 1, 2, "--by", "family"],
        ["compare", 1, 2, "--by", "process"],
        ["snapshots"],
        ["processes"],
    )
    for columns in ("80", "200", ""):
        for args in commands:
            result = run.here(*args, env={"COLUMNS": columns}).ok()
            is_harmless(result.out)
            is_harmless(result.err)
            assert len(result.out) > 100
            if columns and "show" in args:
                assert all(len(line) <= int(columns) for line in result.out.splitlines()[3:])
    # It is there, made visible.
    assert r"\x1b[31mred\x1b[0m" in run.fresh("show", env={"COLUMNS": ""}).out
    assert len(names) > len(FILES)


def test_messages_are_harmless(run: Runner, names: list[str]) -> None:
    for args in (
        ["show", LABEL + "?"],
        ["compare", "\x1b[31m\n=x", "latest"],
        ["show", "latest", "--name", "\x1b[31m"],
        ["show", "/\x1b[31m\n"],
        ["show", "x", "--format", "\x1b[31m"],
    ):
        result = run.here(*args)
        assert result.code == 2
        is_harmless(result.err)
        assert result.err.count("\n") == 1
    is_harmless(run.here("record", "--name", "no\x1b[31m\nsuch").refused("no").err)
    is_harmless(run.here("record", "--", "no\x1b[31m\nsuch").refused("no").err)
    is_harmless(run.here("show", "first", store=False, env={"PMAPDIFF_DB": "/no\x1b[31m\nsuch/db"}).refused("no").err)
    assert run.here("show", LABEL).ok().out
    assert names


def test_csv_has_no_formulas(run: Runner, names: list[str]) -> None:
    compare = ["compare", "1", "2", "--by"]
    export = [["export", "--table", table] for table in TABLES]
    for args in (["show"], [*compare, "region"], [*compare, "family"], [*compare, "process"], ["snapshots"], ["processes"], *export):
        result = run.here(*args, "--format", "csv").ok()
        is_harmless(result.out)
        header, *rows = list(csv.reader(io.StringIO(result.out, newline="")))
        assert rows
        assert result.out.count("\n") == len(rows) + 1
        assert len(set(header)) == len(header)
        for row in rows:
            assert len(row) == len(header)
            for title, cell in zip(header, row, strict=True):
                if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
                    # A number may be negative, permissions may be ---p.
                    assert re.fullmatch(r"-\d+", cell) or title == "perms", (title, cell)
    assert names


def test_exported_rows_are_exact(run: Runner, names: list[str], tmp_path: Path) -> None:
    lines = run.here("export", "latest", "--format", "jsonl").ok().out.splitlines()
    assert all(line.isascii() for line in lines)
    assert [json.loads(line)["name"] for line in lines] == names
    run.here("export", "latest", "--output", tmp_path / "x.parquet").ok()
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet")
    assert table["name"].to_pylist() == names
    assert set(table["command"].to_pylist()) == {COMM.decode()}


def test_metrics_are_harmless(run: Runner, names: list[str]) -> None:
    text = run.here("export", "--openmetrics", "-").ok().out
    is_harmless(text)
    for parse in (parse_openmetrics, parse_prometheus):
        labels = [sample.labels for family in parse(text) for sample in family.samples if "pid" in sample.labels]
        assert {each["command"] for each in labels} == {printable(COMM.decode())}
    assert names


def test_markdown_stays_a_table(run: Runner, names: list[str]) -> None:
    for by in ("region", "family", "process"):
        result = run.here("compare", 1, 2, "--format", "markdown", "--by", by, "--top", 0).ok()
        is_harmless(result.out)
        rows = [line for line in result.out.splitlines() if line.startswith("|")]
        assert len(rows) > 2
        cells = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows}
        assert len(cells) == 1, rows
        assert "<script" not in result.out
        assert "<b>" not in result.out
    assert names


def test_a_saved_file_with_a_hostile_name(run: Runner, hostile: Target, tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31m=x|\n.smaps"
    path.write_bytes(hostile.smaps())
    junk = tmp_path / "junk\x1b[31m\n.txt"
    junk.write_bytes(b"\x1b[31m\n")
    for args in (["compare", path, path], ["show", path]):
        is_harmless(run.here(*args, store=False).ok().out)
    is_harmless(run.here("import", path).ok().out)
    is_harmless(run.here("snapshots").ok().out)
    is_harmless(run.here("import", junk).refused(":1").err)


def test_json_of_an_unpaired_surrogate_in_the_label(run: Runner, target: Target) -> None:
    """Arguments that are no UTF-8 reach Python as surrogates, which neither a database nor a terminal can take."""
    result = run("record", "--pid", target.pid, "--label", b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert "Traceback" not in result.err
    if result.code == 0:
        assert json.loads(run.here("snapshots", "--format", "json").ok().stdout)["snapshots"][0]["label"] is not None
        is_harmless(run.here("snapshots").ok().out)
    else:
        result.refused("--label")
