"""The JSON API: explanations and lists of requests, as the command line and others read them.

In: GET requests. Out: the explanation's JSON (``schemas/explanation.schema.json``), a list, or
``{"error": {code, message, hint, exit_code, …}}``. Every answer is a view of the reader's queries.
What is accepted but not yet stored is waited for, up to 5 s, and the answer says how long.
"""

from __future__ import annotations

import json
import time
from typing import Any, Final, Protocol

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mvtrace.errors import (
    AmbiguousIdError,
    FilterError,
    MvtraceError,
    NotFoundError,
    RequestNotFoundError,
    UnavailableError,
)
from mvtrace.explain.evidence import Evidence
from mvtrace.explain.explainer import explain
from mvtrace.ids import unix_ms_of
from mvtrace.store.filters import parse_filter, parse_gap_filter
from mvtrace.store.reader import Reader
from mvtrace.store.request_ids import sought
from mvtrace.store.store import Store
from mvtrace_collector.access_log_entry import note_of
from mvtrace_collector.gap_book import GapBook
from mvtrace_collector.inbox import Inbox

MAX_WAIT_S: Final = 5.0
FRESH_MS: Final = 30_000
"""An unknown request id younger than this may still be on its way here: it is waited for."""
SETTLING_MS: Final = 3_000
"""How long after its end a request's spans and components may come in after its record."""
MAX_READERS: Final = 64

_POLL_S: Final = 0.05


class State(Protocol):
    """What the API needs of the collector."""

    @property
    def store(self) -> Store: ...

    @property
    def inbox(self) -> Inbox: ...

    @property
    def open_gaps(self) -> GapBook: ...

    def project_of(self, request: Request) -> str: ...


class JsonApi:
    """Answers questions about stored requests; reads run in threads."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._readers: dict[tuple[int, str], Reader] = {}

    async def explanation(self, request: Request) -> Response:
        """Answer ``/api/v1/explanation?id=…&wait=5&project=…``."""
        try:
            text = request.query_params.get("id", "")
            wait_s = wait_of(request.query_params.get("wait"))
            reader = self._reader(self._state.project_of(request))
            found = await run_in_threadpool(self._explained, reader, text, wait_s)
            note_of(request.scope).request_id = found["request_id"]
            return json_response(found)
        except MvtraceError as error:
            return error_response(error)

    async def requests(self, request: Request) -> Response:
        """Answer ``/api/v1/requests?since=…&route=…&limit=…``."""
        try:
            texts = {key: value for key, value in request.query_params.items() if key != "project"}
            wanted = parse_filter(texts, now_ms=_now_ms())
            reader = self._reader(self._state.project_of(request))
            found = await run_in_threadpool(reader.find, wanted)
            note_of(request.scope).rows = len(found)
            return json_response({"requests": found, "limit": wanted.limit})
        except MvtraceError as error:
            return error_response(error)

    async def gaps(self, request: Request) -> Response:
        """Answer ``/api/v1/gaps?since=…&service=…&all=1&limit=…``."""
        try:
            texts = {key: value for key, value in request.query_params.items() if key != "project"}
            wanted = parse_gap_filter(texts, now_ms=_now_ms())
            reader = self._reader(self._state.project_of(request))
            found = await run_in_threadpool(reader.gaps.find, wanted)
            note_of(request.scope).rows = len(found)
            return json_response({"gaps": found, "limit": wanted.limit})
        except MvtraceError as error:
            return error_response(error)

    def _reader(self, project: str) -> Reader:
        """Return the reader of *project*; one is kept for each, with what it knows by heart."""
        store = self._state.store
        key = (id(store), project)
        if key not in self._readers:
            if len(self._readers) >= MAX_READERS:
                self._readers.clear()
            self._readers[key] = Reader(
                store,
                project,
                open_gaps=self._state.open_gaps,
                # Nobody else stores anything in a directory of our own.
                generation=self._stored_seq if store.kind == "embedded" else None,
            )
        return self._readers[key]

    def _stored_seq(self) -> int:
        return self._state.inbox.lag().stored_seq

    def _explained(self, reader: Reader, text: str, wait_s: float) -> dict[str, Any]:
        """Return the explanation, waiting while what was asked for may still be coming in."""
        started = time.monotonic()
        waited_s = 0.0
        while True:
            found, missing = _read(reader, text, waited_s)
            left_s = wait_s - waited_s
            is_pending = _is_settling(found) if found else self._is_coming(text)
            if not is_pending or left_s <= 0:
                break
            self._wait(left_s)
            waited_s = time.monotonic() - started
        if found is None:
            raise missing or RequestNotFoundError(text, newest=None)
        return {**explain(found).to_dict(), "waited_s": round(waited_s, 3)}

    def _is_coming(self, text: str) -> bool:
        """Whether an id that is not stored may be accepted, or on its way."""
        lag = self._state.inbox.lag()
        request_id = sought(text).request_id
        is_fresh = request_id is not None and abs(_now_ms() - unix_ms_of(request_id)) < FRESH_MS
        return is_fresh or lag.accepted_seq > lag.stored_seq

    def _wait(self, left_s: float) -> None:
        """Wait until what is accepted now is stored, or a moment where nothing is."""
        lag = self._state.inbox.lag()
        if lag.accepted_seq > lag.stored_seq:
            self._state.inbox.wait_stored(lag.accepted_seq, left_s)
        else:
            time.sleep(min(_POLL_S, left_s))


def routes(state: State) -> list[Route]:
    """Return the routes of the API, to be mounted by the collector."""
    api = JsonApi(state)
    return [
        Route("/api/v1/explanation", api.explanation, methods=["GET"]),
        Route("/api/v1/requests", api.requests, methods=["GET"]),
        Route("/api/v1/gaps", api.gaps, methods=["GET"]),
    ]


def error_response(error: MvtraceError) -> Response:
    """Return *error* as JSON: 400 for a wrong use, 404, 409 for an ambiguous id, 503."""
    data: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }
    if isinstance(error, AmbiguousIdError):
        data |= {"hits": list(error.hits), "total": error.total}
    if isinstance(error, RequestNotFoundError) and error.lost:
        data |= {"lost": list(error.lost)}
    return json_response({"error": data}, status_of(error))


def status_of(error: MvtraceError) -> int:
    """Return the HTTP status of *error*: its own, else that of its kind."""
    if isinstance(error, AmbiguousIdError):
        return 409
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, UnavailableError):
        return 503
    return int(getattr(error, "status", 400))


def _read(
    reader: Reader, text: str, waited_s: float
) -> tuple[Evidence | None, RequestNotFoundError | None]:
    try:
        return reader.read(text), None
    except RequestNotFoundError as error:
        return None, RequestNotFoundError(
            text, newest=error.newest, waited_s=waited_s, lost=error.lost
        )


def _is_settling(found: Evidence) -> bool:
    """Whether more about a request that has just ended is likely to come in."""
    record = found.own
    if record is None:
        return found.composite_version is not None and _is_just_past(unix_ms_of(found.request_id))
    if record.ended_at is None or not _is_just_past(record.ended_at // 1_000_000):
        return False
    named = {record.span_id, *(call.span_id for call in record.calls)} - {None}
    stored = {span.span_id for span in found.spans}
    is_unregistered = record.composite_version is not None and found.composite is None
    return is_unregistered or not named <= stored


def _is_just_past(unix_ms: int) -> bool:
    """Whether a moment lies at most a few seconds back; clocks may differ a little."""
    return -SETTLING_MS < _now_ms() - unix_ms < SETTLING_MS


def wait_of(text: str | None) -> float:
    """Return how long may be waited, in seconds.

    Raises:
        FilterError: *text* is no such number.

    """
    if text is None:
        return MAX_WAIT_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_WAIT_S:
        raise FilterError("wait", text, f"it is a number of seconds from 0 to {MAX_WAIT_S:.0f}")
    return seconds


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def json_response(value: Any, status: int = 200) -> Response:
    """Return *value* as an answer."""
    try:
        body = orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits, which a record may hold
        body = json.dumps(value, allow_nan=False).encode()
    return Response(body, status, media_type="application/json")
