"""Declared columns: what the texts of a file without types stand for.

In: ``id:int,score:float32`` or ``{"id": "int", "tags": ["text"], "at": {"day": "date"}}``. Out: the
values a column of that type holds. CSV has only text, and every cell is text unless its column is
declared; JSON has no timestamps, bytes or decimals. Nothing is guessed: a guess would make ``1.10``
and ``1.1``, or ``007`` and ``7``, one row. A value that is of the type already stays as it is, so
the same columns may be declared for any format.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from mvtrace.digest import INTEGER_TAG, MAX_DEPTH
from mvtrace.registry.datasets.exact import decoded
from mvtrace.registry.datasets.rows import (
    Tagged,
    bytes_form,
    date_form,
    decimal_form,
    duration_form,
    time_form,
    timestamp_form,
)

Kind: TypeAlias = "str | list[Any] | dict[str, Any]"
"""A word of KINDS, a list of one kind, or the members of an object."""
Columns: TypeAlias = Mapping[str, Kind]

ANY: Final = "any"
"""Nothing is said of the column."""

_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))? ?(Z|UTC|[+-]\d\d:?\d\d)?"
)
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:\.(\d{1,9}))?)?")
_DURATION = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?")
_INT = re.compile(r"[+-]?\d{1,4000}")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


def parse_columns(text: str) -> dict[str, Kind]:
    """Return the columns that *text* declares: ``name:type,…``, or a JSON object.

    Raises:
        ValueError: it declares none; says why.
    """
    if text.lstrip().startswith("{"):
        return check_columns(decoded(text))
    columns: dict[str, Any] = {}
    for part in text.split(","):
        name, colon, kind = part.strip().rpartition(":")
        if not colon or not name:
            raise ValueError(f"{part!r} is not NAME:TYPE")
        columns[name] = kind
    return check_columns(columns)


def check_columns(said: object) -> dict[str, Kind]:
    """Return *said*, which are columns.

    Raises:
        ValueError: they are none.
    """
    if not isinstance(said, Mapping):
        raise ValueError("columns are names and their types")  # noqa: TRY004 (of the input)
    for name, kind in said.items():
        _check(str(name), kind, 0)
    return dict(said)


def _check(name: str, kind: object, depth: int) -> None:
    if isinstance(kind, str) and (kind == ANY or kind in _CASTS):
        return
    if depth < MAX_DEPTH and isinstance(kind, list) and len(kind) == 1:
        _check(name, kind[0], depth + 1)
    elif depth < MAX_DEPTH and isinstance(kind, Mapping):
        for member, inner in kind.items():
            _check(f"{name}.{member}", inner, depth + 1)
    else:
        known = ", ".join(KINDS)
        raise ValueError(f"the type of {name!r} is {kind!r}; known are {known}")


def cast(value: Any, kind: Kind) -> Any:
    """Return *value* as *kind* holds it; null is null in every column.

    Raises:
        ValueError: it is no value of that type; says why.
    """
    if value is None or kind == ANY:
        return value
    if isinstance(kind, str):
        return _CASTS[kind](value)
    if isinstance(value, str):
        value = decoded(value)
    if isinstance(kind, list):
        if not isinstance(value, list):
            raise ValueError(f"{_shown(value)} is no list")  # noqa: TRY004 (of the input)
        return [cast(item, kind[0]) for item in value]
    if not isinstance(value, dict):
        raise ValueError(f"{_shown(value)} is no object")  # noqa: TRY004 (as above)
    return {name: cast(item, kind.get(name, ANY)) for name, item in value.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is no text")  # noqa: TRY004 (of the input)
    return value


def _int(value: Any) -> Any:
    if type(value) is int or (type(value) is Tagged and INTEGER_TAG in value):
        return value
    if type(value) is float and value % 1 == 0:
        return int(value)
    if not isinstance(value, str) or not _INT.fullmatch(value.strip()):
        raise ValueError(f"{_shown(value)} is no integer")
    return int(value)


def _float(value: Any) -> Any:
    if type(value) in (float, Tagged):
        return value
    if type(value) is int:
        return _double(value)
    if not isinstance(value, str) or not _FLOAT.fullmatch(value.strip()):
        raise ValueError(f"{_shown(value)} is no number")
    return float(value)


def _double(value: int) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError(f"{_shown(value)} is beyond every double") from error


def _float32(value: Any) -> Any:
    number = _float(value)
    if isinstance(number, Tagged) or not math.isfinite(number):
        return number
    try:
        return struct.unpack("<f", struct.pack("<f", number))[0]
    except OverflowError as error:
        raise ValueError(f"{_shown(value)} is beyond every float of 32 bits") from error


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {"true": True, "false": False}
    if not isinstance(value, str) or value.lower() not in known:
        raise ValueError(f"{_shown(value)} is neither true nor false")
    return known[value.lower()]


def _timestamp(value: Any) -> Tagged:
    if type(value) is Tagged:
        return value
    found = _TIMESTAMP.fullmatch(_text(value))
    if found is None:
        raise ValueError(f"{_shown(value)} is no timestamp like 2026-08-22T11:00:00Z")
    day, clock, fraction, zone = found.groups()
    moment = datetime.fromisoformat(f"{day}T{clock}" + ("+00:00" if zone in _UTC else zone))
    seconds = int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    return timestamp_form(seconds * 10**9 + _nanos(fraction), is_utc=zone is not None)


def _date(value: Any) -> Tagged:
    return value if type(value) is Tagged else date_form(date.fromisoformat(_text(value)))


def _time(value: Any) -> Tagged:
    if type(value) is Tagged:
        return value
    found = _TIME.fullmatch(_text(value))
    if found is None:
        raise ValueError(f"{_shown(value)} is no time of day like 11:00:00")
    hours, minutes, seconds, fraction = found.groups()
    whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)
    return time_form(whole * 10**9 + _nanos(fraction))


def _duration(value: Any) -> Tagged:
    if type(value) is Tagged:
        return value
    found = _DURATION.fullmatch(str(value))
    if found is None:
        raise ValueError(f"{_shown(value)} is no length of time in seconds")
    sign, seconds, fraction = found.groups()
    nanos = int(seconds) * 10**9 + _nanos(fraction)
    return duration_form(-nanos if sign else nanos)


def _decimal(value: Any) -> Tagged:
    if type(value) is Tagged:
        return value
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(f"{_shown(value)} is no decimal number") from error
    if abs(number.adjusted()) > _MOST_DIGITS:
        raise ValueError(f"{_shown(value)} has more than {_MOST_DIGITS} digits")
    return decimal_form(number)


def _bytes(value: Any) -> Tagged:
    if type(value) is Tagged:
        return value
    try:
        return bytes_form(base64.b64decode(_text(value), validate=True))
    except ValueError as error:
        raise ValueError(f"{_shown(value)} is no Base64") from error


def _json(value: Any) -> Any:
    return decoded(value) if isinstance(value, str) else value


def _nanos(fraction: str | None) -> int:
    return int((fraction or "0").ljust(9, "0"))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."


_UTC: Final = (None, "Z", "UTC")
_MOST_DIGITS: Final = 100
_MOST_SHOWN: Final = 60
_CASTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "text": _text,
    "int": _int,
    "float": _float,
    "float32": _float32,
    "bool": _bool,
    "timestamp": _timestamp,
    "date": _date,
    "time": _time,
    "duration": _duration,
    "decimal": _decimal,
    "bytes": _bytes,
    "json": _json,
}
KINDS: Final = tuple(_CASTS)
"""The types a column can be declared to have."""
