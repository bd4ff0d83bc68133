"""Types of parameters that the engine and the gate could read differently."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sql_rows import fill

from mvtrace.errors import QueryRefusedError
from mvtrace.store import open_store
from mvtrace.store.migrations import migrate
from mvtrace_collector.sqlgate import Gate
from mvtrace_collector.sqlreaders import ReaderPool

GIVEN = {"p": "1", "z": "1", "d": "2026-08-22 11:05:00", "e": "b"}

OUT_OF_STEP = [
    (
        "SELECT {p:UInt8 /*}'*/}, count() FROM components PREWHERE toUInt64(body) = 1 "
        "WHERE 1 = {p:UInt8 /* '{z:A*/}"
    ),
    "SELECT {p:UInt8 /*}'*/}, 1 AS `x\n   Literal UInt64_1` WHERE 1 = {p:UInt8 /* '{z:A*/}",
    "SELECT {p:UInt8 /*}`*/}, count() FROM components PREWHERE 1 WHERE 1 = {p:UInt8 /* `{z:A*/}",
    "SELECT {p:Enum8('}' = 1)}, '\"', 1 AS `it's`",
    "SELECT {p:UInt8 /* x */}",
    "SELECT {p:UInt8 -- x\n}",
    "SELECT {p:UInt8 # x\n}",
    "SELECT {p:Enum8('1' = 1, '\\'' = 2)}",
    "SELECT {p:Enum8('1' = 1, '{' = 2)}",
    'SELECT {p:Tuple("a" UInt8)}',
]
"""A type that holds a quote, a brace or a comment moves where the next string begins."""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The gate before a small store."""
    with open_store(f"chdb://{tmp_path_factory.mktemp('parameters') / 'store'}") as store:
        migrate(store)
        fill(store)
        readers = ReaderPool(store)
        yield Gate(store, readers)
        readers.close()


@pytest.mark.parametrize("sql", OUT_OF_STEP)
def test_a_type_that_could_be_read_two_ways_is_refused(gate: Gate, sql: str) -> None:
    """
    What follows a parameter is looked over from where the engine reads on, or not let through.
    """
    with pytest.raises(QueryRefusedError):
        gate.approve(sql, GIVEN)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT {p:UInt8}, {p:Nullable(UInt8)}",
        "SELECT {d:DateTime64(3, 'Europe/Berlin')}, {d:DateTime('UTC')}",
        "SELECT {e:Enum8('a' = -1, 'b' = 2)}, {p:Decimal(10, 2)}",
        "SELECT 'it''s {p:UInt8 /*' AS x, 1 AS `{p:UInt8`",
    ],
)
def test_ordinary_types_pass(gate: Gate, sql: str) -> None:
    """
    Types with arguments, time zones and names in quotes are what clients send.
    """
    assert gate.approve(sql, GIVEN).sql.startswith("SELECT")
