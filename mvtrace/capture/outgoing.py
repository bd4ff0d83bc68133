"""What we say to the services we call: the current span, and who calls where that may be known.

In: where a call goes, and the headers it has. Out: the headers to set. Our members of ``baggage``
(request id, composite version, arm) go to the hosts of ``MVTRACE_PROPAGATE_TO`` and to nobody else:
those of our own caller, which OpenTelemetry's propagators would pass on to everybody, are taken out
of what goes elsewhere. Baggage of the application's own is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any, Final
from urllib.parse import quote, urlsplit

from opentelemetry import baggage as otel_baggage
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mvtrace import semconv
from mvtrace.capture.context import Exchange, current_exchange
from mvtrace.capture.pipeline import current_tracing

BAGGAGE: Final = "baggage"
TRACEPARENT: Final = "traceparent"
OURS: Final = "mvtrace."
"""What our members of ``baggage`` begin with."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_BAGGAGE: Final = BAGGAGE.encode()
_TRACEPARENT: Final = TRACEPARENT.encode()
_propagator: Final = TraceContextTextMapPropagator()

Changes = Mapping[str, str | None]
"""Headers to set, by lower-case name; None: to remove."""


def changes(receivers: Iterable[str], baggage: Sequence[str], *, is_traced: bool) -> Changes | None:
    """Return what is to be changed in the headers of a message to *receivers*; None: nothing.

    *receivers* are URLs or ``host[:port]``; only where all are allowed is anything said. *baggage*
    are the values of that header; *is_traced* says whether there is a ``traceparent``.
    """
    exchange = current_exchange()
    if exchange is None and not baggage:
        return None
    own = "" if exchange is None else _said_to(receivers, exchange)
    before = ",".join(baggage)
    theirs = without_ours(before)
    changed: dict[str, str | None] = {}
    if own or theirs != before:
        changed[BAGGAGE] = ",".join(filter(None, (own, theirs))) or None
    if own and not is_traced:
        _propagator.inject(changed)
    return changed or None


def changed_pairs(
    headers: Sequence[tuple[bytes, bytes]], receiver: str
) -> list[tuple[bytes, bytes]] | None:
    """Return other *headers* for a request to *receiver*; None where nothing changes."""
    names = [name.lower() for name, _ in headers]
    named = list(zip(names, headers, strict=True))
    baggage = texts(value for name, (_, value) in named if name == _BAGGAGE)
    found = changes([receiver], baggage, is_traced=_TRACEPARENT in names)
    if not found:
        return None
    said = {name.encode(): value for name, value in found.items()}
    kept = [pair for name, pair in named if name not in said]
    return [*kept, *((name, one.encode()) for name, one in said.items() if one is not None)]


def outgoing_headers(url: str, exchange: Exchange | None, hosts: Sequence[str]) -> dict[str, str]:
    """Return the headers for a request to *url*: the current span, and our baggage if it may go."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    if exchange is not None and may_see_baggage(url, hosts):
        carrier[BAGGAGE] = _members(exchange)
    return carrier


def inject(carrier: Any, receiver: str) -> None:
    """Put the headers for *receiver* into *carrier*: a mapping, or a list of pairs."""
    if isinstance(carrier, MutableMapping):
        _into_mapping(carrier, receiver)
    elif isinstance(carrier, MutableSequence):
        _into_pairs(carrier, receiver)


def _into_mapping(carrier: MutableMapping[str, Any], receiver: str) -> None:
    names = {name.lower(): name for name in carrier if isinstance(name, str)}
    had = carrier.get(names.get(BAGGAGE, BAGGAGE))
    found = changes([receiver], texts([had]), is_traced=TRACEPARENT in names)
    for name, value in (found or {}).items():
        if value is None:
            carrier.pop(names.get(name, name), None)
        else:
            carrier[names.get(name, name)] = value


def _into_pairs(carrier: MutableSequence[Any], receiver: str) -> None:
    names = [str(pair[0]).lower() for pair in carrier]
    baggage = texts(pair[1] for name, pair in zip(names, carrier, strict=True) if name == BAGGAGE)
    found = changes([receiver], baggage, is_traced=TRACEPARENT in names)
    if found:
        kept = [pair for name, pair in zip(names, carrier, strict=True) if name not in found]
        said = [(name, value.encode()) for name, value in found.items() if value is not None]
        carrier[:] = [*kept, *said]


def texts(values: Iterable[object]) -> list[str]:
    """Return header values as text; what is neither text nor bytes is left out."""
    return [
        one.decode("latin-1") if isinstance(one, bytes) else one
        for one in values
        if isinstance(one, (str, bytes))
    ]


def without_ours(baggage: str) -> str:
    """Return *baggage* without members of ours, else unchanged."""
    if OURS not in baggage:
        return baggage
    members = baggage.split(",")
    kept = [one for one in members if not one.lstrip().startswith(OURS)]
    return baggage if len(kept) == len(members) else ",".join(kept)


def kept_in(context: Context) -> Context:
    """Return *context* without our members of OpenTelemetry's baggage, itself where there are none.

    Whoever read a caller's headers for OpenTelemetry has put them there, and its propagators would
    hand them to everybody whom the request calls.
    """
    for name in [one for one in otel_baggage.get_all(context) if one.startswith(OURS)]:
        context = otel_baggage.remove_baggage(name, context)
    return context


def may_see_baggage(url: str, hosts: Sequence[str]) -> bool:
    """Whether the host of *url* is one of *hosts* (``api``, ``api:8080``, ``*.svc``)."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        host, port = parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return False
    if "\\" in url:  # which some clients take for a slash
        return False
    named = f"[{host}]" if ":" in host else host
    spellings = (named, f"{named}:{port}") if port else (named,)
    return any(
        spelling.endswith(allowed[1:]) if allowed.startswith("*.") else spelling == allowed
        for allowed in hosts
        for spelling in spellings
    )


def _said_to(receivers: Iterable[str], exchange: Exchange) -> str:
    """Return our members, or nothing where one of *receivers* may not see them."""
    hosts = current_tracing().config.propagate_to
    asked = list(receivers) if hosts else []
    if not asked or not all(may_see_baggage(one, hosts) for one in asked):
        return ""
    return _members(exchange)


def _members(exchange: Exchange) -> str:
    said = {
        semconv.REQUEST_ID: exchange.request_id,
        semconv.COMPOSITE_VERSION: exchange.composite_version,
        semconv.ARM: exchange.arm,
    }
    return ",".join(
        f"{key}={quote(value, safe='')}" for key, value in said.items() if value is not None
    )
