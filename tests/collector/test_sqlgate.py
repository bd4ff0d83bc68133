"""The SQL gate: what may pass, and everything that must not, on the real engine."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sql_rows import fill
from sql_statements import LEGAL_ODDITIES, REFUSED, SHAPES

from mvtrace.errors import MvtraceError, QueryRefusedError, StatementFailedError
from mvtrace.store import Store, open_store
from mvtrace.store.migrations import migrate
from mvtrace_collector.sqlcatalog import listed_functions
from mvtrace_collector.sqlgate import CATALOG_AGE_S, Gate
from mvtrace_collector.sqlreaders import BusyReadersError, Limits, ReaderPool, reader_settings
from mvtrace_collector.sqltext import looked_over
from mvtrace_collector.sqltree import tree_of

TUTORIAL = [
    query.strip()
    for query in re.split(r";\s*\n", (Path(__file__).parent / "tutorial.sql").read_text() + "\n")
    if query.strip()
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An embedded store with two projects and a view."""
    with open_store(f"chdb://{tmp_path_factory.mktemp('gate') / 'store'}") as one:
        migrate(one)
        fill(one)
        one.command("CREATE VIEW mvtrace.all_requests AS SELECT * FROM mvtrace.requests")
        one.command("CREATE TABLE mvtrace.keys (k String) ENGINE = MergeTree ORDER BY k")
        yield one


@pytest.fixture(scope="module")
def readers(store: Store) -> Iterator[ReaderPool]:
    """The readers of the store."""
    pool = ReaderPool(store)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def gate(store: Store, readers: ReaderPool) -> Gate:
    """A gate before the store."""
    return Gate(store, readers)


def run(gate: Gate, readers: ReaderPool, sql: str, *, project: str = "default") -> str:
    """Approve *sql* and run it as the endpoint would."""
    approved = gate.approve(sql)
    settings = reader_settings(
        Limits(), database="mvtrace", tables=gate.catalog.tables, project=project
    )
    with readers.reader(settings) as session:
        return session.raw(approved.sql, None, "TSVRaw").decode("utf-8", "replace")


def test_there_are_thirty_tutorial_queries() -> None:
    """
    The tutorial has the thirty queries that it promises.
    """
    assert len(TUTORIAL) == 30


@pytest.mark.parametrize("query", TUTORIAL, ids=lambda query: query.split("\n")[0][3:60])
def test_tutorial_query_passes_and_gives_rows(gate: Gate, readers: ReaderPool, query: str) -> None:
    """
    Every query of the tutorial passes the gate unchanged and finds rows.
    """
    assert run(gate, readers, query).strip()


@pytest.mark.parametrize(
    "query",
    REFUSED,
    ids=lambda query: repr(query)[1:60],
)
def test_everything_else_is_refused_with_a_message(gate: Gate, query: str) -> None:
    """
    What could read, write or learn beyond the tables is refused before it runs, with a reason.
    """
    with pytest.raises((QueryRefusedError, StatementFailedError)) as refusal:
        gate.approve(query)

    assert len(refusal.value.message) > 20


@pytest.mark.parametrize("query", LEGAL_ODDITIES, ids=lambda query: repr(query)[1:60])
def test_what_only_looks_odd_passes(gate: Gate, readers: ReaderPool, query: str) -> None:
    """
    Comments, strings that look like SQL or like a tree, and legal names in odd places do not harm.
    """
    assert run(gate, readers, query)


def test_what_runs_is_what_was_looked_at(gate: Gate) -> None:
    """
    The approved text is the normal form, one line without comments, its FORMAT clause apart.
    """
    approved = gate.approve("select 1 -- x\n, {a:UInt8} /* y */ format CSV", {"a": "1", "b": "2"})

    assert approved == ("SELECT 1, {a:UInt8}", "CSV", {"a": "1"})


def test_parameters_cannot_change_the_tree(gate: Gate) -> None:
    """
    A parameter's value becomes one literal, whatever it holds.
    """
    value = "x'\n Function file (children 1)\\' , file('/etc/passwd')"

    approved = gate.approve("SELECT {v:String}, {w:Array(String)}", {"v": value, "w": [value]})

    assert approved.parameters == {"v": value, "w": [value]}


@pytest.mark.parametrize("column", ["kind", "body"])
@pytest.mark.parametrize("shape", SHAPES)
def test_errors_tell_nothing_of_another_project(
    store: Store, gate: Gate, readers: ReaderPool, shape: str, column: str
) -> None:
    """
    Conditions run on the project's own rows only, so none fails because of another project's row.
    """
    rows = "SELECT {p:String}, concat('side:', toString(number)), {v:String}, {v:String}, now64(3) FROM numbers(5)"
    sql = f"INSERT INTO mvtrace.components {rows}"
    store.command(sql, {"p": "numeric", "v": "7"})
    store.command("OPTIMIZE TABLE mvtrace.components FINAL")

    found = run(gate, readers, shape.replace("{c}", column), project="numeric")

    assert found.strip()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT DISTINCT project FROM requests",
        "SELECT DISTINCT project FROM mvtrace.requests AS spans",
        "SELECT min(project), max(project) FROM requests",
        "SELECT DISTINCT error_type FROM requests WHERE error_type IS NOT NULL",
        "SELECT DISTINCT attributes_string['owner'] FROM spans",
        "WITH x AS (SELECT project FROM components) SELECT DISTINCT project FROM x",
        "SELECT DISTINCT a.project FROM requests AS a INNER JOIN spans AS b ON a.project = b.project",
        "SELECT project FROM composites WHERE 'other' IN (SELECT project FROM requests) OR 1 LIMIT 1",
        "SELECT DISTINCT project FROM requests FINAL",
        "SELECT project FROM requests UNION DISTINCT SELECT project FROM spans",
    ],
)
@pytest.mark.parametrize("project", ["default", "other"])
def test_a_reader_sees_its_project_only(
    gate: Gate, readers: ReaderPool, query: str, project: str
) -> None:
    """
    The filter holds for every way to name a table.
    """
    assert set(run(gate, readers, query, project=project).split()) == {project}


def test_counts_without_columns_are_filtered_too(gate: Gate, readers: ReaderPool) -> None:
    """
    A count that the engine could answer from metadata alone counts the project's rows.
    """
    counts = [
        run(gate, readers, f"SELECT count() FROM {table}").strip()
        for table in ("requests", "spans")
    ]

    assert counts == ["200", "400"]


def test_a_project_name_is_text_and_nothing_else(gate: Gate, readers: ReaderPool) -> None:
    """
    Quotes and backslashes in a project's name neither break its filter nor widen it.
    """
    for project in ("x' OR 1 = 1 --", "\\' OR 1", "a\\", "'}", "ü\n"):
        assert run(gate, readers, "SELECT count() FROM requests", project=project) == "0\n"


def test_failed_readers_are_not_used_again(gate: Gate, readers: ReaderPool) -> None:
    """
    What a failed query left unread never shows up in a later result.
    """
    settings = reader_settings(
        replace(Limits(), max_result_rows=1000), database="mvtrace", tables=frozenset(), project="p"
    )

    for _ in range(3):
        with pytest.raises(MvtraceError), readers.reader(settings) as session:
            session.raw("SELECT number FROM numbers(1000000)", None, "TSV")
        with readers.reader(settings) as session:
            assert session.raw("SELECT 'mine'", None, "TSV") == b"mine\n"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count() FROM numbers(100000000000)",
        "SELECT groupArray(number) FROM numbers(1900000000)",
        "SELECT count() FROM numbers(1900000000) WHERE NOT ignore(sipHash64(number))",
        "SELECT number FROM numbers(1000000)",
        "SELECT repeat('x', 1000000000)",
    ],
)
def test_a_query_too_large_ends_with_an_error(readers: ReaderPool, sql: str) -> None:
    """
    Rows read, memory, time and the result each have a limit that ends the query.
    """
    limits = Limits(
        max_execution_time=0.5, max_memory_usage=100 << 20, max_result_rows=1000, max_threads=1
    )
    settings = reader_settings(limits, database="mvtrace", tables=frozenset(), project="p")
    started = time.monotonic()

    with pytest.raises(MvtraceError), readers.reader(settings) as session:
        session.raw(sql, None, "TSV")

    assert time.monotonic() - started < 10


def test_readers_are_read_only_themselves(readers: ReaderPool) -> None:
    """
    The engine refuses writes and settings on a reader, should a statement ever pass the gate.
    """
    settings = reader_settings(Limits(), database="mvtrace", tables=frozenset(), project="p")

    for sql in ("SET max_threads = 2", "TRUNCATE TABLE mvtrace.requests", "SET readonly = 0"):
        with pytest.raises(MvtraceError), readers.reader(settings) as session:
            session.command(sql)


def test_readers_wait_for_a_place_and_then_say_so(store: Store) -> None:
    """
    More queries than may run wait; one that waits too long is told that it may come again.
    """
    pool = ReaderPool(store, running=1, wait_s=0.05)

    settings = (("readonly", "1"),)

    with pool.reader(settings), pytest.raises(BusyReadersError), pool.reader(settings):
        pass
    pool.close()


def test_limits_can_only_be_lowered() -> None:
    """
    A wanted limit counts where it is lower; zero, which means none, and nonsense are refused.
    """
    assert Limits().lowered({"max_result_rows": "10", "max_execution_time": "0.5"}) == replace(
        Limits(), max_result_rows=10, max_execution_time=0.5
    )
    for text in ("0", "-1", "31", "nan", "inf", "x", "", "1e300"):
        with pytest.raises(QueryRefusedError):
            Limits().lowered({"max_execution_time": text})


def test_a_new_table_is_seen(store: Store, readers: ReaderPool) -> None:
    """
    A table that came after the gate can be read once the gate looks again.
    """
    gate = Gate(store, readers)
    with pytest.raises(QueryRefusedError):
        gate.approve("SELECT * FROM late")
    sql = "CREATE TABLE mvtrace.late (project String, a UInt8) ENGINE = MergeTree ORDER BY a"
    store.command(sql)

    gate._read_at -= CATALOG_AGE_S + 1

    assert gate.approve("SELECT * FROM late").sql == "SELECT * FROM late"
    store.command("DROP TABLE mvtrace.late")


def test_every_listed_function_exists_and_none_of_the_known_bad(gate: Gate) -> None:
    """
    The list names functions of the engine that is tested, and none that reaches outside.
    """
    listed = frozenset().union(*listed_functions().values())
    syntax = listed_functions()["syntax"]
    bad = {"file", "sleep", "throwIf", "getSetting", "hostName", "dictGet", "joinGet", "formatRow"}

    assert [name for name in listed - syntax if name not in gate.catalog.known] == []
    assert {name for name in bad if gate.catalog.allows_function(name)} == set()


def test_no_column_has_the_name_of_a_dangerous_function(gate: Gate) -> None:
    """
    A column's name may stand as a value, so no column may be called like a refused function.
    """
    shadowed = {
        name
        for name in gate.catalog.columns
        if name in gate.catalog.known and not gate.catalog.allows_function(name)
    }

    assert shadowed == set()


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "SelectQuery (children 1)",
        "SelectQuery\nSelectQuery",
        "SelectQuery (children 1)\n  Literal UInt64_1",
        "SelectQuery (children 1)\n Literal UInt64_1\n Literal UInt64_2",
        "SelectQuery (children 2)\n Literal UInt64_1",
        "SelectQuery\n Literal UInt64_1",
        " SelectQuery",
        "(children 1)",
    ],
)
def test_a_tree_that_does_not_add_up_is_refused(printed: str) -> None:
    """
    Indents and announced children have to agree, or the tree counts as forged.
    """
    with pytest.raises(QueryRefusedError):
        tree_of(printed)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.text(min_size=1, max_size=30), text=st.text(max_size=60))
def test_no_name_or_string_forges_a_tree(gate: Gate, name: str, text: str) -> None:
    """
    Whatever stands in a name or a string: refused, or the tree has the three nodes it should have.
    """
    quoted = name.replace("\\", "\\\\").replace("`", "\\`")
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    try:
        normal = gate.normal_form(f"SELECT '{escaped}' AS `{quoted}`, file('x')")
        looked_over(normal)
    except (QueryRefusedError, StatementFailedError, UnicodeEncodeError):
        return
    with pytest.raises(QueryRefusedError, match=r"the function 'file' is not let through"):
        gate.approve(normal)
