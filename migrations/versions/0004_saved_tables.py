"""Views that know what saved tables may be: only a part of a table, sums without addresses, mappings without perms."""

from alembic import op

revision = "0004"
down_revision = "0003"
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
       CASE WHEN pr.perms <> '----' THEN {start} END AS start_hex, CASE WHEN pr.perms <> '----' THEN {end} END AS end_hex,
       CASE WHEN pr.perms NOT IN ('----', '????') THEN pr.perms END AS perms, {offset} AS offset_hex, b.device AS device, {inode} AS inode,
       name.text AS name, flags.text AS vm_flags, nullif(m.end_address - m.start_address, 0) / 1024 AS size_kib,
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
WHERE c.status IN (0, 1, 5, 6, 7)
"""

_PROCESS_TABLE = """
CREATE VIEW process_table AS
SELECT s.id AS snapshot_id, {taken_at} AS taken_at, h.name AS host, s.label AS label, s.selection AS selection, p.id AS process_id, p.pid AS pid,
       coalesce(nullif(rtrim(replace(cmdline.text, '\\x00', ' ')), ''), '[' || comm.text || ']') AS command,
       comm.text AS comm, exe.text AS exe, p.uid AS uid, cgroup.text AS cgroup, p.unit AS unit,
       CASE c.status WHEN 0 THEN 'complete' WHEN 1 THEN 'torn' WHEN 2 THEN 'vanished' WHEN 3 THEN 'denied' WHEN 6 THEN 'maps-only'
            WHEN 7 THEN 'partial' ELSE 'timeout' END AS status,
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
LEFT JOIN totals t ON t.process_id = c.process_id AND t.first_snapshot <= c.snapshot_id AND c.status IN (0, 1, 5, 6, 7)
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


def upgrade() -> None:
    for view in ("mapping_table", "process_table"):
        op.execute(f"DROP VIEW {view}")
    _create_views()
