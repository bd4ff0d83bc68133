"""The edge between tracing and the application: the one place that catches everything.

In: a hook of ours that may fail. Out: the same hook, which returns None instead of raising. Errors
are counted, logged at most once a minute, and after too many in a row without one recorded request
the breaker opens: tracing is off, said in one line, until ``mvtrace.configure`` is called again.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from mvtrace.capture.context import current_exchange

MAX_ERRORS_IN_A_ROW: Final = 20
LOG_INTERVAL_S: Final = 60.0

_log: Final = logging.getLogger("mvtrace")
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Breaker:
    """Counts internal errors of this process and switches tracing off when nothing works."""

    def __init__(self) -> None:
        self.is_open = False
        self.errors = 0
        self._in_a_row = 0
        self._logged_at: float | None = None

    def failed(self, error: Exception) -> None:
        """Count *error*; a second one in the same request does not bring the end nearer."""
        self.errors += 1
        exchange = current_exchange()
        if exchange is not None:
            exchange.errors += 1
        if exchange is None or exchange.errors == 1:
            self._in_a_row += 1
        if self._in_a_row >= MAX_ERRORS_IN_A_ROW and not self.is_open:
            self.is_open = True
            _log.error(
                "Tracing is off after %d internal errors in a row; the last: %r",
                self._in_a_row,
                error,
                exc_info=error,
            )
            return
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = now
            _log.warning("An internal error of tracing (%d so far)", self.errors, exc_info=error)

    def succeeded(self) -> None:
        """Note that a request was recorded."""
        self._in_a_row = 0

    def reset(self) -> None:
        """Switch tracing on again."""
        self.is_open = False
        self._in_a_row = 0
        self._logged_at = None


BREAKER: Final = Breaker()


def fail_open(hook: Callable[_P, _R]) -> Callable[_P, _R | None]:
    """Return *hook* so that its errors are counted instead of raised; it then returns None."""

    @functools.wraps(hook)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R | None:
        try:
            return hook(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 (the one edge: tracing never hurts a request)
            BREAKER.failed(error)
            return None

    return guarded
