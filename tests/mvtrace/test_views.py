"""The views for analysts: documented to the column, over rows that a key may see, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from mvtrace.resources import schema_root
from mvtrace.store import Store, migrate, open_store
from mvtrace.tables import TABLES, VIEWS
from mvtrace_collector.sqlcatalog import ADMIN_TABLES, read_catalog
from mvtrace_collector.sqltree import tree_of

DOCUMENT = (schema_root() / "views.md").read_text()
_SECTION = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_COLUMN = re.compile(r"^\| `(\w+)` \| `([^`]+)` \| (.+) \|$", re.MULTILINE)
_DEFINITIONS = (
    "SELECT name, as_select FROM system.tables WHERE database = 'mvtrace' AND engine = 'View'"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An empty store with its tables and views."""
    with open_store(f"chdb://{tmp_path_factory.mktemp('views') / 'store'}") as made:
        migrate(made)
        yield made


@pytest.fixture(scope="module")
def columns(store: Store) -> dict[str, list[tuple[str, str]]]:
    """View -> name and type of its columns, in their order."""
    found: dict[str, list[tuple[str, str]]] = {}
    for view, name, kind in store.query(
        "SELECT table, name, type FROM system.columns WHERE database = 'mvtrace' AND table IN "
        "(SELECT name FROM system.tables WHERE database = 'mvtrace' AND engine = 'View') "
        "ORDER BY table, position"
    ).rows:
        found.setdefault(view, []).append((name, kind))
    return found


def documented() -> dict[str, list[Any]]:
    return {name: _COLUMN.findall(text) for name, text in _SECTION.findall(DOCUMENT)}


def relations(store: Store, sql: str) -> set[str]:
    """Every table and view that *sql* names, as the engine reads it."""
    printed = store.raw(f"EXPLAIN AST {sql}", None, "TSVRaw").decode()
    root = tree_of(printed)
    return {
        node.name.removeprefix("mvtrace.")
        for node, _ in root.walk()
        if node.kind == "TableIdentifier"
    }


def test_the_document_has_every_column(columns: dict[str, list[tuple[str, str]]]) -> None:
    """
    Each view is documented column by column, in the order and with the types that it has.
    """
    said = {view: [(name, kind) for name, kind, _ in rows] for view, rows in documented().items()}

    assert said == columns
    assert all(meaning for rows in documented().values() for *_, meaning in rows)


def test_every_view_is_known(store: Store, columns: dict[str, list[tuple[str, str]]]) -> None:
    """
    The views that the migrations make are those of the table, and each can be read over SQL.
    """
    assert set(columns) == set(VIEWS)
    assert read_catalog(store).tables >= set(VIEWS)


def test_views_read_what_is_said(store: Store) -> None:
    """
    The tables told of a view are those that its definition reads, through other views too.
    """
    named = {name: relations(store, sql) for name, sql in store.query(_DEFINITIONS).rows}

    def read(view: str) -> set[str]:
        below = [read(one) if one in named else {one} for one in named[view]]
        return set().union(*below)

    assert {view: read(view) for view in named} == {view: set(VIEWS[view]) for view in VIEWS}


def test_views_read_only_what_a_project_has(
    store: Store, columns: dict[str, list[tuple[str, str]]]
) -> None:
    """
    Each view shows whose a row is, and each table below it can be filtered by that and is open.
    """
    open_tables = read_catalog(store).without(ADMIN_TABLES).tables

    for view, tables in VIEWS.items():
        assert columns[view][0] == ("project", "LowCardinality(String)")
        assert all("project" in TABLES[table]._fields for table in tables)
        assert tables <= open_tables


def test_views_run_as_whoever_asks() -> None:
    """
    No definition gives a view the rights or the settings of somebody else.
    """
    texts = [
        path.read_text()
        for path in (schema_root() / "clickhouse").glob("*.sql")
        if "CREATE VIEW" in path.read_text()
    ]

    assert len(texts) == len(VIEWS)
    assert all("\nSQL SECURITY INVOKER\nAS " in text for text in texts)
    assert not any(re.search(r"DEFINER|SECURITY NONE|MATERIALIZED VIEW", text) for text in texts)


def test_a_view_over_a_hidden_table_is_hidden(store: Store) -> None:
    """
    Who may not read a table may not read it through a view either.
    """
    catalog = read_catalog(store).without(frozenset({"scores"}))

    gone = {"scores", "score_latest", "scored_requests", "change_log"}
    assert catalog.tables.isdisjoint(gone)
    assert catalog.closed >= gone


def test_a_view_of_somebody_else_is_closed(store: Store) -> None:
    """
    A view that no migration made is not read, whatever it shows.
    """
    store.command("CREATE VIEW mvtrace.mine AS SELECT * FROM mvtrace.requests")
    try:
        assert "mine" in read_catalog(store).closed
    finally:
        store.command("DROP VIEW mvtrace.mine")
