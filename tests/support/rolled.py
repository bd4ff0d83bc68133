"""A rollout of two systems that takes half of its users, and an application behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from asgi import REQUEST, Conversation, body, http_scope, start
from opentelemetry import trace

import mvtrace
from mvtrace.capture.assigning import Draw
from mvtrace.capture.rollout import Rollout

STABLE = mvtrace.composite("bot", mvtrace.custom("x", version="1"))
CANARY = mvtrace.composite("bot", mvtrace.custom("x", version="2"))


def halves(**options: Any) -> Rollout:
    """Return the rollout ``r`` of half of the users; *options* say otherwise."""
    said: dict[str, Any] = {"key": "header:x-user-id", "share": 0.5, "name": "r", **options}
    return mvtrace.rollout(stable=STABLE, canary=CANARY, **said)


class Served:
    """An application behind the middleware that notes which side it was told, request by request."""

    def __init__(self, composite: Any, *, names: str | None = None, **options: Any) -> None:
        self.told: list[Any] = []
        self._names = names
        self.app: Any = mvtrace.TraceMiddleware(self.answer, composite=composite, **options)

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        if self._names is not None:
            mvtrace.subject(self._names)
        self.told.append(mvtrace.current_arm())
        with trace.get_tracer("library").start_as_current_span("inner"):
            await send(start())
            await send(body(b"x"))

    def ask(self, headers: Mapping[str, str] | None = None, **more: Any) -> Any:
        """Serve one request and return what the application was told."""
        pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        talk = Conversation(REQUEST)
        asyncio.run(self.app(http_scope(headers=pairs, **more), talk.receive, talk.send))
        return self.told[-1]

    def arms(self, users: int = 20) -> list[str]:
        """Serve one request of each user and return the sides."""
        return [self.ask({"x-user-id": f"user-{n}"}).name for n in range(users)]


def expected(rollout: str, share: float, users: int = 20) -> list[str]:
    """Return the sides of the users that ``Served.arms`` serves."""
    draw = Draw(rollout, share)
    keys = (f"user-{n}".encode() for n in range(users))
    return ["canary" if draw.is_canary(key) else "stable" for key in keys]
