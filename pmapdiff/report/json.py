"""JSON: the contract with scripts (docs/json.md). Field names are stable, addresses are "0x…" strings, missing is null."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

from pmapdiff.align import History, RegionHistory, Sample, ServiceHistory, Verdict
from pmapdiff.compare import Change, Comparison, FamilyChange, ProcessComparison
from pmapdiff.model import COUNTERS, FIGURES, Capture, Figures, Mapping, ProcessInfo, Snapshot, SnapshotRef, Totals
from pmapdiff.model.counters import figures_dict
from pmapdiff.model.mapping import known_perms
from pmapdiff.report.base import View, register
from pmapdiff.report.families import FamilyTotal, family_totals, summarise
from pmapdiff.report.regions import figure_name, rows_of
from pmapdiff.report.rows import chosen_rows
from pmapdiff.report.shape import choose
from pmapdiff.text import decode
from pmapdiff.units import format_moment_utc

if TYPE_CHECKING:
    from pmapdiff.store import HostSummary, ProcessSummary, SnapshotSummary


def write_object(value: dict[str, Any], out: TextIO) -> None:
    """Write one output of the contract."""
    # ASCII only: names of strangers arrive exactly, and cannot drive a terminal that shows them.
    # Mappings and changes a line each: the encoder in C does no indentation, and is eight times as fast.
    out.write("{\n")
    for number, (key, item) in enumerate(value.items()):
        out.write(f"{',' if number else ''}{json.dumps(key)}: ")
        _write_value(item, out)
        out.write("\n")
    out.write("}\n")


def _write_value(value: Any, out: TextIO) -> None:
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        out.write("[\n")
        for number, item in enumerate(value):
            out.write("," if number else "")
            if (
                item is not None
                and any(isinstance(member, list) and member and isinstance(member[0], dict) for member in item.values())
                and "start" not in item
            ):
                out.write("{")
                for place, (key, member) in enumerate(item.items()):
                    out.write(f"{',' if place else ''}{json.dumps(key)}: ")
                    _write_value(member, out)
                out.write("}")
            else:
                out.write(json.dumps(item))
            out.write("\n")
        out.write("]")
    else:
        out.write(json.dumps(value))


def snapshot_value(ref: SnapshotRef) -> dict[str, Any]:
    """SNAPSHOT of the contract."""
    return {"id": ref.id, "taken_at": format_moment_utc(ref.taken_at_us), "host": ref.host, "label": ref.label, "source": ref.source}


def totals_value(totals: Totals | None) -> dict[str, int | None]:
    """The number of mappings and every figure in KiB; all null without a table."""
    if totals is None:
        return {"mappings": None, **dict.fromkeys(FIGURES)}
    return {"mappings": totals.mappings, **figures_dict(totals.figures)}


def mapping_value(mapping: Mapping, verdict: Verdict | None = None, *, explain: bool = False) -> dict[str, Any]:
    """One row of a mapping table with every counter."""
    figures = figures_dict(mapping.figures)
    value: dict[str, Any] = {
        "start": None if mapping.is_sum else hex(mapping.start),
        "end": None if mapping.is_sum else hex(mapping.end),
        "perms": known_perms(mapping.perms),
        "offset": None if mapping.offset is None else hex(mapping.offset),
        "device": mapping.device,
        "inode": mapping.inode,
        "name": decode(mapping.name),
    }
    if verdict is not None:
        value["family"] = verdict.family
        if explain:
            value["family_reason"] = verdict.reason
    value["vm_flags"] = None if mapping.flags is None else decode(mapping.flags).split()
    value.update(figures)
    value.update({c.attribute: mapping.counters[i] for i, c in enumerate(COUNTERS) if c.attribute not in figures})
    if mapping.layout is not None and mapping.layout.extra_labels:
        values = (decode(v).strip() if isinstance(v, bytes) else v for v in mapping.extra)
        value["other"] = dict(zip(mapping.layout.extra_labels, values, strict=True))
    return value


def _side_value(mapping: Mapping) -> dict[str, Any]:
    """A mapping within a change: where it was, and its counters by themselves."""
    whole = mapping_value(mapping)
    place = {key: whole[key] for key in ("start", "end", "perms", "offset", "device", "inode", "name")}
    return {**place, "counters": {key: value for key, value in whole.items() if key not in place and key != "vm_flags"}}


def _delta(figures: Figures) -> dict[str, int | None]:
    return figures_dict(figures)


def _change_value(change: Change, view: View) -> dict[str, Any]:
    return {
        "change": list(change.kinds),
        "possibly": change.possibly,
        "family": change.family,
        **({"family_reason": change.family_reason} if view.explain else {}),
        "name": change.name,
        "path": change.path,
        "offset": None if change.offset is None else hex(change.offset),
        "perms": known_perms(change.perms),
        "before": [_side_value(m) for m in change.before],
        "after": [_side_value(m) for m in change.after],
        "delta": _delta(change.delta),
    }


def _family_value(row: FamilyChange, view: View) -> dict[str, Any]:
    return {
        "family": row.family,
        "mappings_before": row.mappings_before,
        "mappings_after": row.mappings_after,
        "before": figures_dict(row.before),
        "after": figures_dict(row.after),
        "delta": _delta(row.delta),
        **({"rules": [_rule_value(*rule) for rule in row.reasons]} if view.explain else {}),
    }


def _rule_value(reason: str, before: int, after: int) -> dict[str, Any]:
    return {"family_reason": reason, "mappings_before": before, "mappings_after": after}


def _process_comparison(process: ProcessComparison, view: View) -> dict[str, Any]:
    chosen = choose(process, view, view.top)
    mappings = [None if totals is None else totals.mappings for totals in (process.totals_before, process.totals_after)]
    return {
        "pid": process.process.pid,
        "pid_before": None if process.before is None else process.before.process.pid,
        "command": process.process.name,
        "command_line": process.process.command_line,
        "match": process.match.value,
        "complete": process.complete,
        "unrecorded_before": process.unrecorded_before,
        "unrecorded_after": process.unrecorded_after,
        "status": [None if capture is None else capture.status.value for capture in (process.before, process.after)],
        "missing": list(process.missing),
        "totals": {
            "before": totals_value(process.totals_before),
            "after": totals_value(process.totals_after),
            "delta": {"mappings": None if None in mappings else (mappings[1] or 0) - (mappings[0] or 0), **_delta(process.delta)},
        },
        "families": [_family_value(row, view) for row in process.families],
        "changes": [_change_value(change, view) for change in chosen.shown],
        "effects": [{"effect": observed.effect.value, "amount": observed.amount, "limit": observed.limit} for observed in process.effects],
        "below_threshold": {"changes": chosen.hidden, "delta": _delta(chosen.hidden_delta)},
        "unchanged": process.unchanged,
    }


@register("compare", "json")
def write_comparison(result: Comparison, view: View, out: TextIO) -> None:
    """`pmapdiff.compare/1`; the whole result whatever the view, but for its threshold, order and top."""
    write_object(
        {
            "schema": "pmapdiff.compare/1",
            "before": snapshot_value(result.before),
            "after": snapshot_value(result.after),
            "processes": [_process_comparison(process, view) for process in result.processes],
        },
        out,
    )


def _sample_value(sample: Sample | None) -> dict[str, Any] | None:
    if sample is None:
        return None
    place = {"start": hex(sample.start), "end": hex(sample.end)} if sample.end else {"start": None, "end": None}
    return {"mappings": sample.mappings, **place, **figures_dict(sample.figures)}


def _region_value(known: RegionHistory) -> dict[str, Any]:
    label = known.region.label
    return {
        "id": known.id,
        "family": label.family,
        "name": label.name,
        "path": label.path,
        "offset": None if label.offset is None else hex(label.offset),
        "perms": known_perms(label.perms),
        "possibly": known.region.possibly,
        "samples": [_sample_value(sample) for sample in known.samples],
    }


def _service_value(history: History, service: ServiceHistory, view: View) -> dict[str, Any]:
    found = rows_of(service, replace(view, by="region", top=view.top or 0), figure_name(view, history), view.top or 0)
    return {
        **process_value(service.process),
        "host": service.host,
        "incarnations": [
            {"index": known.step, "pid": known.process.pid, "match": known.match.value, "started_at": process_value(known.process)["started_at"]}
            for known in service.incarnations
        ],
        "statuses": [None if capture is None else capture.status.value for capture in service.captures],
        "totals": [None if totals is None else totals_value(totals) for totals in service.totals],
        "regions": [_region_value(known) for row in found.rows for known in row.regions],
        "rest": {"regions": found.hidden + found.unchanged, "samples": [_sample_value(sample) for sample in found.rest]},
    }


def _write_history(result: History, view: View, out: TextIO) -> None:
    """`pmapdiff.history/1`: a sample of each region for each snapshot, null where there is no table."""
    write_object(
        {
            "schema": "pmapdiff.history/1",
            "snapshots": [snapshot_value(ref) for ref in result.snapshots],
            "services": [_service_value(result, service, view) for service in result.services],
        },
        out,
    )


for _subject in ("history", "series"):
    register(_subject, "json")(_write_history)


def process_value(info: ProcessInfo) -> dict[str, Any]:
    """Who a process is."""
    return {
        "pid": info.pid,
        "command": info.name,
        "command_line": info.command_line,
        "exe": None if info.exe is None else decode(info.exe),
        "ppid": info.ppid,
        "uid": info.uid,
        "cgroup": None if info.cgroup is None else decode(info.cgroup),
        "container": info.container,
        "unit": info.unit,
        "started_at": None if info.started_at_us is None else format_moment_utc(info.started_at_us),
        "rlimit_as_bytes": info.rlimit_as_bytes,
        "rlimit_data_bytes": info.rlimit_data_bytes,
        "rlimit_stack_bytes": info.rlimit_stack_bytes,
    }


def _total_value(row: FamilyTotal, view: View) -> dict[str, Any]:
    rules = [{"family_reason": part.reason, **totals_value(part.totals)} for part in row.rules]
    return {"family": row.family, **totals_value(row.totals), **({"rules": rules} if view.explain else {})}


def _capture_value(capture: Capture, view: View) -> dict[str, Any]:
    families = [_total_value(row, view) for row in family_totals([capture], view)] if view.by == "family" else []
    return {
        **process_value(capture.process),
        "status": capture.status.value,
        "note": capture.note,
        "threads": capture.threads,
        "vm_hwm_kib": capture.vm_hwm_kib,
        "cgroup_limit_bytes": capture.cgroup_limit_bytes,
        "cgroup_usage_bytes": capture.cgroup_usage_bytes,
        "read_us": capture.read_us,
        "totals": totals_value(None if capture.table is None else capture.sums),
        **({"families": families} if view.by == "family" else {}),
        "mappings": [mapping_value(mapping, verdict, explain=view.explain) for mapping, verdict in chosen_rows(capture, view)],
    }


@register("show", "json")
def write_snapshot(result: Snapshot, view: View, out: TextIO) -> None:
    """`pmapdiff.show/1`; by family with the sums of the families beside the mappings."""
    value: dict[str, Any] = {"schema": "pmapdiff.show/1", "snapshot": snapshot_value(result.ref)}
    if view.by == "family":
        summary = summarise(result, view)
        value["summed_up"] = {"processes": summary.processes, "left_out": summary.left_out, "totals": totals_value(summary.totals)}
        value["families"] = [_total_value(row, view) for row in summary.families]
    write_object({**value, "processes": [_capture_value(capture, view) for capture in result.captures]}, out)


@register("snapshots", "json")
def write_snapshots(result: Sequence[SnapshotSummary], _view: View, out: TextIO) -> None:
    """`pmapdiff.snapshots/1`."""
    rows = [
        {
            **snapshot_value(row.ref),
            "duration_us": row.ref.duration_us,
            "processes": sum(row.statuses.values()),
            "statuses": {status.value: count for status, count in row.statuses.items()},
            "mappings": row.mappings,
            "rss_kib": row.rss_kib,
            "footprint_kib": row.footprint_kib,
        }
        for row in result
    ]
    write_object({"schema": "pmapdiff.snapshots/1", "snapshots": rows}, out)


@register("processes", "json")
def write_processes(result: Sequence[ProcessSummary], _view: View, out: TextIO) -> None:
    """`pmapdiff.processes/1`."""
    rows = [
        {
            **process_value(row.process),
            "host": row.host,
            "snapshots": row.captures,
            "read_us": row.read_us,
            "first": {**snapshot_value(row.first), "totals": totals_value(row.totals_first)},
            "last": {**snapshot_value(row.last), "totals": totals_value(row.totals_last)},
        }
        for row in result
    ]
    write_object({"schema": "pmapdiff.processes/1", "processes": rows}, out)


@register("hosts", "json")
def write_hosts(result: Sequence[HostSummary], _view: View, out: TextIO) -> None:
    """`pmapdiff.hosts/1`."""
    rows = [
        {
            "host": row.host,
            "snapshots": row.snapshots,
            "processes": row.processes,
            "first_taken_at": None if row.first_us is None else format_moment_utc(row.first_us),
            "last": None if row.last is None else snapshot_value(row.last),
            "age_us": row.age_us,
            "gap_us": row.gap_us,
            "silent": row.silent,
            "lag_us": row.lag_us,
            "clock_offset_us": row.clock_offset_us,
        }
        for row in result
    ]
    write_object({"schema": "pmapdiff.hosts/1", "hosts": rows}, out)
