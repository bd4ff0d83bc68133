"""Columns of numbers as the engine sends them in its format Native: nothing is parsed but headers.

In: the bytes of an answer whose columns are all numbers. Out: an array a column.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def columns_of(raw: bytes) -> Cells:
    """Return the columns of an answer, by name; without a row there are none.

    Raises:
        ValueError: *raw* is no such answer.
    """
    blocks: list[dict[str, NDArray[np.generic]]] = []
    at = 0
    while at < len(raw):
        block, at = _block(raw, at)
        blocks.append(block)
    if not blocks:
        return {}
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
        if kind not in _TYPES:
            raise ValueError(f"column {name!r} is of type {kind!r}, which is no number")
        found[name] = np.frombuffer(raw, dtype=_TYPES[kind], count=rows, offset=at)
        at += rows * _TYPES[kind].itemsize
    return found, at


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
