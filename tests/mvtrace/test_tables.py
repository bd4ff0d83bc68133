"""The row types against the tables that the migrations make."""

from __future__ import annotations

from pathlib import Path

from mvtrace.store import migrate, open_store
from mvtrace.tables import TABLES


def test_row_types_are_the_tables_columns(tmp_path: Path) -> None:
    """
    Each table has a row type, and its fields are the table's columns in their order.
    """
    with open_store(f"chdb://{tmp_path / 'db'}") as store:
        migrate(store)
        columns = store.query(
            "SELECT table, groupArray(name) FROM "
            "(SELECT table, name FROM system.columns WHERE database = 'mvtrace' "
            "AND default_kind NOT IN ('ALIAS', 'MATERIALIZED') AND table NOT IN "
            "(SELECT name FROM system.tables WHERE database = 'mvtrace' AND engine = 'View') "
            "ORDER BY table, position) "
            "GROUP BY table ORDER BY table"
        ).rows

    assert {table: tuple(names) for table, names in columns} == {
        table: row._fields for table, row in TABLES.items()
    }
