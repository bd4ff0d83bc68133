"""``/api/v1/content`` and ``/api/v1/erasures``: content of one request; the erasure of a subject.

In: a request's id from who has the scope ``read``; a subject's keyed digest and a reason from who
has ``erase``. Out: content as it is stored (in the mode ``full`` encrypted, beside it the wrapped
data keys, which are worth nothing without the master key); what an erasure found. The collector
never has a master key, and a subject's name never reaches it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mvtrace.errors import ConfigurationError
from mvtrace.store.reader import Reader
from mvtrace.store.store import Store
from mvtrace_collector.access import identity_in, small_body
from mvtrace_collector.erasure import Eraser
from mvtrace_collector.payload_keys import KeyStore

MAX_BODY: Final = 16 * 1024
MAX_REASON: Final = 1024
_SUBJECT: Final = re.compile(r"hmac-sha256:[0-9a-f]{8}:[0-9a-f]{64}")

_PAYLOADS: Final = """
SELECT kind, digest, piece, pieces, subject, mode, key_id, base64Encode(nonce) AS nonce,
    base64Encode(body) AS body, bytes, is_cut, redactions
FROM payloads
WHERE project = {project:String} AND request_id = unhex({request_id:String})
    AND reinterpretAsUInt64(reverse(substring(request_id, 1, 6))) + retention_days * 86400000
        > toUnixTimestamp64Milli(now64(3))
ORDER BY kind, digest, piece, received_at
LIMIT 1 BY kind, digest, piece
"""


class State(Protocol):
    """What the routes need of the collector."""

    @property
    def store(self) -> Store: ...

    @property
    def payload_keys(self) -> KeyStore: ...

    @property
    def eraser(self) -> Eraser: ...

    def project_of(self, request: Request) -> str: ...


def stored_content(store: Store, keys: KeyStore, project: str, text: str) -> dict[str, Any]:
    """Return the content of the request that *text* names, pieces put together.

    Raises:
        RequestNotFoundError: nothing stored carries the id.
    """
    evidence = Reader(store, project).read(text)
    asked = {"project": project, "request_id": evidence.request_id.replace("-", "")}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in store.query(_PAYLOADS, asked).dicts():
        one = found.setdefault((row["kind"], row["digest"]), {**_facts(row), "parts": []})
        one["parts"].append(base64.b64decode(row["body"]))
    contents = [_whole(one) for one in found.values()]
    key_ids = sorted({one["key_id"] for one in contents if one["key_id"]})
    wrapped = keys.wrapped(project, key_ids)
    return {
        "request_id": evidence.request_id,
        "contents": contents,
        "keys": {key_id: base64.b64encode(raw).decode() for key_id, raw in wrapped.items()},
        "erasures": [erasure.to_dict() for erasure in evidence.erasures],
    }


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: value for name, value in row.items() if name not in ("piece", "body")}
    return {**facts, "redactions": dict(row["redactions"])}


def _whole(one: dict[str, Any]) -> dict[str, Any]:
    parts: list[bytes] = one.pop("parts")
    is_whole = len(parts) == one.pop("pieces")
    return {**one, "is_whole": is_whole, "body": base64.b64encode(b"".join(parts)).decode()}


def routes(state: State) -> list[Route]:
    """Return the routes, to be mounted by the collector."""

    async def content(request: Request) -> Response:
        project, text = state.project_of(request), request.query_params.get("id", "")
        found = await run_in_threadpool(
            stored_content, state.store, state.payload_keys, project, text
        )
        return JSONResponse(found)

    async def erase(request: Request) -> Response:
        subject, reason = _asked(await small_body(request, MAX_BODY))
        project, by = state.project_of(request), identity_in(request.scope).key_id
        erased = await run_in_threadpool(state.eraser.erase, project, subject, by=by, reason=reason)
        return JSONResponse({**erased._asdict(), "project": project, "erased_by": by})

    return [
        Route("/api/v1/content", content, methods=["GET"]),
        Route("/api/v1/erasures", erase, methods=["POST"]),
    ]


def _asked(body: bytes) -> tuple[str, str]:
    try:
        document = orjson.loads(body)
        subject, reason = document["subject"], document.get("reason") or ""
    except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            "body", None, "it is a JSON object with subject, and perhaps reason"
        ) from error
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise ConfigurationError(
            "subject", None, "it is a keyed digest, as 'mvtrace erase' makes it from a name"
        )
    if not isinstance(reason, str) or len(reason) > MAX_REASON:
        raise ConfigurationError("reason", None, f"it is a text of {MAX_REASON} characters at most")
    return subject, reason
