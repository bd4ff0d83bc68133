"""From the application's threads to the spool: a bounded queue and the thread that drains it.

In: records, spans and composites, each put into a deque in about a microsecond. Out: encoded frames
in the spool, within milliseconds; encoding and files are the thread's work. What does not fit is
dropped and counted, never waited for. While the spool cannot be written the encoded frames are kept
and tried again each second, and the queue fills up behind them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from mvtrace.capture.counts import Counts
from mvtrace.capture.encoder import Encoded, Item, encode_items
from mvtrace.capture.guard import fail_open
from mvtrace.capture.spool import SPANS, Spool, directory_bytes

MAX_QUEUED: Final = 32_768
"""Spans, records and composites that wait to be encoded."""
MAX_QUEUED_BYTES: Final = 64 << 20
WEIGHED_FROM: Final = 64
"""As long as fewer wait, what they weigh is not worth the time to find out."""
POLL_S: Final = 0.003
IDLE_POLLS: Final = 32
RETRY_S: Final = 1.0
USAGE_INTERVAL_S: Final = 5.0
SPANS_SHARE: Final = 0.9
"""Part of the spool's budget that spans may fill; the rest is for records and registry events."""
DRAIN_SIZE: Final = 512
JOIN_S: Final = 0.1
MAX_WRITE_BYTES: Final = 4 << 20

_log: Final = logging.getLogger("mvtrace")


class Budget:
    """How much the spool may still take: bytes of all producers, and free space left to others."""

    def __init__(self, root: Path, max_bytes: int, min_free_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._used = 0
        self._free = 1 << 62
        self._measured_at = float("-inf")

    def divided(self, entries: Sequence[Encoded]) -> tuple[list[Encoded], list[Encoded]]:
        """Return what of *entries* may be written, and what not; spans are the first to go."""
        allowed: list[Encoded] = []
        refused: list[Encoded] = []
        size = 0
        for entry in entries:
            size += len(entry.payload.body)
            share = SPANS_SHARE if entry.payload.kind == SPANS else 1.0
            fits = self._used + size <= self._max_bytes * share
            (allowed if fits and self._free - size >= self._min_free_bytes else refused).append(
                entry
            )
        return allowed, refused

    def spent(self, number: int) -> None:
        """Note *number* bytes written."""
        self._used += number
        self._free -= number

    def measure(self, *, now: float) -> None:
        """Look at the disk, at most every few seconds."""
        if now - self._measured_at < USAGE_INTERVAL_S:
            return
        self._measured_at = now
        self._used = directory_bytes(self._root)
        existing = next(path for path in (self._root, *self._root.parents) if path.exists())
        found = os.statvfs(existing)
        self._free = found.f_bavail * found.f_frsize


class _Drain:
    """A wish to have everything spooled, for the thread to fulfil."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.is_done = threading.Event()
        self.is_all = False


class SpoolWriter:
    """The queue and its thread; the thread starts with the first item and is a daemon."""

    def __init__(
        self,
        spool: Spool,
        budget: Budget,
        counts: Counts,
        *,
        spooled: Callable[[], None],
        max_bytes: int = MAX_QUEUED_BYTES,
    ) -> None:
        self._spool = spool
        self._budget = budget
        self._counts = counts
        self._spooled = spooled
        self._max_bytes = max_bytes
        self._queue: deque[tuple[Item, int]] = deque()
        """What waits, each with its weight."""
        self._queued = 0
        self._queued_bytes = 0
        self._drains: deque[_Drain] = deque()
        self._is_wanted = False
        self._lock = threading.Lock()
        self._drain_lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_idle = False
        self._is_stopping = False
        self._unwritten: list[Encoded] = []
        self._retry_at = 0.0
        self._said_at = float("-inf")

    @property
    def queue_length(self) -> int:
        """What waits to be encoded."""
        return self._queued

    @property
    def has_ended(self) -> bool:
        """Whether no thread of it can touch a file any more."""
        return self._thread is None or not self._thread.is_alive()

    def put(self, item: Item) -> bool:
        """Queue *item*; False if there is no room, and the loss is counted."""
        weight = item.weight() if self._queued >= WEIGHED_FROM else 0
        with self._lock:
            is_taken = not self._queue or (
                self._queued + item.size <= MAX_QUEUED
                and self._queued_bytes + weight <= self._max_bytes
            )
            if is_taken:
                self._queue.append((item, weight))
                self._queued += item.size
                self._queued_bytes += weight
        if not is_taken:
            item.add_to(self._counts, "dropped_queue_full")
            return False
        if self._thread is None:
            self._start()
        if self._is_idle:
            self._wake.set()
        return True

    def prepare(self) -> None:
        """Have the spool's directory made, before anything is there to be spooled."""
        self._is_wanted = True
        if self._thread is None:
            self._start()
        if self._is_idle:
            self._wake.set()

    def drain(self, timeout_s: float) -> bool:
        """Spool everything that is queued now; False if that cannot be done in *timeout_s*.

        The thread does it: a disk that does not answer holds up nobody else.
        """
        thread = self._thread
        if thread is None or not thread.is_alive():  # none was needed, or none can start any more
            return self._drain_here(time.monotonic() + timeout_s)
        drain = _Drain(time.monotonic() + timeout_s)
        self._drains.append(drain)
        self._wake.set()
        drain.is_done.wait(timeout_s)
        return drain.is_all

    def _drain_here(self, deadline: float) -> bool:
        with self._drain_lock:
            while self._queue or self._unwritten:
                if time.monotonic() > deadline or not self._step(force=True):
                    break
        return not self._queue and not self._unwritten

    @fail_open
    def stop(self, timeout_s: float) -> bool:
        """Drain, end the thread and give up the spool; at most about *timeout_s* later."""
        deadline = time.monotonic() + timeout_s
        is_drained = self.drain(timeout_s)
        self._is_stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(max(deadline - time.monotonic(), JOIN_S))
        if not is_drained:
            self._count_left()
        return is_drained

    def _count_left(self) -> None:
        """Count what the process ends with and the disk has not taken."""
        with self._lock:
            left = [item for item, _ in self._queue]
        for item in left:
            item.add_to(self._counts, "not_spooled")
        for entry in self._unwritten:
            entry.add_to(self._counts, "not_spooled")

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None or self._is_stopping:
                return
            thread = threading.Thread(target=self._run, name="mvtrace-writer", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # the interpreter is ending; the exit handler drains
            self._thread = thread

    def _run(self) -> None:
        polls = 0
        while not self._is_stopping:
            has_worked = self._round()
            polls = 0 if has_worked else polls + 1
            if polls < IDLE_POLLS or self._unwritten:
                time.sleep(POLL_S if not self._unwritten else POLL_S * 10)
                continue
            self._wake.clear()
            self._is_idle = True
            if not (self._queue or self._drains or self._is_wanted):
                self._wake.wait()
            self._is_idle = False
            polls = 0

    @fail_open
    def _round(self) -> bool:
        if self._is_wanted:
            self._is_wanted = False
            self._prepare()
            return True
        if self._drains:
            drain = self._drains.popleft()
            try:
                drain.is_all = self._drain_here(drain.deadline)
            finally:
                drain.is_done.set()
            return True
        with self._drain_lock:
            return self._step(force=False)

    def _prepare(self) -> None:
        try:
            self._spool.own()
        except OSError as error:
            self._counts.add("spool_write_errors")
            self._say(error, time.monotonic())

    def _step(self, *, force: bool) -> bool:
        """Encode and write some of the queue; False if nothing moved."""
        now = time.monotonic()
        if self._unwritten and now < self._retry_at and not force:
            return False
        if not self._unwritten:
            items = self._take()
            if not items:
                return False
            self._unwritten = self._encoded(items)
        return self._write(now)

    def _encoded(self, items: Sequence[Item]) -> list[Encoded]:
        try:
            return encode_items(items, self._counts)
        except Exception:
            for item in items:
                item.add_to(self._counts, "dropped_unencodable")
            raise

    def _take(self) -> list[Item]:
        """Take items off the queue, so few that encoding them does not hold up the others long."""
        items: list[Item] = []
        size = 0
        with self._lock:
            while self._queue and size < DRAIN_SIZE:
                item, weight = self._queue.popleft()
                items.append(item)
                size += item.size
                self._queued_bytes -= weight
            self._queued -= size
        return items

    def _write(self, now: float) -> bool:
        """Spool what is encoded, in writes of a bounded size; False if the disk refuses."""
        while self._unwritten:
            count = _count_up_to(self._unwritten, MAX_WRITE_BYTES)
            try:
                self._budget.measure(now=now)
                allowed, refused = self._budget.divided(self._unwritten[:count])
                written = self._spool.append([e.payload for e in allowed]) if allowed else 0
            except OSError as error:
                self._retry_at = now + RETRY_S
                self._counts.add("spool_write_errors")
                self._say(error, now)
                return False
            self._unwritten = self._unwritten[count:]
            for entry in allowed:
                entry.add_to(self._counts, "spooled")
            for entry in refused:
                entry.add_to(self._counts, "dropped_spool_full")
            if written:
                self._budget.spent(written)
                self._counts.add("spooled_bytes", written)
                self._spooled()
        return True

    def _say(self, error: OSError, now: float) -> None:
        if now - self._said_at > 60:  # noqa: PLR2004 (once a minute)
            self._said_at = now
            _log.warning("The spool %s cannot be written: %s", self._spool.directory, error)


def _count_up_to(entries: Sequence[Encoded], most_bytes: int) -> int:
    """Return how many of *entries* make at most *most_bytes*; at least one."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry.payload.body)
        if size > most_bytes and count:
            return count
    return len(entries)
