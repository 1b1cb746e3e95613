"""The interval form: geometry once, counters from capture to capture."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

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
JOIN usage u ON u.process_id = c.process_id AND u.first_seq <= c.seq AND u.last_seq >= c.seq
JOIN mapping m ON m.process_id = u.process_id AND m.no = u.no
JOIN protection pr ON pr.id = m.protection_id
JOIN backing b ON b.id = m.backing_id
JOIN string name ON name.id = b.name_id
JOIN detail d ON d.id = u.detail_id
LEFT JOIN string flags ON flags.id = pr.flags_id
WHERE c.status IN (0, 1, 5)
"""

_PROCESS_TABLE = """
CREATE VIEW process_table AS
SELECT s.id AS snapshot_id, {taken_at} AS taken_at, h.name AS host, s.label AS label, s.selection AS selection, p.id AS process_id, p.pid AS pid,
       coalesce(nullif(rtrim(replace(cmdline.text, '\\x00', ' ')), ''), '[' || comm.text || ']') AS command,
       comm.text AS comm, exe.text AS exe, p.uid AS uid, cgroup.text AS cgroup, p.unit AS unit,
       CASE c.status WHEN 0 THEN 'complete' WHEN 1 THEN 'torn' WHEN 2 THEN 'vanished' WHEN 3 THEN 'denied' ELSE 'timeout' END AS status,
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
LEFT JOIN totals t ON t.process_id = c.process_id AND t.first_seq <= c.seq AND c.status IN (0, 1, 5)
     AND t.last_seq = (SELECT min(later.last_seq) FROM totals later WHERE later.process_id = c.process_id AND later.last_seq >= c.seq)
"""


def _create_views() -> None:
    dialect = op.get_bind().dialect.name
    pieces = {"taken_at": _TIME[dialect].format("s.taken_at"), "inode": _INODE[dialect]}
    for piece, column in (("start", "m.start_address"), ("end", "m.end_address"), ("offset", "m.file_offset")):
        pieces[piece] = _HEX[dialect].format(column)
    for view in (_MAPPING_TABLE, _PROCESS_TABLE):
        op.get_bind().exec_driver_sql(view.format(**pieces))


def upgrade() -> None:
    op.create_table(
        "host",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "layout",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("template", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("template"),
    )
    op.create_table(
        "string",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("raw"),
    )
    op.create_table(
        "backing",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("inode", sa.BigInteger(), nullable=True),
        sa.Column("name_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["name_id"],
            ["string.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_backing_name_id"), "backing", ["name_id"], unique=False)
    op.create_table(
        "detail",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("lookup", sa.Text(), nullable=False),
        sa.Column("layout_id", sa.Integer(), nullable=True),
        sa.Column("kernel_page_size_kib", sa.BigInteger(), nullable=True),
        sa.Column("mmu_page_size_kib", sa.BigInteger(), nullable=True),
        sa.Column("ksm_kib", sa.BigInteger(), nullable=True),
        sa.Column("lazy_free_kib", sa.BigInteger(), nullable=True),
        sa.Column("shmem_pmd_mapped_kib", sa.BigInteger(), nullable=True),
        sa.Column("file_pmd_mapped_kib", sa.BigInteger(), nullable=True),
        sa.Column("shared_hugetlb_kib", sa.BigInteger(), nullable=True),
        sa.Column("private_hugetlb_kib", sa.BigInteger(), nullable=True),
        sa.Column("locked_kib", sa.BigInteger(), nullable=True),
        sa.Column("thp_eligible", sa.BigInteger(), nullable=True),
        sa.Column("protection_key", sa.BigInteger(), nullable=True),
        sa.Column("extra", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["layout_id"],
            ["layout.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("lookup"),
    )
    op.create_table(
        "process",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("start_ticks", sa.BigInteger(), nullable=False),
        sa.Column("exec_key", sa.Text(), nullable=False),
        sa.Column("ppid", sa.Integer(), nullable=True),
        sa.Column("uid", sa.BigInteger(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("comm_id", sa.Integer(), nullable=False),
        sa.Column("cmdline_id", sa.Integer(), nullable=False),
        sa.Column("exe_id", sa.Integer(), nullable=True),
        sa.Column("cgroup_id", sa.Integer(), nullable=True),
        sa.Column("container", sa.Text(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("rlimit_as_bytes", sa.BigInteger(), nullable=True),
        sa.Column("rlimit_data_bytes", sa.BigInteger(), nullable=True),
        sa.Column("rlimit_stack_bytes", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["cgroup_id"],
            ["string.id"],
        ),
        sa.ForeignKeyConstraint(
            ["cmdline_id"],
            ["string.id"],
        ),
        sa.ForeignKeyConstraint(
            ["comm_id"],
            ["string.id"],
        ),
        sa.ForeignKeyConstraint(
            ["exe_id"],
            ["string.id"],
        ),
        sa.ForeignKeyConstraint(
            ["host_id"],
            ["host.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("process_identity", "process", ["host_id", "pid", "boot_id", "start_ticks", "exec_key"], unique=True)
    op.create_table(
        "protection",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("perms", sa.Text(), nullable=False),
        sa.Column("flags_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["flags_id"],
            ["string.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "snapshot",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.BigInteger(), nullable=False),
        sa.Column("duration_us", sa.BigInteger(), nullable=True),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("selection", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["host_id"],
            ["host.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("snapshot_taken_at", "snapshot", ["taken_at"], unique=False)
    op.create_table(
        "capture",
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("snapshot_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=True),
        sa.Column("vm_hwm_kib", sa.BigInteger(), nullable=True),
        sa.Column("cgroup_limit_bytes", sa.BigInteger(), nullable=True),
        sa.Column("cgroup_usage_bytes", sa.BigInteger(), nullable=True),
        sa.Column("read_us", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["process.id"],
        ),
        sa.ForeignKeyConstraint(
            ["snapshot_id"],
            ["snapshot.id"],
        ),
        sa.PrimaryKeyConstraint("process_id", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_index("capture_snapshot", "capture", ["snapshot_id"], unique=False)
    op.create_table(
        "mapping",
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("start_address", sa.BigInteger(), nullable=False),
        sa.Column("end_address", sa.BigInteger(), nullable=False),
        sa.Column("file_offset", sa.BigInteger(), nullable=True),
        sa.Column("protection_id", sa.Integer(), nullable=False),
        sa.Column("backing_id", sa.Integer(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["backing_id"],
            ["backing.id"],
        ),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["process.id"],
        ),
        sa.ForeignKeyConstraint(
            ["protection_id"],
            ["protection.id"],
        ),
        sa.PrimaryKeyConstraint("process_id", "no"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "totals",
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("first_seq", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=True),
        sa.Column("mappings", sa.Integer(), nullable=False),
        sa.Column("size_kib", sa.BigInteger(), nullable=True),
        sa.Column("rss_kib", sa.BigInteger(), nullable=True),
        sa.Column("pss_kib", sa.BigInteger(), nullable=True),
        sa.Column("pss_dirty_kib", sa.BigInteger(), nullable=True),
        sa.Column("shared_clean_kib", sa.BigInteger(), nullable=True),
        sa.Column("shared_dirty_kib", sa.BigInteger(), nullable=True),
        sa.Column("private_clean_kib", sa.BigInteger(), nullable=True),
        sa.Column("private_dirty_kib", sa.BigInteger(), nullable=True),
        sa.Column("referenced_kib", sa.BigInteger(), nullable=True),
        sa.Column("anonymous_kib", sa.BigInteger(), nullable=True),
        sa.Column("anon_huge_pages_kib", sa.BigInteger(), nullable=True),
        sa.Column("swap_kib", sa.BigInteger(), nullable=True),
        sa.Column("swap_pss_kib", sa.BigInteger(), nullable=True),
        sa.Column("ksm_kib", sa.BigInteger(), nullable=True),
        sa.Column("lazy_free_kib", sa.BigInteger(), nullable=True),
        sa.Column("shmem_pmd_mapped_kib", sa.BigInteger(), nullable=True),
        sa.Column("file_pmd_mapped_kib", sa.BigInteger(), nullable=True),
        sa.Column("shared_hugetlb_kib", sa.BigInteger(), nullable=True),
        sa.Column("private_hugetlb_kib", sa.BigInteger(), nullable=True),
        sa.Column("locked_kib", sa.BigInteger(), nullable=True),
        sa.Column("dirty_kib", sa.BigInteger(), nullable=True),
        sa.Column("uss_kib", sa.BigInteger(), nullable=True),
        sa.Column("footprint_kib", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["process_id"],
            ["process.id"],
        ),
        sa.PrimaryKeyConstraint("process_id", "last_seq"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage",
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("no", sa.Integer(), nullable=False),
        sa.Column("first_seq", sa.Integer(), nullable=False),
        sa.Column("rss_kib", sa.BigInteger(), nullable=True),
        sa.Column("pss_kib", sa.BigInteger(), nullable=True),
        sa.Column("pss_dirty_kib", sa.BigInteger(), nullable=True),
        sa.Column("shared_clean_kib", sa.BigInteger(), nullable=True),
        sa.Column("shared_dirty_kib", sa.BigInteger(), nullable=True),
        sa.Column("private_clean_kib", sa.BigInteger(), nullable=True),
        sa.Column("private_dirty_kib", sa.BigInteger(), nullable=True),
        sa.Column("referenced_kib", sa.BigInteger(), nullable=True),
        sa.Column("anonymous_kib", sa.BigInteger(), nullable=True),
        sa.Column("anon_huge_pages_kib", sa.BigInteger(), nullable=True),
        sa.Column("swap_kib", sa.BigInteger(), nullable=True),
        sa.Column("swap_pss_kib", sa.BigInteger(), nullable=True),
        sa.Column("dirty_kib", sa.BigInteger(), nullable=True),
        sa.Column("detail_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["detail_id"],
            ["detail.id"],
        ),
        sa.ForeignKeyConstraint(
            ["process_id", "no"],
            ["mapping.process_id", "mapping.no"],
        ),
        sa.PrimaryKeyConstraint("process_id", "last_seq", "no"),
        sqlite_with_rowid=False,
    )
    _create_views()


def downgrade() -> None:
    raise NotImplementedError("stores are never taken back to an older schema")
