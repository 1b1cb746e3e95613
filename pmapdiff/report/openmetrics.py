"""Gauges for Prometheus: what the processes of a snapshot and their families hold.

The text is OpenMetrics 1.0 and at the same time the text format 0.0.4 of Prometheus, which is what node_exporter's textfile
collector reads: only gauges, which both know, no timestamps, which the collector refuses, and what 0.0.4 does not know (`# UNIT`, `# EOF`)
is a comment to it. A figure that is missing has no sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TextIO

from pmapdiff.align import Classifier
from pmapdiff.model import FIGURE_INDEX, Capture, Figures, Snapshot
from pmapdiff.model.counters import sum_figures
from pmapdiff.report.base import View, register
from pmapdiff.report.families import family_totals
from pmapdiff.text import printable

if TYPE_CHECKING:
    from prometheus_client import Metric

_FIGURES = {
    "size": "Length of all mappings",
    "rss": "Resident memory, Rss",
    "pss": "Resident memory, that of several processes shared out among them, Pss",
    "uss": "Resident memory that no other process has, USS",
    "dirty": "Resident memory that was written to, Shared_Dirty and Private_Dirty",
    "swap": "Memory that was paged out, Swap",
    "footprint": "Memory that cannot be dropped for free",
}
_OF_FAMILIES = ("size", "rss", "pss", "footprint")

Labels = tuple[tuple[str, str], ...]


class Metrics(NamedTuple):
    """A snapshot to be written as metrics; `filter` says which of its processes they are (`--name redis`), empty for all."""

    snapshot: Snapshot
    filter: str = ""


class _Total(NamedTuple):
    """How many mappings some memory has, and its figures."""

    labels: Labels
    mappings: int
    figures: Figures


@register("metrics", "openmetrics")
def write_metrics(result: Metrics, view: View, out: TextIO) -> None:
    """The gauges of a snapshot, those of a process beside those of its families."""
    from prometheus_client.openmetrics.exposition import generate_latest

    out.write(generate_latest(_Collected(result, view.classifier)).decode())


class _Collected:
    """What prometheus_client asks a registry for."""

    def __init__(self, metrics: Metrics, classifier: Classifier) -> None:
        self._metrics = metrics
        self._view = View(classifier=classifier)

    def collect(self) -> Iterator[Metric]:
        """All metrics that have a sample."""
        return (metric for metric in self._all() if metric.samples)

    def _all(self) -> Iterator[Metric]:
        ref = self._metrics.snapshot.ref
        about = _labels(host=ref.host, filter=self._metrics.filter)
        yield _gauge("snapshot_timestamp_seconds", "When the snapshot was taken, in seconds since 1970", [(about, ref.taken_at_us / 1e6)])
        duration = None if ref.duration_us is None else ref.duration_us / 1e6
        yield _gauge("snapshot_duration_seconds", "How long it took to record the snapshot", [(about, duration)])

        processes = self._by_labels()
        states = [((*labels, ("status", capture.status.value)), 1) for labels, captures in processes.items() for capture in captures]
        yield _gauge("process_status", "How the capture of a process went: 1 for the status that it has", dict(states).items())
        yield _gauge(
            "process_threads", "Number of threads", [(labels, _sum(capture.threads for capture in found)) for labels, found in processes.items()]
        )
        peaks = [(labels, _sum(capture.vm_hwm_kib for capture in found)) for labels, found in processes.items()]
        yield _gauge("process_peak_rss_bytes", "The most resident memory that the process ever had (VmHWM)", _bytes(peaks))
        sums = [(labels, [capture.sums for capture in found if capture.sums is not None]) for labels, found in processes.items()]
        totals = [_Total(labels, sum(t.mappings for t in some), sum_figures(t.figures for t in some)) for labels, some in sums if some]
        yield from _memory("process", totals, tuple(_FIGURES))
        yield from _memory("family", list(self._families(processes)), _OF_FAMILIES)

    def _by_labels(self) -> dict[Labels, list[Capture]]:
        """The captures by what tells them apart. Saved tables may be alike in that, and two samples of equal labels spoil all metrics of a host."""
        found: dict[Labels, list[Capture]] = {}
        for capture in self._metrics.snapshot.captures:
            process = capture.process
            labels = _labels(
                host=self._metrics.snapshot.ref.host,
                pid=str(process.pid) if process.pid else "",
                command=process.name,
                unit=process.unit or "",
                container=process.container or "",
            )
            found.setdefault(labels, []).append(capture)
        return found

    def _families(self, processes: dict[Labels, list[Capture]]) -> Iterator[_Total]:
        for labels, captures in processes.items():
            for row in family_totals(captures, self._view):
                yield _Total((*labels, ("family", row.family)), row.totals.mappings, row.totals.figures)


def _labels(**texts: str) -> Labels:
    """Labels of what is known: to Prometheus an empty one is none."""
    return tuple((name, printable(text)) for name, text in texts.items() if text)


def _sum(values: Iterable[int | None]) -> int | None:
    """The sum, missing if one of them is."""
    known = list(values)
    return None if None in known else sum(value or 0 for value in known)


def _bytes(kib: Iterable[tuple[Labels, int | None]]) -> list[tuple[Labels, int | None]]:
    return [(labels, None if value is None else value * 1024) for labels, value in kib]


def _memory(subject: str, totals: Sequence[_Total], figures: Sequence[str]) -> Iterator[Metric]:
    by = {"process": "by process", "family": "by process and family of mappings"}[subject]
    yield _gauge(f"{subject}_mappings", f"Number of mappings, {by}", [(total.labels, total.mappings) for total in totals])
    for figure in figures:
        index = FIGURE_INDEX[f"{figure}_kib"]
        samples = _bytes((total.labels, total.figures[index]) for total in totals)
        yield _gauge(f"{subject}_{figure}_bytes", f"{_FIGURES[figure]}, {by}", samples)


def _gauge(name: str, about: str, samples: Iterable[tuple[Labels, float | None]]) -> Metric:
    from prometheus_client import Metric

    unit = next((unit for unit in ("bytes", "seconds") if name.endswith(f"_{unit}")), "")
    metric = Metric(f"pmapdiff_{name}", about, "gauge", unit)
    for labels, value in samples:
        if value is not None:
            metric.add_sample(metric.name, dict(labels), value)
    return metric
