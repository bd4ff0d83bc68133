"""Delivers spooled frames to the collector: one thread, one connection, fixed batch ids.

In: the process's own spool and those that ended processes left behind. Out: OTLP/HTTP POSTs, logs
(registry, records) before the spans of the same range. A range is delivered again, byte for byte
and under the same id, until the collector has answered; there is no limit of time. What an answer
means is told in ``answers``.
"""

from __future__ import annotations

import gzip
import logging
import random
import threading
import time
from typing import Final

from mvtrace import otlp, semconv
from mvtrace.capture.answers import Answer, Verdict, retry_after_s, retry_delay_s
from mvtrace.capture.connection import CollectorConnection
from mvtrace.capture.counts import Counts
from mvtrace.capture.guard import fail_open
from mvtrace.capture.orphans import Orphans
from mvtrace.capture.spool import LOGS, SPANS, Spool, Tail, directory_bytes, quarantine
from mvtrace.capture.spool_reader import Range, SpoolReader
from mvtrace.config import TracingConfig

LINGER_S: Final = 0.1
"""How long frames may gather: a busy process sends few batches."""
ADOPT_INTERVAL_S: Final = 30.0
COMPRESSION_LEVEL: Final = 1
JOIN_S: Final = 0.5
_PATHS: Final = {LOGS: "/v1/logs", SPANS: "/v1/traces"}
_LOG_INTERVAL_S: Final = 60.0

_log: Final = logging.getLogger("mvtrace")


class Shipper:
    """The delivering end; its thread starts with the first spooled frame and is a daemon."""

    def __init__(self, config: TracingConfig, spool: Spool, counts: Counts) -> None:
        self._config = config
        self._spool = spool
        self._counts = counts
        self._reader = SpoolReader(spool.directory, counts)
        self._orphans = Orphans(spool.directory, counts)
        self._connection = CollectorConnection(config)
        self._state = threading.Condition()
        self._delivered = Tail(0, 0)
        self._pending_since: float | None = None
        self._is_hurried = False
        self._is_stopping = False
        self._failures = 0
        self._failures_ever = 0
        self._not_before = 0.0
        self._adopt_at = 0.0
        self._said_at = float("-inf")
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Note that there is something to deliver."""
        with self._state:
            if self._pending_since is None:
                self._pending_since = time.monotonic()
                self._state.notify_all()
            if self._thread is None and not self._is_stopping:
                self._start()

    def flush(self, timeout_s: float, *, is_patient: bool = True) -> bool:
        """Deliver without delay what is spooled; False if it is not accepted in *timeout_s*.

        An impatient caller, such as the exit of the process, also gives up after one failure.
        """
        target = self._spool.tail
        deadline = time.monotonic() + timeout_s
        with self._state:
            failures = self._failures_ever
            self._is_hurried = True
            self._state.notify_all()
            while self._thread is not None and self._delivered < target:
                remaining = deadline - time.monotonic()
                has_failed = self._failures_ever > failures
                if remaining <= 0 or (has_failed and not is_patient):
                    break
                self._state.wait(remaining)
            if self._thread is not None:
                return self._delivered >= target
        while self._delivered < target and time.monotonic() < deadline:
            if not self._deliver_once():  # no thread can start any more: the interpreter is ending
                break
        return self._delivered >= target

    def stop(self) -> None:
        """End the thread and give up the spools; a request under way is not waited for long."""
        with self._state:
            self._is_stopping = True
            self._state.notify_all()
        if self._thread is not None:
            self._thread.join(JOIN_S)
            if self._thread.is_alive():
                return
        if self._spool.tail.segment and self._delivered >= self._spool.tail:
            self._reader.remove_if_delivered()
        self._orphans.close()
        self._connection.close()

    def abandon(self) -> None:
        """Close what a fork inherited; the parent goes on delivering."""
        self._orphans.close()
        self._connection.close()

    def undelivered_bytes(self) -> int:
        """Return the size of this process's spool while not all of it is delivered."""
        if self._delivered >= self._spool.tail:
            return 0
        return directory_bytes(self._spool.directory)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="mvtrace-shipper", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # the interpreter is ending; the exit handler delivers
        self._thread = thread

    def _run(self) -> None:
        while True:
            with self._state:
                while not self._is_stopping and (wait_s := self._due_at() - time.monotonic()) > 0:
                    self._state.wait(wait_s)
                if self._is_stopping:
                    return
                self._is_hurried = False
                self._pending_since = None
            has_more = self._deliver_once()
            with self._state:
                if has_more:
                    self._pending_since = float("-inf")
                self._state.notify_all()

    def _due_at(self) -> float:
        """Return the monotonic time of the next delivery."""
        if self._is_hurried:
            return 0.0
        due = self._adopt_at
        if self._pending_since is not None:
            due = min(due, self._pending_since + LINGER_S)
        return max(due, self._not_before)

    @fail_open
    def _deliver_once(self) -> bool:
        """Deliver a range of each spool; True if more remains."""
        now = time.monotonic()
        if now >= self._adopt_at:
            self._adopt_at = now + ADOPT_INTERVAL_S
            self._orphans.adopt()
        has_more = self._deliver_own()
        return self._deliver_orphans() or has_more

    def _deliver_own(self) -> bool:
        tail = self._spool.tail
        try:
            found = self._reader.next_range(tail) if tail.segment else None
            if found is not None:
                has_moved = self._deliver(self._reader, found)
                position = self._reader.position
                if (position.segment, position.offset) < tail:
                    return has_moved
                # What was appended meanwhile gathers first.
        except OSError as error:
            self._counts.add("spool_read_errors")
            self._wait(Verdict.BUSY, None, f"the spool cannot be read: {error}")
            return False
        self._delivered = tail
        return False

    def _deliver_orphans(self) -> bool:
        has_more = False
        for reader in self._orphans.readers():
            if time.monotonic() < self._not_before:
                break
            try:
                found = reader.next_range(None)
                if found is None:
                    self._orphans.release(reader)
                else:
                    has_more |= self._deliver(reader, found)
            except OSError:
                self._counts.add("spool_read_errors")
                self._orphans.give_up(reader)
        return has_more

    def _deliver(self, reader: SpoolReader, found: Range) -> bool:
        """Deliver *found*, logs first; True unless it has to wait."""
        for kind in (LOGS, SPANS):
            payloads = found.payloads(kind)
            if not payloads:
                continue
            body = otlp.encode_request(found.resource, payloads)
            verdict = self._send(found.batch_id(kind), kind, body)
            if verdict is Verdict.TOO_LARGE and reader.split(found):
                self._counts.add("ship_batches_split")
                return True
            if verdict in {Verdict.TOO_LARGE, Verdict.REFUSED}:
                self._counts.add("ship_batches_quarantined")
                quarantine(self._config.spool_dir, f"{found.batch_id(kind)}.otlp", body)
            elif verdict is not Verdict.ACCEPTED:
                return False
            if kind == LOGS:
                reader.mark_logs_delivered(found)
        reader.mark_delivered(found)
        return True

    def _send(self, batch_id: str, kind: int, body: bytes) -> Verdict:
        headers = {"content-type": "application/x-protobuf", semconv.BATCH_HEADER: batch_id}
        sent = body
        if self._config.compression == "gzip":
            headers["content-encoding"] = "gzip"
            sent = gzip.compress(body, COMPRESSION_LEVEL, mtime=0)
        try:
            answer = self._connection.post(_PATHS[kind], sent, headers)
        except OSError as error:
            self._counts.add("ship_connection_errors")
            return self._wait(Verdict.BUSY, None, f"no answer: {error}")
        verdict = answer.verdict
        if verdict in {Verdict.BUSY, Verdict.BLOCKED}:
            return self._wait(verdict, answer, f"HTTP {answer.status} {answer.body[:200]!r}")
        self._failures = 0
        self._not_before = 0.0
        if verdict is Verdict.ACCEPTED:
            self._counts.add("shipped_batches")
            self._counts.add("shipped_bytes", len(sent))
            if answer.rejected:
                self._counts.add("shipped_rejected_items", answer.rejected)
        return verdict

    def _wait(self, verdict: Verdict, answer: Answer | None, reason: str) -> Verdict:
        """Keep everything and try again later; said once a minute."""
        asked_s = retry_after_s(answer.retry_after, now=time.time()) if answer else None
        with self._state:
            self._failures += 1
            self._failures_ever += 1
            delay_s = retry_delay_s(verdict, self._failures, asked_s, jitter=random.random())  # noqa: S311
            self._not_before = time.monotonic() + delay_s
            if self._pending_since is None:
                self._pending_since = float("-inf")
        self._counts.add("ship_retries")
        if answer is not None:
            self._counts.add(f"ship_answers_{verdict.name.lower()}")
        now = time.monotonic()
        if now - self._said_at > _LOG_INTERVAL_S:
            self._said_at = now
            _log.warning("Deliveries to %s wait in the spool: %s", self._config.url, reason)
        return verdict
