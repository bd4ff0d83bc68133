"""Who is drawn for: the key of a unit, found in a request.

In: what an operator names (``header:x-user-id``, ``cookie:session``, ``subject``, ``request``, or
a function over the ASGI scope). Out: a function from a scope to the key's bytes, or None where the
request has none. The key stays in this process; what leaves is its keyed digest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from mvtrace.capture.asgi import Scope
from mvtrace.errors import ConfigurationError

KeyFunction = Callable[[Scope], object]
SUBJECT: Final = "subject"
REQUEST: Final = "request"
_COOKIE: Final = b"cookie"
_FORMS: Final = (
    "it is header:NAME, cookie:NAME, subject, request or a function that returns the key of an "
    "ASGI scope"
)
_NAME_CHARACTERS: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
MAX_NAME: Final = 128


class UnitKey(NamedTuple):
    """How a unit is found, and what it is called."""

    find: Callable[[Scope], bytes | None] | None
    """None where the application names it while the request runs, or the request itself is it."""
    kind: str
    form: str


def unit_key(key: str | KeyFunction, kind: str | None) -> UnitKey:
    """Return how the unit named by *key* is found; *kind* is what such a unit is called.

    Raises:
        ConfigurationError: *key* names none.
    """
    if kind is not None and not _is_name(kind):
        raise ConfigurationError("unit", kind, "it is a word such as user or session")
    if callable(key):
        return UnitKey(lambda scope: key_bytes(key(scope)), kind or "user", "function")
    if not isinstance(key, str):
        raise ConfigurationError("key", key, _FORMS)
    if key in (SUBJECT, REQUEST):
        return UnitKey(None, kind or ("user" if key == SUBJECT else REQUEST), key)
    form, _, name = key.partition(":")
    if form not in ("header", "cookie") or not _is_name(name):
        raise ConfigurationError("key", key, _FORMS)
    if form == "header":
        return UnitKey(_header(name.lower().encode()), kind or "user", form)
    return UnitKey(_cookie(name.encode()), kind or "session", form)


def key_bytes(value: Any) -> bytes | None:
    """Return the bytes of a key: of text, bytes or a whole number; None of nothing or an empty one.

    Raises:
        TypeError: it is something else, whose text may differ between two processes.
    """
    if value is None or isinstance(value, bytes):
        return value or None
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass") or None
    if type(value) is int:
        return str(value).encode()
    raise TypeError(f"the key of a unit is text, bytes or an int, not {type(value).__name__}")


def _header(wanted: bytes) -> Callable[[Scope], bytes | None]:
    def find(scope: Scope) -> bytes | None:
        for name, value in scope.get("headers", ()):
            if name == wanted:
                return bytes(value) or None
        return None

    return find


def _cookie(wanted: bytes) -> Callable[[Scope], bytes | None]:
    begin = wanted + b"="

    def find(scope: Scope) -> bytes | None:
        for name, value in scope.get("headers", ()):
            if name == _COOKIE:
                for pair in value.split(b";"):
                    if (said := pair.strip()).startswith(begin):
                        return bytes(said[len(begin) :].strip(b'"')) or None
        return None

    return find


def _is_name(text: object) -> bool:
    return (
        isinstance(text, str)
        and 0 < len(text) <= MAX_NAME
        and _NAME_CHARACTERS.issuperset(text.lower())
    )
