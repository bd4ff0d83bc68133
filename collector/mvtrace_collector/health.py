"""GET /healthz, /readyz and /metrics: does the process live, can it work, what has it counted.

Comes in: the collector's state. Goes out: small JSON documents that say what is wrong and what to
do about it, and the metrics as text. Each check stands alone: a fault in one part hides no other.
Nothing of what is stored is told.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mvtrace.errors import MvtraceError
from mvtrace.store.dsn import parse_dsn
from mvtrace.store.migrations import pending
from mvtrace.store.store import Store
from mvtrace_collector.access_log import AccessLog
from mvtrace_collector.config import CollectorConfig
from mvtrace_collector.errors import InboxFullError
from mvtrace_collector.inbox import Inbox
from mvtrace_collector.loader import Loader
from mvtrace_collector.metrics import CONTENT_TYPE, Metrics
from mvtrace_collector.receiver import Gate

CHECK_SECONDS: Final = 5.0
_PROBE: Final = b"\0" * 4096


class State(Protocol):
    """What the checks look at."""

    config: CollectorConfig
    metrics: Metrics

    @property
    def store(self) -> Store: ...

    @property
    def inbox(self) -> Inbox: ...

    @property
    def loader(self) -> Loader: ...

    @property
    def gate(self) -> Gate: ...

    @property
    def access_log(self) -> AccessLog: ...

    @property
    def is_loading(self) -> bool: ...


class FailingError(Exception):
    """A check has found something; *reason* and *hint* are shown."""

    def __init__(self, reason: str, hint: str | None = None, *, alarm: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.alarm = alarm


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to hold; *run* raises where it does not."""

    name: str
    alarm: str
    """The event of the log that tells it."""
    hint: str
    run: Callable[[State], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a check; no *reason* means that it holds."""

    name: str
    alarm: str
    reason: str | None = None
    hint: str | None = None

    def to_dict(self) -> dict[str, str]:
        """Return it as /readyz shows it."""
        if self.reason is None:
            return {"status": "ok"}
        return {"status": "failing", "reason": self.reason, "hint": self.hint or ""}


def _is_open(state: State) -> None:
    if not state.gate.is_open:
        raise FailingError("the collector is stopping")


def _store_answers(state: State) -> None:
    state.store.query("SELECT 1")


def _store_takes(state: State) -> None:
    directory = state.store.dsn.directory
    if directory is not None:
        _probe(directory)
        _check_floor(directory, state.config.inbox.disk_floor_bytes)


def _inbox_takes(state: State) -> None:
    _probe(state.config.inbox_dir)
    try:
        state.inbox.check_room()
    except InboxFullError as error:
        if error.limit != state.config.inbox.disk_floor_bytes:
            raise
        hint = f"Make room on the disk of {state.config.inbox_dir}."
        raise FailingError(_sentence(error.message), hint, alarm="disk-floor") from error


def _access_log_takes(state: State) -> None:
    state.access_log.check_room()


def _loader_lives(state: State) -> None:
    if not state.is_loading:
        raise FailingError("the loader's thread has ended")


def _lag_is_small(state: State) -> None:
    lag, limit = state.inbox.lag(), state.config.max_lag_seconds
    age = 0.0 if lag.oldest_ms is None else time.time() - lag.oldest_ms / 1000
    if age > limit:
        waiting = lag.accepted_seq - lag.stored_seq
        raise FailingError(
            f"{waiting:,} batches ({lag.bytes:,} bytes) wait for the store, the oldest for "
            f"{age:,.0f} s; the limit is {limit:g} s"
        )


def _loads_succeed(state: State) -> None:
    stats = state.loader.stats
    if stats.last_error is not None:
        raise FailingError(f"the last load failed: {stats.last_error}")


def _schema_is_current(state: State) -> None:
    missing = [migration.name for migration in pending(state.store)]
    if missing:
        raise FailingError(f"the store lacks {', '.join(missing)}")


CHECKS: Final = (
    Check("collector", "store-unavailable", "Wait for its successor.", _is_open),
    Check("store", "store-unavailable", "See the reason; what is accepted waits.", _store_answers),
    Check(
        "store_disk",
        "store-unwritable",
        "Mount the store's directory writable, with room, for the collector's user.",
        _store_takes,
    ),
    Check(
        "inbox",
        "inbox-unwritable",
        "Mount the inbox's directory writable, with room, for the collector's user.",
        _inbox_takes,
    ),
    Check(
        "access_log",
        "access-log",
        "Make room on the inbox's disk: nothing is answered that cannot be logged.",
        _access_log_takes,
    ),
    Check("loader", "loader-stopped", "Restart the collector; the inbox keeps.", _loader_lives),
    Check(
        "lag",
        "lag",
        "Look at the loader's errors and the machine's load; MVTRACE_MAX_LAG_SECONDS is the limit.",
        _lag_is_small,
    ),
    Check("loads", "load-failing", "See the collector's log; it is tried again.", _loads_succeed),
    Check("schema", "schema", "Restart the collector: it migrates its store.", _schema_is_current),
)


def outcome(check: Check, state: State) -> Outcome:
    """Run *check*; whatever it raises is its outcome."""
    try:
        check.run(state)
    except FailingError as error:
        reason, hint = error.reason, error.hint or check.hint
        return Outcome(check.name, error.alarm or check.alarm, reason, hint)
    except MvtraceError as error:
        return Outcome(check.name, check.alarm, _sentence(error.message), error.hint or check.hint)
    except OSError as error:
        reason = f"{error.filename or 'the disk'}: {error.strerror or error}"
        return Outcome(check.name, check.alarm, reason, check.hint)
    return Outcome(check.name, check.alarm)


def outcomes(state: State) -> list[Outcome]:
    """Run all checks, one after the other."""
    return [outcome(check, state) for check in CHECKS]


def routes(state: State) -> list[Route]:
    """Return the three routes."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        found = await asyncio.gather(*(_bounded(check, state) for check in CHECKS))
        document = readiness(list(found))
        return JSONResponse(document, status_code=200 if document["status"] == "ready" else 503)

    async def metrics(_request: Request) -> Response:
        text = await anyio.to_thread.run_sync(state.metrics.render)
        return Response(text, headers={"content-type": CONTENT_TYPE})

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]


def readiness(found: list[Outcome]) -> dict[str, Any]:
    """Return the document of /readyz."""
    is_ready = all(one.reason is None for one in found)
    checks = {one.name: one.to_dict() for one in found}
    return {"status": "ready" if is_ready else "not ready", "checks": checks}


async def _bounded(check: Check, state: State) -> Outcome:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await anyio.to_thread.run_sync(outcome, check, state, abandon_on_cancel=True)
    except TimeoutError:
        return Outcome(check.name, check.alarm, f"no answer within {CHECK_SECONDS:g} s", check.hint)


def _probe(directory: Path) -> None:
    """Write a page to a file without a name, so that nothing is left whatever happens."""
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        file.write(_PROBE)


def _check_floor(directory: Path, floor: int) -> None:
    space = os.statvfs(directory)
    free = space.f_bavail * space.f_frsize
    if free < floor:
        raise FailingError(
            f"{free:,} bytes are free, the floor is {floor:,}",
            f"Make room on the disk of {directory}.",
            alarm="disk-floor",
        )


def free_bytes(state: State) -> dict[str, int]:
    """Return the free space of the disks the collector writes to, of those that can be seen."""
    store = parse_dsn(state.config.store).directory
    places = {"inbox": state.config.inbox_dir, **({"store": store} if store else {})}
    found = {}
    for name, place in places.items():
        try:
            space = os.statvfs(place)
        except OSError:
            continue  # a check says so; the other numbers are wanted all the more
        found[name] = space.f_bavail * space.f_frsize
    return found


def _sentence(message: str) -> str:
    return message.rstrip(".")
