"""Probe: a look that takes its time, repeated only as often as it is cheap."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Final

CHEAP_S: Final = 0.000_2
"""A look that takes no longer is taken with every query."""
REST: Final = 20
"""After a longer one comes a rest of this many times as long: five percent of the time at most."""


class Probe:
    """Calls *look* where it may be called again, else returns what it found last."""

    def __init__(
        self, look: Callable[[], Hashable], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._look = look
        self._clock = clock
        self._found: Hashable = None
        self._again_at = float("-inf")
        self.is_fresh = False
        """Whether the last call looked."""

    def __call__(self) -> Hashable:
        """Return what is there, or was there not long ago."""
        before = self._clock()
        self.is_fresh = before >= self._again_at
        if self.is_fresh:
            self._found = self._look()
            after = self._clock()
            took_s = after - before
            self._again_at = after if took_s <= CHEAP_S else after + REST * took_s
        return self._found
