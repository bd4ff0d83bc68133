"""Columns of numbers in the engine's own format."""

from __future__ import annotations

from pathlib import Path

import pytest

from mvtrace.store import open_store
from mvtrace.store.native import SIZES, columns_of


def test_columns_are_the_engines(tmp_path: Path) -> None:
    """
    Every type of number comes as it is, over several blocks; an answer without a row has no column.
    """
    with open_store(f"chdb://{tmp_path / 'db'}") as store:
        sql = (
            "SELECT toUInt8(number) AS a, toUInt16(number) AS b, toUInt32(number) AS c, number AS d, "
            "-toInt64(number) AS e, number / 2 AS f FROM numbers(300)"
        )
        found = columns_of(store.raw(sql, None, "Native", settings={"max_block_size": 100}))
        nothing = columns_of(store.raw(f"{sql} WHERE 0", None, "Native"))

    numbers = list(range(300))
    assert {name: one.tolist() for name, one in found.items()} == {
        "a": [number % 256 for number in numbers],
        **dict.fromkeys("bcd", numbers),
        "e": [-number for number in numbers],
        "f": [number / 2 for number in numbers],
    }
    assert all(not one.size for one in nothing.values())


def test_lists_come_one_after_the_other(tmp_path: Path) -> None:
    """
    Of lists come all elements, over several blocks, and how many each list has; empty ones too.
    """
    with open_store(f"chdb://{tmp_path / 'db'}") as store:
        sql = "SELECT number AS a, range(number % 3) AS b, arrayMap(x -> x / 2, b) AS c FROM numbers(50)"
        found = columns_of(store.raw(sql, None, "Native", settings={"max_block_size": 7}))
        empty = columns_of(store.raw("SELECT []::Array(UInt8) AS a", None, "Native"))

    elements = [one for number in range(50) for one in range(number % 3)]
    assert {name: one.tolist() for name, one in found.items()} == {
        "a": list(range(50)),
        "b": elements,
        "c": [one / 2 for one in elements],
        f"b{SIZES}": [number % 3 for number in range(50)],
        f"c{SIZES}": [number % 3 for number in range(50)],
    }
    assert {name: one.tolist() for name, one in empty.items()} == {"a": [], f"a{SIZES}": [0]}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\x01\x01\x01a\x06UInt32\0\0\0", "the answer ends within a column"),
        (b"\x01\x01\x01a\x0cArray(UInt8)\x09\0\0\0\0\0\0\0x", "the answer ends within a column"),
        (b"\x01", "the answer ends within a header"),
        (b"\x01\x01\x01a\x06String\x01b", "column 'a' is of type 'String', which is no number"),
    ],
)
def test_what_is_no_such_answer(raw: bytes, message: str) -> None:
    """
    An answer that is cut off, or has other columns, is refused.
    """
    with pytest.raises(ValueError, match=message):
        columns_of(raw)
