"""Requests passed on to another server, and its answers back, piece by piece as they come.

In: ASGI calls. Out: the upstream's status, headers and bytes, unchanged and not decoded. At most
one piece of a body is held, each way: a slow reader slows the writer. Once the client is gone the
upstream's connection is closed, wherever the request was. An answer that breaks off is not ended
but raised: the server then breaks the client's connection off too.

Left out: trailers, informational answers but ``100 Continue``, and the phrase beside the status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import anyio
import httpx2

from mvtrace.capture.api import annotate
from mvtrace.capture.asgi import Receive, Scope, Send
from mvtrace.capture.guard import fail_open
from mvtrace.capture.openai_protocol import ENDPOINTS
from mvtrace.capture.outgoing import changed_pairs
from mvtrace.proxy import refusals
from mvtrace.proxy.upstream import Headers, Upstream, end_to_end

DEFAULT_TIMEOUT_S: Final = 600.0
"""How long an upstream may say nothing: what clients of the protocol wait by default."""
CONNECT_TIMEOUT_S: Final = 10.0
IDLE_S: Final = 4.0
"""How long an unused connection is kept: shorter than servers do, which is five seconds and more,
so that none is used just when the other side closes it."""
MAX_IDLE: Final = 256

_told: Final = fail_open(changed_pairs)


class ClientGoneError(Exception):
    """The client closed its connection while it sent the body."""


class UpstreamBrokenError(Exception):
    """The upstream ended in the middle of an answer."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The route of a request whose path is one of the protocol's."""

    path: str


_ROUTES: Final = {path: Endpoint(path) for end in ENDPOINTS for path in (end, f"/v1{end}")}


class Upload(httpx2.AsyncByteStream):
    """The body of a request, as the client sends it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.done = anyio.Event()
        """Set once nobody reads the body any more."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the pieces.

        Raises:
            ClientGoneError: the client ended before the body did.

        """
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body", False):
                self.done.set()
                return

    async def leave_when_gone(self, scope: anyio.CancelScope) -> None:
        """Cancel *scope* as soon as the client is gone."""
        await self.done.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass  # an upstream that answers early leaves the rest of the body to nobody
        scope.cancel()


class Proxy:
    """The ASGI application."""

    def __init__(self, upstream: Upstream, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._upstream = upstream
        self._timeout_s = timeout_s
        self._url = httpx2.URL(f"{upstream.scheme}://{upstream.authority}/")
        self._timeouts = {"connect": CONNECT_TIMEOUT_S, "read": timeout_s, "write": timeout_s}
        self._transport = httpx2.AsyncHTTPTransport(
            limits=httpx2.Limits(
                max_connections=None, max_keepalive_connections=MAX_IDLE, keepalive_expiry=IDLE_S
            )
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await refusals.refuse_websocket(scope, send)
        elif (refusal := refusals.refusal_of(scope)) is not None:
            await refusals.refuse(send, refusal)
        else:
            await self._pass_on(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await self._transport.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in _ROUTES:
            scope["route"] = _ROUTES[scope["path"]]
        annotate(upstream=self._upstream.url)
        upload = Upload(receive)
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(upload.leave_when_gone, tasks.cancel_scope)
            failure = await self._exchange(scope, upload, send)
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _exchange(self, scope: Scope, upload: Upload, send: Send) -> Exception | None:
        """Return what went wrong once the answer had begun."""
        request = httpx2.Request(
            scope["method"],
            self._url,
            headers=self._headers(scope),
            stream=upload,
            extensions={"timeout": self._timeouts, "target": self._upstream.target(scope)},
        )
        try:
            answer = await self._transport.handle_async_request(request)
        except ClientGoneError:
            return None
        except httpx2.TransportError as error:
            upload.done.set()
            await refusals.refuse(send, self._refusal_for(error))
            return None
        upload.done.set()
        return await _relay(answer, send)

    def _headers(self, scope: Scope) -> Headers:
        """Return the headers of a request; who calls is told to an upstream that may know."""
        headers = self._upstream.headers(scope)
        return _told(headers, self._upstream.url) or headers

    def _refusal_for(self, error: httpx2.TransportError) -> refusals.Refusal:
        url, reason = self._upstream.url, str(error) or type(error).__name__
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            return refusals.unreachable(url, reason)
        if isinstance(error, httpx2.TimeoutException):
            return refusals.silent(url, self._timeout_s)
        return refusals.broken(url, reason)


async def _relay(answer: httpx2.Response, send: Send) -> Exception | None:
    """Pass *answer* on; return what broke it off."""
    headers = end_to_end(answer.headers.raw)
    try:
        await send(
            {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        )
        async for piece in _pieces(answer):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    except httpx2.TransportError as error:
        return UpstreamBrokenError(str(error) or type(error).__name__)
    except OSError:
        return None  # the client is gone
    finally:
        with anyio.CancelScope(shield=True):
            await answer.aclose()
    return None


def _pieces(answer: httpx2.Response) -> httpx2.AsyncByteStream:
    """Return the body as it comes from the connection, its encoding left alone."""
    if not isinstance(answer.stream, httpx2.AsyncByteStream):
        raise TypeError(type(answer.stream).__name__)
    return answer.stream
