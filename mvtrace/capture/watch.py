"""Which requests have been running for longer than a second: their start is recorded at once.

In: exchanges, when they begin and end; a dict entry each, 0.1 µs where a timer of the event loop
costs 1.5 µs, and it works without an event loop. Out: ``send_started`` on those that took long,
from a thread that runs while there are requests. A killed process thus leaves a trace of them.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Final, Protocol

from mvtrace.capture.guard import fail_open

STARTED_AFTER_NS: Final = 1_000_000_000
INTERVAL_S: Final = 0.25
IDLE_ROUNDS: Final = 40
"""After ten seconds without a request the thread ends; the next request starts another."""


class Watched(Protocol):
    """A request in progress."""

    started_at: int

    def send_started(self) -> None:
        """Record the start; never raises."""


class Watch:
    """The requests in progress, in the order they began."""

    def __init__(self) -> None:
        self._running: dict[int, Watched] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, exchange: Watched) -> None:
        """Watch *exchange* until it is forgotten."""
        self._running[id(exchange)] = exchange
        if self._thread is None:
            self._start()

    def forget(self, exchange: Watched) -> None:
        """Watch *exchange* no longer."""
        self._running.pop(id(exchange), None)

    @fail_open
    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._watch, name="mvtrace-watch", daemon=True)
                thread.start()
                self._thread = thread

    def _watch(self) -> None:
        idle = 0
        while idle < IDLE_ROUNDS:
            time.sleep(INTERVAL_S)
            idle = 0 if self._running else idle + 1
            fail_open(self.sweep)(time.time_ns() - STARTED_AFTER_NS)
        with self._lock:
            self._thread = None
        if self._running:  # one came in between the last look and the end
            self._start()

    def sweep(self, began_before: int) -> None:
        """Record the start of those that began before *began_before* and still run."""
        for key, exchange in list(self._running.items()):
            if exchange.started_at > began_before:
                return
            self._running.pop(key, None)
            exchange.send_started()

    def forget_all(self) -> None:
        """Start anew: this is the child of a fork, and its parent's requests are its parent's."""
        self.__init__()  # type: ignore[misc]


WATCH: Final = Watch()
os.register_at_fork(after_in_child=WATCH.forget_all)
