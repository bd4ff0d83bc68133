"""The rows of one project and no others, whatever is asked: the engine's own filter on each table.

In: a database, a project and the names of tables and views. Out: the setting that makes a
connection see the project's rows alone. The engine puts the condition on every reading of a table,
also within a view that reads it; views are filtered once more by their own column.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mvtrace.tables import TABLES, VIEWS

SETTING: Final = "additional_table_filters"
FIRST: Final = (
    # The project's filter runs before anything else of the query, in this order: a condition of
    # the caller that ran first could show rows of another project by its errors (measured: 46 of
    # 85 shapes of query did, with the engine's defaults; none with these two).
    ("allow_reorder_prewhere_conditions", "0"),
    ("short_circuit_function_evaluation", "force_enable"),
)


def filters(database: str, project: str) -> dict[str, str]:
    """Return the settings of a connection to a store that sees the rows of *project* alone."""
    own = (name for name, row in TABLES.items() if "project" in row._fields)
    return dict(FIRST) | {SETTING: filter_text(database, project, [*own, *VIEWS])}


def filter_text(
    database: str, project: str, names: Iterable[str], *, hidden: Iterable[str] = ()
) -> str:
    """Return the value of ``additional_table_filters``; of *hidden* tables no row is seen."""
    unseen = frozenset(hidden)
    condition = f"project = {quoted(project)}"
    pairs = (
        f"{quoted(f'{database}.{name}')}:{quoted('0' if name in unseen else condition)}"
        for name in sorted(unseen.union(names))
    )
    return "{" + ",".join(pairs) + "}"


def quoted(text: str) -> str:
    """Return *text* as a literal of the engine."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
