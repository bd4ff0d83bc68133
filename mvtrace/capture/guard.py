"""The edge between tracing and the application: the one place that catches everything.

In: a hook of ours that may fail. Out: the same hook, which returns None instead of raising; errors
are counted and logged at most once a minute. Where most requests fail to be recorded the breaker
opens: nothing is captured for a while, then it is tried again; the first error in the trial opens
the breaker anew and for longer, the first request that is recorded ends the trial. A request that
is not captured still takes its number, so that the gap is seen.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from mvtrace.capture.context import current_exchange

ERRORS: Final = 20
WINDOW_S: Final = 60.0
PAUSE_S: Final = 10.0
LONGER_EACH_TIME: Final = 2.0
PAUSE_MOST: Final = 32.0
"""The longest pause, as a multiple of the first."""
LOG_INTERVAL_S: Final = 60.0

_log: Final = logging.getLogger("mvtrace")
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Breaker:
    """Counts internal errors of this process and switches capture off while nothing works.

    It opens when *errors* more requests failed than were recorded, none longer than *window_s*
    seconds after the one before; the first trial follows *pause_s* seconds later, each next one
    after twice the time. Without locks: threads that race make one error more or less.
    """

    def __init__(self) -> None:
        self.errors = 0
        self.openings = 0
        self.not_captured = 0
        """Requests that were served while capture was off."""
        self.reset()

    def reset(
        self, *, errors: int = ERRORS, window_s: float = WINDOW_S, pause_s: float = PAUSE_S
    ) -> None:
        """Switch capture on, under these settings; the counters go on."""
        self.is_open = False
        self._most_errors = errors
        self._window_s = window_s
        self._first_pause_s = self._pause_s = pause_s
        self._score = 0
        self._failed_at = 0.0
        self._closes_at = 0.0
        self._is_on_trial = False
        self._logged_at: float | None = None

    def failed(self, error: Exception) -> None:
        """Count *error*; a second one in the same request does not bring the opening nearer."""
        self.errors += 1
        exchange = current_exchange()
        if exchange is not None:
            exchange.errors += 1
        if self.is_open:
            return
        now = time.monotonic()
        if exchange is None or exchange.errors == 1:
            is_apart = now - self._failed_at > self._window_s
            self._is_on_trial = self._is_on_trial and not is_apart
            self._score = 1 if is_apart else self._score + 1
            self._failed_at = now
        if self._is_on_trial or self._score >= self._most_errors:
            self._open(now, error)
        else:
            self._say(error, now)

    def succeeded(self) -> None:
        """Note that a request was recorded: one failure is made good, a trial has gone well."""
        if self._score:
            self._score -= 1
        if self._is_on_trial and not self.is_open:
            self._is_on_trial = False
            self._score = 0
            self._pause_s = self._first_pause_s
            _log.warning("Capture is on again: a request was recorded")

    def refuses(self) -> bool:
        """Whether what begins now is not to be captured; after the pause a trial begins."""
        if not self.is_open:
            return False
        now = time.monotonic()
        if now < self._closes_at:
            return True
        self._is_on_trial = True
        self._failed_at = now
        self.is_open = False
        return False

    def _open(self, now: float, error: Exception) -> None:
        pause_s = self._pause_s
        self.is_open = True
        self.openings += 1
        self._closes_at = now + pause_s
        self._pause_s = min(pause_s * LONGER_EACH_TIME, self._first_pause_s * PAUSE_MOST)
        if not self._is_on_trial:
            text = "Capture is off for %g s after %d internal errors; the last: %r"
            _log.error(text, pause_s, self._score, error, exc_info=error)

    def _say(self, error: Exception, now: float) -> None:
        if self._logged_at is None or now - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = now
            _log.warning("An internal error of tracing (%d so far)", self.errors, exc_info=error)


BREAKER: Final = Breaker()


def note_failure(error: Exception) -> None:
    """Count *error*, which a hook of ours has raised; never raises."""
    # What is said goes through the application's logging, which may raise as well.
    with contextlib.suppress(Exception):
        BREAKER.failed(error)


def fail_open(hook: Callable[_P, _R]) -> Callable[_P, _R | None]:
    """Return *hook* so that its errors are counted instead of raised; it then returns None."""

    @functools.wraps(hook)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R | None:
        try:
            return hook(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 (the one edge: tracing never hurts a request)
            note_failure(error)
            return None

    return guarded
