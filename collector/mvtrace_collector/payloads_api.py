"""``/api/v1/content`` and ``/api/v1/erasures``: content of one request; the erasure of a subject.

In: a request's id from who has the scope ``read``; a subject's keyed digest and a reason from who
has ``erase``. Out: content as it is stored (in the mode ``full`` encrypted, beside it the wrapped
data keys, which are worth nothing without the master key); what an erasure found. The collector
never has a master key, and a subject's name never reaches it. How much content a request has is
asked before any of it is read.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mvtrace.errors import ConfigurationError, UsageError
from mvtrace.store.reader import Reader
from mvtrace.store.store import Store
from mvtrace_collector.access import identity_in, small_body
from mvtrace_collector.access_log_entry import begun, note_of
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.erasure import Eraser
from mvtrace_collector.payload_keys import KeyStore

MAX_BODY: Final = 16 * 1024
MAX_REASON: Final = 1024
READERS: Final = 2
"""Answers with content that are made at a time: each takes a multiple of its limit."""
_SUBJECT: Final = re.compile(r"hmac-sha256:[0-9a-f]{8}:[0-9a-f]{64}")

_CURRENT: Final = """
WHERE project = {project:String} AND request_id = unhex({request_id:String})
    AND reinterpretAsUInt64(reverse(substring(request_id, 1, 6))) + retention_days * 86400000
        > toUnixTimestamp64Milli(now64(3))
"""
_SIZE: Final = f"SELECT sum(length(body)) FROM payloads {_CURRENT}"
"""Of which the engine reads the lengths alone."""
_ROWS: Final = f"""
SELECT * FROM payloads {_CURRENT}
ORDER BY kind, digest, piece, received_at LIMIT 1 BY kind, digest, piece
"""
_TEXTS: Final = f"""
SELECT kind, digest, any(pieces) AS pieces, any(subject) AS subject, any(mode) AS mode,
    any(key_id) AS key_id, base64Encode(any(nonce)) AS nonce, any(bytes) AS bytes,
    any(is_cut) AS is_cut, any(redactions) AS redactions, count() AS found,
    sum(length(body)) AS size
FROM ({_ROWS}) GROUP BY kind, digest ORDER BY kind, digest SETTINGS max_threads = 1
"""
_BODIES: Final = f"""
SELECT kind, digest, base64Encode(arrayStringConcat(groupArray(body))) AS body
FROM ({_ROWS}) WHERE has({{texts:Array(String)}}, concat(kind, '\n', digest))
GROUP BY kind, digest SETTINGS max_threads = 1
"""
_NOT_SHOWN: Final = frozenset({"pieces", "found", "size"})
_BODY_BYTES: Final = 4 * 1024 * 1024
"""Of texts that are read at a time, where one alone is not longer."""


class ContentTooLargeError(UsageError):
    """The content of a request is more than one answer holds."""

    code = "content-too-large"
    status = 413

    def __init__(self, request_id: str, size: int, most_bytes: int) -> None:
        super().__init__(
            f"The content of request {request_id} has {size:,} bytes, more than the {most_bytes:,} "
            "of one answer.",
            hint="MVTRACE_MAX_CONTENT_MIB of the collector allows more, for several times that.",
        )


class State(Protocol):
    """What the routes need of the collector."""

    @property
    def config(self) -> CollectorConfig: ...

    @property
    def store(self) -> Store: ...

    @property
    def payload_keys(self) -> KeyStore: ...

    @property
    def eraser(self) -> Eraser: ...

    def project_of(self, request: Request) -> str: ...


def stored_content(
    store: Store, keys: KeyStore, project: str, text: str, *, most_bytes: int
) -> dict[str, Any]:
    """Return the content of the request that *text* names, pieces put together.

    Raises:
        RequestNotFoundError: nothing stored carries the id.
        ContentTooLargeError: it has more than *most_bytes*; none of it was read.
    """
    evidence = Reader(store, project).read(text)
    asked = {"project": project, "request_id": evidence.request_id.replace("-", "")}
    [(size,)] = store.query(_SIZE, asked).rows
    if size > most_bytes:
        raise ContentTooLargeError(evidence.request_id, size, most_bytes)
    texts = store.query(_TEXTS, asked).dicts()
    contents = [one for part in _parts(texts) for one in _read(store, asked, part)]
    key_ids = sorted({one["key_id"] for one in contents if one["key_id"]})
    wrapped = keys.wrapped(project, key_ids)
    return {
        "request_id": evidence.request_id,
        "contents": contents,
        "keys": {key_id: base64.b64encode(raw).decode() for key_id, raw in wrapped.items()},
        "erasures": [erasure.to_dict() for erasure in evidence.erasures],
    }


def _parts(texts: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield *texts* in parts of which each is small, or one text."""
    part: list[dict[str, Any]] = []
    size = 0
    for one in texts:
        if part and size + one["size"] > _BODY_BYTES:
            yield part
            part, size = [], 0
        part.append(one)
        size += one["size"]
    if part:
        yield part


def _read(
    store: Store, asked: Mapping[str, Any], texts: Sequence[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield *texts* with their bodies; one that was erased meanwhile is not there."""
    names = [f"{one['kind']}\n{one['digest']}" for one in texts]
    rows = store.query(_BODIES, {**asked, "texts": names}).rows
    bodies = {(kind, digest): body for kind, digest, body in rows}
    for one in texts:
        facts = {name: value for name, value in one.items() if name not in _NOT_SHOWN}
        body = bodies.pop((one["kind"], one["digest"]), None)
        if body is not None:
            is_whole = one["found"] == one["pieces"]
            redactions = dict(one["redactions"])
            yield {**facts, "redactions": redactions, "is_whole": is_whole, "body": body}


def routes(state: State) -> list[Route]:
    """Return the routes, to be mounted by the collector."""
    places = asyncio.Semaphore(READERS)

    async def content(request: Request) -> Response:
        project, text = state.project_of(request), request.query_params.get("id", "")
        async with places:
            found = await run_in_threadpool(
                stored_content,
                *(state.store, state.payload_keys, project, text),
                most_bytes=state.config.limits.content_bytes,
            )
            note = note_of(request.scope)
            note.request_id, note.rows = found["request_id"], len(found["contents"])
            return Response(orjson.dumps(found), media_type="application/json")

    async def erase(request: Request) -> Response:
        subject, reason = _asked(await small_body(request, MAX_BODY))
        project, by = state.project_of(request), identity_in(request.scope).key_id
        note = note_of(request.scope)
        note.asked = subject
        await begun(request.scope)
        erased = await run_in_threadpool(state.eraser.erase, project, subject, by=by, reason=reason)
        note.rows = erased.requests
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
