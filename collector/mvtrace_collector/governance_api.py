"""``/api/v1/deploy``, ``/api/v1/retention``, ``/api/v1/deployments``: decisions, and what served.

In: JSON from who has the scope ``govern``; questions from who has ``read``. Out: 201 with the
decision once it is stored; 404 for a version nobody registered, 409 for a lost race, for a version
whose artifacts are gone, and for an artifact that a rule keeps. The actor is the key's identity;
what its holder calls himself is a label.
"""

from __future__ import annotations

import time
from typing import Any, Final, Protocol

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mvtrace.errors import CheckFailedError, ConfigurationError
from mvtrace.store.deployments import Deployments, parse_deployment_filter
from mvtrace.store.statements import Statements
from mvtrace.store.store import Store
from mvtrace_collector import retainer
from mvtrace_collector.access import identity_in, small_body
from mvtrace_collector.access_log_entry import begun, filter_words, note_of
from mvtrace_collector.governor import Governor, wanted_of
from mvtrace_collector.guards import json_error
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.receiver import sender_of

MAX_BODY: Final = 64 * 1024
MAX_LISTING: Final = 8 * 1024 * 1024
"""Of the list of an artifact's files, with what is said beside it."""
MAX_ARTIFACTS: Final = 200
"""Told of a deployed version, those that no longer exist first."""
_LOGGED: Final = ("action", "service", "environment", "version")
"""What the access log keeps of a decision; its reason stands with the deployment."""


class State(Protocol):
    """What the routes need of the collector."""

    @property
    def store(self) -> Store: ...

    @property
    def inbox(self) -> Inbox: ...

    def project_of(self, request: Request) -> str: ...


def routes(state: State) -> list[Route]:
    """Return the routes, to be mounted by the collector."""
    governor = Governor(state)
    retaining = retainer.Retainer(state, governor)

    async def deploy(request: Request) -> Response:
        wanted = wanted_of(_document(await small_body(request, MAX_BODY)))
        project, sender = state.project_of(request), sender_of(identity_in(request.scope))
        await _noted(request, {name: getattr(wanted, name) for name in _LOGGED})
        try:
            one = await run_in_threadpool(governor.decide, project, wanted, sender)
        except CheckFailedError as error:
            return json_error(409, error.code, error.message, hint=error.hint)
        parts = sorted(one.artifacts, key=lambda part: not part.is_gone)
        told = {
            **one.deployment.to_dict(),
            "project": project,
            "artifacts": [part.to_dict() for part in parts[:MAX_ARTIFACTS]],
            "artifacts_left_out": len(parts[MAX_ARTIFACTS:]),
        }
        return JSONResponse(told, status_code=201)

    async def retention(request: Request) -> Response:
        wanted = retainer.wanted_of(_document(await small_body(request, MAX_LISTING)))
        project, sender = state.project_of(request), sender_of(identity_in(request.scope))
        await _noted(request, {"action": wanted.step.action, "artifact": wanted.step.artifact})
        try:
            taken = await run_in_threadpool(retaining.take, project, wanted, sender)
        except CheckFailedError as error:
            return json_error(409, error.code, error.message, hint=error.hint)
        return JSONResponse({**taken.to_dict(), "project": project}, status_code=201)

    async def deployments(request: Request) -> Response:
        texts = {key: value for key, value in request.query_params.items() if key != "project"}
        wanted = parse_deployment_filter(texts, now_ms=time.time_ns() // 1_000_000)
        found = Deployments(Statements(state.store, state.project_of(request)))
        return JSONResponse(await run_in_threadpool(found.find, wanted))

    return [
        Route("/api/v1/deploy", deploy, methods=["POST"]),
        Route("/api/v1/retention", retention, methods=["POST"]),
        Route("/api/v1/deployments", deployments, methods=["GET"]),
    ]


async def _noted(request: Request, asked: dict[str, Any]) -> None:
    """Note in the access log what is *asked* for, before it is done."""
    note = note_of(request.scope)
    said = {name: str(value) for name, value in asked.items() if value}
    note.asked = filter_words(said, note.digest)
    await begun(request.scope)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ConfigurationError("body", None, f"it is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError("body", None, "it is a JSON object")
    return document
