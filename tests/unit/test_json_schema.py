"""The shipped JSON Schemas describe what the commands write: real output is checked against them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from copy import deepcopy
from importlib import resources
from pathlib import Path
from typing import Any

import leak_results
import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from programs import Runner

from pmapdiff.analyse.result import Figure, Leaks, Verdict
from pmapdiff.report import View, write_report

SAMPLES = Path(__file__).resolve().parent.parent.parent / "sample_snapshots"
REDIS = str(SAMPLES / "redis.db")
PMAP_X, PMAP_D = str(SAMPLES / "redis-1100.pmap-x.txt"), str(SAMPLES / "redis-1100.pmap-d.txt")
SERIES = sorted(str(path) for path in SAMPLES.glob("redis-series/*.smaps"))

Output = Callable[..., dict[str, Any]]


def load_schema(name: str) -> dict[str, Any]:
    text = resources.files("pmapdiff.report").joinpath("schemas", f"{name}-1.json").read_text()
    schema: dict[str, Any] = json.loads(text)
    return schema


def check(value: dict[str, Any]) -> None:
    name, number = value["schema"].removeprefix("pmapdiff.").split("/")
    assert number == "1"
    Draft202012Validator(load_schema(name)).validate(value)


@pytest.fixture
def output(run: Runner) -> Output:
    def value(*arguments: str) -> dict[str, Any]:
        printed: dict[str, Any] = run.here(*arguments, "--format", "json", store=False).json
        return printed

    return value


SCHEMAS = ("compare", "fleet-compare", "fleet-leaks", "history", "hosts", "leaks", "show", "snapshots", "processes")


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_a_schema(name: str) -> None:
    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"] == {"const": f"pmapdiff.{name}/1"}


def test_no_schema_without_a_command() -> None:
    names = {path.name for path in resources.files("pmapdiff.report").joinpath("schemas").iterdir()}
    assert names == {f"{name}-1.json" for name in SCHEMAS}


@pytest.mark.parametrize("more", [(), ("--threshold", "1M"), ("--top", "2"), ("--sort", "pss")], ids=" ".join)
def test_compare_snapshots_of_the_store(output: Output, more: tuple[str, ...]) -> None:
    check(output("--db", REDIS, "compare", "first", "latest", *more))


@pytest.mark.parametrize(
    ("before", "after"),
    [(SERIES[0], SERIES[-1]), (SERIES[-1], SERIES[0]), (PMAP_X, PMAP_X), (PMAP_X, PMAP_D), (PMAP_X, SERIES[0])],
    ids=["growth", "reverse", "itself", "no counters", "another process"],
)
def test_compare_saved_files(output: Output, before: str, after: str) -> None:
    check(output("compare", before, after))


def test_compare_says_what_is_missing_as_null(output: Output) -> None:
    value = output("compare", PMAP_X, PMAP_D)
    (process,) = value["processes"]
    assert process["totals"]["before"]["rss_kib"] == 8076
    assert process["totals"]["after"]["rss_kib"] is None
    assert process["totals"]["delta"]["rss_kib"] is None
    assert "rss_kib" in process["missing"]
    check(value)


def test_compare_new_and_gone_processes(output: Output, run: Runner) -> None:
    store = str(run.db)
    for at, path in (("2026-11-22T10:00", PMAP_X), ("2026-11-22T11:00", SERIES[0])):
        run.here("import", path, "--at", at).ok()
    value = output("--db", store, "compare", "first", "latest")
    check(value)
    for row in value["processes"]:
        assert (row["pid_before"] is None) == (row["match"] == "new")
    for subject in ("snapshots", "processes", "show"):
        check(output("--db", store, subject))


@pytest.mark.parametrize("when", ["latest", SERIES[0], PMAP_X, PMAP_D], ids=["store", "smaps", "pmap -x", "pmap -d"])
def test_show(output: Output, when: str) -> None:
    check(output("--db", REDIS, "show", when))


@pytest.mark.parametrize("when", ["latest", SERIES[0], PMAP_X, PMAP_D], ids=["store", "smaps", "pmap -x", "pmap -d"])
@pytest.mark.parametrize("more", [("--by", "family"), ("--explain",), ("--by", "family", "--explain")], ids=" ".join)
def test_show_families_and_reasons(output: Output, when: str, more: tuple[str, ...]) -> None:
    value = output("--db", REDIS, "show", when, *more)
    check(value)
    assert ("families" in value) == ("--by" in more)
    assert ("family_reason" in value["processes"][0]["mappings"][0]) == ("--explain" in more)


def test_families_of_the_user(output: Output, tmp_path: Path) -> None:
    buckets = tmp_path / "buckets.toml"
    buckets.write_text("[buckets.'my.own-1']\nname = 'libc'\n")
    for arguments in (("show", "latest", "--by", "family"), ("compare", "first", "latest", "--explain")):
        value = output("--db", REDIS, *arguments, "--buckets", str(buckets))
        check(value)
        assert "my.own-1" in {row["family"] for row in value["processes"][0]["families"]}


def test_compare_with_reasons(output: Output) -> None:
    value = output("--db", REDIS, "compare", "first", "latest", "--explain")
    check(value)
    assert all(change["family_reason"] for change in value["processes"][0]["changes"])
    assert all(row["rules"] for row in value["processes"][0]["families"])


def test_show_keeps_counters_that_this_version_does_not_know(output: Output, tmp_path: Path) -> None:
    saved = tmp_path / "new-kernel.smaps"
    saved.write_text(Path(SERIES[0]).read_text().replace("VmFlags:", "NewCounter:            7 kB\nVmFlags:"))
    value = output("show", str(saved))
    assert value["processes"][0]["mappings"][0]["other"] == {"NewCounter": 7}
    check(value)
    check(output("compare", SERIES[0], str(saved)))


def test_show_and_compare_a_capture_without_table(output: Output, tmp_path: Path) -> None:
    from pmapdiff.model import Capture, ProcessIdentity, ProcessInfo, Snapshot, SnapshotRef, Status
    from pmapdiff.store import Store

    store = Store.open(str(tmp_path / "store.db"), write=True)
    process = ProcessInfo(ProcessIdentity("boot", 12, 34, "key"), b"secret")
    for moment in (1, 2):
        store.write(Snapshot(SnapshotRef(None, moment, "host"), (Capture(process, Status.DENIED),)))
    location = str(tmp_path / "store.db")
    shown = output("--db", location, "show")
    assert set(shown["processes"][0]["totals"].values()) == {None}
    check(shown)
    check(output("--db", location, "compare", "first", "latest"))
    check(output("--db", location, "snapshots"))
    check(output("--db", location, "processes"))


@pytest.mark.parametrize("subject", ["snapshots", "processes", "hosts"])
def test_lists(output: Output, subject: str) -> None:
    value = output("--db", REDIS, subject)
    assert value[subject]
    check(value)


def test_schemas_are_strict(output: Output) -> None:
    value = output("--db", REDIS, "compare", "first", "latest")
    spoilers: tuple[Callable[[dict[str, Any]], object], ...] = (
        lambda v: v.update(more=1),
        lambda v: v["processes"][0].update(more=1),
        lambda v: v["processes"][0]["changes"][0]["delta"].pop("rss_kib"),
        lambda v: v["processes"][0]["changes"][0].update(change=["exploded"]),
        lambda v: v["processes"][0].update(match="new"),
        lambda v: v["processes"][0].update(unrecorded_before=True),
        lambda v: v["before"].update(taken_at="yesterday"),
        lambda v: v["processes"][0]["totals"]["before"].update(rss_kib=1.5),
    )
    for spoil in spoilers:
        spoilt = deepcopy(value)
        spoil(spoilt)
        with pytest.raises(ValidationError):
            check(spoilt)


def test_figures_of_the_schema_are_those_of_the_model() -> None:
    from pmapdiff.align import FAMILIES, Match
    from pmapdiff.compare import KINDS
    from pmapdiff.model import FIGURES, Status

    definitions = load_schema("compare")["$defs"]
    assert tuple(definitions["delta"]["properties"]) == FIGURES
    assert tuple(definitions["family"]["enum"]) == FAMILIES
    assert tuple(definitions["change"]["properties"]["change"]["items"]["enum"]) == KINDS
    assert definitions["process"]["properties"]["match"]["enum"] == [match.value for match in Match]
    assert definitions["status"]["enum"] == [status.value for status in Status]


@pytest.mark.parametrize("more", [(), ("--top", "2"), ("[stack]",), ("--family", "anon"), ("--threshold", "1M"), ("--since", "3")], ids=" ".join)
def test_history(output: Output, more: tuple[str, ...]) -> None:
    check(output("--db", REDIS, "history", *more))


def test_compare_of_many_is_a_history(output: Output) -> None:
    value = output("--db", REDIS, "compare", "first", "3", "latest")
    check(value)
    assert value["schema"] == "pmapdiff.history/1"
    (service,) = value["services"]
    for step, totals in enumerate(service["totals"]):
        samples = [region["samples"][step] for region in (*service["regions"], service["rest"])]
        for figure in ("mappings", "size_kib", "rss_kib", "footprint_kib"):
            assert sum(sample[figure] for sample in samples) == totals[figure]
    check(output("compare", *SERIES[:3]))
    check(output("compare", PMAP_X, PMAP_D, SERIES[0]))


def leaks_value(result: Leaks) -> dict[str, Any]:
    out = io.StringIO()
    write_report("leaks", "json", result, View(), out)
    value: dict[str, Any] = json.loads(out.getvalue())
    return value


@pytest.mark.parametrize("result", [leak_results.one(), leak_results.many(), Leaks(None, None, 0, (), (), 1.5)], ids=["one", "many", "nothing"])
def test_leaks(result: Leaks) -> None:
    check(leaks_value(result))


def test_the_schema_of_leaks_is_strict() -> None:
    value = leaks_value(leak_results.one())
    assert [row["family"] for row in value["processes"][0]["findings"]] == ["heap", "mapping-count"]
    spoilers: tuple[Callable[[dict[str, Any]], object], ...] = (
        lambda v: v.update(more=1),
        lambda v: v["processes"][0].pop("series"),
        lambda v: v["processes"][0].update(verdict="exploding"),
        lambda v: v["processes"][0]["findings"][0].update(slope_mappings_per_hour=1.0),
        lambda v: v["processes"][0]["findings"][1].update(slope_kib_per_hour=1.0),
        lambda v: v["processes"][0]["findings"][0].update(onset="yesterday"),
        lambda v: v["processes"][0]["findings"][0].update(rank=0),
        lambda v: v["processes"][0]["findings"][0]["limits"][0].update(hours_low="soon"),
        lambda v: v["processes"][0]["series"].append([1, 2]),
    )
    for spoil in spoilers:
        spoilt = deepcopy(value)
        spoil(spoilt)
        with pytest.raises(ValidationError):
            check(spoilt)


def test_words_of_the_schema_of_leaks_are_those_of_the_result() -> None:
    definitions = load_schema("leaks")["$defs"]
    assert definitions["verdict"]["enum"] == [verdict.value for verdict in Verdict]
    assert definitions["figure"]["enum"] == [figure.value for figure in Figure]
