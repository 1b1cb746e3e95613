"""The memory that the host had at each snapshot."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Hosts of more than 2 TiB have more KiB than 31 bits hold.
    op.add_column("snapshot", sa.Column("mem_total_kib", sa.BigInteger))


def downgrade() -> None:
    raise NotImplementedError("stores are never taken back to an older schema")
