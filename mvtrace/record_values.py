"""Frozen values that become plain JSON and come back: what the parts of a record are made of.

In: fields of a class, by their types. Out: its plain form, and the value of one, each field of the
type that it must have. Nothing here knows what a record says.

Equality, hash and text are written once, in ``Value``: what ``dataclass`` generates for each of the
parts made 7 ms of an import that servers wait for.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import (
    Any,
    Final,
    Literal,
    NamedTuple,
    NewType,
    Self,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from mvtrace import plain_values

_AS_THEY_ARE: Final = frozenset({str, int, bool})
"""Types whose values are their own plain and their own orjson form."""

UnixNano = NewType("UnixNano", int)
"""Unix time in nanoseconds; in JSON decimal text, since it exceeds 2^53."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Value:
    """Base of the record's parts: knows how to become plain JSON values and to come back."""

    def to_dict(self) -> dict[str, Any]:
        """Return the plain form; fields that are None or an empty tuple are left out."""
        return converted(self, _unchanged)

    def __eq__(self, other: object) -> bool:
        """Whether *other* is of the same type and says the same."""
        if other.__class__ is not self.__class__:
            return NotImplemented
        return vars(self) == vars(other) or self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash(self._facts())

    def __repr__(self) -> str:
        facts = zip(_plan(type(self)).parsers, self._facts(), strict=True)
        said = ", ".join(f"{name}={fact!r}" for name, fact in facts)
        return f"{type(self).__qualname__}({said})"

    def _facts(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in _plan(type(self)).parsers)

    @classmethod
    def seen(cls, **facts: Any) -> Self:
        """Return ``cls(**facts)``, faster, for those who surely name all that has no default."""
        return cls.holding(facts)

    @classmethod
    def holding(cls, facts: dict[str, Any]) -> Self:
        """Return ``seen(**facts)`` that keeps *facts* itself: a new dict, which the caller drops.

        To pass on the twenty facts of a call as keywords takes as long as all else it needs.
        """
        for name, default in _plan(cls).stated.items():
            facts.setdefault(name, default)
        value = object.__new__(cls)
        object.__setattr__(value, "__dict__", facts)  # no copy: 1 µs where an update takes 4
        return value

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """Return the value of *plain*; keys of a newer schema version are ignored.

        A field of another type than it must have is a ValueError, a missing one a TypeError.
        """
        return cls(**plain_values.fields(plain, _plan(cls).parsers))


class _Plan(NamedTuple):
    """What there is to know of a class of parts, found once."""

    parsers: Mapping[str, Callable[[Any], Any]]
    times: tuple[str, ...]
    stated: Mapping[str, Any]
    """Defaults that are on the record, unlike None and the empty tuple."""


_plans: Final[dict[type[Any], _Plan]] = {}


def _plan(cls: type[Any]) -> _Plan:
    known = _plans.get(cls)
    if known is None:
        known = _plans[cls] = _planned(cls)
    return known


def _planned(cls: type[Any]) -> _Plan:
    fields = dataclasses.fields(cls)
    hints = get_type_hints(cls)
    return _Plan(
        {field.name: _parser(hints[field.name]) for field in fields},
        tuple(name for name, hint in hints.items() if UnixNano in (hint, *get_args(hint))),
        {
            field.name: field.default
            for field in fields
            if field.default not in {None, (), dataclasses.MISSING}
        },
    )


def _unchanged(value: Any) -> Any:
    return value


def converted(value: Value, convert: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the plain form of *value*, with *convert* applied to what no part of a record is."""
    plain = {name: item for name, item in vars(value).items() if item is not None}
    if not _AS_THEY_ARE.issuperset(map(type, plain.values())):
        for name in [name for name, item in plain.items() if type(item) not in _AS_THEY_ARE]:
            item = plain[name]
            if item == ():
                del plain[name]
            else:
                plain[name] = _converted_item(item, convert)
    for name in _plan(type(value)).times:
        if name in plain:
            plain[name] = str(plain[name])
    return plain


def _converted_item(item: Any, convert: Callable[[Any], Any]) -> Any:
    if isinstance(item, Value):
        return converted(item, convert)
    if type(item) is tuple:
        return [_converted_item(one, convert) for one in item]
    return convert(item)


_PARSERS: Final[Mapping[Any, Callable[[Any], Any]]] = {
    str: plain_values.text,
    int: plain_values.integer,
    bool: plain_values.flag,
    float: plain_values.number,
    UnixNano: plain_values.decimal,
}


@functools.cache
def _parser(hint: Any) -> Callable[[Any], Any]:
    """Return what makes a plain value one of the type *hint*, or raises ValueError."""
    origin = get_origin(hint)
    if origin in (UnionType, Union):
        return plain_values.optional(_parser(get_args(hint)[0]))
    if origin is tuple:
        parse = _parser(get_args(hint)[0])
        return lambda items: tuple(map(parse, plain_values.checked(items, list)))
    if origin is Literal:  # a newer version may know more words
        return plain_values.text
    if isinstance(hint, type) and issubclass(hint, Value):
        return lambda plain: hint.from_dict(plain_values.checked(plain, dict))
    return _PARSERS.get(hint, plain_values.mapping)
