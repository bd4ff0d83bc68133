"""Columns of numbers as the engine sends them in its format Native: nothing is parsed but headers.

In: the bytes of an answer whose columns are all numbers, or lists of them. Out: an array a column;
of lists all elements one after the other, and how many each list has as ``NAME`` + ``SIZES``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Cells = Mapping[str, NDArray[np.generic]]

_TYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "UInt8": np.dtype("u1"),
    "UInt16": np.dtype("<u2"),
    "UInt32": np.dtype("<u4"),
    "UInt64": np.dtype("<u8"),
    "Int64": np.dtype("<i8"),
    "Float64": np.dtype("<f8"),
}
_MORE: Final = 0x80
_LIST: Final = re.compile(r"Array\((\w+)\)")
SIZES: Final = ".sizes"


def columns_of(raw: bytes) -> Cells:
    """Return the columns of an answer, by name; without a row there are none.

    Raises:
        ValueError: *raw* is no such answer.
    """
    blocks: list[Cells] = []
    at = 0
    while at < len(raw):
        block, at = _block(raw, at)
        blocks.append(block)
    if not blocks:
        return {}
    return joined(blocks)


def joined(blocks: Sequence[Cells]) -> Cells:
    """Return the rows of all *blocks*, of which there is one at least."""
    if len(blocks) == 1:
        return blocks[0]
    return {name: np.concatenate([one[name] for one in blocks]) for name in blocks[0]}


def _block(raw: bytes, at: int) -> tuple[dict[str, NDArray[np.generic]], int]:
    columns, at = _number(raw, at)
    rows, at = _number(raw, at)
    found: dict[str, NDArray[np.generic]] = {}
    for _ in range(columns):
        name, at = _text(raw, at)
        kind, at = _text(raw, at)
        listed = _LIST.fullmatch(kind)
        type_of = _TYPES.get(listed[1] if listed else kind)
        if type_of is None:
            raise ValueError(f"column {name!r} is of type {kind!r}, which is no number")
        count = rows
        if listed:
            ends, at = _values(raw, at, rows, _TYPES["UInt64"])
            found[name + SIZES] = np.diff(ends, prepend=ends.dtype.type(0))
            count = int(ends[-1]) if rows else 0
        found[name], at = _values(raw, at, count, type_of)
    return found, at


def _values(raw: bytes, at: int, count: int, type_of: np.dtype[Any]) -> tuple[NDArray[Any], int]:
    if count > (len(raw) - at) // type_of.itemsize:
        raise ValueError("the answer ends within a column")
    return np.frombuffer(raw, dtype=type_of, count=count, offset=at), at + count * type_of.itemsize


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, lowest first, and where it ends."""
    found = shift = 0
    while True:
        if at >= len(raw):
            raise ValueError("the answer ends within a header")
        byte = raw[at]
        at += 1
        found |= (byte & ~_MORE) << shift
        shift += 7
        if not byte & _MORE:
            return found, at


def _text(raw: bytes, at: int) -> tuple[str, int]:
    size, at = _number(raw, at)
    return raw[at : at + size].decode("utf-8", "replace"), at + size
