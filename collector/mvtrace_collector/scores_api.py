"""``POST /api/v1/scores``: a vote from a browser in; 202 once it is on the disk.

In: JSON with a request id, a name, a value or a label, perhaps a voter. Out: the same answer
whether the request is stored, comes later, or is another project's. What is sent here is a vote,
whatever the key: of a user, by an undeclared scorer, one a request and name. Only JSON is taken, so
a page of another origin has to ask first (CORS), and only the configured ones are let through.
"""

from __future__ import annotations

import time
from asyncio import wrap_future
from typing import Final, Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvtrace import scores
from mvtrace.errors import ConfigurationError
from mvtrace.scores import Score
from mvtrace_collector.access import identity_in, small_body
from mvtrace_collector.errors import IngestError, UnsupportedError
from mvtrace_collector.guards import json_error
from mvtrace_collector.receiver import Gate, sender_of

PATH: Final = "/api/v1/scores"
MAX_BODY: Final = 4096
_MAX_AGE_S: Final = "600"
_VOTE: Final = "score"
_LEAST: Final = -1.0
_MOST: Final = 10.0
"""A vote is a thumb or some stars; the loader holds what comes by /v1/logs to the same."""


class State(Protocol):
    """What the route needs of the collector."""

    @property
    def gate(self) -> Gate: ...

    def project_of(self, request: Request) -> str: ...


def routes(state: State) -> list[Route]:
    """Return the route, to be mounted by the collector."""

    async def vote(request: Request) -> Response:
        try:
            return await _taken(state, request)
        except IngestError as error:
            return json_error(error.status, error.code, error.message, headers=error.headers)

    return [Route(PATH, vote, methods=["POST"])]


async def _taken(state: State, request: Request) -> Response:
    rates, identity = state.gate.score_rates, identity_in(request.scope)
    rates.take_for_address(request.client.host if request.client else "")
    rates.take_for_key(identity.key_id, 1)
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedError("Content-Type", content_type, "application/json")
    project = state.project_of(request)
    score = _score(await small_body(request, MAX_BODY))
    now_ns = time.time_ns()
    body = scores.export_of([scores.event_of(score, now_ns=now_ns)])
    sender = sender_of(identity)._replace(grants=_VOTE)
    # No batch repeats another: each has its time, and the event's identity is in its bytes.
    batch_id = f"{PATH}:{now_ns}:{score.request_id}"
    await wrap_future(state.gate.inbox.submit(project, "logs", body, batch_id, sender=sender))
    return JSONResponse({"accepted": 1}, status_code=202)


def _score(body: bytes) -> Score:
    """Return the vote of a *body*, given now: a browser's clock says nothing.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        said = Score.from_line(body)
    except ValueError as error:
        raise ConfigurationError("body", None, str(error)) from error
    if said.value is not None and not _LEAST <= said.value <= _MOST:
        raise ConfigurationError("body", None, "the value of a vote is not -1 to 10")
    return Score(
        request_id=said.request_id,
        name=said.name,
        value=said.value,
        label=said.label,
        voter=said.voter,
        at=time.time_ns(),
    )


class ScoreCors:
    """Lets pages of the configured origins send scores, and no others; before any key is looked at.

    A browser asks first (a preflight), without the key.
    """

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer for it."""
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        origin = Headers(scope=scope).get("origin")
        if origin is not None and origin not in self._origins:
            refused = json_error(403, "origin", "Pages of this origin may not send scores.")
            await refused(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":
            await Response(status_code=204, headers=_preflight(origin))(scope, receive, send)
            return

        async def allowed(message: Message) -> None:
            if message["type"] == "http.response.start" and origin is not None:
                MutableHeaders(scope=message).update(_allowed(origin))
            await send(message)

        await self._app(scope, receive, allowed)


def _allowed(origin: str) -> dict[str, str]:
    return {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": "retry-after",
        "vary": "origin",
    }


def _preflight(origin: str | None) -> dict[str, str]:
    if origin is None:
        return {"allow": "POST"}
    return {
        **_allowed(origin),
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "authorization, content-type, x-mvtrace-project",
        "access-control-max-age": _MAX_AGE_S,
    }
