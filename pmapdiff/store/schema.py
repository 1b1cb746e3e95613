"""The tables. What held from when to when is stored once; see docs/sql.md for the whole picture.

Addresses, offsets and inodes are unsigned 64 bit, SQLite's integers are not: they are stored as two's
complement, and `to_signed` and `to_unsigned` are the only place that knows.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, ForeignKeyConstraint, Index, Integer, LargeBinary, MetaData, SmallInteger, Table, Text, func

from pmapdiff.model import COUNTERS, FIGURES, Status
from pmapdiff.model.counters import VOLATILE

# Every revision that this version understands, oldest first; the last one is what it writes.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
HEAD = REVISIONS[-1]
# "pmap" as SQLite's application_id: tells our databases from other people's without a query.
APPLICATION_ID = 0x706D6170
# The last snapshot of an interval that still lasts. A number and not NULL: a closed one never needs more room.
LASTING = 2**31 - 1

# The codes of a capture's status. TIMEOUT has two: with the table (something else took too long) and without.
STATUSES = {
    0: Status.COMPLETE,
    1: Status.TORN,
    2: Status.VANISHED,
    3: Status.DENIED,
    4: Status.TIMEOUT,
    5: Status.TIMEOUT,
    6: Status.MAPS_ONLY,
    7: Status.PARTIAL,
}
WITH_TABLE = (0, 1, 5, 6, 7)
STATUS_CODES = {(status, code in WITH_TABLE): code for code, status in STATUSES.items()}

VOLATILE_COLUMNS = tuple(counter.attribute for counter in COUNTERS[:VOLATILE])
DETAIL_COLUMNS = tuple(counter.attribute for counter in COUNTERS[VOLATILE:])

# A thousand hosts have more states in a month than 31 bits can number. SQLite's integers are as long as they need to be.
_Number = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()

host = Table("host", metadata, Column("id", Integer, primary_key=True), Column("name", Text, nullable=False, unique=True))

# What is interned (string, layout, protection, backing, detail, state) is each host's own on PostgreSQL: one that may only append its own rows
# sees nothing of another's, cannot change what those mean, and waits for nobody. In a file it is everybody's, and `host_id` NULL.
#
# Byte strings of strangers: `raw` is what the kernel gave, `text` is safe to print.
string = Table(
    "string",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("raw", LargeBinary, nullable=False),
    Column("text", Text, nullable=False),
    Column("host_id", Integer),
)

# What a store says of itself. `removed` is the highest number of a snapshot that was ever removed: numbers are not given out again, as intervals are
# in them, and so is what people and other recorders remember. `store` is its identity, by which copies of its snapshots are known anywhere.
numbering = Table("numbering", metadata, Column("id", Integer, primary_key=True), Column("removed", Integer, nullable=False), Column("store", Text))

snapshot = Table(
    "snapshot",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("host_id", ForeignKey("host.id"), nullable=False),
    Column("taken_at", BigInteger, nullable=False),
    Column("duration_us", BigInteger),
    Column("label", Text),
    Column("source", Text, nullable=False),
    Column("selection", Text),
    Column("max_map_count", Integer),
    Column("mem_total_kib", BigInteger),
    # Of a copy: the store that had it first, and its number there.
    Column("origin_store", Text),
    Column("origin_number", Integer),
    Index("snapshot_taken_at", "taken_at"),
)
# Of copies alone, as the migration has it. To say so here, too, would load SQLAlchemy's part for PostgreSQL, 0.05 s in each recorder.
Index("snapshot_origin", snapshot.c.host_id, snapshot.c.origin_store, snapshot.c.origin_number, snapshot.c.taken_at, unique=True)
# Of hundreds of hosts one may have been silent for long.
Index("snapshot_host_taken_at", snapshot.c.host_id, snapshot.c.taken_at).ddl_if(dialect="postgresql")

# What `sync` brought, a row a batch: of which store, up to which of its numbers, and which snapshots that are here. `taken_at` is of the last of
# them, by the host's clock, `arrived_at` by that of the database; `clock_offset_us` is how far the host's clock was ahead then.
delivery = Table(
    "delivery",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("host_id", ForeignKey("host.id"), nullable=False),
    Column("source_store", Text, nullable=False),
    Column("through", Integer, nullable=False),
    Column("snapshots", Integer, nullable=False),
    Column("last_snapshot", Integer),
    Column("taken_at", BigInteger, nullable=False),
    Column("arrived_at", BigInteger, nullable=False),
    Column("clock_offset_us", BigInteger),
    Index("delivery_source", "host_id", "source_store", "id"),
)

process = Table(
    "process",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("host_id", ForeignKey("host.id"), nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("start_ticks", BigInteger, nullable=False),
    Column("exec_key", Text, nullable=False),
    Column("ppid", Integer),
    Column("uid", BigInteger),
    Column("started_at", BigInteger),
    Column("comm_id", ForeignKey("string.id"), nullable=False),
    Column("cmdline_id", ForeignKey("string.id"), nullable=False),
    Column("exe_id", ForeignKey("string.id")),
    Column("cgroup_id", ForeignKey("string.id")),
    Column("container", Text),
    Column("unit", Text),
    Column("rlimit_as_bytes", BigInteger),
    Column("rlimit_data_bytes", BigInteger),
    Column("rlimit_stack_bytes", BigInteger),
    # One writer at a time sees to it that there is one row a process; to have the index do it would double what a short process costs.
    Index("process_pid", "host_id", "pid", "start_ticks"),
)

# One process in one snapshot. An idle process costs this row and nothing else, so it has no second index: what is asked of a process
# is asked of the intervals below, or of one snapshot after the other.
capture = Table(
    "capture",
    metadata,
    Column("snapshot_id", ForeignKey("snapshot.id"), primary_key=True),
    Column("process_id", ForeignKey("process.id"), primary_key=True),
    Column("status", SmallInteger, nullable=False),
    Column("threads", Integer),
    Column("vm_hwm_kib", BigInteger),
    Column("cgroup_limit_bytes", BigInteger),
    Column("cgroup_usage_bytes", BigInteger),
    Column("read_us", BigInteger),
    Column("note", Text),
    sqlite_with_rowid=False,
)

# What a process's table added up to, and the digest of its text, from snapshot to snapshot. That the process was in each of them says
# nobody: `capture` does.
totals = Table(
    "totals",
    metadata,
    Column("process_id", ForeignKey("process.id"), primary_key=True),
    Column("last_snapshot", Integer, primary_key=True),
    Column("first_snapshot", Integer, nullable=False),
    Column("digest", LargeBinary),
    Column("mappings", Integer, nullable=False),
    *(Column(name, BigInteger) for name in FIGURES),
    sqlite_with_rowid=False,
)

protection = Table(
    "protection",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("perms", Text, nullable=False),
    Column("flags_id", ForeignKey("string.id")),
    Column("host_id", Integer),
)

# What stands behind a mapping: device and inode (NULL if the source had none) and the name.
backing = Table(
    "backing",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("device", Text),
    Column("inode", BigInteger),
    Column("name_id", ForeignKey("string.id"), nullable=False, index=True),
    Column("host_id", Integer),
)

# The geometry of a mapping, once for as long as it stays. `header` only if it was not in the kernel's usual form.
mapping = Table(
    "mapping",
    metadata,
    Column("process_id", ForeignKey("process.id"), primary_key=True),
    Column("no", Integer, primary_key=True),
    Column("start_address", BigInteger, nullable=False),
    Column("end_address", BigInteger, nullable=False),
    Column("file_offset", BigInteger),
    Column("protection_id", ForeignKey("protection.id"), nullable=False),
    Column("backing_id", ForeignKey("backing.id"), nullable=False),
    Column("header", LargeBinary),
    sqlite_with_rowid=False,
)
# Where a removed row is looked for; SQLite prunes without foreign keys, and needs no index to slow its recorders down.
Index("mapping_backing", mapping.c.backing_id).ddl_if(dialect="postgresql")

layout = Table(
    "layout",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("template", LargeBinary, nullable=False),
    Column("host_id", Integer),
)

# Counters that hardly ever change, interned: page sizes, KSM, hugetlb and the like, and those we do not know (`extra`, a
# JSON list in the order of the layout).
detail = Table(
    "detail",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("lookup", Text, nullable=False),
    Column("layout_id", ForeignKey("layout.id")),
    *(Column(name, BigInteger) for name in DETAIL_COLUMNS),
    Column("extra", Text),
    Column("host_id", Integer),
)

# All counters of a mapping at once: the same few sets stand in thousands of mappings, and come back. `lookup` is a hash of them; two sets may
# have the same one.
state = Table(
    "state",
    metadata,
    Column("id", _Number, primary_key=True),
    Column("lookup", BigInteger, nullable=False),
    *(Column(name, BigInteger) for name in VOLATILE_COLUMNS),
    Column("detail_id", ForeignKey("detail.id"), nullable=False),
    Column("host_id", Integer),
)
Index("ix_state_lookup", state.c.lookup).ddl_if(dialect="sqlite")
Index("state_host_lookup", state.c.host_id, state.c.lookup).ddl_if(dialect="postgresql")
Index("state_detail", state.c.detail_id).ddl_if(dialect="postgresql")

# The counters of a mapping from snapshot to snapshot: a row lasts until one of them changes. The end comes first in the key: what
# still lasts is then in one place, and neither recording nor looking at the latest reads what is long over.
usage = Table(
    "usage",
    metadata,
    Column("process_id", _Number, primary_key=True),
    Column("last_snapshot", Integer, primary_key=True),
    Column("no", Integer, primary_key=True),
    Column("first_snapshot", Integer, nullable=False),
    Column("state_id", ForeignKey("state.id"), nullable=False),
    ForeignKeyConstraint(["process_id", "no"], ["mapping.process_id", "mapping.no"]),
    sqlite_with_rowid=False,
)
Index("usage_state", usage.c.state_id).ddl_if(dialect="postgresql")

# What is the same for all is found by its digest on PostgreSQL: no index holds a command line of 10 KB.
for _table, _column in ((string, string.c.raw), (layout, layout.c.template)):
    Index(f"{_table.name}_host_{_column.name}", _table.c.host_id, func.sha256(_column), unique=True).ddl_if(dialect="postgresql")
Index("detail_host_lookup", detail.c.host_id, detail.c.lookup, unique=True).ddl_if(dialect="postgresql")


# Where a mapping is and what it is of, in the order in which rows are written and read.
GEOMETRY = (
    mapping.c.start_address,
    mapping.c.end_address,
    mapping.c.file_offset,
    mapping.c.protection_id,
    mapping.c.backing_id,
    mapping.c.header,
)


def to_signed(value: int) -> int:
    """An unsigned 64-bit number as the signed one that databases can hold."""
    return value - (1 << 64) if value >= 1 << 63 else value


def to_unsigned(value: int) -> int:
    """The unsigned 64-bit number behind a stored one."""
    return value + (1 << 64) if value < 0 else value
