"""The ASGI middleware: one line that makes every answer of an application explainable.

In: ASGI calls. Out: the same calls, each HTTP request and websocket with an exchange of its own
that records it. The middleware itself never changes: one instance serves many requests at once. All
other scopes pass through untouched; when ``lifespan`` begins, the composite is registered, and when
it ends, what was captured is handed over: servers may end by a signal, without an exit handler.
"""

from __future__ import annotations

import logging
from typing import Final

from mvtrace.capture.asgi import ASGIApp, Message, Receive, Scope, Send
from mvtrace.capture.context import SCOPE_KEY
from mvtrace.capture.declared import (
    NOTHING,
    Chooser,
    Composite,
    Declared,
    declared_at,
    declared_by,
)
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import BREAKER, fail_open
from mvtrace.capture.http import AsgiExchange, HttpExchange
from mvtrace.capture.incoming import read_headers
from mvtrace.capture.pipeline import Tracing, current_tracing, skip_request
from mvtrace.capture.served import OPENAI, ServedExchange
from mvtrace.capture.watch import WATCH
from mvtrace.capture.websocket import WebSocketExchange

_PROTOCOLS: Final[dict[str, type[AsgiExchange]]] = {
    "http": HttpExchange,
    "websocket": WebSocketExchange,
}
_ENDS: Final = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})
_log: Final = logging.getLogger("mvtrace")
_REFUSED: Final = object()
"""In the scope of a request that is not captured: an inner middleware does not ask again."""


class TraceMiddleware:
    """Record every request: ``app.add_middleware(mvtrace.TraceMiddleware, composite=system)``.

    *composite* is the version that serves, or the ``mvtrace.rollout`` that chooses one for each
    request; *arm* is the side of a rollout where somebody else chooses. Without them the
    environment says (``MVTRACE_COMPOSITE``, ``MVTRACE_ARM``). With *protocol* ``"openai"``
    (``MVTRACE_PROTOCOL``) requests in the OpenAI-compatible protocol are read as they pass: model,
    parameters, tokens, answer's end. Wrap the application from outside to
    have the request id on the error answers of outer layers too.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        composite: Composite | Chooser | None = None,
        arm: str | None = None,
        protocol: str | None = None,
    ) -> None:
        self.app = app
        self.composite = composite
        self.arm = arm
        self.protocol = protocol
        if protocol not in {None, OPENAI}:
            _log.error("protocol=%r is none that is read; there is %r.", protocol, OPENAI)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, recorded where it is a request."""
        exchange = None
        if scope["type"] in _PROTOCOLS:
            exchange = self._begin(scope, receive, send)
        elif scope["type"] == "lifespan":
            self._prepare()
            send = _handing_over(send)
        if exchange is None:
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            exchange.note_exception(error)
            raise
        finally:
            exchange.finish()

    @fail_open
    def _prepare(self) -> None:
        """Import and register what serves while the server starts, not in the first request."""
        tracing = current_tracing()
        if not tracing.config.disabled:
            declared = declared_in_force(tracing, self.composite)
            # Either reads a file, which no request shall wait for.
            _ = tracing.observed_system
            if declared is not None and declared.composite is not None:
                _ = tracing.releases
            if declared is not None and declared.rollout is not None:
                declared.rollout.prepare(tracing)

    @fail_open
    def _begin(self, scope: Scope, receive: Receive, send: Send) -> AsgiExchange | None:
        """Return the exchange of a request that begins; None where nothing is to be recorded."""
        outer = scope.get(SCOPE_KEY)
        if outer is _REFUSED:
            return None
        if BREAKER.is_open and outer is None and BREAKER.refuses():
            scope[SCOPE_KEY] = _REFUSED
            skip_request()
            return None
        if isinstance(outer, AsgiExchange) and not outer.is_finished:
            self._refine(outer, scope)
            return None
        tracing = current_tracing()
        if tracing.config.disabled:
            return None
        tracing.attach()
        declared = declared_in_force(tracing, self.composite) or NOTHING
        kind = _PROTOCOLS[scope["type"]]
        if kind is HttpExchange and OPENAI in {self.protocol, tracing.config.protocol}:
            kind = ServedExchange
        exchange = kind(tracing, declared, scope, receive, send, arm=self.arm or tracing.config.arm)
        if declared.rollout is not None:
            declared.rollout.enter(exchange, scope, exchange.arm)
        scope[SCOPE_KEY] = exchange
        WATCH.add(exchange)
        exchange.enter(read_headers(scope.get("headers", ())))
        return exchange

    def _refine(self, outer: RequestExchange, scope: Scope) -> None:
        """Say on the one record of the request what this inner middleware knows better."""
        if self.composite is not None:
            declared = declared_by(self.composite)
            if declared.rollout is None:
                outer.declare(declared)
            elif declared.rollout is not outer.chooser or self.arm is not None:
                outer.declare(declared)
                # What an outer rollout drew is nobody's choice: the inner one draws by itself.
                if outer.assignment is not None and outer.assignment.basis == "assigned":
                    outer.assignment = outer.arm = outer.flags = None
                declared.rollout.enter(outer, scope, self.arm or outer.arm)
        if self.arm is not None:
            outer.arm = self.arm


def _handing_over(send: Send) -> Send:
    """Return *send* so that all is delivered before the server is told that it may end."""

    async def forward(message: Message) -> None:
        if message.get("type") in _ENDS:
            _hand_over()
        await send(message)

    return forward


@fail_open
def _hand_over() -> None:
    current_tracing().hand_over()


@fail_open
def declared_in_force(tracing: Tracing, composite: Composite | Chooser | None) -> Declared:
    """Return what serves: *composite*, else what the environment names; registered once."""
    if composite is None and tracing.config.composite is not None:
        declared = declared_at(tracing.config.composite)
    else:
        declared = declared_by(composite)
    if declared.composite is not None:
        tracing.register(declared.composite)
    return declared
