"""The canonical row: one form, and so one digest, for a row of JSONL, CSV, Parquet or Arrow.

In: the columns of a row and their values. Out: its canonical bytes, RFC 8785 JSON. Laws, each of
them a decision that makes formats agree:

* A number is its value: 1 and 1.0 are one row, as JSON has it. Integers beyond ±(2^53-1) that are
  stored as integers are tagged ``{"$int": "…"}`` and exact; NaN and the infinities are
  ``{"$double": "NaN"}`` and the like; a float of 32 bits is the double of the same value.
* A member that is null is a member that is missing, at every depth; a null in a list stays.
* The order of members is no part of a row. Text is never normalized: an accent that is a sign of
  its own is not the letter that has it.
* What JSON has no value for is tagged: ``$bytes`` (Base64), ``$timestamp`` (RFC 3339; in UTC with Z
  where the zone is known, without a zone where not; as many digits as there are), ``$date``,
  ``$time``, ``$duration`` (seconds), ``$decimal`` (without trailing zeros). A name of the row's own
  that begins with ``$`` gets one more.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias

import orjson
import rfc8785

from mvtrace.digest import INTEGER_TAG, MAX_DEPTH, MAX_SAFE_INTEGER

ROW_DOMAIN: Final = b"mvtrace.row/1\n"
"""What the digest of a row is over, before the row."""
MAX_ROW_BYTES: Final = 64 * 1024 * 1024

Row: TypeAlias = bytes
"""A row in its canonical form."""

_FLAT: Final = frozenset({str, bool, int})
_SORTED: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_MIN_PLAIN: Final = 1e-4
_MAX_PLAIN: Final = 1e15
"""Between these ECMAScript prints a number that is not whole as orjson does."""
_MOST_KEYS: Final = 4096


class Tagged(dict[str, str]):
    """A value that JSON has not, in its form already."""


class Rows:
    """Gives rows their form; remembers which names need no second look."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        """Names met that are plain: ASCII, and begin with no ``$``."""

    def row(self, columns: dict[str, Any]) -> Row:
        """Return the canonical bytes of a row that holds *columns*.

        Raises:
            ValueError: a value has no form; says which.
        """
        if columns.keys() <= self.names or self._is_plain(columns):
            for value in columns.values():
                kind = type(value)
                if kind not in _FLAT and not (kind is float and is_plain(value)):
                    break
            else:
                try:
                    return orjson.dumps(columns, option=_SORTED)
                except TypeError:  # an integer that needs its tag, or text without UTF-8
                    pass
        return dump_form(form_of(columns))

    def _is_plain(self, columns: Mapping[str, Any]) -> bool:
        if not all(name.isascii() and name[:1] != "$" for name in columns):
            return False
        if len(self.names) < _MOST_KEYS:
            self.names.update(columns)
        return True


def row_bytes(columns: Mapping[str, Any]) -> Row:
    """Return the canonical bytes of one row.

    Raises:
        ValueError: a value has no form; says which.
    """
    return dump_form(form_of(dict(columns)))


def parse_row(row: Row) -> dict[str, Any]:
    """Return the columns of *row*; what JSON has no value for stays tagged, but integers."""
    columns: dict[str, Any] = _plain(orjson.loads(row))
    return columns


def dump_form(form: object) -> bytes:
    """Return the bytes of a form, whose members are in their order already.

    Raises:
        ValueError: a text has no UTF-8 form.
    """
    try:
        return orjson.dumps(form)
    except (TypeError, UnicodeEncodeError) as error:
        raise ValueError("a text in it holds a lone surrogate, so it has no UTF-8 form") from error


def form_of(value: object, depth: int = 0) -> Any:
    """Return *value* as it is written: tagged, names in order, no null members.

    Raises:
        ValueError: it has no form.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None or kind is Tagged:
        return value
    made = _FORMS.get(kind)
    if made is not None:
        return made(value)
    if depth >= MAX_DEPTH:
        raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return object_form(
            {name: form_of(item, depth + 1) for name, item in value.items() if item is not None}
        )
    if isinstance(value, (list, tuple)):
        return [form_of(item, depth + 1) for item in value]
    raise ValueError(f"{kind.__name__} is no type of a column")


def object_form(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return *members*, which are forms, under their escaped names and in RFC 8785's order."""
    return {escaped_name(name): members[name] for name in sorted(members, key=name_order)}


def name_order(name: str) -> bytes:
    """Return what RFC 8785 sorts *name* by: its UTF-16 code units.

    Raises:
        ValueError: it has a lone surrogate.
    """
    try:
        return escaped_name(name).encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise ValueError("a name in it holds a lone surrogate") from error


def escaped_name(name: object) -> str:
    """Return *name* so that no row can look as if it were tagged."""
    if not isinstance(name, str):
        raise ValueError(f"the name {name!r} is no text")  # noqa: TRY004 (of the input)
    return "$" + name if name.startswith("$") else name


def int_form(value: int) -> Any:
    """Return the form of an integer."""
    if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return value
    return Tagged({INTEGER_TAG: str(value)})


def is_plain(value: float) -> bool:
    """Whether orjson prints *value*, which is not whole, as ECMAScript does."""
    return value % 1 != 0 and _MIN_PLAIN <= abs(value) < _MAX_PLAIN


def float_form(value: float) -> Any:
    """Return the form of a double: as ECMAScript prints it, tagged where that prints no number."""
    size = abs(value)
    if size <= MAX_SAFE_INTEGER and value % 1 == 0:
        return int(value)
    if _MIN_PLAIN <= size < _MAX_PLAIN:
        return value
    if size < float("inf"):
        return orjson.Fragment(rfc8785.dumps(value))
    name = "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124
    return Tagged({"$double": name})


def bytes_form(value: bytes) -> Tagged:
    """Return the form of bytes."""
    return Tagged({"$bytes": base64.b64encode(value).decode()})


def timestamp_form(unix_nano: int, *, is_utc: bool) -> Tagged:
    """Return the form of an instant; of a wall-clock time, as if it were UTC, where not *is_utc*.

    Raises:
        ValueError: it is outside the years 1 to 9999.
    """
    seconds, nanos = divmod(unix_nano, 10**9)
    try:
        moment = datetime(1970, 1, 1) + timedelta(seconds=seconds)  # noqa: DTZ001 (has no zone)
    except OverflowError as error:
        raise ValueError("a timestamp outside the years 1 to 9999") from error
    text = moment.isoformat(timespec="seconds") + _fraction(nanos)
    return Tagged({"$timestamp": text + ("Z" if is_utc else "")})


def date_form(value: date) -> Tagged:
    """Return the form of a day."""
    return Tagged({"$date": value.isoformat()})


def time_form(nanos: int) -> Tagged:
    """Return the form of a time of day, in nanoseconds since midnight."""
    seconds, rest = divmod(nanos, 10**9)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return Tagged({"$time": clock + _fraction(rest)})


def duration_form(nanos: int) -> Tagged:
    """Return the form of a length of time."""
    seconds, rest = divmod(abs(nanos), 10**9)
    return Tagged({"$duration": f"{'-' if nanos < 0 else ''}{seconds}{_fraction(rest)}"})


def decimal_form(value: Decimal) -> Tagged:
    """Return the form of a decimal number.

    Raises:
        ValueError: it is not finite.
    """
    if not value.is_finite():
        raise ValueError(f"the decimal {value} is not finite")
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return Tagged({"$decimal": "0" if text in ("-0", "") else text})


def _fraction(nanos: int) -> str:
    return f".{nanos:09}".rstrip("0") if nanos else ""


def _datetime_form(value: datetime) -> Tagged:
    is_utc = value.tzinfo is not None
    moment = value.astimezone(UTC) if is_utc else value.replace(tzinfo=UTC)
    return timestamp_form(_nanos(moment - datetime(1970, 1, 1, tzinfo=UTC)), is_utc=is_utc)


def _time_form(value: time) -> Tagged:
    if value.tzinfo is not None:
        raise ValueError("a time of day with a zone is no type of a column")
    since = timedelta(
        hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond
    )
    return time_form(_nanos(since))


def _nanos(length: timedelta) -> int:
    return (length.days * 86_400 + length.seconds) * 10**9 + length.microseconds * 1000


def _plain(form: Any) -> Any:
    if isinstance(form, list):
        return [_plain(item) for item in form]
    if not isinstance(form, dict):
        return form
    if len(form) == 1 and INTEGER_TAG in form:
        return int(form[INTEGER_TAG])
    return {
        name[1:] if name.startswith("$$") else name: _plain(item) for name, item in form.items()
    }


_FORMS: Final[Mapping[type, Callable[[Any], Any]]] = {
    int: int_form,
    float: float_form,
    bytes: bytes_form,
    datetime: _datetime_form,
    date: date_form,
    time: _time_form,
    timedelta: lambda value: duration_form(_nanos(value)),
    Decimal: decimal_form,
}
"""How a value of a type is written that is neither text, truth value, list nor object."""
