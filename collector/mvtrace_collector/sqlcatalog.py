"""What a query may name: functions by the reviewed list, tables by what the database holds.

In: ``sql_functions.txt`` and the engine's own lists of functions and tables. Out: a Catalog.
A table can be read where the project's filter can hold it: MergeTree with a column ``project``.
Content (``payloads``) cannot: it is given out by request, to whoever asks for it by that name.
Of views only those of this version can, by whoever can read all tables that they read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from mvtrace.store import Store
from mvtrace.tables import VIEWS

_COMBINATORS: Final = (
    *("SimpleState", "OrDefault", "OrNull", "Resample", "ArgMin", "ArgMax", "Distinct"),
    *("ForEach", "MergeState", "Array", "State", "Merge", "If", "Map"),
)
"""Suffixes of aggregate functions; what they do is told by the name before them."""

ADMIN_TABLES: Final = frozenset({"access_log"})
"""Closed to everybody but admins."""

_FUNCTIONS_SQL: Final = (
    "SELECT name, alias_to, is_aggregate, case_insensitive FROM system.functions"
)
_TABLES_SQL: Final = (
    "SELECT name, engine, name != 'payloads' AND name IN "
    "(SELECT table FROM system.columns WHERE database = {database:String} AND name = 'project') "
    "FROM system.tables WHERE database = {database:String}"
)
_COLUMNS_SQL: Final = "SELECT DISTINCT name FROM system.columns WHERE database = {database:String}"


@dataclass(frozen=True)
class Names:
    """Function names, as written and (where the engine does not care for case) folded."""

    exact: frozenset[str]
    folded: frozenset[str]

    def __contains__(self, name: str) -> bool:
        return name in self.exact or name.lower() in self.folded


@dataclass(frozen=True)
class Catalog:
    """What there is, and what of it may be named."""

    database: str
    functions: Names
    aggregates: Names
    known: Names
    """Every function of the engine, allowed or not."""
    tables: frozenset[str]
    closed: frozenset[str]
    """Relations of the database that are not to be read: other views, tables without a project."""
    columns: frozenset[str]

    def without(self, hidden: frozenset[str]) -> Catalog:
        """Return the catalog with some of its tables closed."""
        over = {name for name in self.tables & VIEWS.keys() if VIEWS[name] & hidden}
        gone = self.tables & (hidden | over)
        return replace(self, tables=self.tables - gone, closed=self.closed | gone)

    def allows_function(self, name: str) -> bool:
        """Whether *name* is a listed function, an alias of one, or a listed aggregate combined."""
        if name in self.functions or name in self.aggregates:
            return True
        suffix = next((one for one in _COMBINATORS if name.endswith(one) and name != one), None)
        return suffix is not None and self._allows_aggregate(name.removesuffix(suffix))

    def _allows_aggregate(self, name: str) -> bool:
        while name not in self.aggregates:
            suffix = next((one for one in _COMBINATORS if name.endswith(one) and name != one), None)
            if suffix is None:
                return False
            name = name.removesuffix(suffix)
        return True

    def allows_identifier(self, name: str) -> bool:
        """Whether *name* may stand where a value stands.

        ``arrayMap(file, …)`` calls a function by its bare name, so a name of a function that is
        not let through is no name for a value either, unless a column has it.
        """
        return name not in self.known or self.allows_function(name) or name in self.columns


@lru_cache(maxsize=1)
def listed_functions() -> dict[str, frozenset[str]]:
    """Return the reviewed functions by category."""
    found: dict[str, set[str]] = {}
    category = ""
    for line in (files("mvtrace_collector") / "sql_functions.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            category = line.strip("[]")
        elif line and not line.startswith("#"):
            found.setdefault(category, set()).update(line.split())
    return {category: frozenset(names) for category, names in found.items()}


def read_catalog(store: Store) -> Catalog:
    """Return what *store* has and what of it may be named."""
    listed = listed_functions()
    aggregates = listed["aggregate"]
    plain = frozenset().union(*listed.values()) - aggregates
    rows = [(str(a), str(b), bool(c), bool(d)) for a, b, c, d in store.query(_FUNCTIONS_SQL).rows]
    database = {"database": store.database}
    tables = _opened(store.query(_TABLES_SQL, database).rows)
    return Catalog(
        store.database,
        _names(
            *((name, fold) for name, alias, agg, fold in rows if not agg and {name, alias} & plain),
            *((name, False) for name in listed["syntax"]),
        ),
        _names(
            *((name, fold) for name, alias, agg, fold in rows if agg and {name, alias} & aggregates)
        ),
        _names(*((name, fold) for name, _, _, fold in rows)),
        frozenset(name for name, is_open in tables.items() if is_open),
        frozenset(name for name, is_open in tables.items() if not is_open),
        frozenset(str(name) for (name,) in store.query(_COLUMNS_SQL, database).rows),
    )


def _opened(rows: Iterable[Sequence[Any]]) -> dict[str, bool]:
    """Return which relations may be read, of rows of name, engine and whether a filter can hold."""
    engines = {str(name): str(engine) for name, engine, can_hold in rows if can_hold}
    tables = {name for name, engine in engines.items() if engine.endswith("MergeTree")}
    views = {
        name
        for name, engine in engines.items()
        if engine == "View" and name in VIEWS and VIEWS[name] <= tables
    }
    return {str(name): str(name) in tables | views for name, *_ in rows}


def _names(*pairs: tuple[str, bool]) -> Names:
    return Names(
        frozenset(name for name, _ in pairs),
        frozenset(name.lower() for name, fold in pairs if fold),
    )
