"""What the proxy answers itself: errors as JSON, in the shape that clients of the protocol read.

In: a reason. Out: an answer of status and JSON, ``{"error": {"type", "code", "message"}}``; its
``type`` is ``mvtrace_proxy``, so that nobody takes it for the upstream's word.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import orjson

from mvtrace.capture.asgi import Scope, Send

ERROR_TYPE: Final = "mvtrace_proxy"


class Refusal(NamedTuple):
    """An answer that is not the upstream's."""

    status: int
    code: str
    message: str


UPGRADE: Final = Refusal(
    501, "upgrade-unsupported", "The proxy passes HTTP requests on; websockets it does not."
)
TARGET: Final = Refusal(400, "bad-target", "The target of a request begins with a slash.")


def unreachable(url: str, reason: str) -> Refusal:
    """Return the answer where no connection to the upstream comes about."""
    return Refusal(502, "upstream-unreachable", f"The upstream {url} cannot be reached: {reason}.")


def broken(url: str, reason: str) -> Refusal:
    """Return the answer where the upstream ended the connection instead of answering."""
    return Refusal(502, "upstream-broken", f"The upstream {url} gave no answer: {reason}.")


def silent(url: str, seconds: float) -> Refusal:
    """Return the answer where the upstream said nothing in time."""
    return Refusal(504, "upstream-timeout", f"The upstream {url} said nothing for {seconds:g} s.")


def refusal_of(scope: Scope) -> Refusal | None:
    """Return why a request is not passed on; None where it is."""
    upgrades = (value.lower() for name, value in scope["headers"] if name == b"upgrade")
    if scope["method"] == "CONNECT" or any(b"websocket" in value for value in upgrades):
        return UPGRADE
    return None if scope["raw_path"].startswith(b"/") else TARGET


async def refuse(send: Send, refusal: Refusal, *, prefix: str = "http") -> None:
    """Answer with *refusal*; the events' types begin with *prefix*."""
    error = {"type": ERROR_TYPE, "code": refusal.code, "message": refusal.message}
    body = orjson.dumps({"error": error})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    start = {"type": f"{prefix}.response.start", "status": refusal.status, "headers": headers}
    await send(start)
    await send({"type": f"{prefix}.response.body", "body": body})


async def refuse_websocket(scope: Scope, send: Send) -> None:
    """Close a websocket before it opens, with words where the server can say them."""
    if "websocket.http.response" in scope.get("extensions", {}):
        await refuse(send, UPGRADE, prefix="websocket.http")
    else:
        await send({"type": "websocket.close", "code": 1003, "reason": UPGRADE.message})
