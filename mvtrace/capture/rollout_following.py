"""Follows what is decided about a service: one thread that asks, and no request that waits.

In: where the collector is, and whose rollout it is. Out: ``Told``, at once from the file of the
last answer, then whenever the collector's answer differs. A collector that is down changes nothing:
the last answer holds, however old it is.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlencode

from mvtrace.capture.connection import CollectorConnection
from mvtrace.capture.guard import fail_open
from mvtrace.capture.rollout_told import RolloutFile, Told, parsed
from mvtrace.config import TracingConfig

PATH: Final = "/api/v1/rollout"
PROJECT_HEADER: Final = "x-mvtrace-project"
READ_S: Final = 0.25
"""How long the first request of a process may wait for the disk to tell the last answer."""
FIRST_ANSWER_S: Final = 1.0
"""How long the start of a server may wait for a first answer, where no file has one."""
MAX_WAIT_S: Final = 60.0
_SPREAD: Final = 0.2
_LOG_INTERVAL_S: Final = 600.0
_OK: Final = 200

_log: Final = logging.getLogger("mvtrace")


class Follower:
    """Asks for one service in one environment; *told* is called with what is new, in its thread."""

    def __init__(
        self,
        config: TracingConfig,
        names: Sequence[str],
        told: Callable[[Told], None],
        is_over: Callable[[], bool],
        *,
        refresh_s: float,
    ) -> None:
        self._config = config
        self._told = weakref.WeakMethod(told)
        self._is_over = is_over
        self._refresh_s = refresh_s
        place = (config.service, config.environment or "")
        self._file = RolloutFile(config.spool_dir, (config.url, config.project, *place, *names))
        said = [("service", place[0]), ("environment", place[1])]
        self._question = f"{PATH}?{urlencode([*said, *(('version', one) for one in names)])}"
        self._last = b""
        self._hearing = threading.Lock()
        """Held while something is handed on, so that what is older never follows what is newer."""
        self._stop = threading.Event()
        self._answered = threading.Event()
        self._said_at = float("-inf")
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Take the last answer from its file and start to ask; waits READ_S at most."""
        reading = threading.Thread(target=self._read, name="mvtrace-rollout-file", daemon=True)
        self._thread = threading.Thread(target=self._run, name="mvtrace-rollout", daemon=True)
        try:
            reading.start()
            reading.join(READ_S)
            self._thread.start()
        except RuntimeError:  # the interpreter is ending, or has too many threads
            self._thread = None

    def wait_first(self) -> None:
        """Wait FIRST_ANSWER_S at most for something to go by."""
        self._answered.wait(FIRST_ANSWER_S)

    def stop(self) -> None:
        """Ask no more; after this nothing is handed on."""
        self._stop.set()
        with self._hearing:
            pass

    @fail_open
    def _read(self) -> None:
        data = self._file.read()
        if data:
            try:
                self._take(data, is_kept=True)
            except ValueError as error:
                _log.warning("%s is no answer about a rollout: %s", self._file.path, error)

    def _run(self) -> None:
        connection = CollectorConnection(self._config)
        failures = 0
        while not (self._stop.is_set() or self._is_over()) and self._told() is not None:
            failures = 0 if self._ask(connection) else failures + 1
            connection.close()  # no collector keeps a connection of each replica for that
            spread = 1 + _SPREAD * (2 * random.random() - 1)  # noqa: S311 (nothing secret)
            wait_s = self._refresh_s * 2 ** min(failures, 10)
            self._stop.wait(min(wait_s, max(MAX_WAIT_S, self._refresh_s)) * spread)

    @fail_open
    def _ask(self, connection: CollectorConnection) -> bool:
        project = self._config.project
        headers = {PROJECT_HEADER: project} if project else {}
        try:
            answer = connection.get(self._question, headers)
        except OSError as error:
            self._say(f"no answer: {error}")
            return False
        if answer.status != _OK:
            self._say(f"HTTP {answer.status} {answer.body[:200]!r}")
            return False
        try:
            is_new = self._take(answer.body)
        except ValueError as error:
            self._say(f"an answer that is none: {error}")
            return False
        if is_new:
            self._keep(answer.body)
        return True

    def _take(self, data: bytes, *, is_kept: bool = False) -> bool:
        """Hand *data* on if it is new; raises ValueError where it is no answer.

        What *is_kept* in the file is older than any answer, however long the disk took.
        """
        if data == self._last:
            return False
        told, hear = parsed(data), self._told()
        with self._hearing:
            if self._stop.is_set() or (is_kept and self._answered.is_set()):
                return False
            if hear is not None:
                hear(told)
            self._last = data
            self._answered.set()
        return True

    def _keep(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            self._say(f"{self._file.path} cannot be written: {error}")

    def _say(self, problem: str) -> None:
        now = time.monotonic()
        if now - self._said_at >= _LOG_INTERVAL_S:
            self._said_at = now
            _log.warning("The rollout goes on as last known: %s", problem)
