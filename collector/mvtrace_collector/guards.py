"""What stands before every route: the key, the host name, and headers that browsers heed.

Pure ASGI middleware, immutable. The key is compared before a byte of the body is read. The host
name matters on loopback without a key: a web page could point a name of its own at 127.0.0.1.
"""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvtrace_collector import answers
from mvtrace_collector.errors import UnauthenticatedError

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""Asked by whoever keeps the process running, who has no key."""
LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "::1"})
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


class KeyGuard:
    """Lets a request through that carries the key, where there is one."""

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self._app = app
        self._expected = None if key is None else f"Bearer {key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401 in the form its sender reads."""
        if scope["type"] != "http" or self._is_allowed(scope):
            await self._app(scope, receive, send)
            return
        error = UnauthenticatedError()
        if scope["path"].startswith("/v1/"):
            content_type = Headers(scope=scope).get("content-type", "")
            response = answers.refused(answers.encoding_of(content_type), error)
        else:
            response = json_error(error.status, error.code, error.message, headers=error.headers)
        await response(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        if self._expected is None or scope["path"] in OPEN_PATHS:
            return True
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)


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
