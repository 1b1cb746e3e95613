"""`show --by family`, `--explain` and `--buckets`, as people and scripts use them."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from programs import Runner

from pmapdiff.align import FAMILIES

ROOT = Path(__file__).resolve().parent.parent.parent
REDIS = ROOT / "sample_snapshots" / "redis.db"
SERIES = ROOT / "sample_snapshots" / "redis-series"
TABLES = ROOT / "tests" / "golden" / "tables"


@pytest.fixture
def several(run: Runner) -> Runner:
    """A store whose latest snapshot has two processes, one of them torn, and a third that was recorded without counters."""
    from pmapdiff.formats.base import parse_saved
    from pmapdiff.formats.saved import saved_capture
    from pmapdiff.model import Snapshot, SnapshotRef, Status
    from pmapdiff.store import Store

    captures = []
    for pid, path in enumerate((TABLES / "before.smaps", TABLES / "after.smaps", TABLES / "after.smaps"), 1):
        data = path.read_bytes()
        if pid == 3:
            data = b"".join(line + b"\n" for line in data.split(b"\n") if re.match(rb"[0-9a-f]+-", line))
        (table,) = parse_saved(data, f"table {pid}")
        capture = saved_capture(table)
        identity = capture.process.identity._replace(pid=pid, boot_id="boot")
        status = (Status.COMPLETE, Status.TORN, Status.MAPS_ONLY)[pid - 1]
        captures.append(capture._replace(process=capture.process._replace(identity=identity, comm=b"prog%d" % pid), status=status))
    Store.open(str(run.db), write=True).write(Snapshot(SnapshotRef(None, 1, "host"), tuple(captures)))
    return run


def rows_of(text: str) -> tuple[dict[str, int], int]:
    """The counts by family of a summary in text, and that of its last row."""
    found = {m[2]: int(m[1]) for line in text.splitlines() if (m := re.search(r" (\d+)  ([\w.-]+)$", line))}
    (total,) = (int(line.split()[-3]) for line in text.splitlines() if line.endswith("  in all"))
    return found, total


def test_one_table_over_all_processes(several: Runner) -> None:
    text = several.here("show", "--by", "family").ok().out
    assert "\n2 processes\n" in text
    assert "1 process left out, of which the table has no counters" in text
    counts, total = rows_of(text)
    assert sum(counts.values()) == total
    one = several.here("show", "--by", "family", "--pid", 1).ok().out
    two = several.here("show", "--by", "family", "--pid", 2).ok().out
    assert "\n1 process\n" in one
    assert rows_of(one)[1] + rows_of(two)[1] == total
    # What has no counters can be counted all the same, alone.
    three = several.here("show", "--by", "family", "--pid", 3).ok().out
    assert "left out" not in three
    assert rows_of(three)[1] == rows_of(two)[1]


def test_a_process_without_any_mapping(run: Runner) -> None:
    from pmapdiff.model import Capture, MappingTable, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
    from pmapdiff.store import Store

    capture = Capture(ProcessInfo(ProcessIdentity("boot", 1, 5, "exec"), b"none"), Status.COMPLETE, MappingTable(()))
    Store.open(str(run.db), write=True).write(Snapshot(SnapshotRef(None, 1, "host"), (capture,)))
    for arguments in (("--by", "family"), ("--explain",), ("--by", "family", "--explain"), ("--by", "family", "--format", "csv")):
        run.here("show", *arguments).ok()
    run.here("show", "--pid", 1, "--by", "family", "--format", "json").ok()


def test_json_and_csv_say_the_same(several: Runner) -> None:
    value = several.here("show", "--by", "family", "--explain", "--format", "json").json
    assert (value["summed_up"]["processes"], value["summed_up"]["left_out"]) == (2, 1)
    figures = [name for name in value["summed_up"]["totals"] if name.endswith("_kib")]
    for name in [*figures, "mappings"]:
        total = value["summed_up"]["totals"][name]
        assert sum(row[name] for row in value["families"]) == total, name
        assert sum(rule[name] for row in value["families"] for rule in row["rules"]) == total, name
        assert sum(row[name] for process in value["processes"][:2] for row in process["families"]) == total, name
        assert sum(process["totals"][name] for process in value["processes"][:2]) == total, name
    families = [row["family"] for row in value["families"]]
    assert families == sorted(families, key=FAMILIES.index)
    rows = list(csv.DictReader(io.StringIO(several.here("show", "--by", "family", "--format", "csv").ok().out)))
    assert [(row["family"], int(row["rss_kib"])) for row in rows] == [(row["family"], row["rss_kib"]) for row in value["families"]]
    ruled = list(csv.DictReader(io.StringIO(several.here("show", "--by", "family", "--explain", "--format", "csv").ok().out)))
    assert sum(int(row["mappings"]) for row in ruled) == value["summed_up"]["totals"]["mappings"]
    assert all(row["family_reason"] for row in ruled)


def test_without_by_nothing_is_different(several: Runner) -> None:
    for form in ("text", "json", "csv"):
        plain = several.here("show", "--format", form).ok().out
        assert several.here("show", "--by", "mapping", "--format", form).ok().out == plain
        assert "family_reason" not in plain


def test_rows_are_limited_and_the_rest_is_summed_up(several: Runner) -> None:
    text = several.here("show", "--by", "family", "--sort", "rss", "--top", "2", "--explain").ok().out
    assert "more families" in text
    lines = text[text.index(" Family\n") :].splitlines()
    numbers = [int(re.search(r" (\d+)  [\w. -]+$", line)[1]) for line in lines[1:4]]  # type: ignore[index]
    assert sum(numbers) == int(lines[5].split()[-3])


@pytest.mark.parametrize("columns", ["80", "160"])
def test_it_fits(several: Runner, columns: str, tmp_path: Path) -> None:
    buckets = tmp_path / "b.toml"
    buckets.write_text("[buckets.twenty-characters-xx]\nname = 'lib'\n")
    for arguments in (("--by", "family"), ("--explain",), ("--by", "family", "--explain")):
        text = several.here("show", *arguments, "--buckets", buckets, env={"COLUMNS": columns}).ok().out
        assert "twenty-characters-xx" in text
        assert max(map(len, text.splitlines())) <= int(columns)


def test_the_reason_of_each_mapping_is_in_its_row(several: Runner) -> None:
    text = several.here("show", "--pid", 1, "--explain", env={"COLUMNS": "160"}).ok().out
    (value,) = several.here("show", "--pid", 1, "--explain", "--format", "json").json["processes"]
    rows = [line for line in text.splitlines() if re.match(r"[0-9a-f]{12,16} ", line)]
    assert len(rows) == len(value["mappings"])
    for row, mapping in zip(rows, value["mappings"], strict=True):
        assert row.startswith(f"{int(mapping['start'], 16):016x} ")
        assert f" {mapping['family']} " in row
        assert mapping["family_reason"][:25] in row


def test_buckets_on_the_command_line_and_in_the_environment(run: Runner, tmp_path: Path) -> None:
    buckets = tmp_path / "b.toml"
    buckets.write_text("[buckets.crypto]\npath = 'libcrypto'\n[buckets.elsewhere]\nprocess = '^postgres'\nsize = '>= 0'\n")
    plain = run.here("--db", REDIS, "show", "--by", "family", store=False).ok().out
    by_option = run.here("--db", REDIS, "show", "--by", "family", "--buckets", buckets, store=False).ok().out
    by_environment = run.here("--db", REDIS, "show", "--by", "family", store=False, env={"PMAPDIFF_BUCKETS": str(buckets)}).ok().out
    assert by_option == by_environment != plain
    ours, theirs = rows_of(plain), rows_of(by_option)
    assert theirs[0].pop("crypto") == ours[0]["image"] - theirs[0]["image"] > 0
    assert ours[1] == theirs[1]
    assert "elsewhere" not in theirs[0]
    for form in ("text", "markdown", "csv", "json"):
        done = run.here("--db", REDIS, "compare", "first", "latest", "--by", "family", "--buckets", buckets, "--format", form, store=False).ok()
        assert "crypto" in done.out, form


def test_buckets_do_not_change_what_is_compared_with_what(run: Runner, tmp_path: Path) -> None:
    buckets = tmp_path / "b.toml"
    buckets.write_text("[buckets.half]\nsize = '4K..512K'\n")
    arguments = ("--db", REDIS, "compare", "first", "latest", "--format", "json")
    (plain,) = run.here(*arguments, store=False).json["processes"]
    (found,) = run.here(*arguments, "--buckets", buckets, store=False).json["processes"]
    for process in (plain, found):
        for change in process["changes"]:
            change.pop("family")
    assert found["changes"] == plain["changes"]
    assert found["totals"] == plain["totals"]
    assert [row["family"] for row in found["families"]][-1] == "half"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        ("[buckets.x]\nnme = 'y'", "bucket 'x': unknown key 'nme'"),
        ("[buckets.\"\\u001b[31m\\nx\"]\nname = 'y'", "a name is one word"),
        ("[buckets.x]\nname = '[\x7f'", "not TOML"),
    ],
)
def test_a_bad_file_is_refused_before_anything_is_read(run: Runner, tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "b.toml"
    if content is not None:
        path.write_text(content)
    for arguments in (("show",), ("compare", "first", "latest")):
        run.here(*arguments, "--buckets", path).refused(str(path), said)


def test_a_folder_or_nonsense_is_refused(run: Runner, tmp_path: Path) -> None:
    run.here("show", "--buckets", tmp_path).refused("Is a directory")
    run.here("show", "--by", "process").refused("--by process: one of mapping, family")
    saved = SERIES / "01-start.smaps"
    for more in (("--by", "family"), ("--explain",)):
        run.here("show", saved, "--format", "smaps", *more).refused("leave out --sort, --top, --by and --explain")
    run.here("compare", saved, saved, "--explain").refused("--explain is about families: give --by family")
    run.here("compare", saved, saved, "--explain", "--by", "process").refused("--explain is about families")
    run.here("compare", saved, saved, "--explain", "--format", "csv").ok()
