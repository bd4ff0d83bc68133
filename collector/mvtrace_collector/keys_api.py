"""``/api/v1/keys``: keys listed, made, rotated and revoked by who has the scope ``admin``.

In: JSON. Out: keys without their secrets; a new key's text once, in the answer that made it. A
collector without keys is open to its host; its first key closes it, so that one must be an admin's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mvtrace.errors import ConfigurationError
from mvtrace_collector.access import identity_in, small_body
from mvtrace_collector.access_log_entry import asked_key, begun, note_of, projects_word
from mvtrace_collector.errors import ForbiddenProjectError
from mvtrace_collector.keyring import Keyring, NewKey
from mvtrace_collector.keys import ApiKey, Grant, Identity, granted

MAX_BODY: Final = 16 * 1024
MAX_OVERLAP_S: Final = 90 * 86_400.0


class State(Protocol):
    """What the routes need of the collector."""

    @property
    def keyring(self) -> Keyring: ...


def shown(key: ApiKey) -> dict[str, Any]:
    """Return *key* as JSON: all but its secret's digest."""
    grant = key.grant
    return {
        "id": key.id,
        "label": grant.label,
        "scopes": sorted(grant.scopes),
        "projects": list(grant.projects),
        "created_ms": key.created_ms,
        "created_by": key.created_by,
        "expires_ms": grant.expires_ms,
        "revoked_ms": key.revoked_ms,
        "replaces": key.replaces,
    }


def created(ring: Keyring, grant: Grant, *, by: str) -> NewKey:
    """Make a key in *ring*.

    Raises:
        ConfigurationError: it would be the first one and not an admin's.
    """
    if ring.is_empty and "admin" not in grant.scopes:
        raise ConfigurationError(
            "--scope",
            ", ".join(sorted(grant.scopes)),
            "the first key closes the collector to whoever has none, so it must have admin",
            hint="Make an admin's key first: mvtrace keys create --scope admin --project '*'",
        )
    return ring.create(grant, by=by)


def routes(state: State) -> list[Route]:
    """Return the routes, to be mounted by the collector."""

    async def listed(request: Request) -> Response:
        by = identity_in(request.scope)
        mine = [key for key in state.keyring.keys if by.manages(key.grant.projects)]
        note_of(request.scope).rows = len(mine)
        return JSONResponse({"keys": [shown(key) for key in mine]})

    async def create(request: Request) -> Response:
        wanted = await _document(request)
        grant = granted(
            scopes=_texts(wanted, "scopes"),
            projects=_texts(wanted, "projects"),
            label=_text(wanted, "label"),
            expires_ms=_whole(wanted, "expires_ms"),
        )
        by = identity_in(request.scope)
        if not by.manages(grant.projects):
            strange = next(name for name in grant.projects if name not in by.projects)
            raise ForbiddenProjectError(strange)
        note = note_of(request.scope)
        note.project = projects_word(grant.projects)
        await begun(request.scope)
        new = await run_in_threadpool(created, state.keyring, grant, by=by.key_id)
        note.asked = new.key.id
        return JSONResponse({**shown(new.key), "key": new.text}, status_code=201)

    async def rotate(request: Request) -> Response:
        overlap_s = _seconds(await _document(request), "overlap_s")
        by, key_id = identity_in(request.scope), request.path_params["key_id"]
        await _begin(request, state.keyring, key_id, by)
        new = await run_in_threadpool(
            state.keyring.rotate, key_id, overlap_s=overlap_s, by=by.key_id
        )
        note_of(request.scope).asked = f"{key_id} {new.key.id}"
        return JSONResponse({**shown(new.key), "key": new.text}, status_code=201)

    async def revoke(request: Request) -> Response:
        by, key_id = identity_in(request.scope), request.path_params["key_id"]
        await _begin(request, state.keyring, key_id, by)
        return JSONResponse(shown(await run_in_threadpool(state.keyring.revoke, key_id)))

    return [
        Route("/api/v1/keys", listed, methods=["GET"]),
        Route("/api/v1/keys", create, methods=["POST"]),
        Route("/api/v1/keys/{key_id}/rotate", rotate, methods=["POST"]),
        Route("/api/v1/keys/{key_id}/revoke", revoke, methods=["POST"]),
    ]


async def _begin(request: Request, ring: Keyring, key_id: str, by: Identity) -> None:
    """Find the key that is to be changed, and log that this begins.

    Raises:
        KeyNotFoundError: there is none of that id, or it is not *by*'s to manage.
    """
    note = note_of(request.scope)
    note.asked = asked_key(key_id, note.digest)
    key = await run_in_threadpool(ring.known, key_id, by)
    note.project = projects_word(key.grant.projects)
    await begun(request.scope)


async def _document(request: Request) -> Mapping[str, Any]:
    body = await small_body(request, MAX_BODY)
    try:
        document = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        raise ConfigurationError("body", None, f"it is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError("body", None, "it is a JSON object")
    return document


def _texts(document: Mapping[str, Any], name: str) -> list[str]:
    value = document.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(name, None, "it is a list of texts")
    return value


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        raise ConfigurationError(name, None, "it is a text")
    return value


def _whole(document: Mapping[str, Any], name: str) -> int | None:
    value = document.get(name)
    if value is not None and (type(value) is not int or not 0 <= value < 1 << 48):
        raise ConfigurationError(name, None, "it is Unix time in milliseconds")
    return value


def _seconds(document: Mapping[str, Any], name: str) -> float:
    value = document.get(name, 0)
    if type(value) not in (int, float) or not 0 <= value <= MAX_OVERLAP_S:
        raise ConfigurationError(name, None, f"it is seconds from 0 to {MAX_OVERLAP_S:g}")
    return float(value)
