"""uvicorn in front of the proxy: one process, HTTP/1.1, the line that says it is up.

In: upstream and address. Out: a server that runs until SIGTERM or SIGINT, and then lets requests in
progress end for ``GRACE_S``. It adds no header of its own: an answer's are the upstream's.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from mvtrace.capture.asgi import ASGIApp, Receive, Scope, Send
from mvtrace.capture.middleware import TraceMiddleware
from mvtrace.capture.served import OPENAI
from mvtrace.errors import ConfigurationError
from mvtrace.proxy.forward import DEFAULT_TIMEOUT_S, Proxy, UpstreamBrokenError
from mvtrace.proxy.upstream import Upstream

DEFAULT_LISTEN: Final = "127.0.0.1:8080"
GRACE_S: Final = 20
KEEP_ALIVE_S: Final = 75
HEADER_BYTES: Final = 64 << 10
_log: Final = logging.getLogger("mvtrace")


class _Server(uvicorn.Server):
    greeting = ""

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
            print(self.greeting, flush=True)  # noqa: T201 (the one line that scripts wait for)


def traced(upstream: Upstream, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> ASGIApp:
    """Return the proxy of *upstream* as an application: behind the middleware, and quiet."""
    inner = TraceMiddleware(Proxy(upstream, timeout_s=timeout_s), protocol=OPENAI)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await inner(scope, receive, send)
        except UpstreamBrokenError as error:
            # It is on the record. The server closes the connection of an answer without an end.
            _log.warning("The upstream broke an answer off: %s", error)

    return app


def serve(upstream_url: str, listen: str, *, timeout_s: float) -> None:
    """Serve until a signal asks for the end.

    Raises:
        ConfigurationError: an address that is none, or that the system refuses.

    """
    upstream = Upstream.parse(upstream_url)
    with bound(listen) as listener:
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        server = _Server(settings(traced(upstream, timeout_s=timeout_s)))
        server.greeting = f"mvtrace proxy listens on http://{shown}, upstream {upstream.url}"
        server.run(sockets=[listener])


def settings(app: ASGIApp) -> uvicorn.Config:
    """Return how uvicorn serves *app*."""
    return uvicorn.Config(
        app,
        http="h11",  # of the parsers there are the strict one
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        h11_max_incomplete_event_size=HEADER_BYTES,
    )


def bound(listen: str) -> socket.socket:
    """Return a listening socket at ``HOST:PORT``, ``[V6]:PORT`` or ``:PORT`` (loopback).

    Raises:
        ConfigurationError: it is no such address, or the system refuses it.

    """
    host, colon, port = listen.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else host
    if not (colon and port.isascii() and port.isdecimal()) or (":" in host) != is_bracketed:
        raise ConfigurationError("--listen", listen, "it is HOST:PORT, for example 127.0.0.1:8080")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, since asyncio turns delays off (TCP_NODELAY) only where it reads TCP: 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host or "127.0.0.1", int(port)))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigurationError(
            "--listen",
            listen,
            f"the system refuses it: {getattr(error, 'strerror', None) or error}",
            hint="Another process may have the port; port 0 takes a free one.",
        ) from error
    return listener
