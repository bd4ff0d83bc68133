"""What an application says about the request in progress, from anywhere in its code.

In: facts, ids, origins. Out: the same on the record of the current request; nothing where there is
none. No function here raises into the application, except for a wrong number of arguments.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, MutableMapping, MutableSequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context

from mvtrace.capture import plain
from mvtrace.capture.arms import Arm
from mvtrace.capture.context import SCOPE_KEY, Exchange, current_exchange, swap_exchange
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import fail_open
from mvtrace.capture.outgoing import inject as inject_into
from mvtrace.capture.outgoing import outgoing_headers
from mvtrace.capture.pipeline import DEFAULT_FLUSH_S, current_tracing
from mvtrace.capture.rollout import arm_of
from mvtrace.components.component import Component
from mvtrace.errors import MvtraceError
from mvtrace.scores import USER, Score, event_of

_log: Final = logging.getLogger("mvtrace")
_Carrier = TypeVar("_Carrier", bound=MutableMapping[str, Any] | MutableSequence[Any])


@fail_open
def current_request_id() -> str | None:
    """Return the id of the request in progress; None outside of one."""
    exchange = current_exchange()
    return None if exchange is None else exchange.request_id


@fail_open
def current_arm() -> Arm | None:
    """Return which side of a rollout serves the request in progress: run its system.

    None outside of a request, where nothing is recorded, and where there is neither a rollout nor
    an arm: run the stable system. Within one request the answer stays the same.
    """
    exchange = _request()
    return None if exchange is None else arm_of(exchange)


@fail_open
def annotate(**facts: object) -> None:
    """Put *facts* of the application's own on the record; a later value replaces an earlier."""
    exchange = _request()
    if exchange is not None:
        exchange.annotate(facts)
        exchange.amend()


@fail_open
def alias(kind: str, value: str) -> None:
    """Give the request another id by which it can be found, such as a ticket number."""
    exchange = _request()
    if exchange is not None:
        exchange.add_alias(kind, value)
        exchange.amend()


@fail_open
def conversation(conversation_id: str) -> None:
    """Say which conversation the request belongs to."""
    exchange = _request()
    if exchange is not None:
        exchange.conversation_id = plain.printable(conversation_id, plain.MAX_ID, exchange)
        exchange.amend()


@fail_open
def subject(name: str) -> None:
    """Say whom the request is about: a customer's number, a user's id; kept as a keyed digest.

    ``mvtrace erase --subject`` then finds the request. It is said before the request ends.
    """
    exchange = _request()
    if exchange is not None:
        if exchange.undecided is not None:
            exchange.undecided.settle(exchange, name)
        exchange.name_subject(name)
        exchange.amend()


@fail_open
def cache_origin(request_id: str) -> None:
    """Say that the whole answer came from a cache, filled by the request *request_id*."""
    exchange = _request()
    if exchange is not None:
        exchange.cache_origin = plain.text(request_id, plain.MAX_ID, exchange)
        exchange.amend()


def score(  # noqa: PLR0913 (what a score is made of, by name)
    request_id: str,
    name: str,
    value: float | None = None,
    *,
    label: str | None = None,
    source: str = USER,
    scorer: Component | str | None = None,
    at: int | None = None,
) -> None:
    """Say what somebody or something thought of the answer to *request_id*, now or months later.

    *scorer* is what scored: a component, or its digest. Without one the score compares between
    arms that serve side by side, and never across time. *at* is Unix time in nanoseconds; of one
    request, name and scorer the latest holds. What cannot be a score is logged and left out.
    """
    digest = scorer.digest if isinstance(scorer, Component) else scorer
    now_ns = time.time_ns()
    given = {"label": label, "source": source, "scorer": digest, "at": now_ns if at is None else at}
    _score(now_ns, {"request_id": request_id, "name": name, "value": value, **given})


@fail_open
def _score(now_ns: int, given: Mapping[str, Any]) -> None:
    try:
        event = event_of(Score(**given), now_ns=now_ns)
    except (ValueError, TypeError, MvtraceError) as error:
        _log.warning("A score was left out: %s", error)
        return
    current_tracing().emit_event(event)


@contextmanager
def resume(scope: Mapping[str, Any]) -> Iterator[None]:
    """Work on behalf of the request of the ASGI *scope*, in a thread that has no context of it."""
    before = _resumed(scope)
    try:
        yield
    finally:
        if before is not None:
            _put_back(before)


@fail_open
def _resumed(scope: Mapping[str, Any]) -> tuple[Exchange | None, Context] | None:
    exchange = scope.get(SCOPE_KEY)
    if not isinstance(exchange, RequestExchange):
        return None
    before = context_api.get_current()
    context_api.attach(trace.set_span_in_context(exchange.span))
    return swap_exchange(exchange), before


@fail_open
def _put_back(before: tuple[Exchange | None, Context]) -> None:
    swap_exchange(before[0])
    context_api.attach(before[1])


def propagation_headers(url: str) -> dict[str, str]:
    """Return the headers for a request of your own to *url*.

    The current span goes to every host; request id, version and arm go, as baggage, to the hosts of
    ``MVTRACE_PROPAGATE_TO`` only.
    """
    return _outgoing(url) or {}


@fail_open
def _outgoing(url: str) -> dict[str, str]:
    return outgoing_headers(url, current_exchange(), current_tracing().config.propagate_to)


def inject(carrier: _Carrier, receiver: str) -> _Carrier:
    """Put who is calling into *carrier*, the headers of a message to *receiver*; returns it.

    A mapping gets text, a list of pairs (Kafka's headers, gRPC's metadata) gets bytes. *receiver*
    is a URL or ``host[:port]``: of the service, of the queue's broker. Where it is none of
    ``MVTRACE_PROPAGATE_TO``, nothing of ours is said, and what our own caller said is taken out.
    """
    _inject(carrier, receiver)
    return carrier


@fail_open
def _inject(carrier: object, receiver: str) -> None:
    inject_into(carrier, receiver)


def flush(timeout: float = DEFAULT_FLUSH_S) -> bool:
    """Deliver what was captured so far; False if the collector does not have all of it yet."""
    return bool(_flush(timeout))


@fail_open
def _flush(timeout_s: float) -> bool:
    return current_tracing().flush(timeout_s)


@fail_open
def shutdown() -> None:
    """Deliver within the configured grace and stop; what remains is in the spool."""
    current_tracing().shutdown()


def _request() -> RequestExchange | None:
    exchange = current_exchange()
    return exchange if isinstance(exchange, RequestExchange) else None
