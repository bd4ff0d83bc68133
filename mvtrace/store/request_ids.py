"""What a text that somebody typed as an id can mean, before any look-up.

In: a text, maybe ``kind:value``. Out: :class:`Sought`: a request id, an alias, or both to be tried.
Nothing is fetched. Anything printable can be an alias; what cannot be an id at all is refused.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mvtrace.errors import MalformedIdError
from mvtrace.ids import UUID7_PATTERN, format_uuid7
from mvtrace.semconv import ALIAS_RESPONSE_ID, ALIAS_TRACE_ID, ALIAS_X_REQUEST_ID

MAX_LENGTH: Final = 512

KINDS: Final = {
    "trace": ALIAS_TRACE_ID,
    ALIAS_TRACE_ID: ALIAS_TRACE_ID,
    ALIAS_X_REQUEST_ID: ALIAS_X_REQUEST_ID,
    "response": ALIAS_RESPONSE_ID,
    ALIAS_RESPONSE_ID: ALIAS_RESPONSE_ID,
}
"""What may stand before the colon, and the kind of alias it means; ``request`` means none."""

_TRACE: Final = re.compile(r"[0-9a-f]{32}")


class Alias(NamedTuple):
    """An id to look up among the aliases; an empty kind stands for any."""

    kind: str
    value: str


class Sought(NamedTuple):
    """What to try, in this order: the request id, then the aliases."""

    text: str
    request_id: str | None
    aliases: tuple[Alias, ...]


def sought(text: str) -> Sought:
    """Return what *text* can mean.

    Raises:
        MalformedIdError: it cannot be an id, or not one of the kind it names.

    """
    stripped = text.strip()
    if not stripped:
        raise MalformedIdError(text, "it is empty")
    if len(stripped) > MAX_LENGTH:
        raise MalformedIdError(text, f"it has {len(stripped)} characters, more than {MAX_LENGTH}")
    if not stripped.isprintable():
        raise MalformedIdError(text, "it holds control characters")
    kind, colon, value = stripped.partition(":")
    if colon and kind == "request":
        return _named_request(stripped, value)
    if colon and kind in KINDS:
        return _named_alias(stripped, KINDS[kind], value)
    return _any(stripped, kind if colon else "", value)


def dashed(hexadecimal: str) -> str:
    """Return 32 hex digits as the text of a UUID."""
    text = hexadecimal.lower()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def as_request_id(text: str) -> str | None:
    """Return *text* as a request id, with or without its dashes, or None where it is none."""
    lower = text.lower()
    candidate = dashed(lower) if _TRACE.fullmatch(lower) else lower
    return candidate if UUID7_PATTERN.fullmatch(candidate) else None


def _named_request(text: str, value: str) -> Sought:
    request_id = as_request_id(value)
    if request_id is None:
        raise MalformedIdError(text, "a request id is a UUID of version 7")
    return Sought(text, request_id, ())


def _named_alias(text: str, kind: str, value: str) -> Sought:
    if not value:
        raise MalformedIdError(text, "nothing follows the colon")
    if kind != ALIAS_TRACE_ID:
        return Sought(text, None, (Alias(kind, value),))
    trace_id = value.lower()
    if not _TRACE.fullmatch(trace_id) or not trace_id.strip("0"):
        raise MalformedIdError(text, "a trace id has 32 hex digits, not all of them 0")
    return Sought(text, None, (Alias(kind, trace_id),))


def _any(text: str, kind: str, value: str) -> Sought:
    """Return every meaning of a *text* that names no known kind."""
    named = (Alias(kind, value),) if kind and value else ()
    if _TRACE.fullmatch(text.lower()):
        return Sought(
            text,
            as_request_id(text),
            (Alias(ALIAS_TRACE_ID, text.lower()), Alias("", text)),
        )
    return Sought(text, as_request_id(text), (Alias("", text), *named))


def hexadecimal(request_id: str) -> str:
    """Return a request id as the 32 hex digits the statements take."""
    return request_id.replace("-", "")


def lowest_id(unix_ms: int) -> str:
    """Return the lowest request id of a millisecond."""
    return format_uuid7(max(0, unix_ms), 0)


def highest_id(unix_ms: int) -> str:
    """Return the highest request id of a millisecond."""
    return format_uuid7(unix_ms, (1 << 74) - 1)
