"""The ASGI middleware: one line that makes every answer of an application explainable.

In: ASGI calls. Out: the same calls, each HTTP request and websocket with an exchange of its own
that records it. The middleware itself never changes: one instance serves many requests at once. All
other scopes pass through untouched; when ``lifespan`` begins, the composite is registered.
"""

from __future__ import annotations

from typing import Final

from mvtrace.capture.asgi import ASGIApp, Receive, Scope, Send
from mvtrace.capture.context import SCOPE_KEY
from mvtrace.capture.declared import Composite, Declared, declared_at, declared_by
from mvtrace.capture.exchange import RequestExchange
from mvtrace.capture.guard import BREAKER, fail_open
from mvtrace.capture.http import AsgiExchange, HttpExchange
from mvtrace.capture.incoming import read_headers
from mvtrace.capture.pipeline import Tracing, current_tracing
from mvtrace.capture.watch import WATCH
from mvtrace.capture.websocket import WebSocketExchange

_PROTOCOLS: Final[dict[str, type[AsgiExchange]]] = {
    "http": HttpExchange,
    "websocket": WebSocketExchange,
}


class TraceMiddleware:
    """Record every request: ``app.add_middleware(mvtrace.TraceMiddleware, composite=system)``.

    *composite* is the version that serves, *arm* the side of a rollout; without them the
    environment says (``MVTRACE_COMPOSITE``, ``MVTRACE_ARM``). Wrap the application from outside to
    have the request id on the error answers of outer layers too.
    """

    def __init__(
        self, app: ASGIApp, *, composite: Composite | None = None, arm: str | None = None
    ) -> None:
        self.app = app
        self.composite = composite
        self.arm = arm

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, recorded where it is a request."""
        exchange = None
        if scope["type"] in _PROTOCOLS and not BREAKER.is_open:
            exchange = self._begin(scope, receive, send)
        elif scope["type"] == "lifespan":
            self._prepare()
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
            declared_in_force(tracing, self.composite)

    @fail_open
    def _begin(self, scope: Scope, receive: Receive, send: Send) -> AsgiExchange | None:
        """Return the exchange of a request that begins; None where nothing is to be recorded."""
        outer = scope.get(SCOPE_KEY)
        if isinstance(outer, AsgiExchange) and not outer.is_finished:
            self._refine(outer)
            return None
        tracing = current_tracing()
        if tracing.config.disabled:
            return None
        tracing.attach()
        declared = declared_in_force(tracing, self.composite)
        exchange = _PROTOCOLS[scope["type"]](
            tracing, declared, scope, receive, send, arm=self.arm or tracing.config.arm
        )
        scope[SCOPE_KEY] = exchange
        WATCH.add(exchange)
        exchange.enter(read_headers(scope.get("headers", ())))
        return exchange

    def _refine(self, outer: RequestExchange) -> None:
        """Say on the one record of the request what this inner middleware knows better."""
        if self.composite is not None:
            outer.declare(declared_by(self.composite))
        if self.arm is not None:
            outer.arm = self.arm


def declared_in_force(tracing: Tracing, composite: Composite | None) -> Declared:
    """Return what serves: *composite*, else what the environment names; registered once."""
    if composite is None and tracing.config.composite is not None:
        declared = declared_at(tracing.config.composite)
    else:
        declared = declared_by(composite)
    if declared.composite is not None:
        tracing.register(declared.composite)
    return declared
