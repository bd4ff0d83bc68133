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
from mvtrace.capture.numbers import Numbers
from mvtrace.capture.orphans import Orphans
from mvtrace.capture.spool import LOGS, SPANS, Spool, Tail, directory_bytes, quarantine
from mvtrace.capture.spool_answers import LastAnswer
from mvtrace.capture.spool_reader import Range, SpoolReader
from mvtrace.config import TracingConfig

LINGER_S: Final = 0.1
"""How long frames may gather: a busy process sends few batches."""
ADOPT_INTERVAL_S: Final = 30.0
SAY_INTERVAL_S: Final = 60.0
"""How often a running producer says which numbers it has taken, if it has taken any."""
COMPRESSION_LEVEL: Final = 1
JOIN_S: Final = 0.5
RECOVERY_S: Final = 1.0
_PATHS: Final = {LOGS: "/v1/logs", SPANS: "/v1/traces"}
_LOG_INTERVAL_S: Final = 60.0

_log: Final = logging.getLogger("mvtrace")


class Shipper:
    """The delivering end; its thread starts with the first spooled frame and is a daemon."""

    def __init__(
        self, config: TracingConfig, spool: Spool, counts: Counts, numbers: Numbers
    ) -> None:
        self._config = config
        self._spool = spool
        self._counts = counts
        self._numbers = numbers
        self._reader = SpoolReader(spool.directory, counts, numbers)
        self._orphans = Orphans(spool.directory, counts)
        self._connection = CollectorConnection(config)
        self._is_compressing = config.compression == "gzip" or (
            config.compression == "auto" and not self._connection.is_local
        )
        self._state = threading.Condition()
        self._delivered = Tail(0, 0)
        self._pending_since: float | None = None
        self._behind_since: float | None = None
        """Since when something is spooled that is not delivered."""
        self._answer = LastAnswer()
        self._is_hurried = False
        self._is_stopping = False
        self._is_leaving = False
        self._has_left = False
        self._last_said = 0
        self._say_at = time.monotonic() + SAY_INTERVAL_S
        self._failures = 0
        self._failures_ever = 0
        self._not_before = 0.0
        self._adopt_at = 0.0
        self._said_at = float("-inf")
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Note that there is something to deliver."""
        with self._state:
            if self._behind_since is None:
                self._behind_since = time.monotonic()
            if self._pending_since is None:
                self._pending_since = time.monotonic()
                self._state.notify_all()
            if self._thread is None and not self._is_stopping:
                self._start()

    @fail_open
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

    @fail_open
    def leave(self, timeout_s: float) -> None:
        """Say how this producer ended, once all it spooled is delivered.

        Where that cannot be said in *timeout_s*, whoever adopts the spool says it.
        """
        deadline = time.monotonic() + timeout_s
        if not self._numbers.last or self._delivered < self._spool.tail:
            return
        with self._state:
            if self._thread is None and not self._is_stopping:
                self._start()
            self._is_leaving = True
            self._state.notify_all()
            while self._thread is not None and self._is_leaving:
                if (remaining := deadline - time.monotonic()) <= 0:
                    return
                self._state.wait(remaining)
        if self._is_leaving:  # no thread can start any more: the interpreter is ending
            self._say_end()

    def _say_end(self) -> None:
        self._is_leaving = False
        self._has_left = self._say_farewell(self._reader, self._numbers)

    @fail_open
    def stop(self) -> None:
        """End the thread and give up the spools; a request under way is not waited for long."""
        with self._state:
            self._is_stopping = True
            self._state.notify_all()
        if self._thread is not None:
            self._thread.join(JOIN_S)
            if self._thread.is_alive():
                return
        is_told = self._has_left or not self._numbers.last
        if is_told and self._delivered >= self._spool.tail:
            self._reader.remove_if_delivered()
        self._orphans.close()
        self._connection.close()

    def abandon(self) -> None:
        """Close what a fork inherited; the parent goes on delivering."""
        self._orphans.close()
        self._connection.close()

    def lag_s(self) -> float:
        """Return for how long something spooled has been waiting; 0 where all is delivered."""
        since = self._behind_since
        if since is None or self._delivered >= self._spool.tail:
            return 0.0
        return time.monotonic() - since

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
        while not self._is_stopping:
            if self._round() is None:
                time.sleep(RECOVERY_S)

    @fail_open
    def _round(self) -> bool:
        with self._state:
            while not self._is_stopping and (wait_s := self._due_at() - time.monotonic()) > 0:
                self._state.wait(wait_s)
            if self._is_stopping:
                return False
            self._is_hurried = False
            self._pending_since = None
        has_more = self._deliver_once()
        if has_more is None:
            self._wait(Verdict.BUSY, None, "an internal error")
        with self._state:
            if has_more:
                self._pending_since = float("-inf")
            self._state.notify_all()
        return True

    def _due_at(self) -> float:
        """Return the monotonic time of the next delivery."""
        if self._is_hurried or self._is_leaving:
            return 0.0
        due = min(self._adopt_at, self._say_at)
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
        if self._is_leaving and not has_more:
            self._say_end()
        elif now >= self._say_at:
            self._say_at = now + SAY_INTERVAL_S
            self._say_running()
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
        with self._state:
            if tail == self._spool.tail:
                self._behind_since = None
        return False

    def _deliver_orphans(self) -> bool:
        has_more = False
        for reader in self._orphans.readers():
            if time.monotonic() < self._not_before:
                break
            try:
                found = reader.next_range(None)
                numbers = self._orphans.numbers_of(reader)
                if found is None and (numbers is None or self._say_farewell(reader, numbers)):
                    self._orphans.release(reader)
                elif found is None:
                    break
                else:
                    has_more |= self._deliver(reader, found)
            except OSError:
                self._counts.add("spool_read_errors")
                self._orphans.give_up(reader)
        self._orphans.adopt_waiting()
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
                if kind == LOGS:
                    reader.lose("refused")
            elif verdict is not Verdict.ACCEPTED:
                return False
            if kind == LOGS:
                reader.mark_logs_delivered(found)
        reader.mark_delivered(found)
        return True

    def _say_farewell(self, reader: SpoolReader, numbers: Numbers) -> bool:
        """Say of a producer that has ended how far it counted; False if it has to be said again.

        All it spooled is delivered: what the collector does not have of its numbers is lost.
        """
        if not numbers.last:
            return True
        body = numbers.request(numbers.end, now_ns=time.time_ns())
        verdict = self._send(f"{reader.directory.name}-end-logs", LOGS, body)
        return verdict not in {Verdict.BUSY, Verdict.BLOCKED}

    def _say_running(self) -> None:
        last = self._numbers.last
        if last == self._last_said:
            return
        now_ns = time.time_ns()
        batch_id = f"{self._numbers.producer_id}-{now_ns}-logs"
        if self._send(batch_id, LOGS, self._numbers.request("running", now_ns=now_ns)) in {
            Verdict.ACCEPTED,
            Verdict.REFUSED,
        }:
            self._last_said = last

    def _send(self, batch_id: str, kind: int, body: bytes) -> Verdict:
        headers = {
            "content-type": "application/x-protobuf",
            semconv.BATCH_HEADER: batch_id,
            semconv.SENT_HEADER: str(time.time_ns() // 1_000_000),
        }
        sent = body
        if self._is_compressing:
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
        self._answer.note(self._spool.directory, verdict.name.lower(), f"HTTP {answer.status}")
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
            delay_s = retry_delay_s(
                verdict,
                self._failures,
                asked_s,
                jitter=random.random(),  # noqa: S311 (nothing secret)
                most_s=self._config.retry_max_s,
            )
            self._not_before = time.monotonic() + delay_s
            if self._pending_since is None:
                self._pending_since = float("-inf")
        self._counts.add("ship_retries")
        self._answer.note(self._spool.directory, verdict.name.lower(), reason)
        if answer is not None:
            self._counts.add(f"ship_answers_{verdict.name.lower()}")
        now = time.monotonic()
        if now - self._said_at > _LOG_INTERVAL_S:
            self._said_at = now
            _log.warning("Deliveries to %s wait in the spool: %s", self._config.url, reason)
        return verdict
