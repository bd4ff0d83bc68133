"""JSON read exactly: integers of any size, NaN and the infinities as Python writes them.

In: text. Out: plain values. Left out: numbers beyond every double, which are refused, since a row
that is read as Infinity is another row.
"""

from __future__ import annotations

import json
from typing import Any, Final

_LARGEST: Final = float("inf")


def decoded(text: str) -> Any:
    """Return the value that *text* is.

    Raises:
        ValueError: it is no JSON, nests too deep, or a number is beyond every double.
    """
    try:
        return _EXACT.decode(text)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error


def _finite(text: str) -> float:
    number = float(text)
    if abs(number) == _LARGEST:
        raise ValueError(f"the number {text} is beyond every double")
    return number


_EXACT: Final = json.JSONDecoder(parse_float=_finite)
