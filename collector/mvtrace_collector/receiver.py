"""POST /v1/traces and /v1/logs: an export in, an acknowledgement out once it is on the disk.

Comes in: an HTTP request. Goes out: 200 (perhaps with a partial success) after fdatasync, or a
google.rpc.Status. Clients delete what is answered permanently, so an error that nobody foresaw is a
503. What may be stored is decided in intake, where it lies in inbox; loading is not waited for.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mvtrace import semconv
from mvtrace_collector import answers
from mvtrace_collector.access import identity_in
from mvtrace_collector.access_log import AccessLog
from mvtrace_collector.access_log_entry import projects_word
from mvtrace_collector.access_log_guard import ClientAddress, client_of
from mvtrace_collector.answers import Encoding
from mvtrace_collector.errors import (
    BusyError,
    InboxError,
    IngestError,
    MethodError,
    TooLargeError,
    UndecodableError,
    UnsupportedError,
)
from mvtrace_collector.failpoints import reach
from mvtrace_collector.inbox import Accepted, Inbox
from mvtrace_collector.intake import Intake, read_logs, read_traces
from mvtrace_collector.keys import Identity
from mvtrace_collector.keys import Scope as KeyScope
from mvtrace_collector.limits import (
    Holding,
    Limits,
    MemoryBudget,
    check_length,
    inflate,
    parse_encoding,
    read_body,
)
from mvtrace_collector.metrics import Metrics
from mvtrace_collector.otlp_json import logs_from_json, traces_from_json
from mvtrace_collector.otlp_walk import check_messages
from mvtrace_collector.payload_keys import PayloadKey, now_ms
from mvtrace_collector.score_rates import ScoreRates
from mvtrace_collector.segments import Sender, Signal

_LOGGER: Final = logging.getLogger(__name__)
DECODING_THREADS: Final = 4
"""Bodies that are inflated and decoded at a time: each may take a multiple of its limit."""
_GRANTS: Final[tuple[KeyScope, ...]] = ("ingest", "score", "govern")
"""The scopes by which the loader judges decisions and scores."""
_REJECTED_NAMES: Final = {"traces": "rejectedSpans", "logs": "rejectedLogRecords"}
_NOUNS: Final = {"traces": "spans", "logs": "log records"}
_SENT: Final = re.compile(r"[0-9]{12,14}", re.ASCII)
_LATENCY_MS: Final = 1000
_CHARSETS: Final = frozenset({"", "utf-8", "utf8", "us-ascii"})
_DRAINED_BYTES: Final = 64 * 1024 * 1024
_DRAIN_SECONDS: Final = 5.0


class Gate:
    """What both receivers share: the inbox, limits, counters, and whether exports are taken."""

    def __init__(self, inbox: Inbox, limits: Limits, metrics: Metrics) -> None:
        self.inbox = inbox
        self.limits = limits
        self.metrics = metrics
        self.budget = MemoryBudget(limits.in_flight_bytes)
        self.keep_keys: Callable[[Sequence[PayloadKey]], None] = _no_key_store
        """Takes the data keys of an export, durably, before its content is acknowledged."""
        self.score_rates = ScoreRates()
        """Holds who may only score to a rate."""
        self.access_log: AccessLog | None = None
        """Where decisions are logged before they are acknowledged."""
        self.client_address: ClientAddress = "peer"
        self.is_open = True
        """False once the collector stops: clients keep their data and try again."""


@dataclass(frozen=True, slots=True)
class _Export:
    body: bytes
    wbits: int
    encoding: Encoding
    batch: str
    identity: Identity
    ahead_ms: int = 0
    """How far the sender's clock is ahead."""


class Receiver:
    """One signal's endpoint, an ASGI application."""

    def __init__(self, signal: Signal, gate: Callable[[], Gate]) -> None:
        self._signal: Signal = signal
        self._find_gate = gate
        self._threads: anyio.CapacityLimiter | None = None

    @property
    def _gate(self) -> Gate:
        return self._find_gate()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        encoding = answers.encoding_of(request.headers.get("content-type", ""))
        try:
            response = await self._accept(request, encoding)
        except ClientDisconnect:
            self._gate.metrics.answered(self._signal, encoding, 0)
            return
        self._gate.metrics.answered(self._signal, encoding, response.status_code)
        await response(scope, receive, send)
        reach("receiver.after-answer")

    async def _accept(self, request: Request, encoding: Encoding) -> Response:
        try:
            return await self._export(request, encoding)
        except ClientDisconnect:
            raise
        except IngestError as error:
            if isinstance(error, TooLargeError) and error.is_unread:
                await _drain(request)
            self._gate.metrics.refused(self._signal, error.status, error.code)
            return answers.refused(encoding, error)
        except InboxError as error:
            self._gate.metrics.refused(self._signal, BusyError.status, error.code)
            return answers.refused(encoding, _busy(error.message.rstrip(".")))
        except Exception:
            # Unknown, hence worth retrying: a 500 would make the client delete its data.
            _LOGGER.exception("An export was answered with 503")
            self._gate.metrics.internal_error(self._signal)
            return answers.refused(encoding, _busy("The collector met an error of its own"))

    async def _export(self, request: Request, encoding: Encoding) -> Response:
        headers = request.headers
        if request.method != "POST":
            raise MethodError(request.method)
        if not self._gate.is_open:
            raise _busy("The collector is stopping")
        ahead_ms = clock_ahead_ms(headers.get(semconv.SENT_HEADER, ""), now_ms())
        _check_content_type(headers.get("content-type", ""))
        wbits = parse_encoding(", ".join(headers.getlist("content-encoding")))
        if "content-length" in headers and "transfer-encoding" in headers:
            raise UndecodableError("Content-Length and Transfer-Encoding exclude each other.")
        check_length(headers.get("content-length"), self._gate.limits)
        with self._gate.budget.hold() as holding:
            body = await read_body(request.stream(), self._gate.limits, holding)
            batch = headers.get(semconv.BATCH_HEADER, "")
            identity = identity_in(request.scope)
            export = _Export(body, wbits, encoding, batch, identity, ahead_ms)
            intake, futures = await anyio.to_thread.run_sync(
                self._submit, export, holding, limiter=self._limiter()
            )
            done = [await asyncio.wrap_future(future) for future in futures]
        if intake.decisions:
            await self._log_decisions(intake, request, batch)
        return self._acknowledge(encoding, intake, done)

    async def _log_decisions(self, intake: Intake, request: Request, batch: str) -> None:
        """Log that somebody governed, or tried to; once for an export that is sent again."""
        log, identity = self._gate.access_log, identity_in(request.scope)
        if log is None:
            return
        bodies = hashlib.sha256(b"".join(piece.body for piece in intake.pieces)).hexdigest()
        governed = partial(
            log.governed,
            identity,
            project=projects_word(piece.project for piece in intake.pieces),
            count=intake.decisions,
            is_refused=bool(intake.rejected["govern"]),
            client=client_of(request.scope, self._gate.client_address),
            batch=f"{identity.actor}:{batch}:{bodies}",
        )
        await asyncio.wrap_future(await anyio.to_thread.run_sync(governed, limiter=self._limiter()))

    def _limiter(self) -> anyio.CapacityLimiter:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(DECODING_THREADS)
        return self._threads

    def _check_rate(self, intake: Intake, identity: Identity) -> None:
        """Hold a key that is in everybody's hands to its rate, whatever it sends."""
        if not identity.may("ingest"):
            self._gate.score_rates.take_for_key(
                identity.key_id, intake.scores + intake.rejected["govern"]
            )

    def _submit(self, export: _Export, holding: Holding) -> tuple[Intake, list[Future[Accepted]]]:
        """Decode and hand to the inbox; runs in a thread.

        A batch is known by the client's id *and* its bytes: by the id alone, a sender that uses one
        twice would lose data. The bytes are those that the key lets in: of one export two keys may
        send different parts to one project.
        """
        gate = self._gate
        data = inflate(export.body, export.wbits, gate.limits, holding)
        gate.metrics.received(self._signal, compressed=len(export.body), inflated=len(data))
        intake = self._read(data, export)
        self._check_rate(intake, export.identity)
        if intake.keys:
            gate.keep_keys([_timed(key, export.ahead_ms) for key in intake.keys])
        sender = sender_of(export.identity)
        return intake, [
            gate.inbox.submit(
                piece.project,
                self._signal,
                piece.body,
                f"{export.batch}:{hashlib.sha256(piece.body).hexdigest()}",
                sender=sender if piece.is_attested else None,
                ahead_ms=export.ahead_ms,
            )
            for piece in intake.pieces
        ]

    def _read(self, data: bytes, export: _Export) -> Intake:
        is_traces = self._signal == "traces"
        if export.encoding == "json":
            convert = traces_from_json if is_traces else logs_from_json
            data = convert(data, max_containers=self._gate.limits.json_containers)
        else:
            check_messages(data, self._signal, self._gate.limits.messages)
        read = read_traces if is_traces else read_logs
        return read(data, export.identity)

    def _acknowledge(self, encoding: Encoding, intake: Intake, done: list[Accepted]) -> Response:
        metrics = self._gate.metrics
        is_duplicate = bool(done) and all(one.duplicate for one in done)
        if is_duplicate:
            metrics.duplicate(self._signal)
        metrics.accepted(self._signal, 0 if is_duplicate else intake.accepted, intake.rejected)
        return answers.accepted(
            encoding,
            rejected=intake.rejected.total(),
            noun=_REJECTED_NAMES[self._signal],
            message=intake.message(_NOUNS[self._signal]),
        )


def sender_of(identity: Identity) -> Sender:
    """Return what is written down of who sent a decision or a score, beside it."""
    grants = (scope for scope in _GRANTS if identity.may(scope))
    return Sender(identity.actor, identity.label, " ".join(grants))


def clock_ahead_ms(sent: str, received_ms: int) -> int:
    """Return how far a sender's clock is ahead, by when it says that it *sent*; 0 if unknown.

    Less than a second is how long a request takes, and no clock's fault. Where a clock is off, that
    second counts as ahead: what was made just before an erasure must not seem to be made after it.
    """
    if not _SENT.fullmatch(sent):
        return 0
    ahead_ms = int(sent) - received_ms
    return ahead_ms + _LATENCY_MS if abs(ahead_ms) >= _LATENCY_MS else 0


def _timed(key: PayloadKey, ahead_ms: int) -> PayloadKey:
    """Return *key* with the collector's time in place of the sender's."""
    return key._replace(made_ms=min(key.made_ms - ahead_ms, now_ms()))


def _no_key_store(_keys: Sequence[PayloadKey]) -> None:
    raise _busy("The collector has no key store")


def _busy(problem: str) -> BusyError:
    return BusyError(problem, retry_after_s=random.randint(1, 5))  # noqa: S311 - jitter


def _check_content_type(value: str) -> None:
    media, *parameters = (part.strip().lower() for part in value.split(";"))
    pairs = dict(part.partition("=")[::2] for part in parameters)
    charset = pairs.get("charset", "").strip('"')
    if media not in answers.MEDIA_TYPES.values() or charset not in _CHARSETS:
        raise UnsupportedError(
            "Content-Type", value, "application/x-protobuf or application/json in UTF-8"
        )


async def _drain(request: Request) -> None:
    """Read on for a while, so that a client that is still sending gets to hear the answer."""
    if request.headers.get("expect", "").lower() == "100-continue":
        return
    size = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while size < _DRAINED_BYTES:
                message = await request.receive()
                size += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
    except TimeoutError:
        return
