"""What a caller says about itself in headers, and what we say to the services we call.

In: ASGI headers, or a dict of a queue's message. Out: the parent span, the parent request, the
caller's own id; all untrusted, taken over only as far as the configuration says. Baggage of ours
goes to the hosts of ``MVTRACE_PROPAGATE_TO`` and to nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mvtrace import semconv
from mvtrace.capture.context import Exchange
from mvtrace.ids import UUID7_PATTERN

Headers = Iterable[tuple[bytes, bytes]]

_TRACEPARENT: Final = b"traceparent"
_TRACESTATE: Final = b"tracestate"
_BAGGAGE: Final = b"baggage"
_CLIENT_ID: Final = semconv.CLIENT_REQUEST_ID_HEADER.encode()
_WANTED: Final = frozenset({_TRACEPARENT, _TRACESTATE, _BAGGAGE, _CLIENT_ID})
_MAX_BAGGAGE: Final = 8192
_propagator: Final = TraceContextTextMapPropagator()


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

    def parent_request_id(self, *, trust: bool | None) -> str | None:
        """Return the caller's request id, if its baggage is trusted and holds one."""
        if self.baggage is None or trust is not True:
            return None
        for member in self.baggage[:_MAX_BAGGAGE].split(","):
            key, _, value = member.partition("=")
            if key.strip() == semconv.REQUEST_ID:
                found = unquote(value.partition(";")[0].strip())
                return found if UUID7_PATTERN.fullmatch(found) else None
        return None


NOTHING_INCOMING: Final = Incoming()


def read_headers(headers: Headers) -> Incoming:
    """Return what *headers* of an ASGI scope say."""
    found = {name: value for name, value in headers if name in _WANTED}
    if not found:
        return NOTHING_INCOMING
    texts = {name: value.decode("latin-1") for name, value in found.items()}
    return Incoming(
        texts.get(_TRACEPARENT),
        texts.get(_TRACESTATE),
        texts.get(_BAGGAGE),
        texts.get(_CLIENT_ID),
    )


def read_mapping(headers: Mapping[str, str] | None) -> Incoming:
    """Return what the headers of a message say; names are compared without case."""
    if not headers:
        return NOTHING_INCOMING
    texts = {name.lower(): value for name, value in headers.items()}
    return Incoming(
        texts.get("traceparent"),
        texts.get("tracestate"),
        texts.get("baggage"),
        texts.get(semconv.CLIENT_REQUEST_ID_HEADER),
    )


def outgoing_headers(url: str, exchange: Exchange | None, hosts: Sequence[str]) -> dict[str, str]:
    """Return the headers for a request to *url*: the current span, and our baggage if it may go."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    if exchange is not None and may_see_baggage(url, hosts):
        said = {
            semconv.REQUEST_ID: exchange.request_id,
            semconv.COMPOSITE_VERSION: exchange.composite_version,
            semconv.ARM: exchange.arm,
        }
        carrier["baggage"] = ",".join(
            f"{key}={quote(value, safe='')}" for key, value in said.items() if value is not None
        )
    return carrier


def may_see_baggage(url: str, hosts: Sequence[str]) -> bool:
    """Whether the host of *url* is one of *hosts* (``api``, ``api:8080``, ``*.svc``)."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    named = f"[{host}]" if ":" in host else host
    spellings = (named, f"{named}:{parts.port}") if parts.port else (named,)
    return any(
        spelling.endswith(allowed[1:]) if allowed.startswith("*.") else spelling == allowed
        for allowed in hosts
        for spelling in spellings
    )
