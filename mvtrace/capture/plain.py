"""What an application hands over, as values that surely have a canonical form and a bounded size.

In: anything. Out: text, numbers, booleans, lists and dicts, cut to their limits; what is cut is
counted in the *counter*. A record can then always be encoded, whatever the application put into it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, Protocol

MAX_NAME: Final = 256
MAX_ID: Final = 512
MAX_REASON: Final = 1024
MAX_TEXT: Final = 4096
MAX_ITEMS: Final = 128
MAX_DEPTH: Final = 6
_MAX_INTEGER: Final = 1 << 127

_CONTROLS: Final = dict.fromkeys((*range(32), *range(127, 160), 8232, 8233), "�")


class Counter(Protocol):
    """Where cuts are counted."""

    truncated: int


def text(value: object, limit: int, counter: Counter) -> str:
    """Return *value* as text of at most *limit* characters that has a UTF-8 form."""
    if type(value) is str and len(value) <= limit and value.isascii():
        return value  # nearly always
    plain = value if type(value) is str else str(value)
    if len(plain) > limit:
        counter.truncated += 1
        plain = plain[:limit]
    if plain.isascii():
        return plain
    return plain.encode("utf-8", "replace").decode()


def optional_text(value: object, limit: int, counter: Counter) -> str | None:
    """Return *value* as text, None as None."""
    return None if value is None else text(value, limit, counter)


def printable(value: str, limit: int, counter: Counter) -> str:
    """Return *value* without control characters: strangers send it and terminals show it."""
    cut = text(value, limit, counter)
    return cut if cut.isprintable() and cut.isascii() else cut.translate(_CONTROLS)


def number(value: object) -> float | None:
    """Return *value* as a finite float; None where it is none."""
    if value is None:
        return None
    as_float = float(value)  # type: ignore[arg-type]
    return as_float if math.isfinite(as_float) else None


def count(value: object) -> int | None:
    """Return *value* as an integer; None as None."""
    return None if value is None else int(value)  # type: ignore[call-overload]


def facts(values: Mapping[Any, Any], counter: Counter, depth: int = 0) -> dict[str, Any]:
    """Return *values* with text keys and plain values."""
    if type(values) is dict and len(values) <= MAX_ITEMS:
        copied = values.copy()  # at once: another thread may change what is the application's
        if all(map(_is_plain, copied, copied.values())):
            return copied  # nearly always, and at a third of the time
    if len(values) > MAX_ITEMS:
        counter.truncated += 1
    return {
        text(key, MAX_NAME, counter): plain(value, counter, depth + 1)
        for key, value in list(values.items())[:MAX_ITEMS]
    }


def _is_plain(key: object, value: object) -> bool:
    """Whether both are already as they would become; False where that takes a closer look."""
    if type(key) is not str or len(key) > MAX_NAME or not key.isascii():
        return False
    kind = type(value)
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]
    if kind is int:
        return -_MAX_INTEGER < value < _MAX_INTEGER  # type: ignore[operator]
    if kind is str:
        return len(value) <= MAX_TEXT and value.isascii()  # type: ignore[arg-type,attr-defined]
    return value is None or kind is bool


def plain(value: object, counter: Counter, depth: int = 0) -> Any:
    """Return *value* as one of JSON's types; what is none of them becomes its text."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return text(str(value), MAX_TEXT, counter)
    if isinstance(value, int):
        return int(value) if abs(value) < _MAX_INTEGER else text(hex(value), MAX_TEXT, counter)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    return _plain_container(value, counter, depth)


def _plain_container(value: object, counter: Counter, depth: int) -> Any:
    if depth < MAX_DEPTH:
        if isinstance(value, Mapping):
            return facts(value, counter, depth)
        if isinstance(value, (Sequence, AbstractSet)) and not isinstance(value, (bytes, bytearray)):
            if len(value) > MAX_ITEMS:
                counter.truncated += 1
            return [plain(item, counter, depth + 1) for item in list(value)[:MAX_ITEMS]]
    as_scalar = getattr(value, "item", None)  # numpy's and torch's scalars
    if callable(as_scalar):
        scalar = as_scalar()
        if isinstance(scalar, (bool, int, float, str)):
            return plain(scalar, counter, depth)
    return text(repr(value), MAX_TEXT, counter)
