"""What stands before every route: the key, the host name, and headers that browsers heed.

Pure ASGI middleware, immutable. The key is proven before a byte of the body is read. The host
name matters on loopback without a key: a web page could point a name of its own at 127.0.0.1.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvtrace_collector import access, answers
from mvtrace_collector.access_log_entry import identified
from mvtrace_collector.errors import IngestError, UnauthenticatedError
from mvtrace_collector.keys import Identity

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
MAX_HEADERS: Final = 200
MAX_HEADER_BYTES: Final = 56 * 1024
MAX_URL_BYTES: Final = 64 * 1024
SAFE_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


class SafeHeaders:
    """Adds headers to each answer that does not have them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and complete its answer."""

        async def complete(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, complete if scope["type"] == "http" else send)


class SizeGuard:
    """Lets a request through whose head is of a size that some client could mean.

    The server bounds a head only while it is incomplete, and so not one that comes in one piece.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 414 or 431."""
        if scope["type"] == "http" and (refusal := _too_large(scope)) is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _too_large(scope: Scope) -> Response | None:
    headers = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
        limits = f"{MAX_HEADERS} headers of {MAX_HEADER_BYTES:,} bytes together"
        return json_error(431, "headers", f"A request has at most {limits}.")
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL_BYTES:
        return json_error(414, "url", f"A URL has at most {MAX_URL_BYTES:,} bytes.")
    return None


class KeyGuard:
    """Lets a request through whose key opens its path, and notes who sent it."""

    def __init__(self, app: ASGIApp, identify: Callable[[str | None], Identity | None]) -> None:
        self._app = app
        self._identify = identify
        """Tells who shows a bearer token, None for nobody; None stands for no token at all."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401 or 403 in the form its sender reads."""
        if scope["type"] != "http" or scope["path"] in access.OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        token = _token(scope, is_basic=scope["path"] in access.BASIC_PATHS)
        identity = self._identify(token)
        identified(scope, identity, token)
        if identity is not None and access.is_open_to(scope["path"], identity):
            await self._app({**scope, access.IDENTITY: identity}, receive, send)
            return
        path = scope["path"]
        error = UnauthenticatedError() if identity is None else access.forbidden(path, identity)
        await _refused(scope, error)(scope, receive, send)


def _token(scope: Scope, *, is_basic: bool) -> str | None:
    """Return the bearer token; empty where there are two, or something else.

    Where *is_basic* the password of HTTP Basic is one too, whatever the user is called.
    """
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if not given:
        return None
    kind, _, token = given[0].partition(b" ")
    if len(given) == 1 and kind == b"Basic" and is_basic:
        return _password(token)
    return token.decode("latin-1") if len(given) == 1 and kind == b"Bearer" else ""


def _password(token: bytes) -> str:
    """Return the password of a Basic token; empty where it is none."""
    try:
        return base64.b64decode(token, validate=True).decode("latin-1").partition(":")[2]
    except binascii.Error:
        return ""


def _refused(scope: Scope, error: IngestError) -> Response:
    if scope["path"].startswith("/v1/"):
        content_type = Headers(scope=scope).get("content-type", "")
        return answers.refused(answers.encoding_of(content_type), error)
    return json_error(error.status, error.code, error.message, headers=error.headers)


class HostGuard:
    """Lets a request through whose Host is a name of the loopback interface."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] = LOOPBACK_HOSTS) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 421."""
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "")
            if _name_of(host) not in self._hosts:
                message = f"Host is {host[:80]!r}; this collector answers on loopback only."
                await json_error(421, "host", message)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _name_of(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def json_error(
    status: int,
    code: str,
    message: str,
    *,
    hint: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Answer with an error in the form of the JSON API."""
    body = {"error": {"code": code, "message": message, "hint": hint}}
    return JSONResponse(body, status_code=status, headers=headers)
