"""A process whose rollout goes by what is decided, and what its users should meet."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from asgi import REQUEST, Conversation, body, http_scope, start

import mvtrace
from mvtrace.capture import rollout_following
from mvtrace.capture.assigning import Draw
from mvtrace.capture.pipeline import Tracing
from mvtrace.capture.rollout import Rollout

OLD = mvtrace.composite("bot", mvtrace.custom("x", version="1"))
NEW = mvtrace.composite("bot", mvtrace.custom("x", version="2"))
ID = "0123456789abcdef" * 2
USERS = 20
# A busy machine may take longer than a server would wait; what is tested is what comes of it.
rollout_following.READ_S = rollout_following.FIRST_ANSWER_S = 30.0  # type: ignore[misc]


def traced(url: str, folder: Path, environment: str | None = "prod") -> Tracing:
    """Set up what this process captures with."""
    return mvtrace.configure(
        service="bot", environment=environment, project="p", url=url, spool_dir=folder / "spool",
        exit_grace_s=0.0, digest_key="0123456789abcdef",
    )  # fmt: skip


def kept_in(folder: Path) -> Path:
    """The file of the last answer, once it is written."""
    deadline = time.monotonic() + 30
    while not (found := list((folder / "spool" / "rollouts").glob("*.json"))):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found[0]


def following(**options: Any) -> Rollout:
    """Return a rollout of two systems that goes by what is decided."""
    said: dict[str, Any] = {"stable": OLD, "canary": NEW, **options}
    return mvtrace.rollout(key="header:x-user-id", refresh_s=0.05, **said)


class Process:
    """What a serving process does: its lifespan begins, then users ask."""

    def __init__(self, rollout: Rollout, *, begins: bool = True) -> None:
        self.app: Any = mvtrace.TraceMiddleware(self._answer, composite=rollout)
        self._told: Any = None
        if begins:
            asyncio.run(self._begin())

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            return
        self._told = mvtrace.current_arm()
        await send(start())
        await send(body(b"x"))

    async def _begin(self) -> None:
        talk = Conversation({"type": "lifespan.startup"})
        await self.app({"type": "lifespan"}, talk.receive, talk.send)

    def ask(self, user: int) -> Any:
        """Serve one request of the user; return the side that the application was told."""
        talk = Conversation(REQUEST)
        scope = http_scope(headers=[(b"x-user-id", f"user-{user}".encode())])
        asyncio.run(self.app(scope, talk.receive, talk.send))
        return self._told

    def sides(self) -> list[tuple[str, str | None]]:
        """Side and version of each user."""
        told = [self.ask(user) for user in range(USERS)]
        return [(one.name, one.composite_version) for one in told]

    def until(self, sides: list[tuple[str, str | None]]) -> None:
        """Ask until the users have these sides."""
        deadline = time.monotonic() + 30
        while (found := self.sides()) != sides:
            if time.monotonic() > deadline:
                raise AssertionError(found)
            time.sleep(0.02)


def split(share: float, rollout: str = ID) -> list[tuple[str, str | None]]:
    """Sides and versions of the users in a rollout with that share."""
    draw = Draw(rollout, share)
    return [
        ("canary", NEW.version) if draw.is_canary(f"user-{n}".encode()) else ("stable", OLD.version)
        for n in range(USERS)
    ]


def all_of(version: str) -> list[tuple[str, str | None]]:
    """What it is where one version serves everybody."""
    return [("stable", version)] * USERS
