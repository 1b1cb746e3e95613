"""Gauges: which labels, what is added up, and what has no sample."""

from __future__ import annotations

import io

from prometheus_client.openmetrics.parser import text_string_to_metric_families
from strategies import PAGE, capture_of, in_form, make

from pmapdiff.model import FIGURES, Capture, MappingTable, Snapshot, SnapshotRef, Status, Totals
from pmapdiff.report import View, write_report
from pmapdiff.report.openmetrics import Metrics

A = 0x7F0000000000
HEAP = make(A, A + 4 * PAGE, name=b"[heap]", rss=12, pss=10)
ANON = make(A + 8 * PAGE, A + 9 * PAGE, rss=4, pss=4)

Found = dict[str, list[tuple[dict[str, str], float]]]


def written(*captures: Capture, host: str = "web1", chosen: str = "") -> Found:
    out = io.StringIO()
    write_report("metrics", "openmetrics", Metrics(Snapshot(SnapshotRef(1, 1_500_000, host), captures), chosen), View(), out)
    families = list(text_string_to_metric_families(out.getvalue()))
    found: Found = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name.removeprefix("pmapdiff_"), []).append((sample.labels, sample.value))
    # One that is there twice would make node_exporter leave out all metrics of the host.
    assert all(len({tuple(sorted(labels.items())) for labels, _ in samples}) == len(samples) for samples in found.values())
    return found


def test_labels_say_what_is_known() -> None:
    known = capture_of([HEAP])
    known = known._replace(process=known.process._replace(unit='x"y.service', container="c" * 64, comm=b"a\\\n\xff"))
    (sample,) = written(known)["process_rss_bytes"]
    assert sample == (
        {"host": "web1", "pid": "1100", "command": r"a\\x0a\xff", "unit": 'x"y.service', "container": "c" * 64},
        12 * 1024,
    )
    saved = capture_of([HEAP], 0)
    assert written(saved, host="")["process_rss_bytes"] == [({"command": "prog"}, 12 * 1024)]
    assert written(saved, host="", chosen="--name x")["snapshot_timestamp_seconds"] == [({"filter": "--name x"}, 1.5)]


def test_what_no_label_tells_apart_is_added_up() -> None:
    """Saved tables without pids: the sum of two is true of both, a sample each would be refused."""
    found = written(capture_of([HEAP], 0), capture_of([HEAP, ANON], 0))
    assert [value for _, value in found["process_rss_bytes"]] == [(12 + 16) * 1024]
    assert [value for _, value in found["process_mappings"]] == [3]
    assert {labels["family"]: value for labels, value in found["family_rss_bytes"]} == {"heap": 24 * 1024, "anon": 4 * 1024}
    half = written(capture_of([HEAP], 0), capture_of(in_form([ANON], "maps"), 0))
    assert "process_rss_bytes" not in half, "of one of them it is not known"
    assert [value for _, value in half["process_size_bytes"]] == [20 * 1024]


def test_of_what_could_not_be_read_there_is_the_status_alone() -> None:
    denied = capture_of([], 7, Status.DENIED)._replace(table=None)
    found = written(denied, capture_of([HEAP]))
    assert {labels["pid"]: labels["status"] for labels, _ in found["process_status"]} == {"7": "denied", "1100": "complete"}
    assert {labels["pid"] for name, samples in found.items() if name.startswith(("process_", "family_")) for labels, _ in samples} == {"7", "1100"}
    assert all(labels["pid"] == "1100" for name, samples in found.items() if name.endswith("_bytes") for labels, _ in samples)


def test_of_maps_alone_there_is_what_the_kernel_counts() -> None:
    figures = tuple({"size_kib": 20, "rss_kib": 16}.get(name) for name in FIGURES)
    bare = capture_of([], 5, Status.MAPS_ONLY)._replace(
        table=MappingTable(in_form([HEAP], "maps")), totals=Totals(1, figures), threads=3, vm_hwm_kib=99
    )
    found = written(bare)
    assert {name: samples[0][1] for name, samples in found.items() if name.startswith("process_")} == {
        "process_status": 1,
        "process_threads": 3,
        "process_peak_rss_bytes": 99 * 1024,
        "process_mappings": 1,
        "process_size_bytes": 20 * 1024,
        "process_rss_bytes": 16 * 1024,
    }
    assert {name for name in found if name.startswith("family_")} == {"family_mappings", "family_size_bytes"}
