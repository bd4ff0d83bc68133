"""``/api/v1/access``: who asked for what, as an admin reads it; his reading is logged as well.

In: a filter. Out: entries, newest first, each as it stands at its highest revision. An admin of
some projects gets the entries of these; those that belong to no single project are for an admin of
``*``. What is durable and not yet a row is waited for. There is no other verb: entries only come.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mvtrace.errors import FilterError
from mvtrace.store.filters import parse_filter
from mvtrace.store.store import Store
from mvtrace_collector.access import PROJECT_HEADER, identity_in, project_of
from mvtrace_collector.access_log import AccessLog
from mvtrace_collector.access_log_entry import asked_word, note_of, projects_word
from mvtrace_collector.access_log_sql import literal_word
from mvtrace_collector.keys import EVERY_PROJECT

WAIT_S: Final = 5.0
KEYS: Final = ("since", "until", "actor", "action", "outcome", "request", "project", "limit")
_OF_FILTER: Final = ("since", "until", "limit")
_WORD: Final = re.compile(r"[a-z0-9-]{1,64}", re.ASCII)

_LIST: Final = """
SELECT access_id_text AS id, toUnixTimestamp64Milli(time) AS time_ms, project, actor, label, action,
    asked, request_id_text AS request_id, statement, status, outcome, rows, bytes,
    duration_us / 1000 AS duration_ms, client
FROM access_log
WHERE (empty({projects:Array(String)}) OR has({projects:Array(String)}, project))
    AND time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    AND time <= fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC')
    AND ({actor:String} = '' OR actor = {actor:String})
    AND ({action:String} = '' OR action = {action:String})
    AND ({request:String} = '' OR request_id_text = {request:String} OR asked = {request:String}
        OR asked = {subject:String} OR arrayExists(x -> position(statement, x) > 0,
        {literals:Array(String)}))
ORDER BY access_id DESC, revision DESC
LIMIT 1 BY project, access_id
"""
_OUTCOME: Final = """
SELECT * FROM ({list}) WHERE {outcome:String} = '' OR outcome = {outcome:String}
LIMIT {limit:UInt32}
""".replace("{list}", _LIST)
_LATEST_MS: Final = 4_000_000_000_000
"""Later than any entry, and within what the column's type holds."""


class State(Protocol):
    """What the route needs of the collector."""

    @property
    def store(self) -> Store: ...

    @property
    def access_log(self) -> AccessLog: ...


class Wanted(NamedTuple):
    """Which entries are asked for; an empty text stands for any."""

    projects: list[str]
    """None stands for all of them."""
    since_ms: int
    until_ms: int
    actor: str
    action: str
    outcome: str
    request: str
    """A request's id, or the digest of what else was asked for."""
    subject: str
    """What was asked for in so many words: a key's id, a subject's digest."""
    literals: list[str]
    """How it stands in a statement."""
    limit: int


def routes(state: State) -> list[Route]:
    """Return the route, to be mounted by the collector."""

    async def listed(request: Request) -> Response:
        log = state.access_log
        wanted = _wanted(dict(request.query_params), _projects(request), log)
        await run_in_threadpool(log.settle, WAIT_S)
        entries = await run_in_threadpool(entries_in, state.store, wanted)
        note_of(request.scope).rows = len(entries)
        return JSONResponse({"entries": entries, "limit": wanted.limit})

    return [Route("/api/v1/access", listed, methods=["GET"])]


def entries_in(store: Store, wanted: Wanted) -> list[dict[str, Any]]:
    """Return the newest entries that *wanted* lets through."""
    return list(store.query(_OUTCOME, wanted._asdict()).dicts())


def _projects(request: Request) -> list[str]:
    """Return the projects whose entries are shown; none stands for all, for an admin of all."""
    if request.query_params.get("project") or request.headers.get(PROJECT_HEADER):
        return [project_of(request)]
    own = identity_in(request.scope).projects
    note_of(request.scope).project = projects_word(own)
    return [] if EVERY_PROJECT in own else list(own)


def _wanted(texts: Mapping[str, str], projects: list[str], log: AccessLog) -> Wanted:
    for key, value in texts.items():
        if key not in KEYS:
            raise FilterError(key, value, f"keys are {', '.join(KEYS)}")
    moments = {key: texts[key] for key in _OF_FILTER if texts.get(key)}
    span = parse_filter(moments, now_ms=time.time_ns() // 1_000_000)
    asked = texts.get("request", "").strip()
    request = asked_word(asked, log.digest)
    return Wanted(
        projects=projects,
        since_ms=min(span.since_ms, _LATEST_MS),
        until_ms=min(span.until_ms, _LATEST_MS),
        actor=_word("actor", texts),
        action=_word("action", texts),
        outcome=_word("outcome", texts),
        request=request,
        subject=asked,
        literals=_literals(asked, request, log),
        limit=span.limit,
    )


def _word(key: str, texts: Mapping[str, str]) -> str:
    text = texts.get(key, "")
    if text and not _WORD.fullmatch(text):
        raise FilterError(key, text, "it has small letters, digits and '-'")
    return text


def _literals(asked: str, request: str, log: AccessLog) -> list[str]:
    """Return how *asked* may stand in a statement: as it is, and as the digits of an id."""
    if not asked:
        return []
    bare = request.replace("-", "")
    spelled = {asked, request, bare, bare.upper()}
    return sorted({literal_word(text, log.digest) for text in spelled} - {""})
