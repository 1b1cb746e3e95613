"""Every figure in a report is one that the other commands give: what is packed in the page against JSON of the same store."""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from page_data import lies_at, packed_in, series_of, snapshots_in
from programs import Runner

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "sample_snapshots"
KEYS = {figure: "mappings" if figure == "mappings" else f"{figure}_kib" for figure in ("footprint", "rss", "dirty", "swap", "size", "mappings")}


@pytest.fixture(scope="module", params=["redis", "orders"])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Runner, dict[str, Any], Path]:
    """A report of a sample, and the command line on the same store."""
    folder = tmp_path_factory.mktemp("report")
    run = Runner(folder / "sample.db")
    shutil.copy(SAMPLES / f"{request.param}.db", run.db)
    page = folder / "page.html"
    done = run.here("report", "-o", page).ok()
    assert (done.stdout, done.stderr) == (b"", b"")
    return run, packed_in(page), page


def values(series: list[Any], data: dict[str, Any]) -> dict[str, list[int | None]]:
    return {figure: series_of(series, place, snapshots_in(data)) for place, figure in enumerate(data["figures"])}


def test_totals_families_and_regions_are_those_of_history(told: tuple[Runner, dict[str, Any], Path]) -> None:
    run, data, _ = told
    history = run.here("history", "--format", "json", "--top", "0").json
    assert data["moments"]["ids"] == [ref["id"] for ref in history["snapshots"]]
    services = {f"{service['command']} {service['pid']}": service for service in history["services"]}
    scopes = {scope["title"]: scope for scope in data["scopes"] if not scope["is_all"]}
    assert scopes.keys() == services.keys()
    for title, scope in scopes.items():
        service = services[title]
        for figure, found in values(scope["totals"], data).items():
            assert found == [None if total is None else total[KEYS[figure]] for total in service["totals"]], (title, figure)
        regions = {row[0]: row for row in scope["rows"]}
        assert scope["left_out"] == 0
        assert regions.keys() == {region["id"] for region in service["regions"]}
        sums: dict[str, dict[str, list[Any]]] = defaultdict(dict)
        for region in service["regions"]:
            row = regions[region["id"]]
            assert data["families"][row[1]] == region["family"]
            for figure, found in values(row[6], data).items():
                samples = [None if sample is None else sample[KEYS[figure]] for sample in region["samples"]]
                assert found == samples, (region["id"], figure)
                known = sums[region["family"]].setdefault(figure, [0] * len(samples))
                sums[region["family"]][figure] = [None if v is None or k is None else k + v for k, v in zip(known, samples, strict=True)]
        assert {data["families"][family]: values(series, data) for family, series in scope["families"]} == sums


def test_mappings_lie_where_show_says(told: tuple[Runner, dict[str, Any], Path]) -> None:
    run, data, _ = told
    for step in data["pair"]:
        shown = run.here("show", data["moments"]["ids"][step], "--format", "json", "--top", "0").json
        expected = {f"{process['command']} {process['pid']}": process["mappings"] for process in shown["processes"]}
        for scope in data["scopes"]:
            if scope["title"] in expected:
                found = sorted(lie for row in scope["rows"] for lie in lies_at(row, step, data["permissions"]))
                assert found == sorted((int(m["start"], 16), int(m["end"], 16), m["perms"]) for m in expected[scope["title"]])


def test_all_processes_together_are_their_sum(told: tuple[Runner, dict[str, Any], Path]) -> None:
    _, data, _ = told
    alone = [scope for scope in data["scopes"] if not scope["is_all"]]
    together = [scope for scope in data["scopes"] if scope["is_all"]]
    assert len(together) == (len(alone) > 1)
    for scope in together:
        # In the samples every process is in every snapshot.
        for figure, found in values(scope["totals"], data).items():
            assert found == [sum(column) for column in zip(*(values(one["totals"], data)[figure] for one in alone), strict=True)]


def test_the_account_is_that_of_compare(told: tuple[Runner, dict[str, Any], Path]) -> None:
    """The table that a reader without a script sees, against `compare` of the same two snapshots."""
    run, data, path = told
    ids = [data["moments"]["ids"][step] for step in data["pair"]]
    compared = run.here("compare", *ids, "--format", "json").json
    scope = data["scopes"][data["shown"]]
    process = next(p for p in compared["processes"] if f"{p['command']} {p['pid']}" == scope["title"])
    rows = table_rows(path.read_text(), "ledger")
    assert rows[0][:3] == shown_sizes(process["totals"]["before"], ("size_kib", "rss_kib", "footprint_kib"))
    assert rows[-1][:3] == shown_sizes(process["totals"]["after"], ("size_kib", "rss_kib", "footprint_kib"))
    assert rows[-2][:3] == [signed(process["totals"]["delta"][key]) for key in ("size_kib", "rss_kib", "footprint_kib")]
    families = {row[-1]: row for row in rows if row[-1] in data["families"]}
    for family in process["families"]:
        if any(family["delta"].get(key) for key in ("size_kib", "rss_kib", "footprint_kib")):
            assert families[family["family"]][:3] == [signed(family["delta"][key]) for key in ("size_kib", "rss_kib", "footprint_kib")]


def table_rows(text: str, name: str) -> list[list[str]]:
    table = re.search(rf'<table id="{name}">.*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table[1], re.DOTALL)
    return [[re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)] for row in rows]


def shown_sizes(totals: dict[str, int], keys: tuple[str, ...]) -> list[str]:
    from pmapdiff.units import format_kib

    return [format_kib(totals[key]) for key in keys]


def signed(kib: int) -> str:
    from pmapdiff.units import format_delta_kib

    return format_delta_kib(kib)


def test_findings_are_those_of_leaks(told: tuple[Runner, dict[str, Any], Path]) -> None:
    run, data, path = told
    text = path.read_text()
    leaks = run.here("leaks", "--format", "json").json
    assert [scope["verdict"] for scope in data["scopes"] if not scope["is_all"]] == [process["verdict"] for process in leaks["processes"]]
    findings = [finding for process in leaks["processes"] for finding in process["findings"]]
    assert len(re.findall("<article", text)) == len(findings) > 0
    for finding in findings:
        for line in finding["evidence"]:
            assert json.dumps(line)[1:-1].replace("'", "&#39;") in text
