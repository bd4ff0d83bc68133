"""GET /api/v1/status: everything a person asks first, in one JSON document.

Comes in: the collector's state. Goes out: version, checks, what waits, what was counted, what was
turned away. Always 200; whether all is well stands in ``healthy``. Nothing of what is stored is
told but the reasons of the quarantine.
"""

from __future__ import annotations

import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mvtrace.version import __version__
from mvtrace_collector import health
from mvtrace_collector.state import CollectorState


def routes(state: CollectorState) -> list[Route]:
    """Return the one route."""

    async def status(_request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(document, state))

    return [Route("/api/v1/status", status)]


def document(state: CollectorState) -> dict[str, Any]:
    """Return what is known of the collector now."""
    checks = health.readiness(health.outcomes(state))
    seen = state.observer.sighting()
    detached = [
        {"table": table, "reason": reason, "parts": parts}
        for (table, reason), parts in seen.detached.items()
    ]
    is_healthy = checks["status"] == "ready" and not detached and not seen.recent_quarantine
    stats = state.loader.stats
    return {
        "healthy": is_healthy,
        "version": __version__,
        "url": state.config.url,
        "store": state.config.shown_store,
        "uptime_s": round(time.time() - state.started_at, 1),
        "checks": checks["checks"],
        "lag": _lag(state),
        "rates": {key: round(value, 2) for key, value in state.observer.rates().items()},
        "stored_rows": dict(stats.rows),
        "load_errors": stats.errors,
        "quarantine": {
            reason: {"rows": rows, "last_hour": seen.recent_quarantine.get(reason, 0)}
            for reason, rows in seen.quarantine.items()
        },
        "gaps": seen.gaps,
        "detached_parts": detached,
        "disk_free_bytes": health.free_bytes(state),
    }


def _lag(state: CollectorState) -> dict[str, Any]:
    lag = state.inbox.lag()
    age = 0.0 if lag.oldest_ms is None else max(0.0, time.time() - lag.oldest_ms / 1000)
    return {
        "batches": lag.accepted_seq - lag.stored_seq,
        "segments": lag.segments,
        "bytes": lag.bytes,
        "seconds": round(age, 1),
        "accepted_seq": lag.accepted_seq,
        "stored_seq": lag.stored_seq,
    }
