"""Snapshots that came from another store, and what of a shared store belongs to which host."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_INTERNED = ("string", "layout", "protection", "backing", "detail", "state")
# What gets more numbers than 31 bits hold, and what refers to it.
_LONG = {
    "string": ("id",),
    "backing": ("id", "name_id"),
    "detail": ("id",),
    "state": ("id", "detail_id"),
    "process": ("id", "comm_id", "cmdline_id", "exe_id", "cgroup_id"),
    "protection": ("flags_id",),
    "mapping": ("process_id", "backing_id"),
    "capture": ("process_id",),
    "totals": ("process_id",),
    "usage": ("process_id", "state_id"),
}
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    connection = op.get_bind()
    for table in _INTERNED:
        op.add_column(table, sa.Column("host_id", sa.Integer))
    op.add_column("numbering", sa.Column("store", sa.Text))
    connection.execute(sa.text("UPDATE numbering SET store = :store"), {"store": uuid4().hex})
    op.add_column("snapshot", sa.Column("origin_store", sa.Text))
    op.add_column("snapshot", sa.Column("origin_number", sa.Integer))
    is_copy = sa.text("origin_store IS NOT NULL")
    columns = ["host_id", "origin_store", "origin_number", "taken_at"]
    op.create_index("snapshot_origin", "snapshot", columns, unique=True, sqlite_where=is_copy, postgresql_where=is_copy)
    op.create_table(
        "delivery",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("host_id", sa.Integer, sa.ForeignKey("host.id"), nullable=False),
        sa.Column("source_store", sa.Text, nullable=False),
        sa.Column("through", sa.Integer, nullable=False),
        sa.Column("snapshots", sa.Integer, nullable=False),
        sa.Column("last_snapshot", sa.Integer),
        sa.Column("taken_at", sa.BigInteger, nullable=False),
        sa.Column("arrived_at", sa.BigInteger, nullable=False),
        sa.Column("clock_offset_us", sa.BigInteger),
    )
    op.create_index("delivery_source", "delivery", ["host_id", "source_store", "id"])
    if connection.dialect.name == "postgresql":
        _make_shared(connection)


def _make_shared(connection: sa.Connection) -> None:
    run = connection.exec_driver_sql
    views = {view: run(f"SELECT pg_get_viewdef('{view}'::regclass)").scalar_one() for view in ("mapping_table", "process_table")}
    for view in views:
        run(f"DROP VIEW {view}")
    for table, columns in _LONG.items():
        run(f"ALTER TABLE {table} {', '.join(f'ALTER {column} TYPE bigint' for column in columns)}")
    for view, query in views.items():
        run(f"CREATE VIEW {view} AS {query}")
    for table in ("string", "backing", "detail", "state", "process"):
        run(f"ALTER SEQUENCE {table}_id_seq AS bigint")
    # Numbers come from the sequences from now on: writers no longer wait for each other.
    for table in ("host", "snapshot", "process", *_INTERNED):
        highest = f"SELECT max(id) AS id FROM {table}{' UNION SELECT removed FROM numbering' if table == 'snapshot' else ''}"
        run(f"SELECT setval('{table}_id_seq', max(id)) FROM ({highest}) known HAVING max(id) > 0")
    # What was interned is the host's, if there is only one; else it stays everybody's, and nobody's.
    for table in _INTERNED:
        run(f"UPDATE {table} SET host_id = (SELECT min(id) FROM host HAVING count(*) = 1)")
    for table, column, key in (("string", "raw", "sha256(raw)"), ("layout", "template", "sha256(template)"), ("detail", "lookup", "lookup")):
        run(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_key")
        run(f"CREATE UNIQUE INDEX {table}_host_{column} ON {table} (host_id, {key})")
    run("DROP INDEX ix_state_lookup")
    run("CREATE INDEX state_host_lookup ON state (host_id, lookup)")
    run("CREATE INDEX snapshot_host_taken_at ON snapshot (host_id, taken_at)")


def downgrade() -> None:
    raise NotImplementedError("stores are never taken back to an older schema")
