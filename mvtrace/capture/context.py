"""Which request and which call the running code belongs to: two context variables.

In: the exchange a middleware or ``mvtrace.request`` has begun. Out: the same, to whoever runs in
its context (threads of ``run_in_threadpool`` included, since they copy it). Variables are put back
by value and never by token: a token that crosses a ``yield`` fails in another context.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final, Protocol

from mvtrace.otlp import FinishedSpan

SCOPE_KEY: Final = "mvtrace.exchange"
"""Where the exchange lies in the ASGI scope, for code that runs outside its context."""


class Exchange(Protocol):
    """What others may know of the request in progress."""

    errors: int
    """Internal errors while it was traced."""

    @property
    def request_id(self) -> str:
        """The UUIDv7 of the request."""

    @property
    def composite_version(self) -> str | None:
        """The version in force, as known now."""

    @property
    def arm(self) -> str | None:
        """Which side of a rollout serves the request."""

    @property
    def flags(self) -> Mapping[str, str] | None:
        """The same as other tools read it, where it was drawn: on every span."""

    def add_span(self, span: FinishedSpan) -> None:
        """Take a span that finished in the request; bounded, what is too much is counted."""

    def owns_server_span(self, span_id: bytes) -> bool:
        """Whether *span_id* is the span that stands for the whole request."""


_exchange: ContextVar[Exchange | None] = ContextVar("mvtrace_exchange", default=None)


def current_exchange() -> Exchange | None:
    """Return the request in progress; None outside of one."""
    return _exchange.get()


def swap_exchange(exchange: Exchange | None) -> Exchange | None:
    """Make *exchange* the current one and return the one before."""
    before = _exchange.get()
    _exchange.set(exchange)
    return before
