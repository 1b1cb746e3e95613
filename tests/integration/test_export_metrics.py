"""`export --openmetrics` on recorded processes: what Prometheus gets, by its own parsers and by node_exporter."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from programs import Lines, Runner, Target
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """The samples of a text, which both parsers understand, and understand alike."""
    found: list[Samples] = []
    for parse in (parse_openmetrics, parse_prometheus):
        families = list(parse(text))
        assert {family.type for family in families} == {"gauge"}
        assert all(family.documentation and family.samples for family in families)
        every = [(sample.name, frozenset(sample.labels.items()), sample.value, sample.timestamp) for family in families for sample in family.samples]
        found.append({(name, labels): value for name, labels, value, _ in every})
        # Two that are alike, and timestamps, would make node_exporter leave out everything.
        assert len(found[-1]) == len(every)
        assert {timestamp for _, _, _, timestamp in every} == {None}
    assert found[0] == found[1]
    return found[0]


def exported(run: Runner, *args: object) -> Samples:
    return samples(run.here("export", *args, "--openmetrics", "-").ok().out)


def of(found: Samples, name: str, **labels: object) -> dict[str, float]:
    """The values of a metric by their family, status or command."""
    wanted = {(key, str(value)) for key, value in labels.items()}
    rest = {
        frozenset(dict(have).items()) - wanted: value for (metric, have), value in found.items() if metric == f"pmapdiff_{name}" and wanted <= have
    }
    return {dict(have).get("family") or dict(have).get("status") or dict(have).get("command", ""): value for have, value in rest.items()}


def test_figures_are_those_of_show(run: Runner, target: Target) -> None:
    target.call("map", size=1 << 22, address=0x100000000000)
    target.call("write", address=0x100000000000, pages=300)
    run.here("record", "--pid", target.pid).ok()
    shown = run.here("show", "--by", "family", "--format", "json").json
    (process,) = shown["processes"]
    found = exported(run)
    for figure in ("size", "rss", "pss", "uss", "dirty", "swap", "footprint"):
        assert of(found, f"process_{figure}_bytes", pid=target.pid) == {process["command"]: process["totals"][f"{figure}_kib"] * 1024}, figure
    for figure in ("size", "rss", "pss", "footprint"):
        by_family = {row["family"]: row[f"{figure}_kib"] * 1024 for row in process["families"]}
        assert of(found, f"family_{figure}_bytes", pid=target.pid) == by_family
        assert sum(by_family.values()) == process["totals"][f"{figure}_kib"] * 1024
    assert of(found, "family_mappings", pid=target.pid) == {row["family"]: row["mappings"] for row in process["families"]}
    assert list(of(found, "process_mappings").values()) == [process["totals"]["mappings"]]
    assert list(of(found, "process_threads").values()) == [1]
    assert list(of(found, "process_peak_rss_bytes").values()) == [process["vm_hwm_kib"] * 1024]
    assert of(found, "process_status") == {"complete": 1}
    (summary,) = run.snapshots()
    assert list(of(found, "snapshot_duration_seconds").values()) == [summary["duration_us"] / 1e6]
    labels = {key for (_, have) in found for key in dict(have)}
    assert labels <= {"host", "pid", "command", "family", "status", "unit", "container"}
    assert {dict(have)["host"] for (_, have) in found} == {summary["host"]}


def test_the_file_is_one_that_node_exporter_may_read(run: Runner, target: Target, tmp_path: Path) -> None:
    run.here("record", "--pid", target.pid).ok()
    path = tmp_path / "pmapdiff.prom"
    result = run.fresh("export", "--openmetrics", path, prefix=["sh", "-c", 'umask 077; exec "$@"', "sh"]).ok()
    assert result.stdout == result.stderr == b""
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.read_text().endswith("# EOF\n")
    samples(path.read_text())
    other = tmp_path / "pmapdiff.txt"
    said = run.here("export", "--openmetrics", other).ok().err
    assert said == f"pmapdiff: node_exporter reads only files whose names end with .prom, so not {other}\n"
    assert other.read_text() == path.read_text()


def test_which_snapshot(run: Runner, target: Target, other: Target) -> None:
    """Neither recorder hides the other's captures from who says which processes he means."""
    run.here("record", "--pid", target.pid, "--label", "=one").ok()
    run.here("record", "--pid", other.pid).ok()

    def pids(*args: object) -> set[str]:
        return {dict(labels)["pid"] for name, labels in exported(run, *args) if name == "pmapdiff_process_rss_bytes"}

    assert pids() == {str(other.pid)}
    assert pids("--pid", target.pid) == pids(1) == {str(target.pid)}
    (labels,) = (labels for name, labels in exported(run, "--pid", target.pid) if name == "pmapdiff_snapshot_timestamp_seconds")
    # Two files of two services do not say the same of two snapshots.
    assert dict(labels)["filter"] == f"--pid {target.pid}"


def test_missing_figures_have_no_sample(run: Runner, target: Target, tmp_path: Path) -> None:
    saved = tmp_path / "x.maps"
    saved.write_bytes(Path(f"/proc/{target.pid}/maps").read_bytes())
    found = exported(run, saved)
    names = {name for name, _ in found}
    assert names == {
        f"pmapdiff_{name}"
        for name in ("snapshot_timestamp_seconds", "process_status", "process_mappings", "process_size_bytes", "family_mappings", "family_size_bytes")
    }
    assert all("pid" not in dict(labels) and "host" not in dict(labels) for _, labels in found), "nobody knows them"


def listening(exporter: subprocess.Popen[bytes]) -> str:
    assert exporter.stderr is not None
    line = Lines(exporter.stderr.fileno()).until(rb"address=\S+:[1-9]")
    found = re.search(rb"address=\S*?:(\d+)", line)
    assert found is not None
    return f"http://127.0.0.1:{int(found[1])}/metrics"


def test_node_exporter_reads_it(run: Runner, target: Target, other: Target, tmp_path: Path) -> None:
    program = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
    if program is None:
        pytest.skip("no node_exporter: apt-get install prometheus-node-exporter")
    target.call("name", name='a"\\\n=\x1b{}')
    for pid, name in ((target.pid, "one"), (other.pid, "two")):
        run.here("record", "--pid", pid).ok()
        run.here("export", "--pid", pid, "--openmetrics", tmp_path / f"{name}.prom").ok()
    expected: dict[Any, float] = {}
    for path in tmp_path.glob("*.prom"):
        expected |= samples(path.read_text())
    argv = [program, "--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={tmp_path}"]
    with subprocess.Popen([*argv, "--web.listen-address=127.0.0.1:0"], stderr=subprocess.PIPE) as exporter:
        try:
            with urllib.request.urlopen(listening(exporter), timeout=60) as answer:
                text = answer.read().decode()
        finally:
            exporter.kill()
    assert "node_textfile_scrape_error 0\n" in text
    found = {
        (sample.name, frozenset((key, value) for key, value in sample.labels.items() if value)): sample.value
        for family in parse_prometheus(text)
        for sample in family.samples
        if sample.name.startswith("pmapdiff_")
    }
    assert found == expected
    assert len(found) > 40
