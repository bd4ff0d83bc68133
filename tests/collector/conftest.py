"""What several modules here ask for by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mvtrace.store import Store, migrate, open_store


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store of the module: one process can open one directory only."""
    with open_store(f"chdb://{tmp_path_factory.mktemp('store') / 'db'}") as store:
        migrate(store)
        yield store


@pytest.fixture
def store(shared_store: Store) -> Store:
    """The module's store, emptied."""
    for (table,) in shared_store.query("SHOW TABLES").rows:
        if table != "schema_migrations":
            shared_store.command(f"TRUNCATE TABLE {table}")
    return shared_store
