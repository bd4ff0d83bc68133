"""Stands before the routes: no answer leaves before its entry in the access log is durable.

Pure ASGI middleware, around the key guard, so that refusals are logged too. Comes in: any request.
Goes out: the same answer, held until its entry is synced; or 503 where the log takes nothing. Of
requests without a key that opens anything, only so many a minute are logged, and the rest counted:
a stranger must not be able to fill the disk.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Literal
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mvtrace.errors import UnavailableError
from mvtrace_collector.access_log import AccessLog
from mvtrace_collector.access_log_entry import (
    NOTE,
    UNKNOWN,
    Audited,
    Entry,
    Note,
    asked_word,
    audited,
    filter_words,
)
from mvtrace_collector.errors import InboxError
from mvtrace_collector.failpoints import reach
from mvtrace_collector.guards import json_error
from mvtrace_collector.metrics import Metrics

ClientAddress = Literal["peer", "forwarded", "none"]
CLIENT_ADDRESSES: Final[tuple[ClientAddress, ...]] = ("peer", "forwarded", "none")
"""Which address entries have: that of the connection, the last one of X-Forwarded-For (behind one
proxy, which adds it), or none."""
STRANGERS_A_MINUTE: Final = 60
"""Entries of requests that no key opened."""
RETRY_AFTER_S: Final = 5
DURABLE_WITHIN_S: Final = 10.0
"""So long is an entry waited for; a disk that does not answer by then has not taken it."""
_THREADS: Final = 8
"""That hand entries to the log: its lock may be held while the disk syncs."""
_INTERNAL_ERROR: Final = 500


class AccessGuard:
    """Logs each access before it is answered."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        log: Callable[[], AccessLog],
        metrics: Metrics,
        client_address: ClientAddress = "peer",
    ) -> None:
        self._app = app
        self._log = log
        self._metrics = metrics
        self._client_address = client_address
        self._strangers = Allowance(STRANGERS_A_MINUTE)
        self._threads: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; hold its answer until it is logged."""
        found = audited(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        try:
            log = self._log()
        except UnavailableError as error:
            refusal = json_error(503, error.code, error.message, hint=error.hint)
            await refusal(scope, receive, send)
            return
        note = self._note(log, found, scope)
        answer = _HeldAnswer(send, lambda status, size: self._kept(note, status, size))
        try:
            await self._app({**scope, NOTE: note}, receive, answer.send)
        except Exception:
            # The server answers with 500, outside of all that stands here.
            if not answer.is_logged:
                await self._kept(note, _INTERNAL_ERROR, 0)
            raise
        reach("access.after-answer")

    def _note(self, log: AccessLog, found: Audited, scope: Scope) -> Note:
        """Return a note with what the request's head tells."""
        note = log.note(found.action, client=client_of(scope, self._client_address))
        note.begin = self._begin
        given = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if found.by_id:
            note.asked = asked_word(given.get("id", ""), log.digest)
        elif found.action == "other":
            note.asked = log.digest(scope["path"])
        elif scope["method"] in ("GET", "HEAD") and found.action != "sql":
            note.asked = filter_words(given, log.digest)
        return note

    async def _begin(self, note: Note) -> None:
        log = self._log()
        try:
            await self._durable(log, note.entry())
        except TimeoutError as error:
            raise NotLoggedError from error
        reach("access.begun")

    async def _kept(self, note: Note, status: int, size: int) -> bool:
        """Log the answer; return whether it may be given."""
        log = self._log()
        entry = note.entry(status=status, size=size)
        if entry.actor == UNKNOWN and not self._strangers.takes():
            self._metrics.access_not_logged()
            return True
        try:
            await self._durable(log, entry)
        except (InboxError, TimeoutError):
            self._metrics.access_withheld(entry.action)
            return False
        self._metrics.access_logged(entry.action, entry.outcome)
        return True

    async def _durable(self, log: AccessLog, entry: Entry) -> None:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(_THREADS)
        async with asyncio.timeout(DURABLE_WITHIN_S):
            submitted = await anyio.to_thread.run_sync(
                log.submit, entry, limiter=self._threads, abandon_on_cancel=True
            )
            await asyncio.wrap_future(submitted)


class _HeldAnswer:
    """Passes an answer on once *kept* says that it may be given; else gives 503 in its place.

    What comes in several pieces, such as the lines of a verification, is logged at the first one.
    """

    def __init__(self, send: Send, kept: Callable[[int, int], Awaitable[bool]]) -> None:
        self._send = send
        self._kept = kept
        self._start: Message | None = None
        self.is_logged = False
        self._is_withheld = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self._start is not None:
            start, self._start = self._start, None
            self.is_logged = True
            size = _size(start["headers"], message)
            self._is_withheld = not await self._kept(start["status"], size)
            if self._is_withheld:
                await self._refuse()
            else:
                await self._send(start)
        if not self._is_withheld:
            await self._send(message)

    async def _refuse(self) -> None:
        error = NotLoggedError()
        refusal = json_error(
            503,
            error.code,
            error.message,
            hint=error.hint,
            headers={"retry-after": str(RETRY_AFTER_S)},
        )
        start = {"type": "http.response.start", "status": 503, "headers": refusal.raw_headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": refusal.body})


class NotLoggedError(UnavailableError):
    """An answer is ready, and its entry in the access log cannot be written."""

    code = "not-logged"

    def __init__(self) -> None:
        super().__init__(
            "The access log cannot be written, and without an entry nothing is answered.",
            hint="Make room on the disk of the collector's inbox; GET /readyz tells more.",
        )


class Allowance:
    """So many a minute; asked on one thread."""

    def __init__(self, a_minute: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self._a_minute = a_minute
        self._now = now
        self._begun_at = float("-inf")
        self._taken = 0

    def takes(self) -> bool:
        """Whether there is room for one more; takes it."""
        now = self._now()
        if now - self._begun_at >= 60:  # noqa: PLR2004 (seconds of a minute)
            self._begun_at, self._taken = now, 0
        self._taken += 1
        return self._taken <= self._a_minute


def client_of(scope: Scope, kind: ClientAddress) -> str:
    """Return the address of who asks, as *kind* says; empty where none is known."""
    if kind == "none":
        return ""
    peer = scope.get("client")
    address = str(peer[0]) if peer else ""
    if kind == "forwarded":
        named = Headers(scope=scope).getlist("x-forwarded-for")
        address = _address(named[-1].rpartition(",")[2].strip()) if named else address
    return address


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def _size(headers: Iterable[tuple[bytes, bytes]], message: Message) -> int:
    """Return the bytes of an answer's body, as far as its first piece tells."""
    length = next((value for name, value in headers if name.lower() == b"content-length"), b"")
    return int(length) if length.isdigit() else len(message.get("body", b""))
