"""Counters interned in `state`, intervals from snapshot to snapshot, captures without a second index; a status for tables without counters."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_LASTING = 2**31 - 1
_VOLATILE = (
    "rss_kib",
    "pss_kib",
    "pss_dirty_kib",
    "shared_clean_kib",
    "shared_dirty_kib",
    "private_clean_kib",
    "private_dirty_kib",
    "referenced_kib",
    "anonymous_kib",
    "anon_huge_pages_kib",
    "swap_kib",
    "swap_pss_kib",
    "dirty_kib",
)

# (dialect, format) pieces: the views are the same on SQLite and PostgreSQL but for these functions.
_HEX = {"sqlite": "CASE WHEN {0} IS NOT NULL THEN printf('0x%x', {0}) END", "postgresql": "'0x' || to_hex({0})"}
# Inodes use all 64 bits, and those with the highest one set are stored as negative numbers.
_INODE = {
    "sqlite": "CASE WHEN b.inode < 0 THEN printf('%u', b.inode) ELSE b.inode END",
    "postgresql": "CASE WHEN b.inode < 0 THEN b.inode::numeric + 18446744073709551616 ELSE b.inode END",
}
_TIME = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000000, 'unixepoch') || printf('.%06dZ', {0} % 1000000)",
    "postgresql": "to_char(to_timestamp({0} / 1000000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
}

_MAPPING_TABLE = """
CREATE VIEW mapping_table AS
SELECT s.id AS snapshot_id, {taken_at} AS taken_at, h.name AS host, s.label AS label, s.selection AS selection, p.id AS process_id, p.pid AS pid,
       coalesce(nullif(rtrim(replace(cmdline.text, '\\x00', ' ')), ''), '[' || comm.text || ']') AS command, comm.text AS comm,
       {start} AS start_hex, {end} AS end_hex, pr.perms AS perms, {offset} AS offset_hex, b.device AS device, {inode} AS inode,
       name.text AS name, flags.text AS vm_flags, (m.end_address - m.start_address) / 1024 AS size_kib,
       u.rss_kib, u.pss_kib, u.pss_dirty_kib, u.shared_clean_kib, u.shared_dirty_kib, u.private_clean_kib, u.private_dirty_kib,
       u.referenced_kib, u.anonymous_kib, u.anon_huge_pages_kib, u.swap_kib, u.swap_pss_kib,
       coalesce(u.shared_dirty_kib + u.private_dirty_kib, u.dirty_kib) AS dirty_kib,
       u.private_clean_kib + u.private_dirty_kib + coalesce(d.private_hugetlb_kib, 0) AS uss_kib,
       d.kernel_page_size_kib, d.mmu_page_size_kib, d.ksm_kib, d.lazy_free_kib, d.shmem_pmd_mapped_kib, d.file_pmd_mapped_kib,
       d.shared_hugetlb_kib, d.private_hugetlb_kib, d.locked_kib, d.thp_eligible, d.protection_key
FROM capture c
JOIN snapshot s ON s.id = c.snapshot_id
JOIN host h ON h.id = s.host_id
JOIN process p ON p.id = c.process_id
JOIN string cmdline ON cmdline.id = p.cmdline_id
JOIN string comm ON comm.id = p.comm_id
JOIN usage g ON g.process_id = c.process_id AND g.first_snapshot <= c.snapshot_id AND g.last_snapshot >= c.snapshot_id
JOIN state u ON u.id = g.state_id
JOIN mapping m ON m.process_id = g.process_id AND m.no = g.no
JOIN protection pr ON pr.id = m.protection_id
JOIN backing b ON b.id = m.backing_id
JOIN string name ON name.id = b.name_id
JOIN detail d ON d.id = u.detail_id
LEFT JOIN string flags ON flags.id = pr.flags_id
WHERE c.status IN (0, 1, 5, 6)
"""

_PROCESS_TABLE = """
CREATE VIEW process_table AS
SELECT s.id AS snapshot_id, {taken_at} AS taken_at, h.name AS host, s.label AS label, s.selection AS selection, p.id AS process_id, p.pid AS pid,
       coalesce(nullif(rtrim(replace(cmdline.text, '\\x00', ' ')), ''), '[' || comm.text || ']') AS command,
       comm.text AS comm, exe.text AS exe, p.uid AS uid, cgroup.text AS cgroup, p.unit AS unit,
       CASE c.status WHEN 0 THEN 'complete' WHEN 1 THEN 'torn' WHEN 2 THEN 'vanished' WHEN 3 THEN 'denied' WHEN 6 THEN 'maps-only'
            ELSE 'timeout' END AS status,
       c.threads, c.vm_hwm_kib, c.cgroup_limit_bytes, c.cgroup_usage_bytes, c.read_us,
       t.mappings, t.size_kib, t.rss_kib, t.pss_kib, t.shared_clean_kib, t.shared_dirty_kib, t.private_clean_kib, t.private_dirty_kib,
       t.referenced_kib, t.anonymous_kib, t.swap_kib, t.swap_pss_kib, t.dirty_kib, t.uss_kib, t.footprint_kib
FROM capture c
JOIN snapshot s ON s.id = c.snapshot_id
JOIN host h ON h.id = s.host_id
JOIN process p ON p.id = c.process_id
JOIN string cmdline ON cmdline.id = p.cmdline_id
JOIN string comm ON comm.id = p.comm_id
LEFT JOIN string exe ON exe.id = p.exe_id
LEFT JOIN string cgroup ON cgroup.id = p.cgroup_id
LEFT JOIN totals t ON t.process_id = c.process_id AND t.first_snapshot <= c.snapshot_id AND c.status IN (0, 1, 5, 6)
     AND t.last_snapshot = (SELECT min(later.last_snapshot) FROM totals later
                            WHERE later.process_id = c.process_id AND later.last_snapshot >= c.snapshot_id)
"""


def _create_views() -> None:
    dialect = op.get_bind().dialect.name
    pieces = {"taken_at": _TIME[dialect].format("s.taken_at"), "inode": _INODE[dialect]}
    for piece, column in (("start", "m.start_address"), ("end", "m.end_address"), ("offset", "m.file_offset")):
        pieces[piece] = _HEX[dialect].format(column)
    for view in (_MAPPING_TABLE, _PROCESS_TABLE):
        op.get_bind().exec_driver_sql(view.format(**pieces))


def _lookup(values: tuple[int | None, ...]) -> int:
    return int.from_bytes(hashlib.sha256(repr(values).encode()).digest()[:8], "big", signed=True)


def _create_state() -> None:
    op.create_table(
        "state",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("lookup", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in _VOLATILE),
        sa.Column("detail_id", sa.Integer(), sa.ForeignKey("detail.id"), nullable=False),
    )
    op.create_index("ix_state_lookup", "state", ["lookup"])
    columns = ", ".join((*_VOLATILE, "detail_id"))
    state = sa.table("state", sa.column("id"), sa.column("lookup"), *(sa.column(name) for name in (*_VOLATILE, "detail_id")))
    found = op.get_bind().exec_driver_sql(f"SELECT DISTINCT {columns} FROM usage")
    number = 0
    while rows := found.fetchmany(10_000):
        values = [tuple(row) for row in rows]
        op.bulk_insert(
            state,
            [{"id": number + i, "lookup": _lookup(v), **dict(zip((*_VOLATILE, "detail_id"), v, strict=True))} for i, v in enumerate(values, 1)],
        )
        number += len(values)


def _tell_apart() -> None:
    """Give the second table of a process in one snapshot to a process of its own: they came from saved files."""
    run = op.get_bind().exec_driver_sql
    doubled = run("SELECT snapshot_id, process_id, count(*) FROM capture GROUP BY snapshot_id, process_id HAVING count(*) > 1").fetchall()
    for snapshot_id, process_id, _ in doubled:
        seqs = [row[0] for row in run(f"SELECT seq FROM capture WHERE snapshot_id = {snapshot_id} AND process_id = {process_id} ORDER BY seq")]
        # The last one stays, because what lasts is from there.
        for number, seq in enumerate(seqs[:-1], 2):
            twin = run("SELECT max(id) + 1 FROM process").scalar_one()
            columns = "host_id, boot_id, pid, start_ticks, ppid, uid, started_at, comm_id, cmdline_id, exe_id, cgroup_id, container, unit"
            limits = "rlimit_as_bytes, rlimit_data_bytes, rlimit_stack_bytes"
            run(
                f"INSERT INTO process (id, {columns}, {limits}, exec_key) SELECT {twin}, {columns}, {limits}, exec_key || '#{snapshot_id}.{number}' "
                f"FROM process WHERE id = {process_id}"
            )
            run(f"UPDATE capture SET process_id = {twin} WHERE process_id = {process_id} AND seq = {seq}")
            place = "no, start_address, end_address, file_offset, protection_id, backing_id, header"
            within = f"process_id = {process_id} AND first_seq <= {seq} AND last_seq >= {seq}"
            run(
                f"INSERT INTO mapping (process_id, {place}) SELECT {twin}, {place} FROM mapping "
                f"WHERE process_id = {process_id} AND no IN (SELECT no FROM usage WHERE {within})"
            )
            counters = ", ".join((*_VOLATILE, "detail_id"))
            at_once = f"{twin}, {seq}, no, {seq}, {counters}"
            run(f"INSERT INTO usage (process_id, last_seq, no, first_seq, {counters}) SELECT {at_once} FROM usage WHERE {within}")
            sums = [column["name"] for column in sa.inspect(op.get_bind()).get_columns("totals")]
            kept = ", ".join(name for name in sums if name not in ("process_id", "first_seq", "last_seq"))
            run(f"INSERT INTO totals (process_id, last_seq, first_seq, {kept}) SELECT {twin}, {seq}, {seq}, {kept} FROM totals WHERE {within}")


def _copied(table: str) -> str:
    """The first and the last snapshot of an interval of captures, as SQL: those of the first and the last capture in it."""
    nearest = "(SELECT c.snapshot_id FROM capture c WHERE c.process_id = {0}.process_id AND c.seq {1} {0}.{2} ORDER BY c.seq {3} LIMIT 1)"
    first = nearest.format(table, ">=", "first_seq", "ASC")
    last = f"CASE WHEN {table}.last_seq = {_LASTING} THEN {_LASTING} ELSE {nearest.format(table, '<=', 'last_seq', 'DESC')} END"
    return f"{last}, {first}"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    for view in ("mapping_table", "process_table"):
        op.execute(f"DROP VIEW {view}")
    op.create_table("numbering", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("removed", sa.Integer(), nullable=False))
    run("INSERT INTO numbering (id, removed) VALUES (1, 0)")
    _tell_apart()
    _create_state()
    op.create_table(
        "usage_0002",
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("last_snapshot", sa.Integer(), nullable=False),
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("first_snapshot", sa.Integer(), nullable=False),
        sa.Column("state_id", sa.Integer(), sa.ForeignKey("state.id"), nullable=False),
        sa.ForeignKeyConstraint(["process_id", "no"], ["mapping.process_id", "mapping.no"]),
        sa.PrimaryKeyConstraint("process_id", "last_snapshot", "no"),
        sqlite_with_rowid=False,
    )
    # PostgreSQL can hash equality alone; no counter is negative.
    equal = "coalesce(usage.{0}, -1) = coalesce(state.{0}, -1)" if op.get_bind().dialect.name == "postgresql" else "usage.{0} IS state.{0}"
    same = " AND ".join(equal.format(name) for name in _VOLATILE)
    # The rows of one detail are some thousands: found by it and by Rss, then compared.
    op.create_index("state_0002", "state", ["detail_id", "rss_kib", "pss_kib"])
    run(
        f"INSERT INTO usage_0002 (process_id, last_snapshot, first_snapshot, no, state_id) SELECT process_id, {_copied('usage')}, no, state.id "
        f"FROM usage JOIN state ON state.detail_id = usage.detail_id AND {same} WHERE {_holds('usage')}"
    )
    op.drop_index("state_0002", "state")
    sums = [column for column in sa.inspect(op.get_bind()).get_columns("totals") if column["name"] not in ("process_id", "first_seq", "last_seq")]
    op.create_table(
        "totals_0002",
        sa.Column("process_id", sa.Integer(), sa.ForeignKey("process.id"), nullable=False),
        sa.Column("last_snapshot", sa.Integer(), nullable=False),
        sa.Column("first_snapshot", sa.Integer(), nullable=False),
        *(sa.Column(column["name"], column["type"], nullable=column["nullable"]) for column in sums),
        sa.PrimaryKeyConstraint("process_id", "last_snapshot"),
        sqlite_with_rowid=False,
    )
    names = ", ".join(column["name"] for column in sums)
    run(
        f"INSERT INTO totals_0002 (process_id, last_snapshot, first_snapshot, {names}) SELECT process_id, {_copied('totals')}, {names} "
        f"FROM totals WHERE {_holds('totals')}"
    )
    op.create_table(
        "capture_0002",
        sa.Column("snapshot_id", sa.Integer(), sa.ForeignKey("snapshot.id"), nullable=False),
        sa.Column("process_id", sa.Integer(), sa.ForeignKey("process.id"), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=True),
        sa.Column("vm_hwm_kib", sa.BigInteger(), nullable=True),
        sa.Column("cgroup_limit_bytes", sa.BigInteger(), nullable=True),
        sa.Column("cgroup_usage_bytes", sa.BigInteger(), nullable=True),
        sa.Column("read_us", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("snapshot_id", "process_id"),
        sqlite_with_rowid=False,
    )
    about = "snapshot_id, process_id, status, threads, vm_hwm_kib, cgroup_limit_bytes, cgroup_usage_bytes, read_us, note"
    run(f"INSERT INTO capture_0002 ({about}) SELECT {about} FROM capture ORDER BY snapshot_id, process_id")
    for table in ("usage", "totals", "capture"):
        op.drop_table(table)
        op.rename_table(f"{table}_0002", table)
    op.drop_index("process_identity", "process")
    op.create_index("process_pid", "process", ["host_id", "pid", "start_ticks"])
    _create_views()
    if op.get_bind().dialect.name == "postgresql":
        # Pruning looks for each removed row here; on SQLite it does without foreign keys.
        op.create_index("mapping_backing", "mapping", ["backing_id"])
        op.create_index("usage_state", "usage", ["state_id"])
        op.create_index("state_detail", "state", ["detail_id"])


def _holds(table: str) -> str:
    """Whether there is a capture in an interval, as SQL."""
    return f"EXISTS (SELECT 1 FROM capture c WHERE c.process_id = {table}.process_id AND c.seq BETWEEN {table}.first_seq AND {table}.last_seq)"


def downgrade() -> None:
    raise NotImplementedError("stores are never taken back to an older schema")
