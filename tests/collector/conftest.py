"""What several modules here ask for by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from receiving import app_of
from starlette.testclient import TestClient

from mvtrace.store import Store, migrate, open_store
from mvtrace.tables import TABLES
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.limits import Limits
from mvtrace_collector.metrics import Metrics
from mvtrace_collector.receiver import Gate

FILLED = "SELECT name FROM system.tables WHERE database = currentDatabase() AND total_rows > 0"


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store of the module: one process can open one directory only."""
    with open_store(f"chdb://{tmp_path_factory.mktemp('store') / 'db'}") as store:
        migrate(store)
        yield store


@pytest.fixture
def store(shared_store: Store) -> Store:
    """The module's store, emptied; of some forty tables most are empty anyway."""
    filled = {name for (name,) in shared_store.query(FILLED).rows}
    for table in filled & TABLES.keys() - {"schema_migrations"}:
        shared_store.command(f"TRUNCATE TABLE {table}")
    return shared_store


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    """An empty inbox."""
    opened = Inbox(tmp_path / "inbox")
    yield opened
    opened.close()


@pytest.fixture
def gate(inbox: Inbox) -> Gate:
    """What the routes of a receiver go through, into the inbox."""
    return Gate(inbox, Limits(), Metrics())


@pytest.fixture
def client(gate: Gate) -> Iterator[TestClient]:
    """A client of such a receiver."""
    with TestClient(app_of(gate)) as opened:
        yield opened
