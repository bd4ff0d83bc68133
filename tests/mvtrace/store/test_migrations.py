"""Migrations: forward only, in order, harmless to repeat, and never over an edited file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mvtrace.errors import MigrationError
from mvtrace.store import Store, migrate, open_store, pending
from mvtrace.store.migrations import applied_migrations, known_migrations

CREATE = "CREATE TABLE IF NOT EXISTS {database}.%s (a UInt8) ENGINE = MergeTree ORDER BY a"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"chdb://{tmp_path / 'db'}") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two migrations of a schema."""
    made = tmp_path / "schema"
    made.mkdir()
    (made / "0001_create_one.sql").write_text(CREATE % "one")
    (made / "0002_create_two.sql").write_text(CREATE % "two")
    return made


def _tables(store: Store) -> list[str]:
    return [row[0] for row in store.query("SHOW TABLES").rows]


def test_own_schema_is_applied_once(store: Store) -> None:
    """
    A new store gets every file in order; the second run has nothing to do.
    """
    names = [migration.name for migration in known_migrations()]

    assert [migration.name for migration in pending(store)] == names
    assert migrate(store) == names
    assert migrate(store) == []
    assert pending(store) == []
    assert set(_tables(store)) >= {"spans", "requests", "components", "composites"}


def test_pending_reads_only(store: Store, folder: Path) -> None:
    """
    Asking what is pending leaves the store as it is.
    """
    assert [migration.name for migration in pending(store, folder)] == [
        "0001_create_one",
        "0002_create_two",
    ]
    assert _tables(store) == []


def test_new_file_is_applied_to_an_old_store(store: Store, folder: Path) -> None:
    """
    A file added later is all that the next run applies.
    """
    migrate(store, folder)
    (folder / "0003_create_three.sql").write_text(CREATE % "three")

    assert migrate(store, folder) == ["0003_create_three"]
    assert sorted(applied_migrations(store)) == [
        "0001_create_one",
        "0002_create_two",
        "0003_create_three",
    ]


def test_edited_migration_stops_everything(store: Store, folder: Path) -> None:
    """
    A file that was changed after it was applied is named with both digests, and nothing is done.
    """
    migrate(store, folder)
    before = known_migrations(folder)[0].checksum[:12]
    (folder / "0001_create_one.sql").write_text(CREATE % "one" + "\n")
    (folder / "0003_create_three.sql").write_text(CREATE % "three")
    after = known_migrations(folder)[0].checksum[:12]

    with pytest.raises(MigrationError) as caught:
        migrate(store, folder)

    assert str(caught.value) == (
        "Migration 0001_create_one: it was edited after it was applied: "
        f"SHA-256 {before} is in the store, {after} is in the file."
    )
    assert caught.value.hint == "Restore the file, and write the change as a new migration."
    assert "three" not in _tables(store)


def test_store_of_a_newer_version_is_refused(store: Store, folder: Path) -> None:
    """
    A store with a migration that is unknown here is left alone.
    """
    migrate(store, folder)
    (folder / "0002_create_two.sql").unlink()

    with pytest.raises(MigrationError) as caught:
        pending(store, folder)

    assert str(caught.value) == (
        "Migration 0002_create_two: it is applied to the store but unknown here; "
        "the newest known is 0001_create_one."
    )
    assert caught.value.hint == "This store belongs to a newer version of mvtrace: upgrade mvtrace."


def test_kill_between_statement_and_ledger_is_healed(store: Store, folder: Path) -> None:
    """
    A statement that ran without being noted runs again, and the rest follows.
    """
    store.command((CREATE % "one").replace("{database}", "mvtrace"))

    assert migrate(store, folder) == ["0001_create_one", "0002_create_two"]
    assert sorted(_tables(store)) == ["one", "schema_migrations", "two"]


def test_own_schema_is_harmless_to_repeat(store: Store) -> None:
    """
    Every statement of the schema may run twice: the tables are the same as after one run.
    """
    shape = "SELECT create_table_query FROM system.tables WHERE database = 'mvtrace' ORDER BY name"
    applied = migrate(store)
    once = store.query(shape).rows
    store.command("TRUNCATE TABLE schema_migrations")

    assert migrate(store) == applied
    assert store.query(shape).rows == once
    assert migrate(store) == []


def test_failing_statement_keeps_what_was_applied(store: Store, folder: Path) -> None:
    """
    A run that stops in the middle resumes there once the file is right.
    """
    right = (folder / "0002_create_two.sql").read_text()
    (folder / "0002_create_two.sql").write_text("CREATE TABEL two")
    with pytest.raises(MigrationError) as caught:
        migrate(store, folder)
    assert str(caught.value).startswith("Migration 0002_create_two: the store refuses it: ")

    (folder / "0002_create_two.sql").write_text(right)

    assert migrate(store, folder) == ["0002_create_two"]
