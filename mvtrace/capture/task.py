"""``mvtrace.request``: a record for work that no ASGI server brings.

In: a ``with`` block in a queue worker, a gRPC handler or a batch job. Out: what the middleware
makes of an HTTP request: one record, one span, the calls within it. A request inside a request is
one of its own, whose parent is the outer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from opentelemetry.trace import SpanKind

from mvtrace.capture import plain
from mvtrace.capture.context import current_exchange
from mvtrace.capture.declared import NOTHING, Chooser, Composite
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import BREAKER, fail_open
from mvtrace.capture.incoming import Caller, message_pairs, read_headers
from mvtrace.capture.middleware import declared_in_force
from mvtrace.capture.pipeline import current_tracing, skip_request
from mvtrace.capture.watch import WATCH

Headers = Mapping[str, Any] | Iterable[tuple[str, Any]]
"""What a message carries beside its body."""


class TaskRequest:
    """One piece of work as a request, for ``with`` and ``async with``; see ``request``."""

    span_kind = SpanKind.CONSUMER
    """Of its span, unless it is within another request."""

    def __init__(
        self,
        route: str,
        composite: Composite | Chooser | None,
        arm: str | None,
        headers: Headers | None,
        unit: str | bytes | int | None = None,
    ) -> None:
        self._route = route
        self._composite = composite
        self._arm = arm
        self._headers = headers
        self._unit = unit
        self._exchange: RequestExchange | None = None

    @property
    def request_id(self) -> str | None:
        """The UUIDv7 of the work; None before it begins, and where tracing is off."""
        return None if self._exchange is None else self._exchange.request_id

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._exchange is not None:
            if exc is not None and self._exchange.outcome is None:
                self._exchange.note_exception(exc)
            self._exchange.finish()

    @fail_open
    def failed(self, error_type: str, *, is_fault: bool = True) -> None:
        """Say how the work ended that raised nothing; unless *is_fault*, it was an answer."""
        if self._exchange is not None:
            self._exchange.error_type = plain.text(error_type, plain.MAX_ID, self._exchange)
            self._exchange.outcome = "error" if is_fault else "ok"

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(exc_type, exc, traceback)

    @fail_open
    def _begin(self) -> None:
        if BREAKER.is_open and BREAKER.refuses():
            skip_request()
            return
        tracing = current_tracing()
        if tracing.config.disabled:
            return
        tracing.attach()
        declared = declared_in_force(tracing, self._composite) or NOTHING
        exchange = RequestExchange(tracing, declared, arm=self._arm or tracing.config.arm)
        exchange.route = plain.text(self._route, plain.MAX_ID, exchange)
        headers = message_pairs(self._headers)
        if declared.rollout is not None:
            self._choose(declared.rollout, exchange, headers)
        outer = current_exchange()
        WATCH.add(exchange)
        kind = SpanKind.INTERNAL if outer else self.span_kind
        exchange.enter(read_headers(headers), kind=kind)
        self._exchange = exchange
        if outer is not None:
            exchange.called_by(Caller(outer.request_id, outer.composite_version, outer.arm))

    def _choose(
        self, rollout: Chooser, exchange: RequestExchange, headers: list[tuple[bytes, bytes]]
    ) -> None:
        """Let *rollout* choose, for the unit that was named, else as the message's headers say."""
        if self._unit is None:
            rollout.enter(exchange, {"type": "task", "headers": headers}, exchange.arm)
        else:
            exchange.undecided = rollout
            rollout.settle(exchange, self._unit)


def request(
    route: str,
    *,
    composite: Composite | Chooser | None = None,
    arm: str | None = None,
    headers: Headers | None = None,
    unit: str | bytes | int | None = None,
) -> TaskRequest:
    """Record a piece of work as a request: ``with mvtrace.request(route="queue:jobs") as req``.

    *route* names its kind, not the single job. *headers* are those of its message, read as a
    request's: ``traceparent``, ``baggage``, ``x-request-id``; a mapping, or pairs with text or
    bytes as Kafka's clients and gRPC give them. *unit* is for whom a rollout draws, where
    *composite* is one: a customer's number, a user's id; it never leaves the process.
    """
    return TaskRequest(route, composite, arm, headers, unit)
