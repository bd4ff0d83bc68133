"""``/api/v1/drift`` and ``/api/v1/affected``: what changed unannounced, and how far it reaches.

In: GET requests. Out: episodes of drift, the latest first; or the blast radius of a component, a
drift or a request. Before it lists, the collector waits for what it has accepted, up to 5 s, and
sweeps it: an answer does not depend on when the next sweep would have been.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final, Protocol

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mvtrace.errors import MvtraceError, StatementFailedError
from mvtrace.store.affected import Affects, parse_affected_filter
from mvtrace.store.drift import Drift, parse_drift_filter
from mvtrace.store.reader import Reader
from mvtrace.store.statements import Statements
from mvtrace.store.store import Store
from mvtrace_collector.access_log_entry import note_of
from mvtrace_collector.api import error_response, json_response, wait_of
from mvtrace_collector.drift_watch import DriftWatch
from mvtrace_collector.inbox import Inbox

_LOGGER: Final = logging.getLogger(__name__)


class State(Protocol):
    """What the routes need of the collector."""

    @property
    def store(self) -> Store: ...

    @property
    def inbox(self) -> Inbox: ...

    @property
    def drift(self) -> DriftWatch: ...

    def project_of(self, request: Request) -> str: ...


class DriftApi:
    """Answers both questions; reads run in threads."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def drift(self, request: Request) -> Response:
        """Answer ``/api/v1/drift?since=…&service=…&open=1&wait=5&limit=…``."""
        try:
            project = self._state.project_of(request)
            found = await run_in_threadpool(self._listed, project, _texts(request))
            note_of(request.scope).rows = len(found["drift"])
            return json_response(found)
        except MvtraceError as error:
            return error_response(error)

    async def affected(self, request: Request) -> Response:
        """Answer ``/api/v1/affected?id=…&since=…&list=1&limit=…``."""
        try:
            project = self._state.project_of(request)
            found = await run_in_threadpool(self._measured, project, _texts(request))
            note_of(request.scope).rows = found["requests"]
            return json_response(found)
        except MvtraceError as error:
            return error_response(error)

    def _listed(self, project: str, texts: dict[str, str]) -> dict[str, Any]:
        wanted = parse_drift_filter(texts, now_ms=_now_ms())
        self._sweep(wait_of(texts.get("wait")))
        found = Drift(Statements(self._state.store, project)).find(wanted)
        return {"drift": found, "limit": wanted.limit}

    def _measured(self, project: str, texts: dict[str, str]) -> dict[str, Any]:
        wanted = parse_affected_filter(texts, now_ms=_now_ms())
        store = self._state.store
        return Affects(Statements(store, project), Reader(store, project)).find(wanted)

    def _sweep(self, wait_s: float) -> None:
        lag = self._state.inbox.lag()
        if lag.accepted_seq > lag.stored_seq and wait_s:
            self._state.inbox.wait_stored(lag.accepted_seq, wait_s)
        try:
            self._state.drift.sweep_now()
        except StatementFailedError as error:  # what is known is told; the next sweep tries again
            _LOGGER.warning("Drift cannot be swept: %s", error)


def routes(state: State) -> list[Route]:
    """Return the routes, to be mounted by the collector."""
    api = DriftApi(state)
    return [
        Route("/api/v1/drift", api.drift, methods=["GET"]),
        Route("/api/v1/affected", api.affected, methods=["GET"]),
    ]


def _texts(request: Request) -> dict[str, str]:
    return {key: value for key, value in request.query_params.items() if key != "project"}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
