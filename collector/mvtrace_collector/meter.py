"""Counts and times the questions that others ask: SQL, explanations, lists.

Pure ASGI middleware. Comes in: any request. Goes out: the same answer, counted by endpoint and
outcome. Exports count themselves, but for those that no key opened: they never get that far. A path
that is no endpoint is not counted, so that a stranger cannot make up labels.
"""

from __future__ import annotations

import time
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvtrace_collector.metrics import Metrics

ENDPOINTS: Final = {
    "/sql": "sql",
    "/sql/": "sql",
    "/api/v1/explanation": "explanation",
    "/api/v1/requests": "requests",
    "/api/v1/gaps": "gaps",
    "/api/v1/drift": "drift",
    "/api/v1/affected": "affected",
    "/api/v1/compare": "compare",
    "/api/v1/compare/flagger": "compare",
    "/api/v1/status": "status",
    "/api/v1/verification": "verification",
}
SIGNALS: Final = {"/v1/traces": "traces", "/v1/logs": "logs"}
_KEPT_OUT: Final = frozenset({401, 403})
_REFUSED_CODES: Final = frozenset({"164", "452", "497"})
"""ClickHouse's READONLY, SETTING_CONSTRAINT_VIOLATION and ACCESS_DENIED."""
_OUTCOMES: Final = {
    401: "unauthenticated",
    403: "refused",
    404: "not-found",
    409: "ambiguous",
    412: "closed",
}


class ReadMeter:
    """Counts each answer of the ENDPOINTS."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count its answer."""
        path = scope["path"] if scope["type"] == "http" else ""
        signal, endpoint = SIGNALS.get(path), ENDPOINTS.get(path)
        if signal is None and endpoint is None:
            await self._app(scope, receive, send)
            return
        outcome = "failed"

        async def noted(message: Message) -> None:
            nonlocal outcome
            if message["type"] == "http.response.start":
                outcome = _outcome(message["status"], Headers(raw=message["headers"]))
                if signal is not None and message["status"] in _KEPT_OUT:
                    self._metrics.refused(signal, message["status"], outcome)
            await send(message)

        started = time.perf_counter()
        try:
            await self._app(scope, receive, noted)
        finally:
            if endpoint is not None:
                self._metrics.read(endpoint, outcome, time.perf_counter() - started)


def _outcome(status: int, headers: Headers) -> str:
    if headers.get("x-clickhouse-exception-code") in _REFUSED_CODES:
        return "refused"
    if status < 400:  # noqa: PLR2004 (below it nothing went wrong)
        return "ok"
    return _OUTCOMES.get(status, "wrong-use" if status < 500 else "failed")  # noqa: PLR2004
