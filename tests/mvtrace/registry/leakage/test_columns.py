"""The texts of a row."""

from __future__ import annotations

import json

import pytest

from mvtrace.registry.datasets.rows import row_bytes
from mvtrace.registry.leakage.columns import Cell, cells_of


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ({"a": "x", "b": "y"}, [("a", "x"), ("b", "y")]),
        ({"a": 1, "b": True, "c": "text", "d": 2.5}, [("c", "text")]),
        ({}, []),
        (
            {"messages": [{"role": "user", "content": "Hi"}, {"content": "Ho"}]},
            [("messages.role", "user"), ("messages.content", "Hi"), ("messages.content", "Ho")],
        ),
        ({"tags": ["a", ["b"]]}, [("tags", "a"), ("tags", "b")]),
        ({"raw": b"\xff", "$price": "5"}, [("$price", "5")]),
    ],
)
def test_texts_by_column(row: dict[str, object], cells: list[tuple[str, str]]) -> None:
    """
    Strings are texts of the column of their path; what is tagged or no string is none.
    """
    assert sorted(cells_of(row_bytes(row))) == sorted(Cell(*cell) for cell in cells)


def test_deep_nesting_is_passed_over() -> None:
    """
    What nests deeper than any canonical row does not exhaust the stack.
    """
    row = b'{"a":' + b"[" * 900 + b'"x"' + b"]" * 900 + b"}"

    assert cells_of(row) == []


def test_a_bare_string() -> None:
    """
    A row that is a string has one text.
    """
    assert cells_of(json.dumps("only").encode()) == [Cell("text", "only")]
