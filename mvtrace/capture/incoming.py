"""What a caller says about itself in headers.

In: ASGI headers, a queue's message, gRPC's metadata. Out: the parent span, who called, the caller's
own id; all untrusted, taken over only as far as the configuration says, and only in its exact form.
What we say to the services we call is in ``outgoing``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mvtrace import semconv
from mvtrace.ids import UUID7_PATTERN

Headers = Iterable[tuple[bytes, bytes]]

_TRACEPARENT: Final = b"traceparent"
_TRACESTATE: Final = b"tracestate"
_BAGGAGE: Final = b"baggage"
_CLIENT_ID: Final = semconv.CLIENT_REQUEST_ID_HEADER.encode()
_WANTED: Final = frozenset({_TRACEPARENT, _TRACESTATE, _BAGGAGE, _CLIENT_ID})
_MAX_BAGGAGE: Final = 8192
MAX_HEADERS: Final = 512
"""Headers of a message that are looked at."""
_VERSION: Final = re.compile(r"[0-9a-f]{64}")
_ARM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_propagator: Final = TraceContextTextMapPropagator()


class Caller(NamedTuple):
    """The request that called, as it says itself."""

    request_id: str
    composite_version: str | None = None
    arm: str | None = None


class Incoming(NamedTuple):
    """What a request's headers say, as text."""

    traceparent: str | None = None
    tracestate: str | None = None
    baggage: str | None = None
    client_request_id: str | None = None

    def parent_context(self, *, trust: bool | None) -> Context | None:
        """Return the context of the caller's span; None without one, or where it is not trusted."""
        if self.traceparent is None or trust is False:
            return None
        carrier = {"traceparent": self.traceparent}
        if self.tracestate is not None:
            carrier["tracestate"] = self.tracestate
        return _propagator.extract(carrier, Context())

    def caller(self, *, trust: bool | None) -> Caller | None:
        """Return who called, if the baggage is trusted and names a request."""
        if self.baggage is None or trust is not True:
            return None
        said: dict[str, str] = {}
        for member in self.baggage[:_MAX_BAGGAGE].split(","):
            key, _, value = member.partition("=")
            said.setdefault(key.strip(), unquote(value.partition(";")[0].strip()))
        request_id = said.get(semconv.REQUEST_ID, "")
        if not UUID7_PATTERN.fullmatch(request_id):
            return None
        version, arm = said.get(semconv.COMPOSITE_VERSION, ""), said.get(semconv.ARM, "")
        return Caller(
            request_id,
            version if _VERSION.fullmatch(version) else None,
            arm if _ARM.fullmatch(arm) else None,
        )


NOTHING_INCOMING: Final = Incoming()


def read_headers(headers: Headers) -> Incoming:
    """Return what *headers* of an ASGI scope say; ``baggage`` may be there several times."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _WANTED:
            is_more = name == _BAGGAGE and name in found
            found[name] = found[name] + b"," + value if is_more else value
    if not found:
        return NOTHING_INCOMING
    texts = {name: value.decode("latin-1") for name, value in found.items()}
    return Incoming(
        texts.get(_TRACEPARENT),
        texts.get(_TRACESTATE),
        texts.get(_BAGGAGE),
        texts.get(_CLIENT_ID),
    )


def read_message(headers: Mapping[str, Any] | Iterable[tuple[str, Any]] | None) -> Incoming:
    """Return what the headers of a message say: a mapping, or pairs as Kafka and gRPC have them.

    Names are compared without case; a value is text or bytes, what is neither is left out.
    """
    return read_headers(message_pairs(headers))


def message_pairs(
    headers: Mapping[str, Any] | Iterable[tuple[str, Any]] | None,
) -> list[tuple[bytes, bytes]]:
    """Return the headers of a message as an ASGI scope has them: names in lower case, as bytes."""
    if not headers:
        return []
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [
        (name.lower().encode("utf-8", "replace"), _bytes(value))
        for name, value in islice(pairs, MAX_HEADERS)
        if isinstance(name, str) and isinstance(value, (str, bytes))
    ]


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1", "replace")
