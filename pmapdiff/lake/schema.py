"""The columns of each dataset; docs/lake.md says what they mean.

What may change without another `FORMAT`: columns that may be NULL and say nothing that it takes to give a snapshot back.
"""

from __future__ import annotations

import pyarrow as pa

from pmapdiff.model import COUNTERS, FIGURES

_MOMENT = pa.timestamp("us", tz="UTC")
COUNTER_COLUMNS = tuple(counter.attribute for counter in COUNTERS)


def _schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    """Columns of these types; a name that ends with `?` is of one that may be NULL."""
    return pa.schema([pa.field(name.rstrip("?"), kind, nullable=name.endswith("?")) for name, kind in columns])


SCHEMAS: dict[str, pa.Schema] = {
    "snapshots": _schema(
        ("part", pa.string()),
        ("snapshot", pa.int32()),
        ("taken_at", _MOMENT),
        ("duration_us?", pa.int64()),
        ("label?", pa.string()),
        ("source", pa.string()),
        ("selection?", pa.string()),
        ("max_map_count?", pa.int32()),
        ("mem_total_kib?", pa.int64()),
        ("origin_store", pa.string()),
        ("origin_number", pa.int64()),
        ("captures", pa.int32()),
    ),
    "processes": _schema(
        ("part", pa.string()),
        ("process", pa.int32()),
        ("boot_id", pa.string()),
        ("pid", pa.int32()),
        ("start_ticks", pa.int64()),
        ("exec_key", pa.string()),
        ("comm", pa.string()),
        ("comm_raw?", pa.binary()),
        ("command_line", pa.string()),
        ("cmdline", pa.binary()),
        ("exe?", pa.string()),
        ("exe_raw?", pa.binary()),
        ("ppid?", pa.int32()),
        ("uid?", pa.int64()),
        ("cgroup?", pa.string()),
        ("cgroup_raw?", pa.binary()),
        ("container?", pa.string()),
        ("unit?", pa.string()),
        ("started_at?", _MOMENT),
        ("rlimit_as_bytes?", pa.int64()),
        ("rlimit_data_bytes?", pa.int64()),
        ("rlimit_stack_bytes?", pa.int64()),
        ("first_taken_at", _MOMENT),
        ("last_taken_at", _MOMENT),
    ),
    "captures": _schema(
        ("part", pa.string()),
        ("snapshot", pa.int32()),
        ("process", pa.int32()),
        ("place", pa.int32()),
        ("taken_at", _MOMENT),
        ("status", pa.string()),
        ("threads?", pa.int32()),
        ("vm_hwm_kib?", pa.int64()),
        ("cgroup_limit_bytes?", pa.int64()),
        ("cgroup_usage_bytes?", pa.int64()),
        ("read_us?", pa.int64()),
        ("note?", pa.string()),
        ("digest?", pa.binary()),
        ("mappings?", pa.int32()),
        *((f"{name}?", pa.int64()) for name in FIGURES),
    ),
    "mappings": _schema(
        ("part", pa.string()),
        ("process", pa.int32()),
        ("first", pa.int32()),
        ("last", pa.int32()),
        ("first_taken_at", _MOMENT),
        ("last_taken_at", _MOMENT),
        ("start_address", pa.uint64()),
        ("size_bytes", pa.uint64()),
        ("perms", pa.string()),
        ("file_offset?", pa.uint64()),
        ("device?", pa.string()),
        ("inode?", pa.uint64()),
        ("name", pa.string()),
        ("name_raw?", pa.binary()),
        ("vm_flags?", pa.string()),
        *((f"{name}?", pa.int64()) for name in COUNTER_COLUMNS),
        ("layout?", pa.binary()),
        ("extra?", pa.string()),
        ("header?", pa.binary()),
    ),
}
