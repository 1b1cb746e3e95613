"""The schema: made by the migrations, and left alone where it is not ours."""

from __future__ import annotations

import pytest
from alembic.script import ScriptDirectory
from backends import schema_differences
from sqlalchemy import Inspector, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from strategies import capture_of, make

from pmapdiff.errors import StoreError
from pmapdiff.model import Snapshot, SnapshotRef
from pmapdiff.store import Store
from pmapdiff.store.migrate import alembic_config
from pmapdiff.store.schema import HEAD, REVISIONS, to_signed, to_unsigned

SOMETHING = Snapshot(SnapshotRef(None, 1, "h"), (capture_of([make(0x1000, 0x2000)]),))


def execute(store: Store, statement: str) -> None:
    with store.engine.begin() as connection:
        connection.execute(text(statement))


def test_the_migrations_make_what_the_code_expects(store: Store) -> None:
    assert schema_differences(store.engine) == []


def test_every_revision_is_known() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    assert scripts.get_heads() == [HEAD]
    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == REVISIONS


def test_foreign_keys_are_enforced(store: Store) -> None:
    with pytest.raises(IntegrityError):
        execute(store, "INSERT INTO snapshot (id, host_id, taken_at, source) VALUES (1, 99, 0, 'x')")


def test_a_store_opened_to_be_read_cannot_be_written(location: str) -> None:
    reader = Store.open(location)
    with pytest.raises((StoreError, DBAPIError), match=r"may not be written|read-only"):
        reader.write(SOMETHING)
    assert reader.count_snapshots() == 0


def test_what_is_read_is_of_one_moment(store: Store, location: str) -> None:
    """However many queries it takes: a table must not be pruned between its captures and its mappings."""
    store.write(SOMETHING)
    with Store.open(location).engine.connect() as connection:
        count = text("SELECT count(*) FROM snapshot")
        assert connection.execute(count).scalar_one() == 1
        store.write(SOMETHING)
        assert connection.execute(count).scalar_one() == 1
    assert store.count_snapshots() == 2


@pytest.mark.parametrize("write", [False, True])
def test_a_newer_store_is_left_alone(store: Store, location: str, write: bool) -> None:
    store.write(SOMETHING)
    execute(store, "UPDATE alembic_version SET version_num = '9999'")
    execute(store, "DROP VIEW process_table")
    before = relations(inspect(store.engine))
    with pytest.raises(StoreError, match=r"9999.*newer.*upgrade pmapdiff"):
        Store.open(location, write=write)
    assert relations(inspect(store.engine)) == before


def relations(inspector: Inspector) -> list[str]:
    return sorted(inspector.get_table_names() + inspector.get_view_names())


def test_an_older_store_is_not_upgraded_by_reading(store: Store, location: str) -> None:
    execute(store, "DELETE FROM alembic_version")
    with pytest.raises(StoreError, match="pmapdiff db upgrade"):
        Store.open(location)


@pytest.mark.parametrize("value", [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_unsigned_numbers_in_signed_columns(value: int) -> None:
    assert -(1 << 63) <= to_signed(value) < 1 << 63
    assert to_unsigned(to_signed(value)) == value
