"""The collector as one ASGI application: OTLP in, health, the JSON API and SQL out.

Comes in: a CollectorConfig. Goes out: ``build_app`` the application, ``serve`` a running server.
The lifespan opens everything, after any fork, and closes it: refuse, commit, stop loading.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from mvtrace.errors import ConfigurationError, MvtraceError
from mvtrace_collector import (
    access_log_api,
    api,
    compare_api,
    drift_api,
    governance_api,
    health,
    keys_api,
    logs,
    payloads_api,
    rollout_api,
    scores_api,
    server,
    sql_endpoint,
    status,
)
from mvtrace_collector.access_log_guard import AccessGuard
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.guards import (
    LOOPBACK_HOSTS,
    HostGuard,
    KeyGuard,
    SafeHeaders,
    SizeGuard,
    json_error,
)
from mvtrace_collector.meter import ReadMeter
from mvtrace_collector.receiver import Receiver
from mvtrace_collector.state import CollectorState
from mvtrace_collector.verification import endpoint

_LOGGER = logging.getLogger(__name__)


def build_app(config: CollectorConfig) -> Starlette:
    """Return the application; its parts are ``app.state.collector``, open while it runs."""
    return _assemble(CollectorState(config))


def serve(config: CollectorConfig) -> None:
    """Run a collector until SIGTERM or SIGINT.

    Raises MvtraceError before the first request where the port, the store or the inbox refuse.
    """
    logs.configure(config.log, config.log_level)
    with server.bind(config) as listener:
        _enter(config.inbox_dir)
        _warn_of_open_key(config.tls_key or config.tls_certificate)
        state = CollectorState(config.with_port(listener.getsockname()[1]))
        state.open()
        try:
            config.check_keys(has_keys=not state.keyring.is_empty)
            app: ASGIApp = _assemble(state)
            if config.is_loopback and config.api_key is None:
                app = HostGuard(app, LOOPBACK_HOSTS | {config.host})
            server.build_server(app, state.config).run(sockets=[listener])
        finally:
            state.close()


def _enter(directory: Path) -> None:
    """Work in the inbox: the embedded engine keeps files of its own in the working directory."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chdir(directory)
    except OSError as error:
        raise ConfigurationError(
            "--data", str(directory), f"the system refuses it: {error.strerror or error}"
        ) from error
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & stat.S_IWOTH:
        raise ConfigurationError(
            "--data",
            str(directory),
            f"everybody may write into it, and so forge what was accepted (mode {mode:04o})",
            hint=f"chmod o-w {directory}",
        )


def _warn_of_open_key(path: Path | None) -> None:
    """Say that others may read the private key of TLS, as some mounts have it."""
    if path is not None and path.stat().st_mode & stat.S_IROTH:
        _LOGGER.warning("Everybody may read %s, which holds a private key: chmod o-r", path)


def _assemble(state: CollectorState) -> Starlette:
    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(state.open)
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(state.close)

    app = Starlette(
        routes=_routes(state),
        lifespan=lifespan,
        middleware=[
            Middleware(ReadMeter, metrics=state.metrics),
            Middleware(SafeHeaders),
            Middleware(SizeGuard),
            Middleware(scores_api.ScoreCors, origins=state.config.score_origins),
            Middleware(
                AccessGuard,
                log=lambda: state.access_log,
                metrics=state.metrics,
                client_address=state.config.access_client,
            ),
            Middleware(KeyGuard, identify=state.identify),
        ],
        exception_handlers={
            HTTPException: _http_error,
            MvtraceError: _known_error,
            Exception: _unknown_error,
        },
    )
    app.router.redirect_slashes = False
    app.state.collector = state
    return app


def _routes(state: CollectorState) -> list[BaseRoute]:
    return [
        Route("/v1/traces", Receiver("traces", lambda: state.gate)),
        Route("/v1/logs", Receiver("logs", lambda: state.gate)),
        *health.routes(state),
        *status.routes(state),
        *endpoint.routes(state),
        *api.routes(state),
        *drift_api.routes(state),
        *keys_api.routes(state),
        *access_log_api.routes(state),
        *payloads_api.routes(state),
        *governance_api.routes(state),
        *rollout_api.routes(state),
        *compare_api.routes(state),
        *scores_api.routes(state),
        *sql_endpoint.routes(state),
    ]


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError(type(error).__name__)
    message = f"{error.detail}: {request.method} {request.url.path[:200]}"
    headers = dict(error.headers) if error.headers else None
    return json_error(error.status_code, "http", message, headers=headers)


async def _known_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, MvtraceError):
        raise TypeError(type(error).__name__)
    return json_error(api.status_of(error), error.code, error.message, hint=error.hint)


async def _unknown_error(request: Request, _error: Exception) -> Response:
    request.app.state.collector.metrics.internal_error("read")
    return json_error(500, "internal", "The collector met an error of its own; its log tells more.")
