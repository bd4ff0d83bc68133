"""GET /healthz, /readyz and /metrics: does the process live, can it work, what has it counted.

Comes in: the collector's state. Goes out: small JSON documents that say what is wrong, and the
metrics as text. Nothing of what is stored is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mvtrace.errors import MvtraceError
from mvtrace_collector.metrics import CONTENT_TYPE
from mvtrace_collector.state import CollectorState

CHECK_SECONDS: Final = 5.0


def routes(state: CollectorState) -> list[Route]:
    """Return the three routes."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        checks = {name: await _outcome(check) for name, check in _checks(state).items()}
        is_ready = all(outcome == "ok" for outcome in checks.values())
        body = {"status": "ready" if is_ready else "not ready", "checks": checks}
        return JSONResponse(body, status_code=200 if is_ready else 503)

    async def metrics(_request: Request) -> Response:
        text = await anyio.to_thread.run_sync(state.metrics.render)
        return Response(text, headers={"content-type": CONTENT_TYPE})

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]


def _checks(state: CollectorState) -> dict[str, Callable[[], str]]:
    return {
        "collector": lambda: "ok" if state.gate.is_open else "stopping",
        "store": lambda: _query(state),
        "inbox": lambda: _room(state),
        "loader": lambda: "ok" if state.is_loading else "the loader's thread has ended",
    }


def _query(state: CollectorState) -> str:
    state.store.query("SELECT 1")
    return "ok"


def _room(state: CollectorState) -> str:
    state.inbox.check_room()
    return "ok"


async def _outcome(check: Callable[[], str]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await anyio.to_thread.run_sync(check, abandon_on_cancel=True)
    except MvtraceError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
