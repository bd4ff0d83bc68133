"""The texts of a row, by column.

In: a row in its canonical form. Out: pairs of a column and a text. The strings within a list or an
object belong to a column of their path (``messages.content``), each a text of its own. Numbers,
truth values and what is tagged (``{"$timestamp": …}``) are no text. A row that is a bare string has
the column ``text``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

MAX_DEPTH: Final = 64
"""What is nested deeper is passed over; no canonical row is."""
BARE: Final = "text"


class Cell(NamedTuple):
    """One text in one column of a row."""

    column: str
    text: str


def cells_of(row: bytes) -> list[Cell]:
    """Return the texts of *row*, in its order; none where it has no text.

    Raises:
        ValueError: it is no JSON.
    """
    value = orjson.loads(row)
    if isinstance(value, dict) and all(
        type(item) is str and name[:1] != "$" for name, item in value.items()
    ):
        return [Cell(column, text) for column, text in value.items()]
    return list(_cells(value, "", 0))


def _cells(value: Any, path: str, depth: int) -> Iterator[Cell]:
    if isinstance(value, str):
        yield Cell(path or BARE, value)
    elif depth >= MAX_DEPTH:
        return
    elif isinstance(value, dict):
        if depth and _is_tagged(value):
            return
        for key, item in value.items():
            name = key[1:] if key[:2] == "$$" else key
            yield from _cells(item, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _cells(item, path, depth + 1)


def _is_tagged(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value))[:1] == "$" and next(iter(value))[:2] != "$$"
