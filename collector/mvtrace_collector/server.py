"""uvicorn for the collector: one process, HTTP/1.1, deadlines, the line that says it is up.

Comes in: an ASGI application and a configuration. Goes out: a bound socket, and a server that runs
on it. What uvicorn lacks is added: a time limit on the headers of a request.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from mvtrace.errors import ConfigurationError
from mvtrace_collector.config import CollectorConfig

KEEP_ALIVE_SECONDS = 75
HEADER_BYTES = 64 * 1024


class DeadlineProtocol(H11Protocol):
    """Closes a connection whose request headers do not arrive in time."""

    header_seconds = 10.0

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: an open connection must say something."""
        super().connection_made(transport)
        self._watch(is_waiting=True)

    def data_received(self, data: bytes) -> None:
        """Read on; the clock runs while the headers are incomplete."""
        super().data_received(data)
        is_incomplete = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        self._watch(is_waiting=is_incomplete)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._watch(is_waiting=False)
        super().connection_lost(exc)

    def _watch(self, *, is_waiting: bool) -> None:
        if is_waiting and self._deadline is None:
            self._deadline = self.loop.call_later(self.header_seconds, self.transport.close)
        elif not is_waiting and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, and return: a wanted end is no error."""
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self._greeting, flush=True)  # noqa: T201 - the one line that scripts wait for


def bind(config: CollectorConfig) -> socket.socket:
    """Return a listening socket; its port is real where the configuration asks for any."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # Named, since asyncio turns delays off (TCP_NODELAY) only where it reads TCP: 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((config.host, config.port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            "--listen",
            f"{config.host}:{config.port}",
            f"the system refuses it: {error.strerror or error}",
            hint="Another process may have the port; port 0 takes a free one.",
        ) from error
    return listener


def build_server(app: ASGIApp, config: CollectorConfig) -> uvicorn.Server:
    """Return a server of *app*; its ``run(sockets=[…])`` returns after SIGTERM or SIGINT."""
    protocol = type(
        "Protocol", (DeadlineProtocol,), {"header_seconds": config.limits.header_seconds}
    )
    settings = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        workers=1,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=config.limits.connections,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(config.shutdown_seconds),
        h11_max_incomplete_event_size=HEADER_BYTES,
        ssl_certfile=config.tls_certificate,
        ssl_keyfile=config.tls_key,
    )
    greeting = f"mvtrace collector listens on {config.url}, store {config.shown_store}"
    return _Server(settings, greeting)
