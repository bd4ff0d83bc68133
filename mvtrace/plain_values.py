"""Plain JSON values of unknown origin as the types they must have, and as nothing else.

In: a value that somebody else's JSON held. Out: the same value, of the type that was asked for, or
a ValueError that names both types. Numbers are held to 64 bits: what is larger came from no count,
clock or column, and reports divide and print them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

INTEGER_LIMIT: Final = 1 << 64
_DIGITS: Final = re.compile("-?[0-9]{1,20}")


def checked(value: Any, kind: type[Any]) -> Any:
    """Return *value*, which is of the type *kind* itself.

    Raises:
        ValueError: it is of another, also of a derived one.
    """
    if type(value) is not kind:
        raise ValueError(f"{type(value).__name__} for {kind.__name__}")
    return value


def optional(parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return *parse* for what may also be null."""
    return lambda value: None if value is None else parse(value)


def text(value: Any) -> str:
    """Return a text."""
    return str(checked(value, str))


def flag(value: Any) -> bool:
    """Return a truth value."""
    return bool(checked(value, bool))


def mapping(value: Any) -> dict[str, Any]:
    """Return an object."""
    return dict(checked(value, dict))


def integer(value: Any) -> int:
    """Return an integer of at most 64 bits and a sign."""
    number = int(checked(value, int))
    if not -INTEGER_LIMIT <= number < INTEGER_LIMIT:
        raise ValueError("an integer of more than 64 bits")
    return number


def number(value: Any) -> float:
    """Return a number, which JSON writes without a point where it is whole."""
    if type(value) not in (int, float):
        raise ValueError(f"{type(value).__name__} for float")
    try:
        return float(value)
    except OverflowError as error:
        raise ValueError("a number beyond every float") from error


def decimal(value: Any) -> int:
    """Return an integer that is written as text, since it may exceed 2^53."""
    if type(value) is str and not _DIGITS.fullmatch(value):
        raise ValueError("a text that is no number")
    return integer(int(value) if type(value) is str else value)


def fields(plain: Mapping[str, Any], parsers: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    """Return those of *plain* that *parsers* know, parsed; the others came from newer versions.

    Raises:
        ValueError: one is not what it must be; the message names it.
    """
    found = {}
    for name, parse in parsers.items():
        if name in plain:
            try:
                found[name] = parse(plain[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
    return found
