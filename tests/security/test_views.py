"""Views over SQL: a key of one project learns nothing of another's rows, by whatever way it asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from views_of_two import MINE, SECRET, THEIRS, fill_two

from mvtrace.errors import MvtraceError
from mvtrace.store import Store, migrate, open_store
from mvtrace.tables import TABLES, VIEWS
from mvtrace_collector.sqlgate import Gate
from mvtrace_collector.sqlreaders import Limits, ReaderPool, reader_settings

BASE = frozenset(name for name, row in TABLES.items() if "project" in row._fields)
KINDS = ("router_choices", "scored_requests", "version_share")
"""A view of each kind: over a record, a join of others, a window over sums."""
WAYS = [
    "SELECT * FROM {v}",
    "SELECT * FROM mvtrace.{v} AS requests",
    "SELECT * FROM (SELECT * FROM {v}) AS scores WHERE 1 OR project = 'b'",
    "WITH x AS (SELECT * FROM {v}) SELECT * FROM x",
    "SELECT * FROM {v} WHERE project = 'b' OR project != 'b' OR project IN ('b')",
    "SELECT b.* FROM {v} AS a RIGHT JOIN {v} AS b ON a.project = b.project",
    "SELECT a.*, b.* FROM {v} AS a FULL JOIN {v} AS b ON a.project = b.project",
    "SELECT b.* FROM requests AS a CROSS JOIN {v} AS b",
    "SELECT * FROM requests AS r LEFT JOIN (SELECT * FROM {v}) AS x ON 1 = 1",
    "SELECT (SELECT groupArray(toString(tuple(x.*))) FROM {v} AS x)",
    "SELECT 1 WHERE ('b') IN (SELECT project FROM {v}) UNION ALL SELECT 2",
    "SELECT * FROM {v} UNION DISTINCT SELECT * FROM {v}",
    "SELECT groupArray(toString(tuple(*))), count(), min(project), max(project) FROM {v}",
    "SELECT project, row_number() OVER (PARTITION BY project), count() OVER () FROM {v}",
    "SELECT DISTINCT project FROM {v} ORDER BY project LIMIT 5 BY project",
    "SELECT any(x.project) FROM {v} AS x GROUP BY ROLLUP(x.project)",
    "SELECT * FROM {v} ORDER BY ALL LIMIT 100 OFFSET 0",
]
"""Ways to read a view; none may show a row of another project. All views are read by the
first two."""
FAILS = "intDiv(1, toUInt8(position({all}, '" + SECRET + "') = 0))"
"""Divides by zero where the row has another project's text."""
SHAPES = [
    "SELECT count() FROM {v} WHERE {fails} = 1",
    "SELECT count() FROM {v} WHERE {fails} = 1 AND project != ''",
    "SELECT count() FROM {v} WHERE project IN ('a', 'b') AND {fails} = 1",
    "SELECT count() FROM {v} WHERE if({fails} = 1, 1, 0)",
    "SELECT count() FROM {v} WHERE intDiv(1, toUInt8(project != 'b')) = 1",
    "SELECT sum({fails}) FROM (SELECT * FROM {v}) WHERE {fails} > 0",
    "SELECT {fails} AS x FROM {v} ORDER BY x LIMIT 1 BY x",
    "SELECT count() FROM {v} GROUP BY {fails}",
    "SELECT count() FROM {v} WHERE {fails} IN (SELECT 1)",
    "SELECT count() FROM {v} AS a INNER JOIN (SELECT {fails} AS x FROM {v}) AS b ON b.x = 1 WHERE a.project != ''",
    "SELECT max({fails}) OVER (PARTITION BY project) FROM {v}",
    "SELECT count() FROM (SELECT {fails} AS x FROM {v} UNION ALL SELECT 1) WHERE x = 1",
]
"""Conditions of the caller that fail on a row of another project, should they ever see one. The
first is put to all views."""


class World(NamedTuple):
    gate: Gate
    readers: ReaderPool
    columns: dict[str, list[str]]

    def run(
        self, sql: str, *, project: str | None = MINE, tables: frozenset[str] | None = None
    ) -> str:
        """Approve *sql* and run it as the endpoint would; a project of None sees everything."""
        approved = self.gate.approve(sql)
        settings = reader_settings(
            Limits(),
            database="mvtrace",
            tables=self.gate.catalog.tables if tables is None else tables,
            project=project,
        )
        with self.readers.reader(settings) as session:
            return session.raw(approved.sql, None, "JSONCompactEachRow").decode("utf-8", "replace")

    def text(self, view: str) -> str:
        """Return an expression that holds every value of a row of *view*."""
        values = (f"ifNull(toString({name}), '')" for name in self.columns[view])
        return f"concat({', '.join(values)}, '')"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A store in which each view has rows of two projects, in the same parts."""
    with open_store(f"chdb://{tmp_path_factory.mktemp('views') / 'store'}") as store:
        migrate(store)
        fill_two(store)
        readers = ReaderPool(store)
        yield World(Gate(store, readers), readers, columns_of(store))
        readers.close()


def columns_of(store: Store) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {view: [] for view in VIEWS}
    for view, name in store.query(
        "SELECT table, name FROM system.columns WHERE database = 'mvtrace' AND table IN "
        "{views:Array(String)} ORDER BY table, position",
        {"views": [*VIEWS]},
    ).rows:
        found[view].append(name)
    return found


def projects(told: str) -> set[Any]:
    return {json.loads(line)[0] for line in told.splitlines()}


@pytest.mark.parametrize("view", VIEWS)
def test_both_projects_have_rows_to_see(world: World, view: str) -> None:
    """
    The check can fail: each view has rows of both projects, and a reader without a filter sees them.
    """
    everything = world.run(f"SELECT DISTINCT project FROM {view}", project=None)

    assert projects(everything) == {MINE, THEIRS}
    assert SECRET in world.run(f"SELECT * FROM {view}", project=None)
    with pytest.raises(MvtraceError, match="ivision by zero"):
        world.run(f"SELECT {FAILS.replace('{all}', world.text(view))} FROM {view}", project=None)


@pytest.mark.parametrize("view", VIEWS)
def test_no_way_of_reading_shows_anothers_rows(world: World, view: str) -> None:
    """
    Alias, subquery, join of every kind, union, window or scalar: only the own project's rows.
    """
    assert projects(world.run(f"SELECT project FROM {view}")) == {MINE}
    for way in WAYS if view in KINDS else WAYS[:2]:
        told = world.run(way.replace("{v}", view))
        assert SECRET not in told, way
        assert f'"{THEIRS}"' not in told, way


@pytest.mark.parametrize("view", VIEWS)
def test_no_condition_fails_on_anothers_rows(world: World, view: str) -> None:
    """
    A condition that fails on every row of another project does not fail: it never sees one.
    """
    fails = FAILS.replace("{all}", world.text(view))
    for shape in SHAPES if view in KINDS else SHAPES[:1]:
        sql = shape.replace("{fails}", fails).replace("{v}", view)
        assert world.run(sql).strip(), shape


@pytest.mark.parametrize("view", VIEWS)
def test_either_filter_is_enough(world: World, view: str) -> None:
    """
    The filter on the tables below a view holds alone, and so does that on the view's own column.
    """
    for tables in (BASE, frozenset(VIEWS)):
        assert projects(world.run(f"SELECT project FROM {view}", tables=tables)) == {MINE}


@pytest.mark.parametrize("view", KINDS)
def test_views_joined_with_one_another(world: World, view: str) -> None:
    """
    A join of two views, whatever it is on, has the own project's rows on both sides.
    """
    for join in ("CROSS JOIN score_latest AS b", "FULL JOIN drift_log AS b USING (project)"):
        told = world.run(f"SELECT a.project, toString(tuple(b.*)) FROM {view} AS a {join}")
        assert SECRET not in told
        assert f'"{THEIRS}"' not in told


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM mvtrace.mine",
        "SELECT * FROM view(SELECT * FROM requests_latest)",
        "SELECT * FROM merge('mvtrace', '.*_latest')",
        "SELECT * FROM requests_latest SETTINGS additional_table_filters = {}",
        "CREATE VIEW mvtrace.all AS SELECT * FROM requests",
        "ALTER TABLE requests_latest MODIFY QUERY SELECT 1",
        "ALTER TABLE requests_latest MODIFY SQL SECURITY NONE",
        "DROP VIEW requests_latest",
        "SHOW CREATE VIEW requests_latest",
        "SELECT * FROM requests_latest(project = 'b')",
    ],
)
def test_what_reaches_around_a_view_is_refused(world: World, sql: str) -> None:
    """
    Views of somebody else, views made on the way, and statements about views do not pass the gate.
    """
    with pytest.raises(MvtraceError) as refusal:
        world.run(sql)

    assert SECRET not in refusal.value.message
