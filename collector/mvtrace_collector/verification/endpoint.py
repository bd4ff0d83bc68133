"""POST /api/v1/verification: a verification of the collector's own store, one JSON object a line.

Comes in: ``{"since": "7d", "repair": false}``, as JSON so that no web page can send it unasked.
Goes out: progress lines, then the result, or ``{"error": …}``. One at a time: it reads everything.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mvtrace.errors import FilterError, MvtraceError
from mvtrace.store.filters import parse_filter
from mvtrace_collector.access import small_body
from mvtrace_collector.guards import json_error
from mvtrace_collector.logs import described
from mvtrace_collector.state import CollectorState
from mvtrace_collector.verification.run import Verification

_LOGGER: Final = logging.getLogger(__name__)
MAX_BODY: Final = 4096
SETTLING_MS: Final = 60_000
"""What was received within the last minute may be half-way into the tables."""


def routes(state: CollectorState) -> list[Route]:
    """Return the one route."""
    busy = threading.Lock()

    async def verification(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return json_error(415, "unsupported", "Content-Type is to be application/json.")
        asked, settled_ms = _asked(await small_body(request, MAX_BODY)), _settled_ms(state)
        if not busy.acquire(blocking=False):
            return json_error(409, "verification-running", "A verification is running already.")
        made = Verification(
            state.store,
            since_ms=asked["since_ms"],
            repair=asked["repair"],
            inbox=state.config.inbox_dir,
            settled_ms=settled_ms,
        )
        lines = _Lines(made.run(), busy)
        return StreamingResponse(lines, media_type="application/x-ndjson")

    return [Route("/api/v1/verification", verification, methods=["POST"])]


class _Lines(Iterator[bytes]):
    """The lines of one verification; its end, whoever brings it, frees *busy*."""

    def __init__(self, documents: Iterator[dict[str, Any]], busy: threading.Lock) -> None:
        self._lines = _encoded(documents)
        self._busy: threading.Lock | None = busy

    def __next__(self) -> bytes:
        try:
            return next(self._lines)
        except BaseException:
            self._free()
            raise

    def __del__(self) -> None:
        self._free()

    def _free(self) -> None:
        busy, self._busy = self._busy, None
        if busy is not None:
            busy.release()


def _encoded(documents: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    try:
        for document in documents:
            yield json.dumps(document).encode() + b"\n"
    except MvtraceError as error:
        told = {"code": error.code, "message": error.message, "hint": error.hint}
        yield json.dumps({"error": {**told, "exit_code": error.exit_code}}).encode() + b"\n"
    except Exception as error:
        # The status is sent already: the last line has to say it.
        _LOGGER.exception("A verification met an error of its own")
        told = {"code": "internal", "message": described(error), "hint": None}
        yield json.dumps({"error": {**told, "exit_code": 3}}).encode() + b"\n"


def _asked(body: bytes) -> dict[str, Any]:
    try:
        plain = json.loads(body or b"{}")
        since, repair = plain.get("since") or "", plain.get("repair") is True
    except (ValueError, AttributeError, RecursionError):
        raise FilterError("the body", body[:40].decode("utf-8", "replace"), "it is JSON") from None
    wanted = parse_filter({"since": str(since)}, now_ms=time.time_ns() // 1_000_000)
    return {"since_ms": wanted.since_ms, "repair": repair}


def _settled_ms(state: CollectorState) -> int:
    """Return until when what was received is wholly in the tables."""
    oldest_ms = state.inbox.lag().oldest_ms
    recent = time.time_ns() // 1_000_000 - SETTLING_MS
    return recent if oldest_ms is None else min(recent, oldest_ms)
