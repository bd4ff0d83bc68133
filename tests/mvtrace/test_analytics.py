"""``mvtrace.query``: nothing asked before it is wanted, the same rows from a store and a collector."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from processes import collector
from sql_rows import fill

import mvtrace
from mvtrace import analytics
from mvtrace.analytics import LibraryMissingError, NotTextError, ResultTooLargeError
from mvtrace.errors import (
    CollectorUnreachableError,
    ConfigurationError,
    QueryRefusedError,
    UsageError,
)
from mvtrace.store import migrate, open_store

COUNTS = "SELECT route, count() AS n, avg(duration_ms) AS ms FROM requests_latest GROUP BY route ORDER BY route"


class Places(NamedTuple):
    store: str
    collector: str


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    """A store of two projects, and another with the same rows that a collector has open."""
    own, served = (tmp_path_factory.mktemp(name) for name in ("own", "served"))
    with open_store(f"chdb://{own / 'store'}") as store:
        migrate(store)
        fill(store)
    shutil.copytree(own / "store", served / "store", symlinks=True)
    with collector(served) as running:
        yield Places(f"chdb://{own / 'store'}", running.url)


@pytest.fixture(params=["store", "collector"])
def dsn(request: pytest.FixtureRequest, places: Places) -> str:
    """Each of the two places, one after the other."""
    return str(getattr(places, request.param))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, key or project from the environment."""
    for name in ("MVTRACE_URL", "MVTRACE_PROJECT", "MVTRACE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_is_asked_before_it_is_wanted() -> None:
    """
    A result is made without asking; where nobody answers, the first look says so.
    """
    result = mvtrace.query("SELECT 1", dsn="http://127.0.0.1:9")

    assert repr(result) == "<Result of 'SELECT 1': not asked yet>"
    with pytest.raises(CollectorUnreachableError):
        result.rows  # noqa: B018 (to look at it is to ask)


def test_rows_come_with_their_names(dsn: str) -> None:
    """
    Columns, rows, dicts, length and iteration are of one answer, asked for once.
    """
    result = mvtrace.query(COUNTS, dsn=dsn)

    assert result.columns == ("route", "n", "ms")
    assert [row[:2] for row in result] == [("/chat", 100), ("/search", 100)]
    assert [one["n"] for one in result.dicts()] == [100, 100]
    assert len(result) == 2
    assert result.rows is result.rows
    assert repr(result).endswith(": 2 rows>")


def test_parameters_and_the_project_are_bound(dsn: str) -> None:
    """
    ``{name:Type}`` takes its value from the parameters, ``{project:String}`` from the project asked.
    """
    sql = "SELECT {n:UInt8}, {text:String}, {project:String}"

    told = mvtrace.query(sql, {"n": 7, "text": "it's"}, dsn=dsn, project="other").rows

    assert told == [(7, "it's", "other")]


def test_rows_of_one_project_are_seen(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Tables and views show the project that was asked for, named here or in the environment.
    """
    relations = ("requests", "requests_latest", "change_log", "spans")
    sql = " UNION DISTINCT ".join(f"SELECT project FROM {name}" for name in relations)

    assert mvtrace.query(sql, dsn=dsn).rows == [("default",)]
    monkeypatch.setenv("MVTRACE_PROJECT", "other")
    assert mvtrace.query(sql, dsn=dsn).rows == [("other",)]


def test_the_address_comes_from_the_environment(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without an address the collector of MVTRACE_URL is asked.
    """
    monkeypatch.setenv("MVTRACE_URL", places.collector)

    assert mvtrace.query("SELECT count() FROM requests").rows == [(200,)]


def test_frames_have_the_rows_and_their_types(dsn: str) -> None:
    """
    Arrow, pandas and polars hold what the rows hold; times have their zone, ids are binary.
    """
    result = mvtrace.query(
        "SELECT request_id, version, started_at, is_error, duration_ms, models_served "
        "FROM requests_latest ORDER BY request_id LIMIT 5",
        dsn=dsn,
    )
    table = result.to_arrow()

    assert table.schema.types[:4] == [
        pa.binary(16),
        pa.string(),
        pa.timestamp("ns", tz="UTC"),
        pa.uint8(),
    ]
    assert table["duration_ms"].to_pylist() == [row[4] for row in result]
    assert isinstance(result.to_pandas(), pd.DataFrame)
    assert isinstance(result.to_polars(), pl.DataFrame)
    assert list(result.to_pandas()["version"]) == [row[1] for row in result]
    assert result.to_polars()["started_at"].to_list()[0] == datetime.fromtimestamp(1790000000, UTC)
    assert result.to_polars().height == 5
    assert result.to_arrow() is table


def test_no_rows_still_have_columns_and_types(dsn: str) -> None:
    """
    An empty frame has the columns of a full one.
    """
    table = mvtrace.query("SELECT route, drift FROM requests_latest WHERE 0", dsn=dsn).to_arrow()

    assert (table.num_rows, table.schema.types) == (0, [pa.string(), pa.uint32()])


def test_text_that_is_none_is_told(dsn: str) -> None:
    """
    Bytes in a column of text are refused with its name, since the readers of frames trust it.
    """
    result = mvtrace.query("SELECT 1 AS a, unhex('ff00') AS odd", dsn=dsn)

    with pytest.raises(NotTextError) as refusal:
        result.to_arrow()

    assert refusal.value.message == "The column 'odd' holds bytes that are no text."
    assert refusal.value.hint == "Select hex(odd), or read .rows."


def test_what_a_collector_refuses_is_refused(places: Places) -> None:
    """
    A statement that the gate does not let through comes back as its refusal.
    """
    with pytest.raises(
        QueryRefusedError, match=r"the table 'system\.tables' is not one of mvtrace"
    ):
        mvtrace.query("SELECT * FROM system.tables", dsn=places.collector).rows  # noqa: B018


@pytest.mark.parametrize(
    ("sql", "parameters", "message", "hint"),
    [
        ("", None, "The statement is ''; it is a text with one SELECT.", None),
        (7, None, "The statement is 7; it is a text with one SELECT.", None),
        (
            "SELECT 1 format JSON ;",
            None,
            "The statement ends with FORMAT, and its result has a form already.",
            "Leave it out: .rows, .to_arrow(), .to_pandas() and .to_polars() are forms.",
        ),
        (
            "SELECT 1",
            {"n'": 1},
            """The parameter "n'" has no name that SQL could use.""",
            None,
        ),
        (
            "SELECT {id:String}",
            {"id": b"\xff"},
            "The parameter 'id' is bytes, which cannot be passed.",
            "Pass its hex digits, and write unhex({id:String}).",
        ),
        (
            "SELECT {n:Array(String)}",
            {"n": ["a", {"b"}]},
            "The parameter 'n' is of type set, which cannot be passed.",
            "Pass text, a number, a date or time, a UUID, None, or a list of those.",
        ),
    ],
    ids=["empty", "number", "format", "name", "bytes", "set"],
)
def test_what_cannot_be_asked_says_why(
    sql: Any, parameters: Any, message: str, hint: str | None
) -> None:
    """
    A statement that is none and a value that would not arrive as it is are refused before asking.
    """
    with pytest.raises(UsageError) as refusal:
        mvtrace.query(sql, parameters, dsn="http://127.0.0.1:9")

    assert (refusal.value.message, refusal.value.hint) == (message, hint)


def test_a_project_that_is_none_is_refused() -> None:
    """
    Its name is looked at before anybody is asked, wherever it comes from.
    """
    with pytest.raises(ConfigurationError, match="a project is a-z, 0-9, _ and -, at most 63"):
        mvtrace.query("SELECT 1", project="o'ther")


def test_values_are_never_read_as_sql(dsn: str) -> None:
    """
    Quotes, braces, backslashes, control characters and lists of them come back as they were given.
    """
    odd = ["'; DROP TABLE requests --", "{x:String}", "\\", "\n\t\x00", "é', 'b"]
    sql = "SELECT {odd:Array(String)}, {first:String}, {none:Nullable(String)}, {day:Date}"
    given = {"odd": odd, "first": odd[0], "none": None, "day": date(2026, 11, 1)}

    assert mvtrace.query(sql, given, dsn=dsn).rows == [(odd, odd[0], None, date(2026, 11, 1))]


def test_a_result_that_is_too_large_is_refused(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    More than a collector gives, or than the bound of a store's result, is said to be too large.
    """
    monkeypatch.setitem(analytics._MOST, "max_result_bytes", "1000000")
    several = ", ".join(f"requests AS r{n}" for n in range(3))
    result = mvtrace.query(f"SELECT r0.request_id FROM {several} LIMIT 2000000", dsn=dsn)

    for form in (lambda: result.rows, result.to_arrow):
        with pytest.raises(ResultTooLargeError, match="The result is too large: ") as refusal:
            form()
        assert refusal.value.hint == (
            "Name the columns that are wanted, add a condition or LIMIT, or group in SQL."
        )


def test_a_store_is_only_read(places: Places) -> None:
    """
    Nothing can be written through a question, and no store is made where there is none.
    """
    with pytest.raises(QueryRefusedError):
        mvtrace.query("TRUNCATE TABLE requests", dsn=places.store).rows  # noqa: B018
    empty = Path(places.store.removeprefix("chdb://")).with_name("nothing")
    with pytest.raises(mvtrace.MvtraceError, match="holds none"):
        mvtrace.query("SELECT 1", dsn=f"chdb://{empty}").rows  # noqa: B018
    assert not empty.exists()


@pytest.mark.parametrize(
    ("method", "library", "install"),
    [
        ("to_arrow", "pyarrow.ipc", "mvtrace[analytics]"),
        ("to_pandas", "pandas", "pandas"),
        ("to_polars", "polars", "polars"),
    ],
)
def test_a_missing_library_is_named(
    method: str, library: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A frame whose library is not installed says what to install, before anything is asked.
    """
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(LibraryMissingError) as missing:
        getattr(mvtrace.query("SELECT 1", dsn="http://127.0.0.1:9"), method)()

    assert missing.value.message == (
        f"{method}() needs a library that is not installed "
        f"(import of {library} halted; None in sys.modules)."
    )
    assert missing.value.hint == f"pip install '{install}'"
