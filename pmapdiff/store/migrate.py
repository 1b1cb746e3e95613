"""Making and upgrading the schema. Loads Alembic, so it is imported only when there is something to do."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

from pmapdiff.store.engine import use_wal
from pmapdiff.store.schema import APPLICATION_ID


def migrations_folder() -> Path:
    """The folder of the migration scripts: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "_migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def alembic_config() -> Config:
    """Alembic's configuration for our scripts, with no ini file."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the store to `revision`, whole or not at all."""
    config = alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
    if engine.dialect.name == "sqlite":
        # The journal mode cannot be changed inside a transaction: ask the driver, which begins none of its own.
        with closing(engine.raw_connection()) as raw:
            use_wal(raw.cursor())
